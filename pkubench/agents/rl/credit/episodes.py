"""Whole episodes of a rollout, as arrays that credit models read, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.errors import ConfigError

if TYPE_CHECKING:
    from pkubench.agents.rl.credit.base import CreditContext
    from pkubench.agents.rl.rollout import Rollout

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]


class Spans(NamedTuple):
    """Where the B episodes of a rollout are; L is the length of the longest."""

    steps: Array
    """(B, L) int64, each step's place on the rollout's time axis; 0 behind the end."""
    envs: Array
    """(B,) int64, the environment of each episode."""
    valid: Array
    """(B, L) bool: the step belongs to the episode."""

    @property
    def lengths(self) -> Array:
        """(B,) int64, steps of each episode."""
        found: Array = self.valid.sum(1)
        return found

    def gather(self, array: Array) -> Array:
        """Return the steps of an array (T, N, ...) by episode, (B, L, ...), zeros behind ends."""
        found = array[self.steps, self.envs[:, None]]
        found[~self.valid] = 0
        return found

    def scatter(self, values: Array, shape: tuple[int, ...]) -> Array:
        """Return values (B, L, ...) at their places in an array (T, N, ...), elsewhere 0."""
        found = np.zeros((*shape[:2], *values.shape[2:]), values.dtype)
        envs = np.broadcast_to(self.envs[:, None], self.valid.shape)
        found[self.steps[self.valid], envs[self.valid]] = values[self.valid]
        return found


def spans_of(rollout: Rollout) -> Spans:
    """Return where the episodes of a rollout are, environment by environment.

    Raises:
        ConfigError: it begins or ends inside an episode.
    """
    ends = (rollout.terminated | rollout.truncated) & rollout.valid
    env_of_start, starts = np.nonzero((rollout.first & rollout.valid).T)
    env_of_end, last = np.nonzero(ends.T)
    is_whole = len(starts) == len(last) and (env_of_start == env_of_end).all()
    lengths = last - starts + 1 if is_whole else np.zeros(0, np.int64)
    if not is_whole or (lengths < 1).any() or lengths.sum() != rollout.valid.sum():
        raise ConfigError(
            "credit of whole episodes cannot be assigned in a rollout that begins or ends inside "
            "one: set rollout=episodes"
        )
    places = np.arange(lengths.max())
    valid = places < lengths[:, None]
    return Spans(np.where(valid, starts[:, None] + places, 0), env_of_start, valid)


def returns_of(rollout: Rollout, spans: Spans) -> FloatArray:
    """Return the team's return of each episode, (B,): its rewards' sum over steps and agents."""
    total: FloatArray = spans.gather(rollout.rewards.sum(-1)).sum(1)
    return total


@dataclass(frozen=True, slots=True)
class Layout:
    """What the observations and actions of a team look like in ``Episodes``."""

    agents: tuple[str, ...]
    horizon: int
    """Most steps of an episode."""
    shapes: Mapping[str, int]
    """Agent id -> numbers of its observation; those of others are padded to the longest."""
    actions: int
    """Discrete: the number of actions; Box: of numbers of an action; the largest of all agents."""
    is_discrete: bool
    state: int = 0
    """Numbers of a state, where states are kept; else 0."""

    @property
    def observation(self) -> int:
        """Numbers of the longest observation."""
        return max(self.shapes.values())

    @staticmethod
    def of(context: CreditContext, *, keeps_states: bool = False) -> Layout:
        """Return the layout of a team's episodes.

        Raises:
            ConfigError: the team has actions of both kinds or of another, or its episodes have no
                time limit.
        """
        acted = context.action_spaces.values()
        kinds = {isinstance(s, spaces.Discrete) for s in acted}
        if any(isinstance(s, spaces.MultiDiscrete) for s in acted):
            raise ConfigError(
                "a learned credit model reads discrete actions or boxes, and here agents make "
                "several choices at once"
            )
        if len(kinds) > 1:
            raise ConfigError(
                "a learned credit model reads discrete actions or boxes, and this team has both"
            )
        sizes = [
            int(s.n) if isinstance(s, spaces.Discrete) else int(np.prod(s.shape or (1,)))
            for s in context.action_spaces.values()
        ]
        return Layout(
            context.agents,
            time_limit_of(context),
            {a: int(np.prod(s)) for a, s in context.observation_shapes.items()},
            max(sizes),
            kinds.pop(),
            int(np.prod(context.state_shape)) if keeps_states else 0,
        )


def time_limit_of(context: CreditContext) -> int:
    """Return the most steps of an episode.

    Raises:
        ConfigError: there is no limit.
    """
    if context.horizon is None:
        raise ConfigError(
            "credit of whole episodes needs episodes that end, and this environment has no time "
            "limit: give it max_episode_steps"
        )
    return context.horizon


@dataclass(frozen=True, slots=True)
class Episodes:
    """B whole episodes of n agents, padded to L steps: with zeros behind an episode's end."""

    observations: Array
    """(B, n, L + 1, d) float32, the final observation included."""
    actions: Array
    """(B, n, L) int64, or (B, n, L, k) float32."""
    lengths: Array
    """(B,) int64, at least 1."""
    returns: FloatArray
    """(B,), the team's."""
    states: Array | None = None
    """(B, L, s) float32, where they are kept."""

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self.lengths)

    @property
    def valid(self) -> Array:
        """(B, L) bool: the step belongs to the episode."""
        places: Array = np.arange(self.actions.shape[2]) < self.lengths[:, None]
        return places

    def take(self, index: Any) -> Episodes:
        """Return some episodes, without the steps that none of them has."""
        length = int(self.lengths[index].max())
        return Episodes(
            self.observations[index][:, :, : length + 1],
            self.actions[index][:, :, :length],
            self.lengths[index],
            self.returns[index],
            None if self.states is None else self.states[index][:, :length],
        )


