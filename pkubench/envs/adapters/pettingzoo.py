"""The PettingZoo adapter of a BatchEnv. Importing this module imports PettingZoo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import logger, spaces
from gymnasium.error import ResetNeeded
from pettingzoo import ParallelEnv

from pkubench.envs.adapters.gymnasium import checked_render_mode, info_at
from pkubench.envs.core.batch import Array, BatchEnv
from pkubench.envs.core.episode_seeds import EpisodeSeeds
from pkubench.envs.core.options import option_arrays
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.core.traits import ACTION_MASK
from pkubench.errors import ActionError, ConfigError


class ParallelAdapter(ParallelEnv[str, Any, Any]):  # type: ignore[misc]
    """A batch of one as a PettingZoo parallel environment.

    All agents are listed as long as the episode lasts. An environment's infos go to every agent;
    where there are action masks, an agent's own is its ``action_mask``.
    """

    def __init__(self, batch: BatchEnv, render_mode: str | None = None) -> None:
        """Wrap a batch of one."""
        if batch.num_envs != 1:
            raise ConfigError(f"a parallel environment is a batch of 1, got {batch.num_envs}")
        self.batch = batch
        self.render_mode = checked_render_mode(render_mode)
        self.metadata = {
            **batch.metadata,
            "name": type(batch.unwrapped).__name__,
            "is_parallelizable": True,
        }
        self.possible_agents = list(batch.agents)
        self.agents: list[str] = []
        self.observation_spaces = dict(batch.observation_spaces)
        self.action_spaces = dict(batch.action_spaces)
        if batch.state_space is not None:
            self.state_space = batch.state_space
        self.seeds = EpisodeSeeds(1)
        self._lane: IntArray = np.zeros(1, dtype=np.int64)

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Return the observation space of ``agent``, always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Return the action space of ``agent``, always the same object."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Start episode ``seed``, or the one after the last, with the environment's ``options``.

        Raises:
            UnknownName, ConfigError: an option that it does not have, or a value outside its space.
        """
        # PettingZoo's own test of the interface gives every environment {"options": 1}
        given = {name: value for name, value in (options or {}).items() if name != "options"}
        chosen = option_arrays(self.batch.episode_options, given, 1)
        observations, info = self.batch.reset(self.seeds.take(self._lane, seed), None, chosen)
        self.agents = self.possible_agents[:]
        return self._first(observations), {agent: _info_of(agent, info) for agent in self.agents}

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[
        dict[str, Any],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Advance by one step; after the last one ``agents`` is empty.

        Raises:
            ActionError: the actions do not lie in the action spaces (see ``check_actions``).
            gymnasium.error.ResetNeeded: ``reset`` was never called.
        """
        if self.seeds.last[0] < 0:
            raise ResetNeeded("call reset before step")
        if not self.agents:
            return {}, {}, {}, {}, {}
        if not isinstance(actions, Mapping):
            raise ActionError(
                f"actions are a dictionary with the keys {self.batch.agents}, "
                f"got {type(actions).__name__}"
            )
        batched = {agent: np.asarray(action)[None] for agent, action in actions.items()}
        step = self.batch.step(self.batch.check_actions(batched))
        agents = self.agents
        terminated, truncated = bool(step.terminated[0]), bool(step.truncated[0])
        if terminated or truncated:
            self.agents = []
        return (
            self._first(step.observations),
            {agent: float(r) for agent, r in zip(agents, step.rewards[0], strict=True)},
            dict.fromkeys(agents, terminated),
            dict.fromkeys(agents, truncated),
            {agent: _info_of(agent, step.info) for agent in agents},
        )

    def state(self) -> Array:
        """Return the global state a centralised critic sees, (state_dim,)."""
        state: Array = self.batch.state()[0]
        return state

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return the picture of the present state, (height, width, 3) uint8."""
        if self.render_mode is None:
            logger.warn('Nothing is drawn without render_mode="rgb_array".')
            return None
        return self.batch.render(0)

    def close(self) -> None:
        """Release what the environment holds."""
        self.batch.close()

    def _first(self, observations: Mapping[str, Array]) -> dict[str, Any]:
        return {agent: observations[agent][0] for agent in self.batch.agents}


def _info_of(agent: str, info: Mapping[str, Array]) -> dict[str, Any]:
    """Return the infos that an agent gets."""
    found = info_at(info)
    own = found.get(f"{ACTION_MASK}:{agent}")
    return found if own is None else {**found, ACTION_MASK: own}
