"""Anytime PSRO and SP-PSRO: populations whose exploitability never rises.

Double oracle's mixtures are equilibria of a game in which both sides are restricted, and lose more
to the full game in some iterations than before. Anytime double oracle (McAleer et al. 2022a) mixes
each population so that it loses least to *all* opponents,

    sigma_i = argmax over mixtures of U_i of min over all opponents z of u_i(sigma_i, z),

so NashConv of the mixtures is the population exploitability, which no added policy can raise. Both
sides then add a best response to the other's mixture. Many respond equally well to it, and the one
that ties choose may be there already: a *new* one is needed, and exists while NashConv is positive.
The opponents' part of the linear program's solution is made of such responses.

SP-PSRO (McAleer et al. 2022b) also adds a policy learned by self-play: for some steps each side's
mixture and a new policy move against the other side's present best response, and the average of the
new policy's responses joins the population.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pkubench.agents.families.psro.learner import Floats, Tensors
from pkubench.agents.settings import check_domains
from pkubench.envs.games.forest import TIE
from pkubench.envs.games.zero_sum import ZeroSumGame
from pkubench.errors import ConfigError

_TRIES, _DRAWS = 20, 50
"""Draws of a new response from all tied ones, and then from those of the linear program."""
_TIED = 1e-9
"""Responses within this of the best, times the largest payoff, are tied: linear programs leave
errors of 1e-10."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnytimeConfig:
    """Settings of the presets ``anytime-psro`` and ``sp-psro``."""

    iterations: int = 300
    """Iterations of a run without a given number of steps."""
    tolerance: float = 1e-9
    """Stop when NashConv is at most this times the largest payoff."""
    self_play_steps: int = 0
    """Steps of self-play in an iteration, whose average response joins the population too; 0 for
    none (Anytime PSRO)."""
    mixing_rate: float = 0.1
    """Step size of the multiplicative weights that mix a population in self-play, in units of 1
    over the largest payoff."""
    response_episodes: int = 20_000
    """Episodes that one added policy counts for in the curve, as in the population learners."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(
            self,
            at_least_one=("iterations",),
            not_negative=("response_episodes", "self_play_steps"),
            positive=("mixing_rate",),
        )
        if not 0.0 <= self.tolerance < 1.0:
            raise ConfigError(f"tolerance must lie in [0, 1), got {self.tolerance}; default 1e-9")


class AnytimePSRO:
    """Two populations, each mixed to lose least to all opponents."""

    report_every = 1

    def __init__(self, game: ZeroSumGame, config: AnytimeConfig, seed: int) -> None:
        """Draw a first pure policy for each side."""
        self.game, self.config, self.seed = game, config, seed
        self.iteration = self.added = 0
        self.pure = not config.self_play_steps
        rng = np.random.default_rng(seed)
        self._rows = [game.random_plan(player, rng, pure=True)[None] for player in (0, 1)]
        self._score()

    def _score(self) -> None:
        """Mix both populations; compute what each side's best response wins."""
        game = self.game
        values = [game.population_value(player, self._rows[player]) for player in (0, 1)]
        self._weights = [found.weights for found in values]
        # Against each side's mixtures: the other side's plan that holds them to their value.
        self._holding = [values[1].opponent, values[0].opponent]
        self._mixed = [game.mix(self._rows[p], self._weights[p]) for p in (0, 1)]
        self._nash_conv = max(game.nash_conv(*self._mixed), 0.0)

    @property
    def finished(self) -> bool:
        """Whether the mixtures are an equilibrium."""
        return self._nash_conv <= self.config.tolerance * (self.game.max_utility or 1.0)

    def advance(self) -> None:
        """Add a new best response to each population, and with self-play its average."""
        rng = np.random.default_rng([self.seed, self.iteration])
        averages = self._self_play(rng) if self.config.self_play_steps else None
        new = [self._response(player, rng) for player in (0, 1)]
        for player in (0, 1):
            rows = [row for row in (new[player],) if row is not None]
            rows += [] if averages is None else [averages[player]]
            self.added += len(rows)
            self._rows[player] = np.vstack([self._rows[player], *rows])
        self.iteration += 1
        self._score()

    def _response(self, player: int, rng: np.random.Generator) -> Floats | None:
        """Return a best response that is not in the population yet; None if there is none."""
        game, rows = self.game, self._rows[player]
        worth = game.gains(player, self._mixed[1 - player])
        unit = _TIED / TIE * (game.max_utility or 1.0)
        for _ in range(_TRIES):
            plan = game.best_plan(player, worth, rng, unit=unit)[1]
            if not (rows == plan).all(axis=1).any():
                return plan
        return self._of_the_program(player, worth, rng)

    def _of_the_program(
        self, player: int, worth: Floats, rng: np.random.Generator
    ) -> Floats | None:
        """Return a new best response among the policies that hold the opponent's mixtures."""
        game, rows = self.game, self._rows[player]
        scale = game.max_utility or 1.0
        # A sequence that the program does not use costs more than any response can win.
        priced = np.where(self._holding[player] > _TIED, worth, -4.0 * scale)
        best = float(game.best_plan(player, worth)[0])
        for _ in range(_DRAWS):
            plan = game.best_plan(player, priced, rng, unit=_TIED / TIE * scale)[1]
            is_best = float(plan @ worth) >= best - _TIED * scale
            if is_best and not (rows == plan).all(axis=1).any():
                return plan
        return None

    def _self_play(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return the average responses of both sides' new policies to the other's best response.

        A side's mixture is of its population and its new policy; multiplicative weights move it
        towards what does well against the other side's present best response.
        """
        game, config = self.game, self.config
        rate = config.mixing_rate / (game.max_utility or 1.0)
        learning = [game.uniform_plan(player) for player in (0, 1)]
        averages = [np.zeros_like(plan) for plan in learning]
        logs = [np.zeros(len(rows) + 1) for rows in self._rows]
        for _ in range(config.self_play_steps):
            everyone = [np.vstack([self._rows[p], learning[p]]) for p in (0, 1)]
            mixed = [game.mix(everyone[p], _shares(logs[p])) for p in (0, 1)]
            best = [game.best_response(p, mixed[1 - p], rng)[1] for p in (0, 1)]
            for player in (0, 1):
                worth = game.gains(player, best[1 - player])
                logs[player] += rate * (everyone[player] @ worth)
                learning[player] = game.best_plan(player, worth, rng)[1]
                averages[player] += learning[player] / config.self_play_steps
        return averages[0], averages[1]

    def measure(self, last: bool) -> dict[str, float]:
        """Return the metrics of the mixtures (payoff units of the game)."""
        return {
            "nash_conv": self._nash_conv,
            "exploitability": 0.5 * self._nash_conv,
            "value": self.game.expected_value(*self._mixed),
            "policies": float(sum(map(len, self._rows))),
            "episodes": float(self.added * self.config.response_episodes),
            # The mixtures lose least to all opponents, which is its definition.
            "population_exploitability": self._nash_conv,
        }

    def plans(self) -> tuple[Floats, Floats]:
        """Return both populations, one plan per row."""
        return self._rows[0].copy(), self._rows[1].copy()

    def meta_strategy(self) -> tuple[Floats, Floats]:
        """Return the mixtures that lose least."""
        return self._weights[0], self._weights[1]

    def state(self) -> Tensors:
        """Return what :meth:`restore` needs to resume to the same populations."""
        kind = np.int8 if self.pure else np.float64
        return {
            "counters": np.array([self.iteration, self.added], np.int64),
            **{f"plans_{player}": self._rows[player].astype(kind) for player in (0, 1)},
        }

    def restore(self, state: Tensors) -> None:
        """Restore a saved state."""
        self.iteration, self.added = (int(count) for count in state["counters"])
        self._rows = [state[f"plans_{player}"].astype(np.float64) for player in (0, 1)]
        self._score()


def _shares(logs: Floats) -> Floats:
    raised = np.exp(logs - logs.max())
    return np.asarray(raised / raised.sum())
