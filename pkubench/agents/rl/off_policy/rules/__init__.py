"""What tells DDPG, TD3 and SAC apart: one module a rule, with its formulas and its own settings.

Formulas are losses on tensors, which autograd differentiates: of S training seeds side by side, K
critics and B transitions. Whoever adds a rule writes one such module, here or in a package of their
own; it trains by autograd at once. Gradients written by hand (``fast.py``) are used for the losses
they belong to and for no others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pkubench.agents.components import Component

if TYPE_CHECKING:
    from gymnasium import spaces
    from torch import Tensor

    from pkubench.agents.rl.off_policy.heads import Head

NoiseKind = Literal["normal", "exponential"]
"""Standard numbers that a sample is made of: of a Gaussian, or of a categorical distribution."""


class OffPolicyRule(Component, ABC, slot="rule", package="pkubench.agents.rl.off_policy.rules"):
    """How critics are regressed, what actors climb and how they explore."""

    critics: ClassVar[int] = 2
    """Critics of reward side by side."""
    is_stochastic: ClassVar[bool] = False
    """Whether actions are sampled with log-probabilities: Box policies are squashed Gaussians then,
    else deterministic. Discrete actions are sampled in either case."""

    # Acting

    @abstractmethod
    def explore(self, head: Head, outputs: Tensor, noise: Tensor) -> Tensor:
        """Return what to do in the environment, (R, B, d), from the actors' outputs.

        ``noise`` (R, B, d) is of the kind ``head.sampling_noise``.
        """

    # Critics

    @property
    def has_slow_actors(self) -> bool:
        """Whether actions at the next state are those of slow copies of the actors."""
        return True

    @abstractmethod
    def next_action_noise(self, head: Head) -> NoiseKind | None:
        """Return what numbers ``next_action`` takes."""

    @abstractmethod
    def next_action(
        self, head: Head, outputs: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return actions (R, B, d) at the next state, and log-probabilities (R, B) if needed."""

    @abstractmethod
    def next_value(self, q: Tensor, log_prob: Tensor | None, alpha: Tensor | None) -> Tensor:
        """Return the value V' of the next state, (S, B).

        Args:
            q: (K, S, B), the K target critics at the next joint action.
            log_prob: (S, B), that of the next actions, summed over agents.
            alpha: (S, 1), the critic's temperature.
        """

    def target(self, rewards: Tensor, discounts: Tensor, next_value: Tensor) -> Tensor:
        """Return ``y = r_n + gamma^k (1 - terminated) V'``; ``discounts`` is the factor of V'."""
        return rewards.addcmul(discounts, next_value)

    def critic_loss(self, q: Tensor, targets: Tensor) -> Tensor:
        """Return ``mean_B (Q - y)^2`` of each critic, (K, S)."""
        return (q - targets).square().mean(-1)

    # Actors

    @abstractmethod
    def actor_loss(self, q: Tensor, log_prob: Tensor | None, alpha: Tensor | None) -> Tensor:
        """Return what an agent descends, (S,).

        Args:
            q: (K, S, B), the critics at the joint action with the agent's own in its place.
            log_prob: (S, B), of the agent's action.
            alpha: (S, 1), the agent's temperature.
        """

    # Temperature, of rules that have one

    @property
    def initial_alpha(self) -> float | None:
        """The temperature, or where it starts; None for rules without one."""
        return None

    @property
    def temperature_lr(self) -> float | None:
        """Adam's learning rate of the log-temperatures; None: they stay as they are."""
        return None

    def entropy_goal(self, space: spaces.Space[Any], log_scale: float) -> float:
        """Return the entropy that an agent's temperature aims at, in nats.

        ``log_scale`` is by how much an action's log-density falls by being stretched from [-1, 1].
        """
        return 0.0

    def temperature_loss(
        self, log_alpha: Tensor, log_prob: Tensor, target_entropy: Tensor
    ) -> Tensor:
        """Return ``-log_alpha mean_B(log pi + H_target)``.

        Args:
            log_alpha: (...,).
            log_prob: (..., B), a constant.
            target_entropy: broadcast against (...,).
        """
        return -log_alpha * (log_prob.mean(-1) + target_entropy)


def with_noise(head: Head, outputs: Tensor, noise: Tensor, std: float) -> Tensor:
    """Return deterministic actions with Gaussian noise; Discrete: samples of the policy.

    ``std`` is in units of half an action's interval, which noise does not leave.
    """
    if head.is_discrete:
        return head.act(outputs, noise)
    return head.clipped(head.mode(outputs) + std * head.bounds.half * noise)
