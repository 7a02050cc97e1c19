"""Deep CFR: counterfactual regret minimisation with networks in place of tables.

Brown et al. (2019), Algorithm 1 and 2. In iteration ``t`` and for each player in turn, external
sampling visits all of the player's actions and draws the others'; each own information state met
gives a sample of the advantages ``v(a) - sum_b s(b) v(b)``, each of the opponent's a sample of its
present policy ``s``. A new network is fitted to all advantages so far, weighted by their iteration,
and ``s`` is regret matching on it; where no advantage is positive, the best action. One network,
fitted to all samples of ``s`` of both players with the same weights, is the average policy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pkubench.agents.families.psro.fitting import (
    Legal,
    Reservoir,
    RowNetwork,
    advantage_error,
    policy_error,
)
from pkubench.agents.families.psro.learner import Floats, Tensors
from pkubench.agents.families.psro.network_learner import NetworkLearner, part, prefixed
from pkubench.agents.families.psro.sampled_settings import DeepCFRConfig
from pkubench.envs.games.forest import Ints
from pkubench.envs.games.game_tables import GameTables
from pkubench.envs.games.tree import GameTree

Error = Callable[[Floats, Floats, Legal, Floats], tuple[Floats, float]]


class Samples(NamedTuple):
    """What traversals met.

    Attributes:
        rows: int64 ``(samples,)``; own information states.
        advantages: float64 ``(samples, actions)``; 0 where illegal.
        met: int64 ``(others,)``; the opponent's information states.
        ends: Plays that came to an end: a traversal has one for each combination of own actions.
    """

    rows: Ints
    advantages: Floats
    met: Ints
    ends: int


def matched(advantages: Floats, legal: Legal) -> Floats:
    """Return regret matching: probabilities in proportion to positive advantages.

    The best legal action where none is positive. Shapes ``(rows, actions)``.
    """
    positive = np.where(legal, np.maximum(advantages, 0.0), 0.0)
    total = positive.sum(axis=1, keepdims=True)
    best = np.where(legal, advantages, -np.inf).argmax(axis=1)
    fallback = np.eye(legal.shape[1])[best]
    return np.asarray(np.where(total > 0.0, positive / np.where(total > 0.0, total, 1.0), fallback))


def traverse(
    tables: GameTables,
    owner: NDArray[np.int8],
    policy: Floats,
    player: int,
    count: int,
    rng: np.random.Generator,
) -> Samples:
    """Traverse a game by external sampling, ``count`` times side by side.

    Args:
        tables: The game.
        owner: int8 ``(histories,)``; who moves.
        policy: float64 ``(rows, actions)``; both players' present policy.
        player: Whose actions are all visited.
        count: Traversals.
        rng: Source of chance's and the opponent's moves.
    """
    legal = tables.masks.astype(np.bool_)
    here = np.zeros(count, np.int64)
    levels: list[tuple[Ints, Ints, Ints]] = []
    parent = action = np.zeros(0, np.int64)
    while len(here):
        chance = np.flatnonzero(tables.is_chance[here])
        here[chance] = tables.after_chance(here[chance], rng.random(len(chance)))
        levels.append((here, parent, action))
        own = np.flatnonzero(owner[here] == player)
        other = np.flatnonzero(owner[here] == 1 - player)
        branch, taken = np.nonzero(legal[tables.row[here[own]]])
        running = np.cumsum(policy[tables.row[here[other]]], axis=1)
        drawn = (rng.random((len(other), 1)) * running[:, -1:] >= running).sum(axis=1)
        parent = np.concatenate([own[branch], other])
        action = np.concatenate([taken, drawn])
        here = tables.child[here[parent], action]
    rows, advantages, met, ends = [], [], [], 0
    below: Floats = np.zeros(0)
    parent = action = np.zeros(0, np.int64)
    for here, above, move in reversed(levels):
        worth = tables.returns[here, player].copy()
        who, row = owner[here], tables.row[here]
        values = np.zeros((len(here), legal.shape[1]))
        values[parent, action] = below
        own, other = who == player, who == 1 - player
        worth[other] = values[other].sum(axis=1)  # of the one action drawn
        worth[own] = (policy[row[own]] * values[own]).sum(axis=1)
        rows.append(row[own])
        advantages.append(np.where(legal[row[own]], values[own] - worth[own, None], 0.0))
        met.append(row[other])
        ends += int(tables.is_end[here].sum())
        below, parent, action = worth, above, move
    return Samples(np.concatenate(rows), np.concatenate(advantages), np.concatenate(met), ends)


class DeepCFR(NetworkLearner):
    """Both players' advantages, and the average policy."""

    def __init__(self, tree: GameTree, config: DeepCFRConfig, seed: int) -> None:
        """Start from uniform play and an untrained average."""
        super().__init__(tree, seed)
        self.config, self.report_every = config, config.report_every
        actions, rng = self.legal.shape[1], self.draws()
        shape = (self.tables.tensors, actions, config.hidden, config.learning_rate)
        self._advantages = [RowNetwork(*shape, rng) for _ in (0, 1)]
        self._average = RowNetwork(*shape, rng)
        self._memories = [
            Reservoir(config.memory_size, rows=0, iterations=0, wanted=actions) for _ in range(3)
        ]
        self.policy = self.legal / self.legal.sum(axis=1, keepdims=True)
        """Both players' present policy, float64 ``(rows, actions)``."""

    def advance(self) -> None:
        """Do one iteration: each player's traversals and advantages, then the average."""
        self.iteration += 1
        for player in (0, 1):
            self._improve(player)
        rng, policies = self.draws(2), self._memories[2]
        for _ in range(self.config.policy_steps):
            self._fit(self._average, policies, policy_error, rng)

    def _improve(self, player: int) -> None:
        config, rng = self.config, self.draws(player)
        found = traverse(
            self.tables,
            self.tree.histories.player,
            self.policy,
            player,
            config.traversals,
            rng,
        )
        self.episodes += found.ends
        now = np.full(len(found.rows), self.iteration)
        wanted = found.advantages / self.scale
        self._memories[player].add(rng, rows=found.rows, iterations=now, wanted=wanted)
        now = np.full(len(found.met), self.iteration)
        self._memories[2].add(rng, rows=found.met, iterations=now, wanted=self.policy[found.met])
        network = self._advantages[player]
        network.restart(rng)
        if len(self._memories[player]):
            for _ in range(config.advantage_steps):
                self._fit(network, self._memories[player], advantage_error, rng)
        self._match(player)

    def _match(self, player: int) -> None:
        own = self.rows[player]
        self.policy[own] = matched(self._advantages[player].outputs(own), self.legal[own])

    def _fit(
        self, network: RowNetwork, memory: Reservoir, error: Error, rng: np.random.Generator
    ) -> None:
        if not len(memory):
            return
        drawn = memory.draw(self.config.batch_size, rng)
        # Relative to the present iteration: Adam does not see the scale, a loss that is read does.
        weights = drawn["iterations"] / self.iteration
        legal, wanted = self.legal[drawn["rows"]], drawn["wanted"]
        network.step(drawn["rows"], lambda outputs: error(outputs, wanted, legal, weights))

    def average_logits(self) -> Floats:
        """Return the average policy's logits, float64 ``(rows, actions)``."""
        return self._average.outputs(slice(None))

    def state(self) -> Tensors:
        """Return what :meth:`restore` needs to resume bit for bit."""
        kept = self._counters() | prefixed("average", self._average.state())
        for number, memory in enumerate(self._memories):
            kept |= prefixed(f"memory{number}", memory.state())
        for player, network in enumerate(self._advantages):
            kept |= prefixed(f"advantages{player}", network.state())
        return kept

    def restore(self, state: Tensors) -> None:
        """Restore a saved state."""
        self._restore_counters(state)
        self._average.restore(part("average", state))
        for number, memory in enumerate(self._memories):
            memory.restore(part(f"memory{number}", state))
        for player, network in enumerate(self._advantages):
            network.restore(part(f"advantages{player}", state))
            if self.iteration:
                self._match(player)
