"""Whether a vision policy looks at the object: its success when it is shown another one's cloud.

A policy that succeeds as often with the surface of another object in the object's place grasps
blindly, or reads the object from elsewhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pkubench.envs.core.batch import SOLE_AGENT, BoolArray
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.grasp.grasp_batch import CLOUD_OF, GraspBatch
from pkubench.errors import ConfigError


class SwapCost(NamedTuple):
    """Success (in any step) of the same episodes with both clouds."""

    own: BoolArray
    """With the cloud of the object itself, (episodes,)."""
    swapped: BoolArray
    """With another object's, (episodes,)."""

    @property
    def points(self) -> float:
        """What the other clouds cost, in percentage points of success."""
        return 100.0 * float(self.own.mean() - self.swapped.mean())


def cloud_swap_cost(
    env: GraspBatch, agent: Any, seeds: IntArray, objects: IntArray, shown: IntArray
) -> SwapCost:
    """Play episodes twice: with the clouds of their objects, and with those of others.

    Args:
        env: shows clouds that bodies carry; its number of environments divides that of episodes.
        agent: has ``begin`` and ``act`` as every agent has.
        seeds: of the episodes, (episodes,).
        objects: their objects, by number, (episodes,).
        shown: the objects that are shown in their place, (episodes,), see ``other_objects``.

    Raises:
        ConfigError: the environment has no such clouds, or numbers do not fit.
    """
    if CLOUD_OF not in env.episode_options:
        raise ConfigError("clouds are swapped with observation=cloud; this environment shows none")
    if not len(seeds) == len(objects) == len(shown) or not len(seeds) or len(seeds) % env.num_envs:
        raise ConfigError(
            f"{len(seeds)} seeds, {len(objects)} objects and {len(shown)} shown: give one each, "
            f"and a multiple of {env.num_envs} episodes"
        )
    found = []
    for clouds in (objects, shown):
        parts = []
        for first in range(0, len(seeds), env.num_envs):
            own = slice(first, first + env.num_envs)
            options = {"object": objects[own], CLOUD_OF: clouds[own]}
            parts.append(_successes(env, agent, seeds[own], options))
        found.append(np.concatenate(parts))
    return SwapCost(*found)


def other_objects(objects: IntArray, count: int, seed: int) -> IntArray:
    """Return for each object another one of ``count``, at random, (n,).

    Raises:
        ConfigError: there is only one object.
    """
    if count < 2:
        raise ConfigError("there is no other object whose cloud could be shown")
    steps = np.random.default_rng(seed).integers(1, count, size=len(objects))
    others: IntArray = (np.asarray(objects, dtype=np.int64) + steps) % count
    return others


def _successes(env: GraspBatch, agent: Any, seeds: IntArray, options: dict[str, Any]) -> BoolArray:
    observations, info = env.reset(seeds, options=options)
    state, active = agent.begin(seeds), np.ones(env.num_envs, dtype=np.bool_)
    while active.any():
        action, state = agent.act(observations[SOLE_AGENT], state, active)
        step = env.step({SOLE_AGENT: action}, active)
        observations = step.observations
        info["success"][active] = step.info["success"][active]
        active &= ~(step.terminated | step.truncated)
    success: BoolArray = info["success"]
    return success
