"""Diversity: what responses maximise in addition to payoff. One module each, with its settings.

A :class:`Diversity` is the component that users choose. With some probability it gives a response a
:class:`Bonus`, which scores any stack of candidate plans (:meth:`Bonus.values`) and has a gradient
in the plan's entries (:meth:`Bonus.slopes`), which responses on game trees and mirror ascent
follow. Payoffs are in units of the largest one. A new diversity is a module here, or anywhere else,
that registers a subclass.

| diversity | bonus of a plan | source |
|---|---|---|
| ``members`` | least divergence from a member | PSD-PSRO's code |
| ``hull`` | least divergence from any mixture | PSD-PSRO, equation of PSD |
| ``bd-rd`` | divergence from the current mixture | BD&RD-PSRO, behavioural |
| | distance of its payoffs from the gamescape | BD&RD-PSRO, response |
| ``dpp`` | size of the population by a determinantal process | DPP-PSRO |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pkubench.agents.components import Component
from pkubench.agents.settings import check_domains
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.zero_sum import ZeroSumGame
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    from pkubench.agents.families.psro.spaces import Situation


class Bonus(ABC):
    """A number for each candidate plan; more is more diverse."""

    is_least = False
    """Whether it is a minimum over members or mixtures, and not a convex function."""
    is_of_payoffs = False
    """Whether it depends on the policy after the step (its payoffs), not on the response."""

    @abstractmethod
    def values(self, plans: Floats) -> Floats:
        """Return the bonus of each plan, float64 ``(plans,)``.

        Args:
            plans: float64 ``(plans, sequences)``.
        """

    @abstractmethod
    def slopes(self, plan: Floats) -> Floats:
        """Return the bonus's gradient at a plan, float64 ``(sequences,)``.

        Where the bonus is a minimum, that of its minimal piece (the envelope theorem). Distances
        in plays smooth the plan first; the gradient is that of the smoothed plan.
        """

    def pure_slopes(self, plan: Floats) -> Floats:
        """Return the change of the bonus from one pure plan to another, near a pure plan.

        As :meth:`slopes`, where the derivative at entries of 0 and 1 equals it.
        """
        return self.slopes(plan)

    def argmax(self, plans: Floats, base: Floats) -> int:
        """Return the index of the largest ``base + values(plans)``, the first if tied.

        Args:
            plans: float64 ``(plans, sequences)``.
            base: float64 ``(plans,)``.
        """
        return int((base + self.values(plans)).argmax())


class Diversity(
    Component, ABC, slot="diversity", package="pkubench.agents.families.psro.diversities"
):
    """What a diverse response maximises, and which responses are diverse."""

    can_be_learned: ClassVar[bool] = False
    """Whether oracles that learn from plays support it."""

    @property
    def step_size(self) -> float:
        """Weight of a diverse response in the mixture with the old policy; 1 replaces it."""
        return 1.0

    @abstractmethod
    def is_sought(self, rng: np.random.Generator) -> bool:
        """Draw whether the next response is diverse."""

    @abstractmethod
    def bonus(
        self, game: ZeroSumGame, situation: Situation, opponent: Floats, rng: np.random.Generator
    ) -> tuple[Bonus, float]:
        """Return the bonus of a diverse response, and the weight of payoff next to it.

        Args:
            game: The game.
            situation: The situation of the policy in training.
            opponent: The mixed plan to respond to.
            rng: Source of randomness.
        """


@dataclass(frozen=True, kw_only=True)
class ByChance(Diversity):
    """Base of diversities that apply to some responses, by chance."""

    diversity_chance: float = 0.0
    """Probability that a response is diverse. Official code draws a standard normal number and
    compares it with 0.85: 0.1977."""
    diversity_step: float = 1.0
    """``step`` of diverse responses."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, shares=("diversity_chance",))
        if not 0.0 < self.diversity_step <= 1.0:
            raise ConfigError(f"diversity_step must lie in (0, 1], got {self.diversity_step}")

    @property
    def step_size(self) -> float:
        """``diversity_step``."""
        return self.diversity_step

    def is_sought(self, rng: np.random.Generator) -> bool:
        """Draw by the chance."""
        return bool(rng.random() < self.diversity_chance)


def scale_of(game: ZeroSumGame) -> float:
    """Return the largest payoff, the unit of all bonuses."""
    return game.max_utility or 1.0


def payoffs_against(game: ZeroSumGame, situation: Situation) -> tuple[Floats, Floats]:
    """Return sequence values against each opponent, and the old policies' payoffs, in units."""
    scale = scale_of(game)
    against = [game.gains(situation.side, row) / scale for row in situation.opponents]
    return np.stack(against), situation.payoffs / scale


def log(x: Floats) -> Floats:
    """Return the logarithm; zeros count as the smallest positive number."""
    return np.log(np.maximum(x, np.finfo(np.float64).tiny))


def xlogx(x: Floats) -> Floats:
    """Return ``x log x``, 0 at 0."""
    return np.asarray(x * np.log(np.where(x > 0.0, x, 1.0)))
