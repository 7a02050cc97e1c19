"""Saving and loading populations of tabular policies.

``weights.safetensors`` holds, for player ``p``, ``meta_p`` (float64, one weight a policy) and
either ``actions_p`` (int8 ``(policies, states)``, pure policies: the position of the action among
the legal ones) or ``probabilities_p`` (float64 ``(policies, actions of all states)``). Rows follow
``GameTree.information_states(p)``; ``config.json`` carries the tree's fingerprint, so weights meant
for another game, or another OpenSpiel whose game differs, are refused instead of misread.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pkubench.agents.agent import Population
from pkubench.agents.psro.learner import Floats, Tensors
from pkubench.agents.saving import SavedAgent, save_agent
from pkubench.envs.games.policies import TabularPolicy, tabular_layout
from pkubench.envs.games.tree import GameTree
from pkubench.envs.games.trees import game_tree
from pkubench.errors import PkubenchError, WeightsError

KIND = "population"
"""``config["kind"]`` of the folders written here."""


def save_population(
    folder: Path,
    tree: GameTree,
    plans: tuple[Floats, Floats],
    meta_strategy: tuple[Floats, Floats],
    config: Mapping[str, Any],
    *,
    pure: bool = False,
) -> None:
    """Save a population given by realization plans.

    Args:
        folder: Where to; existing files are replaced whole.
        tree: The game.
        plans: For each player ``(policies, sequences)``.
        meta_strategy: For each player ``(policies,)``.
        config: At least ``agent`` and ``task``; written into ``config.json``.
        pure: All plans are zeros and ones; one byte a state instead of eight an action. Where a
            plan never reaches, the first legal action is written.

    Raises:
        StorageError: The folder cannot be written.
    """
    tensors: Tensors = {}
    for player in (0, 1):
        rows = tree.check_plan(np.atleast_2d(plans[player]), player)
        tensors[f"meta_{player}"] = np.asarray(meta_strategy[player], np.float64)
        if pure:
            tensors[f"actions_{player}"] = _chosen(tree, player, rows)
        else:
            flat = tree.form.forests[player].behaviour(rows)[:, 1:]
            tensors[f"probabilities_{player}"] = flat
    facts = {
        "kind": KIND,
        "game": tree.name,
        "fingerprint": tree.fingerprint,
        "policies": [len(tensors["meta_0"]), len(tensors["meta_1"])],
    }
    save_agent(folder, {**config, **facts}, tensors)


def load_population(saved: SavedAgent) -> Population:
    """Rebuild a population from what ``load_saved`` read.

    Raises:
        WeightsError: It is for another game, or arrays are missing, of a wrong shape or type, or
            no distributions.
    """
    game, fingerprint = saved.config.get("game"), saved.config.get("fingerprint")
    if not isinstance(game, str):
        raise WeightsError("the population's config.json does not name its game")
    tree = game_tree(game)
    if fingerprint != tree.fingerprint:
        raise WeightsError(
            f"the population was saved for another version of {game} (fingerprint "
            f"{str(fingerprint)[:12]}, here {tree.fingerprint[:12]}); train it again"
        )
    members, metas = [], []
    for player in (0, 1):
        flat = _flat(tree, player, saved.tensors)
        meta = _array(saved.tensors, f"meta_{player}", (len(flat),), "f")
        layout = tabular_layout(tree.information_states(player))
        members.append([TabularPolicy(layout, row) for row in flat])
        metas.append(meta.astype(np.float64))
    try:
        return Population((members[0], members[1]), (metas[0], metas[1]))
    except PkubenchError as error:
        raise WeightsError(f"the saved population is damaged: {error}") from error


def _chosen(tree: GameTree, player: int, rows: Floats) -> np.ndarray[Any, np.dtype[np.int8]]:
    forest = tree.form.forests[player]
    state = forest.state_of[1:]
    position = np.arange(1, forest.size) - forest.starts[state]
    taken = np.where(rows[:, 1:] > 0.5, position, 0)
    if not np.isin(rows, (0.0, 1.0)).all():
        raise WeightsError("a population saved as pure has plans that are not zeros and ones")
    return np.add.reduceat(taken, forest.starts - 1, axis=1).astype(np.int8)


def _flat(tree: GameTree, player: int, tensors: Tensors) -> Floats:
    """Return the action probabilities of each policy, float64 ``(policies, sequences - 1)``."""
    forest = tree.form.forests[player]
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
        raise WeightsError(f"{name} of the saved population are no distributions")
    return flat


def _array(
    tensors: Tensors, name: str, shape: tuple[int | None, ...], kind: str
) -> np.ndarray[Any, np.dtype[Any]]:
    if name not in tensors:
        raise WeightsError(f"the saved population lacks the array {name!r}")
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
