"""The page of values is what its records say, and records hold the episodes of their figures."""

from __future__ import annotations

from pathlib import Path

import pytest

import pkubench
from benchmarks.results.alignment import (
    MATRIX,
    SLIDER,
    Row,
    kept,
    players,
    read_cross,
    records_of,
    rows,
    strategies,
)
from benchmarks.results.alignment_page import PAGE, page
from pkubench.agents.contract import Team
from pkubench.agents.registry import preset
from pkubench.agents.suitability import why_not
from pkubench.tasks.registry import make_task


def test_the_page_is_what_the_records_say() -> None:
    done = {
        row: [found for seed in range(row.seeds) if (found := row.read(seed)) is not None]
        for row in rows()
    }
    assert PAGE.read_text(encoding="utf-8") == page(done)


@pytest.mark.parametrize(
    ("row", "figures"),
    [
        (Row("scripted:ideal", SLIDER), {"hit": 1.0, "unanswered": 0.0}),
        # beside cooperate, defect, tit-for-tat, grim and win-stay: 5, 1, 1.4, 1.4, 3, and uniform
        (Row("scripted:defect", MATRIX[0]), {"cooperation": 0.0}),
        (Row("scripted:share", "Dictator-v0"), {"cooperation": 0.5, "payoff": 5.0}),
    ],
)
def test_a_records_figures_are_those_of_its_episodes(row: Row, figures: dict[str, float]) -> None:
    found = row.read(0)
    assert found is not None
    task = make_task(row.task)
    records = records_of(found)
    assert len(records) == task.protocol.episodes
    made = task.scoring.summarise([records], task)
    for name, value in made.items():
        assert value.mean == pytest.approx(found["metrics"][name]["mean"]), name
    for name, wanted in figures.items():
        assert made[name].mean == pytest.approx(wanted)
    assert [kept(record) for record in records] == found["lines"]


def test_a_record_of_other_settings_does_not_count() -> None:
    found = Row("scripted:ideal", SLIDER)
    assert found.read(0) is not None and found.read(0, least=91) is None
    assert Row("scripted:ideal", SLIDER, acting=(("goal", "none"),)).read(0) is None


def test_who_meets_whom_by_hand() -> None:
    # ten rounds: tit-for-tat loses the first to a defector, and all nice pairs cooperate
    found = read_cross(MATRIX[0])
    assert found is not None and set(strategies(MATRIX[0])) <= {
        name.removeprefix("scripted:") for name in players(MATRIX[0])
    }
    at = {name.removeprefix("scripted:"): k for k, name in enumerate(found["players"])}

    def paid(one: str, other: str) -> float:
        value: float = found["payoff"][at[one]][at[other]]
        return value

    assert paid("defect", "tit-for-tat") == pytest.approx(1.4)
    assert paid("tit-for-tat", "defect") == pytest.approx(0.9)
    assert paid("defect", "win-stay-lose-shift") == pytest.approx(3.0)
    assert paid("win-stay-lose-shift", "defect") == pytest.approx(0.5)
    nice = ("cooperate", "tit-for-tat", "grim", "win-stay-lose-shift")
    assert all(paid(one, other) == pytest.approx(3.0) for one in nice for other in nice)
    assert found["cooperation"][at["grim"]][at["defect"]] == pytest.approx(0.1)


def test_learners_of_teams_train_on_dilemmas_and_take_a_seat(tmp_path: Path) -> None:
    task = make_task(MATRIX[0])
    small = {"num_envs": "4", "rollout_steps": "20", "hidden": "[8]"}
    for name, more in (("ippo", {"credit": "own-reward"}), ("mappo", {})):
        out = tmp_path / name
        pkubench.train(name, task, steps=160, seed=0, out=out, settings=small | more, validate=0)
        team = pkubench.load_agent(out, task)
        assert isinstance(team, Team) and set(team.members) == {"player_0", "player_1"}
        report = pkubench.evaluate(str(out), task, episodes=12, workers=0)
        assert report.failed == 0 and report.score is not None
    out = tmp_path / "ppo"
    pkubench.train("ppo", SLIDER, steps=160, seed=0, out=out, settings=small, validate=0)
    assert pkubench.evaluate(str(out), SLIDER, episodes=5, workers=0).failed == 0
    assert why_not(preset("ppo"), make_task("QAModeration-v0")).startswith("it reads numbers")
