"""Agents that are not trained: random and scripted ones."""

from __future__ import annotations

from pkubench.agents.registry import AgentFamily, Preset

FAMILY = AgentFamily(name="scripted", summary="agents that are not trained", extra=None)
PRESETS = (Preset(name="random", family="scripted", summary="uniform over the action space"),)
