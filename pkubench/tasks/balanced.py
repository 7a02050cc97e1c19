"""Scoring of episodes that are played once for each value of an option, so that means are exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pkubench.envs.core.seeding import evaluation_seeds
from pkubench.tasks.scoring import Episode, Episodes

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


@dataclass(frozen=True, slots=True)
class BalancedEpisodes(Episodes):
    """Played episodes whose seeds each come with every value of one option.

    Episodes k n to k n + n - 1 share a seed, of the environment and of the agent, and have the n
    values in turn. A count of episodes that is a multiple of n has each value equally often.
    """

    option: str
    """An option of the environment's episodes."""
    values: tuple[Any, ...]
    """Its values."""

    summary: ClassVar[str] = "playing episodes, each with every value of an option"

    def plan(self, task: Task, seed: int, count: int) -> Sequence[Episode]:
        """Return ``count`` episodes; see :class:`pkubench.tasks.scoring.Scoring`."""
        size = len(self.values)
        seeds = evaluation_seeds(seed, -(-count // size)).tolist()
        return [
            Episode(
                number=k,
                seed=seeds[k // size],
                agent_seed=seeds[k // size],
                options={self.option: self.values[k % size]},
            )
            for k in range(count)
        ]
