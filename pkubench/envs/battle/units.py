"""Types of units and the teams of a scenario, with SMAX's numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.core.batch import FloatArray
from pkubench.envs.core.seeding import IntArray
from pkubench.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitType:
    """What all units of one type have in common; lengths are in cells of the 32 x 32 map."""

    name: str
    letter: str
    """In the names of scenarios, and in pictures."""
    health: float
    damage: float
    """Health that one shot takes."""
    reach: float
    """Shots at units nearer than this can land, between centres."""
    sight: float
    speed: float
    """Cells a second."""
    radius: float
    cooldown: float
    """Seconds between two shots, before chance adds to it."""


UNIT_TYPES: Final = tuple(
    UnitType(
        name=name,
        letter=letter,
        health=health,
        damage=damage,
        reach=reach,
        sight=sight,
        speed=speed,
        radius=radius,
        cooldown=cooldown,
    )
    for name, letter, health, damage, reach, sight, speed, radius, cooldown in (
        ("marine", "m", 45.0, 9.0, 5.0, 9.0, 3.15, 0.375, 0.61),
        ("marauder", "M", 125.0, 10.0, 6.0, 10.0, 2.25, 0.5625, 1.07),
        ("stalker", "s", 160.0, 13.0, 6.0, 10.0, 4.13, 0.625, 1.87),
        ("zealot", "z", 150.0, 8.0, 2.0, 9.0, 3.15, 0.5, 0.86),
        ("zergling", "Z", 35.0, 5.0, 2.0, 8.0, 4.13, 0.375, 0.5),
        ("hydralisk", "h", 80.0, 12.0, 5.0, 9.0, 3.15, 0.625, 0.59),
    )
)
"""By number, as in observations."""

_NUMBERS: Final = {unit.letter: number for number, unit in enumerate(UNIT_TYPES)}
_TEAM: Final = f"(?:[1-9][0-9]*[{''.join(_NUMBERS)}])+"
_NAME: Final = re.compile(f"(?P<allies>{_TEAM})(?:_vs_(?P<enemies>{_TEAM}))?")
_RANDOM: Final = re.compile("random(?P<size>[1-9][0-9]?)")


@dataclass(frozen=True, slots=True)
class Scenario:
    """Who fights whom."""

    num_allies: int
    num_enemies: int
    types: IntArray | None
    """Number of each unit's type, allies first, (units,); None: drawn for each episode, the same
    for both teams."""

    @property
    def num_units(self) -> int:
        """Number of units of both teams."""
        return self.num_allies + self.num_enemies


def read_scenario(name: str) -> Scenario:
    """Return the scenario of a name such as ``3m``, ``2s3z``, ``5m_vs_6m`` or ``random5``.

    >>> read_scenario("1s2z_vs_2m").types.tolist()
    [2, 3, 3, 0, 0]

    Raises:
        ConfigError: the name is not of this form.
    """
    if found := _RANDOM.fullmatch(name):
        size = int(found["size"])
        return Scenario(size, size, None)
    if not (found := _NAME.fullmatch(name)):
        letters = ", ".join(f"{unit.letter} {unit.name}" for unit in UNIT_TYPES)
        raise ConfigError(
            f"scenario must be like '2s3z', '5m_vs_6m' or 'random5', got {name!r}; units: {letters}"
        )
    allies = _team(found["allies"])
    enemies = allies if found["enemies"] is None else _team(found["enemies"])
    return Scenario(len(allies), len(enemies), np.array(allies + enemies, dtype=np.int64))


def _team(text: str) -> list[int]:
    return [
        _NUMBERS[letter]
        for count, letter in re.findall(r"([0-9]+)(\D)", text)
        for _ in range(int(count))
    ]


class Stats:
    """Numbers of every unit, each (units, 1), or (units, num_envs) where types are drawn."""

    def __init__(self, scenario: Scenario, num_envs: int) -> None:
        """Fill in the types of ``scenario``; drawn ones are marines until they are ``set``."""
        columns = 1 if scenario.types is not None else num_envs
        shape = (scenario.num_units, columns)
        self.types: IntArray = np.zeros(shape, dtype=np.int64)
        if scenario.types is not None:
            self.types[:] = scenario.types[:, None]
        self.health, self.damage, self.reach, self.sight, self.speed, self.radius, self.cooldown = (
            np.zeros(shape) for _ in range(7)
        )
        self.one_hot: npt.NDArray[np.float32] = np.zeros((*shape, len(UNIT_TYPES)), np.float32)
        self._fill(slice(None))

    def set(self, ids: IntArray, types: IntArray) -> None:
        """Give the units of the environments ``ids`` other types, (units, len(ids))."""
        self.types[:, ids] = types
        self._fill(ids)

    def _fill(self, ids: IntArray | slice) -> None:
        types = self.types[:, ids]
        for name, values in TABLE.items():
            getattr(self, name)[:, ids] = values[types]
        self.one_hot[:, ids] = np.eye(len(UNIT_TYPES), dtype=np.float32)[types]


TABLE: Final[dict[str, FloatArray]] = {
    name: np.array([getattr(unit, name) for unit in UNIT_TYPES])
    for name in ("health", "damage", "reach", "sight", "speed", "radius", "cooldown")
}
"""Name of a number -> its value for each type."""
