"""Sequence models, memory and learning from data: where they reach the optimum, and where not.

``make results-sequence`` makes the data sets, trains and scores what has no record yet, and writes
``docs/results/sequence.md``. It takes hours and can be stopped and started again; rows are trained
in the order in which they are listed, those that decide most first. ``--stage plan`` prints what is
left to do with the expected core seconds, ``--stage data`` makes the data sets alone. ``--scale``
multiplies every budget, with data sets of its own in ``runs``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

from benchmarks import offline_data
from benchmarks.results import marl
from benchmarks.results.rows import ROOT, Row
from benchmarks.results.running import run_stages
from benchmarks.results.sequence_page import (
    ASKED,
    DELAYED,
    DELAYED_ROBOT,
    K1,
    LONG,
    PARTICLES,
    ROBOTS,
    TABLE,
    TMAZES,
    named,
    page_of,
)
from benchmarks.results.sequence_plan import data_seconds, seconds
from pkubench.data.minari_files import ROOT_VARIABLE

UPDATES = 10_000
"""Gradient steps of agents that learn from data, where nothing else is said."""
ODT = {"width": "64", "pretrain_steps": "2000", "updates": "10"}
"""On the diagnostics: ten gradient steps an episode. The paper has 300 for some 1,000 steps of the
environment."""
CQL_UPDATES = 20_000
"""On robots; their penalty is estimated, and critics settle late. 50,000 would take another 2.7
hours of a core on the five data sets, a sixth of the whole table, and are left out for that."""
TT_UPDATES = {"LuckyArm-v0": 4_000, "Stitching-v0": 4_000, "GraphPath-v0": 2_000}
STEPS = 300_000
"""Of the environment, of agents with a memory."""
PPO = {"num_envs": "128", "rollout_steps": "32"}
"""Of the tasks with a memory: more environments make a network with a state quicker."""
LONG_PPO = {"num_envs": "64", "rollout_steps": "128", "minibatches": "4"}
"""No gradient flows further back than a rollout, so it is as long as the longest corridor."""
FEW = "random-1k"
"""A tenth of the random episodes."""
_READ_REWARDS = ("dt", "iql", "cql")


def _row(agent: str, task: str, steps: int, seeds: int, **more: object) -> Row:
    return Row(agent, task, steps, seeds, **{"ships": 0, "table": TABLE, **more})  # type: ignore[arg-type]


def _changed(row: Row, label: str, changes: dict[str, str]) -> Row:
    return replace(row, label=label, changes=tuple(changes.items()))


def _from(agent: str, task: str, kind: str, steps: int = UPDATES, seeds: int = 5) -> Row:
    """Return the row of an agent that learns from a data set of a task."""
    base = task.partition("+")[0]
    is_asked = agent in ("dt", "odt")
    is_one_of_several = base in ROBOTS or kind == FEW
    return _row(
        *(agent, task, steps, seeds),
        data=f"pkubench/{base.removesuffix('-v0')}/{kind}-v0",
        label=named(agent, kind) if is_one_of_several else "",
        asked=ASKED.get(task, ()) if is_asked and kind != FEW else (),
    )


def _diagnostic(task: str, kind: str = "random", seeds: int = 5) -> Iterable[Row]:
    """Yield the quick rows of a task with discrete actions whose optimum is known.

    Every agent has the form for discrete actions there.
    """
    for agent in ("dt", "bc", "bc-10", "iql", "cql"):
        yield _from(agent, task, kind, seeds=seeds)


def _slow(task: str, kind: str = "random") -> Iterable[Row]:
    """Yield the rows of such a task that cost much for what they tell."""
    yield _changed(_from("odt", task, kind, 4_000, 3), "odt-short", ODT)
    if task in TT_UPDATES:  # planning is too slow to validate
        yield replace(_from("tt", task, kind, TT_UPDATES[task], 3), validate=0)


def _with_memory(task: str, steps: int, settings: dict[str, str], seeds: int) -> Iterable[Row]:
    """Yield PPO with no memory, a GRU and a GTrXL; all else is the same."""
    for label, agent, more in (
        ("memoryless", "gru-ppo", {"memory": "none"}),
        ("gru", "gru-ppo", {}),
        ("gtrxl", "gtrxl-ppo", {}),
    ):
        yield _changed(_row(agent, task, steps, seeds), label, {**more, **settings})


def _robot(task: str, kind: str) -> Iterable[Row]:
    """Yield the rows of a robot's data set; acting with a transformer is too slow to validate."""
    yield from (_from(agent, task, kind, seeds=3) for agent in ("bc", "bc-10"))
    yield replace(_from("dt", task, kind, seeds=3), validate=0)
    yield _from("iql", task, kind, seeds=3)
    yield _from("cql", task, kind, CQL_UPDATES, seeds=3)


