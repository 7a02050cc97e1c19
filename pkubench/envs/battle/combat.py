"""The fight: how positions, health and cooldowns of all units change in one tick of 1/16 s.

Arrays are (units, num_envs), allies before enemies. What concerns all units is computed for all;
what concerns few of them (shots, collisions, deaths) only where it happens, on flat indices
``unit * num_envs + environment``. Sums run in an order that does not depend on the batch.
"""

from __future__ import annotations

from itertools import combinations
from typing import Final, NamedTuple

import numpy as np

from pkubench.envs.battle.units import Scenario, Stats
from pkubench.envs.core.batch import Array, BoolArray, FloatArray
from pkubench.envs.core.seeding import IntArray, RandomStreams

MAP: Final = 32.0
"""Width and height of the map in cells."""
TICK: Final = 1.0 / 16
"""Seconds."""
TICKS: Final = 8
"""Of an action."""
MOVES: Final = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]])
"""Directions (x, y) of the actions 0 to 3: north, east, south, west."""
STOP: Final = 4
ATTACK: Final = 5
"""The first of the actions that attack: ``ATTACK + k`` attacks the k-th unit of the other team.

Allies count enemies upwards, and enemies count allies downwards, from the last one.
"""
_TOUCHING: Final = 1e-6
"""Added to distances, which divide."""
_FEW: Final = 512
"""Units of all environments up to which drawing the whole noise of a step at once is quicker than
drawing, in each tick, the numbers of those who shoot."""


class _Shooters(NamedTuple):
    """The living units that attack in the present step, one after the other."""

    who: IntArray
    """Flat indices."""
    targets: IntArray
    """Flat indices of the units that they aim at."""
    unit: IntArray
    env_index: IntArray
    reach_squared: FloatArray
    damage: FloatArray
    cooldown: FloatArray

    @classmethod
    def none(cls) -> _Shooters:
        """Return nobody."""
        places, numbers = np.zeros(0, dtype=np.int64), np.zeros(0)
        return cls(places, places, places, places, numbers, numbers, numbers)


