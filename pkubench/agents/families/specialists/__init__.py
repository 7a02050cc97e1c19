"""Specialists: copies of a generalist, each trained on a part of the tasks, acting as one agent."""

from __future__ import annotations

from pkubench.agents.registry import AgentFamily, Input, Preset
from pkubench.agents.requirements import all_of, plays_episodes, reads_arrays

FAMILY = AgentFamily(
    name="specialists",
    summary="copies of one policy, each trained further on a part of the objects to grasp",
    kind="specialists",
    configure=f"{__name__}.presets:preset",
    learner=f"{__name__}.presets:make_learner",
    load=f"{__name__}.loading:load",
    acting={"mode": ("mode", "sampled")},
    fits=all_of(plays_episodes, reads_arrays),
    inputs=(
        Input(
            name="start",
            summary="run folder of the generalist that each specialist begins as",
            is_required=True,
        ),
        Input(
            name="geometry",
            summary="run folder of task-geometry, with the tasks and their groups",
            is_required=True,
        ),
    ),
)
PRESETS = (
    Preset(
        name="grasp-specialists",
        family=FAMILY.name,
        summary="PPO on each cluster of tasks, from one generalist",
        paper="-",
        suites=("grasp",),
        place=86,
    ),
)
