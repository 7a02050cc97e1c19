"""Replay: a ring of transitions for each lane, from which n-step batches are gathered at once.

A lane's ring holds one row a step, and one more where an episode ended: its final observation.
So the observation a step led to is always the next row, and nothing is stored twice. Everything a
learner wants of a row lies side by side in it, and one gather fetches it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pkubench.errors import ConfigError, WeightsError

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]

_STEP, _TERMINATED, _TRUNCATED, _FINAL = 0, 1, 2, 3
"""What a row is. ``_FINAL`` has an observation only and begins no transition."""


@dataclass(frozen=True, slots=True)
class RowLayout:
    """Where things lie in a row of float32 numbers.

    ``[observations of all agents | state | actions of all agents | reward | cost]``; the state is
    left out where it is the observations side by side. So the critic's input, state and joint
    action, is one piece.
    """

    observations: Mapping[str, slice]
    actions: Mapping[str, slice]
    """Box: the numbers; Discrete: one-hot."""
    joint: slice
    """State and joint action."""
    reward: int
    cost: int
    width: int

    @staticmethod
    def of(
        observation_sizes: Mapping[str, int],
        action_sizes: Mapping[str, int],
        state_size: int | None,
    ) -> RowLayout:
        """Lay out a row; ``state_size`` None: the state is the observations side by side."""
        at = 0

        def take(sizes: Mapping[str, int]) -> dict[str, slice]:
            nonlocal at
            slices = {}
            for name, size in sizes.items():
                slices[name] = slice(at, at + size)
                at += size
            return slices

        observations = take(observation_sizes)
        start = 0 if state_size is None else at
        at += state_size or 0
        actions = take(action_sizes)
        return RowLayout(observations, actions, slice(start, at), at, at + 1, at + 2)

    @property
    def state_size(self) -> int:
        """Numbers in the state."""
        return int(next(iter(self.actions.values())).start - self.joint.start)

    @property
    def is_state_stored(self) -> bool:
        """Whether the state has columns of its own."""
        return bool(self.joint.start > 0)


class Drawn(NamedTuple):
    """Transitions drawn for several updates, (updates, B) each; rows are fetched by ``gather``."""

    rows: IntArray
    next_rows: IntArray
    """The row k steps on: the final observation where the episode ended on the way."""
    rewards: Array
    """sum_j gamma^j r_j over the k steps, float32."""
    costs: Array
    """The same sum of costs."""
    discounts: Array
    """gamma^k, and 0 where the episode terminated; truncation does not end the value."""


class ReplayBuffer:
    """The newest transitions of ``num_envs`` lanes of one training seed."""

    def __init__(self, layout: RowLayout, num_envs: int, capacity: int) -> None:
        """Make room for ``capacity`` rows over all lanes; memory is taken as it fills."""
        self.layout, self.num_envs = layout, num_envs
        self.length = max(capacity // num_envs, 2)
        """Rows of one lane's ring."""
        self.data: Array = np.zeros((num_envs, self.length, layout.width), dtype=np.float32)
        self.kind: Array = np.zeros((num_envs, self.length), dtype=np.uint8)
        self.heads: IntArray = np.zeros(num_envs, dtype=np.int64)
        """Rows each lane has ever written; that number is the next row's, which already holds the
        observation the newest step led to."""

    def add(self, rows: Array, next_rows: Array, terminated: Array, truncated: Array) -> None:
        """Take in ``T`` steps of every lane that follow those taken in before.

        Args:
            rows: (T, N, width) float32, in the layout.
            next_rows: (T, N, width): what each step led to before any reset; only observations
                and state are read.
            terminated: bool (T, N).
            truncated: bool (T, N), the clock alone.
        """
        done = terminated | truncated
        before: IntArray = np.cumsum(done, axis=0) - done
        place = self.heads + np.arange(len(rows))[:, None] + before
        lane = np.broadcast_to(np.arange(self.num_envs), place.shape)
        # longer than the ring: only what it will still hold is written
        end = place[-1] + 1 + done[-1]
        new = place >= end - self.length
        at = place[new] % self.length
        self.data[lane[new], at] = rows[new]
        kind = np.where(terminated, _TERMINATED, np.where(truncated, _TRUNCATED, _STEP))
        self.kind[lane[new], at] = kind[new]
        last = done.copy()
        last[-1] = True
        last &= new
        at = (place[last] + 1) % self.length
        self.data[lane[last], at] = next_rows[last]
        self.kind[lane[last], at] = _FINAL
        self.heads = end

    @property
    def steps(self) -> int:
        """Transitions a batch can begin with."""
        return sum(int((self.kind[lane, at] != _FINAL).sum()) for lane, at in self._held())

    def _held(self) -> list[tuple[int, IntArray]]:
        rings = []
        for lane, head in enumerate(self.heads.tolist()):
            first = max(0, head - self.length + 1)
            rings.append((lane, np.arange(first, head) % self.length))
        return rings

    def draw(
        self, updates: int, size: int, n_step: int, gamma: float, generator: torch.Generator
    ) -> Drawn:
        """Draw ``updates`` batches of ``size`` transitions uniformly, with replacement.

        The n-step reward stops at the end of an episode and at the newest step.

        Raises:
            ConfigError: no transition is held.
        """
        total = updates * size
        held = np.minimum(self.heads, self.length - 1)
        deepest = max(int(held.max()), 1)
        lanes = np.empty(total, dtype=np.int64)
        starts = np.empty(total, dtype=np.int64)
        missing = np.arange(total)
        while len(missing):
            # One number a try: lane and age. Ages a lane does not hold and rows that begin no
            # transition are drawn again, which leaves the rest equally likely.
            tries = torch.randint(self.num_envs * deepest, (len(missing),), generator=generator)
            lane, age = np.divmod(tries.numpy(), deepest)
            start = self.heads[lane] - 1 - age
            good = age < held[lane]
            good &= self.kind[lane, start % self.length] != _FINAL
            if not good.any() and not self.steps:
                raise ConfigError(
                    f"the replay holds no transition to draw: {self.length} rows a lane"
                )
            lanes[missing[good]], starts[missing[good]] = lane[good], start[good]
            missing = missing[~good]
        return self._n_step(lanes, starts, n_step, gamma, (updates, size))

    def _n_step(
        self, lanes: IntArray, starts: IntArray, n_step: int, gamma: float, shape: tuple[int, int]
    ) -> Drawn:
        length, layout = self.length, self.layout
        flat = self.data.reshape(-1, layout.width)
        kinds = self.kind.reshape(-1)
        base = lanes * length
        rewards = np.zeros(len(lanes))
        costs = np.zeros(len(lanes))
        taken = np.zeros(len(lanes), dtype=np.int64)
        alive = np.ones(len(lanes), dtype=np.bool_)
        terminated = np.zeros(len(lanes), dtype=np.bool_)
        for j in range(n_step):
            row = base + (starts + j) % length
            kind = kinds[row]
            rewards += np.where(alive, gamma**j * flat[row, layout.reward], 0.0)
            costs += np.where(alive, gamma**j * flat[row, layout.cost], 0.0)
            taken += alive
            terminated |= alive & (kind == _TERMINATED)
            alive &= (kind == _STEP) & (starts + j + 1 < self.heads[lanes])
            if j + 1 == n_step or not alive.any():
                break
        discounts = np.where(terminated, 0.0, gamma**taken)
        return Drawn(
            (base + starts % length).reshape(shape),
            (base + (starts + taken) % length).reshape(shape),
            rewards.reshape(shape).astype(np.float32),
            costs.reshape(shape).astype(np.float32),
            discounts.reshape(shape).astype(np.float32),
        )

    def gather(self, rows: IntArray, out: Array) -> None:
        """Copy rows (B,) into ``out`` (B, width)."""
        np.take(self.data.reshape(-1, self.layout.width), rows, axis=0, out=out, mode="clip")

    def freeze(self) -> dict[str, Array]:
        """Return what is held as plain arrays."""
        used = min(int(self.heads.max()) + 1, self.length)
        return {
            "data": self.data[:, :used].reshape(-1, self.layout.width),
            "kind": self.kind[:, :used],
            "heads": self.heads,
        }

    def thaw(self, frozen: Mapping[str, Array]) -> None:
        """Go back to a frozen point.

        Raises:
            WeightsError: the arrays do not fit this buffer.
        """
        kind, heads = frozen["kind"], frozen["heads"].astype(np.int64)
        used = min(int(heads.max(initial=0)) + 1, self.length)
        wanted = {
            "data": (self.num_envs * used, self.layout.width),
            "kind": (self.num_envs, used),
            "heads": (self.num_envs,),
        }
        for name, shape in wanted.items():
            if frozen[name].shape != shape:
                raise WeightsError(
                    f"the replay's {name!r} has shape {frozen[name].shape}, wanted {shape}"
                )
        self.data[:, :used] = frozen["data"].reshape(self.num_envs, used, -1)
        self.kind[:, :used] = kind
        self.heads = heads
