"""Two-player zero-sum games: exact engine and environments."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pkubench.envs.core.registry import EnvFamily, EnvSpec
from pkubench.envs.core.traits import Traits

if TYPE_CHECKING:
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

_MODULES = {
    "errors": ("GameError", "PlanError", "PolicyError"),
    "histories": ("allow_histories",),
    "linear_programs": ("Equilibrium",),
    "matrix_catalogue": ("load_payoff", "make_matrix_game"),
    "normal_form": ("MatrixGame", "SymmetricMatrixGame"),
    "policies": ("InformationState",),
    "tree": ("GameTree",),
    "zero_sum": ("ZeroSumGame",),
}
"""Module -> names it exports; imported when first used, because SciPy takes long to import."""
_LAZY = {name: module for module, names in _MODULES.items() for name in names}
_SEAT = Traits(action="discrete", has_action_masks=True, is_zero_sum_game=True)


def _spec(name: str, entry_point: str, **kwargs: Any) -> EnvSpec:
    return EnvSpec(
        id=f"pkubench/{name}-v0",
        entry_point=f"pkubench.envs.games.{entry_point}",
        horizon=None,
        traits=_SEAT,
        extra="games",
        engines=("open-spiel",),
        kwargs=kwargs,
    )


ENVS = (
    _spec("KuhnPoker", "poker:KuhnPoker"),
    _spec("LeducPoker", "poker:LeducPoker"),
    *(_spec(f"LiarsDice{sides}", "liars_dice:LiarsDice", sides=sides) for sides in (4, 5, 6)),
    *(
        _spec(f"Goofspiel{cards}", "goofspiel:Goofspiel", cards=cards, returns="win_loss")
        for cards in (4, 5)
    ),
)
_ANY = "pkubench.envs.games.text_seat:AnyGame"
ENV_FAMILIES = (
    EnvFamily(
        prefix="openspiel",
        entry_point=_ANY,
        traits=_SEAT,
        extra="games",
        engines=("open-spiel",),
    ),
    EnvFamily(prefix="matrix", entry_point=_ANY, traits=_SEAT),
    EnvFamily(prefix="payoff", entry_point=_ANY, traits=_SEAT),
    EnvFamily(prefix="alphastar", entry_point=_ANY, traits=_SEAT),
)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
