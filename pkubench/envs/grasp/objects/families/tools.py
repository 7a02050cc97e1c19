"""Tools of a workshop, and things to write, play and train with."""

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
    prism,
    slab,
    turn,
    turned,
    wall,
)


@family(4)
def hammer(draw: Draws) -> list[Corners]:
    """A handle and a head with a face on one side and a wedge on the other."""
    length, head = draw.between(2.2, 3.2), draw.between(0.4, 0.55)
    face = turn(cylinder(0.26, head, 0.0), "y", 0.25)
    claw = hull(
        *((-0.2, -0.16, -0.18), (-0.2, 0.16, -0.18), (-0.2, -0.16, 0.18), (-0.2, 0.16, 0.18)),
        *((-0.9, -0.14, -0.1), (-0.9, 0.14, -0.1), (-0.9, -0.14, -0.03), (-0.9, 0.14, -0.03)),
    )
    head_parts = [box(0.42, 0.34, 0.4), *move(face, x=0.2), claw]
    return [bar((0, 0, 0), (0, 0, -length), 0.12, 0.17), *head_parts]


@family(3)
def mallet(draw: Draws) -> list[Corners]:
    """A handle through a drum."""
    r, wide = draw.between(0.4, 0.6), draw.between(1.2, 1.7)
    drum = turn(cylinder(r, wide, -wide / 2), "y", 0.25)
    return [*drum, cylinder(0.13, draw.between(1.8, 2.6), -draw.between(2.4, 2.5), 8)]


@family(4)
def screwdriver(draw: Draws) -> list[Corners]:
    """A thick handle, a thin shaft and a flat tip."""
    grip, shaft = draw.between(1.1, 1.5), draw.between(1.0, 2.0)
    end = grip + shaft
    tip = hull(
        *((0.06, 0.06, end), (-0.06, 0.06, end), (0.06, -0.06, end), (-0.06, -0.06, end)),
        *((0.1, 0.015, end + 0.2), (-0.1, 0.015, end + 0.2)),
        *((0.1, -0.015, end + 0.2), (-0.1, -0.015, end + 0.2)),
    )
    return [
        turned((0.22, 0), (0.28, 0.15), (0.28, grip - 0.3), (0.16, grip), segments=8),
        cylinder(0.07, shaft, grip, 8),
        tip,
    ]


@family(4)
def wrench(draw: Draws) -> list[Corners]:
    """A flat bar with an open jaw at one end and a ring at the other."""
    length, thick = draw.between(1.8, 2.6), draw.between(0.16, 0.24)
    jaw = [
        prism([(0.0, 0.12 * s), (0.1, 0.42 * s), (0.7, 0.4 * s), (0.72, 0.2 * s)], 0.0, thick)
        for s in (-1, 1)
    ]
    root = prism([(-0.15, -0.15), (0.22, -0.33), (0.22, 0.33), (-0.15, 0.15)], 0.0, thick)
    ring = wall((0.22, 0.22), (0.42, 0.42), 0.0, thick, 8)
    shank = box(length, 0.28, thick, (-length / 2, 0, thick / 2))
    return [*jaw, root, shank, *move(ring, x=-length - 0.35)]


@family(3)
def scissors(draw: Draws) -> list[Corners]:
    """Two crossed blades and two rings."""
    length, open_by = draw.between(1.5, 2.0), draw.between(0.02, 0.05)
    parts = []
    for side in (-1, 1):
        blade = prism(
            [(-0.4, -0.1), (0.1, -0.14), (length, 0.0), (0.1, 0.12), (-0.4, 0.1)], 0, 0.07
        )
        ring = move(wall((0.2, 0.2), (0.32, 0.32), 0.0, 0.1, 6), x=-0.68, y=-0.08 * side)
        half = turn([blade, *ring], "z", side * open_by)
        parts += move(half, z=0.035 * (side - 1))
    return parts


@family(2)
def paintbrush(draw: Draws) -> list[Corners]:
    """A handle, a metal band and a flat brush."""
    wide, length = draw.between(0.5, 0.9), draw.between(1.2, 1.8)
    brush = hull(
        *((0.25, wide / 2, 0.12), (0.25, -wide / 2, 0.12)),
        *((0.25, wide / 2, -0.12), (0.25, -wide / 2, -0.12)),
        *((1.0, wide * 0.45, 0.03), (1.0, -wide * 0.45, 0.03)),
        *((1.0, wide * 0.45, -0.03), (1.0, -wide * 0.45, -0.03)),
    )
    grip = bar((-0.2, 0, 0), (-0.2 - length, 0, 0), 0.17, 0.1)
    return [box(0.5, wide + 0.04, 0.28), brush, grip]


