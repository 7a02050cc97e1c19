"""Shipped weights are of the policy that a run had learned, not of one that it lost again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.results import kept, marl, running
from benchmarks.results.rows import Row
from pkubench.tasks.registry import make_task

ANT, CHEETAH = make_task("MultiAnt4x2-v1"), make_task("HalfCheetahVelocity-v0")


def run_folder(folder: Path, points: list[dict[str, float]], curve: list[dict[str, Any]]) -> Path:
    config = {"validation": {"points": points}} if points else {}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "training.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in curve))
    return folder


def test_a_share_is_counted_from_what_a_lazy_policy_earns() -> None:
    assert ANT.floor is not None
    floor = ANT.floor.score
    assert floor > 900.0  # doing nothing
    assert kept.share_of_best(floor + 200.0, floor + 1000.0, ANT) == pytest.approx(0.2)
    assert kept.share_of_best(floor - 500.0, floor + 1000.0, ANT) == pytest.approx(-0.5)
    assert kept.share_of_best(100.0, 800.0, ANT) == 1.0  # never better than doing nothing


def test_the_best_is_a_validation_and_only_without_one_a_return_of_training(tmp_path: Path) -> None:
    curve = [{"steps": 10 * k, "return": 1500.0 if k < 50 else 1100.0} for k in range(101)]
    points = [{"at": k, "return": 1200.0 + 100.0 * k} for k in range(5)]
    found = kept.compared(run_folder(tmp_path, points, curve), 1250.0, ANT)
    assert found is not None and (found.best, found.is_validated) == (1600.0, True)
    assert found.is_lost  # 255 of 605 above doing nothing
    found = kept.compared(run_folder(tmp_path, [], curve), 1250.0, ANT)
    assert found is not None and (found.best, found.is_validated) == (1500.0, False)
    assert kept.compared(run_folder(tmp_path, [], []), 1250.0, ANT) is None


def test_what_was_over_the_cost_limit_is_not_the_best(tmp_path: Path) -> None:
    points = [{"return": 3000.0, "cost": 400.0}, {"return": 2000.0, "cost": 25.0}]
    found = kept.compared(run_folder(tmp_path, points, []), 1500.0, CHEETAH)
    assert found is not None and found.best == 2000.0 and not found.is_lost


def test_weights_that_lost_their_policy_do_not_ship(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_folder(tmp_path, [{"return": 2000.0}, {"return": 1100.0}], [{"steps": 1}])
    (run / "weights.safetensors").write_bytes(b"")
    row = next(row for row in marl.ROWS if row.task == "MultiAnt4x2-v1" and row.ships)
    monkeypatch.setattr(Row, "shipped", lambda self, seed: tmp_path / "package" / f"seed{seed}")
    for score, ships in ((1100.0, False), (1900.0, True)):
        metric = {"mean": score, "low": None, "high": None, "n": 16}
        record = {"weights": "0", "report": {"metrics": {"return": metric}}}
        running._ship_run(run, row, 0, record)
        assert (tmp_path / "package/seed0/score.json").exists() == ships
    assert 'keep="best"' in capsys.readouterr().out


def test_no_shipped_weight_scores_below_half_of_the_best_of_its_run() -> None:
    every = list(kept.shipped())
    assert len(every) > 50
    lost = {"/".join(each.folder.parts[-3:]) for each in every if each.is_lost}
    assert not lost
    assert not [each.folder for each in every if each.is_lost and each.is_validated]


def test_a_run_is_withheld_that_scores_less_than_half_of_its_best_from_the_floor() -> None:
    assert ANT.floor is not None
    floor = ANT.floor.score

    def record(score: float, best: float | None) -> dict[str, Any]:
        validation = {} if best is None else {"validation": {"best": floor + best}}
        return {"report": {"metrics": {"return": {"mean": floor + score}}}, **validation}

    assert kept.is_withheld(record(499.0, 1000.0), ANT)
    assert not kept.is_withheld(record(501.0, 1000.0), ANT)
    assert not kept.is_withheld(record(-500.0, -100.0), ANT)  # nothing was learned
    assert not kept.is_withheld(record(0.0, None), ANT)  # nothing was validated
