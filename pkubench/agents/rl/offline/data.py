"""A data set as learners use it: flat states, actions in [-1, 1], windows and transitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.agents.nn.actor import action_size
from pkubench.data.episodes import Episodes
from pkubench.errors import DataError

Array = npt.NDArray[Any]


class Windows(NamedTuple):
    """B slices of episodes, L steps each, padded on the right."""

    rows: Array
    """(B, L) int64 rows of the data; the last step is repeated in the padding."""
    valid: Array
    """(B, L) bool: whether a slot is a step, not padding."""

    def trimmed(self) -> Windows:
        """Return the slices without the columns that are padding in all of them."""
        length = int(self.valid.any(axis=0).sum())
        return Windows(self.rows[:, :length], self.valid[:, :length])


@dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """A data set of one agent, made once for a training."""

    episodes: Episodes
    states: Array
    """(M, d) float32, as ``flat_states`` returns them, not normalised."""
    actions: Array
    """(M, d_a) float32, the bounds mapped to [-1, 1]; (M,) int64 from 0 for discrete actions."""
    space: spaces.Space[Any]
    """Of the environment's actions."""
    mean: Array
    """(d,) float32, of the states."""
    std: Array
    """(d,) float32, of the states, plus 1e-6."""

    @property
    def is_discrete(self) -> bool:
        """Whether actions are numbers of choices."""
        return isinstance(self.space, spaces.Discrete)

    @property
    def num_states(self) -> int:
        """Numbers of a state."""
        return int(self.states.shape[1])

    @property
    def num_actions(self) -> int:
        """Dimensions of an action, or number of discrete actions."""
        return action_size(self.space)

    def normalised(self) -> Array:
        """Return the states (M, d) float32 with mean 0 and deviation 1."""
        return (self.states - self.mean) / self.std

    def next_rows(self) -> tuple[Array, Array]:
        """Return the flat states after each step (M, d), and whether they are terminal (M,)."""
        return flat_states(self.episodes.next_observations()), self.episodes.terminations()

    def like(self, episodes: Episodes) -> Prepared:
        """Return other episodes in the same form, with the moments of these."""
        return _arranged(episodes, self.space, self.mean, self.std)

    def draw_windows(self, batch: int, length: int, rng: np.random.Generator) -> Windows:
        """Draw slices that begin at any step: an episode's share is its length, as its starts are.

        The published code draws an episode by its length, then a step of it: the same.
        """
        first = rng.integers(self.episodes.num_steps, size=batch)
        left = self.episodes.num_steps_left()[first]
        steps = np.arange(length)
        return Windows(
            first[:, None] + np.minimum(steps, left[:, None]),
            steps <= left[:, None],
        )


def prepare(
    episodes: Episodes, observation: spaces.Space[Any], action: spaces.Space[Any]
) -> Prepared:
    """Return a data set in the form of learners.

    Raises:
        DataError: it is of several agents, or of other spaces.
        ConfigError: actions are neither Discrete nor a bounded one-dimensional Box.
    """
    if episodes.agents:
        raise DataError(f"{episodes.name or 'the data set'}: it is of several agents, not of one")
    episodes.check_spaces(observation, action)
    action_size(action)
    wide = flat_states(episodes.observations).astype(np.float64)
    mean, std = wide.mean(0), wide.std(0) + 1e-6
    return _arranged(episodes, action, mean.astype(np.float32), std.astype(np.float32))


def _arranged(episodes: Episodes, action: spaces.Space[Any], mean: Array, std: Array) -> Prepared:
    if isinstance(action, spaces.Discrete):
        actions = episodes.actions - int(action.start)
    else:
        assert isinstance(action, spaces.Box)
        middle, half = (action.high + action.low) / 2, (action.high - action.low) / 2
        unit = (episodes.actions - middle) / half
        actions = np.clip(unit, -1.0, 1.0).astype(np.float32)
    return Prepared(
        episodes=episodes,
        states=flat_states(episodes.observations),
        actions=actions,
        space=action,
        mean=mean,
        std=std,
    )


def flat_states(observations: Array) -> Array:
    """Return observations (N, ...) as float32 (N, numbers)."""
    return observations.reshape(len(observations), -1).astype(np.float32, copy=False)


def best_episodes(episodes: Episodes, share: float) -> Array:
    """Return the numbers of the best episodes, with at most a ``share`` of all steps together.

    Episodes are ranked by undiscounted return, earlier ones first where returns are equal, and are
    taken from the best on while their steps stay within the share; at least the best one is. So
    does kzl/decision-transformer; CORL ranks by return discounted with 0.99.
    """
    order = np.argsort(-episodes.returns, kind="stable")
    steps = np.cumsum(episodes.lengths[order])
    count = int((steps <= share * episodes.num_steps + 1e-9).sum())
    chosen: Array = order[: max(count, 1)]
    return chosen
