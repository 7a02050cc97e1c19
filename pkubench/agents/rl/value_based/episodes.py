"""A replay of whole episodes, which begin with a memory of zeros and end where they ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pkubench.agents.rl.rollout import Rollout
from pkubench.agents.rl.rows import masks_of
from pkubench.agents.rl.value_based.networks import TeamShape

Array = npt.NDArray[Any]


class Episodes(NamedTuple):
    """B episodes side by side, time first; T is the length of the longest.

    What follows the end of a shorter one is zeros, which no target and no loss may read.
    """

    observations: Array
    """(T + 1, B, n, d) float32, that after the last step too."""
    states: Array
    """(T + 1, B, s) float32."""
    legal: Array
    """(T + 1, B, n, A) bool."""
    alive: Array
    """(T + 1, B, n) bool."""
    actions: Array
    """(T, B, n) int64, counted from 0."""
    rewards: Array
    """(T, B) float64, the team's."""
    valid: Array
    """(T, B) bool: the step was taken."""
    terminated: Array
    """(T, B) bool: the last step of an episode that reached a terminal state."""
    truncated: Array
    """(T, B) bool: the last step of an episode that was cut off; its value continues."""

    def take(self, index: int) -> Episodes:
        """Return one of the episodes, alone and without padding."""
        steps = int(self.valid[:, index].sum())
        one = [of[: steps + len(of) - len(self.valid), [index]] for of in self]
        return Episodes(*one)


def episodes_of(data: Rollout, info: Mapping[str, Array], shape: TeamShape) -> Episodes:
    """Return a rollout of one whole episode in each environment as episodes.

    Args:
        data: the rollout, from first steps to ends.
        info: of the environments after their last steps.
        shape: of the team.
    """
    seen, acted = shape.widest
    steps, batch = data.valid.shape
    count = len(shape.agents)
    observations = np.zeros((steps + 1, batch, count, seen), np.float32)
    legal = np.zeros((steps + 1, batch, count, acted), np.bool_)
    masks = masks_of(info, shape.agents)
    for k, agent in enumerate(shape.agents):
        size, actions = shape.observations[k], shape.actions[k]
        observations[:1, :, k, :size] = data.observations[agent][:1]
        observations[1:, :, k, :size] = data.next_observations[agent]
        legal[..., k, :actions] = True
        if agent in data.masks:
            legal[:-1, :, k, :actions] = data.masks[agent] != 0
            legal[-1, :, k, :actions] = masks[agent] != 0
    alive = np.ones((steps + 1, batch, count), np.bool_)
    if data.alive is not None:
        alive[:-1], alive[-1] = data.alive, info["alive"]
    observations[~alive] = 0.0  # what a dead agent observes is not defined
    found = Episodes(
        observations,
        np.concatenate([data.states[:1], data.next_states]).astype(np.float32, copy=False),
        legal,
        alive,
        np.stack([data.actions[a] for a in shape.agents], -1),
        data.rewards.sum(-1),
        data.valid,
        data.terminated & data.valid,
        data.truncated & data.valid,
    )
    return padded([found.take(index) for index in range(batch)])


def padded(episodes: Sequence[Episodes]) -> Episodes:
    """Return episodes side by side, padded to the longest with zeros."""
    longest = max(len(one.valid) for one in episodes)
    parts = []
    for name in Episodes._fields:
        arrays = [getattr(one, name) for one in episodes]
        more = len(arrays[0]) - len(episodes[0].valid)
        filled = np.zeros((longest + more, len(arrays), *arrays[0].shape[2:]), arrays[0].dtype)
        for index, array in enumerate(arrays):
            filled[: len(array), index] = array[:, 0]
        parts.append(filled)
    return Episodes(*parts)


class EpisodeBuffer:
    """The newest episodes."""

    def __init__(self, capacity: int) -> None:
        """Start empty."""
        self.held: deque[Episodes] = deque(maxlen=capacity)
        """Single episodes, without padding; the newest last."""

    def __len__(self) -> int:
        """Return the number of episodes held."""
        return len(self.held)

    def add(self, episodes: Episodes) -> None:
        """Add episodes; the oldest make room."""
        self.held.extend(episodes.take(index) for index in range(episodes.valid.shape[1]))

    def sample(self, count: int, generator: torch.Generator) -> Episodes:
        """Return so many different episodes, drawn uniformly."""
        order = torch.randperm(len(self.held), generator=generator)[:count]
        return padded([self.held[index] for index in order.tolist()])

    def freeze(self) -> dict[str, Array]:
        """Return the episodes as plain arrays, one after another, and their lengths."""
        if not self.held:
            return {}
        frozen = {
            name: np.concatenate([getattr(one, name)[:, 0] for one in self.held])
            for name in Episodes._fields
        }
        return {**frozen, "lengths": np.array([len(one.valid) for one in self.held])}

    def thaw(self, frozen: Mapping[str, Array]) -> None:
        """Restore frozen episodes.

        Raises:
            KeyError, ValueError: they are not what ``freeze`` returned.
        """
        self.held.clear()
        if not frozen:
            return
        lengths = frozen["lengths"].astype(np.int64)
        parts = []
        for name in Episodes._fields:
            array = frozen[name]
            more = (len(array) - lengths.sum()) // len(lengths)
            parts.append(np.split(array, np.cumsum(lengths + more)[:-1]))
        self.held.extend(Episodes(*(of[:, None] for of in one)) for one in zip(*parts, strict=True))
