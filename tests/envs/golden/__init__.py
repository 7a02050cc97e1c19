"""Golden playthroughs: one short episode of every environment as text that can be read in review.

A test compares them with what the environments do now. A difference means that the environment
behaves in another way, and calls for a new ``-vN``; ``python -m tests.envs.golden --write`` writes
the files again (with names after ``--write``: those environments only).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pkubench.envs.core.batch import Array, Info
from pkubench.envs.core.registry import environments, make_batch
from tests.envs.tape import Tape

FOLDER = Path(__file__).parent
SEED = 7
MAX_NUMBERS = 24
"""Longer arrays are cut, and their sum is given instead."""
LENGTH = {
    "particle": 25,
    "linear_quadratic": 25,
    "credit": 25,
    "battle": 25,
    "memory": 25,
    "safety": 5,
    "multi_mujoco": 5,
    "games": 20,
    "diagnostics": 20,
    "minigrid": 20,
    "alignment": 10,
    "grasp": 5,
}
"""Steps by family; simulations are short, because physics engines differ in the last bits."""


def family(env: str) -> str:
    """Return the family of an environment, the package its module lies in."""
    return environments()[env].entry_point.split(".")[2]


def path(env: str) -> Path:
    """Return the file of an environment's playthrough."""
    return FOLDER / f"{env.rpartition('/')[2]}.txt"


def trace(env: str) -> str:
    """Play episode 7 of an environment with the actions of its tape; return it as text."""
    return "\n".join(_lines(env)) + "\n"


def _lines(env: str) -> Iterator[str]:
    batch = make_batch(env, 1)
    tape = Tape(batch, np.array([SEED]))
    yield f"{env}, episode seed {SEED}"
    for agent in batch.agents:
        yield f"{agent}: sees {batch.observation_spaces[agent]}, does {batch.action_spaces[agent]}"
    observations, info = batch.reset(np.array([SEED]))
    yield ""
    yield "reset"
    yield from _seen(observations, info)
    for count in range(1, LENGTH[family(env)] + 1):
        actions = tape.actions(info)
        step = batch.step(actions)
        yield ""
        yield f"step {count}"
        for place, agent in enumerate(batch.agents):
            yield f"  {agent} does {_written(actions[agent][0])}"
            yield f"  {agent} earns {_written(step.rewards[0, place])}"
        yield from _seen(step.observations, step.info, always=count % 5 == 0)
        info = step.info
        if step.terminated[0] or step.truncated[0]:
            yield "terminated" if step.terminated[0] else "truncated"
            break
    batch.close()


def _seen(observations: dict[str, Array], info: Info, always: bool = True) -> Iterator[str]:
    for agent, observation in observations.items():
        if always:
            yield f"  {agent} sees {_written(observation[0])}"
    for key, values in sorted(info.items()):
        yield f"  {key} {_written(values[0])}"


def _written(value: Array) -> str:
    """Return numbers with six significant digits."""
    flat = np.atleast_1d(value).ravel()
    words = [_number(number) for number in flat[:MAX_NUMBERS]]
    if len(flat) > MAX_NUMBERS:
        total = _number(flat.astype(np.float64).sum())
        words.append(f"... {len(flat)} numbers, sum {total}")
    return " ".join(words)


def _number(value: Array) -> str:
    if value.dtype.kind in "biu":
        return str(int(value))
    return "0" if value == 0 else f"{float(value):.6g}"
