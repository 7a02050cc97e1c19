"""How far an entry of the board can be trusted, and why."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Tier(enum.StrEnum):
    """The evidence for the numbers of an entry, strongest first."""

    VERIFIED_WEIGHTS = "verified-weights"
    """The board ran the weights on the same seeds and got the same episodes."""
    VERIFIED_CODE = "verified-code"
    """The board ran submitted code inside a sandbox and got the same episodes."""
    EVALUATED_HERE = "evaluated-here"
    """The board's own harness played these episodes, of an agent that has no weights to verify."""
    OWN_RECORDS = "own-records"
    """Read from a results folder for its owner, on a board in memory. Nothing was run again."""
    FLAGGED = "flagged"
    """The weights gave the same episodes, but look like a copy, or claim what is implausible. Shown
    with the reason, not ranked."""
    SELF_REPORTED = "self-reported"
    """The records are consistent, but the agent was not run again. Shown, not ranked."""

    @property
    def is_ranked(self) -> bool:
        """Whether entries of this tier take part in the ranking."""
        return self not in (Tier.FLAGGED, Tier.SELF_REPORTED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The tier of one task's entry and the reason for it, in a sentence."""

    tier: Tier
    reason: str
    is_contradicted: bool = False
    """The agent was run again and produced different episodes. No board accepts such records."""
    played: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Run -> its episode lines as this board played them, where bytes differ from those submitted
    and their means agree: the board shows these instead."""
    secret: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Run -> the lines of the board's secret episodes; empty where it played none."""


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
