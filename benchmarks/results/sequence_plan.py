"""How long the rows of ``docs/results/sequence.md`` take: expected core seconds of each run.

Rates were measured for a few seconds each, on one core of a machine of two that was busy with other
work, so that a plan is rather too long than too short.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.results.rows import Row
from pkubench.data.minari_files import DATA, root
from pkubench.tasks.registry import make_task

_RATES: dict[str, dict[str, float]] = {
    "dt": {"Stitching": 90.0, "LuckyArm": 34.0, "GraphPath": 32.0, "KeyToDoor": 20.0, "": 18.0},
    "odt": {"Stitching": 70.0, "LuckyArm": 30.0, "GraphPath": 26.0, "KeyToDoor": 16.0, "": 9.0},
    "tt": {"Stitching": 45.0, "LuckyArm": 13.8, "GraphPath": 4.0, "": 7.1},
    "bc": {"Stitching": 700.0, "LuckyArm": 700.0, "GraphPath": 700.0, "": 330.0},
    "bc-10": {"Stitching": 700.0, "LuckyArm": 700.0, "GraphPath": 700.0, "": 330.0},
    "iql": {"Stitching": 300.0, "LuckyArm": 300.0, "GraphPath": 300.0, "": 50.0},
    "cql": {"KeyToDoor": 340.0, "Hopper": 47.0, "HalfCheetah": 47.0, "": 500.0},
    "mat": {"": 3_250.0},
    "mat-dec": {"": 7_150.0},
    "sable": {"": 1_620.0},
    "gru-ppo": {"": 3_050.0},
    "gtrxl-ppo": {"": 1_020.0},
    "happo": {"": 5_000.0},
    "mappo": {"": 5_000.0},
}
"""Agent -> prefix of the task -> gradient steps, or steps of the environment, per core second."""
_NO_MEMORY = 20_000.0
_CONTEXT_OF_ONE = 120.0
_READING = {
    "KeyToDoor": 20.0,
    "KeyToDoorLong": 40.0,
    "LuckyArm": 4.0,
    "Hopper": 4.0,
    "HalfCheetah": 3.0,
}
"""Prefix of the task -> core seconds in which its data set is read."""
_PLAYING = {"dt": 0.0012, "odt": 0.002, "tt": 0.15}
"""Core seconds of a step of an episode of a robot, where an agent is slow to act."""
_MAKING = {"HopperVelocity": 2_000.0, "HalfCheetahVelocity": 3_000.0}
"""Robot -> core seconds in which its data sets are made: four trainings, three of them seeds."""
_START = 6.0
"""Core seconds until a training begins, and of a short evaluation."""


def seconds(row: Row) -> float:
    """Return the expected core seconds of all runs of a row: data, training, evaluations."""
    changes = dict(row.changes)
    rate = _by_prefix(_RATES[row.agent], row.task)
    if changes.get("memory") == "none":
        rate = _NO_MEMORY
    if changes.get("context") == "1":
        rate = _CONTEXT_OF_ONE
    one = _START + row.steps / rate
    if row.data:
        one += _by_prefix({**_READING, "": 1.0}, row.task)
    horizon = make_task(row.task).protocol.horizon or 0
    if horizon >= 1000 and row.agent in _PLAYING:
        validated = 0 if row.validate == 0 else 4 * 20
        played = row.num_episodes * (1 + len(row.asked)) + validated
        one += played * horizon * _PLAYING[row.agent]
    return one * row.seeds


def data_seconds(rows: Iterable[Row]) -> float:
    """Return the expected core seconds in which the robots' data sets of rows are made.

    Those that are there already cost nothing, and those of other tasks next to nothing.
    """
    missing = {row.data.split("/")[1] for row in rows if row.data and not _is_there(row.data)}
    return sum(_MAKING.get(robot, 0.0) for robot in missing)


def _is_there(data: str) -> bool:
    return (root() / data / DATA).is_dir()


def _by_prefix(values: dict[str, float], task: str) -> float:
    """Return the value of the longest prefix of a task's name."""
    return values[max((p for p in values if task.startswith(p)), key=len)]
