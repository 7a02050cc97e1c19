"""PPO's clipped surrogate (Schulman et al. 2017); with the factor M, HAPPO's (Kuba et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.rl.update_rules.base import GradientRule, Terms
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


@register("ppo-clip")
@dataclass(frozen=True, slots=True, kw_only=True)
class PPOClip(GradientRule):
    """``-mean[M min(r A, clip(r, 1 - eps, 1 + eps) A)]``; M multiplies outside the minimum."""

    clip: float = 0.2
    """eps: half-width of the clipping interval of the ratio around 1."""

    def __post_init__(self) -> None:
        """Check the domains."""
        GradientRule.__post_init__(self)
        if not 0.0 < self.clip < 1.0:
            raise ConfigError(f"clip must lie in (0, 1), got {self.clip}; the papers use 0.2")

    def loss(self, terms: Terms) -> Tensor:
        """Return the clipped surrogate loss."""
        return ppo_clip(terms.ratio, terms.advantage, terms.factor, self.clip)


def ppo_clip(ratio: Tensor, advantage: Tensor, factor: Tensor, clip: float) -> Tensor:
    """Return the clipped surrogate loss; all arguments but ``clip`` are (B,) (see ``Terms``)."""
    clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
    return -(factor * (ratio * advantage).minimum(clipped * advantage)).mean()
