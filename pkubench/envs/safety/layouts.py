"""Where things stand when an episode begins: Safety-Gymnasium's sampling, draw by draw.

Its release 1.0.0 draws everything from one legacy generator (``numpy.random.RandomState``), in a
fixed order; drawing the same numbers in the same order gives the same layouts for the same seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pkubench.envs.core.seeding import IntArray
from pkubench.errors import PkubenchError

Rectangle = tuple[float, float, float, float]
"""Least x and y, then largest x and y, in m."""
Point = tuple[float, float]

_ATTEMPTS = 100
"""Tries to place one thing before the whole layout is begun again."""
_ONE_BY_ONE = 16
"""Tries made one by one before the others are made at once, which is faster where many fail."""
_LAYOUTS = 10_000
_GOALS = 10_000
_LEGACY_SEEDS = 2**32
_LOCATION_SLACK = 1e-9
"""Half-width of the square a thing of fixed place is drawn from, in m."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one thing may be put."""

    area: Rectangle
    """What its centre may lie in, before the clearance is taken off on all sides."""
    clearance: float
    """Radius around it in m; the circles of two things do not overlap."""

    @classmethod
    def at(cls, x: float, y: float, clearance: float = 0.0) -> Placement:
        """Return the placement of a thing of fixed place; two numbers are drawn all the same."""
        k = clearance + _LOCATION_SLACK
        return cls((x - k, y - k, x + k, y + k), clearance)

    def room(self) -> tuple[float, float, float, float]:
        """Return x, width, y, height of the rectangle that is drawn from."""
        left, low, right, high = self.area
        left, low = left + self.clearance, low + self.clearance
        return left, (right - self.clearance) - left, low, (high - self.clearance) - low


class LegacyRandom:
    """One legacy generator an environment, and how many doubles it has still to skip.

    The original spends one double an environment step on a number it knows already; here these are
    counted and skipped when the next number is wanted.
    """

    def __init__(self, num_envs: int) -> None:
        """Make ``num_envs`` streams, to be seeded before use."""
        first = np.random.RandomState(0)
        # A copy costs a fiftieth of a new generator, which asks the system for entropy.
        self._states = [first, *(_copy(first) for _ in range(num_envs - 1))]
        self.skipped: IntArray = np.zeros(num_envs, dtype=np.int64)

    def seed(self, index: int, seed: int) -> np.random.RandomState:
        """Restart an environment's stream; seeds above 2**32 - 1 are given as two words."""
        state = self._states[index]
        if seed < _LEGACY_SEEDS:
            state.seed(seed)
        else:
            state.seed([seed % _LEGACY_SEEDS, seed // _LEGACY_SEEDS])
        self.skipped[index] = 0
        return state

    def at(self, index: int) -> np.random.RandomState:
        """Return an environment's stream, at its next number."""
        state = self._states[index]
        count = int(self.skipped[index])
        if count:
            state.random_sample(count)
            self.skipped[index] = 0
        return state


def _copy(state: np.random.RandomState) -> np.random.RandomState:
    import copy

    return copy.deepcopy(state)


class LayoutSampler:
    """Places the things of an environment one after the other, none too close to another."""

    def __init__(self, placements: Sequence[Placement]) -> None:
        """Take the things in the order they are placed in."""
        self._rooms = [placement.room() for placement in placements]
        self._clearances = [placement.clearance for placement in placements]
        self._gaps = [
            [other + placement.clearance for other in self._clearances[:number]]
            for number, placement in enumerate(placements)
        ]

    def sample(self, random: np.random.RandomState) -> list[Point]:
        """Return a place for each thing, in m.

        Raises:
            PkubenchError: no layout is found in 10,000 attempts.
        """
        draw = random.random_sample
        for _ in range(_LAYOUTS):
            layout: list[Point] = []
            for room, gaps in zip(self._rooms, self._gaps, strict=True):
                left, width, low, height = room
                for _ in range(_ONE_BY_ONE):
                    x = left + width * draw()
                    y = low + height * draw()
                    if _is_clear(x, y, layout, gaps):
                        layout.append((x, y))
                        break
                else:
                    place = _place_at_once(random, room, layout, gaps)
                    if place is None:
                        break
                    layout.append(place)
            else:
                return layout
        raise PkubenchError(f"found no layout of {len(self._rooms)} things in {_LAYOUTS} attempts")

    def replace(
        self, random: np.random.RandomState, number: int, layout: Sequence[Point]
    ) -> Point | None:
        """Return a new place for one thing among the others, or None after 10,000 attempts.

        Args:
            random: the stream to draw from.
            number: which thing.
            layout: where all things are now, the one that is moved included.
        """
        left, width, low, height = self._rooms[number]
        own = self._clearances[number]
        others = [place for other, place in enumerate(layout) if other != number]
        gaps = [c + own for other, c in enumerate(self._clearances) if other != number]
        draw = random.random_sample
        for _ in range(_GOALS):
            x = left + width * draw()
            y = low + height * draw()
            if _is_clear(x, y, others, gaps):
                return x, y
        return None


def _place_at_once(
    random: np.random.RandomState,
    room: tuple[float, float, float, float],
    layout: Sequence[Point],
    gaps: Sequence[float],
) -> Point | None:
    """Make the remaining attempts to place a thing on arrays; leave the stream after the last."""
    count = _ATTEMPTS - _ONE_BY_ONE
    before = random.get_state(legacy=False)
    unit = random.random_sample((count, 2))
    left, width, low, height = room
    x, y = left + width * unit[:, 0], low + height * unit[:, 1]
    others = np.array(layout)
    dx, dy = x[:, None] - others[:, 0], y[:, None] - others[:, 1]
    clear = ~(np.sqrt(dx * dx + dy * dy) < gaps).any(axis=1)
    if not clear.any():
        return None
    chosen = int(clear.argmax())
    random.set_state(before)
    random.random_sample(2 * (chosen + 1))
    return float(x[chosen]), float(y[chosen])


def _is_clear(x: float, y: float, others: Sequence[Point], gaps: Sequence[float]) -> bool:
    for (other_x, other_y), gap in zip(others, gaps, strict=True):
        dx, dy = x - other_x, y - other_y
        if math.sqrt(dx * dx + dy * dy) < gap:
            return False
    return True
