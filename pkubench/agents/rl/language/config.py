"""Settings of a training in a language: what all methods share, and the method."""

from __future__ import annotations

from dataclasses import dataclass

from pkubench.agents.components import check_needs
from pkubench.agents.rl.language.methods.base import LanguageMethod
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageConfig:
    """Settings of a training in a language."""

    method: LanguageMethod
    """What is learned, with its own settings."""
    iterations: int = 300
    """Updates of a whole training, unless a budget is given: one batch each."""
    batch_size: int = 256
    """Responses of an update, or pairs of them."""
    lr: float = 1e-3
    """Learning rate of the model; it falls to 0 along half a cosine."""
    weight_decay: float = 0.0
    """Decoupled from the gradient (AdamW)."""
    warmup: float = 0.03
    """Share of the training in which the learning rate rises linearly."""
    max_grad_norm: float | None = 1.0
    """Norm that gradients are clipped to; null: they are not."""
    width: int = 64
    """Of the transformer, where the model does not start from another one."""
    layers: int = 2
    """The same."""
    heads: int = 4
    """The same; must divide ``width``."""
    held_out: tuple[int, ...] = ()
    """Numbers of prompts that are not trained on, so that figures on them say what generalizes."""
    threads: int = 1
    """Of torch."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(
            self,
            at_least_one=("iterations", "batch_size", "width", "layers", "heads", "threads"),
            shares=("warmup",),
            positive=("lr", "max_grad_norm"),
            not_negative=("weight_decay",),
        )
        if any(number < 0 for number in self.held_out):
            raise ConfigError(f"held_out has numbers of prompts, from 0 on, got {self.held_out}")
        if self.width % self.heads:
            raise ConfigError(f"heads must divide width={self.width}, got {self.heads}")
        check_needs(self)
