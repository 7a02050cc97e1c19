"""Toys, vehicles, figures and plain solids."""

from __future__ import annotations

import numpy as np

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
    prism,
    regular,
    rounded,
    slab,
    taper,
    turn,
    turned,
)


def wheels(draw: Draws, x: float, y: float, z: float) -> list[Corners]:
    """Return four wheels at (+-x, +-y, z)."""
    r, wide = draw.between(0.24, 0.32), draw.between(0.16, 0.26)
    wheel = turn(cylinder(r, wide, -wide / 2, 10), "x", 0.25)
    return [part for sx in (-1, 1) for sy in (-1, 1) for part in move(wheel, sx * x, sy * y, z)]


@family(4)
def sphere(draw: Draws) -> list[Corners]:
    """A ball; its facets differ from object to object."""
    return turn(turn(ball(1.0), "x", draw.between(0, 1)), "y", draw.between(0, 1))


@family(4)
def egg(draw: Draws) -> list[Corners]:
    """An ellipsoid, longer above than below."""
    y, low, high = draw.between(0.6, 1.0), draw.between(0.6, 0.9), draw.between(0.9, 1.5)
    solid = ball(0.8, 0.8 * y, 1.0)
    solid[:, 2] *= [high if z > 0 else low for z in solid[:, 2]]
    return [solid]


@family(5)
def toy_car(draw: Draws) -> list[Corners]:
    """A body, a cabin and four wheels."""
    x, y = draw.between(2.0, 2.6), draw.between(0.85, 1.05)
    cabin = taper((x * 0.55, y * 0.95), (x * 0.36, y * 0.8), draw.between(0.36, 0.5), 0.25)
    body = box(x, y, 0.5)
    return [body, *move(cabin, x=-0.1), *wheels(draw, x * 0.31, y / 2, -0.25)]


@family(4)
def truck(draw: Draws) -> list[Corners]:
    """A cabin, a load, a frame and four wheels."""
    load, tall = draw.between(1.3, 1.9), draw.between(0.7, 1.1)
    length = load + 0.75
    cab = hull(
        *((0, -0.45, 0), (0, 0.45, 0), (0.65, -0.45, 0), (0.65, 0.45, 0)),
        *((0, -0.45, 0.8), (0, 0.45, 0.8), (0.4, -0.45, 0.8), (0.4, 0.45, 0.8)),
        *((0.65, -0.45, 0.4), (0.65, 0.45, 0.4)),
    )
    return [
        box(length, 0.7, 0.16, (length / 2 - load, 0, -0.08)),
        box(load - 0.08, 0.95, tall, (-load / 2 - 0.04, 0, tall / 2)),
        cab,
        *move(wheels(draw, length * 0.32, 0.45, -0.2), x=length / 2 - load),
    ]


@family(4)
def airplane(draw: Draws) -> list[Corners]:
    """A fuselage, wings and a tail."""
    length, span = draw.between(2.4, 3.2), draw.between(1.0, 1.5)
    sweep = draw.between(0.1, 0.6)
    nose = [
        turned((0.28, 0), (0.22, 0.3), (0.06, 0.5)),
        turned((0.28, 0), (0.28, -length * 0.6), (0.1, -length)),
    ]
    wings = [
        prism(
            [(-0.3, 0.1 * s), (-1.0, 0.1 * s), (-1.0 - sweep, span * s), (-0.6 - sweep, span * s)],
            -0.05,
            0.05,
        )
        for s in (-1, 1)
    ]
    tail = [
        prism([(0.0, 0.0), (-0.4, 0.0), (-0.6, 0.55 * s), (-0.3, 0.55 * s)], -0.04, 0.04)
        for s in (-1, 1)
    ]
    fin = turn(
        prism([(0.0, 0.0), (-0.4, 0.0), (-0.5, 0.65), (-0.25, 0.65)], -0.04, 0.04), "x", 0.25
    )
    return [*turn(nose, "y", 0.25), *wings, *move([*tail, *fin], x=-length + 0.45, z=0.03)]


@family(3)
def boat(draw: Draws) -> list[Corners]:
    """A pointed hull, a deckhouse and a funnel."""
    x, y = draw.between(2.0, 2.8), draw.between(0.7, 1.0)
    hull_part = _ship(x, y)
    house = box(x * 0.35, y * 0.6, 0.4, (-x * 0.12, 0, 0.25))
    return [hull_part, house, *move(cylinder(0.16, 0.4, 0.0, 8), x=-x * 0.18, z=0.42)]


