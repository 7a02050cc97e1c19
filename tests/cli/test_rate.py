"""``pkubench rate``: tables, evaluations and agents that meet in a game."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Command

TABLE = ",A,B,C\nA,.5,.7,.45\nB,.3,.5,.6\nC,.55,.4,.5\n"


def test_a_file_is_rated_and_drawn(pkubench: Command) -> None:
    Path("wins.csv").write_text(TABLE)
    said = pkubench("rate", "wins.csv", "--out", "ratings.svg")
    assert said.code == 0, said.err
    lines = [line.split() for line in said.out.splitlines()]
    assert next(line for line in lines if line[:1] == ["A"])[:3] == ["A", "35.02", "37.44"]
    assert "Cyclic share 76%" in said.out and "there are no intervals" in said.out
    assert Path("ratings.svg").stat().st_size > 1000
    found = pkubench("rate", "wins.csv", "--json").json
    assert (found["kind"], found["runs"]) == ("wins", 1)
    weights = [agent["nash_weight"]["value"] for agent in found["agents"]]
    np.testing.assert_allclose(weights, [0.278970, 0.138067, 0.582963], atol=5e-7)
    assert found["agents"][0]["elo"]["low"] is None
    Path("again.csv").write_text(TABLE.replace(".7", ".8").replace(".3", ".2"))
    both = pkubench("rate", "wins.csv", "again.csv", "--json", "--resamples", "50").json
    assert both["runs"] == 2 and both["agents"][0]["elo"]["low"] < both["agents"][0]["elo"]["high"]


def test_results_are_rated_by_runs_that_score_more(pkubench: Command) -> None:
    for agent in ("random", "psro"):
        assert pkubench("evaluate", agent, "KuhnPoker-v0", "--out", "out").code == 0
    found = pkubench("rate", "out", "--json").json
    table = dict(zip((a["agent"] for a in found["agents"]), found["table"], strict=True))
    assert found["kind"] == "wins" and sorted(table["psro"]) == [0.5, 1.0]
    scores = pkubench("rate", "out", "--kind", "scores", "--json").json
    assert scores["columns"] == ["pkubench/KuhnPoker-v0"]
    nash = {agent["agent"]: agent["nash_weight"]["value"] for agent in scores["agents"]}
    assert nash == pytest.approx({"random": 0.0, "psro": 1.0})
    shutil.rmtree("out/random")
    assert "evaluate another one" in pkubench("rate", "out").err


def test_agents_meet_each_other_in_a_game(pkubench: Command) -> None:
    found = pkubench("rate", "psro", "random", "--task", "KuhnPoker-v0", "--json").json
    first, second = found["table"]
    # Over both seats an equilibrium's policy wins against any other or draws.
    assert first[1] == -second[0] > 0.0 and first[0] == second[1] == 0.0
    assert found["kind"] == "payoffs"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("nowhere.csv",), "cannot read nowhere.csv: No such file"),
        (("psro",), "agents meet in a game, as in `pkubench rate psro --task GAME`"),
        (("psro", "--task", "KuhnPoker-v0"), "name two or more"),
        (("psro", "random", "--task", "SimpleSpread-v0"), "no weights of 'psro'"),
        (("random", "random", "--task", "KuhnPoker-v0"), "rate names random twice"),
        (("t.csv", "psro"), "one sort at a time"),
        (("t.csv", "--task", "KuhnPoker-v0"), "not with files"),
        (("t.csv", "--kind", "elo"), "none of wins, payoffs, general, scores"),
        (("t.csv", "--out", "f.pdf"), "figures are .svg or .png files"),
        (("t.csv", "--alpha", "-1"), "alpha must be positive"),
        (("t.csv", "--kind", "payoffs", "--population", "1"), "population"),
        (("empty",), "no results in empty; `pkubench evaluate` writes them"),
        (
            ("grasps",),
            "0 of the agents have one (the task lacks a reference score above its floor)",
        ),
    ],
)
def test_what_cannot_be_rated_is_said_in_one_line(
    pkubench: Command, words: tuple[str, ...], line: str
) -> None:
    Path("t.csv").write_text(TABLE)
    Path("empty").mkdir()
    if words == ("grasps",):
        agents = "random,scripted:no-op"
        assert not pkubench(
            "evaluate", "--agents", agents, "GraspSphere-v0", "--episodes", "1", "--out", "grasps"
        ).code
    said = pkubench("rate", *words)
    assert said.code == 2 and line in said.err and len(said.err.strip().splitlines()) == 1, said.err
