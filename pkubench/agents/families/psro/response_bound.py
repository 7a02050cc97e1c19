"""A lower bound on exploitability, in games with trees that are too large to build.

A response is learned against each seat by Q-learning, or in poker computed locally (``lbr``), and
then scored by fresh plays. A best response wins at least as much, so the value of both responses is
a *lower bound* of NashConv. The mean payoff of the plays is an estimate of it, which chance can
raise above NashConv; the reported bound is the one-sided 95 % confidence bound below it. A low
bound means that this response found little, not that the entrant is hard to exploit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pkubench.agents.contract import Entrant, Population, StochasticPolicy
from pkubench.agents.families.psro.dqn import DQN
from pkubench.agents.families.psro.oracles.learned import DQNOracle, LearnedOracle
from pkubench.agents.families.psro.plays import Act, play
from pkubench.envs.games.draws import pick, running_shares
from pkubench.envs.games.forest import Floats, Ints
from pkubench.envs.games.policies import probabilities
from pkubench.envs.games.state_batch import StateBatch
from pkubench.errors import AgentError, ConfigError

_SCORING_SHARE = 0.5
"""Scoring plays per training play."""
_CAPACITY = 200
"""Information states allocated per play."""
RESPONDERS = ("dqn", "lbr")
_CONFIDENCE = 1.6448536269514722
"""95 % quantile of the standard normal distribution."""


@dataclass(frozen=True)
class ResponseBound:
    """Payoffs of learned responses against an entrant, in the game's units.

    Attributes:
        wins: For each seat, the mean payoff of the response in it.
        errors: Standard errors of these.
        plays: Training plays, for each seat.
        scored: Scoring plays, for each seat.
        worst: The minimum payoff of a play.
    """

    wins: tuple[float, float]
    errors: tuple[float, float]
    plays: int
    scored: int
    worst: float

    @property
    def estimate(self) -> float:
        """Sum of both mean payoffs; chance can make it negative, or too high."""
        return sum(self.wins)

    @property
    def nash_conv_low(self) -> float:
        """One-sided 95 % lower confidence bound of NashConv; at least 0, as NashConv is.

        One more play per seat is counted, with the worst payoff. A response that won all its plays
        has a standard error of 0, and without that play its mean would be taken as certain.
        """
        wins, errors, n = np.array(self.wins), np.array(self.errors), self.scored
        gaps = wins - self.worst
        wins = wins - gaps / (n + 1)
        # Sums of squares about the mean: n (n - 1) error^2 before, and by Welford's step after.
        squares = n * (n - 1) * errors**2 + n / (n + 1) * gaps**2
        errors = np.sqrt(squares / (n * (n + 1)))
        return max(float(wins.sum()) - _CONFIDENCE * float(np.hypot(*errors)), 0.0)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "nash_conv_at_least_95": self.nash_conv_low,
            "exploitability_at_least_95": self.nash_conv_low / 2.0,
            "responses_win_estimate": self.estimate,
            "response_wins": list(self.wins),
            "standard_errors": list(self.errors),
            "plays_of_learning": self.plays,
            "plays_of_scoring": self.scored,
        }


def response_bound(
    entrant: Entrant,
    game: str,
    plays: int,
    seed: int,
    config: LearnedOracle | None = None,
    responder: str = "dqn",
) -> ResponseBound:
    """Find a response to each seat of an entrant and score it by fresh plays.

    Args:
        entrant: A population, or a policy with action probabilities.
        game: OpenSpiel's name of the game.
        plays: Training plays for each seat; half as many score it. Local best responses learn
            nothing, and all plays score them.
        seed: Source of all randomness.
        config: Settings of the response.
        responder: ``dqn``, learned; or ``lbr``, a local best response, in poker.

    Raises:
        ConfigError: Fewer plays than are played in parallel, or an unknown responder.
        AgentError: The entrant has no action probabilities.
        PolicyError: It has no entry for an information state of a play, or illegal actions there.
        GameError, UnknownName, MissingExtra: As :class:`StateBatch`.
    """
    config = config or DQNOracle()
    if responder not in RESPONDERS:
        listed = " or ".join(map(repr, RESPONDERS))
        raise ConfigError(f"the responder must be {listed}, got {responder!r}")
    if plays < config.parallel_games:
        raise ConfigError(f"a response takes at least {config.parallel_games} plays, got {plays}")
    if not isinstance(entrant, Population | StochasticPolicy):
        raise AgentError(
            f"a response is learned against action probabilities, and {type(entrant).__name__} "
            "has none; pass a population, or a policy with action_probabilities"
        )
    respond = _respond if responder == "dqn" else _respond_locally
    found = [respond(entrant, game, side, plays, seed, config) for side in (0, 1)]
    wins, errors, scored, worst = zip(*found, strict=True)
    learned = plays - plays % config.parallel_games if responder == "dqn" else 0
    return ResponseBound(wins, errors, learned, scored[0], min(worst))


class QueriedEntrant:
    """One seat of an entrant; probabilities are queried and checked at the states of plays."""

    def __init__(
        self, entrant: Population | StochasticPolicy, games: StateBatch, player: int
    ) -> None:
        """Hold ``player``'s policies of an entrant."""
        self._games, self._player = games, player
        self._policies: list[Any] = [entrant]
        self.weights = np.ones(1)
        """Probability of each policy, ``(policies,)``."""
        if isinstance(entrant, Population):
            self._policies = list(entrant.policies[player])
            weights = np.asarray(entrant.meta_strategy[player], np.float64)
            self.weights = weights / weights.sum()
        self._known: dict[tuple[int, int], Floats] = {}

    def draw(self, count: int, rng: np.random.Generator) -> Ints:
        """Return the policy of each of ``count`` plays."""
        return rng.choice(len(self.weights), count, p=self.weights)

    def act(self, drawn: Ints, rows: Ints, rng: np.random.Generator) -> Ints:
        """Return the actions of drawn policies."""
        if not len(rows):
            return np.zeros(0, np.int64)
        shares = [self.shares(*pair) for pair in zip(drawn.tolist(), rows.tolist(), strict=True)]
        table = np.stack(shares)
        group = np.repeat(np.arange(len(rows)), table.shape[1])
        running = group + running_shares(table.ravel(), group)
        found = pick(running, np.arange(len(rows)), rng.random(len(rows)))
        return np.asarray(found % table.shape[1])

    def shares(self, number: int, row: int) -> Floats:
        """Return a policy's probabilities of all actions at a row, float64 ``(actions,)``."""
        if (number, row) not in self._known:
            state, mask = self._games.states[row], self._games.masks[row]
            policy = self._policies[number]
            if isinstance(policy, StochasticPolicy):
                found = policy.action_probabilities(self._games.tensors[row][None], mask[None])
                row_of = np.asarray(found, np.float64)[0]
                policy = {state.text: dict(enumerate(row_of.tolist()))}
            wide = np.zeros(len(mask))
            wide[list(state.legal_actions)] = probabilities(policy, (state,), self._player)
            self._known[number, row] = wide
        return self._known[number, row]


