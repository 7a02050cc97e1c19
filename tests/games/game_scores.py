"""Prints the records of agents of games, for ``test_portable_scores``.

``python -m tests.games.game_scores FOLDER quick|all`` writes to FOLDER, and prints each record as
it stands in its file. To be run in a process of its own, which can pass for another processor.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import pkubench
from pkubench.agents.contract import Population
from pkubench.agents.saved.plans import population_of
from pkubench.envs.games.trees import game_tree

LIARS = "openspiel:liars_dice(dice_sides=3)"
ACTIONS, POLICIES = (61, 47), (9, 7)
"""Of the matrix game's players; odd numbers, so that sums have a remainder at any width."""


def write_game(folder: Path) -> tuple[Path, Path]:
    """Write a payoff table and a population of mixed policies of it; return both files."""
    rng = np.random.default_rng(7)
    payoff, population = folder / "game.npy", folder / "mixed.npz"
    np.save(payoff, rng.standard_normal(ACTIONS))
    arrays = {"game": np.array(f"payoff:{payoff}")}
    for player, (count, size) in enumerate(zip(POLICIES, ACTIONS, strict=True)):
        table = np.zeros((count, 1, max(ACTIONS)))
        table[..., :size] = rng.dirichlet(np.ones(size), (count, 1))
        arrays[f"states_{player}"] = np.array([("row", "column")[player]])
        arrays[f"probabilities_{player}"] = table
        arrays[f"meta_{player}"] = rng.dirichlet(np.ones(count))
    np.savez(population, **arrays)
    return payoff, population


def population_of_tree() -> Population:
    """Return pure and mixed policies of Liar's dice with their weights."""
    tree, rng = game_tree(LIARS), np.random.default_rng(3)
    plans = [
        np.stack([tree.random_plan(player, rng, pure=k % 2 == 0) for k in range(37)])
        for player in (0, 1)
    ]
    weights = [rng.dirichlet(np.ones(37)) for _ in plans]
    return population_of(tree, (plans[0], plans[1]), (weights[0], weights[1]))


def main(folder: Path, kind: str) -> None:
    """Evaluate and print."""
    payoff, population = write_game(folder)
    pairs: list[tuple[str | Population, str]] = [
        ("psro", "KuhnPoker-v0"),
        (population_of_tree(), LIARS),
        (str(population), f"payoff:{payoff}"),
        ("scripted:equilibrium", "openspiel:nim(pile_sizes=1;2;3)"),
        ("random", LIARS),
    ]
    if kind == "all":
        pairs += [
            ("psro", "LeducPoker-v0"),
            ("scripted:equilibrium", "LeducPoker-v0"),
            ("scripted:equilibrium", "LiarsDice4-v0"),
            ("scripted:equilibrium", "matrix:gaussian(60,50)"),
        ]
    for number, (agent, task) in enumerate(pairs):
        out = folder / str(number)
        name = None if isinstance(agent, str) else "mixed"
        pkubench.evaluate(agent, task, out=out, workers=0, name=name)
        for file in sorted(out.rglob("episodes.jsonl")):
            print(f"{number} {file.parent.name} {file.read_text()}", end="")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
