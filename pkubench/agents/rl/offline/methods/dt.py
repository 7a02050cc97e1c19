"""Decision Transformer (Chen et al., NeurIPS 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pkubench.agents.components import register
from pkubench.agents.rl.offline.methods.base import Method, Setup
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    from pkubench.agents.rl.offline.learners.base import MethodLearner


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionMethod(Method):
    """What the Decision Transformer and the online one have in common."""

    context: int = 20
    """Steps of a window, K."""
    width: int = 128
    """E, of each token."""
    layers: int = 3
    """Blocks of the transformer."""
    heads: int = 1
    """Attention heads; must divide ``width``."""
    activation: Literal["relu", "gelu"] = "relu"
    """Of the feed-forward layers."""
    dropout: float = 0.1
    """Rate after the embedding, of attention weights and of each layer's output."""
    lr: float = 1e-4
    """Learning rate."""
    weight_decay: float = 1e-4
    """Decoupled from the gradient (AdamW, LAMB)."""
    warmup_steps: int = 10_000
    """Gradient steps over which the rate rises linearly."""
    max_grad_norm: float | None = 0.25
    """Norm that gradients are clipped to; null: they are not."""
    return_scale: float | None = None
    """What returns-to-go are divided by; null: the largest power of ten that the largest return of
    the data reaches, at least 1."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(
            self,
            at_least_one=("context", "width", "layers", "heads"),
            shares=("dropout",),
            positive=("lr", "max_grad_norm", "return_scale"),
            not_negative=("weight_decay", "warmup_steps"),
        )
        if self.width % self.heads:
            raise ConfigError(f"heads must divide width={self.width}, got {self.heads}")


@register("dt")
@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionTransformerMethod(DecisionMethod):
    """Actions from returns-to-go, states and past actions, by supervised learning.

    Squared error of tanh outputs, or cross-entropy where actions are discrete.
    """

    def start(self, setup: Setup) -> MethodLearner:
        """Return the networks and their update."""
        from pkubench.agents.rl.offline.learners.decision import DecisionLearner

        return DecisionLearner(self, setup)
