"""Behaviour cloning, of all episodes or of the best ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.rl.offline.methods.base import Method, Setup
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    from pkubench.agents.rl.offline.learners.base import MethodLearner


@register("bc")
@dataclass(frozen=True, slots=True, kw_only=True)
class BehaviourCloning(Method):
    """The data's actions from the present state, by supervised learning.

    Squared error of tanh outputs, or cross-entropy where actions are discrete. Episodes are ranked
    by undiscounted return (``best_episodes``).
    """

    hidden: tuple[int, ...] = (256, 256)
    """Hidden layers, with ReLU."""
    lr: float = 3e-4
    """Learning rate of Adam."""
    best_share: float = 1.0
    """The best episodes are learned from, with at most this share of all steps; at least one."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, positive=("lr", "best_share"), shares=("best_share",))
        check_hidden(self.hidden)

    def start(self, setup: Setup) -> MethodLearner:
        """Return the network and its update."""
        from pkubench.agents.rl.offline.learners.cloning import CloningLearner

        return CloningLearner(self, setup)


def check_hidden(hidden: tuple[int, ...]) -> None:
    """Check that layers have whole positive sizes.

    Raises:
        ConfigError: one does not.
    """
    if not all(type(size) is int and size > 0 for size in hidden):
        raise ConfigError(f"hidden must be a list of layer sizes such as [64, 64]: {hidden}")
