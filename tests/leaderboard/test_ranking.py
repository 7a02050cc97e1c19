"""Ranks on numbers worked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.leaderboard import Board, create_bundle, rank_suite, rank_task
from pkubench.leaderboard.board import ranking
from pkubench.leaderboard.board.local import own_records
from pkubench.leaderboard.board.ranking import Standing
from pkubench.leaderboard.board.tiers import Verification
from pkubench.tasks.registry import make_task
from pkubench.tasks.task import Reference, Task
from tests.leaderboard.writing import write_results

SPREAD, CHEETAH, KUHN = "SimpleSpread-v0", "HalfCheetahVelocity-v0", "KuhnPoker-v0"


def constant(means: Sequence[float], episodes: int) -> list[list[float]]:
    """Return one run for each mean, every episode of which has that score."""
    return [[mean] * episodes for mean in means]


class Scene:
    """A board that agents are put on one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.board = folder, Board.open(":memory:")

    def add(
        self, agent: str, task: str, scores: Any, *, verified: bool = True, **more: Any
    ) -> None:
        where = write_results(self.folder, agent, task, scores, **more)
        path = self.folder / f"{agent}.zip"
        bundle = create_bundle(where, path, weights=self.folder)
        self.board.submit(bundle, own_records(bundle) if verified else Verification({}))

    def standings(self, task: str) -> dict[str, Standing]:
        known = make_task(task)
        found = rank_task(known, self.board.entries(known.id))
        return {standing.entry.submitter.name: standing for standing in found}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_the_higher_return_has_the_better_rank_and_means_are_over_runs(scene: Scene) -> None:
    scene.add("low", SPREAD, constant([-40, -41, -42, -43, -44], 200))
    scene.add("high", SPREAD, constant([-30, -31, -32, -33, -34], 200))
    found = scene.standings(SPREAD)
    assert list(found) == ["high", "low"]
    assert (found["high"].rank, found["low"].rank) == (1, 2)
    assert (found["high"].rank_range, found["low"].rank_range) == ((1, 1), (2, 2))
    score = found["high"].score
    assert score is not None
    # t(0.975, 4) = 2.776445, standard deviation of 0..4 is sqrt(2.5)
    half = 2.7764451 * np.sqrt(2.5 / 5)
    assert score == pytest.approx((-32, -32 - half, -32 + half), abs=1e-6)


def test_equal_means_share_a_rank_and_the_next_one_is_skipped(scene: Scene) -> None:
    scene.add("a", SPREAD, constant([-30, -32, -31, -31, -31], 200))
    scene.add("b", SPREAD, constant([-31, -31, -31, -30, -32], 200))
    scene.add("c", SPREAD, constant([-50] * 5, 200))
    found = scene.standings(SPREAD)
    assert [found[name].rank for name in "abc"] == [1, 1, 3]
    assert found["a"].rank_range == (1, 2)


def test_lower_is_better_where_the_metric_says_so(scene: Scene) -> None:
    scene.add("good", KUHN, constant([0.001] * 5, 1))
    scene.add("bad", KUHN, constant([0.1] * 5, 1))
    found = scene.standings(KUHN)
    assert (found["good"].rank, found["bad"].rank) == (1, 2)


def test_a_game_has_no_budget_of_iterations(scene: Scene) -> None:
    scene.add("long", KUHN, constant([0.001] * 5, 1), steps=10**9)
    assert scene.standings(KUHN)["long"].rank == 1


def test_exact_scores_that_differ_by_rounding_errors_are_equal(scene: Scene) -> None:
    scene.add("a", KUHN, constant([1e-16, 3e-16, 1e-16, 2e-16, 0.0], 1))
    scene.add("b", KUHN, constant([2e-12, 0.0, 1e-12, 0.0, 0.0], 1))
    found = scene.standings(KUHN)
    assert (found["a"].rank, found["b"].rank) == (1, 1)


def test_feasible_entries_come_before_infeasible_ones_whatever_their_return(scene: Scene) -> None:
    def add(agent: str, score: float, cost: float) -> None:
        scene.add(agent, CHEETAH, constant([score] * 5, 16), costs=constant([cost] * 5, 16))

    add("careful", 1000.0, 3.0)
    add("at-the-limit", 2000.0, 25.0)
    add("a-bit-over", 3000.0, 26.0)
    add("reckless", 5000.0, 600.0)
    found = scene.standings(CHEETAH)
    assert list(found) == ["at-the-limit", "careful", "a-bit-over", "reckless"]
    assert [standing.rank for standing in found.values()] == [1, 2, 3, 4]
    assert [standing.feasible for standing in found.values()] == [True, True, False, False]


def test_the_rank_interval_puts_a_feasible_loss_above_an_infeasible_one(scene: Scene) -> None:
    scene.add("safe", CHEETAH, constant([-500.0] * 5, 16), costs=constant([0.0] * 5, 16))
    scene.add("unsafe", CHEETAH, constant([-400.0] * 5, 16), costs=constant([30.0] * 5, 16))
    found = scene.standings(CHEETAH)
    assert (found["safe"].rank_range, found["unsafe"].rank_range) == ((1, 1), (2, 2))


