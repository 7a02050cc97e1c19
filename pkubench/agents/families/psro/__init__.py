"""Game learners (PSRO and its kin, fictitious play, CFR), meta-solvers, saved populations."""

from __future__ import annotations

from pkubench.agents.families.psro.cfr_plus import CFRPlus, CFRPlusConfig
from pkubench.agents.families.psro.fictitious_play import FictitiousPlay, XFPConfig
from pkubench.agents.families.psro.outer_loop import PopulationLearner
from pkubench.agents.families.psro.population import load_population, save_population
from pkubench.agents.families.psro.settings import PSROConfig
from pkubench.agents.families.psro.training import PRESETS as _CONFIGS
from pkubench.agents.learner import Context, Learner
from pkubench.agents.registry import AgentFamily, Preset

__all__ = [
    "FAMILY",
    "PRESETS",
    "CFRPlus",
    "CFRPlusConfig",
    "FictitiousPlay",
    "PSROConfig",
    "PopulationLearner",
    "XFPConfig",
    "load_population",
    "make_learner",
    "save_population",
]

FAMILY = AgentFamily(
    name="psro",
    summary="populations and average policies of zero-sum games",
    kind="population",
    unit="iterations",
    learner="pkubench.agents.families.psro:make_learner",
    load="pkubench.agents.resolve.loading:load_game_population",
)
PRESETS = tuple(
    Preset(
        name=name,
        family="psro",
        summary="",
        suites=("games",),
        settings="pkubench.agents.families.psro.training:PRESETS",
    )
    for name in _CONFIGS
)


def make_learner(context: Context) -> Learner:
    """Make one training of a game learner."""
    from pkubench.agents.families.psro.training import GameTraining

    return GameTraining(context)
