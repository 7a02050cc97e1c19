"""Geometry of tasks: codes of clouds, clusters of tasks, and the order they are learned in."""

from __future__ import annotations

from pkubench.agents.registry import AgentFamily, Preset
from pkubench.agents.requirements import all_of, plays_episodes, reads_arrays

FAMILY = AgentFamily(
    name="task-geometry",
    summary="what a point-cloud autoencoder knows of the objects to grasp: clusters, and levels",
    unit="gradient_steps",
    configure=f"{__name__}.presets:preset",
    learner=f"{__name__}.presets:make_learner",
    fits=all_of(plays_episodes, reads_arrays),
)
PRESETS = (
    Preset(
        name="task-geometry",
        family=FAMILY.name,
        summary="codes of clouds by an autoencoder, and the clusters and levels of tasks they make",
        paper="-",
        suites=("grasp",),
        place=95,
    ),
)
