"""What a training takes from its environment: missions, tasks, and a first memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.agents.contract import IntArray
from pkubench.agents.families.retrieval.config import RetrievalConfig
from pkubench.agents.families.retrieval.episodes import Experience
from pkubench.agents.families.retrieval.networks import SIDE, Spec
from pkubench.agents.learner import Context
from pkubench.envs.core.batch import SOLE_AGENT, BatchEnv
from pkubench.envs.core.seeding import TrainingSeeds
from pkubench.errors import ConfigError

Array = npt.NDArray[Any]
INITIAL_LEVELS, INITIAL_VALUE = 13, -0.0258
"""Different states of the released initial memory, and their value."""


def missions_of(env: BatchEnv) -> tuple[str, ...]:
    """Return what is asked in each task of an environment.

    Raises:
        ConfigError: it has no missions.
    """
    missions = getattr(env.unwrapped, "missions", None)
    if not missions:
        raise ConfigError("this agent needs an environment whose tasks have missions")
    return tuple(missions)


def spec_of_env(env: BatchEnv, config: RetrievalConfig, tasks: int) -> Spec:
    """Return the description of the policy for an environment of so many tasks.

    Raises:
        ConfigError: observations are no grid views, or actions are not discrete.
    """
    space, seen = env.action_spaces[SOLE_AGENT], env.observation_spaces[SOLE_AGENT]
    known = [(SIDE, SIDE, 4)] if tasks > 1 else [(SIDE, SIDE, 3), (SIDE, SIDE, 4)]
    if seen.shape not in known or not isinstance(space, spaces.Discrete):
        raise ConfigError(
            f"this agent sees views of shape {known[0]} and acts in a Discrete space, not {seen} "
            f"and {space}"
        )
    actions, channels = int(space.n), int(seen.shape[-1])
    return Spec(tasks, actions, config.task_layer, config.memory, config.normalise, channels)


def task_options(env: BatchEnv, tasks: int) -> dict[str, IntArray]:
    """Return the task of each environment's episodes: round robin, neighbours alike."""
    if "task" not in env.episode_options:
        return {}
    return {"task": np.sort(np.arange(env.num_envs) % tasks)}


def tasks_of(seen: Array) -> IntArray:
    """Return the tasks (...) of observations (..., 7, 7, 3 or 4)."""
    if seen.shape[-1] == 3:
        return np.zeros(seen.shape[:-3], np.int64)
    return seen[..., 0, 0, 3].astype(np.int64)


def optimum_in(env: BatchEnv, gamma: float) -> tuple[Array, Array]:
    """Return V* (num_envs,) float32 and optimal actions as bits of an environment's states."""
    from pkubench.retrieval.optima import optimum_now

    own: Any = env.unwrapped
    found = optimum_now(own, gamma)
    return found.values.astype(np.float32), found.actions


def one_task(context: Context, tasks: int, slots: int) -> Experience:
    """Return what the released memory starts with: near-duplicates of the last task at one value.

    The released states themselves have no licence; these are first views of 13 training levels.
    """
    env = context.make_env(INITIAL_LEVELS)
    try:
        seeds = TrainingSeeds(context.seed, INITIAL_LEVELS).next(np.arange(INITIAL_LEVELS))
        options = {"task": tasks - 1} if "task" in env.episode_options else None
        seen = env.reset(seeds, options=options)[0][SOLE_AGENT]
    finally:
        env.close()
    images = seen[np.arange(slots) % INITIAL_LEVELS, ..., :3]
    values = np.full(slots, INITIAL_VALUE, np.float32)
    numbers = np.full(slots, -1)
    return Experience(images, np.full(slots, tasks - 1), values, values, numbers)
