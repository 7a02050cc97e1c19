"""Presets of the on-policy learner: HARL's and OmniSafe's methods."""

from __future__ import annotations

from pkubench.agents.families.on_policy.presets import PRESETS as _CONFIGS
from pkubench.agents.registry import AgentFamily, Preset

FAMILY = AgentFamily(
    name="on_policy",
    summary="rollouts, advantages and an update rule",
    kind="on-policy",
    learner="pkubench.agents.rl.on_policy:make_learner",
    load="pkubench.agents.families.on_policy.loading:load",
    acting={"mode": ("mode", "sampled")},
)
PRESETS = tuple(
    Preset(
        name=name,
        family="on_policy",
        summary="",
        settings="pkubench.agents.families.on_policy.presets:PRESETS",
        tuned="pkubench.agents.families.on_policy.presets:changes_on",
    )
    for name in _CONFIGS
)
