"""The interface of a method: its settings, and the object that learns with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import Component
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    from pkubench.agents.rl.language.learners.base import MethodLearner, Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageMethod(Component, ABC, slot="method", package="pkubench.agents.rl.language.methods"):
    """What is learned in a language. The component holds settings and imports no torch."""

    @abstractmethod
    def start(self, setup: Setup) -> MethodLearner:
        """Return the networks and their update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairMethod(LanguageMethod):
    """Learns from pairs of responses to the same prompt."""

    uniform: float = 0.5
    """Share of responses that are uniform over all there are; the others are the reference's."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, shares=("uniform",))
