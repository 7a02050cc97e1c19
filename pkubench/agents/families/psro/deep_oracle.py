"""Responses learned from plays: Q-learning against whole policies drawn from a mixture.

A policy is the table of its network's action values at every information state of the tree, and a
row of the outer loop is that table. The *played* policy, of opponents in training and in every
score, is the same function of it: the best action (``oracle=dqn``) or the softmax
(``oracle=softmax``). Each training play draws one opponent from the mixture for the whole play.

PSD-PSRO's bonus is that of its released code: for a batch of plays, the divergence of the played
policy from each member's softmax, summed over own decisions; the closest member over the batch is
the anchor, each play's divergence from it is added to the final reward, and gradient steps also
ascend the divergence of the network's softmax from it.
"""

from __future__ import annotations

import numpy as np
import torch

from pkubench.agents.families.psro.diversities.members import Members
from pkubench.agents.families.psro.dqn import DQN, Anchor, divergences_from, log_policy
from pkubench.agents.families.psro.learner import Tensors
from pkubench.agents.families.psro.oracles.learned import LearnedOracle
from pkubench.agents.families.psro.plays import play
from pkubench.agents.families.psro.settings import PSROConfig
from pkubench.agents.families.psro.spaces import PolicySpace, Response, Situation
from pkubench.envs.games.draws import pick, running_shares
from pkubench.envs.games.forest import Floats, Ints
from pkubench.envs.games.game_batch import GameBatch
from pkubench.envs.games.game_tables import game_tables
from pkubench.envs.games.tree import GameTree
from pkubench.envs.games.zero_sum import ZeroSumGame
from pkubench.errors import ConfigError


class Opponents:
    """One seat's policies; one is drawn by the weights for each whole play."""

    def __init__(self, tree: GameTree, player: int, plans: Floats, weights: Floats) -> None:
        """Prepare sampling of ``player``'s policies, ``(policies, sequences)``."""
        forest = tree.form.forests[player]
        self._states = len(forest.starts)
        self._first_row = 0 if player == 0 else tree.num_information_states[0]
        met = np.flatnonzero(weights > 0.0)
        self._weights = weights[met] / weights[met].sum()
        behaviour = forest.behaviour(plans[met])[:, 1:]
        group = (np.arange(len(met))[:, None] * self._states + forest.state_of[1:]).ravel()
        self._cumulative = group + running_shares(behaviour.ravel(), group)
        self._actions = np.nonzero(tree.legal_mask(player))[1]

    def draw(self, count: int, rng: np.random.Generator) -> Ints:
        """Return the opponent of each of ``count`` plays."""
        return rng.choice(len(self._weights), count, p=self._weights)

    def act(self, drawn: Ints, rows: Ints, rng: np.random.Generator) -> Ints:
        """Return the actions of drawn policies at ``GameBatch.row``."""
        number = drawn * self._states + rows - self._first_row
        found = pick(self._cumulative, number, rng.random(len(number)))
        return np.asarray(self._actions[found % len(self._actions)])


