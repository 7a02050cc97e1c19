"""What a running training reports."""

from __future__ import annotations

from typing import NamedTuple


class Progress(NamedTuple):
    """One report of a running training."""

    steps: int
    """How much of the budget is spent: environment steps (of single environments), gradient steps
    or iterations, as the agent's family counts."""
    total_steps: int
    metrics: dict[str, float]
    """Named figures of this report, e.g. ``return``, ``cost``, ``steps_per_second``."""
    ended: str = ""
    """Why this is the last report although ``total_steps`` are not done."""
    stage: str = ""
    """Which stage of a pipeline reports."""

    @property
    def is_last(self) -> bool:
        """Whether nothing is left to train in this run."""
        return self.steps >= self.total_steps or bool(self.ended)
