"""Two-player zero-sum games: exact engine and environments."""

from pkubench.envs.games.errors import GameError, PlanError, PolicyError
from pkubench.envs.games.linear_programs import Equilibrium
from pkubench.envs.games.policies import InformationState
from pkubench.envs.games.tree import GameTree

__all__ = [
    "Equilibrium",
    "GameError",
    "GameTree",
    "InformationState",
    "PlanError",
    "PolicyError",
]
