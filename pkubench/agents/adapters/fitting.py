"""Compares a policy's training spaces with those of a task, and maps its actions.

Spaces are compared with their bounds: an action in [-1, 1] means something else where the bounds
are [-0.4, 0.4], though both are arrays of one shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from pkubench.agents.contract import Array
from pkubench.errors import AgentError


@dataclass(frozen=True)
class Rescaling:
    """Actions in [-1, 1] stretched to a task's bounds, as ``RescaleAction(-1, 1)`` does."""

    low: Array
    high: Array

    @property
    def centre(self) -> Array:
        """The image of 0, float32."""
        centre: Array = (np.float64(self.low) + self.high) / 2
        return centre.astype(np.float32)

    @property
    def half(self) -> Array:
        """Half the width of the bounds, float32."""
        half: Array = (np.float64(self.high) - self.low) / 2
        return half.astype(np.float32)

    def __call__(self, actions: Array) -> Array:
        """Map float32 (B, ...) to the task's bounds."""
        stretched = self.half * actions + self.centre
        clipped: Array = np.clip(stretched, np.float32(self.low), np.float32(self.high))
        return clipped


def check_observations(name: str, trained: spaces.Space[Any], task: spaces.Space[Any]) -> None:
    """Refuse observations that differ in shape, bounds, sizes or dtype.

    Raises:
        AgentError: they differ; the message names both, and the wrapper that probably explains it.
    """
    if not is_same(trained, task):
        raise AgentError(
            f"{name} was trained on observations {described(trained)}, the task has "
            f"{described(task)}{_guess(trained, task)}; load the model in a module:factory of your "
            "own that maps one to the other"
        )


def action_rescaling(
    name: str, trained: spaces.Space[Any], task: spaces.Space[Any]
) -> Rescaling | None:
    """Return the map from a policy's actions to a task's; None if they are the same.

    Raises:
        AgentError: there is no unambiguous map: only [-1, 1] is stretched to other finite bounds.
    """
    if is_same(trained, task):
        return None
    if (
        isinstance(trained, spaces.Box)
        and isinstance(task, spaces.Box)
        and trained.shape == task.shape
        and bool((trained.low == -1).all() and (trained.high == 1).all())
        and bool(np.isfinite(task.low).all() and np.isfinite(task.high).all())
    ):
        return Rescaling(task.low, task.high)
    raise AgentError(
        f"{name} was trained on actions {described(trained)}, the task takes {described(task)}; "
        "train on the task's own, or load the model in a module:factory of your own that maps one "
        "to the other"
    )


def is_same(trained: spaces.Space[Any], task: spaces.Space[Any]) -> bool:
    """Return whether two spaces have the same elements, up to rounding."""
    if isinstance(trained, spaces.Box) and isinstance(task, spaces.Box):
        return (
            trained.shape == task.shape
            and np.dtype(trained.dtype).kind == np.dtype(task.dtype).kind
            and np.array_equal(np.float32(trained.low), np.float32(task.low))
            and np.array_equal(np.float32(trained.high), np.float32(task.high))
        )
    return bool(trained == task)


def described(space: spaces.Space[Any]) -> str:
    """Return a short one-line description of a space; equal bounds as one number."""
    if not isinstance(space, spaces.Box):
        return f"{' '.join(str(space).split()):.120}"
    return f"Box({_bound(space.low)}, {_bound(space.high)}, {space.shape}, {space.dtype})"


def _bound(values: Array) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:g}" if low == high else f"{low:g}..{high:g}"


def _guess(trained: spaces.Space[Any], task: spaces.Space[Any]) -> str:
    """Return the wrapper that would explain the difference, if one would."""
    if not (isinstance(trained, spaces.Box) and isinstance(task, spaces.Box)):
        return ""
    ours, theirs = int(np.prod(task.shape)), int(np.prod(trained.shape))
    if theirs > ours and theirs % ours == 0:
        count = theirs // ours
        return f" ({count} times as many numbers: VecFrameStack of {count} observations?)"
    if theirs == ours + 1:
        return " (one number more: the time step, by TimeAwareObservation?)"
    if trained.shape == task.shape:
        return " (same shape, other bounds: an observation wrapper?)"
    return ""
