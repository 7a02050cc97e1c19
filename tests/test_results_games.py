"""The games' page is what its records say, and they are of the settings that presets have now."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.results import game_records, games, games_page
from benchmarks.results.game_records import MIXTURE, GameRow, Line, read, write
from benchmarks.results.games_claim import claim, comparisons
from pkubench.agents.components import matches
from pkubench.agents.families.psro.mixture_points import mixture_settings
from pkubench.agents.families.psro.presets import PRESETS
from pkubench.evaluation.statistics import holm, welch_interval

PAGE = Path(__file__).parents[1] / "docs/results/games.md"
RECORDED = [row for row in games.ROWS if row.path.exists()]


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: f"{row.agent} {row.game}")
def test_a_record_is_of_its_row_and_of_todays_settings(row: GameRow) -> None:
    record = json.loads(row.path.read_text())
    assert (record["agent"], record["game"]) == (row.agent, row.game)
    now = mixture_settings(row.agent) if row.game == MIXTURE else PRESETS[row.agent]
    assert matches(now, record["settings"])
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


def test_values_at_equal_budgets_lie_on_the_line_between_points() -> None:
    row = GameRow("psro", "KuhnPoker-v0", 20, 2, 10)
    curve = {"seconds": [0.0, 1.0, 2.5], "episodes": [1.0, 5.0, 9.0], "pe": [3.0, 2.0, 1.0]}
    line = Line(row, [{"curve": curve}, {"curve": {**curve, "seconds": [0.0, 0.1, 0.2]}}])
    # Two thirds of the way from 1 s to 2.5 s; the second run has ended.
    assert line.at("pe", "seconds", 2.0) == pytest.approx([2.0 - 2.0 / 3.0, 1.0])
    assert line.at("pe", "episodes", 3.0) == [2.5, 2.5]
    assert line.ends("pe") == [1.0, 1.0]


def row_of(method: str, values: list[float], game: str = "KuhnPoker-v0") -> Line:
    curves = [
        {
            **{name: [0.0, 1.0] for name in ("iterations", "policies")},
            **{name: [9.0, value] for name in ("exploitability", "pe")},
            "episodes": [0.0, 10.0 if method == "self-play" else 1e6],
            "seconds": [0.0, 0.1 if method == "self-play" else 4.0],
        }
        for value in values
    ]
    runs = [{"curve": curve, "finished": False} for curve in curves]
    return Line(GameRow(method, game, 1, len(values), 1), runs)


def test_self_play_does_not_set_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(games_page, "_figures", lambda *_: iter(()))
    lines = [row_of("psro", [1.0, 1.1]), row_of("self-play", [5.0, 5.1])]
    text = "".join(games_page._section("KuhnPoker-v0", lines, tmp_path / "games.md"))
    assert "exploitability, 1 M episodes" in text and "exploitability, 4 s" in text


def test_the_claim_counts_all_comparisons_of_the_section_and_corrects_for_them() -> None:
    low, middle, high = [1.0, 1.01, 0.99], [2.0, 2.01, 1.99], [3.0, 3.01, 2.99]
    lines = [row_of("psd-psro", low), row_of("dpp-psro", middle), row_of("psro", high)]
    # Three pairs of ranks and two metrics: the largest p-value counts once, the smallest six times.
    plain = [welch_interval(a, b).p_value for a, b in ((low, middle), (low, high), (middle, high))]
    found = comparisons(lines)
    assert [each.p for each in found] == pytest.approx(holm([p for p in plain for _ in range(2)]))
    text = "".join(claim(lines))
    assert "for all 6 comparisons" in text and "**is reproduced**" in text
    assert "- PE: PSD-PSRO is better in 2, worse in 0, undecided in 0." in text

    text = "".join(claim([*lines, row_of("p-psro", [0.5, 1.9, 2.5])]))
    assert "is reproduced in part" in text
    assert "- PE: PSD-PSRO is better in 2, worse in 0, undecided in 1." in text

    text = "".join(claim([row_of("psd-psro", high), *lines[1:], row_of("self-play", low)]))
    assert "**is not reproduced**" in text and "worse in 2" in text


def test_a_record_by_another_clock_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(game_records, "RECORDS", tmp_path)
    row = GameRow("psro", "KuhnPoker-v0", 1, 1, 1)
    write(row, [{"seed": 0, "settings": {}, "curve": {}}], {})
    assert len(read(row)) == 1
    record = json.loads(row.path.read_text())
    assert record["clock"] == "processor"
    del record["clock"]
    row.path.write_text(json.dumps(record))
    assert read(row) == []


def test_the_page_is_written_from_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    for name in ("exploitability_curves", "gamescape", "policies_in_plane"):
        monkeypatch.setattr(games_page, name, lambda data, out, **_: drawn.append(out.name))
    assert games_page.page_of(games.ROWS, tmp_path / "games.md") == PAGE.read_text()
    assert drawn == re.findall(r"\(figures/(.*?)\)", PAGE.read_text())
    assert all((PAGE.parent / "figures" / name).exists() for name in drawn)


def test_the_deep_rows_are_told_with_the_published_weight_and_network() -> None:
    lines = [row_of(f"{name}-deep", [1.0, 2.0], "LeducPoker-v0") for name in ("psro", "psd-psro")]
    text = games_page._deep_budget(lines)
    ours = PRESETS["psd-psro-deep"]
    assert (
        f"diversity weight {ours.diversity.diversity_weight:g} " in text
        and "which is 1/13)" in text
    )
    assert "published: 256 x 256 x 256" in text and text.count("diversity weight") == 1
