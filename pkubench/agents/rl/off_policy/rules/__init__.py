"""The rules DDPG, TD3 and SAC: one module each, with its formulas and its own settings.

Formulas are losses on tensors, differentiated by autograd, of S training seeds, K critics and B
transitions. A new rule is one such module, here or in another package; autograd trains it without
further code. Hand-written gradients (``fast.py``) are used only for the losses they belong to.
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
"""Kinds of standard random numbers: for Gaussian or for categorical samples."""


class OffPolicyRule(Component, ABC, slot="rule", package="pkubench.agents.rl.off_policy.rules"):
    """Critic targets, actor objective and exploration."""

    critics: ClassVar[int] = 2
    """Number of reward critics."""
    is_stochastic: ClassVar[bool] = False
    """Whether actions are sampled with log-probabilities: then Box policies are squashed Gaussians,
    else deterministic. Discrete actions are always sampled."""

    # Acting

    @abstractmethod
    def explore(self, head: Head, outputs: Tensor, noise: Tensor) -> Tensor:
        """Return exploratory actions (R, B, d) from the actors' outputs.

        ``noise`` (R, B, d) is of the kind ``head.sampling_noise``.
        """

    # Critics

    @property
    def has_target_actors(self) -> bool:
        """Whether actions at the next state are those of target actors."""
        return True

    @abstractmethod
    def next_action_noise(self, head: Head) -> NoiseKind | None:
        """Return the kind of random numbers that ``next_action`` takes."""

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
        """Return an agent's loss, (S,).

        Args:
            q: (K, S, B), the critics at the joint action with the agent's own inserted.
            log_prob: (S, B), of the agent's action.
            alpha: (S, 1), the agent's temperature.
        """

    # Temperature, for rules that have one

    @property
    def initial_alpha(self) -> float | None:
        """The temperature's (initial) value; None for rules without one."""
        return None

    @property
    def temperature_lr(self) -> float | None:
        """Adam's learning rate of the log-temperatures; None: they are constant."""
        return None

    def entropy_goal(self, space: spaces.Space[Any], log_scale: float) -> float:
        """Return an agent's target entropy in nats.

        ``log_scale`` is the decrease of an action's log-density by stretching from [-1, 1].
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

    ``std`` is in units of half an action's interval; noisy actions are clipped to it.
    """
    if head.is_discrete:
        return head.act(outputs, noise)
    return head.clipped(head.mode(outputs) + std * head.bounds.half * noise)
