"""Training of a critic of joint actions for a session: steps, replay, updates, export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pkubench.agents.components import as_plain
from pkubench.agents.learner import Context, Counters, Export, State
from pkubench.agents.rl.malloc import keep_freed_memory
from pkubench.agents.rl.replay import ReplayBuffer, rows_of
from pkubench.agents.rl.rollout import Array, Collector
from pkubench.agents.rl.rows import flat_inputs
from pkubench.agents.rl.trained import tensors_of
from pkubench.agents.rl.value_based.dueling import DuelingLearner
from pkubench.agents.rl.value_based.dueling_config import DuelingConfig
from pkubench.errors import WeightsError


class DuelingTraining:
    """One training seed; see ``pkubench.agents.learner.Learner``."""

    is_anytime = False
    ended = ""

    def __init__(self, context: Context) -> None:
        """Make environments, networks and replay.

        Raises:
            ConfigError: the settings do not fit the task.
        """
        config: DuelingConfig = context.settings
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        self.config = config
        self.env = context.make_env(config.num_envs)
        try:
            self.learner = DuelingLearner(self.env, config, context.seed, context.device)
            limit = context.task.cost_limit
            self.collector = Collector(
                self.env, context.seed, config.window, flat_inputs, cost_limit=limit
            )
        except BaseException:
            self.env.close()
            raise
        self.replay = ReplayBuffer(self.learner.layout, config.num_envs, config.buffer_size)
        self.counters = Counters()

    def iterate(self) -> dict[str, float]:
        """Take a training interval's steps, and a burst of updates."""
        config, learner, done = self.config, self.learner, self.counters
        is_warm = done.environment_steps >= config.warmup_steps
        epsilon = config.epsilon if is_warm else 1.0

        def behave(
            observations: Mapping[str, Array], masks: Mapping[str, Array]
        ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
            actions = learner.act(observations, epsilon)
            return actions, actions, {}

        data = self.collector.collect(config.train_interval, behave, restart=False)
        rows = rows_of(data, data.costs, learner.layout, self.env.action_spaces)
        self.replay.add(*rows, data.terminated, data.truncated)
        steps = done.environment_steps + data.first.size
        figures = self._update() if steps > config.warmup_steps else {}
        self.counters = done._replace(
            iterations=done.iterations + 1,
            environment_steps=steps,
            episodes=done.episodes + int((data.terminated | data.truncated).sum()),
            gradient_steps=learner.critic_optimiser.count,
        )
        figures = {**self.collector.window.curve(), **figures}
        return {name: round(value, 6) for name, value in figures.items()}

    def _update(self) -> dict[str, float]:
        config, learner = self.config, self.learner
        drawn = self.replay.draw(
            config.updates, config.batch_size, config.n_step, config.gamma, learner.generator
        )
        both = np.empty((2, config.batch_size, learner.layout.width), np.float32)
        figures: dict[str, float] = {}
        for k in range(config.updates):
            self.replay.gather(drawn.rows[k], both[0])
            self.replay.gather(drawn.next_rows[k], both[1])
            given = [both[0], both[1], drawn.rewards[k], drawn.discounts[k]]
            figures = learner.update(*(torch.from_numpy(of).to(learner.device) for of in given))
        return figures

    def state(self) -> State:
        """Return networks, optimisers, replay, rollout and counters."""
        return {
            **self.learner.state(),
            "collector": self.collector.freeze(),
            "replay": self.replay.freeze(),
            "counters": dict(self.counters._asdict()),
        }

    def load_state(self, state: State) -> None:
        """Restore a state; unfinished episodes are replayed."""
        try:
            self.learner.load_state(state)
            self.collector.thaw(state["collector"])
            self.replay.thaw(state["replay"])
            self.counters = Counters(**state["counters"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise WeightsError(f"the state does not fit this run: {error}") from error

    def export(self) -> Export:
        """Return the agents' own values, which act without the critic."""
        tensors: dict[str, Array] = {}
        members: dict[str, Any] = {}
        for agent, net in zip(self.learner.agents, self.learner.actors, strict=True):
            tensors |= {f"{agent}.{key}": value for key, value in tensors_of(net).items()}
            members[agent] = {"network": agent, "dueling": net.spec.as_config()}
        config = {"settings": as_plain(self.config), "members": members}
        return Export(config, tensors, about=self.collector.window.training_cost_entry())

    def close(self) -> None:
        """Release the environments."""
        self.env.close()
