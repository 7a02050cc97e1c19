"""Replay: a ring buffer of transitions per environment, from which n-step batches are gathered.

An environment's ring holds one row per step, and one more where an episode ended: its final
observation. So the next observation is always the next row, and nothing is stored twice. All
quantities of a transition are contiguous in its row, so one gather fetches them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces

from pkubench.agents.rl.rollout import Rollout
from pkubench.errors import ConfigError, WeightsError

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]

_STEP, _TERMINATED, _TRUNCATED, _FINAL = 0, 1, 2, 3
"""Kinds of rows. ``_FINAL`` has only an observation and does not begin a transition."""


@dataclass(frozen=True, slots=True)
class RowLayout:
    """The layout of a row of float32 numbers.

    ``[observations of all agents | state | actions of all agents | reward | cost]``; the state is
    left out where it is the concatenated observations. So the critic's input, state and joint
    action, is one slice.
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
        """Lay out a row; ``state_size`` None: the state is the concatenated observations."""
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
        """Size of the state."""
        return int(next(iter(self.actions.values())).start - self.joint.start)

    @property
    def is_state_stored(self) -> bool:
        """Whether the state has columns of its own."""
        return bool(self.joint.start > 0)


def rows_of(
    data: Rollout, costs: Array, layout: RowLayout, action_spaces: Mapping[str, spaces.Space[Any]]
) -> tuple[Array, Array]:
    """Return a rollout's steps as rows (T, N, width), and the rows after each step.

    Args:
        data: the rollout.
        costs: (T, N), of its steps.
        layout: of the rows.
        action_spaces: of the agents.
    """

    def numbers(agent: str) -> Array:
        actions = data.actions[agent]
        if actions.ndim == 3:
            return actions.astype(np.float32, copy=False)
        at, start = layout.actions[agent], int(getattr(action_spaces[agent], "start", 0))
        one_hot: Array = np.eye(at.stop - at.start, dtype=np.float32)[actions - start]
        return one_hot

    agents = layout.actions
    sums = np.stack([data.team_rewards, costs], -1)
    seen = [data.observations[a] for a in agents]
    after = [data.next_observations[a] for a in agents]
    if layout.is_state_stored:
        seen.append(data.states)
        after.append(data.next_states)
    actions = [numbers(a) for a in agents]
    rows = np.concatenate([*seen, *actions, sums], axis=-1)
    next_rows = np.concatenate([*after, *map(np.zeros_like, actions), 0.0 * sums], axis=-1)
    return rows, next_rows


class Drawn(NamedTuple):
    """Transitions drawn for several updates, (updates, B) each; rows are fetched by ``gather``."""

    rows: IntArray
    next_rows: IntArray
    """The row k steps later: the final observation where the episode ended before."""
    rewards: Array
    """sum_j gamma^j r_j over the k steps, float32."""
    costs: Array
    """The same sum of costs."""
    discounts: Array
    """gamma^k, and 0 where the episode terminated; truncated episodes are bootstrapped."""


class ReplayBuffer:
    """The newest transitions of the ``num_envs`` environments of one training seed."""

    def __init__(self, layout: RowLayout, num_envs: int, capacity: int) -> None:
        """Allocate ``capacity`` rows over all environments; memory is used as it fills."""
        self.layout, self.num_envs = layout, num_envs
        self.length = max(capacity // num_envs, 2)
        """Rows of one environment's ring."""
        self.data: Array = np.zeros((num_envs, self.length, layout.width), dtype=np.float32)
        self.kind: Array = np.zeros((num_envs, self.length), dtype=np.uint8)
        self.heads: IntArray = np.zeros(num_envs, dtype=np.int64)
        """Rows written so far per environment; this is the number of the next row, which already
        holds the observation after the newest step."""

    def add(self, rows: Array, next_rows: Array, terminated: Array, truncated: Array) -> None:
        """Add ``T`` steps of every environment, which follow those added before.

        Args:
            rows: (T, N, width) float32, in the layout.
            next_rows: (T, N, width): the rows after each step, before any reset; only
                observations and state are read.
            terminated: bool (T, N).
            truncated: bool (T, N), by the time limit alone.
        """
        done = terminated | truncated
        before: IntArray = np.cumsum(done, axis=0) - done
        place = self.heads + np.arange(len(rows))[:, None] + before
        env_index = np.broadcast_to(np.arange(self.num_envs), place.shape)
        # longer than the ring: only rows that are not overwritten again are written
        end = place[-1] + 1 + done[-1]
        new = place >= end - self.length
        at = place[new] % self.length
        self.data[env_index[new], at] = rows[new]
        kind = np.where(terminated, _TERMINATED, np.where(truncated, _TRUNCATED, _STEP))
        self.kind[env_index[new], at] = kind[new]
        last = done.copy()
        last[-1] = True
        last &= new
        at = (place[last] + 1) % self.length
        self.data[env_index[last], at] = next_rows[last]
        self.kind[env_index[last], at] = _FINAL
        self.heads = end

    @property
    def steps(self) -> int:
        """Number of transitions that can be drawn."""
        return sum(int((self.kind[index, at] != _FINAL).sum()) for index, at in self._held())

    def _held(self) -> list[tuple[int, IntArray]]:
        rings = []
        for index, head in enumerate(self.heads.tolist()):
            first = max(0, head - self.length + 1)
            rings.append((index, np.arange(first, head) % self.length))
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
        indices = np.empty(total, dtype=np.int64)
        starts = np.empty(total, dtype=np.int64)
        missing = np.arange(total)
        while len(missing):
            # One number per try: environment and age. Ages beyond an environment's ring and rows
            # that do not begin a transition are redrawn, which keeps the rest equally likely.
            tries = torch.randint(self.num_envs * deepest, (len(missing),), generator=generator)
            index, age = np.divmod(tries.numpy(), deepest)
            start = self.heads[index] - 1 - age
            good = age < held[index]
            good &= self.kind[index, start % self.length] != _FINAL
            if not good.any() and not self.steps:
                raise ConfigError(
                    f"the replay holds no transition to draw: {self.length} rows per environment"
                )
            indices[missing[good]], starts[missing[good]] = index[good], start[good]
            missing = missing[~good]
        return self._n_step(indices, starts, n_step, gamma, (updates, size))

    def _n_step(
        self, indices: IntArray, starts: IntArray, n_step: int, gamma: float, shape: tuple[int, int]
    ) -> Drawn:
        length, layout = self.length, self.layout
        flat = self.data.reshape(-1, layout.width)
        kinds = self.kind.reshape(-1)
        base = indices * length
        rewards = np.zeros(len(indices))
        costs = np.zeros(len(indices))
        taken = np.zeros(len(indices), dtype=np.int64)
        alive = np.ones(len(indices), dtype=np.bool_)
        terminated = np.zeros(len(indices), dtype=np.bool_)
        for j in range(n_step):
            row = base + (starts + j) % length
            kind = kinds[row]
            rewards += np.where(alive, gamma**j * flat[row, layout.reward], 0.0)
            costs += np.where(alive, gamma**j * flat[row, layout.cost], 0.0)
            taken += alive
            terminated |= alive & (kind == _TERMINATED)
            alive &= (kind == _STEP) & (starts + j + 1 < self.heads[indices])
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
        """Return the content as plain arrays."""
        used = min(int(self.heads.max()) + 1, self.length)
        return {
            "data": self.data[:, :used].reshape(-1, self.layout.width),
            "kind": self.kind[:, :used],
            "heads": self.heads,
        }

    def thaw(self, frozen: Mapping[str, Array]) -> None:
        """Restore a frozen state.

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
