"""Levels by MiniGrid itself, for a NumPy whose generators draw other numbers than ours."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium
import numpy as np

from pkubench.envs.core.seeding import IntArray
from pkubench.envs.minigrid import cells
from pkubench.envs.minigrid.catalogue import FAMILIES
from pkubench.envs.minigrid.cells import Codes
from pkubench.envs.minigrid.engines import GridEngine
from pkubench.errors import MissingExtra


@functools.cache
def original(name: str) -> Any:
    """Return MiniGrid's environment of a level, without wrappers; one a process.

    Raises:
        MissingExtra: MiniGrid is not installed.
    """
    try:
        import minigrid  # noqa: F401 - registers its environments
    except ModuleNotFoundError as error:
        raise MissingExtra("minigrid", f"the level {name}") from error
    return gymnasium.make(f"MiniGrid-{name}", disable_env_checker=True).unwrapped


def original_level(name: str, seed: int) -> tuple[Codes, int, int, int]:
    """Return the grid (height, width) of MiniGrid's level; the agent's column, row, direction."""
    env = original(name)
    env.reset(seed=seed)
    shown = env.grid.encode().transpose(1, 0, 2)
    grid = cells.codes_of(shown)
    if hasattr(env, "success_pos"):
        for (x, y), code in (
            (env.success_pos, cells.MATCH),
            (env.failure_pos, cells.MISMATCH),
        ):
            grid[int(y), int(x)] = code
    if FAMILIES[name].border == cells.CLEAR_WALL:
        grid[grid == cells.WALL] = cells.CLEAR_WALL
    if hasattr(env, "blue_door"):
        grid[grid == cells.door(2, 1)] = cells.LAST_DOOR
    x, y = (int(place) for place in env.agent_pos)
    return grid, x, y, int(env.agent_dir)


class OriginalLevels(GridEngine):
    """The engine of grids on levels that MiniGrid makes; a level's record is its seed."""

    def _shape(self, name: str) -> tuple[int, int]:
        return FAMILIES[name].full_shape

    def _record_width(self) -> int:
        return 1

    def records(self, tasks: IntArray, seeds: IntArray) -> IntArray:
        """Return levels; see :class:`Engine`."""
        return seeds[:, None].astype(np.int64)

    def _levels(self, name: str, records: IntArray) -> tuple[Codes, IntArray, IntArray, IntArray]:
        made = [original_level(name, seed) for seed in records[:, 0].tolist()]
        grids = np.stack([grid for grid, *_ in made])
        x, y, direction = np.array([rest for _, *rest in made], dtype=np.int64).T
        return grids, x, y, direction
