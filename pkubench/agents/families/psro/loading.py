"""Loads saved populations as entrants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pkubench.agents.contract import Population
from pkubench.agents.families.psro.population import load_population
from pkubench.agents.saved.files import SavedAgent
from pkubench.envs.games.spelling import is_same_game
from pkubench.envs.games.trees import game_of, is_matrix, zero_sum_game
from pkubench.errors import AgentError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


def load(
    saved: SavedAgent, task: Task | None = None, acting: Mapping[str, Any] | None = None
) -> Population:
    """Rebuild a population of game policies. There are no ``acting`` settings.

    Raises:
        WeightsError: the weights are damaged.
        AgentError: it plays another game than the task's.
    """
    if task is None:
        return load_population(saved)
    game, named = game_of(task.id), str(saved.config.get("game"))
    # Matrices are compared by their tables: a copy of a file is the same game.
    if is_matrix(game):
        is_its_own = saved.config.get("fingerprint") == zero_sum_game(game).fingerprint
        what = f"the payoffs of {task.id} are not those it was trained on"
    else:
        is_its_own, what = is_same_game(named, task.id), f"{task.id} is another game"
    if not is_its_own:
        raise AgentError(
            f"the population plays {named[:200]}, and {what}; evaluate it on its own game, or "
            "train one for this"
        )
    # The task's name for the game, not the config's, so that its tree is not built twice.
    return load_population(saved, zero_sum_game(game))
