"""The games' page is what its records say, and they are of the settings that presets have now."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.results import game_records, games, games_ablation, games_page
from benchmarks.results.game_records import MIXTURE, GameRow, Line, read, timed_alike, write
from benchmarks.results.games_ablation import SKILL, Cell, by_game, ratio, verdict
from benchmarks.results.games_claim import Question, Solutions, claim, comparisons, log_rank
from pkubench.agents.components import changed, matches
from pkubench.agents.families.psro.mixture_points import mixture_settings
from pkubench.agents.families.psro.presets import PRESETS
from pkubench.evaluation.statistics import holm, welch_interval

PAGE = Path(__file__).parents[1] / "docs/results/games.md"
EVERY = {row.path: row for row in (*games_ablation.rows(), *games.ROWS)}
RECORDED = [row for row in EVERY.values() if row.path.exists()]


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: f"{row.path.stem} {row.game}")
def test_a_record_is_of_its_row_and_of_todays_settings(row: GameRow) -> None:
    record = json.loads(row.path.read_text())
    assert (record["agent"], record["game"]) == (row.agent, row.game)
    now = mixture_settings(row.agent) if row.game == MIXTURE else PRESETS[row.agent]
    assert matches(changed(now, dict(row.changes)), record["settings"])
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
    (row,) = (
        r for r in games.ROWS if (r.agent, r.game, r.changes) == (agent, "matrix:blotto(10,3)", ())
    )
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


LOW, MIDDLE, HIGH = [1.0, 1.01, 0.99], [2.0, 2.01, 1.99], [3.0, 3.01, 2.99]


def test_a_question_is_corrected_for_its_games_and_for_no_others() -> None:
    games_ = {
        "one": [row_of("psd-psro", LOW), row_of("psro", [1.0, 1.05, 1.04])],
        "two": [row_of("psd-psro", LOW), row_of("psro", HIGH), row_of("dpp-psro", MIDDLE)],
        "three": [row_of("psd-psro", HIGH), row_of("psro", LOW)],
    }
    found = {(each.game, each.question): each for each in comparisons(games_)}
    question = Question("psro", "pe", "iterations")
    plain = [
        welch_interval(ours, theirs).p_value
        for ours, theirs in ((LOW, [1.0, 1.05, 1.04]), (LOW, HIGH), (HIGH, LOW))
    ]
    family = [found[game, question] for game in games_]
    assert [each.p for each in family] == pytest.approx(holm(plain))
    assert [each.verdict for each in family] == ["undecided", "better", "worse"]
    # A question about another method is a family of its own: one game, so nothing is corrected.
    other = found["two", Question("dpp-psro", "pe", "iterations")]
    assert other.p == pytest.approx(welch_interval(LOW, MIDDLE).p_value)
    # Three budgets and two metrics of four pairs.
    assert len(found) == 3 * 2 * 4
    text = "".join(claim(games_))
    assert "| psro | PE | better 1, worse 1, undecided 1 |" in text
    assert "| dpp-psro | exploitability | better 1, worse 0, undecided 0 |" in text


def test_verdicts_at_equal_episodes_are_of_the_values_there() -> None:
    # PSD-PSRO ends lower, with twice the episodes: at those of the other it is half way, higher.
    def line(method: str, end: float, episodes: float) -> Line:
        made = row_of(method, [end, end + 0.01, end - 0.01])
        for run in made.runs:
            run["curve"]["episodes"] = [0.0, episodes]
        return made

    games_ = {"one": [line("psd-psro", 1.0, 2e6), line("psro", 2.0, 1e6)]}
    found = {each.question.budget: each for each in comparisons(games_)}
    assert found["iterations"].verdict == "better" and found["episodes"].verdict == "worse"
    # Half way from 9 to 1 is 5, and the other has 2.
    assert found["episodes"].difference == pytest.approx(3.0)


def test_seconds_are_compared_only_of_rows_that_were_timed_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def line(method: str, values: list[float], *yardsticks: float) -> Line:
        made = row_of(method, values)
        for run, value in zip(made.runs, yardsticks, strict=bool(yardsticks)):
            run["yardstick"] = value
        return made

    ours = line("psd-psro", LOW, 0.1, 0.1, 0.9)  # the median is what counts
    quick, busy = line("psro", HIGH, *[0.12] * 3), line("dpp-psro", HIGH, *[0.2] * 3)
    former = line("p-psro", HIGH)
    lines = [ours, quick, busy, former]
    assert timed_alike(lines) == [ours, quick]
    assert timed_alike([former, row_of("psro", LOW), busy]) == [former, row_of("psro", LOW)]
    del ours.runs[0]["yardstick"]  # timed at two times: like nothing else
    assert timed_alike([ours, former]) == [former]
    ours.runs[0]["yardstick"] = 0.1
    found = {each.question for each in comparisons({"one": lines})}
    for other in ("psro", "dpp-psro", "p-psro"):
        assert Question(other, "pe", "episodes") in found
        assert (Question(other, "pe", "seconds") in found) == (other == "psro")
    text = "".join(claim({"one": lines}))
    assert text.count("| - |\n") == 2 * 2 * 2
    # and the budget itself is of these rows alone
    for run in former.runs:
        run["curve"]["seconds"] = [0.0, 0.5]
    monkeypatch.setattr(games_page, "_figures", lambda *_: iter(()))
    page = "".join(games_page._section("KuhnPoker-v0", lines, tmp_path / "games.md"))
    assert "exploitability, 4 s" in page
    assert "without equal seconds: dpp-psro, p-psro." in page


def test_solved_games_are_compared_by_the_time_that_it_took_and_never_by_zeros() -> None:
    def line(method: str, iterations: list[float], finished: bool = True) -> Line:
        made = row_of(method, [0.0] * len(iterations))
        for run, at in zip(made.runs, iterations, strict=True):
            run["curve"].update(iterations=[0.0, at], episodes=[0.0, at], seconds=[0.0, at])
            run["finished"] = finished
        return made

    early, late = [10.0, 11.0, 12.0, 13.0], [20.0, 21.0, 22.0, 23.0]
    games_ = {
        "one": [
            line("psd-psro", early),
            line("psro", late),
            line("psro-rn", [50.0] * 4, finished=False),
        ]
    }
    found = comparisons(games_)
    assert {each.question.metric for each in found} == {"solution"}
    # All early before all late: 2 of the 70 divisions of 8 runs are as far apart.
    assert [each.p for each in found] == pytest.approx([2 / 70] * 6)
    assert {each.verdict for each in found} == {"better"}
    text = "".join(claim(games_))
    assert "| one | psro-rn | 0 of 4 | > 50 | > 50 | > 50 |" in text
    assert "| one | psd-psro | 4 of 4 | 11 |" in text


def test_the_log_rank_statistic_is_worked_by_hand() -> None:
    # Solved at 1 and 3 against solved at 2 and still unsolved at 4. At 1 four runs are left, at 2
    # three, at 3 two: expected of the first group 2/4 + 1/3 + 1/2 = 4/3, observed 2.
    ours, theirs = Solutions([1.0, 3.0], [True, True]), Solutions([2.0, 4.0], [True, False])
    score, p = log_rank(ours, theirs)
    assert score == pytest.approx(2.0 - 4.0 / 3.0)
    # Scores 3/4, -1/12 | 5/12, -13/12: of six divisions four sum to at least 2/3 in size.
    assert p == pytest.approx(4 / 6)
    assert log_rank(theirs, ours) == (pytest.approx(-score), pytest.approx(p))
    assert ours.median == 1.0 and theirs.median == 2.0
    assert Solutions([5.0, 4.0, 3.0], [False, False, True]).median == float("inf")


def test_learned_responses_count_once_their_budget_is_the_papers() -> None:
    def lines(plays: float) -> dict[str, list[Line]]:
        made = [row_of("psd-psro-deep", LOW), row_of("psro-deep", HIGH)]
        for line in made:
            for run in line.runs:
                run["curve"]["episodes"] = [0.0, plays]
        exact = [row_of("psd-psro", LOW), row_of("psro", HIGH)]
        return {"LeducPoker-v0": exact, "LeducPoker-v0, learned from plays": made}

    assert {each.game for each in comparisons(lines(1.62e6))} == {"LeducPoker-v0"}
    assert "Not counted: LeducPoker-v0, learned from plays" in "".join(claim(lines(1.62e6)))
    assert len({each.game for each in comparisons(lines(3.24e6))}) == 2


def test_the_ablation_reads_equal_settings_from_the_main_table_and_names_the_others() -> None:
    main = {row.path for row in games.ROWS}
    shared = [Cell(0.5), Cell(0.5, 0.5, 0.01), Cell(0.5, 0.6, 0.01)]
    for cell in games_ablation.CELLS:
        assert (cell.row(SKILL[0]).path in main) == (cell in shared)
        row = cell.row(SKILL[0])
        settings = changed(PRESETS[row.agent], dict(row.changes))
        assert settings.oracle.step == cell.step and settings.meta_solver == cell.meta_solver
        if cell.weight is not None:
            assert settings.diversity.diversity_weight == cell.weight
            assert settings.diversity.diversity_step == cell.diverse_step
    paths = [row.path for row in games_ablation.rows()]
    assert len(set(paths)) == len(paths)


def test_ratios_of_the_ablation_are_geometric_means_over_games() -> None:
    found = ratio([[1.0, 3.0], [4.0, 4.0]], [[1.0, 1.0], [1.0, 3.0]])  # 2 and 2
    assert (found.estimate, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))
    assert verdict(found) == "higher"
    apart = ratio([[1.0], [4.0]], [[2.0], [1.0]])  # 1/2 and 4
    assert apart.estimate == pytest.approx(2.0**0.5) and verdict(apart) == "no difference shown"
    assert by_game([LOW, HIGH], [MIDDLE, MIDDLE]) == "1 lower, 1 higher"
    assert by_game([[1.0], HIGH], [MIDDLE, MIDDLE]) == "-"


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
    monkeypatch.setattr(
        games_ablation, "ratios_by_step", lambda data, out, **_: drawn.append(out.name)
    )
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
