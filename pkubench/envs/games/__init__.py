"""Two-player zero-sum games: exact engine and environments."""

from pkubench.envs.games.errors import GameError, PlanError, PolicyError
from pkubench.envs.games.histories import allow_histories
from pkubench.envs.games.linear_programs import Equilibrium
from pkubench.envs.games.matrix_catalogue import load_payoff, make_matrix_game
from pkubench.envs.games.normal_form import MatrixGame, SymmetricMatrixGame
from pkubench.envs.games.policies import InformationState
from pkubench.envs.games.tree import GameTree
from pkubench.envs.games.zero_sum import ZeroSumGame

__all__ = [
    "Equilibrium",
    "GameError",
    "GameTree",
    "InformationState",
    "MatrixGame",
    "PlanError",
    "PolicyError",
    "SymmetricMatrixGame",
    "ZeroSumGame",
    "allow_histories",
    "load_payoff",
    "make_matrix_game",
]