def _late_robot() -> Iterable[Row]:
    """Yield what reads rewards on Hopper, with all of them paid at the end."""
    rows = tuple(_robot(ROBOTS[0], "medium"))
    yield from (
        replace(row, task=DELAYED_ROBOT, asked=()) for row in rows if row.agent in _READ_REWARDS
    )


def _team(task: str) -> Iterable[Row]:
    """Yield transformers over agents, and the learners that they are compared with."""
    yield from (_row(agent, task, 1_000_000, 3) for agent in ("mat", "mat-dec", "sable"))
    yield from (
        r
        for r in marl.ROWS
        if (r.task, r.steps) == (task, 1_000_000) and r.name in ("happo", "mappo")
    )


def _k1(task: str) -> Row:
    return _changed(_from("dt", task, "random"), K1, {"context": "1"})


ROWS = (
    # first what decides most claims in the least time, so that a part of the table is of use; with
    # the data sets, the rows up to HalfCheetah's take the sixteen hours of a core that were planned
    *_diagnostic("Stitching-v0", "halves"),
    *_diagnostic("LuckyArm-v0"),
    *(row for task in TMAZES for row in _with_memory(task, STEPS, PPO, 5)),
    *_diagnostic("KeyToDoor-v0"),
    *_diagnostic("GraphPath-v0"),
    *(_from(agent, DELAYED, "random", seeds=3) for agent in _READ_REWARDS),
    *_team(PARTICLES[0]),
    *_robot("HopperVelocity-v0", "medium"),
    *_late_robot(),
    # then other sizes, ablations and the slow agents
    *_slow("Stitching-v0", "halves"),
    *_slow("LuckyArm-v0"),
    *(row for task in LONG for row in _with_memory(task, STEPS, LONG_PPO, 3)),
    *_diagnostic("KeyToDoorLong-v0", seeds=3),
    *(_k1(task) for task in ("KeyToDoor-v0", "GraphPath-v0")),
    *_team(PARTICLES[1]),
    *_robot("HopperVelocity-v0", "mixed"),
    *_robot("HalfCheetahVelocity-v0", "medium"),
    *_robot("HalfCheetahVelocity-v0", "mixed"),
    *(row for task in ("KeyToDoor-v0", "GraphPath-v0") for row in _slow(task)),
    *_with_memory("KeyToDoor-v0", STEPS, PPO, 5),
    *(_from(agent, "KeyToDoor-v0", FEW, seeds=3) for agent in ("dt", "bc", "bc-10", "cql")),
    # the papers' sizes of both are beyond a CPU: one budget each
    replace(_from("odt", "HopperVelocity-v0", "medium", seeds=1), validate=0),
    replace(_from("tt", "HopperVelocity-v0", "medium", 6_000, 1), validate=0, episodes=10),
)


def make_data(rows: tuple[Row, ...], scale: float) -> None:
    """Make the data sets of rows, those that are not there yet.

    Raises:
        SystemExit: a set does not have the hash of its card.
    """
    tasks = list(dict.fromkeys(row.task.partition("+")[0] for row in rows if row.data))
    words = tasks
    if scale != 1.0:
        folder = ROOT / "runs" / TABLE / f"data-{scale:g}"
        os.environ[ROOT_VARIABLE] = str(folder)
        words = [
            *tasks,
            "--scale",
            f"{scale:g}",
            "--out",
            str(folder),
            "--runs",
            str(folder / "experts"),
        ]
    if tasks and offline_data.main(words):
        raise SystemExit(
            "data sets differ from their cards, so the rows would not be the published ones; "
            "on another processor those of robots do: python -m benchmarks.offline_data --update"
        )


if __name__ == "__main__":
    describe = (__doc__ or "").split("\n")[0]
    run_stages(
        *(ROWS, TABLE, describe, page_of),
        make_data=make_data,
        seconds=seconds,
        data_seconds=data_seconds,
    )
