"""The mixture model's policies, points of the plane, for the outer loop.

As in the PSD-PSRO experiments: a response is a few steps of Adam from the present point, on

    w u(x, sigma) + (1 - w) D(x),    w_t = 1 - 0.7 / (1 + exp(-(t - 25) / 4)),

with ``D`` the method's bonus of the point's features. A new point starts at every iteration.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pkubench.agents.components import changed
from pkubench.agents.families.psro.diversities.bd_rd import BDRD, PayoffDistance
from pkubench.agents.families.psro.settings import PSRO_PRESETS, PSROConfig
from pkubench.agents.families.psro.spaces import PolicySpace, Response, Situation
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.mixture_model import MixtureModel
from pkubench.errors import ConfigError, UnknownName

_ADAM_STEPS, _RATE = 5, 0.1
_SPREAD = 0.01
_MEMBERS_WEIGHT, _BEHAVIOUR_WEIGHT, _SMOOTHING = 0.3, 150.0, 1e-3
_NUDGE = 1e-5


def mixture_settings(name: str) -> PSROConfig:
    """Return a preset's settings for the mixture model, as in official code.

    There a pipeline trains four policies in parallel, the others one; each iteration finishes one.

    Raises:
        UnknownName: No such preset.
        ConfigError: ``psd-psro-hull``; official code has no hull of points.
    """
    if name not in PSRO_PRESETS:
        raise UnknownName("population learner", name, PSRO_PRESETS)
    config = PSRO_PRESETS[f"{name.removesuffix('-paper')}-paper"]
    if config.diversity.name == "hull":
        raise ConfigError("the mixture model's points have no hull of plans; choose psd-psro")
    learners = 4 if config.learners > 1 and config.targets == "pipeline" else 1
    whole = {"iterations": 50, "learners": learners, "step": 1.0, "diversity_step": 1.0}
    return changed(config, whole, strict=False)


def bonus_share(iteration: int) -> float:
    """Return ``1 - w_t``, the share of the bonus in an ascent: it rises from 0 to 0.7."""
    return float(0.7 / (1.0 + np.exp(-0.25 * (iteration - 25))))


class PointSpace(PolicySpace):
    """Points of the mixture model; one population plays both sides."""

    sides = (0,)
    scale = 1.0
    pure = False
    scorer = "nash-simplex"

    def __init__(self, config: PSROConfig) -> None:
        """Hold the game."""
        self.model, self.config = MixtureModel(), config

    def fresh(self, side: int, rng: np.random.Generator) -> Floats:
        """Return a point near the centre of the circle of bells."""
        return _SPREAD * rng.standard_normal(2)

    def payoffs(self, rows: Floats, columns: Floats) -> Floats:
        """Return the exact payoff table."""
        return self.model.payoffs(rows, columns)

    def gains(self, populations: tuple[Floats, Floats], meta: tuple[Floats, Floats]) -> Floats:
        """Return the gain of the best point of the plane, for both sides."""
        best = self.model.exploitability(populations[0], meta[0])
        return np.array([best, best])

    def population_exploitability(self, populations: tuple[Floats, Floats]) -> float:
        """Return the exact population exploitability, on the scale of NashConv."""
        return 2.0 * self.model.population_exploitability(populations[0])

    def respond(self, situation: Situation, rng: np.random.Generator) -> Response:
        """Return the point after the ascent."""
        share = bonus_share(situation.iteration)
        bonus = self._bonus(situation, share)
        point = situation.row.copy()
        mean, square = np.zeros(2), np.zeros(2)
        nudges = _NUDGE * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
        for step in range(1, _ADAM_STEPS + 1):
            slope = (1.0 - share) * self.model.slope(
                point[None], situation.opponents, situation.weights
            )[0]
            around = bonus(point + nudges)
            slope += (around[::2] - around[1::2]) / (2.0 * _NUDGE)
            mean = 0.9 * mean + 0.1 * slope
            square = 0.999 * square + 0.001 * slope**2
            size = np.sqrt(square / (1.0 - 0.999**step)) + 1e-8
            point = point + _RATE * mean / (1.0 - 0.9**step) / size
        payoff = self.model.payoffs(point[None], situation.opponents)[0] @ situation.weights
        return Response(point, float(payoff), np.inf)

    def _bonus(self, situation: Situation, share: float) -> Callable[[Floats], Floats]:
        """Return the method's bonus of points, with its weight."""
        diversity = self.config.diversity
        kind = diversity.name
        if kind == "none":
            return lambda points: np.zeros(len(points))
        if kind == "members":
            old = _shares(self.model.features(situation.own), _SMOOTHING)
            return lambda points: share * _MEMBERS_WEIGHT * self._distance(points, old)
        if kind == "dpp":
            return lambda points: share * self._cardinality(points, situation)
        if not isinstance(diversity, BDRD):
            raise ConfigError(f"the mixture model has no diversity={kind}; choose another method")
        # The weight of both bonuses of BD&RD-PSRO is 1 - w / 2.
        weight = 1.0 - (1.0 - share) / 2.0
        # Payoffs are affine in the features, so the features with a 1 appended are the plan.
        against = self._worth(situation.opponents)
        table = PayoffDistance(against, situation.payoffs, diversity.payoff_inverse)
        played = _shares(situation.own_weights @ self.model.features(situation.own), 0.0)
        return lambda points: (
            weight
            * (
                _BEHAVIOUR_WEIGHT * self._divergence(points, played)
                + table.values(self._plans(points))
            )
        )

    def _plans(self, points: Floats) -> Floats:
        return np.hstack([self.model.features(points), np.ones((len(points), 1))])

    def _worth(self, opponents: Floats) -> Floats:
        """Return each feature's value against each opponent, and the constant after them."""
        features = self.model.features(opponents)
        return np.hstack(
            [features @ self.model.tournament.T + 0.5, -0.5 * features.sum(axis=1, keepdims=True)]
        )

    def _cardinality(self, points: Floats, situation: Situation) -> Floats:
        """Return ``tr(I - (M M' + I)^-1)`` with each point as the last row and column of ``M``.

        ``M`` has the payoffs among all policies, each row divided by its length: so a new point
        rescales the old rows too, and an inverse for the old rows cannot be reused.
        """
        won = self.model.payoffs(points, situation.own)
        size = len(situation.own)
        table = np.zeros((len(points), size + 1, size + 1))
        table[:, :size, :size] = situation.payoffs
        table[:, size, :size], table[:, :size, size] = won, -won
        table = _unit(table)
        inverses = np.linalg.inv(table @ table.transpose(0, 2, 1) + np.eye(size + 1))
        return np.asarray(size + 1 - np.trace(inverses, axis1=1, axis2=2))

    def _distance(self, points: Floats, old: Floats) -> Floats:
        new = _shares(self.model.features(points), _SMOOTHING)
        return np.asarray((new[:, None] * np.log(new[:, None] / old[None])).sum(axis=2).min(axis=1))

    def _divergence(self, points: Floats, played: Floats) -> Floats:
        """Return twice the Jensen-Shannon divergence of the features' shares."""
        new = _shares(self.model.features(points), 0.0)
        both = (new + played) / 2.0
        return np.asarray(
            (new * np.log(new) + played * np.log(played) - 2.0 * both * np.log(both)).sum(axis=1)
        )


def _shares(features: Floats, amount: float) -> Floats:
    raised = features + amount
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), _NUDGE))
