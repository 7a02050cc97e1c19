"""Responses learned from plays by Q-learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pkubench.agents.components import register
from pkubench.agents.families.psro.oracles import ResponseOracle
from pkubench.envs.games.zero_sum import ZeroSumGame
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    from pkubench.agents.families.psro.settings import PSROConfig
    from pkubench.agents.families.psro.spaces import PolicySpace


@dataclass(frozen=True, kw_only=True)
class LearnedOracle(ResponseOracle):
    """How responses are learned; the two oracles differ in how action values are played."""

    is_greedy: ClassVar[bool]
    """Whether the best action is played."""

    hidden: tuple[int, ...] = (128, 128)
    """Units of the hidden layers (ReLU) of the network of action values."""
    learning_rate: float = 2e-3
    """Adam's."""
    parallel_games: int = 100
    """Plays in parallel, and between gradient steps."""
    updates: int = 8
    """Gradient steps after each ``parallel_games`` plays."""
    batch_size: int = 256
    """Decisions per gradient step; there is none before the replay has as many."""
    replay_size: int = 20_000
    """Decisions kept, the newest."""
    target_updates: int = 5
    """Gradient steps between copies of the trained network to the target network."""
    exploration: float = 0.05
    """Probability of a random legal action in training."""
    temperature: float = 0.02
    """``softmax`` plays action values divided by this, in units of the largest payoff. It is also
    the temperature of the policies between which ``diversity=members`` measures distance."""
    masked_targets: bool = True
    """Whether the next value is the maximum over legal actions only; published code takes all."""
    warm_start: Literal["fresh", "weights", "weights-and-replay"] = "fresh"
    """The start of a response: a new network, or the side's last network (with optimiser and
    target), or also its replay, as in published code; the replayed rewards are of older
    opponents."""

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

    def check(self, config: PSROConfig) -> None:
        """Refuse what cannot be learned.

        Raises:
            ConfigError: Several policies in training, a bonus of plans, partial steps, or fewer
                plays than are played in parallel.
        """
        if config.learners > 1:
            raise ConfigError(
                f"oracle={self.name} trains one policy per side at a time, got learners="
                f"{config.learners}; set learners=1"
            )
        if not config.diversity.can_be_learned:
            raise ConfigError(
                f"oracle={self.name} takes diversity 'none' or 'members', got "
                f"{config.diversity.name!r}; the other bonuses need oracle=exact"
            )
        if config.diversity.step_size != 1.0:
            raise ConfigError(f"oracle={self.name} takes whole steps; set diversity_step=1")
        if config.response_episodes < self.parallel_games:
            raise ConfigError(
                f"response_episodes must be at least parallel_games, got "
                f"{config.response_episodes} and {self.parallel_games}"
            )

    def space(self, game: ZeroSumGame, config: PSROConfig) -> PolicySpace:
        """Return tables of action values; torch is imported here, which takes a second."""
        from pkubench.agents.families.psro.deep_oracle import ValueSpace

        return ValueSpace(game, config)


@register("dqn")
@dataclass(frozen=True, kw_only=True)
class DQNOracle(LearnedOracle):
    """Action values are played greedily."""

    is_greedy: ClassVar[bool] = True


@register("softmax")
@dataclass(frozen=True, kw_only=True)
class SoftmaxOracle(LearnedOracle):
    """Action values are played as a softmax."""

    is_greedy: ClassVar[bool] = False
