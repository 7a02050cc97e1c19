"""DAgger with a value loss: a student rolls out, and its teacher says what it would have done.

The distillation of UniDexGrasp++ (Wan et al. 2023): the actor's loss is the squared error from the
teacher's action at what the student meets, and the critic learns the returns of the student itself,
so that PPO can continue from both. In the first rollouts the teacher acts in a share of the
environments (Ross et al., "DAgger", 2011). Noise is added there, from none in the first of them to
the student's deviation in the last, so that the teacher shows how to correct what noise does
("DART", Laskey et al. 2017). What it earns does not train the critic.

A teacher that was trained on the task with other observations is shown the environment's ``state``,
if that has the size that the teacher observes: so a policy that sees learns from one that knows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pkubench.agents.contract import Agent
from pkubench.agents.learner import Context, Export, State
from pkubench.agents.resolve.saved import load_folder
from pkubench.agents.rl.on_policy.config import StudentConfig
from pkubench.agents.rl.on_policy.start import CRITICS, critics_of
from pkubench.agents.rl.on_policy.training import OnPolicyTraining
from pkubench.agents.rl.optimiser import Optimiser, adam
from pkubench.agents.rl.rollout import Array, Rollout
from pkubench.agents.saved.files import load_saved
from pkubench.envs.core.batch import SOLE_AGENT, BatchEnv
from pkubench.envs.core.registry import make_batch
from pkubench.errors import ConfigError, WeightsError

TEACHER = "teacher"
"""Name of the input."""


def imitation_loss(means: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean over steps and actions of the squared error, (B, a) and (B, a) to ()."""
    return (means - wanted).square().mean()


class StudentTraining(OnPolicyTraining):
    """One training seed; see ``pkubench.agents.learner.Learner``."""

    config: StudentConfig

    def __init__(self, context: Context) -> None:
        """Make environments and networks, and load the teacher.

        Raises:
            ConfigError: the task has several agents, or the teacher is of another kind.
            AgentError, WeightsError: the teacher cannot be loaded.
        """
        super().__init__(context)
        try:
            if self.env.agents != (SOLE_AGENT,):
                raise ConfigError("a student is one agent, and this task has several")
            (actor,) = self.learner.actors.values()
            self.actor = actor
            if actor.discrete:
                raise ConfigError("a student imitates actions that are numbers, not choices")
            self.teacher, self.reads_state = teacher_of(context.inputs[TEACHER], self.env)
        except BaseException:
            self.env.close()
            raise
        rate: float = self.config.update.actor_lr  # type: ignore[attr-defined]
        self.optimiser = Optimiser(adam(rate), actor.net.parameters())
        self.random = np.random.default_rng(context.seed)
        self.memory: deque[tuple[Array, Array]] = deque(maxlen=self.config.kept)
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
        own = data.valid.copy()
        own[:, : self._driven] = False
        error = self._error(data, wanted, own)
        self.memory.append((data.observations[SOLE_AGENT][data.valid], wanted[data.valid]))
        loss = self._imitate()
        figures, steps = {}, config.updates
        if own.any():
            figures = self.learner.fit_critics(replace(data, valid=own))
            steps += config.critic_epochs * config.minibatches
        self.counters = done._replace(
            iterations=done.iterations + 1,
            environment_steps=done.environment_steps + int(data.valid.sum()),
            episodes=done.episodes + config.num_envs,
            gradient_steps=done.gradient_steps + steps,
        )
        taught = {"teacher_share": share, "imitation_loss": loss, "imitation_error": error}
        figures = {**self.collector.window.curve(), **figures, **taught}
        return {name: round(value, 6) for name, value in figures.items()}

    def _behave(
        self, observations: Mapping[str, Array], masks: Mapping[str, Array]
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        """Act as the student, or as the teacher in the first environments."""
        raw, mapped, log_probs = self.learner.behave(observations, masks)
        seen = self.env.state() if self.reads_state else observations[SOLE_AGENT]
        active = np.ones(len(seen), np.bool_)
        wanted, self._teacher_state = self.teacher.act(seen, self._teacher_state, active)
        self._wanted.append(np.asarray(wanted, np.float32))
        driven = self._wanted[-1][: self._driven]
        share = np.linspace(0.0, 1.0, len(driven))[:, None]
        noisy = driven + share * self._deviation() * self.random.normal(size=driven.shape)
        for actions in (raw, mapped):
            actions[SOLE_AGENT] = actions[SOLE_AGENT].copy()
            actions[SOLE_AGENT][: self._driven] = noisy.clip(-1.0, 1.0)
        return raw, mapped, log_probs

    @torch.no_grad()
    def _deviation(self) -> Array:
        """Return the standard deviations of the student's actions, (a,)."""
        found: Array = self.actor.std().numpy()
        return found

    @torch.no_grad()
    def _error(self, data: Rollout, wanted: Array, own: Array) -> float:
        """Return the loss at the student's own steps before the update; NaN without any."""
        if not own.any():
            return float("nan")
        means = self.actor.net(torch.from_numpy(data.observations[SOLE_AGENT][own]))
        return float(imitation_loss(means, torch.from_numpy(wanted[own])))

    def _imitate(self) -> float:
        """Take the gradient steps of a rollout; return the mean loss."""
        sizes = [len(seen) for seen, _ in self.memory]
        ends, total = np.cumsum(sizes), 0.0
        for _ in range(self.config.updates):
            chosen = np.sort(self.random.integers(ends[-1], size=self.config.batch_size))
            loss = imitation_loss(
                self.actor.net(self._rows(0, chosen, ends)), self._rows(1, chosen, ends)
            )
            self.optimiser.step(loss)
            total += float(loss.detach())
        return total / self.config.updates

    def _rows(self, column: int, chosen: Array, ends: Array) -> Tensor:
        """Return rows of the memory by sorted number, without a copy of the whole."""
        parts, before = [], 0
        for of, end in zip(self.memory, ends.tolist(), strict=True):
            first, last = np.searchsorted(chosen, (before, end))
            parts.append(of[column][chosen[first:last] - before])
            before = end
        return torch.from_numpy(np.concatenate(parts))

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


def teacher_of(folder: Path, env: BatchEnv) -> tuple[Agent, bool]:
    """Return a teacher, and whether it reads the state instead of what the student observes.

    Raises:
        ConfigError: it is a team, or observes or does something else than this environment has.
        AgentError, WeightsError: it cannot be loaded.
    """
    trained_on = str(load_saved(folder).config.get("task"))
    teacher = load_folder(folder, None)
    if not isinstance(teacher, Agent):
        raise ConfigError("the teacher must be an agent that acts alone")
    other = make_batch(trained_on, 1)
    try:
        seen, acts = other.observation_spaces, other.action_spaces
    finally:
        other.close()
    if acts != env.action_spaces:
        raise ConfigError(f"the teacher was trained on {trained_on}, with other actions")
    if seen == env.observation_spaces:
        return teacher, False
    space = env.state_space
    if space is None or {SOLE_AGENT: space.shape} != {a: of.shape for a, of in seen.items()}:
        raise ConfigError(
            f"the teacher was trained on {trained_on}, whose observations are neither those of "
            "this task nor its state"
        )
    return teacher, True
