"""Puts environments of our navigation environments into recorded states of the original."""

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


def make_env(task: str, indices: int) -> Navigation:
    """Return an environment of the task without a time limit."""
    env = make_batch(f"{task}-v0", indices, max_episode_steps=None)
    assert isinstance(env, Navigation)
    return env


def restore(env: Navigation, trace: Trace, states: Rows, resets: Rows, task: Rows) -> None:
    """Put environment i into physical state ``states[i]`` of an episode ``resets[i]``.

    Args:
        environment: one environment a state.
        trace: the recording.
        states: rows of the states, for positions, velocities, time and the generator.
        resets: rows of their episodes' beginnings, for what stands still.
        task: rows of the states whose goal, target, timer and memory are taken.
    """
    arrays, indices = trace.arrays, np.arange(len(states))
    env.batch.reset(indices)
    env.places[:] = arrays["reset_layout"][resets]
    env.yaws[:] = np.nan_to_num(arrays["reset_yaw"][resets])
    unused = np.tile(env.model.qpos0, (len(indices), 1))
    env._put(indices, unused)
    for group in env.groups:
        if group.places:
            env.places[:, env._spots[group.name]] = group.places
    if "goal" in env._spots:
        env.places[:, env._spots["goal"].start] = arrays["state_goal"][task, :2]
    env.qpos[:] = arrays["state_qpos"][states]
    env.qvel[:] = arrays["state_qvel"][states]
    env.batch.bind("time")[:] = arrays["state_time"][states]
    warm = env.batch.bind("qacc_warmstart")
    warm[:] = arrays["state_warmstart"][states]
    if env.model.nmocap:
        env.batch.bind("mocap_pos")[:] = arrays["state_mocap_pos"][states]
    env.batch.forward()
    warm[:] = arrays["state_warmstart"][states]
    _remember(env, arrays["state_last"][task])
    if isinstance(env, Button):
        env.targets[:] = arrays["state_button"][task]
        env.timers[:] = arrays["state_timer"][task]
    for index, seed in enumerate(arrays["reset_seed"][resets].tolist()):
        words = int(arrays["state_draws"][states[index]])
        stream = env._random.seed(index, seed)
        if words:  # bytes(0) takes a word
            stream.bytes(4 * words)


def _remember(env: Navigation, last: NDArray[np.float64]) -> None:
    """Give the task what its reward compares with (columns: see the traces' README)."""
    if isinstance(env, Goal | Button):
        env._distance[:] = last[:, 0]
    elif isinstance(env, Push):
        env._to_box[:], env._to_goal[:] = last[:, 1], last[:, 2]
    elif isinstance(env, Run):
        env._potential[:] = last[:, 3]
