"""Recording episodes: an environment that keeps what is played in it, whoever plays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from gymnasium import spaces

from pkubench.data.episodes import Episodes, EpisodesBuilder
from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info, Step
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.core.wrapper import EnvWrapper
from pkubench.errors import ConfigError


class RecordingEnv(EnvWrapper):
    """Records every episode that ends in it, in the order of their ends.

    Episodes that are reset before they end are left out. Actions are recorded as the environment
    executes them: clipped to the bounds of their space.
    """

    def __init__(self, inner: BatchEnv) -> None:
        """Record what is played in ``inner``.

        Raises:
            ConfigError: its episodes have no time limit; or its agents have different spaces.
        """
        super().__init__(inner)
        if inner.max_episode_steps is None:
            raise ConfigError("episodes without a time limit cannot be recorded")
        kinds = {(str(self.observation_spaces[a]), str(self.action_spaces[a])) for a in self.agents}
        if len(kinds) > 1:
            raise ConfigError("recorded agents must have the same spaces")
        is_team = self.num_agents > 1
        agents = (self.num_agents,) if is_team else ()
        seen = self.observation_spaces[self.agents[0]]
        taken = self.action_spaces[self.agents[0]]
        rows = (self.num_envs, inner.max_episode_steps)
        self._observations = np.zeros(
            (rows[0], rows[1] + 1, *agents, *(seen.shape or ())), dtype=seen.dtype
        )
        self._actions = np.zeros((*rows, *agents, *(taken.shape or ())), dtype=taken.dtype)
        self._rewards = np.zeros((*rows, *agents))
        self._costs = np.zeros(rows)
        self._bounds = (taken.low, taken.high) if isinstance(taken, spaces.Box) else None
        self._is_team = is_team
        self._has_cost = False
        self._now: tuple[Mapping[str, Array], BoolArray | None] = ({}, None)
        self._builder = self._new_builder()
        self.num_steps = 0
        """Of the episodes recorded so far."""
        self.num_episodes = 0

    def _new_builder(self) -> EpisodesBuilder:
        return EpisodesBuilder(agents=self.agents if self._is_team else ())

    def recorded(self, *, task: str, name: str) -> Episodes:
        """Return the episodes recorded since the last call of this method.

        Raises:
            DataError: there are none.
        """
        builder, self._builder = self._builder, self._new_builder()
        self.num_steps = self.num_episodes = 0
        return builder.build(task=task, name=name)

    def _begin(self, ids: IntArray) -> None:
        self._has_cost = "cost" in self._started
        self._observations[ids, 0] = self._joined(self._seen)[ids]

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        self._now = actions, active
        return super()._step(actions, active)

    def _change(self, step: Step) -> tuple[FloatArray, BoolArray, Info]:
        actions, active = self._now
        at = self._all if active is None else np.flatnonzero(active)
        time = self.elapsed[at]
        taken = self._joined(actions)[at]
        self._actions[at, time] = taken if self._bounds is None else np.clip(taken, *self._bounds)
        self._rewards[at, time] = step.rewards[at] if self._is_team else step.rewards[at, 0]
        self._observations[at, time + 1] = self._joined(step.observations)[at]
        if self._has_cost:
            self._costs[at, time] = step.info["cost"][at]
        ended = (step.terminated | step.truncated)[at]
        for index, length in zip(at[ended].tolist(), (time[ended] + 1).tolist(), strict=True):
            self._builder.add(
                self._observations[index, : length + 1].copy(),
                self._actions[index, :length].copy(),
                self._rewards[index, :length].copy(),
                bool(step.terminated[index]),
                self._costs[index, :length].copy() if self._has_cost else None,
            )
            self.num_steps += length
            self.num_episodes += 1
        return step.rewards, step.terminated, step.info

    def _joined(self, parts: Mapping[str, Array]) -> Array:
        """Return one array (num_envs, ...), with an axis of agents where there are several."""
        if self._is_team:
            return np.stack([np.asarray(parts[agent]) for agent in self.agents], axis=1)
        return np.asarray(parts[self.agents[0]])
