"""Table, figure and board read the same normalised scores from the same reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.cli import compare, plot
from pkubench.evaluation import normalised
from pkubench.evaluation.normalised import NO_REFERENCES, OVER_LIMIT, normalised_scores
from pkubench.evaluation.report import Report
from pkubench.evaluation.statistics import iqm
from pkubench.leaderboard import Board, create_bundle, rank_suite, rank_task
from pkubench.leaderboard.board.local import own_records
from pkubench.tasks.registry import make_task
from pkubench.tasks.task import Reference, Task
from tests.leaderboard.writing import write_results

CHEETAH, HOPPER = "HalfCheetahVelocity-v0", "HopperVelocity-v0"
SCORES = {
    "bold": ((1000.0, 1400.0, 900.0, 1200.0, 1100.0), (700.0, 650.0, 800.0, 720.0, 500.0)),
    "meek": ((600.0, 500.0, 450.0, 620.0, 480.0), (300.0, 310.0, 290.0, 350.0, 330.0)),
}
"""Agent -> return of each of five runs on the two tasks; random has 0, the reference 1,000."""

Consumer = Callable[[Path], Mapping[str, float]]


@pytest.fixture(autouse=True)
def anchored(monkeypatch: pytest.MonkeyPatch) -> dict[str, Task]:
    """Give both tasks round reference scores, wherever they are looked up."""
    anchors = {
        name: Reference(agent=name, score=score, n=5, command="measured")
        for name, score in (("random", 0.0), ("reference", 1000.0))
    }
    tasks = {}
    for name in (CHEETAH, HOPPER):
        task = replace(make_task(name), references=anchors)
        tasks[task.id] = task
    for module in (compare, plot):
        monkeypatch.setattr(module, "make_task", lambda name: tasks[name])
    return tasks


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results of the two agents; the reckless one is over the limit on one task."""
    for agent, of_tasks in SCORES.items():
        for task, scores in zip((CHEETAH, HOPPER), of_tasks, strict=True):
            episodes = make_task(task).protocol.episodes
            runs = [[score] * episodes for score in scores]
            write_results(tmp_path, agent, task, runs, costs=[[1.0] * episodes] * 5)
    return tmp_path / "results"


def reports_in(results: Path) -> dict[str, dict[str, Report]]:
    found: dict[str, dict[str, Report]] = {}
    for evaluated in compare._from_folders([results], []):
        found.setdefault(evaluated.report.task, {})[evaluated.report.agent] = evaluated.report
    return found


def table(results: Path) -> dict[str, float]:
    """The IQM of each agent in the table of ``pkubench compare``."""
    found = compare._by_task(list(compare._from_folders([results], [])))
    rows = compare._overall(compare._scores(found))
    return {row["agent"]: row["iqm"]["estimate"] for row in rows}


def figure(results: Path) -> dict[str, float]:
    """The IQM of what ``pkubench plot`` draws as a performance profile."""
    found = plot.profile_scores(reports_in(results))
    return {agent: iqm(matrix.scores) for agent, matrix in found.matrices.items()}


def board(results: Path, tasks: Mapping[str, Task]) -> dict[str, float]:
    """The IQM of each agent in the suite's ranking on a board."""
    made = Board.open()
    for folder in sorted(results.iterdir()):
        path = results.parent / f"{folder.name}.zip"
        bundle = create_bundle(folder, path, weights=results.parent / "weights")
        made.submit(bundle, own_records(bundle))
    standings = {id: rank_task(task, made.entries(id)) for id, task in tasks.items()}
    ranked = rank_suite(list(tasks.values()), standings)
    assert all(standing.unranked is None for standing in ranked)
    return {s.submitter.name: s.aggregate.estimate for s in ranked if s.aggregate is not None}


def test_table_figure_and_board_show_the_same_numbers(
    results: Path, anchored: dict[str, Task]
) -> None:
    # Of ten scores the middle six count.
    worked = {
        agent: float(np.mean(sorted([*of_tasks[0], *of_tasks[1]])[2:-2])) / 1000.0
        for agent, of_tasks in SCORES.items()
    }
    assert table(results) == pytest.approx(worked)
    assert figure(results) == pytest.approx(worked)
    assert board(results, anchored) == pytest.approx(worked)


def test_a_change_of_the_definition_reaches_all_three(
    results: Path, anchored: dict[str, Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = table(results)
    column = normalised._column
    monkeypatch.setattr(
        normalised, "_column", lambda *args: [score + 10.0 for score in column(*args)]
    )
    moved = {agent: value + 10.0 for agent, value in before.items()}
    assert table(results) == pytest.approx(moved)
    assert figure(results) == pytest.approx(moved)
    assert board(results, anchored) == pytest.approx(moved)


def test_what_is_left_out_is_listed_with_its_reason(
    results: Path, anchored: dict[str, Task]
) -> None:
    cheetah, hopper = (f"pkubench/{name}" for name in (CHEETAH, HOPPER))
    reports = reports_in(results)

    def changed(**changes: Any) -> dict[str, str]:
        """Change the report of the meek cheetah; return what is left out, by agent and task."""
        given = dict(reports)
        given[cheetah] = {
            **reports[cheetah],
            "meek": replace(reports[cheetah]["meek"], **changes),
        }
        found = normalised_scores(given, anchored.values(), min_runs=2)
        for matrix in found.matrices.values():
            assert matrix.scores.shape == (len(matrix.runs[0]), len(matrix.tasks))
        assert set(found.matrices["bold"].tasks) == set(found.matrices["meek"].tasks)
        return {f"{agent} {task}": reason for agent, task, reason in found.excluded}

    runs = reports[cheetah]["meek"].runs
    place = f"meek {cheetah}"
    assert changed() == {}
    assert changed(feasible=False) == {place: OVER_LIMIT}
    assert changed(failed=3) == {place: "3 episodes failed"}
    assert changed(seed=4) == {place: "evaluated on the episodes of seed 4, not 0"}
    assert changed(runs=runs[:1]) == {place: "1 run of the 2 needed"}
    assert changed(runs=runs[:3]) == {f"meek {hopper}": "counted with the first 3 of 5 runs"}
    bare = [anchored[cheetah], replace(anchored[hopper], references={})]
    found = normalised_scores(reports, bare)
    assert [(e.agent, e.task, e.reason) for e in found.excluded] == [
        (agent, hopper, NO_REFERENCES) for agent in reports[hopper]
    ]
    assert found.matrices["bold"].tasks == (cheetah,)
    assert found.matrices["bold"].scores[:, 0].tolist() == [s / 1000 for s in SCORES["bold"][0]]


def test_tasks_that_not_all_share_are_kept_only_where_asked_for(
    results: Path, anchored: dict[str, Task]
) -> None:
    reports = reports_in(results)
    cheetah, hopper = anchored
    del reports[hopper]["meek"]
    tasks = anchored.values()
    shared = normalised_scores(reports, tasks).matrices
    own = normalised_scores(reports, tasks, shared=False).matrices
    assert {agent: matrix.tasks for agent, matrix in shared.items()} == {
        "bold": (cheetah,),
        "meek": (cheetah,),
    }
    assert own["bold"].tasks == (cheetah, hopper)
    del reports[cheetah]["bold"]
    assert normalised_scores(reports, tasks).matrices == {}
    assert normalised_scores(reports, tasks).excluded == ()
    other = {cheetah: {"a": reports[cheetah]["meek"]}}
    assert normalised_scores(other, tasks, seed=1).matrices == {}
