"""Trial episodes of an environment, and what is compared between them (see ``checks``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from pkubench.envs.core.batch import Array, BatchEnv, Info, Step
from pkubench.envs.core.seeding import IntArray
from pkubench.errors import PkubenchError

STEPS = 40
"""Steps of a trial episode."""
NUM_ENVS = 5


class CheckFailed(PkubenchError):
    """An environment breaks a rule; the message says which and how."""

    exit_code = 1


@dataclass(frozen=True)
class Subject:
    """What is checked."""

    name: str
    make: Callable[..., BatchEnv]
    """Makes the environment: ``make(num_envs=...)``, and further settings of its constructor."""


@contextmanager
def made(subject: Subject, num_envs: int) -> Iterator[BatchEnv]:
    """Make an environment and close it at the end of the block."""
    env = subject.make(num_envs=num_envs)
    try:
        yield env
    finally:
        env.close()


def seeds_of(count: int) -> IntArray:
    """Return the seeds of ``count`` trial episodes."""
    return np.arange(100, 100 + count, dtype=np.int64)


def legal_actions(
    env: BatchEnv, moment: int, info: Mapping[str, Array], first_index: int = 0
) -> dict[str, Array]:
    """Return legal actions that depend on the environment's index and the moment alone."""
    actions = {}
    for number, agent in enumerate(env.agents):
        space = env.action_spaces[agent]
        mask = info.get(f"action_mask:{agent}")
        if mask is None and env.num_agents == 1:
            mask = info.get("action_mask")
        rows = []
        for index in range(env.num_envs):
            draw = 1_000_003 * moment + 1009 * (first_index + index) + number
            if mask is None:
                space.seed(draw)
                rows.append(np.asarray(space.sample()))
            else:
                legal = np.flatnonzero(mask[index])
                rows.append(np.asarray(legal[draw % len(legal)] if len(legal) else 0))
        actions[agent] = np.stack(rows)
    return actions


def structure(info: Mapping[str, Array]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return the dtype and shape of each info."""
    return {key: (str(np.asarray(value).dtype), np.shape(value)) for key, value in info.items()}


def same_structure(wanted: Mapping[str, Any], found: Mapping[str, Any], when: str) -> None:
    """Raise ``CheckFailed`` if infos have another structure than at reset."""
    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            there, here = (_described(side.get(key)) for side in (wanted, found))
            raise CheckFailed(f"info[{key!r}] is {there} at reset and {here} at {when}")


def _described(entry: tuple[str, tuple[int, ...]] | None) -> str:
    return "missing" if entry is None else f"{entry[0]} {entry[1]}"


def play_episode(
    env: BatchEnv,
    seeds: IntArray,
    first_index: int = 0,
    options: Mapping[str, Any] | None = None,
) -> list[list[Array]]:
    """Play at most ``STEPS`` steps of the episodes ``seeds``; return all that was given."""
    observations, info = env.reset(seeds, None, options)
    start = [observations[agent].copy() for agent in env.agents]
    return [start, *play(env, info, range(STEPS), first_index)[0]]


def play(
    env: BatchEnv, info: Info, steps: range, first_index: int = 0
) -> tuple[list[list[Array]], Info]:
    """Take ``steps`` until all episodes have ended; what is returned after an end counts as 0."""
    alive = np.ones(env.num_envs, dtype=np.bool_)
    moments = []
    for moment in steps:
        step = env.step(legal_actions(env, moment, info, first_index), alive.copy())
        arrays = [array.copy() for array in arrays_of(step, env)]
        for array in arrays:
            array[~alive] = 0
        moments.append(arrays)
        info = step.info
        alive &= ~(step.terminated | step.truncated)
        if not alive.any():
            break
    return moments, info


def arrays_of(step: Step, env: BatchEnv) -> list[Array]:
    """Return all arrays of a step in a fixed order."""
    return [
        *(step.observations[agent] for agent in env.agents),
        step.rewards,
        step.terminated,
        step.truncated,
        *(step.info[key] for key in sorted(step.info)),
    ]


def same_arrays(one: list[list[Array]], other: list[list[Array]], what: str) -> None:
    """Raise ``CheckFailed`` if two trials differ in a bit; ``what`` names the second."""
    for moment, (left, right) in enumerate(zip(one, other, strict=False)):
        for a, b in zip(left, right, strict=True):
            if a.dtype != b.dtype or not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                gap = np.abs(a.astype(np.float64) - b.astype(np.float64)).max()
                raise CheckFailed(f"{what}: step {moment} differs by up to {gap:.3g}")


def check_observations(env: BatchEnv, observations: Mapping[str, Array]) -> None:
    """Raise ``CheckFailed`` if observations do not lie in the agents' spaces."""
    for agent in env.agents:
        space = env.observation_spaces[agent]
        array = observations[agent]
        wanted = (env.num_envs, *(space.shape or ()))
        if array.shape != wanted or array.dtype != space.dtype:
            raise CheckFailed(
                f"{agent!r} sees {array.dtype} {array.shape}, wanted {space.dtype} {wanted}"
            )
        for row in array:
            if not space.contains(row):
                raise CheckFailed(f"an observation of {agent!r} lies outside {space}")
