"""Models of whole episodes without a network: formulas of an episode's return and length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pkubench.agents.rl.credit.episodes import (
    Array,
    Episodes,
    FloatArray,
    Spans,
    returns_of,
    spans_of,
)
from pkubench.agents.rl.credit.whole_episodes import EpisodeModel

if TYPE_CHECKING:
    from pkubench.agents.learner import State
    from pkubench.agents.rl.rollout import Rollout


class FormulaModel(EpisodeModel):
    """``assign`` reads returns and lengths alone."""

    def __call__(self, rollout: Rollout) -> FloatArray:
        """Return the reward of each agent, float64 (T, N, agents)."""
        spans = spans_of(rollout)
        return self.rewards(self.assign(outlines_of(rollout, spans)), spans, rollout)

    def update(self, rollout: Rollout) -> None:
        """Learn nothing."""

    def learned(self) -> dict[str, Array]:
        """Return nothing."""
        return {}

    def load_learned(self, learned: Mapping[str, Array]) -> None:
        """Restore nothing."""

    def state(self) -> State:
        """Return what was learned: nothing else changes."""
        return self.learned()

    def restore(self, state: State) -> None:
        """Restore it."""
        self.load_learned(state)


def outlines_of(rollout: Rollout, spans: Spans) -> Episodes:
    """Return the episodes of a rollout without what was observed."""
    (count, length), number = spans.valid.shape, rollout.rewards.shape[-1]
    return Episodes(
        np.zeros((count, number, length + 1, 0), np.float32),
        np.zeros((count, number, length), np.int64),
        spans.lengths,
        returns_of(rollout, spans),
    )
