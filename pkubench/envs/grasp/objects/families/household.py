"""Things of a household: boxes, books, devices, cutlery."""

from __future__ import annotations

import itertools

from pkubench.envs.grasp.objects.draws import Draws
from pkubench.envs.grasp.objects.families.registry import family
from pkubench.envs.grasp.objects.shapes import (
    Corners,
    Vector,
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
    stretch,
    taper,
    turn,
    turned,
    wall,
)


@family(6)
def cardboard_box(draw: Draws) -> list[Corners]:
    """A plain box."""
    return [box(2.0, draw.between(0.8, 2.0), draw.between(0.5, 2.0))]


@family(4)
def milk_carton(draw: Draws) -> list[Corners]:
    """A square box with a gabled top and a ridge."""
    h, roof = draw.between(1.4, 2.4), draw.between(0.35, 0.55)
    gable = hull(
        *((-0.5, -0.5, h), (0.5, -0.5, h), (-0.5, 0.5, h), (0.5, 0.5, h)),
        *((-0.5, 0.03, h + roof), (0.5, 0.03, h + roof)),
        *((-0.5, -0.03, h + roof), (0.5, -0.03, h + roof)),
    )
    return [box(1, 1, h, (0, 0, h / 2)), gable, box(1, 0.06, 0.25, (0, 0, h + roof + 0.12))]


@family(4)
def book(draw: Draws) -> list[Corners]:
    """Two covers, a spine and the pages between, a little smaller."""
    x, y, thick = draw.between(1.2, 1.7), 2.0, draw.between(0.2, 0.55)
    cover = 0.05
    return [
        box(x, y, cover, (0, 0, thick / 2)),
        box(x, y, cover, (0, 0, -thick / 2)),
        box(cover, y, thick, (-x / 2 + cover / 2, 0, 0)),
        box(x - 0.16, y - 0.2, thick - cover, (0, 0, 0)),
    ]


@family(6)
def cellphone(draw: Draws) -> list[Corners]:
    """A flat slab with cut corners and a camera bump."""
    x, thick = draw.between(0.85, 1.1), draw.between(0.12, 0.26)
    size = draw.between(0.28, 0.4)
    bump = slab(size, size, 0.06, 0.06, (-x / 2 + size * 0.75, 0.95 - size * 0.6, thick / 2 + 0.03))
    return [slab(x, 2.0, thick, 0.14), bump]


@family(3)
def laptop(draw: Draws) -> list[Corners]:
    """A base and an open screen."""
    y, lean = draw.between(1.2, 1.5), draw.between(0.02, 0.07)
    screen = turn(box(2.0, 0.08, y, (0, 0, y / 2)), "x", -lean)
    return [box(2.0, y, 0.13, (0, 0, 0)), *move(screen, y=y / 2 - 0.02, z=0.03)]


@family(3)
def keyboard(draw: Draws) -> list[Corners]:
    """A long flat wedge with rows of keys."""
    x, y = draw.between(2.6, 3.6), draw.between(0.9, 1.2)
    base = hull(
        *((-x / 2, -y / 2, 0), (x / 2, -y / 2, 0), (-x / 2, y / 2, 0), (x / 2, y / 2, 0)),
        *((-x / 2, -y / 2, 0.12), (x / 2, -y / 2, 0.12)),
        *((-x / 2, y / 2, 0.3), (x / 2, y / 2, 0.3)),
    )
    rows = [
        box(x * 0.92, y * 0.13, 0.1, (0, y * (k - 1.5) * 0.22, 0.26 + 0.18 * (k - 1.5) * 0.22))
        for k in range(4)
    ]
    return [base, *rows]


@family(3)
def remote_control(draw: Draws) -> list[Corners]:
    """A long slab with a round pad and two rows of buttons."""
    x, thick = draw.between(0.45, 0.65), draw.between(0.22, 0.36)
    rows = [box(x * 0.7, 0.14, 0.08, (0, -0.2 - 0.3 * k, thick / 2 + 0.03)) for k in range(2)]
    pad = move(cylinder(x * 0.34, 0.08, 0.0, 8), y=0.45, z=thick / 2 - 0.01)
    return [slab(x, 2.2, thick, 0.08), *pad, *rows]


