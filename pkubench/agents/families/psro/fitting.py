"""Networks of information states fitted to samples: losses, reservoirs, gradient steps.

Samples name information states by the *rows* of a game's table, as ``GameBatch.row`` does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from pkubench.agents.families.psro.dqn import Singles, log_policy
from pkubench.agents.families.psro.learner import Floats, Tensors
from pkubench.agents.nn.fast.stacked import Adam, StackedMLP, layers_of
from pkubench.envs.games.forest import Ints

Legal = NDArray[np.bool_]
Slope = Callable[[Floats], tuple[Floats, float]]


def advantage_error(
    outputs: Floats, wanted: Floats, legal: Legal, weights: Floats
) -> tuple[Floats, float]:
    """Return the gradient by ``outputs`` of Deep CFR's loss of advantages, and the loss.

    ``mean over samples of w sum over legal a of (output(a) - wanted(a))^2`` (Brown et al. 2019,
    Algorithm 1, with ``w`` the iteration of the sample).

    Args:
        outputs: ``(samples, actions)``.
        wanted: Sampled advantages, likewise.
        legal: bool, likewise; errors of illegal actions do not count.
        weights: ``(samples,)``.
    """
    misses = np.where(legal, outputs - wanted, 0.0)
    loss = float((weights * (misses**2).sum(axis=1)).mean())
    return 2.0 * weights[:, None] * misses / len(outputs), loss


def policy_error(
    logits: Floats, wanted: Floats, legal: Legal, weights: Floats
) -> tuple[Floats, float]:
    """Return the gradient by ``logits`` of Deep CFR's loss of the average policy, and the loss.

    ``mean over samples of w sum over a of (p(a) - wanted(a))^2`` with ``p`` the softmax over legal
    actions; shapes as in :func:`advantage_error`.
    """
    p = np.exp(log_policy(logits, legal))
    misses = p - wanted
    loss = float((weights * (misses**2).sum(axis=1)).mean())
    pull = 2.0 * weights[:, None] * misses / len(logits)
    return p * (pull - (p * pull).sum(axis=1, keepdims=True)), loss


def imitation_error(logits: Floats, actions: Ints, legal: Legal) -> tuple[Floats, float]:
    """Return the gradient by ``logits`` of NFSP's loss of the average policy, and the loss.

    ``mean over samples of - log p(action)`` with ``p`` the softmax over legal actions (Heinrich and
    Silver 2016, Algorithm 1).

    Args:
        logits: ``(samples, actions)``.
        actions: ``(samples,)``, legal ones.
        legal: bool ``(samples, actions)``.
    """
    logs, own = log_policy(logits, legal), np.arange(len(logits))
    slope = np.exp(logs)
    slope[own, actions] -= 1.0
    return slope / len(logits), -float(logs[own, actions].mean())


class Reservoir:
    """A uniform sample without replacement of all that was added (Vitter's Algorithm R)."""

    def __init__(self, size: int, **widths: int) -> None:
        """Allocate ``size`` samples.

        Args:
            size: Samples kept.
            widths: Column -> numbers in it; a column of width 0 holds whole numbers, ``(size,)``.
        """
        self.size, self.seen = size, 0
        self.columns: Tensors = {
            name: np.zeros((size, width)) if width else np.zeros(size, np.int64)
            for name, width in widths.items()
        }

    def __len__(self) -> int:
        return min(self.seen, self.size)

    def add(self, rng: np.random.Generator, **new: NDArray[np.generic]) -> None:
        """Add samples, one column a name: the n-th ever is kept with probability ``size / n``."""
        count = len(next(iter(new.values())))
        order = self.seen + np.arange(count)
        draws = (rng.random(count) * (order + 1)).astype(np.int64)
        places = np.where(order < self.size, order, draws)
        kept = np.flatnonzero(places < self.size)
        # Of samples that fall on one place the last one stays.
        _, last = np.unique(places[kept][::-1], return_index=True)
        kept = kept[len(kept) - 1 - last]
        for name, column in self.columns.items():
            column[places[kept]] = new[name][kept]
        self.seen += count

    def draw(self, count: int, rng: np.random.Generator) -> Tensors:
        """Sample uniformly with replacement, among what is there only."""
        chosen = rng.integers(0, len(self), count)
        return {name: column[chosen] for name, column in self.columns.items()}

    def state(self) -> Tensors:
        """Return what ``restore`` needs."""
        kept = {name: column[: len(self)].copy() for name, column in self.columns.items()}
        return {**kept, "seen": np.array([self.seen], np.int64)}

    def restore(self, state: Tensors) -> None:
        """Restore a saved state."""
        self.seen = int(state["seen"][0])
        for name, column in self.columns.items():
            column[: len(self)] = state[name]


class RowNetwork:
    """A network from observations to one number an action, and its optimiser."""

    def __init__(
        self,
        observations: Singles,
        actions: int,
        hidden: tuple[int, ...],
        rate: float,
        rng: np.random.Generator,
    ) -> None:
        """Make an untrained network of the observations ``(rows, size)``."""
        self._observations = torch.from_numpy(observations)
        self._sizes, self._rate = (observations.shape[1], *hidden, actions), rate
        self._net = StackedMLP(1, self._sizes)
        self.restart(rng)

    def restart(self, rng: np.random.Generator) -> None:
        """Forget everything: new weights, a new optimiser."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        self._net.initialise(0, generator)
        self._adam = Adam(self._net.flat, self._rate)
        self._gradients = layers_of(self._adam.gradient, self._sizes)

    def outputs(self, rows: Ints | slice) -> Floats:
        """Return float64 ``(rows, actions)``."""
        found = self._net.forward(self._observations[rows][None])[0][0]
        return np.asarray(found.numpy().astype(np.float64))

    def step(self, rows: Ints, slope_of: Slope) -> float:
        """Take a gradient step; ``slope_of`` maps outputs to their gradient and the loss."""
        x = self._observations[rows][None]
        outputs, hidden = self._net.forward(x)
        slope, loss = slope_of(outputs[0].numpy().astype(np.float64))
        back = torch.from_numpy(slope.astype(np.float32))[None]
        self._net.backward(x, hidden, back, self._gradients)
        self._adam.step()
        return loss

    def state(self) -> Tensors:
        """Return what ``restore`` needs to resume bit for bit."""
        adam = self._adam
        stacked = torch.cat([self._net.flat, adam.first, adam.second])
        return {"weights": stacked.numpy(), "steps": np.array([adam.count], np.int64)}

    def restore(self, state: Tensors) -> None:
        """Restore a saved state."""
        saved = torch.from_numpy(state["weights"])
        self._net.flat.copy_(saved[:1])
        self._adam.first.copy_(saved[1:2])
        self._adam.second.copy_(saved[2:3])
        self._adam.count = int(state["steps"][0])
