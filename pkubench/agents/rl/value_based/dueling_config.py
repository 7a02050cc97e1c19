"""The settings of a learner of one value for every joint action. A preset is one instance of it."""

from __future__ import annotations

from dataclasses import dataclass

from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class DuelingConfig:
    """Dueling networks, double Q-learning, sequential updates; defaults are HARL's (HAD3QN)."""

    hidden: tuple[int, ...] = (128, 128)
    """Widths of the ReLU layers that state value and advantages share."""
    head: int = 128
    """Hardswish units of the layer of either before its output."""

    num_envs: int = 20
    """Environments stepped together."""
    warmup_steps: int = 10_000
    """Environment steps of uniform random actions before the first update."""
    train_interval: int = 50
    """Steps of every environment between two bursts of updates."""
    updates_per_step: float = 1.0
    """Updates per step of all environments together."""
    batch_size: int = 1000
    """Transitions of one update."""
    buffer_size: int = 1_000_000
    """Rows of the replay over all environments; final observations of episodes take one too."""
    n_step: int = 1
    """Steps of reward in a target; fewer at the end of an episode."""
    epsilon: float = 0.05
    """Probability of a random action, of each agent in each environment by itself."""
    gamma: float = 0.95
    """Discount per step."""
    tau: float = 0.005
    """Rate of the soft target updates."""
    actor_lr: float = 5e-4
    """Adam's learning rate of the agents' values."""
    critic_lr: float = 1e-3
    """Adam's learning rate of the critic."""

    threads: int = 1
    """Threads of torch; results are bit-reproducible at equal threads."""
    window: int = 100
    """Number of recent episodes in the reported return."""

    def __post_init__(self) -> None:
        """Check each setting's domain."""
        check_domains(
            self,
            at_least_one=(
                *("head", "num_envs", "train_interval", "batch_size", "buffer_size", "n_step"),
                *("threads", "window"),
            ),
            shares=("epsilon", "gamma", "tau"),
            positive=("updates_per_step", "actor_lr", "critic_lr"),
            not_negative=("warmup_steps",),
        )
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigError(f"hidden must be widths of at least 1, got {list(self.hidden)}")
        if self.buffer_size < (self.n_step + 2) * self.num_envs:
            raise ConfigError(
                f"buffer_size must be at least (n_step + 2) * num_envs = "
                f"{(self.n_step + 2) * self.num_envs}, got {self.buffer_size}"
            )

    @property
    def updates(self) -> int:
        """Updates of a burst."""
        return max(round(self.updates_per_step * self.train_interval), 1)
