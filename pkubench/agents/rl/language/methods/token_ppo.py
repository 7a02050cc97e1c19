"""PPO on token sequences, alone and with three ways of counting costs.

Constants are those of the official script of Safe RLHF (PKU-Alignment/safe-rlhf at e8cca16) but
for what is said here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.rl.language.methods.base import LanguageMethod
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    from pkubench.agents.rl.language.learners.base import MethodLearner, Setup


@register("ppo")
@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPPO(LanguageMethod):
    """PPO on rewards with a penalty on the divergence from the reference; costs are ignored.

    Its optimum is pi_ref exp(R / beta) / Z.
    """

    beta: float = 0.1
    """``kl_coeff``; 0.01 in the official script, whose scores are of another scale."""
    epochs: int = 2
    """Steps on each batch."""
    clip: float = 0.2
    """Half-width of the clipping interval of the ratio."""
    value_clip: float = 5.0
    """The same of values."""
    score_clip: float = 50.0
    """Rewards and costs of tokens are clamped to this range."""
    gamma: float = 1.0
    """Discount."""
    gae_lambda: float = 0.95
    """Mixing weight of advantage estimates."""
    critic_lr: float = 1e-3
    """Learning rate of critics."""
    imitation: float = 0.0
    """``ptx_coeff``: weight of the loss of imitation in each step of the actor; 0: none."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(
            self,
            at_least_one=("epochs",),
            shares=("gamma", "gae_lambda"),
            positive=("clip", "value_clip", "score_clip", "critic_lr"),
            not_negative=("beta", "imitation"),
        )
        if not self.clip < 1.0:
            raise ConfigError(f"clip must lie in (0, 1), got {self.clip}; the papers use 0.2")

    def start(self, setup: Setup) -> MethodLearner:
        """Return the networks and their update."""
        from pkubench.agents.rl.language.learners.token_ppo import TokenPPOLearner

        return TokenPPOLearner(self, setup)


@register("ppo-shaping")
@dataclass(frozen=True, slots=True, kw_only=True)
class ShapedPPO(TokenPPO):
    """PPO on R - kappa C: the weight is chosen, and nothing holds a limit."""

    kappa: float = 0.5
    """Weight of costs."""

    def __post_init__(self) -> None:
        """Check the domains."""
        TokenPPO.__post_init__(self)
        check_domains(self, not_negative=("kappa",))


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiplierPPO(TokenPPO):
    """What methods with a multiplier have in common."""

    multiplier_init: float = 1.0
    """lambda at the start."""
    multiplier_lr: float = 0.1
    """Rate of its logarithm."""
    multiplier_max: float = 5.0
    """Largest lambda."""
    multiplier_delay: int = 0
    """Iterations before its first update."""
    window: int = 512
    """Episodes that the mean cost is taken of; 128 in the official script."""

    def __post_init__(self) -> None:
        """Check the domains."""
        TokenPPO.__post_init__(self)
        check_domains(
            self,
            at_least_one=("window",),
            positive=("multiplier_init", "multiplier_max"),
            not_negative=("multiplier_lr", "multiplier_delay"),
        )
        if self.multiplier_init > self.multiplier_max:
            raise ConfigError("multiplier_init must not be above multiplier_max")


@register("ppo-lag")
@dataclass(frozen=True, slots=True, kw_only=True)
class LagrangianPPO(MultiplierPPO):
    """Safe RLHF: two streams, advantages (A_r - lambda A_c) / (1 + lambda), log lambda by ascent.

    Its fixed point is pi_ref exp((R - lambda C) / (beta (1 + lambda))) / Z with E[C] = d.
    """


@register("repo")
@dataclass(frozen=True, slots=True, kw_only=True)
class RectifiedPPO(MultiplierPPO):
    """Rectified policy optimisation (arXiv 2410.19933): no response may cost, not their average.

    Safe responses have the advantage of rewards alone, unsafe ones that of PPO-Lag on max(C, 0).
    lambda rises with the mean of max(C, 0) and never falls, so ``multiplier_max`` bounds it. For a
    large lambda the optimum is pi_ref exp(R / beta) / Z among the responses with C <= d.
    """
