"""TAR2 (Kapoor et al. 2025): temporal-agent reward redistribution with normalised weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pkubench.agents.components import register
from pkubench.agents.rl.credit.normalise import (
    minimum_shift_shares,
    signed_softmax_shares,
    softmax_shares,
)
from pkubench.agents.rl.credit.stas import CoalitionCredit
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    import torch

    from pkubench.agents.rl.credit.episodes import Episodes, FloatArray, Layout
    from pkubench.agents.rl.credit.models.base import CreditNetwork

_SHARES = {
    "signed-softmax": signed_softmax_shares,
    "softmax": softmax_shares,
    "published": minimum_shift_shares,
}


@register("tar2")
@dataclass(frozen=True, slots=True, kw_only=True)
class TAR2Credit(CoalitionCredit):
    """``w_t w_{i|t} R``: the return times a weight of the step and one of the agent in it.

    The paper concludes from the theory of potential-based shaping that optimal policies are
    preserved. Shaping needs potentials of the history alone; these weights depend on the outcome,
    and each agent gets a part of R, not R. In two steps, of which the last action decides, a return
    of 1 with weights (.9, .1) leaves .1 to the last action, and one of .5 with (.1, .9) leaves .45:
    the worse action is preferred (``tests/agents/test_credit_defects.py``).
    """

    sampler: Literal["permutation", "bernoulli", "stratified"] = "stratified"
    """Coalitions: TAR2's code draws one of a uniform size for all agents (``stratified``), STAS's
    flips coins (``bernoulli``); ``permutation`` averages to Shapley values."""
    weights: Literal["signed-softmax", "softmax", "published", "none"] = "signed-softmax"
    """``published``: scores minus their minimum, which give the lowest agent nothing and lose the
    return where scores are equal. ``softmax`` over steps, then agents (in the code too, commented
    out): shares sum to the return. Of a negative return both give the best step and agent the
    largest part of the loss; with ``signed-softmax``, of scores times the return's sign, a higher
    score always is a higher share. ``none``: the scores themselves."""
    reads_outcome: bool = True
    """Scores also depend on the layers' outputs at each agent's last step."""
    inverse_dynamics: float = 0.05
    """Weight of predicting the actions in the loss; 0 leaves it out."""

    def __post_init__(self) -> None:
        """Check the domains."""
        CoalitionCredit.__post_init__(self)
        check_domains(self, not_negative=("inverse_dynamics",))

    @property
    def has_causal_network(self) -> bool:
        """Only without normalised weights and without the outcome."""
        is_causal = self.weights == "none" and not self.reads_outcome
        return is_causal and self.mode == "corrected"

    def network(self, layout: Layout, generator: torch.Generator) -> CreditNetwork:
        """Return the network with initial weights (see ``LearnedCredit``)."""
        from pkubench.agents.rl.credit.models.tar2 import TAR2Network

        return TAR2Network(self, layout, generator)

    def shares_of(self, scores: FloatArray, episodes: Episodes) -> FloatArray:
        """Return weights times the return (see ``LearnedCredit``)."""
        if self.weights == "none":
            return scores / self.return_scale
        return _SHARES[self.weights](scores, episodes.returns, episodes.valid)
