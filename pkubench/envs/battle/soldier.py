"""The allies of a micro-battle as scripted agents: they play as their enemies do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pkubench.envs.battle.combat import MAP, STOP
from pkubench.envs.battle.heuristic import View, across, command
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
        order = command(view, state.targets, goal - place, luck)
        is_dead = seen[:, -OWN] <= 0.0
        actions = np.where(is_dead, STOP, order.actions[0])
        return actions, Memory(state.random, order.targets, goal)

    def _read(self, seen: FloatArray) -> tuple[View, FloatArray]:
        """Return the view of the enemies, and the own place (2, 1, episodes)."""
        enemies, others = self.scenario.num_enemies, self.scenario.num_units - 1
        if seen.shape[1] != OTHER * others + OWN:
            raise ConfigError(
                f"this soldier observes {OTHER * others + OWN} numbers, got {seen.shape[1]}"
            )
        own = seen[:, OTHER * others :]
        kind = own[:, 4:].argmax(axis=1)
        rows = seen[:, OTHER * (others - enemies) : OTHER * others]
        rows = rows.reshape(len(seen), enemies, OTHER)
        gap = (rows[:, :, 1:3] * TABLE["sight"][kind][:, None, None]).transpose(2, 1, 0)[:, :, None]
        squared = gap[0] * gap[0] + gap[1] * gap[1]
        is_seen = (rows[:, :, 0] > 0).T[:, None]
        is_near = is_seen & (squared < TABLE["reach"][kind] ** 2)
        return View(gap, squared, is_seen, is_near), MAP * own[:, 1:3].T[:, None]
