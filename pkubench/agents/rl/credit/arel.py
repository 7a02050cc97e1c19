"""AREL (Xiao, Ramasubramanian & Poovendran, AAMAS 2022): attention over time and agents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pkubench.agents.components import register
from pkubench.agents.rl.credit.learned import LearnedCredit
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    import torch

    from pkubench.agents.rl.credit.episodes import Layout
    from pkubench.agents.rl.credit.models.base import CreditNetwork


@register("arel")
@dataclass(frozen=True, slots=True, kw_only=True)
class ARELCredit(LearnedCredit):
    """The same reward for all agents, from the observations that follow each step."""

    is_shared: ClassVar[bool] = True

    layers: int = 1
    """Pairs of blocks: attention over time, then over agents; 3 in the paper's code."""
    heads: int = 2
    """Attention heads, each of full width; 3 in the paper's code."""
    widest: int = 100
    """Observations with more numbers are compressed to so many."""
    variance_weight: float = 20.0
    """Weight of the variance over an episode's L steps in the loss.

    The variance is divided by L; the released code's is by L - 1, which is 4 % more at 25 steps.
    """

    def __post_init__(self) -> None:
        """Check the domains."""
        LearnedCredit.__post_init__(self)
        check_domains(
            self, at_least_one=("layers", "heads", "widest"), not_negative=("variance_weight",)
        )

    def network(self, layout: Layout, generator: torch.Generator) -> CreditNetwork:
        """Return the network with initial weights (see ``LearnedCredit``)."""
        from pkubench.agents.rl.credit.models.arel import ARELNetwork

        return ARELNetwork(self, layout, generator)
