"""Agents written by hand: controllers that know a task's rules, as anchors for learned ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from pkubench.agents.agent import Array, BoolArray, Entrant, FloatArray, IntArray, Team
from pkubench.errors import AgentError, UnknownName

_MOST_ENUMERATED: Final = 6
"""Teams up to this size try every assignment (720); larger ones solve each episode by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """How an agent steers to a landmark it is ``offset`` away from, moving at ``velocity``."""

    lookahead: float = 0.25
    """Discrete actions: seconds of present motion that are taken off the offset; then the axis with
    more left is pushed along. Braking and damping together stop a body in about that time."""
    deadband: float = 0.03
    """Discrete actions: offsets below this are left alone."""
    proportional: float = 20.0
    """Continuous actions: push = clip(proportional × offset − derivative × velocity, −1, 1)."""
    derivative: float = 6.0


@dataclass(frozen=True, slots=True)
class AssignmentAgent:
    """Covers landmarks in SimpleSpread by the assignment with the least total distance.

    Every agent sees all bodies and landmarks, so each one works out the whole team's assignment
    from its own observation and all come to the same: execution is decentralised. With the default
    gains a team of three gets -22.4 with discrete and -19.8 with continuous actions (v3 rules, the
    sum over agents; 20,000 episodes, standard error 0.07).
    """

    index: int
    """This agent's place in the team."""
    continuous: bool
    gains: Gains = Gains()

    def begin(self, seeds: IntArray) -> None:
        """Nothing is remembered and nothing is drawn."""

    def act(self, observation: Array, state: None, active: BoolArray) -> tuple[Array, None]:
        """Steer to the landmark assigned to this agent; observation (episodes, 6 N)."""
        batch, length = observation.shape
        count, rest = divmod(length, 6)
        if rest or not self.index < count:
            raise AgentError(
                f"scripted:assignment plays SimpleSpread, whose agents see 6 numbers for each "
                f"agent of the team; got {length}"
            )
        seen = observation.astype(np.float64)
        velocity = seen[:, 0:2]
        landmarks = seen[:, 4 : 4 + 2 * count].reshape(batch, count, 2)
        others = seen[:, 4 + 2 * count : 2 + 4 * count].reshape(batch, count - 1, 2)
        team = np.zeros((batch, count, 2))
        team[:, : self.index] = others[:, : self.index]
        team[:, self.index + 1 :] = others[:, self.index :]
        apart = team[:, :, None] - landmarks[:, None]
        distance = np.sqrt(apart[..., 0] ** 2 + apart[..., 1] ** 2)
        target = best_assignment(distance)[:, self.index]
        offset = landmarks[np.arange(batch), target]
        return (self._push if self.continuous else self._move)(offset, velocity), None

    def _move(self, offset: FloatArray, velocity: FloatArray) -> IntArray:
        """Return moves (episodes,): 0 nothing, 1 left, 2 right, 3 down, 4 up."""
        error = offset - self.gains.lookahead * velocity
        axis = np.abs(error).argmax(axis=1)
        worst = error[np.arange(len(error)), axis]
        return np.where(np.abs(worst) < self.gains.deadband, 0, 1 + 2 * axis + (worst > 0))

    def _push(self, offset: FloatArray, velocity: FloatArray) -> npt.NDArray[np.float32]:
        """Return pushes (episodes, 5): nothing, left, right, down, up, each in [0, 1]."""
        push = self.gains.proportional * offset - self.gains.derivative * velocity
        action = np.zeros((len(push), 5), dtype=np.float32)
        action[:, [1, 3]] = np.clip(-push, 0.0, 1.0)
        action[:, [2, 4]] = np.clip(push, 0.0, 1.0)
        return action


def best_assignment(cost: FloatArray) -> IntArray:
    """Return for each row's agents the columns that make the total cost least.

    Args:
        cost: (batch, agents, landmarks), square.

    Returns:
        (batch, agents) int64, a permutation in each row; the first one in lexical order if several
        are best (up to 6 agents).
    """
    batch, count, _ = cost.shape
    if count > _MOST_ENUMERATED:
        from scipy.optimize import linear_sum_assignment

        return np.array([linear_sum_assignment(matrix)[1] for matrix in cost], dtype=np.int64)
    choices = _permutations(count)
    totals = np.zeros((batch, len(choices)))
    for agent in range(count):
        totals += cost[:, agent, choices[:, agent]]
    best: IntArray = choices[totals.argmin(axis=1)]
    return best


@lru_cache
def _permutations(count: int) -> IntArray:
    return np.array(list(itertools.permutations(range(count))), dtype=np.int64)


def assignment_team(task_id: str) -> Entrant:
    """Return the team for a SimpleSpread task.

    Raises:
        AgentError: another task.
    """
    name = task_id.rsplit("/", 1)[-1]
    if not name.startswith("SimpleSpread"):
        raise AgentError(f"scripted:assignment plays the SimpleSpread tasks only, not {task_id!r}")
    continuous = "Continuous" in name
    return Team({f"agent_{i}": AssignmentAgent(i, continuous) for i in range(3)})


SCRIPTED: dict[str, Callable[[str], Entrant]] = {"assignment": assignment_team}
"""Factories of the scripted agents, by the NAME of ``scripted:NAME``, from a task id."""


def scripted_agent(name: str, task_id: str) -> Entrant:
    """Return the scripted agent ``name`` for a task.

    Raises:
        UnknownName: no such scripted agent.
        AgentError: it does not play this task.
    """
    if name not in SCRIPTED:
        raise UnknownName("scripted agent", name, SCRIPTED)
    return SCRIPTED[name](task_id)