class Combat:
    """Positions, health and cooldowns of all units, and the rules by which they change."""

    def __init__(self, scenario: Scenario, num_envs: int) -> None:
        """Allocate the state of ``num_envs`` environments; ``place`` fills it."""
        units = scenario.num_units
        self.scenario, self.num_envs = scenario, num_envs
        self.stats = Stats(scenario, num_envs)
        self.positions: FloatArray = np.zeros((2, units, num_envs))
        """x and y in cells. May be written to, as may health, cooldowns and ``alive``, if
        ``settle`` is called then."""
        self.health: FloatArray = np.zeros((units, num_envs))
        self.cooldowns: FloatArray = np.zeros((units, num_envs))
        """Seconds until a unit can shoot; may be negative."""
        self.alive: BoolArray = np.zeros((units, num_envs), dtype=np.bool_)
        self.last_moves: FloatArray = np.zeros((2, units, num_envs))
        """Directions of the last actions; zeros for those that do not move."""
        self.last_attacks: IntArray = np.zeros((units, num_envs), dtype=np.int64)
        """The last actions where they attack, 0 elsewhere."""

        self._columns: IntArray = np.arange(num_envs, dtype=np.int64)
        pairs = np.array(list(combinations(range(units), 2)), dtype=np.int64).reshape(-1, 2)
        self._first, self._second = pairs.T
        shape = (len(pairs), num_envs)
        flat = pairs.T[:, :, None] * num_envs + self._columns
        self._pair_units: IntArray = flat.reshape(2, -1)
        """Flat indices of both units of each pair, (2, pairs x num_envs)."""
        self._both: FloatArray = np.zeros(shape)
        """Distance within which a pair touches: the sum of their radii."""
        self._contact: FloatArray = np.zeros((len(pairs), self.stats.radius.shape[1]))
        """The same, squared; of one column where types are fixed."""
        self._gap: FloatArray = np.zeros((2, *shape))
        self._squared: FloatArray = np.zeros(shape)
        self._steps: FloatArray = np.zeros((2, units, num_envs))
        """How far the present actions move each unit in a tick."""
        self._targets: IntArray = np.zeros((units, num_envs), dtype=np.int64)
        """Flat index of the unit that each unit would shoot at."""
        self._shooters = _Shooters.none()
        self.settle()

    def place(self, ids: IntArray, positions: FloatArray, types: IntArray | None) -> None:
        """Start an episode in the environments ``ids``: all alive, at full health, not cooling.

        Args:
            ids: environments.
            positions: (2, units, len(ids)), before units that overlap push each other away, once.
            types: (units, len(ids)) where the scenario draws them, else None.
        """
        if types is not None:
            self.stats.set(ids, types)
            self.settle()
        self.positions[:, :, ids] = positions
        self.health[:, ids] = self._of(self.stats.health, ids)
        self.cooldowns[:, ids] = 0.0
        self.alive[:, ids] = True
        self.last_moves[:, :, ids] = 0.0
        self.last_attacks[:, ids] = 0
        kept = self.positions.copy()
        self._push_apart()
        kept[:, :, ids] = self.positions[:, :, ids]
        self.positions[:] = kept

    def settle(self) -> None:
        """Recompute what follows from types."""
        radius = self.stats.radius
        both = radius[self._first] + radius[self._second]
        self._both[:] = both
        self._contact[:] = both * both

    def act(
        self, actions: IntArray, random: RandomStreams, noise: FloatArray | None = None
    ) -> None:
        """Advance all environments by one action of every unit, ``TICKS`` ticks.

        Args:
            actions: (units, num_envs); those out of range are clipped. What is not available has
                no effect: shots out of range, at the dead or by them, and moves of the dead.
            random: where cooldowns are drawn from; each step takes ``TICKS * units`` numbers of
                every stream, whether they are used or not.
            noise: (TICKS, units, num_envs), instead of these numbers what is added to the cooldown
                of a unit that shoots, in seconds.
        """
        self._aim(actions)
        units, size = len(actions), TICKS * len(actions)
        is_drawn = noise is None and actions.size <= _FEW
        if is_drawn:  # the same numbers
            drawn = random.uniform(self._columns, size, -TICK, 2 * TICK)
            noise = drawn.T.reshape(TICKS, units, self.num_envs)
        for tick in range(TICKS):
            self._tick(tick, random, None if noise is None else noise[tick])
        if not is_drawn:
            random.skip(self._columns, size)

    def _aim(self, actions: IntArray) -> None:
        """Turn actions into moves and targets."""
        allies, enemies = self.scenario.num_allies, self.scenario.num_enemies
        attacks = np.where(actions >= ATTACK, actions, 0)
        np.minimum(attacks[:allies], ATTACK + enemies - 1, out=attacks[:allies])
        np.minimum(attacks[allies:], ATTACK + allies - 1, out=attacks[allies:])
        self.last_attacks = attacks
        moves = np.clip(actions, 0, STOP)
        for axis in range(2):
            np.take(_MOVE_TABLE[axis], moves, out=self.last_moves[axis], mode="clip")
        np.multiply(self.last_moves, self.stats.speed * TICK, out=self._steps)
        self._steps *= self.alive
        np.subtract(attacks[:allies], ATTACK - allies, out=self._targets[:allies])
        np.subtract(ATTACK + allies - 1, attacks[allies:], out=self._targets[allies:])
        self._targets *= self.num_envs
        self._targets += self._columns
        who = _places((attacks != 0) & self.alive)
        unit, env_index = np.divmod(who, self.num_envs)
        reach, damage, cooldown = (
            self._at(numbers, unit, env_index)
            for numbers in (self.stats.reach, self.stats.damage, self.stats.cooldown)
        )
        targets = self._targets.reshape(-1)[who]
        self._shooters = _Shooters(who, targets, unit, env_index, reach * reach, damage, cooldown)

    def _tick(self, tick: int, random: RandomStreams, noise: FloatArray | None) -> None:
        """Advance by one tick: all shots and moves see the state before it."""
        shots = self._shots()
        self.cooldowns -= TICK
        self.positions += self._steps  # those that are shot in this tick still move
        if shots.size:
            by = self._shooters
            shooters, targets = by.who[shots], by.targets[shots]
            if noise is None:
                place = tick * len(self.alive) + by.unit[shots]
                extra = random.uniform_at(by.env_index[shots], place, -TICK, 2 * TICK)
            else:
                extra = noise[by.unit[shots], by.env_index[shots]]
            health = self.health.reshape(-1)
            self.cooldowns.reshape(-1)[shooters] = by.cooldown[shots] + extra
            np.subtract.at(health, targets, by.damage[shots])
            hit = health[targets]
            health[targets] = np.maximum(hit, 0.0)
            self._bury(targets[hit <= 0.0])
        self._die_at_walls()
        self._push_apart()

    def _shots(self) -> IntArray:
        """Return which of the shooters hit somebody now."""
        by, alive = self._shooters, self.alive.reshape(-1)
        lands = self.cooldowns.reshape(-1)[by.who] <= 0.0
        lands &= alive[by.who]
        lands &= alive[by.targets]
        places = self.positions.reshape(2, -1)
        gap = places[:, by.targets] - places[:, by.who]
        gap *= gap
        lands &= gap[0] + gap[1] < by.reach_squared
        return _places(lands)

    def _die_at_walls(self) -> None:
        """Keep units on the map; those that touch its edge die."""
        outside = (self.positions <= 0.0) | (self.positions >= MAP)
        if np.count_nonzero(outside):  # any() costs several times as much
            np.clip(self.positions, 0.0, MAP, out=self.positions)
            touching = _places((outside[0] | outside[1]) & self.alive)
            self.health.reshape(-1)[touching] = 0.0
            self._bury(touching)

    def _bury(self, dead: IntArray) -> None:
        """Take units, by flat index, out of the fight; repeated ones may be given."""
        if dead.size:
            self.alive.reshape(-1)[dead] = False
            self._steps.reshape(2, -1)[:, dead] = 0.0

    def _push_apart(self) -> None:
        """Move living units that overlap apart, once: each by half of the overlap."""
        places, last, start = self.positions, len(self.alive) - 1, 0
        for index in range(last):
            stop = start + last - index
            here, others = places[:, index : index + 1], places[:, index + 1 :]
            np.subtract(here, others, out=self._gap[:, start:stop])
            start = stop
        width, height = self._gap
        np.multiply(width, width, out=self._squared)
        self._squared += height * height
        near = _places(self._squared < self._contact)
        if not near.size:
            return
        alive, (first, second) = self.alive.reshape(-1), self._pair_units[:, near]
        are_alive = alive[first] & alive[second]
        if np.count_nonzero(are_alive) < len(near):  # the others lie where they fell
            near, first, second = near[are_alive], first[are_alive], second[are_alive]
        distance = np.sqrt(self._squared.reshape(-1)[near]) + _TOUCHING
        share = 0.5 * np.maximum(self._both.reshape(-1)[near] / distance - 1.0, 0.0)
        push = self._gap.reshape(2, -1)[:, near] * share
        for flat, moved in zip(places.reshape(2, -1), push, strict=True):
            np.add.at(flat, first, moved)
            np.subtract.at(flat, second, moved)

    def _of(self, numbers: FloatArray, ids: IntArray) -> FloatArray:
        return numbers if numbers.shape[1] == 1 else numbers[:, ids]

    def _at(self, numbers: FloatArray, unit: IntArray, env_index: IntArray) -> FloatArray:
        """Return a unit's number in an environment, for arrays of both."""
        found: FloatArray = numbers[unit, 0] if numbers.shape[1] == 1 else numbers[unit, env_index]
        return found


_MOVE_TABLE: Final[Array] = np.vstack([MOVES, np.zeros(2)]).T.copy()
"""Axis, action -> direction; the action ``STOP`` has none."""


def _places(where: BoolArray) -> IntArray:
    """Return flat indices; ``numpy.flatnonzero``, which takes longer, of contiguous arrays."""
    found: IntArray = where.reshape(-1).nonzero()[0]
    return found
