"""Saving and loading populations of tabular policies.

``weights.safetensors`` has, for player ``p``, ``meta_p`` (float64, one weight per policy) and
either ``actions_p`` (int8 or int16 ``(policies, states)``, pure policies: the action's index among
the legal ones) or ``probabilities_p`` (float64 ``(policies, actions of all states)``). Rows
follow ``ZeroSumGame.information_states(p)``; ``config.json`` carries the game's fingerprint, so
weights for another game, or for an OpenSpiel version with a different game, are refused instead of
misread.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pkubench.agents.contract import Population
from pkubench.agents.families.psro.learner import Floats, Tensors
from pkubench.agents.saved.files import SavedAgent, save_agent
from pkubench.agents.saved.plans import forest_of, on_sequences
from pkubench.envs.games.forest import Forest
from pkubench.envs.games.policies import TabularPolicy, tabular_layout
from pkubench.envs.games.trees import zero_sum_game
from pkubench.envs.games.zero_sum import ZeroSumGame
from pkubench.errors import PkubenchError, WeightsError

KIND = "population"
"""``config["kind"]`` of saved populations."""


def save_population(
    folder: Path,
    game: ZeroSumGame,
    plans: tuple[Floats, Floats],
    meta_strategy: tuple[Floats, Floats],
    config: Mapping[str, Any],
    *,
    pure: bool = False,
) -> None:
    """Save a population given by plans.

    Args:
        folder: Where to; existing files are replaced whole.
        game: The game.
        plans: For each player, one plan per row.
        meta_strategy: For each player ``(policies,)``.
        config: At least ``agent`` and ``task``; written into ``config.json``.
        pure: All plans are zeros and ones; one integer per state instead of one float per action.
            At states that a plan never reaches, the first legal action is written.

    Raises:
        StorageError: The folder cannot be written.
    """
    facts, tensors = population_export(game, plans, meta_strategy, pure=pure)
    save_agent(folder, {**config, "kind": KIND, **facts}, tensors)


def population_export(
    game: ZeroSumGame,
    plans: tuple[Floats, Floats],
    meta_strategy: tuple[Floats, Floats],
    *,
    pure: bool = False,
) -> tuple[dict[str, Any], Tensors]:
    """Return a population's entries of ``config.json`` and its arrays; see ``save_population``."""
    tensors: Tensors = {}
    for player in (0, 1):
        forest = forest_of(game, player)
        rows = on_sequences(forest, game.check_plan(np.atleast_2d(plans[player]), player))
        tensors[f"meta_{player}"] = np.asarray(meta_strategy[player], np.float64)
        if pure:
            tensors[f"actions_{player}"] = _chosen(forest, rows)
        else:
            tensors[f"probabilities_{player}"] = forest.behaviour(rows)[:, 1:]
    facts = {
        "game": game.name,
        "fingerprint": game.fingerprint,
        "policies": [len(tensors["meta_0"]), len(tensors["meta_1"])],
    }
    return facts, tensors


def load_population(saved: SavedAgent, game: ZeroSumGame | None = None) -> Population:
    """Rebuild a population from what ``load_saved`` read.

    Args:
        saved: The config and arrays.
        game: Its game; None makes the one that the config names.

    Raises:
        WeightsError: It is for another game, or arrays are missing, of a wrong shape or type, or
            not distributions.
    """
    name, fingerprint = saved.config.get("game"), saved.config.get("fingerprint")
    if not isinstance(name, str):
        raise WeightsError("the population's config.json does not name its game")
    game = game or zero_sum_game(name)
    if fingerprint != game.fingerprint:
        raise WeightsError(
            f"the population was saved for another version of {name} (fingerprint "
            f"{str(fingerprint)[:12]}, here {game.fingerprint[:12]}); train it again"
        )
    members, metas = [], []
    for player in (0, 1):
        flat = _flat(forest_of(game, player), player, saved.tensors)
        meta = _array(saved.tensors, f"meta_{player}", (len(flat),), "f")
        layout = tabular_layout(game.information_states(player))
        members.append([TabularPolicy(layout, row) for row in flat])
        metas.append(meta.astype(np.float64))
    try:
        return Population((members[0], members[1]), (metas[0], metas[1]))
    except PkubenchError as error:
        raise WeightsError(f"the saved population is damaged: {error}") from error


def _chosen(forest: Forest, rows: Floats) -> NDArray[np.integer]:
    state = forest.state_of[1:]
    position = np.arange(1, forest.size) - forest.starts[state]
    taken = np.where(rows[:, 1:] > 0.5, position, 0)
    if not np.isin(rows, (0.0, 1.0)).all():
        raise WeightsError("a population saved as pure has plans that are not zeros and ones")
    dtype = np.int8 if position.max() <= np.iinfo(np.int8).max else np.int16
    return np.asarray(np.add.reduceat(taken, forest.starts - 1, axis=1).astype(dtype))


def _flat(forest: Forest, player: int, tensors: Tensors) -> Floats:
    """Return the action probabilities of each policy, float64 ``(policies, sequences - 1)``."""
    if f"actions_{player}" in tensors:
        name, states = f"actions_{player}", len(forest.starts)
        actions = _array(tensors, name, (None, states), "i").astype(np.int64)
        sizes = np.diff(np.append(forest.starts, forest.size))
        if ((actions < 0) | (actions >= sizes)).any():
            raise WeightsError(f"{name} of the saved population holds actions that do not exist")
        flat = np.zeros((len(actions), forest.size - 1))
        flat[np.arange(len(actions))[:, None], forest.starts - 1 + actions] = 1.0
        return flat
    name = f"probabilities_{player}"
    flat = _array(tensors, name, (None, forest.size - 1), "f").astype(np.float64)
    sums = np.add.reduceat(flat, forest.starts - 1, axis=1)
    if not ((flat >= 0.0).all() and (np.abs(sums - 1.0) <= 1e-6).all()):
        raise WeightsError(f"{name} of the saved population are not distributions")
    return flat


def _array(
    tensors: Tensors, name: str, shape: tuple[int | None, ...], kind: str
) -> np.ndarray[Any, np.dtype[Any]]:
    if name not in tensors:
        raise WeightsError(f"the saved population has no array {name!r}")
    array = tensors[name]
    fits = array.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind != kind or not array.size:
        raise WeightsError(
            f"array {name!r} of the saved population has shape {array.shape} and dtype "
            f"{array.dtype}, which does not fit the game"
        )
    return array
