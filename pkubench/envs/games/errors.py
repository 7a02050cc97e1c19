"""What can go wrong with a game, a policy or a plan."""

from __future__ import annotations

from pkubench.errors import PkubenchError


class GameError(PkubenchError):
    """A game that the engine cannot take: not two-player zero-sum, no perfect recall, too large."""


class GameTooLarge(GameError):
    """A game whose tree has more histories than were allowed."""


class PolicyError(PkubenchError):
    """A policy that is not a distribution over legal actions at some information state."""


class PlanError(PkubenchError):
    """An array that is not a realization plan of the game (or a stack of them)."""
