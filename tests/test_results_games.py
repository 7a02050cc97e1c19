"""The games' page is what its records say, and they are of the settings that presets have now."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from benchmarks.results import games, games_page
from benchmarks.results.game_records import MIXTURE, GameRow, read
from benchmarks.results.games_page import Line
from pkubench.agents.psro.mixture_points import mixture_settings
from pkubench.agents.psro.training import PRESETS

PAGE = Path(__file__).parents[1] / "docs/results/games.md"
RECORDED = [row for row in games.ROWS if row.path.exists()]


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: f"{row.agent} {row.game}")
def test_a_record_is_of_its_row_and_of_todays_settings(row: GameRow) -> None:
    record = json.loads(row.path.read_text())
    assert (record["agent"], record["game"]) == (row.agent, row.game)
    now = mixture_settings(row.agent) if row.game == MIXTURE else PRESETS[row.agent]
    # A setting younger than the record is what it was before there was a choice: its default.
    assert {**default_settings(now), **record["settings"]} == asdict(now)
    runs = read(row)
    assert [run["seed"] for run in runs] == list(range(len(runs)))
    for run in runs:
        curve = run["curve"]
        assert len({len(column) for column in curve.values()}) == 1
        assert run["finished"] or curve["iterations"][-1] == row.iterations
        assert curve["iterations"] == sorted(curve["iterations"])
        # Population exploitability is at most the mixture's (in halves both are one side's mean).
        for pe, exploitability in zip(curve["pe"], curve["exploitability"], strict=True):
            assert pe <= exploitability * (1.0 + 1e-4) + 1e-9


@pytest.mark.parametrize("agent", ["psd-psro-paper", "bd-rd-psro-paper"])
def test_a_recorded_run_is_what_the_learner_does_now(agent: str) -> None:
    (row,) = (r for r in games.ROWS if (r.agent, r.game) == (agent, "matrix:blotto(10,3)"))
    kept = read(row)[1]["curve"]
    made, _, scale = games.started(row, 1)
    for _ in range(20):
        made.advance()
    figures = made.measure(last=True)
    at = kept["iterations"].index(20)
    assert kept["exploitability"][at] == pytest.approx(figures["exploitability"] / scale, rel=1e-5)
    pe = figures["population_exploitability"] / 2.0 / scale
    assert kept["pe"][at] == pytest.approx(pe, rel=1e-5)


def default_settings(now: Any) -> dict[str, Any]:
    return {field.name: field.default for field in fields(now)}


def test_values_at_equal_budgets_are_the_last_within_them() -> None:
    row = GameRow("psro", "KuhnPoker-v0", 20, 2, 10)
    curve = {"seconds": [0.0, 1.0, 2.5], "episodes": [1.0, 5.0, 9.0], "pe": [3.0, 2.0, 1.0]}
    line = Line(row, [{"curve": curve}, {"curve": {**curve, "seconds": [0.0, 0.1, 0.2]}}])
    assert line.at("pe", "seconds", 2.0) == [2.0, 1.0]
    assert line.at("pe", "episodes", 5.0) == [2.0, 2.0]
    assert line.ends("pe") == [1.0, 1.0]


def test_the_page_is_written_from_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    for name in ("exploitability_curves", "gamescape", "policies_in_plane"):
        monkeypatch.setattr(games_page, name, lambda data, out, **_: drawn.append(out.name))
    assert games_page.page_of(games.ROWS, tmp_path / "games.md") == PAGE.read_text()
    assert drawn == re.findall(r"\(figures/(.*?)\)", PAGE.read_text())
    assert all((PAGE.parent / "figures" / name).exists() for name in drawn)
