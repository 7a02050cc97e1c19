"""Fruit, vegetables, bread and sweets."""

from __future__ import annotations

from pkubench.envs.grasp.objects.draws import Draws
from pkubench.envs.grasp.objects.families.registry import family
from pkubench.envs.grasp.objects.shapes import (
    Corners,
    arc,
    ball,
    bar,
    box,
    cos_sin,
    move,
    prism,
    stretch,
    turn,
    turned,
)


@family(4)
def mushroom(draw: Draws) -> list[Corners]:
    """A stem under a cap."""
    stem, h = draw.between(0.28, 0.45), draw.between(0.7, 1.2)
    cap = draw.between(0.5, 0.9)
    return [
        turned((stem * 1.2, 0), (stem, h)),
        turned((0.85, h), (1.0, h + cap * 0.25), (0.8, h + cap * 0.65), (0.35, h + cap)),
    ]


@family(3)
def apple(draw: Draws) -> list[Corners]:
    """A round fruit with a stalk."""
    h = draw.between(0.75, 0.95)
    body = turned((0.45, -h), (0.85, -h * 0.55), (1.0, 0.1), (0.85, h * 0.65), (0.5, h * 0.85))
    return [body, bar((0, 0, h * 0.8), (0.1, 0, h + 0.35), 0.06, 0.05, 6)]


@family(3)
def banana(draw: Draws) -> list[Corners]:
    """A bent fruit that thins toward both ends."""
    bend, pieces = draw.between(0.22, 0.32), 6
    parts = arc(1.6, 0.25 - bend / 2, 0.25 + bend / 2, pieces, 0.56, 0.5)
    return [
        *_thinned_ends(parts, bend),
        *move(box(0.14, 0.14, 0.22), x=_end(bend)[0], z=_end(bend)[1]),
    ]


def _end(bend: float) -> tuple[float, float]:
    """Return x and z of the stalk's middle of a banana."""
    cos, sin = cos_sin(0.25 - bend / 2)
    return 1.6 * float(cos), 1.6 * float(sin) - 0.08


def _thinned_ends(parts: list[Corners], bend: float) -> list[Corners]:
    """Return the pieces of an arc with the outermost ends drawn together."""
    first, last = parts[0].copy(), parts[-1].copy()
    for part, rows in ((first, slice(0, 4)), (last, slice(4, 8))):
        middle = part[rows].mean(axis=0)
        part[rows] = middle + 0.35 * (part[rows] - middle)
    return [first, *parts[1:-1], last]


@family(2)
def carrot(draw: Draws) -> list[Corners]:
    """A long cone with leaves."""
    length = draw.between(2.2, 3.0)
    return [
        turned((0.06, 0), (0.42, length * 0.85), (0.34, length), segments=10),
        turned((0.1, length), (0.22, length + 0.6), segments=6),
    ]


@family(2)
def ice_cream_cone(draw: Draws) -> list[Corners]:
    """A cone with one or two scoops."""
    h, scoop = draw.between(1.6, 2.2), draw.between(0.62, 0.75)
    parts = [turned((0.08, 0), (0.6, h)), *move(ball(scoop), z=h + 0.3)]
    return [*parts, *move(ball(scoop * 0.85), z=h + 1.1)] if draw.chance(0.5) else parts


@family(2)
def bread_loaf(draw: Draws) -> list[Corners]:
    """A long loaf with a domed top."""
    x, y, h = draw.between(1.8, 2.6), draw.between(0.8, 1.0), draw.between(0.55, 0.75)
    outline = [(-y / 2, 0), (y / 2, 0), (y / 2 + 0.06, h * 0.6), (y * 0.3, h), (-y * 0.3, h)]
    loaf = prism([*outline, (-y / 2 - 0.06, h * 0.6)], -x / 2, x / 2)
    return turn(turn(loaf, "x", 0.25), "z", 0.25)


@family(2, is_unseen=True)
def pear(draw: Draws) -> list[Corners]:
    """A fruit with a wide base, a narrow top and a stalk."""
    neck, h = draw.between(0.4, 0.55), draw.between(0.7, 1.1)
    return [
        turned((0.45, -0.8), (0.85, -0.45), (1.0, 0.0), (0.85, 0.45), (0.6, 0.75)),
        turned((0.6, 0.75), (neck, 0.75 + h * 0.6), (neck * 0.55, 0.75 + h)),
        bar((0, 0, 0.7 + h), (0.1, 0, 1.05 + h), 0.06, 0.05, 6),
    ]


@family(2, is_unseen=True)
def lemon(draw: Draws) -> list[Corners]:
    """An ellipsoid with a nub at each end."""
    long_by = draw.between(1.15, 1.4)
    nubs = [
        bar((0, 0, s * long_by * 0.9), (0, 0, s * (long_by + 0.22)), 0.24, 0.12) for s in (-1, 1)
    ]
    return [*stretch(ball(0.9), z=long_by / 0.9), *nubs]
