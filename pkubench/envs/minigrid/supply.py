"""Levels ahead of time: following seeds are known, and many levels cost little more than one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pkubench.envs.core.seeding import IntArray, following_seeds

_BLOCK = 4096
"""Levels made at a time, at most."""
_AHEAD = 256
"""Levels kept for each environment, at most."""


class LevelSupply:
    """Levels for the episodes of a batch, by seed.

    An environment that is reset to the seed that follows its last one (as Gymnasium's resets
    without a seed are, and automatic ones) most probably goes on so: its next levels are then made
    in one block with those of the others. Other seeds are made when they are asked for.
    """

    def __init__(
        self,
        num_envs: int,
        width: int,
        make: Callable[[IntArray, IntArray], IntArray],
        task_of: Callable[[IntArray], IntArray],
    ) -> None:
        """Keep nothing yet.

        Args:
            num_envs: number of environments.
            width: how many numbers a level has.
            make: from tasks and seeds, (n,) each, to levels (n, width).
            task_of: from seeds (n,) to the tasks that resets without a task have.
        """
        self._make = make
        self._task_of = task_of
        ahead = min(_AHEAD, max(2, _BLOCK // num_envs))
        self._last: IntArray = np.full(num_envs, -1, dtype=np.int64)
        self._next: IntArray = np.full(num_envs, ahead, dtype=np.int64)
        self._seeds: IntArray = np.full((num_envs, ahead + 1), -1, dtype=np.int64)
        self._levels: IntArray = np.zeros((num_envs, ahead, width), dtype=np.int64)

    def take(self, ids: IntArray, tasks: IntArray, seeds: IntArray) -> IntArray:
        """Return the levels of the episodes ``seeds`` in the environments ``ids``."""
        is_usual = bool((tasks == self._task_of(seeds)).all())
        is_kept = is_usual and self._has(ids, seeds)
        if is_usual and not is_kept and self._follow(ids, seeds):
            self._next[ids] = self._seeds.shape[1] - 1
            self._fill()
            is_kept = True
        self._last[ids] = seeds
        if not is_kept:
            self._next[ids] = self._seeds.shape[1] - 1
            return self._make(tasks, seeds)
        place = self._next[ids]
        self._next[ids] = place + 1
        levels: IntArray = self._levels[ids, place]
        return levels

    def _has(self, ids: IntArray, seeds: IntArray) -> bool:
        return bool((self._seeds[ids, self._next[ids]] == seeds).all())

    def _follow(self, ids: IntArray, seeds: IntArray) -> bool:
        """Whether every one of the ``seeds`` follows the last one of its environment."""
        last = self._last[ids]
        return bool((last >= 0).all() and (following_seeds(last, 1)[:, 0] == seeds).all())

    def _fill(self) -> None:
        """Make the next levels of every environment that has used half of its own or more."""
        ahead = self._seeds.shape[1] - 1
        low = np.flatnonzero((2 * self._next >= ahead) & (self._last >= 0))
        seeds = following_seeds(self._last[low], ahead)
        flat = seeds.reshape(-1)
        levels = self._make(self._task_of(flat), flat)
        self._seeds[low, :ahead] = seeds
        self._levels[low] = levels.reshape(len(low), ahead, -1)
        self._next[low] = 0
