"""What NFSP and Deep CFR share: a game's tables, and the average policy of a network as plans."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch

from pkubench.agents.families.psro.dqn import log_policy
from pkubench.agents.families.psro.learner import AverageLearner, Floats, Tensors
from pkubench.envs.games.game_tables import game_tables
from pkubench.envs.games.tree import GameTree


class NetworkLearner(AverageLearner):
    """Learns from sampled plays of a tree, and is scored by an average policy, exactly.

    Attributes:
        episodes: Plays to an end so far.
    """

    finished = False
    """Sampling never ends."""

    def __init__(self, tree: GameTree, seed: int) -> None:
        """Lay the tables.

        Raises:
            GameError: The game has no information-state tensors.
        """
        torch.set_num_threads(1)  # another summation order changes bits, and soon the plays
        self.game = self.tree = tree
        self.seed, self.iteration, self.episodes = seed, 0, 0
        self.tables = game_tables(tree)
        self.legal = self.tables.masks.astype(np.bool_)
        split = tree.num_information_states[0]
        self.rows = (slice(0, split), slice(split, len(self.legal) - 1))
        self.scale = tree.max_utility or 1.0

    def draws(self, *number: int) -> np.random.Generator:
        """Return the source of this iteration's draws, so that a checkpoint holds none."""
        return np.random.default_rng([self.seed, self.iteration, *number])

    @abstractmethod
    def average_logits(self) -> Floats:
        """Return the average policy's logits at every row, float64 ``(rows, actions)``."""

    def average(self) -> tuple[Floats, Floats]:
        """Return both average policies, as plans."""
        shares = np.exp(log_policy(self.average_logits(), self.legal))
        plans = []
        for rows, forest in zip(self.rows, self.tree.form.forests, strict=True):
            played = np.ones(forest.size)
            played[1:] = shares[rows][self.legal[rows]]
            plans.append(forest.plan(forest.behaviour(played)))
        return plans[0], plans[1]

    def measure(self, last: bool) -> dict[str, float]:
        """Return the metrics of the average policies, with the plays so far."""
        return {**super().measure(last), "episodes": float(self.episodes)}

    def _counters(self) -> Tensors:
        return {"counters": np.array([self.iteration, self.episodes], np.int64)}

    def _restore_counters(self, state: Tensors) -> None:
        self.iteration, self.episodes = (int(count) for count in state["counters"])


def prefixed(prefix: str, state: Tensors) -> Tensors:
    """Return a part's state under names of its own."""
    return {f"{prefix}_{name}": value for name, value in state.items()}


def part(prefix: str, state: Tensors) -> Tensors:
    """Return what :func:`prefixed` put under this prefix."""
    start = f"{prefix}_"
    return {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
