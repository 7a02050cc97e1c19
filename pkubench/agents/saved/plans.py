"""Realization plans of a game as policies of a population."""

from __future__ import annotations

import numpy as np

from pkubench.agents.contract import Population
from pkubench.envs.games.forest import Floats, Forest
from pkubench.envs.games.policies import TabularPolicy, tabular_layout
from pkubench.envs.games.tree import GameTree
from pkubench.envs.games.zero_sum import ZeroSumGame


def population_of(
    game: ZeroSumGame, plans: tuple[Floats, Floats], meta_strategy: tuple[Floats, Floats]
) -> Population:
    """Return plans, one per row, as policies with a distribution over them."""
    members = []
    for player in (0, 1):
        forest = forest_of(game, player)
        rows = on_sequences(forest, game.check_plan(np.atleast_2d(plans[player]), player))
        layout = tabular_layout(game.information_states(player))
        members.append([TabularPolicy(layout, row) for row in forest.behaviour(rows)[:, 1:]])
    return Population((members[0], members[1]), meta_strategy)


def forest_of(game: ZeroSumGame, player: int) -> Forest:
    """Return the player's sequences; in a matrix game the empty one and one per action."""
    if isinstance(game, GameTree):
        return game.form.forests[player]
    (state,) = game.information_states(player)
    first = np.zeros(1, np.int64)
    return Forest.build(1, np.array([len(state.legal_actions)]), first, first)


def on_sequences(forest: Forest, plans: Floats) -> Floats:
    """Return plans with the empty sequence, which those of matrix games omit."""
    if plans.shape[1] == forest.size:
        return plans
    return np.hstack([np.ones((len(plans), 1)), plans])
