"""The aggregate of ``pkubench compare``: like with like, and nothing that broke a limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pkubench.cli import compare
from pkubench.tasks.catalogue import make_task
from pkubench.tasks.task import Reference
from tests.leaderboard.writing import write_results

KUHN, LEDUC, CHEETAH = "KuhnPoker-v0", "LeducPoker-v0", "HalfCheetahVelocity-v0"


def test_only_tasks_that_all_agents_share_are_averaged(tmp_path: Path) -> None:
    write_results(tmp_path, "broad", KUHN, [[0.1], [0.1]])
    write_results(tmp_path, "broad", LEDUC, [[2.0], [2.0]])
    write_results(tmp_path, "narrow", KUHN, [[0.2], [0.2]])
    table = compare._by_task(list(compare._from_folders([tmp_path / "results"], [])))
    rows = compare._overall(table)
    assert [row["agent"] for row in rows] == ["broad", "narrow"]
    assert all(row["tasks"] == [f"pkubench/{KUHN}"] for row in rows)
    assert rows[0]["iqm"]["estimate"] == pytest.approx(make_task(KUHN).normalised(0.1))


def test_what_is_over_the_cost_limit_is_not_averaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anchors = {
        name: Reference(agent=name, score=score, n=5, command="measured")
        for name, score in (("random", 0.0), ("reference", 1000.0))
    }
    task = replace(make_task(CHEETAH), references=anchors)
    monkeypatch.setattr(compare, "make_task", lambda name: task)
    for agent, score, cost in (("reckless", 3000.0, 900.0), ("careful", 500.0, 20.0)):
        write_results(tmp_path, agent, CHEETAH, [[score]] * 2, costs=[[cost]] * 2)
    table = compare._by_task(list(compare._from_folders([tmp_path / "results"], [])))
    (row,) = compare._overall(table)
    assert (row["agent"], row["iqm"]["estimate"]) == ("careful", 0.5)
