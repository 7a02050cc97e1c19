"""Game learners (double oracle, CFR+), meta-solvers, and saved populations."""

from pkubench.agents.psro.cfr_plus import CFRPlus, CFRPlusConfig
from pkubench.agents.psro.double_oracle import DoubleOracle, PSROConfig
from pkubench.agents.psro.population import load_population, save_population
from pkubench.agents.psro.training import PRESETS, train

__all__ = [
    "PRESETS",
    "CFRPlus",
    "CFRPlusConfig",
    "DoubleOracle",
    "PSROConfig",
    "load_population",
    "save_population",
    "train",
]