class ValueSpace(PolicySpace):
    """Policies of a game tree as tables of action values.

    A row has, for each own sequence, the value of its last action; entry 0 is 0.
    """

    sides = (0, 1)
    pure = False

    def __init__(self, game: ZeroSumGame, config: PSROConfig) -> None:
        """Play ``game``.

        Raises:
            ConfigError: It has no game tree.
            GameError: It has no information-state tensors.
        """
        if not isinstance(game, GameTree):
            raise ConfigError(
                f"oracle={config.oracle.name} learns by playing game trees, and {game.name} is a "
                "matrix; choose oracle=exact"
            )
        torch.set_num_threads(1)  # another summation order changes bits, and soon the plays
        assert isinstance(config.oracle, LearnedOracle)
        self.game, self.config, self.scale = game, config, game.max_utility or 1.0
        self.oracle = config.oracle
        self.episodes: int = 0
        tables = game_tables(game)
        self._observations, self._masks = tables.tensors, tables.masks
        self._legal = tables.masks.astype(np.bool_)
        split = game.num_information_states[0]
        self._rows = (slice(0, split), slice(split, len(tables.masks) - 1))
        self._games = GameBatch(game, self.oracle.parallel_games)
        self._learners: dict[int, DQN] = {}
        self._temperature = self.oracle.temperature * self.scale

    # Policies

    def fresh(self, side: int, rng: np.random.Generator) -> Floats:
        """Return the policy of a new network."""
        return self._table(side, self._new(rng))

    def plans(self, side: int, rows: Floats) -> Floats:
        """Return the played policies: plans of the best actions, or of the softmax."""
        forest = self.game.form.forests[side]
        if self.oracle.is_greedy:
            choice = np.zeros_like(rows)
            for plan, row in zip(choice, rows, strict=True):
                plan[forest.best_sequences(row, unit=self.scale)] = 1.0
            return forest.plan(choice)
        played = np.ones_like(rows)
        played[:, 1:] = np.exp(self._log_policies(side, rows))[:, self._legal[self._rows[side]]]
        return forest.plan(forest.behaviour(played))

    def _log_policies(self, side: int, rows: Floats) -> Floats:
        """Return logarithms of softmax policies, ``(policies, states, actions)``."""
        legal = self._legal[self._rows[side]]
        logits = np.zeros((len(rows), *legal.shape))
        logits[:, legal] = rows[:, 1:] / self._temperature
        return log_policy(logits, legal)

    def _table(self, side: int, learner: DQN) -> Floats:
        own = self._rows[side]
        return np.concatenate([[0.0], learner.values(own)[self._legal[own]]])

    def _new(self, rng: np.random.Generator) -> DQN:
        return DQN(self._observations, self._masks, self.oracle, rng)

    # The interface of the outer loop

    def payoffs(self, rows: Floats, columns: Floats) -> Floats:
        """Return the exact payoff table of the played policies."""
        return self.game.payoffs(self.plans(0, rows), self.plans(1, columns))

    def gains(self, populations: tuple[Floats, Floats], meta: tuple[Floats, Floats]) -> Floats:
        """Return the gain of each side's exact best response."""
        mixed = [self.game.mix(self.plans(s, populations[s]), meta[s]) for s in (0, 1)]
        found = []
        for side in (0, 1):
            best, _ = self.game.best_response(side, mixed[1 - side])
            found.append(best - float(mixed[side] @ self.game.gains(side, mixed[1 - side])))
        return np.array(found)

    def population_exploitability(self, populations: tuple[Floats, Floats]) -> float:
        """Return the exact population exploitability."""
        return self.game.population_exploitability(
            self.plans(0, populations[0]), self.plans(1, populations[1])
        )

    def respond(self, situation: Situation, rng: np.random.Generator) -> Response:
        """Return the policy of a network trained for ``response_episodes`` plays."""
        config, oracle, side = self.config, self.oracle, situation.side
        learner = self._learners.get(side)
        if learner is None or oracle.warm_start == "fresh":
            learner = self._new(rng)
        elif oracle.warm_start == "weights":
            learner.replay.seen = 0
        self._learners[side] = learner
        met = self.plans(1 - side, situation.opponents)
        opponents = Opponents(self.game, 1 - side, met, situation.weights)
        members = None
        if config.diversity.is_sought(rng):
            members = self._log_policies(side, situation.own)
        for _ in range(config.response_episodes // oracle.parallel_games):
            anchor = self._gather(learner, side, opponents, members, rng)
            if len(learner.replay) >= oracle.batch_size:
                for _ in range(oracle.updates):
                    learner.update(rng, anchor)
        row = self._table(side, learner)
        worth = self.game.gains(side, self.game.mix(met, situation.weights))
        return Response(row, float(self.plans(side, row[None])[0] @ worth), np.inf)

    # Training

    def _gather(
        self,
        learner: DQN,
        side: int,
        opponents: Opponents,
        members: Floats | None,
        rng: np.random.Generator,
    ) -> Anchor | None:
        """Play a batch of games into the replay; return the closest member, if any."""
        count, end_row = self.oracle.parallel_games, len(self._masks) - 1
        is_greedy, temperature = self.oracle.is_greedy, self._temperature

        def act(rows: Ints, rng: np.random.Generator) -> tuple[Ints, Floats]:
            return learner.act(rows, rng, is_greedy=is_greedy, temperature=temperature)

        played = play(self._games, count, side, opponents, act, end_row, rng)
        self.episodes += count
        if played is None:
            return None
        decisions, anchor = played.decisions, None
        if members is not None:
            local = decisions.rows - self._rows[side].start
            distances = divergences_from(played.distributions, members[:, local])
            nearest = int(distances.sum(axis=1).argmin())
            assert isinstance(self.config.diversity, Members)
            weight = self.config.diversity.diversity_weight * self.scale
            total = np.bincount(played.plays, distances[nearest], count)
            bonus = np.where(played.is_last, weight * total[played.plays], 0.0)
            decisions = decisions._replace(rewards=decisions.rewards + bonus)
            anchor = self._anchor(side, members[nearest], weight)
        learner.replay.add(decisions)
        return anchor

    def _anchor(self, side: int, log_member: Floats, weight: float) -> Anchor:
        wide = np.zeros(self._masks.shape)
        wide[self._rows[side]] = log_member
        return Anchor(wide, weight, self._temperature)

    # Resuming

    def state(self) -> Tensors:
        """Return the networks that later responses start from, and the count of episodes."""
        kept: Tensors = {"episodes": np.array([self.episodes], np.int64)}
        if self.oracle.warm_start != "fresh":
            for side, learner in self._learners.items():
                kept |= {f"{side}_{name}": value for name, value in learner.state().items()}
        return kept

    def restore(self, state: Tensors) -> None:
        """Restore a saved state."""
        self.episodes = int(state["episodes"][0])
        self._learners = {}
        for side in (0, 1):
            prefix = f"{side}_"
            saved = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            if saved:
                self._learners[side] = self._new(np.random.default_rng(0))
                self._learners[side].restore(saved)
