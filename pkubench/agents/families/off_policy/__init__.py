"""Presets of the off-policy learner: HARL's, HASAC's and OmniSafe's methods."""

from __future__ import annotations

from pkubench.agents.families.off_policy.presets import NAMES
from pkubench.agents.registry import AgentFamily, Preset

FAMILY = AgentFamily(
    name="off_policy",
    summary="replay and a rule: DDPG, TD3 or SAC",
    kind="off-policy",
    learner="pkubench.agents.rl.off_policy:make_learner",
    batch="pkubench.agents.rl.off_policy:make_batch",
    load="pkubench.agents.families.off_policy.loading:load",
    acting={"mode": ("mode", "sampled")},
)
PRESETS = tuple(
    Preset(
        name=name,
        family="off_policy",
        summary="",
        settings="pkubench.agents.families.off_policy.presets:CONFIGS",
        tuned="pkubench.agents.families.off_policy.presets:changes_on",
    )
    for name in NAMES
)
