"""The table of battles: rows on equal terms, its plan, and the page that records give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.results import claims, micro_battle, micro_battle_page, records
from benchmarks.results.micro_battle import AGENTS, ROWS, STEPS, seconds
from benchmarks.results.micro_battle_page import MAPS, page_of
from benchmarks.results.records import Scored
from benchmarks.results.rows import Row, config_of
from benchmarks.results.running import plan_of
from pkubench.tasks.registry import claims as every_claim
from pkubench.tasks.registry import make_task


def line(name: str, wins: tuple[float, ...], low: float | None, high: float | None) -> Scored:
    """Return a line of runs, or of the episodes of one untrained agent."""
    mean = sum(wins) / len(wins)
    runs = [{"battle_won": won, "return": 2.0 * won} for won in wins]
    metrics: Any = {
        "battle_won": (mean, low, high, len(wins) if len(wins) > 1 else 200),
        "return": (2.0 * mean, None, None, len(wins)),
    }
    return Scored(name, "-", "runs" if len(wins) > 1 else "episodes", metrics, runs)


def test_five_agents_train_on_two_maps_for_equal_steps() -> None:
    assert {(row.agent, row.task) for row in ROWS} == {(a, t) for a in AGENTS for t in MAPS}
    assert {(row.steps, row.seeds, row.keep, row.changes) for row in ROWS} == {
        (STEPS, 3, "last", ())
    }
    for row in ROWS:
        assert config_of(row.agent, row.task).gamma == 0.99, "a battle's end is 100 steps away"


def test_the_plan_takes_at_most_three_hours_of_two_cores() -> None:
    whole = sum(map(seconds, ROWS))
    assert whole <= 3 * 2 * 3600
    text = "".join(plan_of(ROWS, seconds))
    assert "core seconds" in text and all(f"| {row.name} | {row.task} |" in text for row in ROWS)


def test_the_page_is_of_the_finished_rows_and_says_what_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    three = "MicroBattle3m-v0"
    # Student's interval with two degrees of freedom: 0.9 +- 4.3027 * 0.1 / sqrt(3)
    done = line("happo", (0.8, 0.9, 1.0), 0.9 - 0.24842, 0.9 + 0.24842)
    scripts = {"random": 0.0, "scripted:no-op": 0.0, "scripted:focus": 0.63}

    def anchors(task: str, others: Any) -> dict[str, Scored]:
        assert set(others) == {"scripted:heuristic", "scripted:focus"}
        return {name: line(name, (won,), won, won + 0.02) for name, won in scripts.items()}

    def scored(row: Row, budget: int) -> Scored | None:
        assert budget == STEPS
        return done if (row.name, row.task) == ("happo", three) else None

    monkeypatch.setattr(micro_battle_page, "anchor_lines", anchors)
    monkeypatch.setattr(micro_battle_page, "scored_row", scored)
    monkeypatch.setattr(micro_battle_page, "page_path", lambda *_: tmp_path / "micro_battle.md")
    monkeypatch.setattr(records, "RECORDS", tmp_path / "none")
    page = page_of(ROWS, 1.0)
    assert "| happo | - | 0.900 [0.652, 1.000] | 0.80, 0.90, 1.00 | 1.8 | 3 runs |" in page
    assert "| scripted:focus | - | 0.630 [0.630, 0.650] | - | 1.26 | 200 episodes |" in page
    assert page.count("| random |") == len(MAPS) and "Not better than a lazy" not in page
    assert "![Scores and intervals: Battles that are won](figures/micro_battle-maps.svg)" in page
    assert "win rate" in (tmp_path / "figures/micro_battle-maps.svg").read_text()
    missing = page.partition("## Not yet measured")[2]
    assert f"- {three}: happo (0 of 3 runs), mappo (0 of 3 runs)" in missing


def test_a_row_that_wins_nothing_is_named_in_the_first_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lost = line("qmix", (0.0, 0.01, 0.0), -0.01, 0.02)
    monkeypatch.setattr(
        micro_battle_page,
        "anchor_lines",
        lambda *_: {"random": line("random", (0.0,), 0.0, 0.019)},
    )
    monkeypatch.setattr(micro_battle_page, "scored_row", lambda *_: lost)
    monkeypatch.setattr(micro_battle_page, "page_path", lambda *_: tmp_path / "micro_battle.md")
    page = page_of(tuple(row for row in ROWS if row.agent == "qmix"), 1.0)
    assert page.index("- MicroBattle3m-v0: qmix (random scores 0)") < page.index("Written by")


def test_claims_about_battles_are_judged_by_these_rows() -> None:
    rows = {(row.agent, make_task(row.task).id) for row in ROWS}
    named = [c for _, c in every_claim().values() if set(c.tasks) <= {t for _, t in rows}]
    assert {claim.paper for claim in named} == {"QMIX", "MAPPO", "HARL"}
    for claim in named:
        assert claim.metric_of(make_task(claim.tasks[0])).name == "battle_won"
        spelt = {agent for pair in claim.pairs for agent in (pair.better, pair.other)}
        assert {(agent, task) for agent in spelt for task in claim.tasks} <= rows
    assert micro_battle.ROWS in claims.TABLES


def test_records_are_of_their_rows() -> None:
    for row in ROWS:
        for seed in range(row.seeds):
            path = records.path_of(row, seed, row.steps)
            if path.exists():
                record = json.loads(path.read_text())
                assert records.read(row, seed, row.steps) == record
                assert (record["agent"], record["seed"]) == (row.agent, seed)
