"""Checking and comparing evaluations: every alteration is found, and the numbers are by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pkubench.agents.contract import Entrant
from pkubench.errors import RecordError, UnknownName
from pkubench.evaluation.comparison import compare
from pkubench.evaluation.report import Report, read_run
from pkubench.evaluation.run.harness import evaluate, evaluation_folder
from pkubench.evaluation.run.verification import chosen_blocks, verify
from pkubench.tasks.records import EPISODES, REPORT
from tests.evaluation.actors import Faulty, Honest
from tests.evaluation.counting import COST, RETURN, counting_task


class Offset(Honest):
    """Right in a share of its steps that depends on its number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
        actions, state = super().act(observation, state, active)
        return np.where(state % 6 < self.number, (actions + 1) % 3, actions), state


@dataclass(frozen=True)
class Run:
    label: str
    number: int
    hashes: Mapping[str, str] = field(default_factory=lambda: {"weights": "abc"})
    reusable: bool = True

    def load(self) -> Entrant:
        return Offset(self.number)


@dataclass(frozen=True)
class Source:
    name: str
    runs: tuple[Run, ...]
    label: str = "code"
    runtimes: tuple[str, ...] = ()


THREE = Source("three", tuple(Run(f"seed{n}", n) for n in (0, 1, 2)))
TWO = Source("two", (Run("seed0", 3), Run("seed1", 5)))
TASK = counting_task(RETURN, COST)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for source in (THREE, TWO):
        evaluate(source, TASK, workers=0, out=tmp_path)
    return tmp_path


def folder(out: Path, name: str = "three") -> Path:
    return evaluation_folder(out, name, TASK)


def test_the_interval_is_over_runs_when_there_are_several(out: Path) -> None:
    report = Report.from_records(folder(out), TASK)
    means = [run.metrics["return"] for run in report.runs]
    mean, low, high, n = report.metrics["return"]
    expected = stats.t.interval(0.95, 2, np.mean(means), stats.sem(means))
    assert (report.sample, n) == ("runs", 3)
    assert (low, high) == pytest.approx(expected) and mean == pytest.approx(np.mean(means))
    lines = (folder(out) / "seed1" / EPISODES).read_text().splitlines()
    assert means[1] == pytest.approx(np.mean([json.loads(line)["return"] for line in lines]))


def test_one_runs_interval_is_over_its_episodes(out: Path) -> None:
    report = Report.from_records(folder(out) / "seed1", TASK)
    lines = (folder(out) / "seed1" / EPISODES).read_text().splitlines()
    returns = [json.loads(line)["return"] for line in lines]
    _, low, high, n = report.metrics["return"]
    expected = stats.t.interval(0.95, 39, np.mean(returns), stats.sem(returns))
    assert (report.sample, n) == ("episodes", 40) and (low, high) == pytest.approx(expected)


def test_an_untouched_evaluation_passes_and_replays_to_the_same_bytes(out: Path) -> None:
    found = verify(folder(out), task=TASK, agent=THREE, episodes=20, workers=0)
    assert found.passed and found.problems == ()
    # 20 episodes are two of the blocks of 16, 16 and 8 of each run, so one in three is not played.
    assert 3 * 24 <= found.replayed <= 3 * 32 and found.reproduced == found.replayed
    assert found.escape == pytest.approx(1 / 3)
    assert verify(folder(out), task=TASK).replayed == 0
    everything = verify(folder(out), task=TASK, agent=THREE, episodes=10_000, workers=0)
    assert everything.reproduced == 120 and everything.passed


def _better_report(path: Path) -> None:
    report = json.loads((path / REPORT).read_text())
    report["score"] += 1
    (path / REPORT).write_text(json.dumps(report))


def _edit(path: Path, old: str, new: str) -> None:
    file = path / "seed1" / EPISODES
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (_better_report, "score is"),
        (lambda p: _edit(p, '"return": ', '"return": 1'), "but the agents' sum is|score is"),
        (lambda p: _edit(p, '"seed": ', '"seed": 1'), "has seed"),
        (lambda p: _edit(p, ", ", ","), "not written as the harness writes it"),
    ],
)
def test_an_alteration_is_found(out: Path, alter: Any, message: str) -> None:
    alter(folder(out))
    found = verify(folder(out), task=TASK)
    assert not found.passed
    assert any(re.search(message, problem) for problem in found.problems)


def test_a_consistent_forgery_is_found_by_running_again(out: Path) -> None:
    path = folder(out) / "seed1" / EPISODES
    forged = []
    for line in path.read_text().splitlines():
        record = json.loads(line)
        record["return"] = record["returns"]["agent"] = 1.25
        forged.append(json.dumps(record))
    path.write_text("\n".join(forged) + "\n")
    Report.from_records(folder(out), TASK).save(folder(out))
    assert verify(folder(out), task=TASK).passed
    found = verify(folder(out), task=TASK, agent=THREE, episodes=40, workers=0)
    assert (found.replayed, found.reproduced) == (120, 80)
    (problem,) = found.problems
    assert "40 of 120 episodes played again came out differently: seed1, episode 0" in problem


