"""Reads the traces of the original Safety-Gymnasium; tests/data/safety/README.md explains them."""

from __future__ import annotations

import functools
import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[1] / "data" / "safety"
TASKS = tuple(sorted(file.stem for file in FOLDER.glob("*.npz")))
"""The recorded tasks: ``PointGoal1`` and so on."""
LAST = ("last_dist_goal", "last_dist_box", "last_box_goal", "old_potential")
"""The columns of `State.last`."""
_WIDTHS = {0: (7, 6), 1: (4, 3), 2: (1, 1), 3: (1, 1)}
"""Numbers of a joint in qpos and qvel, by MuJoCo's joint type: free, ball, slide, hinge."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """The state of the physics (in the original's order of joints) and of the task."""

    qpos: Floats
    qvel: Floats
    warmstart: Floats
    time: float
    mocap_pos: Floats
    mocap_quat: Floats
    agent_pos: Floats
    goal: Floats
    button: int
    timer: int
    last: Floats
    draws: int


@dataclass(frozen=True)
class Step:
    """One recorded step."""

    reset: int
    index: int
    before: State
    after: State
    action: Floats
    obs: Floats
    reward: float
    cost: float
    costs: dict[str, float]
    terminated: bool
    truncated: bool
    goal_met: bool


@dataclass(frozen=True)
class Reset:
    """One episode's beginning: what was sampled, and where it ended up."""

    seed: int
    episode: int
    draws_before: int
    layout: dict[str, Floats]
    yaw: dict[str, float]
    obs: Floats
    qpos: Floats
    agent_pos: Floats
    goal: Floats
    button: int
    timer: int
    last: Floats
    draws: int


class Trace:
    """The recording of one task."""

    def __init__(self, task: str) -> None:
        self.task = task
        with np.load(FOLDER / f"{task}.npz", allow_pickle=False) as file:
            self.arrays: dict[str, NDArray[Any]] = {name: file[name] for name in file.files}
        self.object_names = [str(n) for n in self.arrays["object_names"]]
        self.cost_names = [str(n) for n in self.arrays.get("cost_names", ())]
        self.num_resets = len(self.arrays["reset_seed"])
        self.num_steps = len(self.arrays["step_reset"])

    def reset(self, row: int) -> Reset:
        """Return one row of the resets."""
        at = {k[6:]: v[row] for k, v in self.arrays.items() if k.startswith("reset_")}
        return Reset(
            seed=int(at["seed"]),
            episode=int(at["episode"]),
            draws_before=int(at["draws_before"]),
            layout=dict(zip(self.object_names, at["layout"], strict=True)),
            yaw={n: float(y) for n, y in zip(self.object_names, at["yaw"], strict=True)},
            obs=at["obs"],
            qpos=at["qpos"],
            agent_pos=at["agent_pos"],
            goal=at["goal"],
            button=int(at["button"]),
            timer=int(at["timer"]),
            last=at["last"],
            draws=int(at["draws"]),
        )

    def state(self, row: int) -> State:
        """Return one row of the states."""
        at = {k[6:]: v[row] for k, v in self.arrays.items() if k.startswith("state_")}
        return State(
            qpos=at["qpos"],
            qvel=at["qvel"],
            warmstart=at["warmstart"],
            time=float(at["time"]),
            mocap_pos=at.get("mocap_pos", np.zeros((0, 3))),
            mocap_quat=at.get("mocap_quat", np.zeros((0, 4))),
            agent_pos=at["agent_pos"],
            goal=at["goal"],
            button=int(at["button"]),
            timer=int(at["timer"]),
            last=at["last"],
            draws=int(at["draws"]),
        )

    def step(self, row: int) -> Step:
        """Return one row of the steps."""
        at = {k[5:]: v[row] for k, v in self.arrays.items() if k.startswith("step_")}
        costs = zip(self.cost_names, at.get("costs", ()), strict=True)
        return Step(
            reset=int(at["reset"]),
            index=int(at["index"]),
            before=self.state(int(at["before"])),
            after=self.state(int(at["after"])),
            action=at["action"].astype(np.float64),
            obs=at["obs"],
            reward=float(at["reward"]),
            cost=float(at["cost"]),
            costs={name: float(cost) for name, cost in costs if not np.isnan(cost)},
            terminated=bool(at["terminated"]),
            truncated=bool(at["truncated"]),
            goal_met=bool(at["goal_met"]),
        )

    def steps(self) -> Iterator[Step]:
        """Yield every recorded step."""
        return (self.step(row) for row in range(self.num_steps))

    def openings(self) -> list[list[int]]:
        """Return the rows of the steps that follow a reset without a gap, per such episode."""
        found: list[list[int]] = []
        reset, index = self.arrays["step_reset"], self.arrays["step_index"]
        before, after = self.arrays["step_before"], self.arrays["step_after"]
        for row in range(self.num_steps):
            if index[row] == 0 and np.array_equal(
                self.arrays["state_qpos"][before[row]], self.arrays["reset_qpos"][reset[row]]
            ):
                found.append([row])
            elif (
                found
                and found[-1][-1] == row - 1
                and before[row] == after[row - 1]
                and reset[row] == reset[row - 1]
            ):
                found[-1].append(row)
        return found


def generator(seed: int, draws: int) -> np.random.RandomState:
    """Return the original's generator after so many 32-bit words."""
    stream = np.random.RandomState(seed)
    if draws:  # bytes(0) takes a word
        stream.bytes(4 * draws)
    return stream


@functools.cache
def models() -> dict[str, dict[str, Any]]:
    """Return the constants of every compiled model, by task and by MuJoCo's own names."""
    facts: dict[str, dict[str, Any]] = json.loads(
        lzma.decompress((FOLDER / "models.json.xz").read_bytes())
    )
    return facts


def joints(task: str) -> dict[str, tuple[slice, slice]]:
    """Return the index of each joint of a task's model in `State.qpos` and `State.qvel`.

    A free joint has its body's name where it has none.
    """
    model = models()[task]
    found = {}
    for joint, name in enumerate(model["joint_names"]):
        body = model["body_names"][model["jnt_bodyid"][joint]]
        q, v = model["jnt_qposadr"][joint], model["jnt_dofadr"][joint]
        nq, nv = _WIDTHS[model["jnt_type"][joint]]
        found[name or body] = (slice(q, q + nq), slice(v, v + nv))
    return found
