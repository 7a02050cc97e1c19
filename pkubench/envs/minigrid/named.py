"""Levels by MiniGrid's names: ``minigrid:DoorKey-8x8-v0``, ``minigrid:BabyAI-GoToLocal-v0``.

``minigrid:DoorKey-8x8-v0,LavaGapS7-v0`` is both side by side, as in the multitask environments.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.minigrid.catalogue import FAMILIES
from pkubench.envs.minigrid.grid_world import GridWorld, MixedLevels
from pkubench.errors import MissingExtra, UnknownName

PREFIX = "minigrid:"


class NamedLevel(BatchEnv):
    """A level of MiniGrid or BabyAI by its registered name, with or without ``MiniGrid-``.

    Making one gives a :class:`GridWorld` where the level is made here, and an
    :class:`OriginalLevel` otherwise. Several names with commas between them give
    :class:`MixedLevels`, if all of them are made here.
    """

    def __new__(  # type: ignore[misc]
        cls, num_envs: int = 1, max_episode_steps: int | None = -1, *, game: str
    ) -> BatchEnv:
        """Make ``num_envs`` environments of the level ``game``.

        Raises:
            UnknownName: there is no such level, or one of several is not made here.
            MissingExtra: MiniGrid is not installed, and has to play it.
        """
        name = game.removeprefix(PREFIX)
        own = tuple(each.strip().removeprefix("MiniGrid-") for each in name.split(","))
        if len(own) > 1:
            return MixedLevels(num_envs, max_episode_steps, own)
        if own[0] in FAMILIES:
            return GridWorld(num_envs, max_episode_steps, own, False)
        return OriginalLevel(num_envs, max_episode_steps, name)


def registered_levels() -> list[str]:
    """Return the names of all levels that the installed MiniGrid has registered.

    Raises:
        MissingExtra: MiniGrid is not installed.
    """
    try:
        import minigrid  # noqa: F401 - registers its environments
    except ModuleNotFoundError as error:
        raise MissingExtra("minigrid", "levels of MiniGrid and BabyAI") from error
    return [name for name in gymnasium.registry if name.startswith(("MiniGrid-", "BabyAI-"))]


class OriginalLevel(BatchEnv):
    """A level that MiniGrid's own code plays, one environment after the other.

    | part        | type            | meaning                                          |
    |-------------|-----------------|--------------------------------------------------|
    | observation | uint8 (7, 7, 3) | cells in front: object, color, state             |
    | action      | Discrete(7)     | left, right, forward, pickup, drop, toggle, done |
    | reward      | float64         | MiniGrid's                                       |
    | ends        |                 | as in MiniGrid                                   |

    BabyAI sets the time limit of an episode by its instruction. `info`: `direction`, `success` (a
    positive reward) and `mission`, the instruction, which observations do not have.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, num_envs: int, max_episode_steps: int | None, name: str) -> None:
        """Make ``num_envs`` environments.

        Raises:
            UnknownName: MiniGrid has no such level.
            MissingExtra: MiniGrid is not installed.
        """
        known = registered_levels()
        full = name if name in known else f"MiniGrid-{name}"
        if full not in known:
            raise UnknownName("level of MiniGrid", name, known)
        self._has_own_limit = max_episode_steps == -1
        super().__init__(num_envs, None if self._has_own_limit else max_episode_steps)
        self._envs: list[Any] = [
            gymnasium.make(full, render_mode="rgb_array", disable_env_checker=True).unwrapped
            for _ in range(num_envs)
        ]
        first = self._envs[0]
        self.observation_spaces = {SOLE_AGENT: first.observation_space["image"]}
        self.action_spaces = {SOLE_AGENT: spaces.Discrete(int(first.action_space.n))}
        self._images = np.zeros((num_envs, *first.observation_space["image"].shape), np.uint8)

    def _limits(self) -> IntArray | int | None:
        if not self._has_own_limit:
            return self.max_episode_steps
        return np.array([env.max_steps for env in self._envs], dtype=np.int64)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        with redirect_stdout(io.StringIO()):  # BabyAI prints which levels it rejects
            for index, seed in zip(ids.tolist(), seeds.tolist(), strict=True):
                self._images[index] = self._envs[index].reset(seed=seed)[0]["image"]

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        rewards = np.zeros((self.num_envs, 1))
        ends = np.zeros(self.num_envs, dtype=np.bool_)
        played = range(self.num_envs) if active is None else np.flatnonzero(active).tolist()
        for index in played:
            action = int(actions[SOLE_AGENT][index])
            observation, rewards[index, 0], ends[index], _, _ = self._envs[index].step(action)
            self._images[index] = observation["image"]
        return rewards, ends, self._infos(rewards[:, 0] > 0)

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: self._images.copy()}

    def _info(self) -> Info:
        return self._infos(np.zeros(self.num_envs, dtype=np.bool_))

    def _infos(self, success: BoolArray) -> Info:
        direction = np.array([env.agent_dir for env in self._envs], dtype=np.int64)
        mission = np.array([env.mission for env in self._envs], dtype=object)
        return {"direction": direction, "success": success, "mission": mission}

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw one environment as MiniGrid does, (height, width, 3) uint8."""
        picture: npt.NDArray[np.uint8] = self._envs[index].render()
        return picture
