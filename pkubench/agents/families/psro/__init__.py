"""Game learners (PSRO and its kin, fictitious play, CFR), meta-solvers, saved populations."""

from pkubench.agents.families.psro.cfr_plus import CFRPlus, CFRPlusConfig
from pkubench.agents.families.psro.fictitious_play import FictitiousPlay, XFPConfig
from pkubench.agents.families.psro.outer_loop import PopulationLearner
from pkubench.agents.families.psro.population import load_population, save_population
from pkubench.agents.families.psro.settings import PSROConfig
from pkubench.agents.families.psro.training import PRESETS, train

__all__ = [
    "PRESETS",
    "CFRPlus",
    "CFRPlusConfig",
    "FictitiousPlay",
    "PSROConfig",
    "PopulationLearner",
    "XFPConfig",
    "load_population",
    "save_population",
    "train",
]
