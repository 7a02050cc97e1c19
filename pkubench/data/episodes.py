"""The container that offline learners read: whole episodes in flat arrays.

M is the number of steps of all episodes together, E the number of episodes. Step ``t`` of episode
``e`` is row ``starts[e] + t`` of every array with M rows, so a slice of an episode is a slice of an
array::

    first, last = episodes.starts[e], episodes.starts[e + 1]
    episodes.observations[first:last]     # o_0 .. o_{L-1}, what was seen before each action
    episodes.actions[first:last]          # a_0 .. a_{L-1}
    episodes.rewards[first:last]          # r_0 .. r_{L-1}, what each action earned
    episodes.final_observations[e]        # o_L, after the last action
    episodes.terminated[e]                # a terminal state ended it: no bootstrapping from o_L

Checked when it is made, whatever it comes from: at least one episode, none without a step, nothing
that is NaN or infinite, shapes that agree. A learner relies on it and checks nothing again.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.errors import DataError

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Episodes:
    """A data set in memory. Arrays are read-only; equal content has an equal ``sha256``.

    With several agents (``agents`` is not empty), observations, actions and rewards have an axis of
    agents after the first: (M, agents, ...), in the order of ``agents``; all agents then have
    observations of one shape and actions of one shape.

    Raises:
        DataError: something is missing, of a wrong shape, NaN or infinite; or an episode is empty.
    """

    observations: Array
    """(M, *observation shape): float32, or integers as recorded (grids, discrete observations)."""
    final_observations: Array
    """(E, *observation shape): what was seen after the last step of each episode."""
    actions: Array
    """(M, *action shape) float32; (M,) int64 for discrete actions."""
    rewards: FloatArray
    """(M,) float64, not discounted and not scaled; (M, agents) with several agents."""
    terminated: BoolArray
    """(E,): whether a terminal state ended the episode; else it was truncated."""
    starts: IntArray
    """(E + 1,) int64, ascending from 0 to M: episode e is the rows starts[e] to starts[e + 1]."""
    costs: FloatArray | None = None
    """(M,) float64, where the task counts costs."""
    agents: tuple[str, ...] = ()
    """Ids of the agents; empty for a single agent."""
    task: str = ""
    """Full id of the task that it was recorded on; "" where another library recorded it."""
    name: str = ""
    """What to call it in messages: a data set's id, or its path."""

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            if (array := getattr(self, name)) is not None:
                if np.asarray(array).dtype.kind not in "biuf":
                    raise self._error(f"{name} are not numbers")
                object.__setattr__(self, name, _as_kind(array, kind))
        self._check_shapes()
        for name in ("observations", "final_observations", "actions", "rewards", "costs"):
            array = getattr(self, name)
            if array is None or array.dtype.kind != "f":
                continue
            if not np.isfinite(array).all():
                row = int(np.argwhere(~np.isfinite(array))[0, 0])
                episode = row if name == "final_observations" else self.episode_of_row(row)
                raise self._error(f"NaN or infinite {name} in episode {episode}")

    def _check_shapes(self) -> None:
        steps, lengths = len(self.actions), np.diff(self.starts)
        if len(lengths) < 1 or not steps:
            raise self._error("no episodes")
        if (lengths < 1).any():
            raise self._error(f"episode {int(np.argmax(lengths < 1))} has length 0")
        if self.starts[0] != 0 or self.starts[-1] != steps:
            raise self._error(f"episodes cover {self.starts[-1]} steps of {steps}")
        agents = (len(self.agents),) if self.agents else ()
        wanted = {
            "observations": (steps, *agents),
            "final_observations": (len(lengths), *self.observations.shape[1:]),
            "actions": (steps, *agents),
            "rewards": (steps, *agents),
            "costs": (steps,),
            "terminated": (len(lengths),),
        }
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array is None:
                continue
            found = array.shape if name in _WHOLE else array.shape[: len(shape)]
            if found != shape:
                raise self._error(f"{name} has shape {array.shape}, wanted {shape}")

    def _error(self, problem: str) -> DataError:
        return DataError(f"{self.name or 'the data set'}: {problem}")

    def __len__(self) -> int:
        """Return E, the number of episodes."""
        return len(self.starts) - 1

    @property
    def num_steps(self) -> int:
        """M, the number of steps of all episodes together."""
        return len(self.actions)

    @property
    def lengths(self) -> IntArray:
        """Steps of each episode (E,)."""
        return np.diff(self.starts)

    @property
    def is_discrete(self) -> bool:
        """Whether actions are numbers of choices (int64) and not vectors (float32)."""
        return self.actions.dtype.kind == "i"

    @property
    def returns(self) -> FloatArray:
        """Undiscounted return of each episode (E,), or (E, agents)."""
        found: FloatArray = np.add.reduceat(self.rewards, self.starts[:-1], axis=0)
        return found

    @property
    def timesteps(self) -> IntArray:
        """Number of each step within its episode (M,), from 0."""
        return np.arange(self.num_steps) - np.repeat(self.starts[:-1], self.lengths)

    def episode_of_row(self, row: int) -> int:
        """Return the episode that a row belongs to."""
        return int(np.searchsorted(self.starts, row, side="right") - 1)

    def terminations(self) -> BoolArray:
        """Return (M,): whether the step led to a terminal state."""
        found = np.zeros(self.num_steps, dtype=np.bool_)
        found[self.starts[1:] - 1] = self.terminated
        return found

    def next_observations(self) -> Array:
        """Return a new array (M, *observation shape): what was seen after each step."""
        found = np.empty_like(self.observations)
        found[:-1] = self.observations[1:]
        found[self.starts[1:] - 1] = self.final_observations
        return found

    def returns_to_go(self, gamma: float = 1.0) -> FloatArray:
        """Return sum_{k >= t} gamma^(k - t) r_k of each step: the shape of ``rewards``.

        The reward of step t itself is included.
        """
        found = np.array(self.rewards)
        by_left = self.num_steps_left()
        # One sweep over the episodes together, from their last steps backwards.
        order = np.argsort(by_left, kind="stable")
        counts = np.bincount(by_left)
        rows = np.split(order, np.cumsum(counts)[:-1])
        for at in rows[1:]:
            found[at] += gamma * found[at + 1]
        return found

    def num_steps_left(self) -> IntArray:
        """Return (M,): how many steps of the episode follow each step; 0 for the last."""
        found: IntArray = np.repeat(self.starts[1:], self.lengths) - 1 - np.arange(self.num_steps)
        return found

    def select(self, episodes: Sequence[int] | IntArray) -> Episodes:
        """Return the data set of these episodes, in the given order."""
        chosen = np.asarray(episodes, dtype=np.int64)
        lengths = self.lengths[chosen]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        offsets = np.repeat(self.starts[chosen] - starts[:-1], lengths)
        rows = offsets + np.arange(len(offsets))
        return Episodes(
            observations=self.observations[rows],
            final_observations=self.final_observations[chosen],
            actions=self.actions[rows],
            rewards=self.rewards[rows],
            terminated=self.terminated[chosen],
            starts=starts,
            costs=None if self.costs is None else self.costs[rows],
            agents=self.agents,
            task=self.task,
            name=self.name,
        )

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of its content: the arrays, the task and the agents; not of its name."""
        whole = hashlib.sha256(f"{self.task}\n{','.join(self.agents)}\n".encode())
        for name in _KINDS:
            array = getattr(self, name)
            if array is not None:
                whole.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
                whole.update(np.ascontiguousarray(array).data)
        return whole.hexdigest()

    def check_spaces(self, observation: spaces.Space[Any], action: spaces.Space[Any]) -> None:
        """Check that an agent of these spaces, or each of several alike, can learn from it.

        Raises:
            DataError: observations or actions have another shape, or are of another kind.
        """
        inner = 2 if self.agents else 1
        for name, array, space in (
            ("observations", self.observations, observation),
            ("actions", self.actions, action),
        ):
            is_number = isinstance(space, spaces.Discrete | spaces.MultiDiscrete)
            fits = array.shape[inner:] == space.shape
            if not fits or (name == "actions" and is_number != (array.dtype.kind == "i")):
                raise self._error(
                    f"its {name} are {array.shape[inner:]} {array.dtype}, and those of the task "
                    f"are {space}"
                )
            if isinstance(space, spaces.Discrete) and array.size:
                low, high = int(space.start), int(space.start + space.n) - 1
                if array.min() < low or array.max() > high:
                    raise self._error(
                        f"its {name} are {array.min()}..{array.max()}, and those of the task are "
                        f"{low}..{high}"
                    )


_KINDS = {
    "observations": "seen",
    "final_observations": "seen",
    "actions": "taken",
    "rewards": "float64",
    "terminated": "bool",
    "starts": "int64",
    "costs": "float64",
}
_WHOLE = ("final_observations", "rewards", "costs", "terminated")
"""Arrays whose whole shape is known; of the others, the first axes are."""


def _as_kind(array: Any, kind: str) -> Array:
    """Return a read-only array of the dtype that the container promises."""
    found = np.asarray(array)
    if kind == "seen":
        found = found.astype(np.float32, copy=False) if found.dtype.kind == "f" else found
    elif kind == "taken":
        found = found.astype(np.float32 if found.dtype.kind == "f" else np.int64, copy=False)
    else:
        found = found.astype(kind, copy=False)
    if found.flags.writeable:
        found = found.view()
        found.flags.writeable = False
    return found


class EpisodesBuilder:
    """Collects episodes one after another.

    >>> import numpy as np
    >>> builder = EpisodesBuilder(task="pkubench/LuckyArm-v0")
    >>> builder.add(np.eye(3, dtype=np.float32), actions=[0, 1], rewards=[0, 1], terminated=True)
    >>> builder.build().returns
    array([1.])
    """

    def __init__(self, *, task: str = "", name: str = "", agents: Sequence[str] = ()) -> None:
        self._facts: dict[str, Any] = {"task": task, "name": name, "agents": tuple(agents)}
        self._parts: list[tuple[Array, Array, Array, Array | None]] = []
        self._terminated: list[bool] = []

    def add(
        self,
        observations: npt.ArrayLike,
        actions: npt.ArrayLike,
        rewards: npt.ArrayLike,
        terminated: bool,
        costs: npt.ArrayLike | None = None,
    ) -> None:
        """Add an episode of L steps.

        Args:
            observations: (L + 1, ...), from the first to the one after the last action.
            actions: (L, ...).
            rewards: (L,), or (L, agents).
            terminated: whether it ended in a terminal state; else it was truncated.
            costs: (L,), of all episodes or of none.

        Raises:
            DataError: numbers of steps that differ.
        """
        part = (np.asarray(observations), np.asarray(actions), np.asarray(rewards))
        cost = None if costs is None else np.asarray(costs)
        seen, taken, earned = (len(array) for array in part)
        if not seen - 1 == taken == earned or (cost is not None and len(cost) != taken):
            raise DataError(
                f"{self._facts['name'] or 'the data set'}: episode {len(self._parts)} has {seen} "
                f"observations, {taken} actions and {earned} rewards; L + 1, L and L are wanted"
            )
        if self._parts and (cost is None) != (self._parts[0][3] is None):
            raise DataError(
                f"{self._facts['name'] or 'the data set'}: costs are given for some episodes and "
                "not for others"
            )
        self._parts.append((*part, cost))
        self._terminated.append(bool(terminated))

    def build(self, **facts: Any) -> Episodes:
        """Return the data set; ``facts`` replace those of the constructor.

        Raises:
            DataError: as :class:`Episodes`.
        """
        if not self._parts:
            raise DataError(f"{self._facts['name'] or 'the data set'}: no episodes")
        seen, taken, earned, cost = zip(*self._parts, strict=True)
        for what, arrays in (("observations", seen), ("actions", taken), ("rewards", earned)):
            shapes = {array.shape[1:] for array in arrays}
            if len(shapes) > 1:
                raise DataError(
                    f"{self._facts['name'] or 'the data set'}: {what} of its episodes have "
                    f"different shapes, {' and '.join(map(str, sorted(shapes)[:2]))}"
                )
        return Episodes(
            observations=np.concatenate([array[:-1] for array in seen]),
            final_observations=np.stack([array[-1] for array in seen]),
            actions=np.concatenate(taken),
            rewards=np.concatenate(earned),
            terminated=np.array(self._terminated),
            starts=np.concatenate([[0], np.cumsum([len(array) for array in taken])]),
            costs=None if cost[0] is None else np.concatenate(cost),
            **{**self._facts, **facts},
        )


def joined(parts: Iterable[Episodes], name: str = "") -> Episodes:
    """Return the episodes of several data sets of one task, in order.

    Raises:
        DataError: they are of different tasks or agents, or only some have costs.
    """
    sets = list(parts)
    if len({(part.task, part.agents, part.costs is None) for part in sets}) != 1:
        raise DataError("data sets are joined if they have the same task, agents and costs")
    starts = np.cumsum([0, *(part.num_steps for part in sets)])
    first = sets[0]

    def all_of(field_name: str) -> Array:
        return np.concatenate([getattr(part, field_name) for part in sets])

    return Episodes(
        observations=all_of("observations"),
        final_observations=all_of("final_observations"),
        actions=all_of("actions"),
        rewards=all_of("rewards"),
        terminated=all_of("terminated"),
        starts=np.concatenate(
            [part.starts[:-1] + at for part, at in zip(sets, starts, strict=False)] + [starts[-1:]]
        ),
        costs=None if first.costs is None else all_of("costs"),
        agents=first.agents,
        task=first.task,
        name=name or first.name,
    )


def each(episodes: Episodes) -> Iterator[tuple[int, slice]]:
    """Yield the number of each episode and the slice of its rows."""
    for number, (first, last) in enumerate(
        zip(episodes.starts[:-1], episodes.starts[1:], strict=True)
    ):
        yield number, slice(int(first), int(last))
