"""The things of the navigation worlds: sizes and masses as in Safety-Gymnasium 1.0.0."""

from __future__ import annotations

from pkubench.envs.safety.scene import Group

_SINK_M = 4e-5
"""How deep a resting vase sinks into the soft floor."""


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
