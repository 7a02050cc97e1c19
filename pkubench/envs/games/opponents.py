"""Who sits on the other side: fixed opponents of a game environment as realization plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pkubench.envs.games.forest import Floats
from pkubench.envs.games.tree import GameTree
from pkubench.errors import ConfigError, UnknownName

NAMED = ("uniform", "equilibrium")


class Opponent(NamedTuple):
    """One player's policies and how often each is played.

    Attributes:
        plans: float64 ``(policies, sequences)``, realization plans.
        weights: float64 ``(policies,)``.
    """

    plans: Floats
    weights: Floats


def opponents(tree: GameTree, choice: Any) -> tuple[Opponent, Opponent]:
    """Return what a chosen opponent plays as player 0 and as player 1.

    Args:
        tree: The game.
        choice: ``"uniform"``; ``"equilibrium"`` (by linear programming); a policy (mapping or
            callable from information-state string to ``{action: probability}``) for both seats;
            or a population: anything with ``policies`` and ``meta_strategy``, one entry a player.

    Raises:
        UnknownName: A text that names no opponent.
        ConfigError: Something else.
        PolicyError: A policy that does not fit the game.
    """
    if isinstance(choice, str):
        if choice not in NAMED:
            raise UnknownName("opponent", choice, NAMED)
        if choice == "uniform":
            plans = [tree.uniform_plan(player) for player in (0, 1)]
        else:
            solution = tree.solve()
            plans = [solution.x, solution.y]
        return _of_plans(tree, 0, [plans[0]], [1.0]), _of_plans(tree, 1, [plans[1]], [1.0])
    if hasattr(choice, "policies") and hasattr(choice, "meta_strategy"):
        members, metas = choice.policies, choice.meta_strategy
        return _of_members(tree, 0, members, metas), _of_members(tree, 1, members, metas)
    if isinstance(choice, Mapping | Callable):
        both = ([choice], [choice]), ([1.0], [1.0])
        return _of_members(tree, 0, *both), _of_members(tree, 1, *both)
    raise ConfigError(
        f"opponent must be one of {NAMED}, a policy or a population, got {type(choice).__name__}"
    )


def _of_members(tree: GameTree, player: int, members: Any, metas: Any) -> Opponent:
    plans = [tree.realization_plan(policy, player) for policy in members[player]]
    return _of_plans(tree, player, plans, metas[player])


def _of_plans(
    tree: GameTree, player: int, plans: Sequence[Floats], weights: Sequence[float]
) -> Opponent:
    tree.mix(plans, weights)  # names what is wrong with the weights
    mass = np.asarray(weights, np.float64)
    return Opponent(tree.check_plan(np.stack(plans), player), mass / mass.sum())
