"""Bottles, cans, cups, pots: solids of revolution, hollow vessels and handles."""

from __future__ import annotations

from pkubench.envs.grasp.objects.draws import Draws
from pkubench.envs.grasp.objects.families.registry import family
from pkubench.envs.grasp.objects.shapes import (
    Corners,
    arc,
    ball,
    bar,
    box,
    cylinder,
    hull,
    move,
    rounded,
    turn,
    turned,
    wall,
)


def handle(
    at: float, middle: float, radius: float, draw: Draws, pieces: int = 4, reach: float = 1.0
) -> list[Corners]:
    """Return a handle on the side of x: half a ring about (at, 0, middle)."""
    bent = arc(radius, -0.25, 0.25, pieces, 0.3 * radius, draw.between(0.3, 0.5) * radius)
    return move([part * [reach, 1.0, 1.0] for part in bent], x=at, z=middle)


@family(10)
def bottle(draw: Draws) -> list[Corners]:
    """A body, a shoulder, a neck and a cap."""
    r, h = 1.0, draw.between(2.2, 4.2)
    neck, shoulder, top = draw.between(0.28, 0.45), draw.between(0.4, 1.1), draw.between(0.4, 1.0)
    cap = neck * draw.between(1.1, 1.4)
    return [
        turned((0.9 * r, 0), (r, 0.12), (r, h), (neck, h + shoulder)),
        cylinder(neck, top, h + shoulder),
        cylinder(cap, draw.between(0.3, 0.5), h + shoulder + top),
    ]


@family(4)
def wine_bottle(draw: Draws) -> list[Corners]:
    """A slender bottle with a long neck."""
    h, shoulder, neck = draw.between(3.6, 4.8), draw.between(0.5, 1.2), draw.between(0.26, 0.34)
    top = h + shoulder
    return [
        turned((1, 0), (1, h), (neck * 1.3, top)),
        turned((neck * 1.3, top), (neck, top + 1.9)),
        cylinder(neck * 1.18, 0.3, top + 1.9),
    ]


@family(6)
def jar(draw: Draws) -> list[Corners]:
    """A wide body and a lid almost as wide."""
    h, lid = draw.between(1.4, 2.4), draw.between(0.78, 0.95)
    return [
        turned((0.88, 0), (1, 0.15), (1, h), (lid * 0.92, h + 0.3)),
        rounded(lid, draw.between(0.3, 0.5), 0.06, h + 0.3),
    ]


@family(6)
def can(draw: Draws) -> list[Corners]:
    """A cylinder with chamfered ends."""
    return [rounded(1.0, draw.between(1.2, 3.8), draw.between(0.05, 0.16))]


@family(4)
def vase(draw: Draws) -> list[Corners]:
    """A belly, a waist and a flared mouth."""
    belly, waist = draw.between(0.8, 1.2), draw.between(0.3, 0.5)
    foot, mouth = draw.between(0.4, 0.7), draw.between(0.55, 0.9)
    h = draw.between(1.4, 2.4)
    return [
        turned(
            (foot, 0), (belly * 0.9, h * 0.3), (belly, h * 0.5), (belly * 0.9, h * 0.7), (waist, h)
        ),
        turned((waist, h), (mouth, h + 0.9)),
    ]


@family(6)
def mug(draw: Draws) -> list[Corners]:
    """A hollow cylinder with a bottom and a handle."""
    h, inner = draw.between(1.8, 2.6), draw.between(0.84, 0.9)
    size = draw.between(0.28, 0.36) * h
    foot = draw.between(0.8, 1.0)
    return [
        turned((foot * 0.98, 0), (foot, 0.2)),
        *wall((foot * inner, inner), (foot, 1.0), 0.2, h, 10),
        *handle(0.95 * (foot + 1) / 2, h * 0.52, size, draw),
    ]


@family(4)
def bowl(draw: Draws) -> list[Corners]:
    """A shallow hollow vessel, wider above."""
    h, foot = draw.between(0.6, 1.1), draw.between(0.35, 0.6)
    thick = draw.between(0.08, 0.13)
    return [
        turned((foot * 0.9, 0), (foot, thick)),
        *wall((foot - thick, 0.84 - thick), (foot, 0.84), thick, h * 0.5, 7),
        *wall((0.84 - thick, 1 - thick), (0.84, 1.0), h * 0.5, h, 8),
    ]


