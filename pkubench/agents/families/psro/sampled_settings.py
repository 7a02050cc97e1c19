"""Settings of the solvers that learn networks from sampled plays: NFSP and Deep CFR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class NFSPConfig:
    """Settings of the preset ``nfsp``."""

    is_random: ClassVar[bool] = True
    hidden: tuple[int, ...] = (128,)
    """Units of the hidden layers (ReLU) of all networks."""
    anticipation: float = 0.1
    """Probability, for each play and seat, of playing the best response and not the average."""
    plays: int = 6_400
    """Plays in an iteration."""
    parallel_games: int = 128
    """Plays in parallel, and between gradient steps."""
    updates: int = 4
    """Gradient steps of each network after each ``parallel_games`` plays."""
    batch_size: int = 128
    """Decisions per gradient step."""
    response_rate: float = 1e-3
    """Adam's learning rate of action values."""
    average_rate: float = 1e-3
    """Adam's learning rate of the average policy."""
    replay_size: int = 20_000
    """Decisions from which action values are learned, the newest."""
    reservoir_size: int = 2_000_000
    """Responses from which the average is learned, a uniform sample of all so far."""
    target_updates: int = 50
    """Gradient steps between copies of the action values to the target network."""
    exploration: float = 0.2
    """Probability of a random action of the best response in the first iteration; it falls as one
    over the root of the iteration."""
    iterations: int = 200
    """Iterations of a run without a given number of steps."""
    report_every: int = 5
    """Iterations between two lines of the training curve."""

    def __post_init__(self) -> None:
        """Check the domains."""
        _check_hidden(self.hidden)
        check_domains(
            self,
            at_least_one=(
                "plays",
                "parallel_games",
                "updates",
                "batch_size",
                "replay_size",
                "reservoir_size",
                "target_updates",
                "iterations",
                "report_every",
            ),
            shares=("anticipation", "exploration"),
            positive=("response_rate", "average_rate"),
        )
        if self.plays < self.parallel_games:
            raise ConfigError(
                f"plays must be at least parallel_games, got {self.plays} and {self.parallel_games}"
            )
        if self.batch_size > self.replay_size:
            raise ConfigError(
                f"batch_size must be at most replay_size, got {self.batch_size} and "
                f"{self.replay_size}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepCFRConfig:
    """Settings of the preset ``deep-cfr``."""

    is_random: ClassVar[bool] = True
    hidden: tuple[int, ...] = (64, 64)
    """Units of the hidden layers (ReLU) of all networks."""
    traversals: int = 375
    """Traversals of the game for each player in an iteration."""
    advantage_steps: int = 375
    """Gradient steps of a player's advantages in an iteration, from a new network."""
    policy_steps: int = 100
    """Gradient steps of the average policy in an iteration, from the network as it stands."""
    batch_size: int = 256
    """Samples per gradient step, drawn with replacement."""
    learning_rate: float = 1e-3
    """Adam's."""
    memory_size: int = 1_000_000
    """Samples kept in each of three memories, each a uniform sample of all so far."""
    iterations: int = 101
    """Iterations of a run without a given number of steps."""
    report_every: int = 5
    """Iterations between two lines of the training curve."""

    def __post_init__(self) -> None:
        """Check the domains."""
        _check_hidden(self.hidden)
        check_domains(
            self,
            at_least_one=(
                "traversals",
                "advantage_steps",
                "policy_steps",
                "batch_size",
                "memory_size",
                "iterations",
                "report_every",
            ),
            positive=("learning_rate",),
        )


def _check_hidden(hidden: tuple[int, ...]) -> None:
    if not hidden or min(hidden) < 1:
        raise ConfigError(f"hidden must be layers of at least 1 unit, got {hidden}")
