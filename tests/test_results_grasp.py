"""The page of grasping: kinds of success, splits of objects, and the gap between them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from benchmarks.results import grasp, grasp_page, grasp_plan, grasp_stages
from benchmarks.results.records import Scored
from benchmarks.results.rows import config_of
from pkubench.agents.registry import preset
from pkubench.agents.suitability import why_not
from pkubench.tasks.registry import make_task


def line(name: str, shares: Mapping[str, float]) -> Scored:
    metrics = {metric: (share, share - 0.1, share + 0.1, 2) for metric, share in shares.items()}
    return Scored(name, "16,000,000 steps", "runs", metrics, [shares])


def test_rows_can_be_trained() -> None:
    for row in grasp.ROWS:
        assert not why_not(preset(row.agent), make_task(row.task))
        config_of(row.agent, row.task, dict(row.changes))


def test_the_plan_divides_a_pipelines_steps_by_the_rate_of_each_stage() -> None:
    rows = {(row.name, row.task): row for row in grasp.ROWS}
    row = rows["unidexgrasp", grasp.SMALL]
    found = grasp_plan.stages(row)
    assert set(found) == {
        *("demonstration", "clone", "generalist", "specialists", "distillation", "geometry")
    }
    # 31 % of 16 M steps at 3,500 a second.
    assert found["specialists"] == pytest.approx(4_960_000 / 3_500)
    played = 8 * 51 * 200 / 4_000
    assert grasp_plan.seconds(row) == pytest.approx(2 * (sum(found.values()) + played))
    # The whole table fits into nine hours of two cores.
    assert sum(grasp_plan.seconds(row) for row in grasp.ROWS) < 2 * 9 * 3600
    random = rows["grasp-specialists-random", grasp.SMALL]
    assert "--set partition=random" in " ".join(random.flags())
    assert random.flags()[-4] == "--input" and random.flags()[-3].startswith("start=runs/grasp/")


def test_a_gap_is_success_with_known_objects_less_that_with_new_ones() -> None:
    shares = {
        **{"success": 0.5, "success_hold": 0.4, "success_final": 0.45},
        **{"success@train": 0.75, "success@seen_category": 0.5, "success@unseen_category": 0.8},
    }
    page = "".join(grasp_page.section("GraspSmall-v0", {"demograsp": line("demograsp", shares)}))
    head, _, row = page.split("\n\n")[1].splitlines()
    assert head.startswith("| agent | training | success, any step [95 %] | success, last 30 steps")
    assert head.endswith("| gap to seen category | gap to unseen category | n |")
    assert "| 0.5 [0.4, 0.6] | 0.4 [0.3, 0.5] | 0.45 [0.35, 0.55] | 0.75 [0.65, 0.85] |" in row
    assert row.endswith("| +25.0 points | -5.0 points | 2 runs |")


def test_a_ball_has_no_splits_and_unfinished_rows_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shares = {"success": 1.0, "success_hold": 0.9, "success_final": 0.95}
    page = "".join(grasp_page.section("GraspSphere-v0", {"random": line("random", shares)}))
    assert "gap" not in page and "| 1 [0.9, 1.1] | 0.9" in page
    empty = grasp_page.page_of(grasp.ROWS, 0.001)
    assert "demograsp" in empty and "## Grasp" not in empty


def test_the_gain_of_a_stage_is_over_the_one_before_in_the_same_run() -> None:
    def stage(seed: int, name: str, success: float) -> grasp_stages.Measured:
        means = {"success": success, "success_hold": 0.125}
        return grasp_stages.Measured("gsl", "T", seed, name, 1000, "", means)

    lines = [stage(0, "clone", 0.25), stage(0, "generalist", 0.75), stage(1, "clone", 0.5)]
    rows = "".join(grasp_stages.section(lines)).splitlines()[-4:-1]
    assert rows == [
        "| gsl | T | 0 | clone | 1,000 | 0.250 |  | 0.125 |  |",
        "| gsl | T | 0 | generalist | 1,000 | 0.750 | +50.0 | 0.125 |  |",
        "| gsl | T | 1 | clone | 1,000 | 0.500 |  | 0.125 |  |",
    ]
    assert not list(grasp_stages.section([]))
