"""Puts lanes of our navigation worlds into recorded states of the original."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pkubench.envs.core.registry import make_batch
from pkubench.envs.safety.button import Button
from pkubench.envs.safety.circle import Run
from pkubench.envs.safety.goal import Goal
from pkubench.envs.safety.navigation import Navigation
from pkubench.envs.safety.push import Push
from tests.envs.safety_traces import Trace

Rows = NDArray[np.int64]


def make_world(task: str, lanes: int) -> Navigation:
    """Return a world of the task without a time limit."""
    world = make_batch(f"{task}-v0", lanes, max_episode_steps=None)
    assert isinstance(world, Navigation)
    return world


def restore(world: Navigation, trace: Trace, states: Rows, resets: Rows, task: Rows) -> None:
    """Put lane i into physical state ``states[i]`` of an episode ``resets[i]``.

    Args:
        world: one lane a state.
        trace: the recording.
        states: rows of the states, for positions, velocities, time and the generator.
        resets: rows of their episodes' beginnings, for what stands still.
        task: rows of the states whose goal, target, timer and memory are taken.
    """
    arrays, lanes = trace.arrays, np.arange(len(states))
    world.batch.reset(lanes)
    world.places[:] = arrays["reset_layout"][resets]
    world.yaws[:] = np.nan_to_num(arrays["reset_yaw"][resets])
    unused = np.tile(world.model.qpos0, (len(lanes), 1))
    world._put(lanes, unused)
    for group in world.groups:
        if group.places:
            world.places[:, world._spots[group.name]] = group.places
    if "goal" in world._spots:
        world.places[:, world._spots["goal"].start] = arrays["state_goal"][task, :2]
    world.qpos[:] = arrays["state_qpos"][states]
    world.qvel[:] = arrays["state_qvel"][states]
    world.batch.bind("time")[:] = arrays["state_time"][states]
    warm = world.batch.bind("qacc_warmstart")
    warm[:] = arrays["state_warmstart"][states]
    if world.model.nmocap:
        world.batch.bind("mocap_pos")[:] = arrays["state_mocap_pos"][states]
    world.batch.forward()
    warm[:] = arrays["state_warmstart"][states]
    _remember(world, arrays["state_last"][task])
    if isinstance(world, Button):
        world.targets[:] = arrays["state_button"][task]
        world.timers[:] = arrays["state_timer"][task]
    for lane, seed in enumerate(arrays["reset_seed"][resets].tolist()):
        words = int(arrays["state_draws"][states[lane]])
        stream = world._random.seed(lane, seed)
        if words:  # bytes(0) takes a word
            stream.bytes(4 * words)


def _remember(world: Navigation, last: NDArray[np.float64]) -> None:
    """Give the task what its reward compares with (columns: see the traces' README)."""
    if isinstance(world, Goal | Button):
        world._distance[:] = last[:, 0]
    elif isinstance(world, Push):
        world._to_box[:], world._to_goal[:] = last[:, 1], last[:, 2]
    elif isinstance(world, Run):
        world._potential[:] = last[:, 3]
