"""Furniture in miniature, and things that stand in rooms."""

from __future__ import annotations

from pkubench.envs.grasp.objects.draws import Draws
from pkubench.envs.grasp.objects.families.registry import family
from pkubench.envs.grasp.objects.shapes import (
    Corners,
    arc,
    bar,
    box,
    cylinder,
    move,
    rounded,
    slab,
    turn,
    turned,
)


@family(3)
def chair(draw: Draws) -> list[Corners]:
    """A seat, four legs and a back, in miniature."""
    h, back = draw.between(0.8, 1.2), draw.between(0.9, 1.3)
    legs = [box(0.13, 0.13, h, (0.42 * sx, 0.42 * sy, -h / 2)) for sx in (-1, 1) for sy in (-1, 1)]
    rest = turn(box(0.1, 1.0, back, (0, 0, back / 2)), "y", -draw.between(0.0, 0.03))
    return [box(1, 1, 0.14, (0, 0, 0.05)), *legs, *move(rest, x=-0.44, z=0.1)]


@family(3)
def table(draw: Draws) -> list[Corners]:
    """A top and four legs, in miniature."""
    x, y, h = draw.between(1.5, 2.4), draw.between(1.0, 1.4), draw.between(0.8, 1.2)
    legs = [
        box(0.14, 0.14, h, ((x / 2 - 0.1) * sx, (y / 2 - 0.1) * sy, -h / 2))
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    return [box(x, y, 0.14, (0, 0, 0.07)), *legs]


@family(2)
def stool(draw: Draws) -> list[Corners]:
    """A round seat on three slanted legs."""
    h, spread = draw.between(1.1, 1.6), draw.between(0.65, 0.9)
    leg = bar((0.45, 0, -0.02), (spread, 0, -h), 0.1, 0.08)
    return [rounded(0.8, 0.24, 0.06), *[turn(leg, "z", k / 3)[0] for k in range(3)]]


@family(3)
def lamp(draw: Draws) -> list[Corners]:
    """A foot, a pole and a shade."""
    pole, shade = draw.between(1.3, 2.2), draw.between(0.7, 1.0)
    return [
        turned((0.65, 0), (0.5, 0.14)),
        cylinder(0.09, pole, 0.14, 8),
        turned((shade, pole), (shade * draw.between(0.45, 0.7), pole + draw.between(0.7, 1.0))),
    ]


@family(2)
def faucet(draw: Draws) -> list[Corners]:
    """A base, a bent pipe and a lever."""
    h, reach = draw.between(1.2, 1.7), draw.between(0.45, 0.65)
    bow = move(arc(reach, 0.5, 0.0, 6, 0.24, 0.24), x=reach, z=h)
    return [
        turned((0.5, -0.1), (0.42, 0.18)),
        cylinder(0.14, h, 0.1, 8),
        *bow,
        bar((2 * reach, 0, h + 0.02), (2 * reach, 0, h - 0.35), 0.15, 0.15),
        bar((0.05, 0, 0.35), (0.05, 0.75, 0.6), 0.1, 0.07),
    ]


@family(2)
def suitcase(draw: Draws) -> list[Corners]:
    """A slab with a handle on top and two feet."""
    x, thick = draw.between(1.8, 2.2), draw.between(0.45, 0.7)
    grip = [box(0.07, 0.1, 0.25, (0.3 * s, 0, 0.85)) for s in (-1, 1)]
    return [
        *turn(slab(x, 1.5, thick, 0.12), "x", 0.25),
        *grip,
        box(0.67, 0.1, 0.08, (0, 0, 1.0)),
        *[box(0.2, thick * 0.8, 0.1, (0.6 * s, 0, -0.8)) for s in (-1, 1)],
    ]


@family(2, is_unseen=True)
def sofa(draw: Draws) -> list[Corners]:
    """A seat, a back, two arms and feet, in miniature."""
    x, deep, back = draw.between(1.8, 2.4), draw.between(0.8, 1.0), draw.between(0.7, 1.0)
    arms = [box(0.25, deep, 0.75, ((x / 2 - 0.12) * s, 0, 0.35)) for s in (-1, 1)]
    feet = [
        box(0.12, 0.12, 0.16, ((x / 2 - 0.1) * sx, (deep / 2 - 0.08) * sy, -0.08))
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    rest = box(x, 0.28, back, (0, deep / 2 + 0.1, back / 2))
    return [box(x - 0.5, deep, 0.42, (0, 0, 0.21)), *arms, rest, *feet]
