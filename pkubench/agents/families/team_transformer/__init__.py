"""Teams whose agents are one sequence: the Multi-Agent Transformer and Sable."""

from __future__ import annotations

from pkubench.agents.registry import OFFICIAL, TEAM, AgentFamily, Preset
from pkubench.agents.requirements import (
    acts_in_box_or_discrete,
    all_of,
    are_agents_alike,
    plays_episodes,
    takes_no_deaths,
    takes_no_masks,
)

FAMILY = AgentFamily(
    name="team-transformer",
    summary="policy-gradient learners with a transformer over the agents of a team",
    kind="team-transformer",
    configure=f"{__name__}.presets:preset",
    learner="pkubench.agents.rl.team_transformer:make_learner",
    load=f"{__name__}.loading:load",
    acting={"mode": ("mode", "sampled")},
    fits=all_of(
        plays_episodes,
        acts_in_box_or_discrete,
        takes_no_masks,
        takes_no_deaths,
        are_agents_alike,
    ),
)


_MAT, _SABLE = "MAT (NeurIPS 2022)", "Sable (ICML 2025)"


def _preset(name: str, paper: str, summary: str, *tags: str) -> Preset:
    return Preset(
        name=name,
        family=FAMILY.name,
        summary=summary,
        paper=paper,
        suites=("marl", "diagnostics", "credit"),
        tags=frozenset((TEAM, *tags)),
        place=25,
    )


PRESETS = (
    _preset("mat", _MAT, "agents act in order, each given all observations: centralized execution"),
    _preset("mat-dec", _MAT, "agents act on their own observations; the transformer is the critic"),
    _preset("sable", _SABLE, "MAT with retention over agents and time: centralized execution"),
    _preset("sable-paper", _SABLE, "Sable with the official hyperparameters", OFFICIAL),
    _preset("mat-paper", _MAT, "MAT with the official hyperparameters", OFFICIAL),
    _preset("mat-dec-paper", _MAT, "MAT-Dec with the official hyperparameters", OFFICIAL),
)