@family(3)
def pen(draw: Draws) -> list[Corners]:
    """A barrel with a point, a cap end and a clip."""
    length = draw.between(2.6, 3.6)
    return [
        turned((0.03, 0), (0.15, 0.45), (0.17, 0.6), (0.17, length), segments=8),
        cylinder(0.1, 0.2, length, 8),
        box(0.06, 0.08, 0.9, (0.22, 0, length - 0.5)),
    ]


@family(3)
def flashlight(draw: Draws) -> list[Corners]:
    """A tube that widens into a head, with a switch."""
    length, head = draw.between(1.8, 2.8), draw.between(0.5, 0.7)
    return [
        cylinder(0.36, length),
        turned((0.36, length), (head, length + 0.4), (head, length + 0.8)),
        box(0.12, 0.16, 0.4, (0.38, 0, length * 0.7)),
    ]


@family(5)
def pistol(draw: Draws) -> list[Corners]:
    """A toy: a slide, a slanted grip, and a guard around the trigger."""
    length, grip = draw.between(1.7, 2.4), draw.between(0.9, 1.2)
    handle = turn(box(0.5, 0.3, grip, (0, 0, -grip / 2)), "y", -draw.between(0.02, 0.06))
    guard = move(arc(0.26, 0.5, 1.0, 4, 0.08, 0.12), x=0.62, z=-0.2)
    return [
        box(length, 0.32, 0.42, (length / 2 - 0.3, 0, 0)),
        *move(handle, x=-0.02, z=-0.15),
        *guard,
        bar((0.55, 0, -0.18), (0.6, 0, -0.38), 0.05, 0.04, 6),
        box(0.08, 0.08, 0.1, (length - 0.4, 0, 0.25)),
    ]


@family(3)
def power_drill(draw: Draws) -> list[Corners]:
    """A motor, a chuck with its bit, a grip and a battery."""
    length, grip = draw.between(1.1, 1.5), draw.between(0.8, 1.1)
    front = turn(turned((0.32, 0), (0.15, 0.45), segments=8), "y", 0.25)
    motor = turn(cylinder(0.36, length, -length / 2), "y", 0.25)
    return [
        *motor,
        *move(front, x=length / 2),
        bar((length / 2 + 0.4, 0, 0), (length / 2 + 0.95, 0, 0), 0.05, 0.05, 6),
        *turn(box(0.38, 0.34, grip + 0.2, (0, 0, -grip / 2 - 0.1)), "y", 0.02),
        box(0.75, 0.5, 0.3, (-0.1, 0, -grip - 0.35)),
    ]


@family(2)
def saw(draw: Draws) -> list[Corners]:
    """A blade that narrows and a closed handle."""
    length, tall = draw.between(2.0, 2.8), draw.between(0.55, 0.75)
    turned_blade = turn(
        prism([(0, 0), (length, 0), (length, tall * 0.4), (0, tall)], -0.03, 0.03), "x", 0.25
    )
    frame = [
        box(0.18, 0.22, tall + 0.2, (0.05, 0, tall / 2)),
        box(0.75, 0.22, 0.16, (-0.35, 0, tall + 0.03)),
        box(0.75, 0.22, 0.16, (-0.35, 0, -0.03)),
        box(0.18, 0.22, tall + 0.2, (-0.72, 0, tall / 2)),
    ]
    return [*turned_blade, *frame]


@family(2)
def trowel(draw: Draws) -> list[Corners]:
    """A pointed plate, a bent neck and a handle."""
    length, wide = draw.between(1.2, 1.7), draw.between(0.6, 0.9)
    plate = prism([(0, wide / 2), (0, -wide / 2), (length, -0.03), (length, 0.03)], 0.0, 0.06)
    return [
        plate,
        bar((0.1, 0, 0.05), (-0.3, 0, 0.4), 0.07),
        bar((-0.3, 0, 0.38), (-0.3 - draw.between(0.9, 1.2), 0, 0.4), 0.15, 0.18),
    ]


@family(2)
def paint_roller(draw: Draws) -> list[Corners]:
    """A roll on a bent wire with a handle."""
    wide, r = draw.between(1.2, 1.7), draw.between(0.24, 0.34)
    return [
        *turn(cylinder(r, wide, -wide / 2), "y", 0.25),
        bar((wide / 2, 0, 0), (wide / 2 + 0.2, 0, 0), 0.05),
        bar((wide / 2 + 0.17, 0, 0.03), (wide / 2 + 0.17, 0, -0.75), 0.05),
        bar((wide / 2 + 0.2, 0, -0.72), (0, 0, -0.9), 0.05),
        bar((0, 0, -0.85), (0, 0, -0.9 - draw.between(1.0, 1.4)), 0.14, 0.17),
    ]


