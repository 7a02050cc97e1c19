"""The terms of a policy update's loss.

A rule's ``loss`` is a function of ``Terms``, with the symbols of the papers: the ratio r of an
action's probabilities, the advantage A, the factor M of the agents updated before. It is written
with the methods of its tensors, so that reading the settings of a rule imports no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from pkubench.agents.components import Component
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    from torch import Tensor


class CostTerms(NamedTuple):
    """Terms of a constraint's part of a loss, in addition to ``Terms``."""

    excess: float = 0.0
    """Mean episode cost minus the limit, on the scale of ``mean[M r A_C]``: over the mean episode
    length, divided among the agents that are updated simultaneously."""
    multiplier: float = 0.0
    """lambda or nu, where the constraint has one."""
    gamma: float = 0.99
    """Discount per step."""
    cost_lam: float = 0.95
    """GAE's lambda for costs."""
    is_over: bool | None = None
    """Whether ``mean[M r A_C] + excess > 0`` over the whole batch at the start of the pass; None
    where the constraint is not gated by the batch."""


@dataclass(eq=False)
class Terms:
    """A minibatch of B samples of one actor; every array is (B,).

    Finished or dead agents are excluded. The policy's gradient flows through ``log_prob``,
    ``ratio``, ``kl`` and ``entropy``.
    """

    policy: Any
    """The distribution pi of each sample now, with ``log_prob``, ``entropy`` and ``kl``."""
    start: Any
    """The distributions before the first pass over the data; None unless a loss ``uses_kl``."""
    actions: Tensor
    """(B,) int64 or (B, d)."""
    old_log_prob: Tensor
    """log pi_old(a|o) of the policy that collected the data."""
    advantage: Tensor
    """A, the advantage to ascend: standardised, and mixed with that of cost by the constraint."""
    factor: Tensor
    """M >= 0, the product of the ratios of the agents updated before (HARL eq. 29); ones for a
    single agent or a simultaneous update."""
    cost_advantage: Any = None
    """A_C, centred; None without a critic of cost."""
    cost: CostTerms = field(default=CostTerms())

    @cached_property
    def log_prob(self) -> Tensor:
        """Log pi(a|o) now."""
        found: Tensor = self.policy.log_prob(self.actions)
        return found

    @cached_property
    def log_ratio(self) -> Tensor:
        """Log pi(a|o) - log pi_old(a|o)."""
        return self.log_prob - self.old_log_prob

    @cached_property
    def ratio(self) -> Tensor:
        """R = pi(a|o) / pi_old(a|o)."""
        return self.log_ratio.exp()

    @cached_property
    def kl(self) -> Tensor:
        """KL(pi || pi_start) of each state."""
        found: Tensor = self.policy.kl(self.start)
        return found

    @cached_property
    def entropy(self) -> Tensor:
        """Mean entropy in nats, ()."""
        found: Tensor = self.policy.entropy().mean()
        return found


class UpdateRule(Component, ABC, slot="update", package="pkubench.agents.rl.update_rules"):
    """A policy update rule: a loss; a rule derives from the base that says how it is minimised.

    That is ``GradientRule``, or ``TrustRegion`` in ``trust_region.py``.
    """

    uses_kl = False
    """Whether the loss uses ``terms.kl``."""

    @abstractmethod
    def loss(self, terms: Terms) -> Tensor:
        """Return the scalar to minimise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientRule(UpdateRule):
    """Base of the rules with a loss minimised by Adam, in passes over minibatches."""

    entropy: float = 0.01
    """Weight of the entropy bonus, which is subtracted from the loss."""
    epochs: int = 5
    """Passes over the data."""
    target_kl: float | None = None
    """Stop the passes once the mean KL(old||new) over the batch exceeds this."""
    actor_lr: float = 5e-4
    """Adam's learning rate of the actors."""
    lr_decay: bool = False
    """Linear decay of that learning rate to 0 over the run."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(
            self,
            at_least_one=("epochs",),
            positive=("actor_lr", "target_kl"),
            not_negative=("entropy",),
        )


def surrogate(ratio: Tensor, advantage: Tensor, factor: Tensor) -> Tensor:
    """Return the surrogate objective ``mean[M r A]``, to be maximised.

    HAA2C ascends it and HATRPO maximises it inside a KL ball. Its gradient at ``r = 1`` is that of
    the joint objective, given the agents in ``M``; all arguments are (B,) (see ``Terms``).
    """
    return (factor * ratio * advantage).mean()
