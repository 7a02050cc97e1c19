"""What units see: SMAX's observations, action masks and global state, from arrays of the fight."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.battle.combat import ATTACK, MAP, STOP, Combat
from pkubench.envs.battle.heuristic import View
from pkubench.envs.battle.units import UNIT_TYPES
from pkubench.envs.core.batch import FloatArray

TYPES: Final = len(UNIT_TYPES)
OTHER: Final = 7 + TYPES
"""Numbers that an observation has of each other unit."""
OWN: Final = 4 + TYPES
"""Numbers that it ends with, of the unit itself."""

Float32 = npt.NDArray[np.float32]


class Views:
    """Distances of allies to all units, and what follows from them; ``refresh`` after each step."""

    def __init__(self, combat: Combat) -> None:
        """Allocate the arrays for the units of ``combat``."""
        self.combat = combat
        allies, units = combat.scenario.num_allies, combat.scenario.num_units
        self.allies, self.units = allies, units
        self.length = OTHER * (units - 1) + OWN
        shape = (allies, units, combat.num_envs)
        self.gap: FloatArray = np.zeros((2, *shape))
        """Of each unit as seen from each ally, in cells, (2, allies, units, num_envs)."""
        self.squared: FloatArray = np.zeros(shape)

    def refresh(self) -> None:
        """Recompute distances from the present positions."""
        positions = self.combat.positions
        np.subtract(positions[:, None], positions[:, : self.allies, None], out=self.gap)
        np.multiply(self.gap[0], self.gap[0], out=self.squared)
        self.squared += self.gap[1] * self.gap[1]

    def enemy_view(self) -> View:
        """Return what the enemies see of the allies, in the order of their attacks."""
        n, combat = self.allies, self.combat
        squared = self.squared[::-1, n:]
        is_seen = squared < combat.stats.sight[n:] ** 2
        is_seen &= combat.alive[n - 1 :: -1, None] if n > 1 else combat.alive[:1, None]
        is_seen &= combat.alive[n:]
        is_near = squared < combat.stats.reach[n:] ** 2
        is_near &= is_seen
        return View(-self.gap[:, ::-1, n:], squared, is_seen, is_near)

    def action_masks(self) -> npt.NDArray[np.int8]:
        """Return which actions are available, (allies, num_envs, 5 + enemies): stop always.

        The living can move, and attack living enemies within their reach.
        """
        n, combat = self.allies, self.combat
        masks = np.empty((n, combat.num_envs, ATTACK + self.units - n), dtype=np.int8)
        alive = combat.alive
        masks[:, :, :STOP] = alive[:n, :, None]
        masks[:, :, STOP] = 1
        is_near = self.squared[:, n:] < combat.stats.reach[:n, None] ** 2
        is_near &= alive[n:]
        is_near &= alive[:n, None]
        masks[:, :, ATTACK:] = is_near.transpose(0, 2, 1)
        return masks

    def observations(self) -> Float32:
        """Return what each ally observes, (allies, num_envs, length): others, then itself."""
        n, combat, count = self.allies, self.combat, self.combat.num_envs
        features = self._features()
        sight = combat.stats.sight[:n, None]
        is_seen = self.squared < sight * sight
        is_seen &= combat.alive
        is_seen &= combat.alive[:n, None]
        shown = np.ascontiguousarray(is_seen.transpose(0, 2, 1))
        scaled = (self.gap / sight).transpose(0, 1, 3, 2)
        whole = np.empty((n, count, self.units, OTHER), dtype=np.float32)
        np.multiply(features, shown[..., None], out=whole)
        for axis in range(2):
            np.multiply(scaled[axis], shown, out=whole[..., 1 + axis], casting="same_kind")
        seen = np.empty((n, count, self.length), dtype=np.float32)
        others = seen[:, :, :-OWN].reshape(n, count, self.units - 1, OTHER)
        for index in range(n):
            others[index, :, :index] = whole[index, :, :index]
            others[index, :, index:] = whole[index, :, index + 1 :]
        own = seen[:, :, -OWN:]
        own[..., 0] = features[:, :n, 0].T
        own[..., 1:3] = combat.positions[:, :n].transpose(1, 2, 0) / MAP
        own[..., 3:] = features[:, :n, 6:].transpose(1, 0, 2)
        own *= combat.alive[:n, :, None]
        return seen

    def state(self) -> Float32:
        """Return the global state, (num_envs, 12 units): features of all, then teams and types."""
        combat, units, count = self.combat, self.units, self.combat.num_envs
        state = np.empty((count, (OWN + 2) * units), dtype=np.float32)
        part = state[:, : OWN * units].reshape(count, units, OWN)
        part[:, :, 0] = (combat.health / combat.stats.health).T
        part[:, :, 1:3] = combat.positions.transpose(2, 1, 0)
        part[:, :, 3] = combat.cooldowns.T
        part[:, :, 4:] = combat.stats.one_hot.transpose(1, 0, 2)
        part *= combat.alive.T[:, :, None]
        state[:, OWN * units : -units] = np.arange(units) >= self.allies
        state[:, -units:] = combat.stats.types.T
        return state

    def _features(self) -> Float32:
        """Return what is seen of each unit but its place, (num_envs, units, OTHER)."""
        combat, n = self.combat, self.allies
        features = np.zeros((combat.num_envs, self.units, OTHER), dtype=np.float32)
        features[:, :, 0] = (combat.health / combat.stats.health).T
        features[:, :, 3:5] = combat.last_moves.transpose(2, 1, 0)
        attacks = combat.last_attacks.T
        features[:, :n, 5] = attacks[:, :n] / (ATTACK + self.units - n - 1)
        features[:, n:, 5] = attacks[:, n:] / (ATTACK + n - 1)
        features[:, :, 6] = np.clip(combat.cooldowns / combat.stats.cooldown, 0.0, 1.0).T
        features[:, :, 7:] = combat.stats.one_hot.transpose(1, 0, 2)
        return features