def _respond(
    entrant: Population | StochasticPolicy,
    game: str,
    side: int,
    plays: int,
    seed: int,
    config: LearnedOracle,
) -> tuple[float, float, int, float]:
    """Return a learned response's mean payoff, its standard error, the plays, the worst payoff."""
    count = config.parallel_games
    batches = plays // count
    scoring = max(int(batches * _SCORING_SHARE), 1)
    games = StateBatch(game, count, min(_CAPACITY * count * (batches + scoring), 1_000_000))
    rng = np.random.default_rng([seed, side])
    learner = DQN(games.tensors, games.masks, config, rng)
    met = QueriedEntrant(entrant, games, 1 - side)
    temperature = config.temperature * games.max_utility

    def act(share: float) -> Any:
        return lambda rows, rng: learner.act(
            rows, rng, is_greedy=True, temperature=temperature, exploration=share
        )

    for _ in range(batches):
        played = play(games, count, side, met, act(config.exploration), games.terminal_row, rng)
        if played is not None:
            learner.replay.add(played.decisions)
        if len(learner.replay) >= config.batch_size:
            for _ in range(config.updates):
                learner.update(rng)
    # Fresh plays: training plays would overestimate the response.
    return _score(games, count, side, met, act(0.0), scoring, rng)


def _respond_locally(
    entrant: Population | StochasticPolicy,
    game: str,
    side: int,
    plays: int,
    seed: int,
    config: LearnedOracle,
) -> tuple[float, float, int, float]:
    """Return the same of a local best response."""
    from pkubench.agents.families.psro.local_response import LocalResponse

    count = config.parallel_games
    games = StateBatch(game, count, min(_CAPACITY * plays, 100_000))
    met = QueriedEntrant(entrant, games, 1 - side)
    response = LocalResponse(games, met, side)
    rng = np.random.default_rng([seed, side])
    return _score(games, count, side, met, response.act, plays // count, rng)


def _score(
    games: StateBatch,
    count: int,
    side: int,
    met: QueriedEntrant,
    act: Act,
    batches: int,
    rng: np.random.Generator,
) -> tuple[float, float, int, float]:
    """Return a response's mean payoff in fresh plays, its error, their number, the worst payoff."""
    won = []
    for _ in range(batches):
        play(games, count, side, met, act, games.terminal_row, rng)
        won.append(games.returns[:, side])
    every = np.concatenate(won)
    error = float(every.std(ddof=1) / np.sqrt(len(every)))
    return float(every.mean()), error, len(every), -games.max_utility
