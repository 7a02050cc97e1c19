"""Statistics of recent training episodes: what the curve shows and constraints are updated with."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pkubench.agents.rl.training_cost import TrainingCost


@dataclass(slots=True)
class EpisodeWindow:
    """Undiscounted sums of the most recent finished episodes, and totals of cost over all."""

    size: int
    training: TrainingCost | None = None
    """None in a task without a cost limit."""
    returns: deque[float] = field(default_factory=deque)
    costs: deque[float] = field(default_factory=deque)
    lengths: deque[float] = field(default_factory=deque)
    sources: deque[list[float]] = field(default_factory=deque)
    """Costs by source, where these have limits of their own."""
    has_new_episodes: bool = False
    """Whether an episode ended since the last ``take_means``."""

    def add(self, total: float, cost: float, length: int, sources: Sequence[float] = ()) -> None:
        """Add a finished episode."""
        if sources:
            self.sources.append([*sources])
            if len(self.sources) > self.size:
                self.sources.popleft()
        self.has_new_episodes = True
        for queue, value in (
            (self.returns, total),
            (self.costs, cost),
            (self.lengths, float(length)),
        ):
            queue.append(value)
            if len(queue) > self.size:
                queue.popleft()
        if self.training is not None:
            self.training.add(cost)

    def take_means(self) -> tuple[float, float]:
        """Return mean cost and length, or NaN where no episode ended since the last call.

        A constraint updated twice with one mean would react twice to one excess.
        """
        if not self.has_new_episodes:
            return float("nan"), float("nan")
        self.has_new_episodes = False
        return self.means()

    def means(self) -> tuple[float, float]:
        """Return mean cost and length of the recent episodes, NaN without one."""
        return self.mean(self.costs), self.mean(self.lengths)

    def source_means(self) -> list[float]:
        """Return mean costs by source, NaN without a new episode; none without limits of theirs."""
        if not self.has_new_episodes:
            return [float("nan")] * len(self.sources[0]) if self.sources else []
        return [float(np.mean(of)) for of in zip(*self.sources, strict=True)]

    def curve(self) -> dict[str, float]:
        """Return the episode columns of ``training.jsonl``; NaN where unknown."""
        columns = {"return": self.mean(self.returns), "length": self.mean(self.lengths)}
        if self.training is not None:
            columns |= {"cost": self.mean(self.costs), **self.training.curve()}
        return columns

    def training_cost_entry(self) -> dict[str, Any]:
        """Return the entry ``training_cost`` of ``config.json``, or nothing where it is unknown."""
        found = None if self.training is None else self.training.summary()
        return {} if found is None else {"training_cost": found}

    @staticmethod
    def mean(values: deque[float]) -> float:
        """Return the mean, NaN without an episode."""
        return float(np.mean(values)) if values else float("nan")