@family(4)
def camera(draw: Draws) -> list[Corners]:
    """A body, a lens, a prism on top and a shutter button."""
    y, depth = draw.between(1.2, 1.5), draw.between(0.5, 0.75)
    lens = draw.between(0.42, 0.55)
    tube = turn(turned((lens, 0), (lens * 0.88, draw.between(0.4, 1.0))), "x", 0.25)
    return [
        slab(2.0, depth, y, 0.1),
        *move(tube, y=-depth / 2, z=-0.05),
        *move(taper((0.7, depth * 0.8), (0.45, depth * 0.6), 0.3), z=y / 2),
        *move(cylinder(0.13, 0.12, 0.0, 8), x=0.7, z=y / 2),
    ]


@family(2)
def computer_mouse(draw: Draws) -> list[Corners]:
    """A low dome with a wheel."""
    y, h = draw.between(1.5, 1.9), draw.between(0.5, 0.75)
    low, high = ((0.5, y / 2), 0.0), ((0.52, y / 2), h * 0.4)
    shell = turned(low, high, ((0.38, y * 0.38), h * 0.8), ((0.18, y * 0.2), h))
    wheel = turn(cylinder(0.12, 0.08, -0.04, 8), "y", 0.25)
    return [shell, *move(wheel, y=y * 0.28, z=h * 0.82)]


@family(3)
def alarm_clock(draw: Draws) -> list[Corners]:
    """A drum on two feet, with two bells and a hammer between them."""
    depth = draw.between(0.5, 0.8)
    bell = draw.between(0.3, 0.4)
    drum = turn(cylinder(1.0, depth, -depth / 2), "x", 0.25)
    bells = [
        turn(move(turned((bell, 0), (bell * 0.75, 0.22), (0.1, 0.34)), z=1.02), "y", s * 0.11)[0]
        for s in (-1, 1)
    ]
    feet = [bar((0.5 * s, 0, -0.8), (0.75 * s, 0, -1.25), 0.14, 0.1, 6) for s in (-1, 1)]
    return [*drum, *bells, *feet, box(0.09, 0.09, 0.45, (0, 0, 1.2))]


@family(2)
def light_bulb(draw: Draws) -> list[Corners]:
    """A glass pear on a threaded socket."""
    neck, h = draw.between(0.4, 0.5), draw.between(0.8, 1.1)
    glass = turned(
        (neck, 0), (0.75, h * 0.55), (0.97, h), (1.0, h + 0.3), (0.8, h + 0.85), (0.3, h + 1.12)
    )
    return [glass, cylinder(neck * 0.95, 0.7, -0.7), turned((0.14, -0.85), (0.3, -0.7))]


@family(2)
def battery(draw: Draws) -> list[Corners]:
    """A cylinder with a knob at one end."""
    h = draw.between(2.6, 5.0)
    return [cylinder(0.7, h), cylinder(0.25, 0.16, h, 8)]


@family(3)
def knife(draw: Draws) -> list[Corners]:
    """A blade with a point, a guard and a handle."""
    blade, grip, wide = draw.between(1.8, 2.6), draw.between(1.1, 1.5), draw.between(0.26, 0.4)
    edge = hull(
        *((0, 0.04, 0), (0, 0.04, wide), (0, -0.04, wide), (0, -0.02, 0), (0, 0.02, 0)),
        *((blade * 0.75, 0.03, wide), (blade * 0.75, -0.03, wide)),
        (blade, 0.0, wide * 0.55),
        (blade * 0.8, 0.0, 0.0),
    )
    handle = box(grip, 0.2, wide * 0.8, (-grip / 2, 0, wide * 0.55))
    return [edge, handle, box(0.1, 0.28, wide * 1.2, (0, 0, wide * 0.5))]


@family(3)
def spoon(draw: Draws) -> list[Corners]:
    """An oval shell, filled, on a long stem."""
    x, y = draw.between(0.45, 0.6), draw.between(0.3, 0.42)
    length = draw.between(1.7, 2.4)
    shell = turned(((x * 0.5, y * 0.5), -0.16), ((x, y), 0.0))
    stem = hull(
        *((x * 0.85, -0.07, -0.03), (x * 0.85, 0.07, -0.03)),
        *((x * 0.85, -0.07, 0.05), (x * 0.85, 0.07, 0.05)),
        *((length, -0.06, 0.22), (length, 0.06, 0.22), (length, -0.06, 0.3), (length, 0.06, 0.3)),
    )
    end = box(0.5, 0.22, 0.08, (length + 0.2, 0, 0.26))
    return [shell, stem, end]


