"""Trajectory Transformer (Janner, Li and Levine, NeurIPS 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.rl.offline.methods.base import Method, Setup
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    from pkubench.agents.rl.offline.learners.base import MethodLearner


@register("tt")
@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryMethod(Method):
    """A model of discretised trajectories, and a beam search in it for every action."""

    bins: int = 100
    """Of each dimension."""
    window: int = 10
    """Transitions that the model looks at."""
    width: int = 128
    """Of each token."""
    layers: int = 4
    """Blocks of the transformer."""
    heads: int = 4
    """Attention heads; must divide ``width``."""
    dropout: float = 0.1
    """Rate after the embedding, of attention weights and of each layer's output."""
    lr: float = 6e-4
    """Highest learning rate of AdamW."""
    weight_decay: float = 0.1
    """Of the weights of linear layers, the heads among them."""
    warmup_share: float = 0.02
    """Share of the training over which the rate rises: one of fifty epochs."""
    decay_share: float = 0.4
    """Share of the training after which half a cosine ends, at a tenth of the rate; the cosine does
    not stop there, as in the published code, so that the rate rises again."""
    action_weight: float = 5.0
    """Weight of an action's tokens in the loss; that of all others is 1."""
    gamma: float = 0.99
    """Discount of returns, and of plans."""
    termination_reward: float | None = None
    """Replaces the reward of a step that ends in a terminal state. The published code has -100 for
    the robots."""
    context: int = 5
    """Past transitions that a plan begins with; less than ``window``."""
    beam: int = 128
    """Plans kept after each step."""
    horizon: int = 15
    """Steps of a plan."""
    expand: int = 2
    """Continuations drawn of each plan."""
    cdf: float = 0.6
    """The least likely bins of an action are not drawn, up to this probability in all."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(
            self,
            at_least_one=(
                *("bins", "window", "width", "layers", "heads"),
                *("beam", "horizon", "expand"),
            ),
            shares=("dropout", "gamma", "warmup_share", "decay_share", "cdf"),
            positive=("lr", "action_weight", "decay_share"),
            not_negative=("weight_decay", "context"),
        )
        if self.width % self.heads:
            raise ConfigError(f"heads must divide width={self.width}, got {self.heads}")
        if self.bins < 2 or self.cdf >= 1.0:
            raise ConfigError("bins must be at least 2, and cdf below 1")
        if self.context >= self.window:
            raise ConfigError(f"context must be less than window={self.window}: {self.context}")

    def start(self, setup: Setup) -> MethodLearner:
        """Return the network and its update."""
        from pkubench.agents.rl.offline.learners.trajectory import TrajectoryLearner

        return TrajectoryLearner(self, setup)
