"""Pictures of battles, drawn with Pillow: units as discs, with their health, and their shots."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.battle.combat import ATTACK, MAP, Combat
from pkubench.envs.battle.units import UNIT_TYPES
from pkubench.errors import MissingExtra

Color = tuple[int, int, int]

SIZE: Final = 480
"""Height and width of a picture in pixels."""
_SMOOTHING: Final = 2
"""Everything is drawn this many times larger and then averaged down."""
_SCALE: Final = SIZE * _SMOOTHING / MAP
_FIELD: Final[Color] = (250, 250, 247)
_LINES: Final[Color] = (228, 230, 234)
_EDGE: Final[Color] = (86, 92, 102)
_INK: Final[Color] = (52, 56, 64)
_DEAD: Final[Color] = (205, 208, 212)
_HEALTH: Final[Color] = (0, 158, 115)
# Okabe and Ito's palette: distinguishable with any kind of colour vision.
_TEAMS: Final[tuple[Color, ...]] = ((86, 180, 233), (230, 159, 0))


def draw_battle(combat: Combat, env_index: int) -> npt.NDArray[np.uint8]:
    """Draw one environment from above: (480, 480, 3) uint8.

    Allies are blue and enemies orange; the letter is the unit's type, the bar its health. A line
    leads from whoever attacks to the target, if that is within reach; crosses are the dead.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw
    except ModuleNotFoundError as error:
        raise MissingExtra("plots", "drawing a battle") from error
    side = SIZE * _SMOOTHING
    image = Image.new("RGB", (side, side), _FIELD)
    pen = ImageDraw.Draw(image)
    for line in range(4, int(MAP), 4):
        at = line * _SCALE
        pen.line((at, 0, at, side), fill=_LINES, width=_SMOOTHING)
        pen.line((0, at, side, at), fill=_LINES, width=_SMOOTHING)
    pen.rectangle((0, 0, side - 1, side - 1), outline=_EDGE, width=3 * _SMOOTHING)
    places = [(x * _SCALE, side - y * _SCALE) for x, y in combat.positions[:, :, env_index].T]
    alive = combat.alive[:, env_index].tolist()
    for unit, is_alive in enumerate(alive):
        if not is_alive:
            _draw_cross(pen, places[unit])
    for unit, target in _shots(combat, env_index):
        color = _TEAMS[unit >= combat.scenario.num_allies]
        pen.line((*places[unit], *places[target]), fill=color, width=2 * _SMOOTHING)
    for unit, is_alive in enumerate(alive):
        if is_alive:
            _draw_unit(pen, places[unit], combat, unit, env_index)
    return np.asarray(image.reduce(_SMOOTHING), dtype=np.uint8).copy()


def _shots(combat: Combat, env_index: int) -> list[tuple[int, int]]:
    """Return who attacks whom, where both live and the target is within reach."""
    allies, found = combat.scenario.num_allies, []
    column = env_index if combat.stats.reach.shape[1] > 1 else 0
    for unit, action in enumerate(combat.last_attacks[:, env_index].tolist()):
        if action < ATTACK:
            continue
        target = allies + action - ATTACK if unit < allies else allies - 1 - (action - ATTACK)
        gap = combat.positions[:, target, env_index] - combat.positions[:, unit, env_index]
        both_live = combat.alive[unit, env_index] and combat.alive[target, env_index]
        if both_live and np.hypot(*gap) < combat.stats.reach[unit, column]:
            found.append((unit, target))
    return found


def _draw_unit(
    pen: Any, place: tuple[float, float], combat: Combat, unit: int, env_index: int
) -> None:
    x, y = place
    column = env_index if combat.stats.types.shape[1] > 1 else 0
    kind = UNIT_TYPES[int(combat.stats.types[unit, column])]
    radius = kind.radius * _SCALE
    color = _TEAMS[unit >= combat.scenario.num_allies]
    box = (x - radius, y - radius, x + radius, y + radius)
    pen.ellipse(box, fill=color, outline=_INK, width=_SMOOTHING)
    pen.text(place, kind.letter, fill=_INK, anchor="mm", font_size=1.6 * radius)
    top, half = y - radius - 5 * _SMOOTHING, 0.6 * _SCALE
    pen.rectangle((x - half, top, x + half, top + 3 * _SMOOTHING), fill=_LINES, outline=_INK)
    share = float(combat.health[unit, env_index]) / kind.health
    pen.rectangle((x - half, top, x - half + 2 * half * share, top + 3 * _SMOOTHING), fill=_HEALTH)


def _draw_cross(pen: Any, place: tuple[float, float]) -> None:
    x, y = place
    arm = 0.3 * _SCALE
    for sign in (1, -1):
        line = (x - arm, y - sign * arm, x + arm, y + sign * arm)
        pen.line(line, fill=_DEAD, width=2 * _SMOOTHING)
