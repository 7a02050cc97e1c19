"""Settings of the agents that edit a demonstration."""

from __future__ import annotations

from dataclasses import dataclass

from pkubench.agents.families.demo_edit.steps import MAX_REACH_STEPS
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError


@dataclass(frozen=True, kw_only=True)  # without slots, to be one of two bases
class DemonstrationConfig:
    """Where the demonstration comes from."""

    objects: int | None = None
    """Objects to train on, evenly spaced; null: all."""
    shown: int = 0
    """Number of the object that the demonstration lifts."""
    demo_envs: int = 64
    """Episodes of a round of the search for the demonstration."""
    demo_rounds: int = 12
    """Rounds after which the search takes what it has found."""
    demo_share: float = 0.8
    """Share of a round's episodes that hold the object, at which the search ends."""
    reach_steps: int = 70
    """Steps until the hand closes."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, at_least_one=("demo_envs", "demo_rounds"), shares=("demo_share",))
        if self.objects is not None and self.objects < 1:
            raise ConfigError(f"objects must be at least 1, got {self.objects}")
        if self.shown < 0:
            raise ConfigError(f"shown must be at least 0, got {self.shown}")
        if not 20 <= self.reach_steps <= MAX_REACH_STEPS:
            raise ConfigError(
                f"reach_steps must lie in 20..{MAX_REACH_STEPS}, got {self.reach_steps}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionConfig(DemonstrationConfig):
    """Success-filtered regression: edits near the policy's are tried, those that lift imitated."""

    num_envs: int = 96
    """Episodes of a round."""
    memory: int = 40
    """Rounds whose successes are imitated."""
    age: float = 0.93
    """Weight of a success relative to one of the following round."""
    sigma: float = 0.32
    """Standard deviation of tried edits around the policy's in the first round."""
    sigma_decay: float = 0.975
    """Factor of it from a round to the next."""
    sigma_floor: float = 0.14
    """Least standard deviation."""
    focus: float = 1.2
    """Objects are drawn with weights of this less their share of successes."""
    unheld: float = 0.5
    """Weight of successes that do not hold the object to the end, relative to those that do."""
    updates: int = 30
    """Gradient steps of a round."""
    batch_size: int = 256
    """Successes of a gradient step."""
    lr: float = 1e-3
    """Learning rate of Adam."""
    hidden: tuple[int, ...] = (256, 256)
    """Hidden layers, with ReLU."""
    threads: int = 1
    """Threads of torch."""

    def __post_init__(self) -> None:
        """Check the domains."""
        DemonstrationConfig.__post_init__(self)
        check_domains(
            self,
            at_least_one=("num_envs", "memory", "updates", "batch_size", "threads"),
            shares=("age", "sigma_decay", "unheld"),
            positive=("lr", "sigma", "sigma_floor"),
        )
        if self.focus <= 1.0:
            raise ConfigError(f"focus must be greater than 1, got {self.focus}")
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigError(f"hidden must be a list of layer sizes, got {self.hidden}")


@dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig(OnPolicyConfig, DemonstrationConfig):
    """PPO of episodes of one step."""

    def __post_init__(self) -> None:
        """Check the domains."""
        DemonstrationConfig.__post_init__(self)
        OnPolicyConfig.__post_init__(self)