@family(3)
def fork(draw: Draws) -> list[Corners]:
    """A stem, a base and three or four tines."""
    length, tines = draw.between(1.6, 2.2), draw.whole(3, 4)
    wide = 0.16 * tines
    prongs = [
        box(0.75, 0.07, 0.07, (-0.55, (k - (tines - 1) / 2) * 0.17, 0.0)) for k in range(tines)
    ]
    neck = hull(
        *(
            (0.0, wide / 2, 0.05),
            (0.0, -wide / 2, 0.05),
            (0.0, wide / 2, -0.05),
            (0.0, -wide / 2, -0.05),
        ),
        *((0.45, 0.07, 0.05), (0.45, -0.07, 0.05), (0.45, 0.07, -0.05), (0.45, -0.07, -0.05)),
    )
    base = box(0.25, wide, 0.09, (-0.1, 0, 0))
    return [*prongs, base, neck, box(length, 0.13, 0.09, (0.4 + length / 2, 0, 0))]


@family(2)
def toothbrush(draw: Draws) -> list[Corners]:
    """A thin handle with a head of bristles."""
    length = draw.between(2.6, 3.4)
    return [
        slab(length, 0.2, 0.14, 0.05),
        box(0.75, 0.2, 0.1, (length / 2 + 0.3, 0, 0.0)),
        box(0.65, 0.18, draw.between(0.2, 0.3), (length / 2 + 0.3, 0, 0.16)),
    ]


@family(2)
def hairbrush(draw: Draws) -> list[Corners]:
    """An oval pad with rows of bristles and a handle."""
    x, y = draw.between(0.75, 0.95), draw.between(0.42, 0.55)
    pad = turned(((x, y), -0.12), ((x, y), 0.12))
    rows = [box(x * 1.3, 0.06, 0.3, (0, y * 0.4 * k, 0.25)) for k in (-1, 0, 1)]
    return [pad, *rows, bar((x * 0.9, 0, 0), (x + draw.between(1.2, 1.6), 0, 0), 0.12, 0.17)]


@family(3)
def headphones(draw: Draws) -> list[Corners]:
    """A bow over two padded cups."""
    cup, deep = draw.between(0.38, 0.5), draw.between(0.22, 0.32)
    bow = arc(0.95, 0.0, 0.5, 8, 0.09, draw.between(0.16, 0.26))
    cups = [
        move(turn(cylinder(cup, deep, -deep / 2), "y", 0.25), x=0.88 * side, z=-cup * 0.55)[0]
        for side in (-1, 1)
    ]
    return [*bow, *cups]


@family(2)
def soap_bar(draw: Draws) -> list[Corners]:
    """A flat oval cushion."""
    x, h = draw.between(1.3, 1.7), draw.between(0.35, 0.5)
    middle = ((x, 1.0), 0.0)
    return [turned(((x * 0.85, 0.85), -h), middle, ((x * 0.85, 0.85), h))]


@family(2)
def tissue_roll(draw: Draws) -> list[Corners]:
    """A thick tube, open through the middle."""
    inner = draw.between(0.28, 0.45)
    return wall((inner, inner), (1.0, 1.0), 0.0, draw.between(1.3, 2.2), 10)


@family(3, is_unseen=True)
def microscope(draw: Draws) -> list[Corners]:
    """A base, a bent arm, a stage and a slanted tube."""
    h, lean = draw.between(1.3, 1.7), draw.between(0.04, 0.09)
    tube = turn([cylinder(0.2, 1.3, -0.65), cylinder(0.14, 0.35, 0.65)], "y", -lean)
    return [
        box(1.3, 0.95, 0.18, (0.1, 0, 0)),
        box(0.25, 0.5, h, (-0.4, 0, h / 2)),
        box(0.75, 0.6, 0.1, (0.1, 0, 0.55)),
        box(0.6, 0.3, 0.25, (-0.15, 0, h)),
        *move(tube, x=0.2, z=h + 0.15),
    ]


