"""A Gymnasium environment of any package as a batch, one copy after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.by_id.costs import CostReader
from pkubench.envs.by_id.naming import REPORTED, parsed, source, total
from pkubench.envs.core.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray
from pkubench.errors import ConfigError, PkubenchError, UnknownName

_SEEDS = 2**32
"""Number of seeds that every generator takes (NumPy's older ones take no more)."""


class GymEnvironment(BatchEnv):
    """The environment that Gymnasium makes of an id, with its own time limit.

    | part        | meaning                                                                |
    |-------------|------------------------------------------------------------------------|
    | observation | the environment's; dictionaries and tuples are flattened               |
    | action      | the environment's Box (clipped to its bounds), Discrete, MultiDiscrete |
    | reward, end | the environment's; it may cut episodes itself (truncation)             |

    ``info["cost"]`` is the first cost of the name. With several, ``cost.KEY`` is each of them and
    ``total_cost.KEY`` its sum over the episode so far. An action repeat inside of the environment
    reports the cost that it reports: nothing is added up here but over steps.

    Copies are deep copies of the environment, if it allows them. An episode depends on nothing but
    its seed where the environment keeps Gymnasium's rule that ``reset(seed=...)`` restarts every
    generator.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 30}

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1, *, game: str) -> None:
        """Make ``num_envs`` copies of the environment ``game``, ``gym:ID(cost=KEY:LIMIT,...)``.

        Raises:
            UnknownName: no package has registered the id.
            ConfigError: the name is spelled wrongly, the environment cannot be made, or its spaces
                are of kinds that no agent here takes.
        """
        self.name = parsed(game)
        known = gymnasium.registry
        if self.name.env_id not in known:
            hint = "PKUBENCH_PLUGINS=MODULE imports a module that registers it"
            raise UnknownName("Gymnasium environment", self.name.env_id, known, hint)
        if max_episode_steps == -1:
            max_episode_steps = known[self.name.env_id].max_episode_steps
        super().__init__(num_envs, max_episode_steps)
        self._envs = [self._make() for _ in range(num_envs)]
        first = self._envs[0]
        self.observation_spaces = {SOLE_AGENT: first.observation_space}
        self.action_spaces = {SOLE_AGENT: first.action_space}
        self._costs = CostReader(self.name)
        count = len(self.name.costs)
        self._observed = np.zeros(
            (num_envs, *(first.observation_space.shape or ())), first.observation_space.dtype
        )
        self._cut: BoolArray = np.zeros(num_envs, dtype=np.bool_)
        self._totals: FloatArray = np.zeros((num_envs, count))
        self._reporting: FloatArray = np.zeros(num_envs)

    def _make(self, **options: Any) -> gymnasium.Env[Any, Any]:
        try:
            env = gymnasium.make(self.name.env_id, disable_env_checker=True, **options)
        except Exception as error:
            raise ConfigError(
                f"Gymnasium cannot make {self.name.env_id} ({type(error).__name__}: {error})"
            ) from error
        if isinstance(env.observation_space, spaces.Dict | spaces.Tuple):
            env = gymnasium.wrappers.FlattenObservation(env)
        for what, space, kinds in (
            ("observations", env.observation_space, (spaces.Box, spaces.Discrete)),
            ("actions", env.action_space, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete)),
        ):
            if not isinstance(space, kinds):
                raise ConfigError(f"{what} of {self.name.env_id} are {space}, which is not taken")
        return env

    def _limits(self) -> IntArray | int | None:
        """Return limits that end the episodes which the environments have cut."""
        never = np.iinfo(np.int64).max if self.max_episode_steps is None else self.max_episode_steps
        return np.where(self._cut, self.elapsed, never)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        for index, seed in zip(ids.tolist(), seeds.tolist(), strict=True):
            self._observed[index] = self._envs[index].reset(seed=seed % _SEEDS)[0]
        self._cut[ids] = False
        self._totals[ids] = 0.0
        self._reporting[ids] = 0.0

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        rewards = np.zeros((self.num_envs, 1))
        ends = np.zeros(self.num_envs, dtype=np.bool_)
        costs = np.zeros_like(self._totals)
        played = range(self.num_envs) if active is None else np.flatnonzero(active).tolist()
        space = self.action_spaces[SOLE_AGENT]
        for index in played:
            action = actions[SOLE_AGENT][index]
            if isinstance(space, spaces.Box):
                action = np.clip(action, space.low, space.high)
            elif isinstance(space, spaces.Discrete):
                action = int(action)
            try:
                observation, reward, end, cut, info = self._envs[index].step(action)
            except Exception as error:
                raise PkubenchError(
                    f"{self.name.env_id} failed in a step ({type(error).__name__}: {error})"
                ) from error
            self._observed[index] = observation
            rewards[index, 0], ends[index], self._cut[index] = reward, end, cut
            costs[index], is_whole = self._costs.read(info, bool(end))
            self._reporting[index] += is_whole
            if end or cut:
                self._costs.end_episode(info)
        self._totals += costs
        return rewards, ends, self._infos(costs, self.elapsed + 1)

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: self._observed.copy()}

    def _info(self) -> Info:
        return self._infos(np.zeros_like(self._totals), self.elapsed)

    def _infos(self, costs: FloatArray, steps: IntArray) -> Info:
        keys = [key for key, _ in self.name.costs]
        info: Info = {"cost": costs[:, 0].copy()} if keys else {}
        if len(keys) > 1:
            for k, key in enumerate(keys):
                info[source(key)] = costs[:, k].copy()
                info[total(key)] = self._totals[:, k].copy()
        if self.name.missing == "zero":
            info[REPORTED] = self._reporting / np.maximum(steps, 1)
        return info

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw one environment, (height, width, 3) uint8.

        Raises:
            ConfigError: always; such environments choose how they are drawn when they are made.
        """
        raise ConfigError(
            f"{self.name.env_id} is played without pictures: "
            f"gymnasium.make('{self.name.env_id}', render_mode='human') shows it"
        )

    def close(self) -> None:
        """Close every copy."""
        for env in self._envs:
            env.close()
