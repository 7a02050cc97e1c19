"""The page of grasping: kinds of success, splits of objects, and the gap between them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from benchmarks.results import grasp, grasp_page
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
        config_of(row.agent, row.task)


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