@family(2, is_unseen=True)
def watch(draw: Draws) -> list[Corners]:
    """A flat case, a crown, and a closed strap below it."""
    case, wide = draw.between(0.48, 0.6), draw.between(0.4, 0.55)
    strap = stretch(arc(1.0, 0.31, 1.19, 9, 0.09, wide), z=0.8)
    face = rounded(case, 0.24, 0.05)
    crown = bar((0, case * 0.95, 0.12), (0, case + 0.12, 0.12), 0.08)
    return [*move([face, crown], z=0.62), *strap]


@family(2, is_unseen=True)
def tape_measure(draw: Draws) -> list[Corners]:
    """A case with a cut corner, a button and a tongue of tape with its hook."""
    y, out = draw.between(0.7, 1.0), draw.between(0.25, 0.6)
    outline = [(-0.9, -0.8), (0.9, -0.8), (0.9, 0.1), (0.3, 0.8), (-0.6, 0.8), (-0.9, 0.5)]
    case = turn(prism(outline, -y / 2, y / 2), "x", 0.25)
    return [
        *case,
        box(out, 0.5, 0.05, (0.9 + out / 2, 0, -0.7)),
        box(0.05, 0.5, 0.22, (0.9 + out, 0, -0.76)),
        box(0.3, 0.3, 0.2, (-0.1, 0, 0.85)),
    ]


@family(2, is_unseen=True)
def stapler(draw: Draws) -> list[Corners]:
    """A base and an arm that meet at a hinge."""
    length, lift = draw.between(2.0, 2.6), draw.between(0.02, 0.05)
    arm = turn(box(length * 0.95, 0.36, 0.3, (length * 0.475, 0, 0)), "y", -lift)
    return [
        box(length, 0.42, 0.12, (length / 2, 0, -0.3)),
        box(0.35, 0.34, 0.5, (0.18, 0, -0.1)),
        *move(arm, z=0.05),
    ]


@family(2, is_unseen=True)
def padlock(draw: Draws) -> list[Corners]:
    """A block with a shackle."""
    h, deep = draw.between(1.0, 1.4), draw.between(0.4, 0.6)
    reach = draw.between(0.4, 0.52)
    bow = move(arc(reach, 0.0, 0.5, 6, 0.2, 0.2), z=h + 0.35)
    posts = [box(0.2, 0.2, 0.4, (reach * s, 0, h + 0.17)) for s in (-1, 1)]
    return [*move(slab(1.5, deep, h, 0.1), z=h / 2), *posts, *bow]


@family(2, is_unseen=True)
def dice(draw: Draws) -> list[Corners]:
    """A cube with all corners cut."""
    cut = draw.between(0.15, 0.45)
    corners: list[Vector] = []
    for sx, sy, sz in itertools.product((-1.0, 1.0), repeat=3):
        corners += [((1 - cut) * sx, sy, sz), (sx, (1 - cut) * sy, sz), (sx, sy, (1 - cut) * sz)]
    return [hull(*corners)]


@family(2, is_unseen=True)
def magnifying_glass(draw: Draws) -> list[Corners]:
    """A ring, a lens in it, and a handle."""
    deep = draw.between(0.12, 0.2)
    rim = wall((0.82, 0.82), (1.0, 1.0), -deep, deep, 10)
    lens = [turned((0.6, -deep * 0.5), (0.85, 0.0), (0.6, deep * 0.5))]
    grip = bar((0.95, 0, 0), (0.95 + draw.between(1.2, 1.8), 0, 0), 0.13, 0.2)
    return [*rim, *lens, grip]


@family(2, is_unseen=True)
def nut(draw: Draws) -> list[Corners]:
    """A hexagonal ring, as goes on a bolt."""
    hole, h = draw.between(0.42, 0.6), draw.between(0.5, 1.0)
    outer, inner = regular(6, 1.0), regular(6, hole)
    return [
        prism([outer[k], outer[(k + 1) % 6], inner[(k + 1) % 6], inner[k]], 0.0, h)
        for k in range(6)
    ]


@family(2, is_unseen=True)
def desk_bell(draw: Draws) -> list[Corners]:
    """A dome on a disc with a knob."""
    h = draw.between(0.55, 0.8)
    return [
        cylinder(1.0, 0.15),
        turned((0.85, 0.15), (0.78, 0.15 + h * 0.45), (0.55, 0.15 + h * 0.8), (0.2, 0.15 + h)),
        *move(ball(0.14), z=h + 0.26),
    ]
