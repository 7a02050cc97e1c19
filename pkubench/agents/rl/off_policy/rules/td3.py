"""TD3 (Fujimoto, van Hoof & Meger 2018), and MATD3 and HATD3 by the scheme of the learner.

Its third part, delayed policy updates, is the learner's ``policy_delay``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.rl.off_policy.rules import NoiseKind, OffPolicyRule, with_noise
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    from torch import Tensor

    from pkubench.agents.rl.off_policy.heads import Head


@register("td3")
@dataclass(frozen=True, slots=True, kw_only=True)
class TD3(OffPolicyRule):
    """Twin critics, ``y = r + gamma min(Q1', Q2')(s', mu'(o') + noise)``.

    Actors ascend ``Q1(s, mu(o))``.
    """

    exploration: float = 0.1
    """Box: standard deviation of the exploration noise, in units of half the action's range."""
    target_noise: float = 0.2
    """Box: standard deviation of the target policy smoothing noise, in the same unit."""
    noise_clip: float = 0.5
    """Box: clipping bound of the smoothing noise."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, not_negative=("exploration", "target_noise", "noise_clip"))

    def explore(self, head: Head, outputs: Tensor, noise: Tensor) -> Tensor:
        """Return ``mu(o)`` with noise; Discrete: a sample."""
        return with_noise(head, outputs, noise, self.exploration)

    def next_action_noise(self, head: Head) -> NoiseKind | None:
        """Return the kind of the smoothing noise."""
        return head.sampling_noise

    def next_action(
        self, head: Head, outputs: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return ``mu'(o') + clip(noise)`` within the bounds; Discrete: a sample."""
        assert noise is not None
        if head.is_discrete:
            return head.act(outputs, noise), None
        smoothing = self.smoothing(noise, head.bounds.half)
        return head.clipped(head.mode(outputs) + smoothing), None

    def smoothing(self, noise: Tensor, half: Tensor) -> Tensor:
        """Return ``clip(std * noise, -clip, clip) * half``, (..., d)."""
        return (noise * self.target_noise).clamp_(-self.noise_clip, self.noise_clip).mul_(half)

    def next_value(self, q: Tensor, log_prob: Tensor | None, alpha: Tensor | None) -> Tensor:
        """Return ``min(Q1', Q2')``."""
        return q[0].minimum(q[1])

    def actor_loss(self, q: Tensor, log_prob: Tensor | None, alpha: Tensor | None) -> Tensor:
        """Return ``-mean_B Q1(s, mu(o))``."""
        return -q[0].mean(-1)
