"""A replay of whole episodes, of which a share of every batch are successes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pkubench.agents.rl.credit.episodes import EPISODE_FIELDS, Episodes, Layout

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]


class EpisodeReplay:
    """The last ``capacity`` episodes, in a ring.

    A *success* is an episode whose return is nearer to the best one in the replay than to the worst
    one. Where all returns are equal there is none. Without this share, the successes of a sparse
    task (0.1 % of random episodes, say) are too rare in batches to be learned from.
    """

    def __init__(self, capacity: int, layout: Layout) -> None:
        """Start empty.

        Args:
            capacity: episodes; memory is used as it fills.
            layout: of the episodes.
        """
        number, steps = len(layout.agents), layout.horizon
        acted: tuple[int, ...] = () if layout.is_discrete else (layout.actions,)
        kind = np.int64 if layout.is_discrete else np.float32
        self._held = Episodes(
            np.zeros((capacity, number, steps + 1, layout.observation), np.float32),
            np.zeros((capacity, number, steps, *acted), kind),
            np.zeros(capacity, np.int64),
            np.zeros(capacity),
            np.zeros((capacity, steps, layout.state), np.float32) if layout.state else None,
        )
        self.capacity = capacity
        self.total = 0
        """Episodes added so far."""

    def __len__(self) -> int:
        """Return the number of episodes held."""
        return min(self.total, self.capacity)

    def add(self, episodes: Episodes) -> None:
        """Add episodes; the oldest ones make room."""
        places = (self.total + np.arange(len(episodes))) % self.capacity
        newest = slice(max(0, len(episodes) - self.capacity), None)
        for name in EPISODE_FIELDS:
            held, new = getattr(self._held, name), getattr(episodes, name)
            if held is None:
                continue
            if new.ndim == 1:
                held[places[newest]] = new[newest]
                continue
            axis = 1 if name == "states" else 2
            inner: tuple[Any, ...] = (slice(None),) * (axis - 1) + (slice(None, new.shape[axis]),)
            held[places[newest]] = 0
            held[(places[newest], *inner)] = new[newest]
        self.total += len(episodes)

    @property
    def successes(self) -> Array:
        """The places of the successes."""
        returns = self._held.returns[: len(self)]
        if not len(returns):
            return np.zeros(0, np.int64)
        low, high = returns.min(), returns.max()
        return np.flatnonzero(returns > (low + high) / 2.0)

    def sample(self, count: int, share: float, generator: torch.Generator) -> Episodes:
        """Return episodes drawn with replacement, uniformly but for the share of successes.

        Args:
            count: episodes.
            share: of them drawn from the successes alone, in [0, 1]; rounded to a whole number.
            generator: source of the draws.
        """
        import torch

        best = self.successes
        few = round(share * count) if len(best) else 0
        drawn = torch.randint(len(self), (count - few,), generator=generator).numpy()
        if few:
            lucky = torch.randint(len(best), (few,), generator=generator).numpy()
            drawn = np.concatenate([drawn, best[lucky]])
        return self._held.take(drawn)

    def state(self) -> dict[str, Any]:
        """Return the episodes held and their number so far, for a checkpoint."""
        held = {name: getattr(self._held, name) for name in EPISODE_FIELDS}
        stored = {name: of[: len(self)] for name, of in held.items() if of is not None}
        return {**stored, "total": self.total}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises:
            KeyError, ValueError: it is of a replay of another shape.
        """
        self.total = int(state["total"])
        for name in EPISODE_FIELDS:
            held = getattr(self._held, name)
            if held is not None:
                if state[name].shape != (len(self), *held.shape[1:]):
                    raise ValueError(f"the replay's {name} have another shape")
                held[: len(self)] = state[name]
