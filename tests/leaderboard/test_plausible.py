"""Claims that honest trainings do not make are flagged; those that they do make are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pkubench.leaderboard.submissions.plausible import (
    above_optimum,
    implausible,
    too_alike,
    too_fast,
)
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.registry import make_task, tasks
from pkubench.tasks.task import Reference, Task

CLIMBING, SPREAD = "Climbing-v0", "SimpleSpread-v0"
CONTINUOUS, CHEETAH = "SimpleSpreadContinuous-v0", "HalfCheetahVelocity-v0"


def runs_of(values: Sequence[Sequence[float]]) -> dict[str, list[EpisodeRecord]]:
    return {
        f"seed{k}": [
            EpisodeRecord(episode=i, seed=i, return_=v, returns={"a": v}, length=1)
            for i, v in enumerate(row)
        ]
        for k, row in enumerate(values)
    }


def curves(first_steps: Sequence[float], level: float) -> list[list[dict[str, Any]]]:
    return [
        [{"steps": 1, "return": level - 1.0}, {"steps": s, "return": level}] for s in first_steps
    ]


def test_a_mean_above_the_known_optimum_is_flagged() -> None:
    task = make_task(CLIMBING)  # its best joint action pays 11, always
    assert above_optimum(task, np.full((5, 200), 11.0)) == ""
    assert above_optimum(task, np.full((5, 200), 10.9)) == ""
    assert "better than 11, the best" in above_optimum(task, np.full((5, 200), 11.001))
    assert above_optimum(make_task(SPREAD), np.full((5, 200), 1e6)) == ""  # none is known
    assert above_optimum(make_task(CHEETAH), np.full((5, 16), 1e6)) == ""


def test_luck_above_an_optimum_is_not_flagged_and_an_advantage_is() -> None:
    optimum = Reference(agent="x", score=1.0, n=1, command="known")
    task = replace(
        make_task("KeyToDoor-v0"), references={"reference": optimum}, is_reference_optimal=True
    )
    rng = np.random.default_rng(0)
    noise = rng.normal(0.0, 1.0, 200)
    lucky = np.tile(1.0 + noise - noise.mean() + 0.1, (5, 1))  # 0.1 is 1.4 standard errors
    assert above_optimum(task, lucky) == ""
    better = lucky + 0.2
    p = stats.ttest_1samp(better.mean(axis=0), 1.0, alternative="greater").pvalue
    assert p < 0.001 and f"p = {p:.1g}" in above_optimum(task, better)
    # Five copies of the same episodes are 200 observations, not 1,000.
    between = lucky + 0.05
    assert stats.ttest_1samp(between.ravel(), 1.0, alternative="greater").pvalue < 0.001
    assert above_optimum(task, between) == ""


def test_an_optimum_is_marked_only_where_it_is_one() -> None:
    marked = {task.id for task in tasks() if task.is_reference_optimal}
    assert {"pkubench/KuhnPoker-v0", "pkubench/Climbing-v0", "pkubench/AliceAndBob-v0"} <= marked
    exact = ("optimum", "equilibrium")
    for task in tasks():
        if task.is_reference_optimal:
            assert task.references["reference"].agent.endswith(exact), task.id


@pytest.mark.parametrize("name", [SPREAD, CONTINUOUS])
def test_runs_alike_up_to_rounding_are_one_training(name: str) -> None:
    task, rng = make_task(name), np.random.default_rng(0)
    episodes = rng.normal(-40.0, 4.0, 200)
    other = episodes + rng.normal(0.0, 0.5, 200)
    assert too_alike(task, {"a": episodes, "b": other}) == ""
    permuted = episodes * (1.0 + 1e-12)  # hidden units in another order: sums round differently
    assert "a and b play 200 of 200" in too_alike(task, {"a": episodes, "b": permuted})
    half = np.where(np.arange(200) < 120, permuted, other)
    assert "120 of 200" in too_alike(task, {"a": episodes, "b": half})


def test_equal_episodes_are_evidence_of_continuous_actions_only() -> None:
    episodes = np.random.default_rng(0).normal(-40.0, 4.0, 200)
    same = {"a": episodes, "b": episodes.copy()}
    assert too_alike(make_task(SPREAD), same) == ""
    assert "200 of 200" in too_alike(make_task(CONTINUOUS), same)
    constant = {"a": np.full(200, 11.0), "b": np.full(200, 11.0)}
    assert too_alike(make_task(CONTINUOUS), constant) == ""  # a task without chance


def test_a_curve_a_thousand_times_faster_than_the_reference_is_flagged() -> None:
    task = make_task(CHEETAH)
    top, floor = task.references["reference"], task.floor
    assert floor is not None
    middle = (top.score + floor.score) / 2
    known = curves([1e6, 1.2e6, 0.9e6, 1.1e6, 1e6], middle)
    own = curves([1e3, 1.1e3, 0.9e3, 1e3, 1e3], middle + 1.0)
    assert "1,0" in too_fast(task, own, known) and "times earlier" in too_fast(task, own, known)
    ten = curves([1e5, 1.1e5, 0.9e5, 1e5, 1e5], middle)
    assert too_fast(task, ten, known) == ""  # as off-policy learners are
    assert too_fast(task, own[:2], known) == ""  # two say too little
    wild = curves([2.0, 1e3, 1e6], middle)
    assert too_fast(task, wild, curves([2e3, 1e6, 1e9], middle)) == ""  # one-sided test undecided
    assert too_fast(task, curves([1e3] * 5, middle - 1.0), known) == ""  # it never gets there


def test_the_reference_is_not_flagged_by_its_own_curves() -> None:
    task: Task = make_task(CHEETAH)
    rng = np.random.default_rng(0)
    values = rng.normal(2700.0, 30.0, (5, 16))
    assert implausible(task, runs_of(values.tolist()), []) == ""
    failed = runs_of(values.tolist())
    failed["seed0"][3] = EpisodeRecord(episode=3, seed=3, return_=None, length=1, failure="x: y")
    assert implausible(task, failed, []) == ""  # a reason of its own
    low = task.references["reference"].score - 1.0
    instant = curves([1.5] * 5, low)
    assert "times earlier" in implausible(task, runs_of(values.tolist()), instant)
