"""Grasping by edits of one demonstration: look once, edit the script, replay it."""

from __future__ import annotations

from pkubench.agents.registry import OFFICIAL, SUGGESTED, AgentFamily, Preset
from pkubench.agents.requirements import all_of, plays_episodes, reads_arrays

FAMILY = AgentFamily(
    name="demo-edit",
    summary="one demonstrated grasp, edited for each object before it is replayed",
    kind="demo-edit",
    configure=f"{__name__}.presets:preset",
    learner=f"{__name__}.presets:make_learner",
    load=f"{__name__}.loading:load",
    acting={"mode": ("mode", "sampled")},
    fits=all_of(plays_episodes, reads_arrays),
)
_PAPER = "DemoGrasp (ICLR 2026)"


def _preset(name: str, summary: str, *tags: str) -> Preset:
    return Preset(
        name=name,
        family=FAMILY.name,
        summary=summary,
        paper=_PAPER,
        suites=("grasp",),
        tags=frozenset(tags),
        place=80,
    )


PRESETS = (
    _preset(
        "demograsp", "edits of one demonstration, by regression on those that lifted", SUGGESTED
    ),
    _preset(
        "demograsp-paper", "edits of one demonstration, by PPO at the paper's settings", OFFICIAL
    ),
)