def _ship(x: float, y: float) -> Corners:
    """Return the hull of a boat of length x and beam y, its deck at z = 0.05."""
    return hull(
        *((-x / 2, y / 2, 0.05), (-x / 2, -y / 2, 0.05), (x * 0.2, y / 2, 0.05)),
        *((x * 0.2, -y / 2, 0.05), (x / 2, 0.0, 0.15), (-x * 0.45, y * 0.3, -0.45)),
        *((-x * 0.45, -y * 0.3, -0.45), (x * 0.25, y * 0.2, -0.45), (x * 0.25, -y * 0.2, -0.45)),
    )


@family(3)
def locomotive(draw: Draws) -> list[Corners]:
    """A boiler, a cab, a chimney, a frame and four wheels."""
    boiler, cab = draw.between(1.1, 1.5), draw.between(0.55, 0.75)
    tube = turn(cylinder(0.4, boiler), "y", 0.25)
    length = boiler + cab
    return [
        *move(tube, z=0.45),
        box(cab, 0.9, 1.15, (-cab / 2, 0, 0.57)),
        box(cab + 0.15, 1.0, 0.1, (-cab / 2, 0, 1.18)),
        *move(turned((0.12, 0.0), (0.2, 0.45), segments=8), x=boiler * 0.8, z=0.8),
        box(length, 0.8, 0.16, (length / 2 - cab, 0, 0)),
        *move(wheels(draw, length * 0.3, 0.45, -0.1), x=length / 2 - cab),
    ]


