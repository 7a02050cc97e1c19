"""A step in a trust region: TRPO (Schulman et al. 2015), natural gradient, HATRPO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pkubench.agents.components import register
from pkubench.agents.rl.update_rules.base import Terms, UpdateRule, surrogate
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

DiscreteKL = Literal["true", "official"]
"""``official``: HARL's discrete "KL" without the weights of the old probabilities."""


@register("trust-region")
@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRegion(UpdateRule):
    """One step on ``-mean[M r A]`` inside a ball of mean KL(old||new).

    ``rl/trust_region.py`` computes it, without entropy bonus, minibatches or learning rate. The
    defaults are HARL's.
    """

    kl_limit: float = 0.01
    """delta: radius of the ball, in mean KL(old||new)."""
    cg_iterations: int = 10
    """Maximum number of conjugate-gradient steps."""
    cg_damping: float = 0.1
    """Added to the diagonal of the Fisher matrix."""
    fisher_every: int = 1
    """The Fisher matrix uses every k-th sample; 1 is all."""
    search_steps: int = 10
    """Step lengths that the line search tries; 0 takes the full step (natural gradient)."""
    search_decay: float = 0.8
    """Ratio of each length to the one before."""
    accept_ratio: float = 0.5
    """Minimum ratio of actual to linearly expected improvement."""
    discrete_kl: DiscreteKL = "true"
    """Discrete actions: ``official`` is HARL's sum without the old probabilities."""
    kl_mean_over_dimensions: bool = False
    """Box actions: average the KL over an action's numbers, as OmniSafe does, in the Fisher matrix
    and in the line search. With a sum, the same ball has a radius and damping larger by their
    number."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(
            self,
            at_least_one=("cg_iterations", "fisher_every"),
            shares=("accept_ratio",),
            positive=("kl_limit",),
            not_negative=("cg_damping", "search_steps"),
        )
        if not 0.0 < self.search_decay < 1.0:
            raise ConfigError(f"search_decay must lie in (0, 1), got {self.search_decay}")

    def loss(self, terms: Terms) -> Tensor:
        """Return minus the surrogate."""
        return -surrogate(terms.ratio, terms.advantage, terms.factor)

    def unused(self, config: Any) -> Mapping[str, str]:
        """Return the settings of the line search without effect."""
        if self.search_steps == 0:
            return dict.fromkeys(("search_decay", "accept_ratio"), "search_steps of 1 or more")
        if getattr(config.constraint, "modifies_step", False):
            return {"accept_ratio": "a constraint that does not modify the step itself"}
        return {}
