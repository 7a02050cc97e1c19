"""Violation of a cost limit and share of feasible runs: numbers worked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pkubench.evaluation.metrics import Aggregate, constraint, feasible
from pkubench.evaluation.report import Report
from pkubench.evaluation.run.harness import evaluate
from pkubench.tasks.registry import make_task
from tests.evaluation.actors import Faulty, Honest
from tests.evaluation.counting import COST, RETURN, counting_task
from tests.leaderboard.writing import write_results

CHEETAH = "HalfCheetahVelocity-v0"


def test_violation_is_the_mean_cost_over_the_limit_and_its_interval_moves_along() -> None:
    found = constraint(25.0, Aggregate(30.0, 22.0, 38.0, 3), [20.0, 31.0, 39.0])
    assert found is not None
    assert found.violation == Aggregate(5.0, 0.0, 13.0, 3)
    # Wilson at 1 of 3, z = 1.95996: (1 + z²/2 ± z √(2/3 + z²/4)) / (3 + z²).
    assert found.feasible_runs == pytest.approx((1 / 3, 0.0615, 0.7923, 3), abs=1e-4)


def test_a_mean_within_the_limit_violates_nothing_but_may_do_so_with_its_upper_bound() -> None:
    found = constraint(25.0, Aggregate(24.0, 18.0, 30.0, 5), [10.0, 25.0, 25.0, 30.0, 30.0])
    assert found is not None
    assert found.violation == Aggregate(0.0, 0.0, 5.0, 5)
    assert found.feasible_runs.mean == 0.6  # the limit itself is within it
    assert constraint(25.0, Aggregate(24.0, None, None, 1), [24.0]).violation[:3] == (  # type: ignore[union-attr]
        0.0,
        None,
        None,
    )


@pytest.mark.parametrize(("cost", "is_kept"), [(25.0, True), (25.001, False), (None, None)])
def test_a_cost_of_the_limit_itself_is_feasible(cost: float | None, is_kept: bool | None) -> None:
    assert feasible(make_task(CHEETAH), cost) is is_kept
    assert feasible(make_task("PointGoal0-v0"), cost) is None


def test_a_task_without_a_limit_has_nothing_to_violate() -> None:
    assert constraint(None, Aggregate(1.0, 0.0, 2.0, 3), [1.0]) is None
    assert "constraint" not in evaluate(Honest(), counting_task(), workers=0).to_json()


def test_where_episodes_failed_the_violation_is_unknown() -> None:
    task = counting_task(RETURN, COST, cost_limit=50.0)
    found = evaluate(Faulty("raising"), task, workers=0).constraint
    assert found is not None
    assert found.violation == Aggregate(None, None, None, 40)
    assert found.feasible_runs == Aggregate(None, None, None, 1)


def test_the_report_tells_violation_over_runs(tmp_path: Path) -> None:
    costs = [[20.0, 22.0], [30.0, 34.0], [40.0, 40.0]]
    write_results(tmp_path, "a", CHEETAH, [[1.0, 1.0]] * 3, costs=costs)
    (folder,) = (path.parent for path in tmp_path.rglob("report.json"))
    report = json.loads((folder / "report.json").read_text())
    found = report["constraint"]
    # Run means 21, 32, 40: mean 31, standard deviation √91, t(2) = 4.30265.
    half = 4.30265 * (91 / 3) ** 0.5
    assert found["cost_limit"] == 25.0
    assert found["violation"]["mean"] == pytest.approx(6.0)
    assert (found["violation"]["low"], found["violation"]["n"]) == (0.0, 3)
    assert found["violation"]["high"] == pytest.approx(6.0 + half, abs=1e-3)
    assert found["feasible_runs"]["mean"] == pytest.approx(1 / 3)
    assert Report.from_records(folder).to_json()["constraint"] == found
