"""Episodes over values of an option that fall into splits, each of which is reported apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pkubench.tasks.grouped import grouped, mean_of_groups
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.scoring import Aggregate, CycledEpisodes, Episode, means

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

AT = "@"
"""Between a metric and the split that it is taken over, in a metric's name."""


@dataclass(frozen=True, slots=True)
class SplitEpisodes(CycledEpisodes):
    """Cycled episodes whose values fall into splits.

    Derived metrics of the task are ``METRIC@SPLIT``: means of a metric in one split. Each value has
    equally many episodes, so that every mean is also one over values.
    """

    splits: tuple[str, ...]
    """The split of each value."""

    def plan(self, task: Task, seed: int, count: int) -> Sequence[Episode]:
        """Return ``count`` episodes; see :class:`Scoring`."""
        planned = CycledEpisodes.plan(self, task, seed, count)
        return [
            replace(episode, group=self.splits[episode.number % len(self.values)])
            for episode in planned
        ]

    def summarise(
        self, runs: Sequence[Sequence[EpisodeRecord]], task: Task
    ) -> Mapping[str, Aggregate]:
        """Return the mean of every metric, and those over splits; see :class:`Scoring`."""
        plain = replace(task, metrics=tuple(m for m in task.metrics if not m.is_derived))
        found = dict(means(runs, plain))
        for metric in task.metrics:
            if metric.is_derived:
                of, _, split = metric.name.partition(AT)
                chosen = [[r for r in records if r.group == split] for records in runs]
                found[metric.name] = grouped(chosen, (of,), mean_of_groups)
        return {metric.name: found[metric.name] for metric in task.metrics}
