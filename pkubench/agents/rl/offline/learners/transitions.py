"""Single steps of a data set, drawn for methods that look at no sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pkubench.agents.rl.offline.data import Array, Prepared


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
    shares: Tensor | None = None
    """(B,): what each counts for, 1 in all; None: equally much."""

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

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over transitions of values (B,)."""
        return mean_of(values, self.shares)


def mean_of(values: Tensor, shares: Tensor | None) -> Tensor:
    """Return the mean of values (B, ...), each row counted by its share (B,); None: equally."""
    return values.mean() if shares is None else (shares @ values.view(len(values), -1)).mean()


class Rows:
    """Rows of some columns, drawn uniformly; equal ones that are drawn are computed once.

    Where all rows are of a few kinds, as in small tables of states and actions, a batch is the
    kinds that were drawn, and how often: the same means of a fraction of the work.
    """

    def __init__(self, columns: Sequence[Tensor], batch: int) -> None:
        """Keep columns (M, ...) for batches of a size; of more kinds than that none is sought."""
        self.columns, self.batch, self.count = tuple(columns), batch, len(columns[0])
        self.kinds = _kinds(self.columns, batch)
        """(M,) row that stands for each; None: each for itself."""

    def draw(self, rng: np.random.Generator) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Return the columns of a batch, and the shares of its rows; None: equal ones."""
        rows = rng.integers(self.count, size=self.batch)
        shares = None
        if self.kinds is not None:
            rows, counts = np.unique(self.kinds[rows], return_counts=True)
            shares = torch.from_numpy(counts.astype(np.float32) / self.batch)
            shares = shares.to(self.columns[0].device)
        chosen = torch.from_numpy(rows)
        return tuple(column[chosen] for column in self.columns), shares


def _kinds(columns: Sequence[Tensor], most: int) -> Array | None:
    """Return the first row (M,) that equals each in all columns; None of more than ``most``."""
    arrays = [column.cpu().numpy() for column in columns]
    first: dict[bytes, int] = {}
    found = np.empty(len(arrays[0]), np.int64)
    for row in range(len(found)):
        found[row] = first.setdefault(b"".join(a[row].tobytes() for a in arrays), row)
        if len(first) > most:
            return None
    return found


class Batches(Rows):
    """Batches of transitions."""

    def __init__(self, every: Transitions, batch: int, *, merges: bool = True) -> None:
        """Keep all transitions of a data set; equal ones apart without ``merges``."""
        super().__init__(every[:5], batch)
        if not merges:
            self.kinds = None

    def transitions(self, rng: np.random.Generator) -> Transitions:
        """Return a batch."""
        columns, shares = self.draw(rng)
        return Transitions(*columns)._replace(shares=shares)


@torch.no_grad()
def follow(target: nn.Module, source: nn.Module, rate: float) -> None:
    """Move the parameters of ``target`` towards those of ``source``."""
    for slow, fast in zip(target.parameters(), source.parameters(), strict=True):
        slow.lerp_(fast, rate)