def test_the_blocks_that_are_played_again_are_drawn_by_nobody_who_wrote_the_records(
    out: Path,
) -> None:
    (run,) = [read_run(folder(out) / "seed1")]
    drawn = {chosen_blocks(run, 16) for _ in range(60)}
    assert drawn == {(0,), (16,), (32,)}
    assert chosen_blocks(run, 17, Random(3)) == chosen_blocks(run, 17, Random(3))
    assert chosen_blocks(run, 1000) == (0, 16, 32)


def test_an_alteration_outside_the_first_block_is_found_as_often_as_is_printed(out: Path) -> None:
    """The attack of the audit: 5 added to every return from episode 16 on."""
    path = folder(out) / "seed1" / EPISODES
    forged = []
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if record["episode"] >= 32:
            record["return"] = record["returns"]["agent"] = record["return"] + 5.0
        forged.append(json.dumps(record))
    path.write_text("\n".join(forged) + "\n")
    Report.from_records(folder(out), TASK).save(folder(out))
    caught = [
        not verify(
            folder(out), task=TASK, agent=THREE, episodes=16, workers=0, random=Random(k)
        ).passed
        for k in range(30)
    ]
    assert 1 <= sum(caught) < 30  # 10 are expected, as the escape of 2/3 says


def test_other_weights_are_noticed_when_running_again(out: Path) -> None:
    other = Source("three", tuple(Run(f"seed{n}", n, {"weights": "xyz"}) for n in (0, 1, 2)))
    found = verify(folder(out), task=TASK, agent=other, episodes=1, workers=0)
    assert any("not those evaluated" in problem for problem in found.problems)
    with pytest.raises(RecordError, match="no run 'seed2'"):
        verify(folder(out), task=TASK, agent=TWO, episodes=1, workers=0)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[:-5], "torn line"),
        (lambda b: b"".join(b.splitlines(keepends=True)[:-1]), "39 of 40 episodes"),
        (lambda b: b + b.splitlines(keepends=True)[0], "removed, repeated or reordered"),
    ],
)
def test_incomplete_records_make_no_report(out: Path, damage: Any, message: str) -> None:
    path = folder(out) / "seed1" / EPISODES
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RecordError, match=message):
        Report.from_records(folder(out), TASK)


def test_runs_of_different_evaluations_make_no_report(out: Path, tmp_path: Path) -> None:
    evaluate(THREE, TASK, workers=0, seed=1, out=tmp_path / "other")
    (folder(tmp_path / "other") / "seed1").rename(folder(out) / "seed9")
    with pytest.raises(RecordError, match="differ in seed: 0 and 1"):
        Report.from_records(folder(out), TASK)


def test_a_folder_without_records_says_where_they_should_be(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="OUT/AGENT/TASK"):
        Report.from_records(tmp_path)


def test_a_comparison_is_welch_over_runs(out: Path) -> None:
    found = compare(folder(out), folder(out, "two"), task=TASK)
    sides = [
        [run.metrics["return"] for run in Report.from_records(folder(out, name), TASK).runs]
        for name in ("three", "two")
    ]
    expected = stats.ttest_ind(*sides, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found.sample == "runs" and (found.first.n, found.second.n) == (3, 2)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.difference == pytest.approx(np.mean(sides[0]) - np.mean(sides[1]))
    assert found.probability_of_improvement == 1.0


def test_in_a_comparison_lower_cost_is_an_improvement(out: Path) -> None:
    found = compare(folder(out), folder(out, "two"), metric="cost", task=TASK)
    assert not found.higher_is_better
    means = [found.first.mean, found.second.mean]
    assert (found.probability_of_improvement > 0.5) == (means[0] < means[1])
    with pytest.raises(UnknownName, match="return"):
        compare(folder(out), folder(out, "two"), metric="retrn", task=TASK)


def test_single_runs_are_compared_by_their_episodes(out: Path) -> None:
    found = compare(folder(out) / "seed0", folder(out, "two") / "seed1", task=TASK)
    assert (found.sample, found.first.n, found.second.n) == ("episodes", 40, 40)
    assert found.p_value is not None and found.p_value < 0.001


def test_several_runs_against_a_single_one_are_run_means_against_its_episodes(out: Path) -> None:
    found = compare(folder(out), folder(out, "two") / "seed1", task=TASK)
    means = [run.metrics["return"] for run in Report.from_records(folder(out), TASK).runs]
    lines = (folder(out, "two") / "seed1" / EPISODES).read_text().splitlines()
    returns = [json.loads(line)["return"] for line in lines]
    expected = stats.ttest_ind(means, returns, equal_var=False).confidence_interval(0.95)
    assert found.sample == "mixed"
    assert [(side.n, side.sample) for side in (found.first, found.second)] == [
        (3, "runs"),
        (40, "episodes"),
    ]
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.probability_of_improvement == np.mean(np.array(means) > np.mean(returns))
    assert found.to_json()["first"]["sample"] == "runs"


def test_what_failed_cannot_be_compared(out: Path) -> None:
    evaluate(Faulty("raising"), TASK, workers=0, out=out)
    with pytest.raises(RecordError, match="Faulty failed"):
        compare(folder(out), folder(out, "Faulty"), task=TASK)
