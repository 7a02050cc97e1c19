"""The things of the navigation environments: sizes and masses as in Safety-Gymnasium 1.0.0."""

from __future__ import annotations

import math

from pkubench.envs.safety.scene import Group

_SINK_M = 4e-5
"""How deep a resting vase sinks into the soft floor."""

_POSTS = ("post1", "post2", "post3", "post4")


def goal(radius: float, clearance: float = 0.4) -> Group:
    """Return the one goal, a cylinder of light."""
    return Group(
        name="goal",
        kind="mark",
        shape=f'type="cylinder" size="{radius} {radius / 2}"',
        height_m=radius / 2 + 1e-2,
        clearance_m=clearance,
        colour="0.18 0.72 0.38 0.35",
    )


def hazards(count: int, radius: float, clearance: float = 0.4) -> Group:
    """Return discs on the floor that it costs to be on."""
    return Group(
        name="hazards",
        count=count,
        kind="mark",
        shape=f'type="cylinder" size="{radius} 0.01"',
        height_m=2e-2,
        clearance_m=clearance,
        colour="0.80 0.22 0.22 0.55",
    )


def vases(count: int) -> Group:
    """Return light boxes that slide when they are touched."""
    return Group(
        name="vases",
        count=count,
        kind="free",
        shape='type="box" size="0.1 0.1 0.1"',
        height_m=0.1 - _SINK_M,
        clearance_m=0.15,
        density=0.001,
        colour="0.22 0.68 0.74 1",
    )


def pillars(count: int) -> Group:
    """Return columns that do not give way."""
    return Group(
        name="pillars",
        count=count,
        kind="static",
        shape='type="cylinder" size="0.2 0.5"',
        height_m=0.5,
        clearance_m=0.3,
        colour="0.52 0.55 0.72 1",
    )


def buttons(count: int) -> Group:
    """Return spheres that are pressed by touching them."""
    return Group(
        name="buttons",
        count=count,
        kind="static",
        shape='type="sphere" size="0.1"',
        height_m=0.1,
        clearance_m=0.2,
        colour="0.96 0.70 0.20 1",
    )


def gremlins(count: int) -> Group:
    """Return light boxes that are pulled in circles, all in step."""
    return Group(
        name="gremlins",
        count=count,
        kind="driven",
        shape='type="box" size="0.1 0.1 0.1"',
        height_m=0.1,
        clearance_m=0.4,
        density=0.001,
        colour="0.50 0.28 0.70 1",
    )


def push_box(half: float, density: float) -> Group:
    """Return the box to be pushed, with a post at each upright edge; ``half`` its size in m."""
    post = half / 2
    look = 'rgba="0.80 0.62 0.16 1"'
    posts = "".join(
        f'<geom name="{name}" type="box" size="{post} {post} {half}"'
        f' pos="{x * half} {y * half} 0" density="{density}" {look}/>'
        for name, (x, y) in zip(_POSTS, ((1, 1), (-1, 1), (1, -1), (-1, -1)), strict=True)
    )
    return Group(
        name="push_box",
        kind="free",
        shape=f'type="box" size="{half} {half} {half}"',
        height_m=half,
        clearance_m=half,
        density=density,
        colour="0.92 0.76 0.28 1",
        more=posts,
        boxes=("push_box", *_POSTS),
    )


def circle(radius: float) -> Group:
    """Return the disc whose rim is the track."""
    return Group(
        name="circle",
        kind="mark",
        shape=f'type="cylinder" size="{radius} 0.01"',
        height_m=0.01,
        clearance_m=0.0,
        colour="0.18 0.72 0.38 0.25",
        places=((0.0, 0.0),),
    )


def walls(count: int, away: float, half_length: float) -> Group:
    """Return walls of light that nothing collides with, two across x and then two across y."""
    sides = ((away, 0.0), (-away, 0.0), (0.0, away), (0.0, -away))[:count]
    return Group(
        name="sigwalls",
        count=count,
        kind="mark",
        shape=f'type="box" size="0.05 {half_length} 0.3"',
        height_m=0.25,
        clearance_m=0.0,
        colour="0.90 0.62 0.15 0.22",
        places=sides,
        yaws_rad=(0.0, 0.0, math.pi / 2, math.pi / 2)[:count],
        is_sensed=False,
    )
