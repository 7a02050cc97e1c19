"""What is exactly right in the states of a bank: their optimal values and actions, by search."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pkubench.data.episodes import BoolArray, FloatArray, IntArray
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.envs.minigrid import cells
from pkubench.envs.minigrid.grid_world import GridWorld
from pkubench.envs.minigrid.tables import NEVER
from pkubench.errors import DataError
from pkubench.retrieval.bank import MemoryBank

Bits = npt.NDArray[np.uint8]


class Optimum(NamedTuple):
    """Exact answers for n states, for an agent that knows the whole level."""

    values: FloatArray
    """(n,) V*: what the shortest way pays, discounted; 0 where success is out of reach or time."""
    actions: Bits
    """(n,) A*: the actions that begin a shortest way, action ``a`` as the bit ``1 << a``."""

    def select(self, rows: IntArray | BoolArray) -> Optimum:
        """Return the answers for some of the states."""
        return Optimum(self.values[rows], self.actions[rows])


def optimal_values(
    steps: IntArray, elapsed: IntArray, limit: IntArray | int, gamma: float
) -> FloatArray:
    """Return V* = gamma^(d - 1) (1 - 0.9 (t + d) / T).

    Args:
        steps: d, the least number of steps to success, (n,).
        elapsed: t, the steps taken, (n,).
        limit: T, MiniGrid's time limit, one or (n,).
        gamma: discount.

    Returns:
        (n,); 0 where t + d is beyond T.

    >>> optimal_values(np.array([1, 3, 3]), np.array([9, 97, 98]), 100, 0.5).round(12).tolist()
    [0.91, 0.025, 0.0]
    """
    ends = elapsed + steps
    known = np.minimum(steps, limit)  # no powers of what is out of reach
    values = gamma ** (known - 1.0) * (1 - 0.9 * (ends / limit))
    return np.where(ends <= limit, values, 0.0)


def optimum_now(env: GridWorld, gamma: float) -> Optimum:
    """Return the exact answers for the present states of an environment, (num_envs,)."""
    left = env.steps_after()
    steps = np.minimum(left.min(axis=1) + 1, NEVER)
    return Optimum(optimal_values(steps, env.elapsed, env.reward_limits, gamma), _bits(left))


def optimum_of(bank: MemoryBank, rows: IntArray | None = None) -> Optimum:
    """Return the exact answers for rows of a bank, all by default.

    The bank's episodes are played again from their seeds, by their actions.

    Args:
        bank: whose episodes.
        rows: (n,) of the bank.

    Raises:
        DataError: an episode does not play as it is recorded.
    """
    values = np.zeros(len(bank))
    actions = np.zeros(len(bank), dtype=np.uint8)
    wanted = np.ones(len(bank), dtype=np.bool_)
    if rows is not None:
        wanted[:] = False
        wanted[rows] = True
    for level in range(len(bank.levels)):
        _replay(bank, level, wanted, values, actions)
    found = Optimum(values, actions)
    return found if rows is None else found.select(rows)


def _replay(
    bank: MemoryBank, level: int, wanted: npt.NDArray[np.bool_], values: FloatArray, actions: Bits
) -> None:
    """Play the episodes of one level family side by side, and fill in what is wanted of them."""
    starts = bank.episodes.starts
    has_wanted = np.logical_or.reduceat(wanted, starts[:-1])
    own = np.flatnonzero((bank.level == level) & has_wanted)
    if not len(own):
        return
    name = bank.levels[level]
    env = GridWorld(len(own), None, (name,), False)
    seen, _ = env.reset(bank.seeds[own])
    first, lengths = starts[:-1][own], bank.episodes.lengths[own]
    for time in range(int(lengths.max())):
        active = lengths > time
        at = np.where(active, first + time, first)
        if not np.array_equal(seen[SOLE_AGENT][active], bank.images[at[active]]):
            wrong = (seen[SOLE_AGENT] != bank.images[at]).any(axis=(1, 2, 3)) & active
            raise DataError(
                f"{bank.episodes.name or 'the memory bank'}: episode {own[np.argmax(wrong)]} of "
                f"{name} is not what its seed and actions give at step {time}"
            )
        asked = active & wanted[at]
        if asked.any():
            now = optimum_now(env, bank.gamma).select(asked)
            values[at[asked]], actions[at[asked]] = now
        taken = np.where(active, bank.episodes.actions[at], cells.DONE)
        seen = env.step({SOLE_AGENT: taken}, active.copy()).observations


def _bits(left: IntArray) -> Bits:
    """Return the actions that leave the fewest steps (n, actions), as bits; none if none helps."""
    least = left.min(axis=1, keepdims=True)
    best = (left == least) & (least < NEVER)
    found: Bits = np.packbits(best, axis=1, bitorder="little")[:, 0]
    return found
