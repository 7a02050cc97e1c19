"""Response oracles: how a policy in training finds its response. One module each.

A new oracle is a module here, or anywhere else, that registers a subclass of ``PlanOracle`` (its
responses are plans of the game) or of ``ResponseOracle`` (it brings a policy space of its own).
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
        """How far a policy moves to its response at an iteration, as a mixture."""
        return 1.0

    def check(self, config: PSROConfig) -> None:
        """Refuse settings of the learner that do not go with this oracle.

        Raises:
            ConfigError: One does not.
        """

    @abstractmethod
    def space(self, game: ZeroSumGame, config: PSROConfig) -> PolicySpace:
        """Return the policies that this oracle makes of a game."""


class Aim(NamedTuple):
    """What a response on plans is after."""

    worth: Floats
    """``(sequences,)``: what each wins against the distribution answered, in units of the game."""
    base: Floats
    """The same in units of the largest payoff, times the weight of payoff besides the bonus."""
    bonus: Bonus | None
    """Of a diverse response."""
    step: float
    """How far the policy will move to the response."""


@dataclass(frozen=True, kw_only=True)
class PlanOracle(ResponseOracle):
    """Base of oracles whose responses are plans of the game."""

    step: float = 1.0
    """How far a policy moves to its response at an iteration, as a mixture; 1 is all the way."""

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
        """Return the response and by how much the best one beats the meta-strategy.

        The latter is infinite for a response that was not after payoff alone.
        """