@family(4)
def cup(draw: Draws) -> list[Corners]:
    """A tall hollow cone without a handle, as of paper."""
    h, foot = draw.between(1.9, 2.8), draw.between(0.6, 0.8)
    return [
        cylinder(foot, 0.15),
        *wall((foot - 0.1, 0.9), (foot, 1.0), 0.15, h, 10),
    ]


@family(3)
def plate(draw: Draws) -> list[Corners]:
    """A flat disc with a raised rim."""
    rim, h = draw.between(0.6, 0.75), draw.between(0.14, 0.26)
    return [
        turned((rim * 0.95, 0), (rim, 0.08)),
        *wall((rim - 0.05, 0.92), (rim + 0.02, 1.0), 0.04, h, 12),
    ]


@family(4)
def pot(draw: Draws) -> list[Corners]:
    """A hollow cylinder with two handles."""
    h, size = draw.between(0.9, 1.5), draw.between(0.2, 0.28)
    ear = turn(arc(size, -0.25, 0.25, 2, 0.1, 0.16), "x", 0.25)
    ears = [part for side in (0.0, 0.5) for part in turn(move(ear, x=0.97, z=h * 0.8), "z", side)]
    return [cylinder(1.0, 0.12), *wall((0.9, 0.9), (1.0, 1.0), 0.12, h, 10), *ears]


@family(4)
def pan(draw: Draws) -> list[Corners]:
    """A shallow hollow disc with a long handle."""
    h, length = draw.between(0.3, 0.5), draw.between(1.3, 2.2)
    grip = bar((0.95, 0, h * 0.8), (0.95 + length, 0, h + draw.between(0.0, 0.3)), 0.11, 0.14)
    foot = draw.between(0.8, 0.92)
    return [cylinder(foot, 0.1), *wall((foot - 0.08, 0.92), (foot, 1.0), 0.1, h, 10), grip]


@family(3)
def pitcher(draw: Draws) -> list[Corners]:
    """A tall hollow jug with a handle and a spout."""
    h, foot = draw.between(2.4, 3.2), draw.between(0.85, 1.1)
    spout = hull(
        *((0.75, 0.3, h - 0.5), (0.75, -0.3, h - 0.5), (0.78, 0.35, h), (0.78, -0.35, h)),
        *((1.15, 0.0, h + 0.05), (0.8, 0.0, h - 0.55)),
    )
    return [
        cylinder(foot, 0.2),
        *wall((foot - 0.12, 0.7), (foot, 0.82), 0.2, h, 9),
        *turn(handle(0.82, h * 0.55, 0.3 * h, draw, 5), "z", 0.5),
        spout,
    ]


@family(3)
def bucket(draw: Draws) -> list[Corners]:
    """A hollow cone with an arched handle above."""
    h, foot = draw.between(1.3, 1.8), draw.between(0.65, 0.8)
    bow = move(arc(0.95, 0.0, 0.5, 5, 0.09, 0.12), z=h - 0.05)
    return [cylinder(foot, 0.12), *wall((foot - 0.1, 0.9), (foot, 1.0), 0.12, h, 10), *bow]


@family(2)
def wine_glass(draw: Draws) -> list[Corners]:
    """A foot, a stem and a hollow bowl."""
    stem, h, mouth = draw.between(1.0, 1.6), draw.between(0.7, 1.2), draw.between(0.7, 0.95)
    low = stem + 0.45
    return [
        turned((0.75, 0), (0.72, 0.06), (0.12, 0.16)),
        cylinder(0.09, stem, 0.1),
        turned((0.1, stem + 0.05), (0.7, low - 0.1), (0.8, low)),
        *wall((0.7, mouth - 0.07), (0.8, mouth), low, low + h, 9),
    ]


@family(3)
def thermos(draw: Draws) -> list[Corners]:
    """A tall body with a cup for a cap and a side handle."""
    h, cap = draw.between(2.8, 3.8), draw.between(0.7, 0.9)
    parts = [rounded(1.0, h, 0.1), turned((cap, h), (cap * 0.9, h + 0.8))]
    return [*parts, *handle(0.98, h * 0.55, 0.26 * h, draw, 3, 0.6)] if draw.chance(0.5) else parts


