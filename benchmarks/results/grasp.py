"""Dexterous grasping: what agents lift of the objects that they trained on, and of others.

``make results-grasp`` trains and scores what has no record yet and writes
``docs/results/grasp.md``. It can be stopped and started again. ``--stage plan`` prints what is left
to do with the expected core seconds. ``--scale`` multiplies every budget, ``--fresh`` trains again
what has a record, and ``--only 'demograsp GraspSmall'`` trains one row.

Rows that begin with what another row trained need that row first: ``--only '^unidexgrasp '``, then
the others.
"""

from __future__ import annotations

from typing import Any

from benchmarks.results.grasp_page import page_of
from benchmarks.results.grasp_plan import seconds
from benchmarks.results.rows import Row
from benchmarks.results.running import run_stages

BALL, SMALL, FULL = "GraspSphere-v0", "GraspSmall-v0", "GraspFull-v0"
CLOUD = f"{SMALL}+observation=cloud+points=256"
_BALL_STEPS, _SMALL_STEPS, _FULL_STEPS = 2_000_000, 16_000_000, 10_000_000
_PIPELINE_BALL, _SPECIALISTS, _VISION = 400_000, 4_000_000, 480_000
_STAGES = f"runs/grasp/unidexgrasp/{SMALL}/{_SMALL_STEPS}/seed0/stages"
"""Of the pipeline's first seed: the specialists that are compared begin as its generalist."""
_FROM_GENERALIST = (
    ("start", f"{_STAGES}/06-generalist"),
    ("geometry", f"{_STAGES}/03-geometry"),
)
_SEES = (
    ("encoder", "scene-cloud"),
    ("points", "256"),
    ("point_hidden", "[32, 64, 128]"),
    ("cloud_hidden", "[128]"),
    ("num_envs", "32"),
    ("updates", "80"),
    ("batch_size", "256"),
    ("kept", "4"),
)
"""Settings of the pipelines' last stage."""


def _row(agent: str, task: str, steps: int, seeds: int, ships: int = 0, **more: Any) -> Row:
    return Row(agent, task, steps, seeds, ships, table="grasp", **more)


ROWS = (
    _row("demograsp", BALL, _BALL_STEPS, 2),
    _row("demograsp", SMALL, _SMALL_STEPS, 2, ships=1),
    _row("demograsp", FULL, _FULL_STEPS, 2, ships=1),
    _row("unidexgrasp", BALL, _PIPELINE_BALL, 2),
    _row("unidexgrasp", SMALL, _SMALL_STEPS, 2, ships=1),
    _row("ppo", BALL, _BALL_STEPS, 2),
    _row("ppo", SMALL, _SMALL_STEPS, 2),
    _row("gsl", SMALL, _SMALL_STEPS, 2),
    _row("grasp-specialists", SMALL, _SPECIALISTS, 5, inputs=_FROM_GENERALIST),
    _row(
        *("grasp-specialists", SMALL, _SPECIALISTS, 5),
        inputs=_FROM_GENERALIST,
        label="grasp-specialists-random",
        changes=(("partition", "random"),),
    ),
    _row(
        *("dagger-value", CLOUD, _VISION, 1),
        ships=1,
        inputs=(("teacher", f"{_STAGES}/07-specialists1"),),
        label="vision-student",
        changes=_SEES,
    ),
)

if __name__ == "__main__":
    run_stages(ROWS, "grasp", (__doc__ or "").split("\n")[0], page_of, seconds=seconds)
