"""Where units stand when a battle begins, and of which types they are."""

from __future__ import annotations

from typing import Final

import numpy as np

from pkubench.envs.battle.combat import MAP
from pkubench.envs.battle.units import UNIT_TYPES, Scenario
from pkubench.envs.core.batch import FloatArray
from pkubench.envs.core.seeding import IntArray, RandomStreams

SPREAD: Final = 2.0
"""Units of a group start within plus and minus this of its place, on each axis."""
_CAMPS: Final = np.array([[MAP / 4, MAP / 2], [3 * MAP / 4, MAP / 2]])
_CORNERS: Final = np.array([[0.0, 0.0], [0.0, MAP], [MAP, 0.0], [MAP, MAP]])
_GROUPS: Final = len(_CORNERS)
_MIN_SHARE: Final = 3.0 / 16
"""Of the way from a corner to the centre: a group starts 3 cells inside, its units at least 1."""


def draw_positions(scenario: Scenario, ids: IntArray, random: RandomStreams) -> FloatArray:
    """Return where the units start, (2, units, len(ids)): allies around (8, 16), enemies (24, 16).

    Where types are drawn (SMACv2), episodes are of two kinds with equal probabilities. Either
    allies are uniform in the left half, and enemies their mirror images; or one team, each with
    probability 1/2, stands at the centre, and each unit of the other in one of four groups, each
    somewhere between its corner and the centre.
    """
    jitter = random.uniform(ids, 2 * scenario.num_units, -SPREAD, SPREAD)
    jitter = jitter.reshape(len(ids), scenario.num_units, 2)
    is_enemy = np.arange(scenario.num_units) >= scenario.num_allies
    if scenario.types is not None:
        return (_CAMPS[is_enemy.astype(np.int64)] + jitter).transpose(2, 1, 0)
    mirrored = _mirrored(scenario.num_allies, ids, random)
    surrounded = _surrounded(is_enemy, ids, random) + jitter
    is_mirrored = random.uniform(ids, 1)[:, :, None] < 0.5
    return np.where(is_mirrored, mirrored, surrounded).transpose(2, 1, 0)


def draw_types(scenario: Scenario, ids: IntArray, random: RandomStreams) -> IntArray | None:
    """Return the types of both teams, equal and uniform, (units, len(ids)); None: given."""
    if scenario.types is not None:
        return None
    types = random.integers(ids, scenario.num_allies, len(UNIT_TYPES)).T
    return np.concatenate([types, types])


def _mirrored(size: int, ids: IntArray, random: RandomStreams) -> FloatArray:
    allies = random.uniform(ids, 2 * size).reshape(len(ids), size, 2) * [MAP / 2, MAP]
    enemies = allies * [-1.0, 1.0] + [MAP, 0.0]
    return np.concatenate([allies, enemies], axis=1)


def _surrounded(is_enemy: np.ndarray, ids: IntArray, random: RandomStreams) -> FloatArray:
    share = random.uniform(ids, _GROUPS, _MIN_SHARE, 1.0)[:, :, None]
    groups = share * (MAP / 2) + (1.0 - share) * _CORNERS
    group = random.integers(ids, len(is_enemy), _GROUPS)
    outer = np.take_along_axis(groups, group[:, :, None], axis=1)
    is_outer = is_enemy[None] == (random.uniform(ids, 1) < 0.5)
    return np.where(is_outer[:, :, None], outer, MAP / 2)