def test_the_rank_interval_keeps_return_and_cost_of_a_run_together(scene: Scene) -> None:
    # One run in five is fast and far over the limit: in most resamples with it the mean cost is
    # over the limit, so this entry may be first or second, and the other one as well.
    scene.add(
        "mixed",
        CHEETAH,
        constant([3000.0, 1000.0, 1000.0, 1000.0, 1000.0], 16),
        costs=constant([100.0, 0.0, 0.0, 0.0, 0.0], 16),
    )
    scene.add("steady", CHEETAH, constant([900.0] * 5, 16), costs=constant([1.0] * 5, 16))
    found = scene.standings(CHEETAH)
    assert found["mixed"].rank == 1
    assert found["mixed"].rank_range == found["steady"].rank_range == (1, 2)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"runs": 4}, "4 of the 5 training seeds"),
        ({"episodes": 150}, "150 of the 200 episodes"),
        ({"episodes": 216}, "216 episodes per run; a rank compares the same 200"),
        ({"verified": False}, "self-reported"),
        ({"seed": 3}, "episodes of seed 3"),
        ({"failure": "bad-action: NaN"}, "5 of 1000 episodes failed"),
        ({"label": "builtin"}, "not trained"),
        ({"steps": 10_000_001}, "the budget is 10,000,000"),
        ({"steps": None}, "does not record for how many steps"),
    ],
)
def test_an_entry_that_breaks_a_rule_is_shown_with_the_reason_and_takes_no_rank(
    scene: Scene, changes: dict[str, Any], reason: str
) -> None:
    runs, episodes = changes.pop("runs", 5), changes.pop("episodes", 200)
    scene.add("ruled-out", SPREAD, constant([-10.0] * runs, episodes), **changes)
    scene.add("ranked", SPREAD, constant([-40.0] * 5, 200))
    found = scene.standings(SPREAD)
    assert found["ruled-out"].rank is None
    assert reason in (found["ruled-out"].unranked or "")
    assert found["ranked"].rank == 1
    assert list(found) == ["ranked", "ruled-out"]


def test_unranked_entries_over_the_cost_limit_stand_below_those_within(scene: Scene) -> None:
    scene.add("reckless", CHEETAH, constant([3000.0], 16), costs=constant([900.0], 16))
    scene.add("risky", CHEETAH, constant([2000.0], 16), costs=constant([30.0], 16))
    scene.add("careful", CHEETAH, constant([1000.0], 16), costs=constant([25.0], 16))
    scene.add("slow", CHEETAH, constant([900.0], 16), costs=constant([0.0], 16))
    assert list(scene.standings(CHEETAH)) == ["careful", "slow", "risky", "reckless"]


def test_the_same_training_seed_five_times_is_one_seed(scene: Scene, tmp_path: Path) -> None:
    scene.add("copied", SPREAD, constant([-30.0] * 5, 200))
    (entry,) = scene.board.entries("pkubench/SimpleSpread-v0")
    assert entry.seeds == 5
    same = replace(entry, runs=tuple(replace(run, seed=0) for run in entry.runs))
    assert same.seeds == 1


def anchored(name: str, low: float, high: float) -> Task:
    def reference(agent: str, score: float) -> Reference:
        return Reference(agent=agent, score=score, n=5, command="measured")

    task = make_task(name)
    anchors = {"random": reference("random", low), "reference": reference("happo", high)}
    return replace(task, references=anchors)


def test_a_suite_ranks_by_the_interquartile_mean_over_runs_and_tasks(scene: Scene) -> None:
    tasks = [anchored(SPREAD, -80.0, -40.0), anchored("SimpleReference-v0", -60.0, -20.0)]
    for agent, shift in (("good", 0.0), ("poor", -10.0)):
        for task, base in ((SPREAD, -40.0), ("SimpleReference-v0", -20.0)):
            scores = constant([base + shift + k for k in range(5)], 200)
            write_results(scene.folder, agent, task, scores)
        bundle = create_bundle(
            scene.folder / "results" / agent,
            scene.folder / f"{agent}.zip",
            weights=scene.folder / "weights",
        )
        scene.board.submit(bundle, own_records(bundle))
    scene.add("partial", SPREAD, constant([-20.0] * 5, 200))
    standings = {task.id: rank_task(task, scene.board.entries(task.id)) for task in tasks}
    found = {s.submitter.name: s for s in rank_suite(tasks, standings)}
    assert list(found) == ["good", "poor", "partial"]
    assert [s.rank for s in found.values()] == [1, 2, None]
    assert found["partial"].unranked == "has 1 of the 2 tasks compared here"
    # Both tasks give 1.0, 1.025, ..., 1.1: of ten values the middle half, cut at 2 each end.
    aggregate = found["good"].aggregate
    assert aggregate is not None
    assert aggregate.estimate == pytest.approx(1.05)
    assert aggregate.low <= 1.05 <= aggregate.high
    assert found["good"].seeds == 5


def test_ranks_of_many_resamples_at_once_are_those_of_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, task = np.random.default_rng(0), make_task(CHEETAH)
    scene = Scene(tmp_path)
    for name, mean in {"within": 15.0, "near": 25.0, "over": 35.0}.items():
        costs = rng.normal(mean, 1.0, (5, 16)).tolist()
        scene.add(name, CHEETAH, rng.normal(9.0, 1.0, (5, 16)).tolist(), costs=costs)
    together = [standing.rank_range for standing in rank_task(task, scene.board.entries())]
    one_by_one = ranking.rank_intervals
    monkeypatch.setattr(
        ranking, "rank_intervals", lambda *a, rows, **k: one_by_one(*a, rows=None, **k)
    )
    assert [s.rank_range for s in rank_task(task, scene.board.entries())] == together
    assert together[0] != together[-1]
