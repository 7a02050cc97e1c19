"""The fight: how positions, health and cooldowns of all units change in one tick of 1/16 s.

Arrays are (units, num_envs), allies before enemies. What concerns all units is computed for all;
what concerns few of them (shots, collisions, deaths) only where it happens, on flat indices
``unit * num_envs + environment``. Sums run in an order that does not depend on the batch.
"""

from __future__ import annotations

from itertools import combinations
from typing import Final

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
_GRAVEYARD: Final = 1e4
"""The dead are compared with others as if they stood this far away, and apart from each other."""


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

        pairs = list(combinations(range(units), 2))
        self._first, self._second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        self._contact: FloatArray = np.zeros((len(pairs), self.stats.radius.shape[1]))
        """Squared distance within which a pair touches."""
        self._gap: FloatArray = np.zeros((2, len(pairs), num_envs))
        self._squared: FloatArray = np.zeros((len(pairs), num_envs))
        self._away: FloatArray = np.zeros((units, num_envs))
        """0 for the living, and how far away from here the dead are counted."""
        self._steps: FloatArray = np.zeros((2, units, num_envs))
        """How far the present actions move each unit in a tick."""
        self._is_shooting: BoolArray = np.zeros((units, num_envs), dtype=np.bool_)
        self._targets: IntArray = np.zeros((units, num_envs), dtype=np.int64)
        """Flat index of the unit that each unit that is shooting aims at."""
        self._columns: IntArray = np.arange(num_envs, dtype=np.int64)
        self._graves: FloatArray = np.linspace(1.0, units, units)[:, None] * _GRAVEYARD

    def place(self, ids: IntArray, positions: FloatArray, types: IntArray | None) -> None:
        """Start an episode in the environments ``ids``: all alive, at full health, not cooling.

        Args:
            ids: environments.
            positions: (2, units, len(ids)), before units that overlap push each other away, once.
            types: (units, len(ids)) where the scenario draws them, else None.
        """
        if types is not None:
            self.stats.set(ids, types)
        self.positions[:, :, ids] = positions
        self.health[:, ids] = self._of(self.stats.health, ids)
        self.cooldowns[:, ids] = 0.0
        self.alive[:, ids] = True
        self.last_moves[:, :, ids] = 0.0
        self.last_attacks[:, ids] = 0
        self.settle()
        kept = self.positions.copy()
        self._push_apart()
        kept[:, :, ids] = self.positions[:, :, ids]
        self.positions[:] = kept

    def settle(self) -> None:
        """Recompute what follows from types and from who is alive."""
        radius = self.stats.radius
        self._contact[:] = (radius[self._first] + radius[self._second]) ** 2
        np.multiply(self._graves, ~self.alive, out=self._away)

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
        for tick in range(TICKS):
            self._tick(tick, random, None if noise is None else noise[tick])
        random.skip(self._columns, TICKS * len(actions))

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
        np.not_equal(attacks, 0, out=self._is_shooting)
        self._is_shooting &= self.alive
        np.subtract(attacks[:allies], ATTACK - allies, out=self._targets[:allies])
        np.subtract(ATTACK + allies - 1, attacks[allies:], out=self._targets[allies:])
        self._targets *= self.num_envs
        self._targets += self._columns

    def _tick(self, tick: int, random: RandomStreams, noise: FloatArray | None) -> None:
        """Advance by one tick: all shots and moves see the state before it."""
        shooters, targets = self._shots()
        self.cooldowns -= TICK
        self.positions += self._steps  # those that are shot in this tick still move
        if shooters.size:
            unit, env_index = np.divmod(shooters, self.num_envs)
            if noise is None:
                place = tick * len(self.alive) + unit
                extra = random.uniform_at(env_index, place, -TICK, 2 * TICK)
            else:
                extra = noise[unit, env_index]
            health, cooldowns = self.health.reshape(-1), self.cooldowns.reshape(-1)
            cooldowns[shooters] = self._at(self.stats.cooldown, unit, env_index) + extra
            np.subtract.at(health, targets, self._at(self.stats.damage, unit, env_index))
            hit = health[targets]
            health[targets] = np.maximum(hit, 0.0)
            self._bury(targets[hit <= 0.0])
        self._die_at_walls()
        self._push_apart()

    def _shots(self) -> tuple[IntArray, IntArray]:
        """Return who shoots now and at whom, as flat indices."""
        shooters = np.flatnonzero(self._is_shooting & (self.cooldowns <= 0.0))
        targets = self._targets.reshape(-1)[shooters]
        x, y = self.positions.reshape(2, -1)
        gap_x, gap_y = x[targets] - x[shooters], y[targets] - y[shooters]
        unit, env_index = np.divmod(shooters, self.num_envs)
        reach = self._at(self.stats.reach, unit, env_index)
        lands = gap_x * gap_x + gap_y * gap_y < reach * reach
        lands &= self.alive.reshape(-1)[targets]
        return shooters[lands], targets[lands]

    def _die_at_walls(self) -> None:
        """Keep units on the map; those that touch its edge die."""
        outside = (self.positions <= 0.0) | (self.positions >= MAP)
        if outside.any():
            np.clip(self.positions, 0.0, MAP, out=self.positions)
            touching = np.flatnonzero((outside[0] | outside[1]) & self.alive)
            self.health.reshape(-1)[touching] = 0.0
            self._bury(touching)

    def _bury(self, dead: IntArray) -> None:
        """Take units, by flat index, out of the fight; repeated ones may be given."""
        if dead.size:
            self.alive.reshape(-1)[dead] = False
            self._is_shooting.reshape(-1)[dead] = False
            self._steps.reshape(2, -1)[:, dead] = 0.0
            self._away.reshape(-1)[dead] = self._graves[dead // self.num_envs, 0]

    def _push_apart(self) -> None:
        """Move living units that overlap apart, once: each by half of the overlap."""
        x, y = self.positions[0] + self._away, self.positions[1]
        start = 0
        for index in range(len(x) - 1):
            stop = start + len(x) - 1 - index
            np.subtract(x[index], x[index + 1 :], out=self._gap[0, start:stop])
            np.subtract(y[index], y[index + 1 :], out=self._gap[1, start:stop])
            start = stop
        np.multiply(self._gap[0], self._gap[0], out=self._squared)
        height = self._gap[1] * self._gap[1]
        self._squared += height
        near = np.flatnonzero(self._squared < self._contact)
        if not near.size:
            return
        pair, env_index = np.divmod(near, self.num_envs)
        first, second = self._first[pair], self._second[pair]
        radius = self.stats.radius
        both = self._at(radius, first, env_index) + self._at(radius, second, env_index)
        distance = np.sqrt(self._squared.reshape(-1)[near]) + _TOUCHING
        share = 0.5 * np.maximum(both / distance - 1.0, 0.0)
        for axis in range(2):
            push = self._gap[axis].reshape(-1)[near] * share
            places = self.positions[axis].reshape(-1)
            np.add.at(places, first * self.num_envs + env_index, push)
            np.subtract.at(places, second * self.num_envs + env_index, push)

    def _of(self, numbers: FloatArray, ids: IntArray) -> FloatArray:
        return numbers if numbers.shape[1] == 1 else numbers[:, ids]

    def _at(self, numbers: FloatArray, unit: IntArray, env_index: IntArray) -> FloatArray:
        """Return a unit's number in an environment, for arrays of both."""
        found: FloatArray = numbers[unit, 0] if numbers.shape[1] == 1 else numbers[unit, env_index]
        return found


_MOVE_TABLE: Final[Array] = np.vstack([MOVES, np.zeros(2)]).T.copy()
"""Axis, action -> direction; the action ``STOP`` has none."""
