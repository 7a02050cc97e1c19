"""KeyToDoor solved exactly: the chance of random play, the best search, and an agent that plays it.

The two searches are independent, and the door room is the key room upside down, so everything
follows from one room: find a target that lies in one of ten places, each equally likely, within a
number of steps, seeing two cells far.

    W(p, U, n) = max_a [ #{k in U seen from p': d(p', k) <= n - 1} + W(p', U - seen, n - 1) ]

is the largest number of places of the target, of those in U that have not been seen, from which it
is still reached; p' follows p by the action a, d is the distance within the room, W(., ., 0) = 0.
"""

from __future__ import annotations

import functools
from collections import deque
from typing import Final, NamedTuple

import numpy as np

from pkubench.envs.core.batch import Array, BoolArray
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.memory.key_to_door import (
    EAST,
    KEY_ROOM,
    KINDS,
    MOVES,
    NORTH,
    SIGHT,
    SOUTH,
    WEST,
    places,
)

PLACES: Final = 10
_SIDE: Final = 2 * SIGHT + 1
_UPSIDE_DOWN: Final = np.array([SOUTH, NORTH, WEST, EAST])


class Room(NamedTuple):
    """The key room as a table over its 23 free cells, numbered row by row."""

    cells: IntArray
    """(23, 2): row and column."""
    follows: IntArray
    """(23, 4): the cell that each move leads to."""
    sees: IntArray
    """(23,): the places that are seen from a cell, as a set of bits."""
    distance: IntArray
    """(23, 10): steps to each place."""
    starts: IntArray
    """(10,): cells that an episode starts in."""
    targets: IntArray
    """(10,): cells of the places."""


@functools.cache
def room() -> Room:
    """Return the key room."""
    cells = np.argwhere(np.array([[c in "k+ " for c in row[2:9]] for row in KEY_ROOM]))
    cells[:, 1] += 2
    number = {tuple(cell): k for k, cell in enumerate(cells.tolist())}
    follows = np.array(
        [[number.get((r + dr, c + dc), k) for dr, dc in MOVES.tolist()]
         for k, (r, c) in enumerate(cells.tolist())]
    )  # fmt: skip
    targets, starts = (
        np.array([number[tuple(cell)] for cell in places(KEY_ROOM, kind).tolist()]) for kind in "k+"
    )
    apart = abs(cells[:, None] - cells[targets]).max(axis=2)
    sees = ((apart <= SIGHT) << np.arange(PLACES)).sum(axis=1)
    distance = np.stack([_distances(follows, int(target)) for target in targets], axis=1)
    return Room(cells, follows, sees, distance, starts, targets)


def _distances(follows: IntArray, target: int) -> IntArray:
    found = np.full(len(follows), -1, dtype=np.int64)
    found[target] = 0
    queue = deque([target])
    while queue:
        cell = queue.popleft()
        for before in np.flatnonzero((follows == cell).any(axis=1)).tolist():
            if found[before] < 0:
                found[before] = found[cell] + 1
                queue.append(before)
    return found


def random_search(steps: int) -> float:
    """Return the probability that uniform random moves find the target."""
    of = room()
    total = 0.0
    for target in of.targets:
        here = np.zeros(len(of.cells))
        here[of.starts] = 1 / len(of.starts)
        for _ in range(steps):
            moved = np.zeros(len(here))
            for move in range(4):
                np.add.at(moved, of.follows[:, move], here / 4)
            total += float(moved[target]) / PLACES
            moved[target] = 0.0
            here = moved
    return total


@functools.cache
def _best(cell: int, unseen: int, steps: int) -> tuple[int, int]:
    """Return W and the move that reaches it."""
    if steps == 0 or unseen == 0:
        return 0, NORTH
    return max(
        ((_gain(int(after), unseen, steps - 1), move)
         for move, after in enumerate(room().follows[cell])),
        key=lambda found: (found[0], -found[1]),
    )  # fmt: skip


def _gain(cell: int, unseen: int, steps: int) -> int:
    """Return how many places are reached from a cell, where those in sight are now seen."""
    of = room()
    seen = unseen & int(of.sees[cell])
    near = int((of.distance[cell] <= steps) @ (1 << np.arange(PLACES)))
    return (seen & near).bit_count() + _best(cell, unseen & ~seen, steps)[0]


def best_search(steps: int) -> float:
    """Return the probability that the best search finds the target."""
    of = room()
    found = sum(_gain(int(start), 2**PLACES - 1, steps) for start in of.starts)
    return found / (len(of.starts) * PLACES)


def random_success(phases: tuple[int, int, int]) -> float:
    """Return the probability that uniform random actions open the door."""
    return random_search(phases[0]) * random_search(phases[2])


def best_success(phases: tuple[int, int, int]) -> float:
    """Return the largest probability of opening the door, of any agent with memory."""
    return best_search(phases[0]) * best_search(phases[2])


