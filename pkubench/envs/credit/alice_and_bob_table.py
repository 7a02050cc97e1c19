"""AliceAndBob as a table: every state, every joint action, and exact values.

The rules are played once, on arrays, from the start to every state that can be reached. An episode
is then a walk through the table, and what policies are worth is computed by dynamic programming.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.core.batch import BoolArray, FloatArray
from pkubench.envs.core.seeding import IntArray

MAP: Final = (
    "#########",
    "#A..#..B#",
    "#...#...#",
    "#...#k..#",
    "##a###b##",
    "#K......#",
    "#.......#",
    "#......T#",
    "#########",
)
"""Walls, where Alice and Bob start, keys (k, K), the doors that they open (a, b), the treasure."""
SIDE: Final = len(MAP)
FREE, WALL, ALICE, TREASURE = 0, 1, 5, 7
"""Codes of what a cell holds; the keys are 2 and 3, and Bob is 6."""
BUMPED: Final = -1
"""An agent's event when a wall stops it; otherwise 0, the key that it took, or the treasure."""
BUMP_REWARD: Final = -0.1
GOAL_REWARD: Final = 100.0
MOVES: Final = np.array([1, -1, -SIDE, SIDE])
"""What each action adds to a cell: right, left, up, down."""
ACTIONS: Final = len(MOVES)
JOINT_ACTIONS: Final = ACTIONS**2
"""Joint action ``4 a + b`` is Alice's action ``a`` and Bob's ``b``."""
OBSERVED: Final = 19

