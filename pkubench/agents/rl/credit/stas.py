"""STAS and STAS-ML (Chen et al., AAAI 2024): credit over time, then over coalitions of agents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pkubench.agents.components import register
from pkubench.agents.rl.credit.learned import LearnedCredit, check_width
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    import torch

    from pkubench.agents.rl.credit.episodes import Layout
    from pkubench.agents.rl.credit.models.base import CreditNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class CoalitionCredit(LearnedCredit):
    """Settings of networks that attend over time and over coalitions of agents."""

    mode: Literal["corrected", "repo"] = "corrected"
    """``corrected``: evaluation repeats exactly, with every coalition of up to six agents, or 64
    from a fixed seed; an episode's credit is independent of the other episodes. ``repo`` is the
    published code: random coalitions and a random permutation of the agents' embeddings in
    evaluation as well, and time masks of other episodes where lengths are unequal."""
    sampler: Literal["permutation", "bernoulli", "stratified"] = "permutation"
    """Coalitions: ``permutation`` averages to Shapley values; ``bernoulli``, STAS's code, to
    Banzhaf values, which differ for three agents and more; ``stratified`` is TAR2's code."""
    coalitions: int = 4
    """Random coalitions in a training step; all are used where there are no more."""
    width: int = 32
    """Width of tokens and layers."""
    heads: int = 2
    """Attention heads; must divide ``width``."""
    layers: int = 1
    """Layers of attention over time."""
    dropout: float = 0.0
    """Dropout rate in training; the published code has 0.5 everywhere."""

    def __post_init__(self) -> None:
        """Check the domains."""
        LearnedCredit.__post_init__(self)
        check_domains(
            self, at_least_one=("coalitions", "width", "heads", "layers"), shares=("dropout",)
        )
        check_width(self.width, self.heads)

    @property
    def has_causal_network(self) -> bool:
        """Whether time masks are of the episode itself."""
        return self.mode == "corrected"


@register("stas")
@dataclass(frozen=True, slots=True, kw_only=True)
class STASCredit(CoalitionCredit):
    """Shares of a causal transformer with a layer over coalitions, fitted to returns.

    The network outputs an agent's marginal contribution to the coalition that its query sees; no
    value of a coalition is ever learned, so shares are Shapley values in name only: the sampler
    decides the average.
    """

    variance: float = 0.0
    """Weight of the variance over steps in the loss (the code's ``alpha``, off by default)."""

    def __post_init__(self) -> None:
        """Check the domains."""
        CoalitionCredit.__post_init__(self)
        check_domains(self, not_negative=("variance",))

    def network(self, layout: Layout, generator: torch.Generator) -> CreditNetwork:
        """Return the network with initial weights (see ``LearnedCredit``)."""
        from pkubench.agents.rl.credit.models.stas import STASNetwork

        return STASNetwork(self, layout, generator)


@register("stas-ml")
@dataclass(frozen=True, slots=True, kw_only=True)
class STASMLCredit(STASCredit):
    """STAS with a layer over coalitions after every layer over time; its head sees them all."""

    layers: int = 2
    """Layers of attention over time, each with one over coalitions; 3 in the paper's code."""

    def network(self, layout: Layout, generator: torch.Generator) -> CreditNetwork:
        """Return the network with initial weights (see ``LearnedCredit``)."""
        from pkubench.agents.rl.credit.models.stas import STASMLNetwork

        return STASMLNetwork(self, layout, generator)
