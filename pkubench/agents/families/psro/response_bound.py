"""How exploitable an entrant is at least, in a game whose tree is too large to build.

A response is learnt against each seat by Q-learning and then scored by fresh plays. A best response
wins at least as much, so what both responses win is a *lower bound* of NashConv. What they won in
the plays is an estimate of it, which luck can raise above NashConv; "at least" is said of the
one-sided 95 % bound below it. A low bound says that this response found little, not that there is
little to find.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pkubench.agents.contract import Entrant, Population, StochasticPolicy
from pkubench.agents.families.psro.dqn import DQN
from pkubench.agents.families.psro.oracles.learnt import DQNOracle, LearntOracle
from pkubench.agents.families.psro.plays import play
from pkubench.envs.games.draws import pick, running_shares
from pkubench.envs.games.forest import Floats, Ints
from pkubench.envs.games.policies import probabilities
from pkubench.envs.games.state_batch import StateBatch
from pkubench.errors import AgentError, ConfigError

_SCORING_SHARE = 0.5
"""Plays of scoring for each play of learning."""
_CAPACITY = 200
"""Information states that there is room for, for each play."""
_CONFIDENCE = 1.6448536269514722
"""95 % quantile of the standard normal distribution."""


@dataclass(frozen=True)
class ResponseBound:
    """What learnt responses win against an entrant, in the game's units.

    Attributes:
        wins: For each seat, what the response in it wins on average.
        errors: Standard errors of these.
        plays: Plays of learning, for each seat.
        scored: Plays of scoring, for each seat.
        worst: The least that a play can pay.
    """

    wins: tuple[float, float]
    errors: tuple[float, float]
    plays: int
    scored: int
    worst: float

    @property
    def estimate(self) -> float:
        """What both responses win together on average; chance can make it negative, or too high."""
        return sum(self.wins)

    @property
    def nash_conv_low(self) -> float:
        """What NashConv exceeds with 95 % confidence; at least 0, as NashConv is.

        One play more a seat counts, lost as badly as can be. Of a response that won all its plays
        the standard error is 0, and without that play their mean would pass for certain.
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
    config: LearntOracle | None = None,
) -> ResponseBound:
    """Learn a response to each seat of an entrant and score it.

    Args:
        entrant: A population, or a policy that tells its probabilities.
        game: OpenSpiel's name of the game.
        plays: Plays of learning for each seat; half as many score it.
        seed: Everything random follows from it.
        config: How to learn.

    Raises:
        ConfigError: Fewer plays than are played at once.
        AgentError: The entrant cannot tell its probabilities.
        PolicyError: It lacks an information state that a play met, or plays illegal actions there.
        GameError, UnknownName, MissingExtra: As :class:`StateBatch`.
    """
    config = config or DQNOracle()
    if plays < config.parallel_games:
        raise ConfigError(f"a response takes at least {config.parallel_games} plays, got {plays}")
    if not isinstance(entrant, Population | StochasticPolicy):
        raise AgentError(
            f"a response is learnt against action probabilities, and {type(entrant).__name__} "
            "cannot tell any; hand in a population, or a policy with action_probabilities"
        )
    found = [_respond(entrant, game, side, plays, seed, config) for side in (0, 1)]
    wins, errors, scored, worst = zip(*found, strict=True)
    return ResponseBound(wins, errors, plays - plays % config.parallel_games, scored[0], min(worst))


class _Entrant:
    """One seat of an entrant; probabilities are asked for where plays lead, and checked there."""

    def __init__(
        self, entrant: Population | StochasticPolicy, games: StateBatch, player: int
    ) -> None:
        self._games, self._player = games, player
        self._policies: list[Any] = [entrant]
        self._weights = np.ones(1)
        if isinstance(entrant, Population):
            self._policies = list(entrant.policies[player])
            weights = np.asarray(entrant.meta_strategy[player], np.float64)
            self._weights = weights / weights.sum()
        self._known: dict[tuple[int, int], Floats] = {}

    def draw(self, count: int, rng: np.random.Generator) -> Ints:
        return rng.choice(len(self._weights), count, p=self._weights)

    def act(self, drawn: Ints, rows: Ints, rng: np.random.Generator) -> Ints:
        if not len(rows):
            return np.zeros(0, np.int64)
        shares = [self._share(*pair) for pair in zip(drawn.tolist(), rows.tolist(), strict=True)]
        table = np.stack(shares)
        group = np.repeat(np.arange(len(rows)), table.shape[1])
        running = group + running_shares(table.ravel(), group)
        found = pick(running, np.arange(len(rows)), rng.random(len(rows)))
        return np.asarray(found % table.shape[1])

    def _share(self, number: int, row: int) -> Floats:
        if (number, row) not in self._known:
            state, mask = self._games.states[row], self._games.masks[row]
            policy = self._policies[number]
            if isinstance(policy, StochasticPolicy):
                asked = policy.action_probabilities(self._games.tensors[row][None], mask[None])
                told = np.asarray(asked, np.float64)[0]
                policy = {state.text: dict(enumerate(told.tolist()))}
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
    config: LearntOracle,
) -> tuple[float, float, int, float]:
    """Return a learnt response's mean payoff, its standard error, of how many plays; the worst."""
    count = config.parallel_games
    batches = plays // count
    scoring = max(int(batches * _SCORING_SHARE), 1)
    games = StateBatch(game, count, min(_CAPACITY * count * (batches + scoring), 1_000_000))
    rng = np.random.default_rng([seed, side])
    learner = DQN(games.tensors, games.masks, config, rng)
    met = _Entrant(entrant, games, 1 - side)
    temperature = config.temperature * games.max_utility

    def act(share: float) -> Any:
        return lambda rows, rng: learner.act(
            rows, rng, is_greedy=True, temperature=temperature, exploration=share
        )

    for _ in range(batches):
        played = play(games, count, side, met, act(config.exploration), games.nobody, rng)
        if played is not None:
            learner.replay.add(played.decisions)
        if len(learner.replay) >= config.batch_size:
            for _ in range(config.updates):
                learner.update(rng)
    # Fresh plays: those that were learnt from would flatter the response.
    won = []
    for _ in range(scoring):
        play(games, count, side, met, act(0.0), games.nobody, rng)
        won.append(games.returns[:, side])
    every = np.concatenate(won)
    error = float(every.std(ddof=1) / np.sqrt(len(every)))
    return float(every.mean()), error, len(every), -games.max_utility