@family(4)
def dog(draw: Draws) -> list[Corners]:
    """A toy animal: body, four legs, neck, head, muzzle, ears and tail."""
    x, legs = draw.between(1.2, 1.7), draw.between(0.5, 0.85)
    limbs = [
        box(0.2, 0.2, legs, ((x / 2 - 0.12) * sx, 0.2 * sy, -0.2 - legs / 2))
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    at, high = x / 2 + 0.25, draw.between(0.45, 0.7)
    return [
        slab(x, 0.62, 0.5, 0.12),
        *limbs,
        bar((x / 2 - 0.2, 0, 0.1), (at, 0, high), 0.2, 0.17),
        box(0.5, 0.45, 0.42, (at, 0, high + 0.1)),
        box(0.35, 0.26, 0.22, (at + 0.4, 0, high + 0.02)),
        *[box(0.12, 0.1, 0.24, (at - 0.1, 0.17 * s, high + 0.38)) for s in (-1, 1)],
        bar((-x / 2 + 0.05, 0, 0.15), (-x / 2 - 0.35, 0, draw.between(0.3, 0.6)), 0.08, 0.05, 6),
    ]


@family(4)
def teddy_bear(draw: Draws) -> list[Corners]:
    """Balls: belly, head, muzzle, ears, arms and legs."""
    fat, head = draw.between(0.65, 0.85), draw.between(0.48, 0.6)
    top = 0.75 + head * 0.75
    limbs = [
        *move(ball(0.25, 0.25, 0.42), y=0.72 * fat + 0.12, z=0.25),
        *move(ball(0.25, 0.25, 0.42), y=-0.72 * fat - 0.12, z=0.25),
        *move(ball(0.5, 0.27, 0.27), x=0.4, y=0.38, z=-0.62),
        *move(ball(0.5, 0.27, 0.27), x=0.4, y=-0.38, z=-0.62),
    ]
    face = [
        *move(ball(head), z=top),
        *move(ball(0.2), x=head * 0.9, z=top - 0.1),
        *[move(ball(0.12, 0.2, 0.2), y=s * head * 0.75, z=top + head * 0.7)[0] for s in (-1, 1)],
    ]
    return [ball(fat * 0.9, fat, 0.85), *limbs, *face]


@family(2)
def toy_figure(draw: Draws) -> list[Corners]:
    """A blocky figure: legs, hips, trunk, arms, neck and head."""
    tall = draw.between(0.85, 1.1)
    return [
        *[box(0.3, 0.34, tall, (0, 0.2 * s, -tall / 2)) for s in (-1, 1)],
        box(0.34, 0.76, 0.2, (0, 0, 0.08)),
        taper((0.36, 0.72), (0.32, 0.58), 0.85, 0.18),
        *[bar((0, 0.38 * s, 0.9), (0.1, 0.58 * s, draw.between(0.1, 0.4)), 0.12) for s in (-1, 1)],
        cylinder(0.13, 0.14, 1.0, 8),
        rounded(0.27, 0.5, 0.08, 1.12),
    ]


@family(3)
def donut(draw: Draws) -> list[Corners]:
    """A ring with a hexagonal section."""
    thick = draw.between(0.26, 0.36)
    parts = []
    for part in arc(0.7, 0.0, 1.0, 10, 2 * thick, 1.7 * thick):
        sections = []
        for rows in (part[:4], part[4:]):
            rim, center = rows * [1, 0, 1], rows.mean(axis=0)
            # As wide as the ring at half its height, and narrower where it is flat.
            sections += [rim[::2], (rows - center) * [0.55, 1.0, 0.55] + center]
        parts.append(np.concatenate(sections))
    return turn(parts, "x", 0.25)


@family(3)
def star(draw: Draws) -> list[Corners]:
    """A flat star of five or six points."""
    points, h = draw.whole(5, 6), draw.between(0.35, 0.7)
    inner = draw.between(0.42, 0.55)
    outer, valley = regular(points, 1.0), regular(points, inner, -0.5 / points)
    tips = [prism([valley[k], outer[k], valley[(k + 1) % points]], 0.0, h) for k in range(points)]
    return [prism(valley, 0.0, h), *tips]


@family(2)
def pyramid(draw: Draws) -> list[Corners]:
    """A pyramid of three to five sides."""
    base = regular(draw.whole(3, 5), 1.0)
    return [hull(*[(x, y, 0.0) for x, y in base], (0.0, 0.0, draw.between(0.9, 1.6)))]


@family(2)
def cone(draw: Draws) -> list[Corners]:
    """A traffic cone on a square foot."""
    h = draw.between(1.6, 2.2)
    return [
        slab(1.6, 1.6, 0.14, 0.15, (0, 0, 0.07)),
        turned((0.6, 0.14), (0.12, h), (0.08, h + 0.04)),
    ]


@family(3)
def chess_pawn(draw: Draws) -> list[Corners]:
    """A foot, a waisted body, a collar and a head."""
    h, head = draw.between(1.0, 1.5), draw.between(0.36, 0.46)
    return [
        turned((0.8, 0), (0.8, 0.2), (0.55, 0.42)),
        turned((0.5, 0.42), (0.24, h)),
        turned((0.34, h), (0.42, h + 0.07), (0.34, h + 0.14)),
        *move(ball(head), z=h + 0.14 + head * 0.8),
    ]


@family(2)
def bowling_pin(draw: Draws) -> list[Corners]:
    """A belly, a neck and a round head."""
    belly = draw.between(0.58, 0.7)
    return [
        turned((0.32, 0), (belly, 0.9), (belly, 1.2), (0.34, 2.0)),
        turned((0.34, 2.0), (0.27, 2.3)),
        turned((0.27, 2.3), (0.36, 2.7), (0.32, 2.95), (0.14, 3.1)),
    ]


@family(3)
def building_brick(draw: Draws) -> list[Corners]:
    """A block with rows of studs."""
    across, along, tall = draw.whole(1, 2), draw.whole(2, 4), draw.between(0.8, 1.3)
    studs = [
        move(cylinder(0.28, 0.2, 0.0, 8), i - (along - 1) / 2, j - (across - 1) / 2, tall)[0]
        for i in range(along)
        for j in range(across)
    ]
    return [box(along, across, tall, (0, 0, tall / 2)), *studs]


@family(2)
def toy_house(draw: Draws) -> list[Corners]:
    """Walls, a gabled roof and a chimney."""
    x, h, roof = draw.between(1.3, 1.9), draw.between(0.8, 1.2), draw.between(0.5, 0.9)
    gable = turn(
        turn(prism([(-0.75, 0), (0.75, 0), (0, roof)], -x * 0.55, x * 0.55), "x", 0.25), "z", 0.25
    )
    return [
        box(x, 1.2, h, (0, 0, h / 2)),
        *move(gable, z=h),
        box(0.2, 0.2, 0.5, (x * 0.3, 0.3, h + roof * 0.6 + 0.1)),
    ]


@family(4)
def l_block(draw: Draws) -> list[Corners]:
    """Two beams at a right angle."""
    a, b = draw.between(1.3, 2.0), draw.between(0.8, 1.6)
    return [box(0.5, 0.5, a, (0, 0, a / 2)), box(b, 0.5, 0.5, (0.25 + b / 2, 0, 0.25))]


@family(2)
def t_block(draw: Draws) -> list[Corners]:
    """A beam on the middle of another."""
    a, b = draw.between(1.5, 2.4), draw.between(0.7, 1.4)
    return [box(a, 0.5, 0.5), box(0.5, 0.5, b, (0, 0, 0.25 + b / 2))]


@family(3, is_unseen=True)
def bus(draw: Draws) -> list[Corners]:
    """A long box with a slanted front, a roof and four wheels."""
    x, tall = draw.between(2.4, 3.2), draw.between(0.85, 1.1)
    body = hull(
        *((-x / 2, -0.5, 0), (-x / 2, 0.5, 0), (x / 2, -0.5, 0), (x / 2, 0.5, 0)),
        *((-x / 2, -0.5, tall), (-x / 2, 0.5, tall), (x / 2 - 0.15, -0.5, tall)),
        *((x / 2 - 0.15, 0.5, tall), (x / 2, -0.5, tall * 0.5), (x / 2, 0.5, tall * 0.5)),
    )
    return [
        body,
        box(x * 0.7, 0.7, 0.12, (-0.05, 0, tall + 0.05)),
        *wheels(draw, x * 0.3, 0.48, 0.0),
    ]


@family(2, is_unseen=True)
def rocket(draw: Draws) -> list[Corners]:
    """A body with a pointed nose and three or four fins."""
    h, fins = draw.between(1.8, 2.6), draw.whole(3, 4)
    fin = turn(
        prism([(0.35, 0.8), (0.35, 0.0), (0.95, -0.35), (0.95, 0.15)], -0.05, 0.05), "x", 0.25
    )
    return [
        turned((0.36, 0), (0.42, 0.5), (0.42, h)),
        turned((0.42, h), (0.28, h + 0.45), (0.04, h + 0.9)),
        *[turn(fin, "z", k / fins)[0] for k in range(fins)],
    ]


@family(2, is_unseen=True)
def snowman(draw: Draws) -> list[Corners]:
    """Three balls, a hat and a nose."""
    middle, head = draw.between(0.62, 0.75), draw.between(0.42, 0.52)
    low, high = 0.75 + middle * 0.75, 0.75 + middle * 1.5 + head * 0.6
    return [
        ball(1.0, 1.0, 0.9),
        *move(ball(middle), z=low),
        *move(ball(head), z=high),
        cylinder(head * 1.05, 0.1, high + head * 0.75),
        cylinder(head * 0.7, 0.5, high + head * 0.75),
        bar((head * 0.9, 0, high), (head + 0.4, 0, high), 0.1, 0.03, 6),
    ]


@family(2, is_unseen=True)
def rubber_duck(draw: Draws) -> list[Corners]:
    """A body with a raised tail, a head and a beak."""
    head, x = draw.between(0.48, 0.6), draw.between(1.0, 1.2)
    body = ball(x, 0.75, 0.6)
    tail = hull(
        *((-x * 0.6, 0.3, 0.3), (-x * 0.6, -0.3, 0.3), (-x * 0.8, 0.2, -0.1)),
        *((-x * 0.8, -0.2, -0.1), (-x - 0.25, 0.1, 0.55), (-x - 0.25, -0.1, 0.55)),
    )
    beak = hull(
        *((0, 0.2, 0.05), (0, -0.2, 0.05), (0, 0.2, -0.1), (0, -0.2, -0.1)),
        *((0.4, 0.14, 0.0), (0.4, -0.14, 0.0), (0.4, 0.0, -0.06)),
    )
    at = x * 0.5
    return [
        body,
        tail,
        *move(ball(head), x=at, z=0.55 + head * 0.7),
        *move(beak, x=at + head * 0.88, z=0.5 + head * 0.7),
    ]


@family(2, is_unseen=True)
def cross_block(draw: Draws) -> list[Corners]:
    """Three beams through one another."""
    wide = draw.between(0.45, 0.7)
    a, b, c = (draw.between(0.5, 1.0) for _ in range(3))
    return [
        *[box(a, wide, wide, (s * (wide + a) / 2, 0, 0)) for s in (-1, 1)],
        *[box(wide, b, wide, (0, s * (wide + b) / 2, 0)) for s in (-1, 1)],
        box(wide, wide, wide + 2 * c),
    ]


@family(2, is_unseen=True)
def crown(draw: Draws) -> list[Corners]:
    """A ring whose upper edge has points."""
    count, h = draw.whole(6, 8), draw.between(0.7, 1.1)
    outer, inner = regular(count, 1.0), regular(count, 0.84)
    parts = []
    for k in range(count):
        nxt = (k + 1) % count
        a, b, c, d = outer[k], outer[nxt], inner[nxt], inner[k]
        band = prism([a, b, c, d], 0.0, h * 0.45)
        tip = [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, h), ((c[0] + d[0]) / 2, (c[1] + d[1]) / 2, h)]
        spike = hull(*[(x, y, h * 0.45) for x, y in (a, b, c, d)], *tip)
        parts += [band, spike]
    return parts
