"""The aggregate of ``pkubench compare``: like with like, and nothing that broke a limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pkubench.cli import compare
from pkubench.tasks.registry import make_task
from pkubench.tasks.task import Reference
from tests.cli.conftest import Command
from tests.leaderboard.writing import write_results

KUHN, LEDUC, CHEETAH = "KuhnPoker-v0", "LeducPoker-v0", "HalfCheetahVelocity-v0"


def test_only_tasks_that_all_agents_share_are_averaged(tmp_path: Path) -> None:
    write_results(tmp_path, "broad", KUHN, [[0.1], [0.1]])
    write_results(tmp_path, "broad", LEDUC, [[2.0], [2.0]])
    write_results(tmp_path, "narrow", KUHN, [[0.2], [0.2]])
    table = compare._by_task(list(compare._from_folders([tmp_path / "results"], [])))
    rows = compare._overall(compare._scores(table))
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
    (row,) = compare._overall(compare._scores(table))
    assert (row["agent"], row["iqm"]["estimate"]) == ("careful", 0.5)


@pytest.mark.parametrize("baseline", [None, "careful", "reckless"])
def test_what_is_over_the_cost_limit_is_never_better(
    tmp_path: Path, pkubench: Command, baseline: str | None
) -> None:
    for agent, scores, cost in (
        ("reckless", [3000.0, 3001.0, 2999.0], 900.0),
        ("careful", [500.0, 501.0, 499.0], 20.0),
    ):
        write_results(tmp_path, agent, CHEETAH, [[score] for score in scores], costs=[[cost]] * 3)
    words = ["compare", str(tmp_path / "results")]
    words += ["--baseline", baseline] if baseline else []
    (found,) = pkubench(*words, "--json").json["comparisons"]
    assert found["verdict"] == "infeasible"
    sides = {side["agent"]: side["feasible"] for side in (found["first"], found["second"])}
    assert sides == {"reckless": False, "careful": True}
    said = pkubench(*words).out
    assert "reckless is over the cost limit of HalfCheetahVelocity-v0" in said
    assert "better" not in said.replace("P(better)", "")


def test_the_table_says_which_side_is_runs_and_which_episodes(
    tmp_path: Path, pkubench: Command
) -> None:
    write_results(tmp_path, "trained", CHEETAH, [[1.0, 2.0]] * 5, costs=[[1.0, 1.0]] * 5)
    write_results(tmp_path, "alone", CHEETAH, [[0.0, 1.0]], costs=[[1.0, 1.0]])
    said = pkubench("compare", str(tmp_path / "results")).out
    assert "5 runs, 2 episodes" in said
    assert "Runs against episodes" in said


def test_an_agent_that_is_there_twice_is_told_with_both_its_folders(
    tmp_path: Path, pkubench: Command
) -> None:
    folders = [write_results(tmp_path / name, "one", KUHN, [[0.1], [0.1]]) for name in "ab"]
    said = pkubench("compare", *map(str, folders))
    assert said.code == 2
    assert all(str(folder) in said.err for folder in folders) and "give one of them" in said.err
