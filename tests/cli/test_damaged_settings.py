"""Damaged ``run.json`` files: one line that names the setting; other rows are not affected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.leaderboard.writing import write_results

CHEETAH = "HalfCheetahVelocity-v0"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for agent in ("sound", "hurt"):
        write_results(tmp_path, agent, CHEETAH, [[1.0, 2.0]], costs=[[1.0, 1.0]])
    return tmp_path / "results"


def damage(results: Path, key: str, value: Any) -> None:
    (path,) = (results / "hurt").rglob("run.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("seed", "x"), ("seed", 1.5), ("seed", 10**30), ("seed", None)),
        *(("block", 0), ("block", True), ("threads", []), ("episodes", "2"), ("episodes", -1)),
        *(("hashes", 3), ("hashes", {"a": 1}), ("versions", [1]), ("versions", "1.0")),
        *(("task", 7), ("agent", None), ("agent", ["a"]), ("label", {}), ("run", 0)),
    ],
)
def test_a_setting_of_a_wrong_type_is_told_and_the_other_rows_go_on(
    pkubench: Command, results: Path, key: str, value: Any
) -> None:
    damage(results, key, value)
    said = pkubench("verify", str(results), "--json")
    assert said.code == 1, said.err
    (wrong,) = [row for row in said.json["checked"] if not row["ok"]]
    assert "hurt" in wrong["folder"] and f"{key!r} is" in wrong["found"][0]
    assert [row["agent"] for row in said.json["checked"] if row["ok"]] == ["sound"]
    for verb in ("compare", "plot"):
        said = pkubench(verb, str(results))
        assert said.code not in (0, 70) and len(said.err.splitlines()) == 1
        assert f"{key!r} is" in said.err


def test_rows_of_no_known_task_are_not_checked_and_those_of_no_settings_are_wrong(
    pkubench: Command, results: Path
) -> None:
    damage(results, "task", "pkubench/Nothing-v0")
    said = pkubench("verify", str(results), "--json")
    assert said.code == 2, said.err
    assert sorted((row["agent"], row["ok"]) for row in said.json["checked"]) == [
        ("hurt", None),
        ("sound", True),
    ]
    (path,) = (results / "hurt").rglob("run.json")
    path.write_text("[")
    assert [row["ok"] for row in pkubench("verify", str(results), "--json").json["checked"]] == [
        False,
        True,
    ]
