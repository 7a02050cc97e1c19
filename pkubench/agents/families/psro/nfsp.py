"""Neural fictitious self-play (NFSP): a learned response, and a learned average of responses.

Heinrich and Silver (2016), Algorithm 1. In each play each seat draws what it plays: with
probability ``anticipation`` the epsilon-greedy best response, otherwise the average. All decisions
go into the replay from which action values are learned; where the best response played, its greedy
action goes into a reservoir, and the average policy imitates the reservoir.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from pkubench.agents.families.psro.dqn import DQN, log_policy
from pkubench.agents.families.psro.fitting import Reservoir, RowNetwork, imitation_error
from pkubench.agents.families.psro.learner import Floats, Tensors
from pkubench.agents.families.psro.network_learner import NetworkLearner, part, prefixed
from pkubench.agents.families.psro.oracles.learned import DQNOracle
from pkubench.agents.families.psro.plays import in_order
from pkubench.agents.families.psro.sampled_settings import NFSPConfig
from pkubench.envs.games.forest import Ints
from pkubench.envs.games.game_batch import GameBatch
from pkubench.envs.games.tree import GameTree


class NFSP(NetworkLearner):
    """Both players' action values and average policies."""

    def __init__(self, tree: GameTree, config: NFSPConfig, seed: int) -> None:
        """Start from untrained networks."""
        super().__init__(tree, seed)
        self.config, self.report_every = config, config.report_every
        response = DQNOracle(
            hidden=config.hidden,
            learning_rate=config.response_rate,
            batch_size=config.batch_size,
            replay_size=config.replay_size,
            target_updates=config.target_updates,
        )
        rng, (observations, masks) = self.draws(), (self.tables.tensors, self.tables.masks)
        self._responses = [DQN(observations, masks, response, rng) for _ in (0, 1)]
        self._averages = [
            RowNetwork(observations, masks.shape[1], config.hidden, config.average_rate, rng)
            for _ in (0, 1)
        ]
        self._reservoirs = [Reservoir(config.reservoir_size, rows=0, actions=0) for _ in (0, 1)]
        self._games = GameBatch(tree, config.parallel_games)

    @property
    def exploration(self) -> float:
        """Probability of a random action of the best response, now."""
        return float(self.config.exploration / max(self.iteration, 1) ** 0.5)

    def advance(self) -> None:
        """Do one iteration: ``plays`` plays, with gradient steps in between."""
        self.iteration += 1
        rng = self.draws(0)
        for _ in range(self.config.plays // self.config.parallel_games):
            self._gather(rng)
            for player in (0, 1):
                self._learn(player, rng)

    def greedy(self) -> Ints:
        """Return the best action at every row, int64 ``(rows,)``."""
        values = np.concatenate([self._responses[p].values(self.rows[p]) for p in (0, 1)])
        return np.asarray(np.where(self.legal[:-1], values, -np.inf).argmax(axis=1))

    def _gather(self, rng: np.random.Generator) -> None:
        """Play a batch of games into the replays and reservoirs."""
        config, games, count = self.config, self._games, self.config.parallel_games
        best = self.greedy()
        # Both of what a seat may play at every row: 0 the average, 1 the best response.
        average = np.exp(log_policy(self.average_logits(), self.legal))[:-1]
        uniform = self.legal[:-1] / self.legal[:-1].sum(axis=1, keepdims=True)
        response = self.exploration * uniform
        response[np.arange(len(best)), best] += 1.0 - self.exploration
        running = np.cumsum(np.stack([average, response]), axis=2)
        responds = rng.random((count, 2)) < config.anticipation
        games.reset(rng.integers(0, 2**31, count))
        met: list[tuple[Ints, Ints, Ints]] = []
        while not games.over.all():
            active = np.flatnonzero(~games.over)
            row, mode = games.row[active], responds[active, games.player[active]].astype(np.int64)
            shares = running[mode, row]
            drawn = (rng.random((len(row), 1)) * shares[:, -1:] >= shares).sum(axis=1)
            met.append((active, row, drawn))
            actions = np.zeros(count, np.int64)
            actions[active] = drawn
            games.step(actions)
        self.episodes += count
        index, row, action = (np.concatenate(column) for column in zip(*met, strict=True))
        for player in (0, 1):
            own = (row >= self.rows[player].start) & (row < self.rows[player].stop)
            if not own.any():
                continue
            order, _, decisions = in_order(
                index[own], row[own], action[own], games.returns[:, player], len(self.legal) - 1
            )
            self._responses[player].replay.add(decisions)
            rows = decisions.rows[responds[index[own][order], player]]
            if len(rows):
                self._reservoirs[player].add(rng, rows=rows, actions=best[rows])

    def _learn(self, player: int, rng: np.random.Generator) -> None:
        response, reservoir = self._responses[player], self._reservoirs[player]
        size = self.config.batch_size
        for _ in range(self.config.updates):
            if len(response.replay) >= size:
                response.update(rng)
            if len(reservoir) >= size:
                drawn = reservoir.draw(size, rng)
                rows, actions = drawn["rows"], drawn["actions"]
                error = partial(imitation_error, actions=actions, legal=self.legal[rows])
                self._averages[player].step(rows, error)

    def average_logits(self) -> Floats:
        """Return the average policies' logits, float64 ``(rows, actions)``."""
        parts = [self._averages[player].outputs(self.rows[player]) for player in (0, 1)]
        return np.concatenate([*parts, np.zeros((1, self.legal.shape[1]))])

    def state(self) -> Tensors:
        """Return what :meth:`restore` needs to resume bit for bit."""
        kept = self._counters()
        for player in (0, 1):
            kept |= prefixed(f"response{player}", self._responses[player].state())
            kept |= prefixed(f"average{player}", self._averages[player].state())
            kept |= prefixed(f"reservoir{player}", self._reservoirs[player].state())
        return kept

    def restore(self, state: Tensors) -> None:
        """Restore a saved state."""
        self._restore_counters(state)
        for player in (0, 1):
            self._responses[player].restore(part(f"response{player}", state))
            self._averages[player].restore(part(f"average{player}", state))
            self._reservoirs[player].restore(part(f"reservoir{player}", state))
