"""Settings of responses that are learnt from plays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pkubench.errors import ConfigError

DEEP = ("dqn", "softmax")
"""Oracles that learn; both by Q-learning, they differ in how the values are played."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepOracleConfig:
    """How ``oracle=dqn`` and ``oracle=softmax`` learn. The others do not look at these."""

    hidden: tuple[int, ...] = (128, 128)
    """Units of the hidden layers (ReLU) of the network of action values."""
    learning_rate: float = 2e-3
    """Adam's."""
    parallel_games: int = 100
    """Plays at once, and between gradient steps."""
    updates: int = 8
    """Gradient steps after so many plays."""
    batch_size: int = 256
    """Decisions a gradient step; there is none before the replay holds as many."""
    replay_size: int = 20_000
    """Decisions kept, the newest."""
    target_updates: int = 5
    """Gradient steps after which the target network becomes a copy of the one that learns."""
    exploration: float = 0.05
    """Probability of a random legal action in training."""
    temperature: float = 0.02
    """``softmax`` plays action values divided by this, in units of the largest payoff. It is also
    the temperature of the policies between which ``diversity=members`` measures distance."""
    masked_targets: bool = True
    """Whether the best next value is among the legal actions; published code asks all actions."""
    warm_start: Literal["fresh", "weights", "weights-and-replay"] = "fresh"
    """What a response begins with: a new network, or the side's last network (with optimiser and
    target), or with its replay too, as published code, whose rewards are of older opponents."""

    def __post_init__(self) -> None:
        """Check the domains."""
        for name in (
            "parallel_games",
            "updates",
            "batch_size",
            "replay_size",
            "target_updates",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigError(f"hidden must be layers of at least 1 unit, got {self.hidden}")
        if self.batch_size > self.replay_size:
            raise ConfigError(
                f"batch_size must be at most replay_size, got {self.batch_size} and "
                f"{self.replay_size}"
            )
        for name in ("learning_rate", "temperature"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0.0 <= self.exploration <= 1.0:
            raise ConfigError(f"exploration must lie in [0, 1], got {self.exploration}")
        starts = ("fresh", "weights", "weights-and-replay")
        if self.warm_start not in starts:
            raise ConfigError(f"warm_start must be one of {starts}, got {self.warm_start!r}")