@functools.cache
def _searches(steps: int) -> IntArray:
    """Return the best move by (cell, unseen, steps left); what no search meets is 0."""
    table = np.zeros((len(room().cells), 2**PLACES, steps + 1), dtype=np.int64)
    stack = [(int(start), (2**PLACES - 1) & ~int(room().sees[start]), steps)
             for start in room().starts]  # fmt: skip
    while stack:
        cell, unseen, left = stack.pop()
        if left == 0 or unseen == 0:
            continue
        move = _best(cell, unseen, left)[1]
        table[cell, unseen, left] = move
        after = int(room().follows[cell, move])
        stack.append((after, unseen & ~int(room().sees[after]), left - 1))
    return table


@functools.cache
def _ways() -> IntArray:
    """Return the first move of a shortest way by (cell, place)."""
    of = room()
    found: IntArray = of.distance[of.follows].argmin(axis=1)
    return found


@functools.cache
def _cell_by_walls() -> tuple[IntArray, IntArray]:
    """Return the walls in sight as sorted numbers, and the cell that each belongs to."""
    walls = np.pad(np.array([[c == "#" for c in row] for row in KEY_ROOM]), SIGHT)
    views = [walls[r : r + _SIDE, c : c + _SIDE] for r, c in room().cells]
    numbers = np.array([_number(view.reshape(1, -1))[0] for view in views])
    order = numbers.argsort()
    return numbers[order], order


def _number(bits: Array) -> IntArray:
    found: IntArray = bits.astype(np.int64) @ (1 << np.arange(_SIDE * _SIDE))
    return found


class Search(NamedTuple):
    """What the agent remembers, of each episode (episodes,)."""

    time: IntArray
    unseen: IntArray
    """Places of this room's target that have not been in sight, as sets of bits."""
    target: IntArray
    """The place where the target was seen; −1: not yet."""


class KeyToDoorPlanner:
    """Searches the key and the door as well as possible: successes are ``best_success``."""

    def __init__(self, phases: tuple[int, int, int], *, skips_key: bool = False) -> None:
        """Plan for rooms of these numbers of steps; one may leave the key alone, and walk south."""
        self.phases, self.skips_key = phases, skips_key

    def begin(self, seeds: IntArray) -> Search:
        """Return the memory at the start of each episode."""
        count = len(seeds)
        return Search(
            np.zeros(count, dtype=np.int64),
            np.full(count, 2**PLACES - 1),
            np.full(count, -1, dtype=np.int64),
        )

    def act(self, observation: Array, state: Search, active: BoolArray) -> tuple[IntArray, Search]:
        """Return moves (episodes,) and what is remembered."""
        first, second, third = self.phases
        count = len(observation)
        time = state.time
        is_new = time == first + second
        unseen = np.where(is_new, 2**PLACES - 1, state.unseen)
        target = np.where(is_new, -1, state.target)
        moves = np.full(count, NORTH, dtype=np.int64)
        views = observation.reshape(count, _SIDE, _SIDE, len(KINDS))
        for begins, steps, kind, is_turned in (
            (0, first, "key", False),
            (first + second, third, "door", True),
        ):
            at = np.flatnonzero((time >= begins) & (time < begins + steps))
            if not len(at):
                continue
            view = views[at, ::-1] if is_turned else views[at]
            cell = _cells(view)
            unseen[at], target[at] = _look(view, kind, cell, unseen[at], target[at])
            left = begins + steps - time[at]
            search = _searches(steps)[cell, unseen[at], left]
            move = np.where(target[at] >= 0, _ways()[cell, target[at]], search)
            moves[at] = _UPSIDE_DOWN[move] if is_turned else move
        if self.skips_key:
            moves[time < first] = SOUTH
        return moves, Search(time + 1, unseen, target)


def _cells(view: Array) -> IntArray:
    """Return the cells that the walls in sight belong to."""
    numbers, cells = _cell_by_walls()
    wall = view[..., KINDS.index("wall")].reshape(len(view), -1) == 1.0
    found: IntArray = cells[np.searchsorted(numbers, _number(wall)).clip(max=len(cells) - 1)]
    return found


def _look(
    view: Array, kind: str, cell: IntArray, unseen: IntArray, target: IntArray
) -> tuple[IntArray, IntArray]:
    """Return the places not seen yet, and where the target was seen, after a look around."""
    of = room()
    is_target = view[..., KINDS.index(kind)].reshape(len(view), -1) == 1.0
    offset = np.stack(np.divmod(is_target.argmax(axis=1), _SIDE), axis=1) - SIGHT
    place = (of.cells[cell] + offset)[:, None] == of.cells[of.targets]
    now = np.where(is_target.any(axis=1), place.all(axis=2).argmax(axis=1), target)
    return unseen & ~of.sees[cell], now