@family(4)
def dumbbell(draw: Draws) -> list[Corners]:
    """A bar between two weights of six sides."""
    grip, weight = draw.between(0.9, 1.4), draw.between(0.5, 0.8)
    r = draw.between(0.55, 0.75)
    ends = [
        move(turn(cylinder(r, weight, -weight / 2, 6), "y", 0.25), x=s * (grip + weight) / 2)[0]
        for s in (-1, 1)
    ]
    return [*ends, bar((-grip / 2, 0, 0), (grip / 2, 0, 0), 0.16)]


@family(2)
def rolling_pin(draw: Draws) -> list[Corners]:
    """A cylinder with two handles."""
    wide, r = draw.between(1.8, 2.6), draw.between(0.32, 0.45)
    return [
        cylinder(r, wide, -wide / 2),
        *[bar((0, 0, s * wide / 2), (0, 0, s * (wide / 2 + 0.65)), 0.12, 0.17) for s in (-1, 1)],
    ]


@family(3)
def baseball_bat(draw: Draws) -> list[Corners]:
    """A club that tapers to a handle with a knob."""
    length = draw.between(2.0, 2.6)
    return [
        turned(
            (0.2, length + 0.06), (0.27, length), (0.28, length * 0.6), (0.13, 0.0), segments=12
        ),
        cylinder(0.12, 0.7, -0.7, 8),
        turned((0.17, -0.78), (0.2, -0.7), (0.13, -0.6), segments=8),
    ]


@family(3)
def guitar(draw: Draws) -> list[Corners]:
    """A body of two rounds, a neck and a head."""
    deep, neck = draw.between(0.26, 0.4), draw.between(1.6, 2.0)
    upper = draw.between(0.42, 0.55)
    return [
        cylinder(0.75, deep),
        *move(cylinder(upper, deep), x=0.85),
        box(neck, 0.2, 0.14, (1.2 + neck / 2, 0, deep)),
        box(0.45, 0.32, 0.12, (1.35 + neck, 0, deep)),
        box(0.1, 0.5, 0.1, (-0.25, 0, deep + 0.03)),
    ]


@family(2)
def umbrella(draw: Draws) -> list[Corners]:
    """A closed one: a cone of cloth, a tip and a hooked handle."""
    length = draw.between(1.8, 2.4)
    hook = move(arc(0.25, 0.5, 1.0, 4, 0.11, 0.11), x=0.25, z=-0.45)
    return [
        turned((0.27, 0), (0.3, 0.2), (0.1, length), segments=8),
        cylinder(0.06, 0.55, -0.5, 8),
        turned((0.05, length), (0.03, length + 0.25), segments=6),
        *hook,
    ]


@family(2)
def megaphone(draw: Draws) -> list[Corners]:
    """A cone with a mouthpiece and a grip."""
    length, mouth = draw.between(1.6, 2.2), draw.between(0.7, 0.95)
    horn = [
        turned((0.22, 0), (mouth * 0.5, length * 0.7)),
        turned((mouth * 0.5, length * 0.7), (mouth, length)),
        turned((0.28, -0.4), (0.28, 0.0)),
    ]
    return [*turn(horn, "y", 0.25), box(0.25, 0.2, 0.8, (0.55, 0, -0.6))]


@family(3)
def key(draw: Draws) -> list[Corners]:
    """A ring, a shaft and two or three teeth."""
    length, teeth, thick = draw.between(1.4, 2.0), draw.whole(2, 3), draw.between(0.12, 0.18)
    bow = wall((0.26, 0.26), (0.5, 0.5), -thick / 2, thick / 2, 8)
    bits = [
        box(0.13, draw.between(0.2, 0.36), thick, (0.45 + length - 0.12 - 0.26 * k, -0.2, 0))
        for k in range(teeth)
    ]
    return [*bow, box(length, 0.17, thick, (0.45 + length / 2, 0, 0)), *bits]


@family(2)
def razor(draw: Draws) -> list[Corners]:
    """A T: a handle and a head across it."""
    length = draw.between(1.8, 2.4)
    head = turn(box(0.26, 0.95, 0.16), "y", draw.between(0.03, 0.08))
    return [bar((0, 0, 0), (-length, 0, -0.15), 0.09, 0.15), *move(head, x=0.08)]


@family(2)
def binoculars(draw: Draws) -> list[Corners]:
    """Two tubes side by side with a bridge."""
    length, wide = draw.between(1.2, 1.7), draw.between(0.4, 0.5)
    tube = [
        turned((wide, 0), (wide, length * 0.45), (0.32, length * 0.65)),
        turned((0.32, length * 0.65), (0.3, length + 0.15)),
    ]
    both = [part for s in (-1, 1) for part in move(tube, x=s * (wide + 0.08))]
    return [*both, box(0.5, 0.24, length * 0.4, (0, 0, length * 0.45))]


