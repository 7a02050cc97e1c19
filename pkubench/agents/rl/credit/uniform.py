"""Uniform redistribution: every step of an episode gets the same (IRCR; Gangwani et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pkubench.agents.components import register
from pkubench.agents.rl.credit.base import CreditContext, CreditModel
from pkubench.agents.rl.credit.episodes import Array, Episodes, FloatArray, returns_of, spans_of
from pkubench.agents.rl.credit.formulas import FormulaModel
from pkubench.agents.rl.credit.whole_episodes import EpisodeCredit

if TYPE_CHECKING:
    import torch

    from pkubench.agents.rl.rollout import Rollout


class UniformModel(FormulaModel):
    """``R / (n L)``."""

    def assign(self, episodes: Episodes) -> FloatArray:
        """Return shares (see ``EpisodeModel``)."""
        return _spread(episodes, episodes.returns / episodes.lengths)


@register("uniform")
@dataclass(frozen=True, slots=True, kw_only=True)
class UniformCredit(EpisodeCredit):
    """The return, divided evenly among all steps and agents."""

    is_shared: ClassVar[bool] = True
    alone: ClassVar[str] = "an even division over time alone"

    @property
    def is_causal(self) -> bool:
        """No: the return is known at the end."""
        return False

    def start(self, context: CreditContext, generator: torch.Generator) -> CreditModel:
        """Return the model (see ``Credit.start``)."""
        return UniformModel(self, context)


class IRCRModel(FormulaModel):
    """``(R - R_min) / (R_max - R_min)`` at every step, with the extremes of all episodes so far."""

    def __init__(self, settings: EpisodeCredit, context: CreditContext) -> None:
        """Start without episodes."""
        super().__init__(settings, context)
        self.low, self.high = np.inf, -np.inf

    def update(self, rollout: Rollout) -> None:
        """Update the extremes."""
        returns = returns_of(rollout, spans_of(rollout))
        self.low = min(self.low, float(returns.min()))
        self.high = max(self.high, float(returns.max()))

    def assign(self, episodes: Episodes) -> FloatArray:
        """Return shares (see ``EpisodeModel``); zeros while all returns are equal."""
        width = self.high - self.low
        place = (episodes.returns - self.low) / width if width > 0.0 else 0.0 * episodes.returns
        return _spread(episodes, place)

    def learned(self) -> dict[str, Array]:
        """Return the extremes."""
        return {"extremes": np.array([self.low, self.high])}

    def load_learned(self, learned: Mapping[str, Array]) -> None:
        """Restore them."""
        self.low, self.high = map(float, learned["extremes"])


@register("ircr")
@dataclass(frozen=True, slots=True, kw_only=True)
class IRCRCredit(UniformCredit):
    """The normalised return at every step: it does not sum to the return."""

    def start(self, context: CreditContext, generator: torch.Generator) -> CreditModel:
        """Return the model (see ``Credit.start``)."""
        return IRCRModel(self, context)


def _spread(episodes: Episodes, of_steps: FloatArray) -> FloatArray:
    """Return equal shares of the same team reward (B,) at every step of an episode."""
    number = episodes.actions.shape[1]
    shares = np.where(episodes.valid, of_steps[:, None] / number, 0.0)
    return np.repeat(shares[:, None], number, 1)
