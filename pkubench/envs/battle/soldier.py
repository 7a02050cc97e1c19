"""The allies of a micro-battle as scripted agents: as their enemies play, and with focused fire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pkubench.envs.battle.combat import MAP, STOP
from pkubench.envs.battle.heuristic import Order, View, across, command, walk
from pkubench.envs.battle.units import TABLE, Scenario
from pkubench.envs.battle.views import OTHER, OWN
from pkubench.envs.core.batch import Array, BoolArray, FloatArray
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.errors import ConfigError


@dataclass(slots=True)
class Memory:
    """What a soldier remembers in each episode."""

    random: RandomStreams
    targets: IntArray
    """(1, episodes): whom it attacked last, -1 for nobody."""
    goal: FloatArray
    """(2, 1, episodes): where it goes while it sees nobody; NaN before the first step."""


@dataclass(frozen=True, slots=True)
class SoldierAgent:
    """Plays the script of the enemies from its own observation."""

    scenario: Scenario

    def begin(self, seeds: IntArray) -> Memory:
        """Start the episodes' streams; nothing is remembered."""
        nobody = np.full((1, len(seeds)), -1, dtype=np.int64)
        return Memory(RandomStreams.started(seeds), nobody, np.full((2, 1, len(seeds)), np.nan))

    def act(self, observation: Any, state: Memory, active: BoolArray) -> tuple[Array, Memory]:
        """Return actions (episodes,) from observations (episodes, length), with or without masks.

        The script never asks for what is not available, but for the dead, which can only stop.
        """
        seen = np.asarray(getattr(observation, "observation", observation), dtype=np.float64)
        view, place = self._read(seen)
        goal = np.where(np.isnan(state.goal), across(place), state.goal)
        luck = state.random.uniform(np.arange(len(active)), 1).T
        order = self._decide(seen, view, state.targets, goal - place, luck)
        is_dead = seen[:, -OWN] <= 0.0
        actions = np.where(is_dead, STOP, order.actions[0])
        return actions, Memory(state.random, order.targets, goal)

    def _decide(
        self, seen: FloatArray, view: View, targets: IntArray, way: FloatArray, luck: FloatArray
    ) -> Order:
        """Return what the soldier does; arguments are those of ``command``, and what it sees."""
        return command(view, targets, way, luck)

    def _read(self, seen: FloatArray) -> tuple[View, FloatArray]:
        """Return the view of the enemies, and the own place (2, 1, episodes)."""
        others = self.scenario.num_units - 1
        if seen.shape[1] != OTHER * others + OWN:
            raise ConfigError(
                f"this soldier observes {OTHER * others + OWN} numbers, got {seen.shape[1]}"
            )
        own = seen[:, OTHER * others :]
        kind = own[:, 4:].argmax(axis=1)
        rows = self._enemies(seen)
        gap = (rows[:, :, 1:3] * TABLE["sight"][kind][:, None, None]).transpose(2, 1, 0)[:, :, None]
        squared = gap[0] * gap[0] + gap[1] * gap[1]
        is_seen = (rows[:, :, 0] > 0).T[:, None]
        is_near = is_seen & (squared < TABLE["reach"][kind] ** 2)
        return View(gap, squared, is_seen, is_near), MAP * own[:, 1:3].T[:, None]

    def _enemies(self, seen: FloatArray) -> FloatArray:
        """Return what is observed of the enemies, (episodes, enemies, OTHER)."""
        enemies, others = self.scenario.num_enemies, self.scenario.num_units - 1
        rows = seen[:, OTHER * (others - enemies) : OTHER * others]
        return rows.reshape(len(seen), enemies, OTHER)


@dataclass(frozen=True, slots=True)
class FocusAgent(SoldierAgent):
    """Shoots at the weakest enemy in range, and steps back from enemies of a shorter range.

    Of the enemies in range it chooses the one with the least health, of equal ones the nearest, so
    that soldiers who see the same enemies shoot at the same one. While its weapon is not ready it
    walks away from the nearest of the enemies that cannot reach as far as itself, if that one is
    near and the edge of the map is not. Otherwise it walks as the enemies' script does.
    """

    def _decide(
        self, seen: FloatArray, view: View, targets: IntArray, way: FloatArray, luck: FloatArray
    ) -> Order:
        rows = self._enemies(seen)
        kinds = rows[:, :, 7:].argmax(axis=2)
        health = (rows[:, :, 0] * TABLE["health"][kinds]).T[:, None]
        weakness = health + _TIE * view.squared
        order = command(
            View(view.gap, weakness, view.is_seen, view.is_near),
            np.full_like(targets, -1),
            way,
            luck,
        )
        own = seen[:, -OWN:]
        kind = own[:, 4:].argmax(axis=1)
        is_shorter = view.is_seen & (TABLE["reach"][kinds].T[:, None] < TABLE["reach"][kind])
        squared = np.where(is_shorter, view.squared, np.inf)
        nearest = squared.argmin(axis=0)[None]
        x, y = (np.take_along_axis(gap, nearest, axis=0)[0] for gap in view.gap)
        retreats = np.take_along_axis(squared, nearest, axis=0)[0] < _NEAR**2
        retreats &= own[:, 3] * TABLE["cooldown"][kind] > _COOLING
        retreats &= (np.abs(own[:, 1:3] - 0.5) * MAP < MAP / 2 - _MARGIN).all(axis=1)
        return Order(np.where(retreats, walk(-x, -y), order.actions), order.targets)


_TIE = 1e-3
"""What a squared cell of distance weighs against a point of health."""
_NEAR = 4.0
"""Cells: who is further away is not fled from."""
_COOLING = 0.25
"""Seconds, half of a step: a weapon that is ready earlier is waited for."""
_MARGIN = 3.0
"""Cells from the edge of the map within which nobody steps back."""