@family(2, is_unseen=True)
def axe(draw: Draws) -> list[Corners]:
    """A handle and a blade that widens to its edge."""
    length, reach = draw.between(2.2, 3.0), draw.between(0.7, 1.0)
    edge = draw.between(0.45, 0.65)
    blade = hull(
        *((-0.18, -0.13, -0.2), (-0.18, 0.13, -0.2), (-0.18, -0.13, 0.2), (-0.18, 0.13, 0.2)),
        *((0.2, -0.12, -0.22), (0.2, 0.12, -0.22), (0.2, -0.12, 0.22), (0.2, 0.12, 0.22)),
        *((reach, 0.01, -edge), (reach, -0.01, -edge), (reach, 0.01, edge * 0.8)),
        (reach, -0.01, edge * 0.8),
    )
    return [blade, bar((0, 0, 0.3), (0, 0, -length), 0.11, 0.15)]


@family(2, is_unseen=True)
def pliers(draw: Draws) -> list[Corners]:
    """Two jaws, a joint and two handles that spread."""
    length, spread = draw.between(1.4, 1.9), draw.between(0.25, 0.45)
    parts: list[Corners] = [cylinder(0.27, 0.3, -0.15)]
    for s in (-1, 1):
        parts.append(
            prism(
                [(0.1, 0.02 * s), (0.1, 0.26 * s), (0.95, 0.1 * s), (0.95, 0.02 * s)], -0.12, 0.12
            )
        )
        parts.append(bar((-0.1, 0.08 * s, 0), (-length * 0.5, spread * s, 0), 0.12, 0.13))
        parts.append(
            bar((-length * 0.48, spread * s, 0), (-length, spread * 0.8 * s, 0), 0.13, 0.12)
        )
    return parts


@family(2, is_unseen=True)
def tennis_racket(draw: Draws) -> list[Corners]:
    """An oval hoop, its strings as a thin plate, and a handle."""
    long_by, grip = draw.between(1.15, 1.35), draw.between(1.3, 1.7)
    hoop = [part * [long_by, 1.0, 1.0] for part in wall((0.8, 0.8), (0.94, 0.94), -0.07, 0.07, 10)]
    strings = turned(((0.82 * long_by, 0.82), -0.02), ((0.82 * long_by, 0.82), 0.02))
    throat = bar((0.9 * long_by, 0, 0), (0.9 * long_by + grip, 0, 0), 0.09, 0.13)
    return [*hoop, strings, throat]


@family(2, is_unseen=True)
def bolt(draw: Draws) -> list[Corners]:
    """A hexagonal head on a shaft."""
    length = draw.between(1.6, 2.8)
    return [cylinder(0.75, draw.between(0.45, 0.6), 0.0, 6), cylinder(0.4, length, -length, 12)]


@family(2, is_unseen=True)
def horseshoe(draw: Draws) -> list[Corners]:
    """A flat bar bent to an open ring."""
    gap = draw.between(0.06, 0.1)
    bent = arc(0.8, -0.25 + gap, 0.75 - gap, 10, draw.between(0.3, 0.4), draw.between(0.15, 0.25))
    return turn(bent, "x", 0.25)


@family(2, is_unseen=True)
def ladle(draw: Draws) -> list[Corners]:
    """A hollow hemisphere with an upright handle."""
    length = draw.between(1.6, 2.2)
    stem = [bar((0.62, 0, 0.0), (0.75, 0, length), 0.06, 0.08)]
    hook = move(arc(0.16, 0.0, 0.5, 3, 0.1, 0.12), x=0.6, z=length)
    low = turned((0.2, -0.62), (0.4, -0.5))
    return [low, *wall((0.3, 0.56), (0.4, 0.66), -0.5, 0.05, 8), *stem, *hook]


@family(2, is_unseen=True)
def clothes_peg(draw: Draws) -> list[Corners]:
    """Two legs held apart by a spring."""
    length, spread = draw.between(2.0, 2.6), draw.between(0.03, 0.06)
    legs = [move(turn(box(length, 0.4, 0.2), "y", s * spread), z=s * 0.22)[0] for s in (-1, 1)]
    coil = turn(cylinder(0.2, 0.5, -0.25, 8), "x", 0.25)
    return [*legs, *coil]


@family(2, is_unseen=True)
def toy_hand_bell(draw: Draws) -> list[Corners]:
    """A bell with a straight handle."""
    mouth, h = draw.between(0.8, 1.0), draw.between(0.9, 1.2)
    return [
        turned((mouth * 0.75, 0.25), (0.45, h * 0.8), (0.25, h)),
        turned((mouth, 0), (mouth * 0.75, 0.25)),
        bar((0, 0, h), (0, 0, h + draw.between(0.9, 1.2)), 0.11, 0.18),
        *move(ball(0.17), z=-0.05),
        slab(0.3, 0.3, 0.1, 0.05, (0, 0, h + 0.02)),
    ]
