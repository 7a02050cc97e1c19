"""Agents that are not trained: random and scripted ones."""

from pkubench.agents.registry import AgentFamily, AgentPrefix, Preset

FAMILY = AgentFamily(
    name="scripted",
    summary="agents that need no training",
    make=f"{__name__}.loading:make",
    extra=None,
)
PRESETS = (
    Preset(
        name="random",
        family=FAMILY.name,
        summary="uniform over the action space",
        place=0,
    ),
)
PREFIXES = (
    AgentPrefix(
        prefix="scripted",
        summary="an untrained policy that comes with the suite",
        resolve=f"{__name__}.loading:resolve",
        bundle="named",
        names=f"{__name__}.loading:names_for",
    ),
)
