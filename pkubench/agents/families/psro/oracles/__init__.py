"""Response oracles: how a policy in training finds its response. One module each.

A new oracle is a module here, or anywhere else, that registers a subclass of ``PlanOracle`` (its
responses are plans of the game) or of ``ResponseOracle`` (it has its own policy space).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from pkubench.agents.components import Component
from pkubench.agents.families.psro.diversities import Bonus
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.zero_sum import ZeroSumGame
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    from pkubench.agents.families.psro.settings import PSROConfig
    from pkubench.agents.families.psro.spaces import PolicySpace, Situation


class ResponseOracle(
    Component, ABC, slot="oracle", package="pkubench.agents.families.psro.oracles"
):
    """How responses are found."""

    is_pure: ClassVar[bool] = False
    """Whether responses are pure policies."""

    @property
    def step_size(self) -> float:
        """Weight of the response in the mixture with the old policy at an iteration."""
        return 1.0

    def check(self, config: PSROConfig) -> None:
        """Refuse settings of the learner that are incompatible with this oracle.

        Raises:
            ConfigError: One is.
        """

    @abstractmethod
    def space(self, game: ZeroSumGame, config: PSROConfig) -> PolicySpace:
        """Return this oracle's policy space of a game."""


class Aim(NamedTuple):
    """The objective of a response on plans."""

    worth: Floats
    """``(sequences,)``: the value of each against the target distribution, in units of the game."""
    base: Floats
    """The same in units of the largest payoff, times the weight of payoff next to the bonus."""
    bonus: Bonus | None
    """Of a diverse response."""
    step: float
    """Weight of the response in the mixture with the old policy."""


@dataclass(frozen=True, kw_only=True)
class PlanOracle(ResponseOracle):
    """Base of oracles with plans of the game as responses."""

    step: float = 1.0
    """Weight of the response in the mixture with the old policy; 1 replaces it."""

    def __post_init__(self) -> None:
        """Check the domain."""
        if not 0.0 < self.step <= 1.0:
            raise ConfigError(f"step must lie in (0, 1], got {self.step}")

    @property
    def step_size(self) -> float:
        """``step``."""
        return self.step

    def space(self, game: ZeroSumGame, config: PSROConfig) -> PolicySpace:
        """Return the game's plans."""
        from pkubench.agents.families.psro.spaces import PlanSpace

        return PlanSpace(game, config)

    @abstractmethod
    def plan(
        self, game: ZeroSumGame, situation: Situation, aim: Aim, rng: np.random.Generator
    ) -> tuple[Floats, float]:
        """Return the response and the best response's gain over the meta-strategy.

        The gain is infinite for a response that did not maximise payoff alone.
        """
