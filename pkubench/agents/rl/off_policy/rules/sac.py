"""SAC (Haarnoja et al. 2018); HASAC (Liu et al. 2024) and MASAC by the scheme of the learner."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from gymnasium import spaces

from pkubench.agents.components import register
from pkubench.agents.rl.off_policy.rules import NoiseKind, OffPolicyRule
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    from torch import Tensor

    from pkubench.agents.rl.off_policy.heads import Head


@register("sac")
@dataclass(frozen=True, slots=True, kw_only=True)
class SAC(OffPolicyRule):
    """Twin critics with entropy: ``y = r + gamma [min(Q1', Q2') - alpha sum_i log pi^i](s', a')``.

    Every actor ascends ``min(Q1, Q2) - alpha_i log pi^i`` at its own sampled action.
    """

    is_stochastic: ClassVar[bool] = True

    alpha: float = 1.0
    """Temperature, or its initial value."""
    alpha_auto: bool = True
    """Tune one temperature per agent, and one for the critic, to their target entropies."""
    alpha_lr: float = 3e-4
    """Adam's learning rate of the log-temperatures."""
    target_entropy: Literal["corrected", "official"] = "corrected"
    """Discrete: 0.98 log n; ``official`` is HARL's 0, which decreases alpha at every step. Box is
    -1 per dimension in either case, for actions in [-1, 1] before they are stretched."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, positive=("alpha", "alpha_lr"))

    def unused(self, config: Any) -> Mapping[str, str]:
        """Return settings without effect where the temperature is constant."""
        if self.alpha_auto:
            return {}
        return dict.fromkeys(("alpha_lr", "target_entropy"), "alpha_auto=true")

    def explore(self, head: Head, outputs: Tensor, noise: Tensor) -> Tensor:
        """Return a sample of the policy."""
        return head.act(outputs, noise)

    @property
    def has_target_actors(self) -> bool:
        """Whether next actions are those of target actors: no, of the actors themselves."""
        return False

    def next_action_noise(self, head: Head) -> NoiseKind | None:
        """Return the kind of noise of a sample."""
        return head.sampling_noise

    def next_action(
        self, head: Head, outputs: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return samples ``a' ~ pi(o')`` and their log-probabilities."""
        drawn = head.sample(outputs, noise)
        return drawn.action, drawn.log_prob

    def next_value(self, q: Tensor, log_prob: Tensor | None, alpha: Tensor | None) -> Tensor:
        """Return ``min(Q1', Q2') - alpha sum_i log pi^i``."""
        assert log_prob is not None and alpha is not None
        return q[0].minimum(q[1]) - alpha * log_prob

    def actor_loss(self, q: Tensor, log_prob: Tensor | None, alpha: Tensor | None) -> Tensor:
        """Return ``mean_B [alpha log pi - min(Q1, Q2)]``."""
        assert log_prob is not None and alpha is not None
        return (alpha * log_prob - q[0].minimum(q[1])).mean(-1)

    @property
    def initial_alpha(self) -> float | None:
        """The temperature, or its initial value."""
        return self.alpha

    @property
    def temperature_lr(self) -> float | None:
        """Adam's learning rate of the log-temperatures."""
        return self.alpha_lr if self.alpha_auto else None

    def entropy_goal(self, space: spaces.Space[Any], log_scale: float) -> float:
        """Return an agent's target entropy in nats.

        Box: ``-dim`` for an action in [-1, 1], as in the papers; ``log_scale`` converts it to the
        action's own units, in which its log-density is. Discrete: ``0.98 log n`` (Christodoulou
        2019); the official HASAC takes ``-prod(shape)`` of a scalar's empty shape, which is 0 here;
        as there it decreases the temperature at every step.
        """
        if isinstance(space, spaces.Discrete):
            return 0.0 if self.target_entropy == "official" else 0.98 * math.log(int(space.n))
        return log_scale - float(math.prod(space.shape or ()))
