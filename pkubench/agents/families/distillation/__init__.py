"""Students of other agents: networks that imitate a teacher on what they meet themselves."""

from __future__ import annotations

from pkubench.agents.registry import AgentFamily, Input, Preset
from pkubench.agents.requirements import all_of, plays_episodes, reads_arrays, takes_no_masks

_LEARNERS = "pkubench.agents.rl.on_policy"

FAMILY = AgentFamily(
    name="distillation",
    summary="networks that imitate a teacher on what they meet themselves",
    kind="distilled",
    configure=f"{__name__}.presets:preset",
    learner=f"{_LEARNERS}:make_student",
    load=f"{_LEARNERS}.acting:load",
    acting={"mode": ("mode", "sampled")},
    fits=all_of(plays_episodes, reads_arrays, takes_no_masks),
    inputs=(
        Input(
            name="teacher",
            summary="run folder of the agent to imitate, of any family",
            is_required=True,
        ),
        Input(
            name="start",
            summary="run folder of an agent with the same networks, to begin with what it learned",
        ),
    ),
)

PRESETS = (
    Preset(
        name="dagger-value",
        family=FAMILY.name,
        summary="imitates a teacher's actions, and learns the value of its own",
        paper="-",
        suites=("grasp",),
        place=85,
    ),
)
