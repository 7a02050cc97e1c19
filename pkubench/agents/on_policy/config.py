"""The settings of an on-policy learner. A preset is one instance of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

from pkubench.errors import ConfigError

_AT_LEAST_ONE = (
    "num_envs",
    "rollout_steps",
    "epochs",
    "critic_epochs",
    "minibatches",
    "window",
    "threads",
)
_POSITIVE = ("actor_lr", "critic_lr", "max_grad_norm", "reward_scale", "target_kl", "huber_delta")
_NOT_NEGATIVE = (
    "entropy",
    "adam_epsilon",
    "advantage_epsilon",
    "critic_l2",
    "actor_gain",
    "cost_limit",
    "lambda_init",
    "lambda_lr",
    "lambda_upper",
    "checkpoint_steps",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnPolicyConfig:
    """Rollout + GAE + update rule + constraint + scheme. Defaults are HARL's (HAPPO yaml)."""

    scheme: Literal["sequential", "simultaneous"] = "simultaneous"
    """``sequential``: agents in a random order, each weighted by the ratios of those before."""
    shared: bool = False
    """One actor for all agents; needs equal spaces."""
    critic: Literal["state", "local"] = "state"
    """``state``: one critic of the global state; ``local``: each agent's own observation."""
    constraint: Literal["none", "lagrangian"] = "none"

    num_envs: int = 20
    """Lanes stepped together."""
    rollout_steps: int = 200
    """Steps a lane takes between updates."""
    reset_each_rollout: bool = False
    """Start new episodes at every rollout (OmniSafe does)."""
    gamma: float = 0.99
    lam: float = 0.95
    cost_lam: float = 0.95
    truncation: Literal["bootstrap", "official"] = "bootstrap"
    """``official``: HARL's ``use_proper_time_limits``, which gives truncated steps advantage 0."""

    epochs: int = 5
    """Passes of the actor over the data."""
    critic_epochs: int = 5
    minibatches: int = 1
    """Parts the data is cut into in a pass."""
    clip: float = 0.2
    entropy: float = 0.01
    target_kl: float | None = None
    """Stop the passes once the mean KL(old||new) over the batch passes this."""

    actor_lr: float = 5e-4
    critic_lr: float = 5e-4
    lr_decay: bool = False
    """Linear decay of the actor's learning rate to 0 over the run."""
    adam_epsilon: float = 1e-5
    max_grad_norm: float = 10.0

    hidden: tuple[int, ...] = (128, 128)
    activation: Literal["relu", "tanh"] = "relu"
    layer_norm: bool = True
    init: Literal["orthogonal", "kaiming"] = "orthogonal"
    actor_gain: float = 0.01
    std: Literal["sigmoid", "log"] = "sigmoid"
    log_std_init: float = 0.0
    action_map: Literal["clip", "affine"] = "clip"

    value_norm: bool = True
    value_clip: bool = True
    huber_delta: float | None = 10.0
    critic_l2: float = 0.0
    """Weight of the critic's summed squared parameters in its loss."""
    observation_norm: bool = False
    reward_scale: float = 1.0
    """Rewards are multiplied by this inside the learner; reported returns are not."""
    advantage_epsilon: float = 1e-5

    cost_limit: float = 25.0
    lambda_init: float = 0.001
    lambda_lr: float = 0.035
    lambda_upper: float | None = None
    threads: int = 1
    """Threads of torch; results are bit-reproducible at equal threads."""
    window: int = 100
    """Recent episodes behind the reported return and the multiplier's cost."""
    checkpoint_steps: int = 200_000
    """Environment steps between checkpoints."""

    def __post_init__(self) -> None:
        """Check each setting's domain and those that do not go together."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigError(f"{field.name} must be a finite number, got {value}")
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("gamma", "lam", "cost_lam"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and value <= 0.0:
                raise ConfigError(f"{name} must be positive, got {value}")
        for name in _NOT_NEGATIVE:
            value = getattr(self, name)
            if value is not None and value < 0.0:
                raise ConfigError(f"{name} must be at least 0, got {value}")
        if not all(type(units) is int and units > 0 for units in self.hidden):
            raise ConfigError(
                f"hidden must be a list of layer sizes such as [64, 64]: {self.hidden}"
            )
        if not 0.0 < self.clip < 1.0:
            raise ConfigError(f"clip must lie in (0, 1), got {self.clip}; the papers use 0.2")
        if self.minibatches > self.num_envs * self.rollout_steps:
            raise ConfigError(f"{self.minibatches} minibatches of {self.batch_steps} samples")
        if self.scheme == "sequential" and self.shared:
            raise ConfigError("a sequential update needs separate actors: set shared=false")

    @property
    def batch_steps(self) -> int:
        """Environment steps behind one update."""
        return self.num_envs * self.rollout_steps
