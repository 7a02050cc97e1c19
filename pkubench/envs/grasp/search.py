"""Search for a script that lifts an object: the cross-entropy method on whole episodes.

Rubinstein, "The Cross-Entropy Method for Combinatorial and Continuous Optimization", 1999. All
episodes of a round start alike and differ in their scripts; the best eighth of a round is what the
next one is drawn around. No gradients, no data: one object takes seconds of one processor.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from pkubench.envs.core.batch import SOLE_AGENT, BoolArray, FloatArray
from pkubench.envs.grasp.grasp_batch import GraspBatch
from pkubench.envs.grasp.hands import SHADOW_HAND
from pkubench.envs.grasp.open_loop import (
    CLOSE_STEPS,
    JOINTS,
    LIFT_STEPS,
    OFFSET,
    REACH_STEPS,
    TURN,
    ScriptAgent,
    grip_of,
)
from pkubench.envs.grasp.rewards import HOLD_STEPS
from pkubench.errors import ConfigError

EPISODE_STEPS: Final = REACH_STEPS + CLOSE_STEPS + LIFT_STEPS + HOLD_STEPS + 15
"""After the lift there is time for a hold, and a little more for objects that swing."""
_ELITE_SHARE = 8
_MEAN_RATE, _SPREAD_RATE = 0.9, 0.8
_LEAST_SPREAD = 0.1
"""Of the first spread: a search that has found a grasp still tries others."""

_FIRST_FINGER = (0.0, -0.1, 0.3)
"""J3, J2, J1 of the half-closed hand, in units of actions."""
_FIRST_JOINTS: Final = np.array([*_FIRST_FINGER * 3, -0.5, *_FIRST_FINGER, 0.3, 0.8, 0.0, 0.0, 0.5])
_FIRST_OFFSET_M: Final = np.array([0.0, 0.01, 0.002])
"""Of the palm beyond the top of the object."""


class Round(NamedTuple):
    """What one round found."""

    scripts: FloatArray
    """(population, 24)."""
    scores: FloatArray
    """Mean reward of each from where the hand closes on, and 1 more for a hold, (population,)."""
    reached: BoolArray
    """Whether the object was at the goal in any step."""
    held: BoolArray
    """Whether it was there for the last 30 steps."""
    mean: FloatArray
    """The script that the next round is drawn around, (24,)."""
    episodes: int
    """Played so far."""
    processor_s: float
    """Seconds of processor time so far."""

    @property
    def best(self) -> FloatArray:
        """The script with the highest score, (24,)."""
        script: FloatArray = self.scripts[int(np.argmax(self.scores))]
        return script


def search(env: GraspBatch, seed: int, *, start: int = 0, number: int = 0) -> Iterator[Round]:
    """Search for a script, round by round, endlessly.

    Args:
        env: the population is its number of environments.
        seed: of the search.
        start: seed of the episode: pose and yaw of the object.
        number: of the object among the environment's.

    Raises:
        ConfigError: the environments are too few, their episodes too short, or actuators of the
            hand turn no joints.
    """
    count = env.num_envs
    if count < 2 * _ELITE_SHARE:
        raise ConfigError(f"a search needs at least {2 * _ELITE_SHARE} environments, got {count}")
    limit = env.max_episode_steps
    if limit is not None and limit < EPISODE_STEPS:
        raise ConfigError(f"a search needs episodes of {EPISODE_STEPS} steps, got {limit}")
    random = np.random.default_rng(seed)
    env.reset(np.full(count, start, dtype=np.int64), options={"object": number})
    means, spread = _first_distribution(env)
    mean = means[0]
    least, begun, episodes = _LEAST_SPREAD * spread, time.process_time(), 0
    while True:
        scripts = mean + spread * random.normal(size=(count, len(mean)))
        scripts[0] = mean
        scores, reached, held = play(env, scripts, start, number)
        elite = scripts[np.argsort(-scores)[: max(8, count // _ELITE_SHARE)]]
        mean = (1.0 - _MEAN_RATE) * mean + _MEAN_RATE * elite.mean(axis=0)
        spread = (1.0 - _SPREAD_RATE) * spread + _SPREAD_RATE * elite.std(axis=0)
        spread = np.maximum(spread, least)
        episodes += count
        spent = time.process_time() - begun
        yield Round(scripts, scores, reached, held, mean.copy(), episodes, spent)


def first_scripts(env: GraspBatch, random: np.random.Generator) -> FloatArray:
    """Return a script of the first round for each of the episodes that have just been started.

    Returns:
        (num_envs, 6 + actuators).
    """
    mean, spread = _first_distribution(env)
    scripts: FloatArray = mean + spread * random.normal(size=mean.shape)
    return scripts


def _first_distribution(env: GraspBatch) -> tuple[FloatArray, FloatArray]:
    """Return means (num_envs, size) and standard deviations (size,) of the first round's scripts.

    The palm of each is to be above the object as it lies in the pose that its episode starts in.
    """
    size, is_shadow = 6 + env.model.nu, env.hand == SHADOW_HAND
    mean, spread = np.zeros((env.num_envs, size)), np.full(size, 0.3)
    mean[:, OFFSET], spread[OFFSET] = _FIRST_OFFSET_M, 0.015
    if not is_shadow:  # its fingertips, not its root, are to reach down to the object
        mean[:, 2] = 0.5 * env.reach_down_m
    mean[:, 2] += env.top_m
    spread[TURN] = 0.1
    mean[:, JOINTS] = _FIRST_JOINTS if is_shadow else 0.0
    return mean, spread


def play(
    env: GraspBatch, scripts: FloatArray, start: int, number: int = 0
) -> tuple[FloatArray, BoolArray, BoolArray]:
    """Play one script in each environment, all from the same start.

    Returns:
        Scores, whether the goal was reached, whether it was held, each (num_envs,).
    """
    seeds = np.full(env.num_envs, start, dtype=np.int64)
    _, info = env.reset(seeds, options={"object": number})
    agent = ScriptAgent(scripts, grip_of(env))
    state, active = agent.begin(seeds), np.ones(env.num_envs, dtype=np.bool_)
    total = np.zeros(env.num_envs)
    for moment in range(EPISODE_STEPS):
        action, state = agent.act(env.state_observation(), state, active)
        _, rewards, _, _, info = env.step({SOLE_AGENT: action})
        if moment >= REACH_STEPS:
            total += rewards[:, 0]
    held = info["success_hold"]
    return total / (EPISODE_STEPS - REACH_STEPS) + held, info["success"], held