EPISODE_FIELDS = tuple(field.name for field in fields(Episodes))


def episodes_of(rollout: Rollout, spans: Spans, layout: Layout) -> Episodes:
    """Return the episodes of a rollout. Dead agents observe zeros, and their actions are zeros."""
    count, length = spans.valid.shape
    number, lengths = len(layout.agents), spans.lengths
    seen = np.zeros((count, number, length + 1, layout.observation), np.float32)
    last = np.arange(count)
    for k, agent in enumerate(layout.agents):
        size = layout.shapes[agent]
        alive: Array | None = None
        lives: Array | None = None
        now, after = rollout.observations[agent], rollout.next_observations[agent]
        if rollout.alive is not None and rollout.died is not None:
            alive = rollout.alive[..., k]
            lives = alive & ~rollout.died[..., k]
        seen[:, k, :length, :size] = _numbers(spans.gather(now), alive, spans)
        final = _numbers(spans.gather(after), lives, spans)
        seen[last, k, lengths, :size] = final[last, lengths - 1]
    columns = [rollout.actions[agent].reshape(*rollout.first.shape, -1) for agent in layout.agents]
    if layout.is_discrete:
        acted = np.stack([spans.gather(of)[..., 0] for of in columns], 1).astype(np.int64)
    else:
        acted = np.zeros((count, number, length, layout.actions), np.float32)
        for k, of in enumerate(columns):
            acted[:, k, :, : of.shape[-1]] = spans.gather(of)
    if rollout.alive is not None:
        acted[~spans.gather(rollout.alive).swapaxes(1, 2)] = 0
    states = None
    if layout.state:
        states = _numbers(spans.gather(rollout.states), None, spans)
    return Episodes(seen, acted, lengths, returns_of(rollout, spans), states)


def _numbers(array: Array, alive: Array | None, spans: Spans) -> Array:
    """Return numbers (B, L, d) as float32, bytes in [0, 1], and zeros where an agent is dead."""
    scale = 255.0 if array.dtype == np.uint8 else 1.0
    numbers: Array = array.astype(np.float32) / np.float32(scale)
    if alive is not None:
        numbers[~spans.gather(alive)] = 0.0
    return numbers
