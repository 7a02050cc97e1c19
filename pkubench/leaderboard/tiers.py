"""How far an entry of the board can be trusted, and why."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class Tier(enum.StrEnum):
    """What stands behind the numbers of an entry, strongest first."""

    VERIFIED_WEIGHTS = "verified-weights"
    """The board ran the weights on the same seeds and got the same episodes."""
    VERIFIED_CODE = "verified-code"
    """The board ran submitted code inside a sandbox and got the same episodes."""
    EVALUATED_HERE = "evaluated-here"
    """The board's own harness made these episodes: of an agent that has no weights to verify, or
    on a board in memory of its owner's own results. No weights were run again."""
    SELF_REPORTED = "self-reported"
    """The records are consistent, but nobody ran the agent again. Shown, not ranked."""

    @property
    def is_ranked(self) -> bool:
        """Whether entries of this tier take part in the ranking."""
        return self is not Tier.SELF_REPORTED


@dataclass(frozen=True, slots=True)
class Verdict:
    """The tier of one task's entry and the reason for it, in a sentence."""

    tier: Tier
    reason: str
    is_contradicted: bool = False
    """The agent was run again and did something else. No board takes such records."""


NOT_RUN = Verdict(Tier.SELF_REPORTED, "the agent was not run again by this board")


@dataclass(frozen=True, slots=True)
class Verification:
    """The verdict for each task of a bundle."""

    verdicts: Mapping[str, Verdict]

    def verdict(self, task: str) -> Verdict:
        """Return the verdict for a task; self-reported where there is none."""
        return self.verdicts.get(task, NOT_RUN)

    @property
    def is_contradicted(self) -> bool:
        """Whether a task's records are not what the agent does."""
        return any(verdict.is_contradicted for verdict in self.verdicts.values())
