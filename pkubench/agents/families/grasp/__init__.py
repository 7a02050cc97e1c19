"""Pipelines of grasping: a demonstration, a generalist, specialists, and their distillation."""

from __future__ import annotations

from pkubench.agents.registry import SUGGESTED, AgentFamily, Preset
from pkubench.agents.requirements import all_of, plays_episodes, reads_arrays

FAMILY = AgentFamily(
    name="grasp",
    summary="generalists and specialists that grasp, in stages",
    configure=f"{__name__}.presets:preset",
    plan=f"{__name__}.pipeline:plan",
    fits=all_of(plays_episodes, reads_arrays),
)


def _preset(name: str, paper: str, summary: str, *tags: str) -> Preset:
    return Preset(
        name=name,
        family=FAMILY.name,
        summary=summary,
        paper=paper,
        suites=("grasp",),
        tags=frozenset(tags),
        place=82,
    )


PRESETS = (
    _preset(
        "unidexgrasp",
        "UniDexGrasp++ (ICCV 2023)",
        "a curriculum, specialists and their distillation, all by geometry",
        SUGGESTED,
    ),
    _preset(
        "unidexgrasp-category",
        "UniDexGrasp++ (ICCV 2023)",
        "control: curriculum and specialists by the names of families",
    ),
    _preset(
        "gsl",
        "Jia et al. (ICML 2022)",
        "control: no curriculum, and specialists of a random partition",
    ),
)
