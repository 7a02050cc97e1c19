"""Loads saved specialists as one agent, which looks at the object and lets one of them act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pkubench.agents.contract import Agent, BoolArray, IntArray
from pkubench.agents.families.specialists.tasks import FloatArray, nearest, table_of
from pkubench.agents.rl.on_policy.acting import load as load_member
from pkubench.agents.saved.files import SavedAgent
from pkubench.envs.core.batch import SOLE_AGENT, Array
from pkubench.envs.grasp.observations import CODE_SCALE, Layout
from pkubench.envs.grasp.open_loop import SHADOW_GRIP
from pkubench.envs.grasp.rotations import conjugate, rotate
from pkubench.errors import AgentError, WeightsError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

LABELS = "labels"
"""Tensor: the specialist of each known task, (n,)."""


class RoutedState(NamedTuple):
    """What specialists remember of their episodes."""

    seeds: IntArray
    of: IntArray | None
    """The specialist of each episode; None before the first step."""
    members: tuple[Any, ...]
    """State of each specialist, of its own episodes."""


class RoutedAgent:
    """Lets the specialist act whose task is most like what the first observation shows."""

    def __init__(
        self, members: Sequence[Agent], labels: IntArray, known: tuple[FloatArray, FloatArray]
    ) -> None:
        """Take specialists, the one of each known task (n,), and the tasks' codes and verticals."""
        self.members, self.labels, self.known = tuple(members), labels, known
        self.layout: Layout = SHADOW_GRIP.layout

    def begin(self, seeds: IntArray) -> RoutedState:
        """Start episodes."""
        return RoutedState(np.asarray(seeds), None, ())

    def specialists(self, observation: Array) -> IntArray:
        """Return the number of the specialist for first observations, (n, 300) to (n,)."""
        seen = np.asarray(observation, dtype=np.float64)
        if seen.ndim != 2 or seen.shape[1] != self.layout.size:
            raise AgentError(
                f"this agent observes the state, (n, {self.layout.size}), got {seen.shape}"
            )
        quat = seen[:, self.layout.object_quaternion][:, [3, 0, 1, 2]]
        up = rotate(conjugate(quat), np.array([0.0, 0.0, 1.0]))
        codes = seen[:, self.layout.code] / CODE_SCALE
        found: IntArray = self.labels[nearest(codes, up, self.known)]
        return found

    def act(
        self, observation: Any, state: RoutedState, active: BoolArray
    ) -> tuple[Array, RoutedState]:
        """Return the next actions, (episodes, actions) float32, and the state."""
        seen = np.asarray(observation)
        of, before = state.of, state.members
        if of is None:
            of = self.specialists(seen)
            rows = [np.flatnonzero(of == k) for k in range(len(self.members))]
            pairs = zip(self.members, rows, strict=True)
            before = tuple(member.begin(state.seeds[mine]) for member, mine in pairs)
        found: Array | None = None
        after = list(before)
        for k, member in enumerate(self.members):
            mine = np.flatnonzero(of == k)
            if not len(mine):
                continue
            actions, after[k] = member.act(seen[mine], before[k], active[mine])
            if found is None:
                found = np.zeros((len(seen), *actions.shape[1:]), actions.dtype)
            found[mine] = actions
        assert found is not None
        return found, RoutedState(state.seeds, of, tuple(after))


def load(
    saved: SavedAgent, task: Task | None = None, acting: Mapping[str, Any] | None = None
) -> Agent:
    """Return the specialists that a folder holds, as one agent.

    Args:
        saved: what ``load_saved`` read.
        task: the task to act in; None is the one they were trained on.
        acting: ``{"mode": "sampled"}`` samples from policies instead of taking their modes.

    Raises:
        ConfigError: unknown acting setting or mode.
        WeightsError: the weights do not fit their own description.
        AgentError: the task has other spaces.
    """
    config, tensors = saved.config, saved.tensors
    count, labels = config.get("specialists"), np.asarray(tensors.get(LABELS, -1))
    known = table_of(tensors)
    is_count = type(count) is int and 1 <= count <= len(known[0])
    if not is_count or labels.shape != (len(known[0]),):
        raise WeightsError("saved specialists have a number of them, and one for each task")
    assert isinstance(count, int)
    if not np.isin(labels, np.arange(count)).all():
        raise WeightsError(f"tasks belong to specialists 0 to {count - 1}")
    members = []
    for k in range(count):
        start = f"{k}."
        own = {n.removeprefix(start): of for n, of in tensors.items() if n.startswith(start)}
        described = {**config, "members": {SOLE_AGENT: config.get("member")}}
        member = load_member(saved._replace(config=described, tensors=own), task, acting)
        assert isinstance(member, Agent)
        members.append(member)
    return RoutedAgent(members, labels.astype(np.int64), known)
