"""Records of an earlier version of a task: episodes that can no longer be played."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkubench.envs.core.registry import superseded
from pkubench.evaluation.run.verification import verify
from pkubench.tasks.registry import make_task, why_outdated
from tests.cli.conftest import Command
from tests.leaderboard.writing import write_results

BEFORE, NOW = "MultiHalfCheetah2x3-v0", "MultiHalfCheetah2x3-v1"
WHY = f"records are of {BEFORE}, which is {NOW} now: evaluate again"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """``results`` of two agents on the earlier version, one of them on a current task too."""
    for agent in ("random", "scripted:zero"):
        written = write_results(tmp_path, agent, NOW, [[1.0, 2.0, 3.0]], label="builtin")
        (folder,) = written.iterdir()
        for file in folder.rglob("*.json"):
            file.write_text(file.read_text().replace(NOW, BEFORE))
        folder.rename(folder.with_name(BEFORE))
    write_results(tmp_path, "random", "SimpleSpread-v0", [[-40.0, -41.0]], label="builtin")
    return tmp_path / "results"


def test_only_ids_of_an_earlier_version_are_outdated() -> None:
    assert superseded()[f"pkubench/{BEFORE}"] == f"pkubench/{NOW}"
    assert why_outdated(f"pkubench/{BEFORE}") == WHY
    for name in (NOW, "SimpleSpread-v0", "KuhnPoker-v0"):
        assert why_outdated(f"pkubench/{name}") is None


def test_they_cannot_be_bundled(old: Path, pkubench: Command) -> None:
    said = pkubench("bundle", str(old / "random"), "--out", "b.zip")
    assert said.code == 2 and said.err.count("\n") == 1, said.err
    assert WHY in said.err
    assert not Path("b.zip").exists()


def test_a_board_of_results_leaves_them_out(old: Path, pkubench: Command) -> None:
    said = pkubench("leaderboard", "show", "--results", str(old), "--json")
    assert said.code == 0, said.err
    assert [table["task"] for table in said.json["tasks"]] == ["pkubench/SimpleSpread-v0"]
    assert said.err.count(WHY) == 2 and "left out" in said.err


def test_a_site_of_results_leaves_them_out(old: Path, pkubench: Command) -> None:
    said = pkubench("leaderboard", "export", "site", "--results", str(old))
    assert said.code == 0, said.err
    assert said.err.count(WHY) == 2
    board = (Path("site") / "board.json").read_text()
    assert "SimpleSpread-v0" in board
    assert "MultiHalfCheetah2x3" not in board


def test_verify_says_what_they_are_and_plays_nothing(
    old: Path, pkubench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replay(*args: object, **kwargs: object) -> None:
        pytest.fail("episodes of the present version were played against these records")

    monkeypatch.setattr("pkubench.evaluation.run.verification.replay", replay)
    for words in ((), ("--rerun", "2")):
        said = pkubench("verify", str(old / "random" / BEFORE), *words, "--json")
        assert said.code == 1, said.err
        (row,) = said.json["checked"]
        assert (row["task"], row["ok"], row["found"]) == (BEFORE, False, [WHY])
    found = verify(old / "random" / BEFORE, task=make_task(NOW), episodes=2)
    assert (found.problems, found.replayed) == ((WHY,), 0)


def test_they_can_still_be_compared_with_a_note(old: Path, pkubench: Command) -> None:
    said = pkubench("compare", str(old), "--json")
    assert said.code == 0, said.err
    (pair,) = said.json["comparisons"]
    assert pair["difference"] == 0.0
    assert f"{BEFORE} is {NOW} now" in said.err


def test_they_can_still_be_drawn_with_a_note(old: Path, pkubench: Command) -> None:
    said = pkubench("plot", str(old), "--out", "scores.svg")
    assert said.code == 0, said.err
    assert f"{BEFORE} is {NOW} now" in said.err
    assert Path("scores.svg").stat().st_size > 0
