"""Dexterous grasping: what agents lift of the objects that they trained on, and of others.

``make results-grasp`` trains and scores what has no record yet and writes
``docs/results/grasp.md``. It can be stopped and started again. ``--scale`` multiplies every budget,
``--fresh`` trains again what has a record, and ``--only 'demograsp GraspSmall'`` trains one row.
A row takes about half an hour of one core, PPO on many objects somewhat more than an hour.
"""

from __future__ import annotations

from benchmarks.results.grasp_page import page_of
from benchmarks.results.rows import Row
from benchmarks.results.running import run_stages

BALL, SMALL, FULL = "GraspSphere-v0", "GraspSmall-v0", "GraspFull-v0"
_BALL_STEPS, _SMALL_STEPS, _FULL_STEPS = 2_000_000, 16_000_000, 10_000_000


def _row(agent: str, task: str, steps: int, seeds: int, ships: int = 0) -> Row:
    return Row(agent, task, steps, seeds, ships, table="grasp")


ROWS = (
    _row("demograsp", BALL, _BALL_STEPS, 2),
    _row("demograsp", SMALL, _SMALL_STEPS, 2, ships=1),
    _row("demograsp", FULL, _FULL_STEPS, 2, ships=1),
    _row("ppo", BALL, _BALL_STEPS, 2),
    _row("ppo", SMALL, _SMALL_STEPS, 2),
)

if __name__ == "__main__":
    run_stages(ROWS, "grasp", (__doc__ or "").split("\n")[0], page_of)
