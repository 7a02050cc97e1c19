"""A suite: tasks that belong together, and how their reference scores are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pkubench.tasks.claim import Claim
from pkubench.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Tasks under one name, declared in a module of its own."""

    name: str
    """A word of lower-case letters and digits; every task's ``suite``."""
    title: str
    """What its tasks have in common, in a few words."""
    summary: str = ""
    """What they test, to be read after the title and a colon."""
    tasks: tuple[Task, ...]
    claims: tuple[Claim, ...] = ()
    """What papers claim about agents on these tasks: see ``pkubench claims``."""
    place: int = 100
    """Its position in lists: lower first."""
    by_name: Mapping[str, Callable[[str], Task]] = field(default_factory=dict)
    """Prefix of environments that are named and not listed -> function that makes their task."""
    reference: str = ""
    """Spelling of the agent that has score 1 on the normalised scale; "" if there is none."""
    reference_score: float | None = None
    """The reference agent's score where it is known without measuring it."""
    random_factor: int = 100
    """How many times a protocol's episodes untrained agents play for the anchors of the scale: they
    have no training seeds, so episodes take their place."""

    @property
    def sentence(self) -> str:
        """Title and summary in one."""
        return f"{self.title}: {self.summary}" if self.summary else self.title
