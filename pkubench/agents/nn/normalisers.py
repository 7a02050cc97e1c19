"""Running normalisers: of returns (HARL's ValueNorm) and of observations (OmniSafe's)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]


class ValueNorm:
    """Debiased exponential averages of a value target's mean and second moment.

    HARL ``ValueNorm``: beta 0.99999, variance at least 0.01, updated with every minibatch before
    it is used. Without data the variance is that floor, as in HARL, where both averages begin at 0:
    the values of the first rollout are scaled by 0.1 before its advantages are computed.
    """

    def __init__(self, beta: float = 0.99999, min_variance: float = 1e-2) -> None:
        """Start with no data: mean 0, variance ``min_variance``."""
        self.beta = beta
        self.min_variance = min_variance
        self.sums: npt.NDArray[np.float64] = np.zeros(3)
        """Averages of x, of x squared and of 1."""

    def update(self, targets: Array) -> None:
        """Update with a batch of targets, (B,)."""
        batch = targets.astype(np.float64)
        new = np.array([batch.mean(), batch @ batch / len(batch), 1.0])
        self.sums = self.beta * self.sums + (1.0 - self.beta) * new

    def _moments(self) -> tuple[float, float]:
        weight = self.sums[2]
        # HARL divides by at least 1e-5; after one update the weight is 1e-5 already
        mean, square = self.sums[:2] / weight if weight else (0.0, 0.0)
        variance = max(square - mean * mean, self.min_variance)
        return float(mean), float(np.sqrt(variance))

    def normalise(self, targets: Array) -> Array:
        """Return (x - mean) / std."""
        mean, std = self._moments()
        return np.asarray((targets - mean) / std, dtype=targets.dtype)

    def denormalise(self, values: Array) -> Array:
        """Return x * std + mean."""
        mean, std = self._moments()
        return np.asarray(values * std + mean, dtype=values.dtype)


class ObservationNorm:
    """Running mean and variance of observations; output clipped to +-5, std at least 0.01.

    OmniSafe's ``Normalizer`` (sample variance). Statistics are part of the policy and frozen at
    evaluation.
    """

    min_std = 1e-2
    limit = 5.0

    def __init__(self, size: int, kept: int = 0) -> None:
        """Start with no data: the first batch is returned unchanged.

        The last ``kept`` numbers of an observation are only clipped.
        """
        self.scaled = size - kept
        self.count = 0.0
        self.mean: npt.NDArray[np.float64] = np.zeros(size)
        self.squares: npt.NDArray[np.float64] = np.zeros(size)
        """Sum of squared deviations from the mean."""

    def update(self, batch: Array) -> None:
        """Update with observations (B, size) (Chan et al.'s parallel formula)."""
        batch = batch.astype(np.float64)
        n = len(batch)
        if not n:
            return
        mean = batch.mean(0)
        delta = mean - self.mean
        total = self.count + n
        self.squares = (
            self.squares + ((batch - mean) ** 2).sum(0) + delta**2 * (self.count * n / total)
        )
        self.mean = self.mean + delta * (n / total)
        self.mean[self.scaled :] = 0.0
        self.count = total

    @property
    def std(self) -> npt.NDArray[np.float64]:
        """Return the floored standard deviations, (size,)."""
        if self.count < 2:
            return np.ones_like(self.mean)
        std = np.maximum(np.sqrt(self.squares / (self.count - 1)), self.min_std)
        std[self.scaled :] = 1.0
        return std

    def __call__(self, batch: Array) -> npt.NDArray[np.float32]:
        """Return normalised observations, float32."""
        if self.count < 2:
            return batch.astype(np.float32)
        scaled = (batch - self.mean) / self.std
        return np.clip(scaled, -self.limit, self.limit).astype(np.float32)

    def in_steps(self, signal: Array, valid: Array | None = None) -> npt.NDArray[np.float32]:
        """Return a signal (T, N) normalised step by step, each after an update with it.

        Where it is not ``valid`` (T, N), it is not in the moments, and 0 is returned.
        """
        counted = np.ones(signal.shape, np.bool_) if valid is None else valid
        normalised = np.zeros(signal.shape, np.float32)
        for row, chosen, result in zip(signal, counted, normalised, strict=True):
            if chosen.any():
                self.update(row[chosen, None])
                result[chosen] = self(row[chosen, None])[:, 0]
        return normalised

    def freeze(self) -> dict[str, Array]:
        """Return the moments as plain arrays."""
        moments = np.stack([self.mean, self.squares])
        return {"moments": moments, "count": np.array([self.count])}

    def thaw(self, frozen: Mapping[str, Array]) -> None:
        """Restore frozen moments.

        Raises:
            ValueError: the moments are of another size.
        """
        mean, squares = frozen["moments"]
        if mean.shape != self.mean.shape:
            raise ValueError(f"moments have shape {mean.shape}, wanted {self.mean.shape}")
        self.mean, self.squares = mean.copy(), squares.copy()
        self.count = float(frozen["count"][0])


def standardise(advantages: Tensor, epsilon: float, chosen: Tensor | None = None) -> Tensor:
    """Return (A - mean) / (std + epsilon), with the population deviation.

    Args:
        advantages: (B,).
        epsilon: added to the deviation.
        chosen: (B,) bool, the entries the moments are of; None: all. Zeros are returned where
            there are none.
    """
    of = advantages if chosen is None else advantages[chosen]
    if not len(of):
        return torch.zeros_like(advantages)
    return (advantages - of.mean()) / (torch.std(of, correction=0) + epsilon)


def centred(advantages: Tensor, chosen: Tensor | None = None) -> Tensor:
    """Return A - mean; the arguments and the exception are those of ``standardise``."""
    of = advantages if chosen is None else advantages[chosen]
    return advantages - of.mean() if len(of) else torch.zeros_like(advantages)