@family(3)
def spray_bottle(draw: Draws) -> list[Corners]:
    """A body, a neck, a head with a nozzle and a trigger."""
    h = draw.between(1.9, 2.6)
    top = h + 0.95
    return [
        turned(((1.0, 0.62), 0), ((1.0, 0.62), h), ((0.34, 0.34), h + 0.5)),
        cylinder(0.3, 0.5, h + 0.45),
        box(1.7, 0.5, 0.5, (0.3, 0, top + 0.2)),
        bar((1.1, 0, top + 0.25), (1.4, 0, top + 0.25), 0.16),
        bar((0.75, 0, top), (0.9, 0, top - 0.8), 0.13, 0.08),
    ]


@family(2)
def soap_dispenser(draw: Draws) -> list[Corners]:
    """A squat bottle with a pump and a bent nozzle."""
    h = draw.between(1.5, 2.3)
    return [
        rounded(1.0, h, 0.2),
        cylinder(0.42, 0.3, h),
        cylinder(0.15, 0.7, h + 0.3),
        turned((0.34, h + 0.9), (0.3, h + 1.1)),
        bar((0, 0, h + 1.0), (draw.between(0.8, 1.1), 0, h + 0.92), 0.12, 0.09),
    ]


@family(2)
def candle(draw: Draws) -> list[Corners]:
    """A candle in a holder with a dish."""
    h = draw.between(1.4, 2.6)
    return [
        turned((0.9, 0), (1.0, 0.15)),
        turned((0.6, 0.15), (0.45, 0.45)),
        cylinder(0.34, h, 0.45),
        turned((0.06, h + 0.45), (0.03, h + 0.7), segments=6),
    ]


@family(2)
def flower_pot(draw: Draws) -> list[Corners]:
    """A cone with a thick rim, filled."""
    h, foot = draw.between(1.2, 1.8), draw.between(0.55, 0.75)
    return [turned((foot, 0), (0.9, h)), cylinder(1.0, draw.between(0.25, 0.4), h)]


@family(2)
def barrel(draw: Draws) -> list[Corners]:
    """A bulging cylinder."""
    h, end = draw.between(2.0, 2.8), draw.between(0.7, 0.85)
    middle = (1 + end) / 2 + 0.04
    return [turned((end, 0), (middle, h * 0.25), (1, h * 0.5), (middle, h * 0.75), (end, h))]


@family(3, is_unseen=True)
def teapot(draw: Draws) -> list[Corners]:
    """A round body with a lid and its knob, a spout and a handle."""
    squat = draw.between(0.7, 0.95)
    spout = bar((0.7, 0, -0.25 * squat), (1.75, 0, 0.6 * squat), 0.28, 0.12)
    return [
        turned(
            (0.6, -squat * 0.8),
            (0.95, -squat * 0.4),
            (1, 0),
            (0.9, squat * 0.5),
            (0.5, squat * 0.85),
        ),
        turned((0.48, squat * 0.85), (0.2, squat * 1.05)),
        *move(ball(0.17), z=squat * 1.2),
        spout,
        *turn(handle(0.85, 0.0, draw.between(0.5, 0.65) * squat, draw, 5, 1.1), "z", 0.5),
    ]


@family(2, is_unseen=True)
def goblet(draw: Draws) -> list[Corners]:
    """A trophy: a base, a stem, a filled cup and two ears."""
    h = draw.between(0.9, 1.3)
    ears = [
        part for side in (0.0, 0.5) for part in turn(handle(0.85, 1.9, 0.4, draw, 4), "z", side)
    ]
    return [
        turned((0.75, 0), (0.65, 0.3)),
        turned((0.4, 0.3), (0.16, 1.0)),
        turned((0.2, 1.0), (0.8, 1.5), (1.0, 1.5 + h)),
        *ears,
    ]


@family(2, is_unseen=True)
def hourglass(draw: Draws) -> list[Corners]:
    """Two cones tip to tip between discs."""
    h, waist = draw.between(0.9, 1.3), draw.between(0.12, 0.2)
    disc, bulb = draw.between(1.0, 1.1), draw.between(0.7, 0.85)
    return [
        cylinder(disc, 0.18, -h - 0.18),
        turned((bulb, -h), (bulb, -h * 0.6), (waist, 0)),
        turned((waist, 0), (bulb, h * 0.6), (bulb, h)),
        cylinder(disc, 0.18, h),
    ]
