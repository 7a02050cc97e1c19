"""Single transitions of a data set, for methods that bootstrap."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pkubench.agents.rl.offline.data import Prepared


class Transitions(NamedTuple):
    """B transitions; or all M of a data set."""

    states: Tensor
    """(B, d), normalised."""
    actions: Tensor
    """(B, d_a) in [-1, 1], or (B,) int64."""
    rewards: Tensor
    """(B,), scaled."""
    next_states: Tensor
    """(B, d), normalised."""
    ends: Tensor
    """(B,) 1 where the next state is terminal; a truncated episode has none."""

    @staticmethod
    def of(data: Prepared, reward_range: float | None, device: str) -> Transitions:
        """Return all transitions of a data set.

        Args:
            data: the data set.
            reward_range: what the best and the worst return differ by after scaling; None: rewards
                are not scaled. Where all returns are equal they are not either.
            device: where the tensors are kept.
        """
        after, ends = data.next_rows()
        returns, rewards = data.episodes.returns, data.episodes.rewards
        spread = float(returns.max() - returns.min())
        scale = 1.0 if reward_range is None or spread == 0.0 else reward_range / spread
        columns = (
            data.normalised(),
            data.actions,
            (rewards * scale).astype(np.float32),
            (after - data.mean) / data.std,
            ends.astype(np.float32),
        )
        return Transitions(*(torch.from_numpy(np.ascontiguousarray(c)).to(device) for c in columns))

    def draw(self, batch: int, rng: np.random.Generator) -> Transitions:
        """Return uniformly drawn transitions."""
        rows = torch.from_numpy(rng.integers(len(self.states), size=batch))
        return Transitions(*(column[rows] for column in self))


@torch.no_grad()
def follow(target: nn.Module, source: nn.Module, rate: float) -> None:
    """Move the parameters of ``target`` towards those of ``source``."""
    for slow, fast in zip(target.parameters(), source.parameters(), strict=True):
        slow.lerp_(fast, rate)
