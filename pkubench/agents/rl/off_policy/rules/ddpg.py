"""DDPG (Lillicrap et al. 2016), and MADDPG and HADDPG by the scheme of the learner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pkubench.agents.components import register
from pkubench.agents.rl.off_policy.rules import NoiseKind, OffPolicyRule, with_noise
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    from torch import Tensor

    from pkubench.agents.rl.off_policy.heads import Head


@register("ddpg")
@dataclass(frozen=True, slots=True, kw_only=True)
class DDPG(OffPolicyRule):
    """One critic; ``y = r + gamma Q'(s', mu'(o'))``, and actors ascend ``Q(s, mu(o))``."""

    critics: ClassVar[int] = 1

    exploration: float = 0.1
    """Box: standard deviation of the exploration noise, in units of half the action's range."""
    variant: Literal["published", "omnisafe"] = "published"
    """The action at the next state: that of the target actor (``published``), or of the actor
    itself (``omnisafe``)."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, not_negative=("exploration",))

    def explore(self, head: Head, outputs: Tensor, noise: Tensor) -> Tensor:
        """Return ``mu(o)`` with noise; Discrete: a sample."""
        return with_noise(head, outputs, noise, self.exploration)

    @property
    def has_target_actors(self) -> bool:
        """Whether ``mu'`` is a target actor."""
        return self.variant == "published"

    def next_action_noise(self, head: Head) -> NoiseKind | None:
        """Return None: the next action is the mode."""
        return None

    def next_action(
        self, head: Head, outputs: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return ``mu'(o')``."""
        return head.mode(outputs), None

    def next_value(self, q: Tensor, log_prob: Tensor | None, alpha: Tensor | None) -> Tensor:
        """Return ``Q'``."""
        return q[0]

    def actor_loss(self, q: Tensor, log_prob: Tensor | None, alpha: Tensor | None) -> Tensor:
        """Return ``-mean_B Q(s, mu(o))``."""
        return -q[0].mean(-1)
