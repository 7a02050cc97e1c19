"""DAgger with a value loss: a student rolls out, and its teacher says what it would have done.

The distillation of UniDexGrasp++ (Wan et al. 2023): the actor's loss is the squared error from the
teacher's action at what the student meets, and the critic learns the returns of the student itself,
so that PPO can continue from both. In the first rollouts the teacher acts in a share of the
environments (Ross et al., "DAgger", 2011).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pkubench.agents.contract import Agent
from pkubench.agents.learner import Context, Export, State
from pkubench.agents.resolve.saved import load_folder
from pkubench.agents.rl.on_policy.config import StudentConfig
from pkubench.agents.rl.on_policy.start import CRITICS, critics_of
from pkubench.agents.rl.on_policy.training import OnPolicyTraining
from pkubench.agents.rl.optimiser import Optimiser, adam
from pkubench.agents.rl.rollout import Array, Rollout
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.errors import ConfigError, WeightsError


class StudentTraining(OnPolicyTraining):
    """One training seed; see ``pkubench.agents.learner.Learner``."""

    config: StudentConfig

    def __init__(self, context: Context) -> None:
        """Make environments and networks, and load the teacher.

        Raises:
            ConfigError: the task has several agents, or the teacher is of another kind.
            AgentError, WeightsError: the teacher cannot be loaded, or does not fit the task.
        """
        super().__init__(context)
        try:
            if self.env.agents != (SOLE_AGENT,):
                raise ConfigError("a student is one agent, and this task has several")
            teacher: Any = load_folder(context.inputs["teacher"], context.task)
            if not isinstance(teacher, Agent):
                raise ConfigError("the teacher must be an agent that acts alone")
            self.teacher = teacher
            (actor,) = self.learner.actors.values()
            self.actor = actor
            if actor.discrete:
                raise ConfigError("a student imitates actions that are numbers, not choices")
        except BaseException:
            self.env.close()
            raise
        rate: float = self.config.update.actor_lr  # type: ignore[attr-defined]
        self.optimiser = Optimiser(adam(rate), actor.net.parameters())
        self.random = np.random.default_rng(context.seed)
        self.memory: deque[tuple[Array, Array]] = deque(maxlen=self.config.memory)
        """Of each rollout: observations (k, d) and the teacher's actions (k, actions)."""
        self._wanted: list[Array] = []
        self._teacher_state: Any = None
        self._driven = 0

    def iterate(self) -> dict[str, float]:
        """Play an episode in every environment, and imitate the teacher."""
        config, done = self.config, self.counters
        share = config.teacher_share * config.teacher_decay**done.iterations
        self._driven, self._wanted = round(share * config.num_envs), []
        self._teacher_state = self.teacher.begin(np.arange(config.num_envs))
        data = self.collector.collect(1, self._behave, restart=False, whole_episodes=True)
        wanted = np.stack(self._wanted)
        observations = data.observations[SOLE_AGENT]
        error = self._error(data, wanted)
        self.memory.append((observations[data.valid].copy(), wanted[data.valid]))
        loss = self._imitate()
        figures = self.learner.fit_critics(data)
        steps = config.updates + config.critic_epochs * config.minibatches
        self.counters = done._replace(
            iterations=done.iterations + 1,
            environment_steps=done.environment_steps + int(data.valid.sum()),
            episodes=done.episodes + config.num_envs,
            gradient_steps=done.gradient_steps + steps,
        )
        own = {"teacher_share": share, "imitation_loss": loss, "imitation_error": error}
        figures = {**self.collector.window.curve(), **figures, **own}
        return {name: round(value, 6) for name, value in figures.items()}

    def _behave(
        self, observations: Mapping[str, Array], masks: Mapping[str, Array]
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        """Act as the student, or as the teacher in the first environments."""
        raw, mapped, log_probs = self.learner.behave(observations, masks)
        seen = observations[SOLE_AGENT]
        active = np.ones(len(seen), np.bool_)
        wanted, self._teacher_state = self.teacher.act(seen, self._teacher_state, active)
        self._wanted.append(np.asarray(wanted, np.float32))
        for actions in (raw, mapped):
            actions[SOLE_AGENT] = actions[SOLE_AGENT].copy()
            actions[SOLE_AGENT][: self._driven] = wanted[: self._driven]
        return raw, mapped, log_probs

    @torch.no_grad()
    def _error(self, data: Rollout, wanted: Array) -> float:
        """Return the squared error at the student's own steps before the update; NaN without."""
        own = data.valid.copy()
        own[:, : self._driven] = False
        if not own.any():
            return float("nan")
        found = self.actor.net(torch.from_numpy(data.observations[SOLE_AGENT][own])).numpy()
        return float(((found - wanted[own]) ** 2).mean())

    def _imitate(self) -> float:
        """Take the gradient steps of a rollout; return the mean loss."""
        columns = [torch.from_numpy(np.concatenate(of)) for of in zip(*self.memory, strict=True)]
        total = 0.0
        for _ in range(self.config.updates):
            chosen = self.random.integers(len(columns[0]), size=self.config.batch_size)
            seen, wanted = (column[torch.from_numpy(chosen)] for column in columns)
            loss = (self.actor.net(seen) - wanted).square().mean()
            self.optimiser.step(loss)
            total += float(loss.detach())
        return total / self.config.updates

    def state(self) -> State:
        """Return networks, optimizers, steps to imitate, generators and counters."""
        return {
            **super().state(),
            "imitation": self.optimiser.state(),
            "memory": [list(of) for of in self.memory],
            "random": self.random.bit_generator.state,
        }

    def load_state(self, state: State) -> None:
        """Restore a state."""
        super().load_state(state)
        try:
            self.optimiser.load_state(state["imitation"])
            self.memory.clear()
            self.memory.extend((seen.copy(), wanted.copy()) for seen, wanted in state["memory"])
            self.random.bit_generator.state = state["random"]
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"the state does not fit this run: {error}") from error

    def export(self) -> Export:
        """Return the student, and its critics beside it."""
        found = super().export()
        return found._replace(extra={**found.extra, CRITICS: critics_of(self.learner)})
