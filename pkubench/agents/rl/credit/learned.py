"""Settings of all credit models with a network: the replay, and how the network is fitted to it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from pkubench.agents.rl.credit.base import CreditContext, CreditModel
from pkubench.agents.rl.credit.episodes import Episodes, FloatArray, Layout
from pkubench.agents.rl.credit.whole_episodes import EpisodeCredit
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from pkubench.agents.rl.credit.models.base import CreditNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayCredit(EpisodeCredit):
    """Credit that learns from replayed episodes. Every method has the same replay."""

    buffer: int = 20_000
    """Episodes in the replay."""
    success_share: float = 0.1
    """Share of every batch drawn from the episodes whose return is nearer to the replay's best than
    to its worst; 0 draws uniformly, as the papers do."""
    fit_every: int = 51
    """Episodes between two fits; an update with more episodes has several."""
    fit_steps: int = 3
    """Steps of Adam in a fit."""
    fit_episodes: int = 64
    """Episodes in the batch of a step, drawn with replacement."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(
            self,
            at_least_one=("buffer", "fit_every", "fit_steps", "fit_episodes"),
            shares=("success_share",),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedCredit(ReplayCredit):
    """A network whose shares of an episode sum, nearly, to its return."""

    warmup_episodes: int = 2_040
    """Episodes that the first policy collects before policies are trained."""
    credit_lr: float = 1e-3
    """Adam's learning rate."""
    credit_decay: float = 1e-5
    """Weight decay: this times the weights is added to the gradient."""
    credit_grad_norm: float | None = None
    """Maximum gradient norm; null does not clip."""
    return_scale: float = 0.1
    """The network is fitted to returns times this."""
    normaliser: Literal["none", "remainder"] = "none"
    """``remainder`` adds (R - sum) / (n L) to every share, so that an episode's sum is exact."""

    def __post_init__(self) -> None:
        """Check the domains."""
        ReplayCredit.__post_init__(self)
        check_domains(
            self,
            positive=("credit_lr", "return_scale", "credit_grad_norm"),
            not_negative=("warmup_episodes", "credit_decay"),
        )

    @property
    def is_causal(self) -> bool:
        """Whether the network is, and nothing of the return is added to its shares."""
        return self.has_causal_network and self.normaliser == "none"

    @property
    def has_causal_network(self) -> bool:
        """Whether a share depends on the episode up to the step's outcome alone."""
        return True

    @abstractmethod
    def network(self, layout: Layout, generator: torch.Generator) -> CreditNetwork:
        """Return the network with initial weights from ``generator`` alone."""

    def shares_of(self, scores: FloatArray, episodes: Episodes) -> FloatArray:
        """Return the shares (B, n, L) that the network's scores, of scaled returns, stand for."""
        return scores / self.return_scale

    def start(self, context: CreditContext, generator: torch.Generator) -> CreditModel:
        """Return the model with initial weights (see ``Credit.start``)."""
        from pkubench.agents.rl.credit.models.base import LearnedModel

        layout = Layout.of(context)
        return LearnedModel(self, context, layout, self.network(layout, generator), generator)


def check_width(width: int, heads: int) -> None:
    """Check that attention heads have equal widths.

    Raises:
        ConfigError: they do not.
    """
    if width % heads:
        raise ConfigError(f"heads must divide width={width}, got {heads}")


def check_finite(scores: FloatArray) -> FloatArray:
    """Return scores that are finite numbers.

    Raises:
        ConfigError: the network has diverged.
    """
    if not np.isfinite(scores).all():
        raise ConfigError("the credit model has diverged: lower credit_lr or return_scale")
    return scores