_CELLS: Final = "".join(MAP)
_STARTS, _KEYS, _DOORS = ([_CELLS.index(c) for c in of] for of in ("AB", "kK", "ab"))
_TREASURE: Final = _CELLS.index("T")
_IS_WALL: Final = np.array([c in "#ab" for c in _CELLS])
_IS_ROOM: Final = np.array([1 <= k // SIDE <= 3 and c != "#" for k, c in enumerate(_CELLS)])
"""The two upper rooms, which both agents must have left."""
_RADIX: Final = (SIDE**2, SIDE**2, 2, 2, 3, 3, 2, 9, 9)
"""Number of values of the columns of a state: both agents' cells; whether each key is taken; the
code of both agents' own cells, 0, or less 4 (an agent that leaves a shared cell clears it); whether
the treasure's code is still there; both agents' last events, plus 1."""
_CODE, _SHOWN, _EVENT = 4, 6, 7


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Every reachable state (S of them), and what each joint action does in it."""

    following: IntArray
    """(S, 16): the next state; a terminal state's is itself."""
    rewards: FloatArray
    """(S, 16): the team's reward."""
    halves: FloatArray
    """(16 S, 2): each agent's half of it; row 16 s + j is of joint action j in state s."""
    differences: FloatArray
    """(16 S, 2): each agent's difference reward (see :func:`difference_rewards`), by the same
    rows."""
    is_terminal: BoolArray
    """(S,): the treasure was reached."""
    observations: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
    """For each agent, (S, 19)."""
    occupancy: npt.NDArray[np.uint8]
    """(S, 81): the code of each cell."""
    cells: IntArray
    """(S, 2): where the agents are, 9 row + column."""
    is_taken: BoolArray
    """(S, 2): which keys are taken."""
    events: IntArray
    """(S, 2): what last happened to each agent: 0, ``BUMPED``, a key's code or ``TREASURE``."""
    start: int
    """The state where all episodes start."""


@functools.cache
def table() -> Table:
    """Return the table; the first call takes a fraction of a second."""
    start = np.array([[*_STARTS, 0, 0, 1, 2, 1, 1, 1]])
    known = _keys(start)
    fresh = known
    while len(fresh):
        reached, _, _ = _played(_columns(fresh))
        fresh = np.setdiff1d(_keys(reached), known)
        known = np.union1d(known, fresh)
    states = _columns(known)
    reached, rewards, _ = _played(states)
    return Table(
        following=np.searchsorted(known, _keys(reached)).reshape(-1, JOINT_ACTIONS),
        rewards=rewards.reshape(-1, JOINT_ACTIONS),
        halves=np.repeat(0.5 * rewards[:, None], 2, axis=1),
        differences=_differences(rewards.reshape(-1, ACTIONS, ACTIONS)),
        is_terminal=_is_terminal(states),
        observations=(_observations(states, 0), _observations(states, 1)),
        occupancy=_occupancy(states),
        cells=states[:, :2],
        is_taken=states[:, 2:4] == 1,
        events=states[:, _EVENT:] - 1,
        start=int(np.searchsorted(known, _keys(start))[0]),
    )


@functools.cache
def optimal_values(horizon: int, gamma: float = 1.0) -> FloatArray:
    """Return the largest expected return from every state, by value iteration: (horizon + 1, S).

    Row k is of k steps before the time limit; the last row's state ``table().start`` has the value
    of an episode. Without discount and far from the limit, only steps that waste the chance to
    reach the treasure in time change the value; with ``gamma`` below 1 each step towards it does.
    """
    return _iterated(horizon, gamma, lambda outcomes: outcomes.max(axis=1))


@functools.cache
def random_values(horizon: int, gamma: float = 1.0) -> FloatArray:
    """Return the expected return of uniformly random actions, (horizon + 1, S)."""
    return _iterated(horizon, gamma, lambda outcomes: outcomes.mean(axis=1))


@functools.cache
def random_success(horizon: int) -> float:
    """Return the probability that uniformly random actions reach the treasure in time."""
    known = table()
    chance = known.is_terminal.astype(np.float64)
    for _ in range(horizon):
        chance = np.where(known.is_terminal, 1.0, chance[known.following].mean(axis=1))
    return float(chance[known.start])


@functools.cache
def best_plan() -> IntArray:
    """Return joint actions (steps, 2): the fewest that reach the treasure without a bump."""
    known, horizon = table(), 1
    while optimal_values(horizon)[horizon, known.start] < GOAL_REWARD:
        horizon += 1
    values, state, plan = optimal_values(horizon), known.start, []
    for left in range(horizon, 0, -1):
        outcomes = known.rewards[state] + values[left - 1][known.following[state]]
        plan.append(divmod(int(outcomes.argmax()), ACTIONS))
        state = int(known.following[state, outcomes.argmax()])
    return np.array(plan, dtype=np.int64)


def difference_rewards(states: IntArray, actions: IntArray) -> FloatArray:
    """Return what each agent's action changed in the team's reward: (..., 2).

    The reward less its mean over the four actions that the agent had, the other agent's action
    given; there is no action that does nothing, with which to compare.

    Args:
        states: (...), before the step.
        actions: (..., 2).
    """
    joint = ACTIONS * actions[..., 0] + actions[..., 1]
    found: FloatArray = table().differences[states * JOINT_ACTIONS + joint]
    return found


def _differences(rewards: FloatArray) -> FloatArray:
    """Return the difference rewards (16 S, 2) of rewards (S, Alice's action, Bob's action)."""
    compared = [rewards - rewards.mean(axis=axis, keepdims=True) for axis in (1, 2)]
    return np.stack(compared, axis=-1).reshape(-1, 2)


def walk(actions: IntArray) -> IntArray:
    """Return the states of an episode, (steps + 1,), from its joint actions (steps, 2)."""
    known, states = table(), [table().start]
    for alice, bob in actions.tolist():
        states.append(int(known.following[states[-1], ACTIONS * alice + bob]))
    return np.array(states, dtype=np.int64)


def _iterated(
    horizon: int, gamma: float, summarise: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    known = table()
    values = np.zeros((horizon + 1, len(known.is_terminal)))
    for left in range(1, horizon + 1):
        values[left] = summarise(known.rewards + gamma * values[left - 1][known.following])
    return values


def _keys(states: IntArray) -> IntArray:
    """Return each state as one number."""
    numbers = np.zeros(len(states), dtype=np.int64)
    for column, radix in enumerate(_RADIX):
        numbers = numbers * radix + states[:, column]
    return numbers


def _columns(numbers: IntArray) -> IntArray:
    """Return the columns of states given as numbers, (states, 9)."""
    columns = []
    for radix in reversed(_RADIX):
        columns.append(numbers % radix)
        numbers = numbers // radix
    return np.stack(columns[::-1], axis=1)


def _is_terminal(states: IntArray) -> BoolArray:
    is_there: BoolArray = (states[:, :2] == _TREASURE).any(1) & ~_IS_ROOM[states[:, :2]].any(1)
    return is_there


def _played(states: IntArray) -> tuple[IntArray, FloatArray, BoolArray]:
    """Play every joint action in every state.

    Returns:
        The next states (16 states, 9), the team's rewards, and whether the treasure was reached,
        state by state and action by action.
    """
    is_over = np.repeat(_is_terminal(states), JOINT_ACTIONS)
    before = np.repeat(states, JOINT_ACTIONS, axis=0)
    after, rewards = before.copy(), np.zeros(len(before))
    joint = np.tile(np.arange(JOINT_ACTIONS), len(states))
    after[:, _EVENT:] = 1
    for agent, action in enumerate((joint // ACTIONS, joint % ACTIONS)):
        _move(after, rewards, agent, action)
    for agent in range(2):
        for key, cell in enumerate(_KEYS):
            takes = (after[:, agent] == cell) & (after[:, 2 + key] == 0)
            after[takes, 2 + key] = 1
            after[takes, _EVENT + agent] = 1 + 2 + key
    is_reached = _is_terminal(after)
    rewards[is_reached] += GOAL_REWARD
    finder = np.where(after[:, 0] == _TREASURE, 0, 1)[is_reached]
    after[np.flatnonzero(is_reached), _EVENT + finder] = 1 + TREASURE
    after[is_over], rewards[is_over] = before[is_over], 0.0
    return after, rewards, is_reached


def _move(states: IntArray, rewards: FloatArray, agent: int, action: IntArray) -> None:
    """Move one agent in every state, or charge it for the wall that stops it."""
    old, new = states[:, agent].copy(), states[:, agent] + MOVES[action]
    is_free = ~_IS_WALL[new]
    for key, door in enumerate(_DOORS):
        is_free |= (new == door) & (states[:, 2 + key] == 1)
    rewards[~is_free] += BUMP_REWARD
    states[~is_free, _EVENT + agent] = 1 + BUMPED
    moved = np.flatnonzero(is_free)
    states[moved, agent] = new[moved]
    states[moved, _CODE + agent] = 1 + agent
    other = states[moved, 1 - agent]
    left, joined = moved[other == old[moved]], moved[other == new[moved]]
    states[left, _CODE + 1 - agent] = 0
    states[joined, _CODE + 1 - agent] = 1 + agent
    states[moved[new[moved] == _TREASURE], _SHOWN] = 0


def _occupancy(states: IntArray) -> npt.NDArray[np.uint8]:
    """Return the code of every cell, (states, 81)."""
    codes = np.tile(np.where(_IS_WALL, WALL, FREE).astype(np.uint8), (len(states), 1))
    rows = np.arange(len(states))
    for key in range(2):
        is_taken = states[:, 2 + key] == 1
        codes[~is_taken, _KEYS[key]] = 2 + key
        codes[is_taken, _DOORS[key]] = FREE
    codes[states[:, _SHOWN] == 1, _TREASURE] = TREASURE
    for agent in range(2):
        code = states[:, _CODE + agent]
        codes[rows, states[:, agent]] = np.where(code > 0, code + ALICE - 1, FREE)
    return codes


def _observations(states: IntArray, agent: int) -> npt.NDArray[np.float32]:
    """Return what an agent sees in every state, (states, 19)."""
    cell, other = states[:, agent], states[:, 1 - agent]
    around = (np.array([-SIDE, 0, SIDE])[:, None] + np.array([-1, 0, 1])).ravel()
    patch = np.take_along_axis(_occupancy(states), cell[:, None] + around, axis=1)
    place = np.stack(np.divmod(cell, SIDE), axis=1)
    parts = [patch, place, place - np.stack(np.divmod(other, SIDE), axis=1)]
    for key, at in enumerate(_KEYS):
        is_there = states[:, 2 + key, None] == 0
        parts.append(np.where(is_there, place - np.array(divmod(at, SIDE)), 0))
    parts += [_IS_ROOM[cell][:, None], states[:, _EVENT + agent, None] - 1]
    return np.concatenate(parts, axis=1).astype(np.float32)
