"""``pkubench evaluate``, ``compare`` and ``plot`` on small evaluations."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from pkubench.cli import evaluate as evaluate_module
from pkubench.errors import AgentError
from pkubench.evaluation.statistics import welch_interval
from pkubench.tasks.registry import tasks
from tests.cli.conftest import Command

SPREAD = "SimpleSpread-v0"
AGENTS = dedent(
    '''
    import os
    import sys
    import time

    import numpy as np

    from pkubench.agents.contract import Team


    class Still:
        """Does nothing, and says so on every channel there is."""

        def begin(self, seeds):
            print("printed by an agent")
            os.write(1, b"written by an agent")
            return None

        def act(self, observation, state, active):
            return np.zeros(len(active), dtype=np.int64), state


    class Crash(Still):
        def act(self, observation, state, active):
            raise ValueError("no idea")


    class Slow:
        def begin(self, seeds):
            return None

        def act(self, observation, state, active):
            time.sleep(0.01)
            return np.zeros(len(active), dtype=np.int64), state


    def team(member):
        return Team({f"agent_{i}": member() for i in range(3)})


    def still(task):
        print("imported", file=sys.stdout)
        return team(Still)


    def crash(task):
        return team(Crash)


    def slow(task):
        return team(Slow)
    '''
)


@pytest.fixture(autouse=True)
def agents(pkubench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mine.py").write_text(AGENTS)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.delitem(sys.modules, "mine", raising=False)


def evaluate(pkubench: Command, *words: str) -> None:
    said = pkubench("evaluate", *words)
    assert said.code == 0, said.err


def test_one_agent_on_one_task_is_one_json_report(pkubench: Command) -> None:
    said = pkubench("evaluate", "random", SPREAD, "--episodes", 3, "--json")
    assert said.code == 0
    report = said.json
    assert report["task"] == "pkubench/SimpleSpread-v0"
    assert report["agent"] == "random"
    assert set(report["metrics"]["return"]) == {"mean", "low", "high", "n"}
    assert report["score"] == report["metrics"]["return"]["mean"]


def test_several_are_a_list_and_what_agents_print_stays_off_stdout(pkubench: Command) -> None:
    said = pkubench("evaluate", "--agents", "random,mine:still", SPREAD, "--episodes", 2, "--json")
    assert said.code == 0, said.err
    assert [report["agent"] for report in said.json] != []
    assert {report["agent"] for report in said.json} == {"random", "mine:still"}


@pytest.mark.usefixtures("in_process")
def test_the_table_names_agents_intervals_and_sample(pkubench: Command) -> None:
    said = pkubench("evaluate", "--agents", "random,mine:still", SPREAD, "KuhnPoker-v0", "--quick")
    assert said.code == 2  # mine:still cannot play a game, and it was named explicitly
    said = pkubench("evaluate", "random", SPREAD, "KuhnPoker-v0", "--quick", "--out", "results")
    assert said.code == 0
    assert "50 episodes" in said.out
    assert "exact" in said.out
    assert "pkubench compare results" in said.err


@pytest.mark.usefixtures("in_process")
def test_one_evaluation_shows_all_that_its_task_measures(pkubench: Command) -> None:
    task = ("AliceAndBob-v0", "--episodes", "4", "--quiet")
    assert "success" in pkubench("evaluate", "random", *task).out
    several = pkubench("evaluate", "--agents", "random,scripted:optimum", *task)
    assert several.code == 0
    assert "success" not in several.out


def test_records_lie_where_the_design_says(pkubench: Command) -> None:
    evaluate(pkubench, "random", SPREAD, "--episodes", "3", "--out", "results")
    lines = Path("results/random/SimpleSpread-v0/run/episodes.jsonl").read_text().splitlines()
    assert [json.loads(line)["episode"] for line in lines] == [0, 1, 2]
    assert Path("results/random/SimpleSpread-v0/report.json").is_file()


@pytest.mark.usefixtures("in_process")
def test_a_failing_agent_is_a_result_with_exit_code_1(pkubench: Command) -> None:
    said = pkubench("evaluate", "mine:crash", SPREAD, "--episodes", 2)
    assert said.code == 1
    assert "2 episodes of mine:crash on SimpleSpread-v0 failed" in said.out
    assert "ValueError: no idea" in said.out
    assert "Traceback" not in said.err


@pytest.mark.usefixtures("in_process")
def test_a_suite_leaves_out_what_does_not_fit_and_says_so(pkubench: Command) -> None:
    said = pkubench("evaluate", "mine:slow", "--suite", "games")
    assert (said.code, said.out) == (2, "")
    assert "left out mine:slow on KuhnPoker-v0: the team has no member for" in said.err
    said = pkubench("evaluate", "mine:slow", "SimpleSpreadContinuous-v0", "--episodes", 1)
    assert said.code == 1  # pushes are not integers: the agent is accepted, and fails the episode
    assert "1 episode of mine:slow on SimpleSpreadContinuous-v0 failed: wrong" in said.out


@pytest.mark.usefixtures("in_process")
def test_all_of_an_untrained_agent_is_every_task(pkubench: Command) -> None:
    said = pkubench("evaluate", "random", "--suite", "games", "--json")
    assert [report["task"] for report in said.json] == [
        "pkubench/KuhnPoker-v0",
        "pkubench/LeducPoker-v0",
        "pkubench/LiarsDice4-v0",
        "pkubench/LiarsDice5-v0",
        "pkubench/LiarsDice6-v0",
        "pkubench/Goofspiel4-v0",
        "pkubench/Goofspiel5-v0",
    ]


def pairs(*words: str, agents: str | None = None, suite: str | None = None) -> list[str]:
    found = evaluate_module._pairs(list(words), agents, suite, suite is None)
    return [f"{pair.agent} {pair.task.id.removeprefix('pkubench/')}" for pair in found]


def test_all_is_what_is_shipped_with_random_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = {"happo": [SPREAD], "mappo": [SPREAD], "psro": ["KuhnPoker-v0"]}
    monkeypatch.setattr(
        evaluate_module,
        "shipped_tasks",
        lambda agent: [f"pkubench/{task}" for task in shipped.get(agent, [])],
    )
    everything = [
        f"random {SPREAD}",
        f"happo {SPREAD}",
        f"mappo {SPREAD}",
        "random KuhnPoker-v0",
        "psro KuhnPoker-v0",
    ]
    assert pairs() == everything
    assert pairs(agents="random,happo,mappo,psro") == everything
    assert pairs("happo") == [f"happo {SPREAD}"]
    assert pairs(agents="random,psro") == ["random KuhnPoker-v0", "psro KuhnPoker-v0"]
    assert pairs(suite="games") == ["random KuhnPoker-v0", "psro KuhnPoker-v0"]
    assert len(pairs("random")) == len(tasks())
    with pytest.raises(AgentError, match="no weights of ppo"):
        pairs("ppo")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ((), "name an agent and a task"),
        (("random",), "no task given for random: name one, a --suite, or --all"),
        ((SPREAD,), "the agent comes first: pkubench evaluate random SimpleSpread-v0"),
        (("hapo", SPREAD), "did you mean 'happo'"),
        (("random", "SimpleSpred-v0"), "did you mean 'pkubench/SimpleSpread-v0'"),
        (("random", SPREAD, "--backend", "slurm"), "no backend 'slurm'"),
        (("random", "--suite", "games", "--all"), "--all means every task"),
        (("random", "--suite", "gamez"), "did you mean 'games'"),
        (("random", SPREAD, "--quick", "--episodes", "3"), "--quick and --episodes"),
        (("random", SPREAD, "--episodes", "0"), "--episodes"),
        (("random", SPREAD, "--workers", "0"), "--workers"),
        (("random", SPREAD, "--seed", "-1"), "--seed"),
        (("--agents", ",", SPREAD), "--agents names no agent"),
        (("sb3:none.zip", SPREAD), "no Stable-Baselines3 model"),
        (("--agents", "random,hapo", SPREAD), "did you mean 'happo'"),
        (("happo,mappo", SPREAD), f"several agents are named by --agents happo,mappo {SPREAD}"),
        (("happo", "mappo", SPREAD), f"named by --agents happo,mappo {SPREAD}"),
        (("random", "scripted:chase", SPREAD), f"named by --agents random,scripted:chase {SPREAD}"),
        (("random", "hapo", SPREAD), "hapo is no task; several agents are named by --agents ra"),
        (("random", "SimpleSpred-v0+delay=20"), "did you mean 'pkubench/SimpleSpread-v0+delay=20'"),
        (("random", SPREAD, "--seed", str(2**64)), "does not lie in 0..2**63 - 1"),
    ],
    ids=" ".join,
)
def test_misuse_is_one_line_and_exit_code_2(
    pkubench: Command, words: tuple[str, ...], part: str
) -> None:
    said = pkubench("evaluate", *words)
    assert said.code == 2
    assert part in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""


def test_an_unwriteable_folder_is_one_line(pkubench: Command) -> None:
    Path("taken").write_text("a file")
    said = pkubench("evaluate", "random", SPREAD, "--episodes", 1, "--out", "taken", "-q")
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert "cannot write" in said.err and "taken is a file" in said.err


def test_ctrl_c_keeps_whole_blocks_and_the_same_command_finishes(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pkubench", "evaluate", "mine:slow", SPREAD]
    words += ["--episodes", "48", "--out", "results", "--quiet"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    lines = tmp_path / "results" / "mine-slow" / SPREAD / "run" / "episodes.jsonl"
    deadline = time.monotonic() + 30
    # The file is there a moment before its first block is.
    while not (lines.exists() and lines.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "to resume where it stopped: pkubench evaluate mine:slow SimpleSpread-v0" in err
    assert len(err.splitlines()) == 1
    kept = lines.read_text()
    assert len(kept.splitlines()) in (16, 32)
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert lines.read_text().startswith(kept)
    assert len(lines.read_text().splitlines()) == 48


@pytest.mark.usefixtures("in_process")
def test_compare_gives_the_welch_interval_of_the_records(pkubench: Command) -> None:
    for agent in ("random", "mine:still"):
        evaluate(pkubench, agent, SPREAD, "--episodes", "20", "--out", "results")
    values = {
        agent: [
            json.loads(line)["return"]
            for line in Path(f"results/{agent}/{SPREAD}/run/episodes.jsonl")
            .read_text()
            .splitlines()
        ]
        for agent in ("random", "mine-still")
    }
    [found] = pkubench("compare", "results", "--baseline", "random", "--json").json["comparisons"]
    expected = welch_interval(values["mine-still"], values["random"])
    assert [(side["agent"], side["n"]) for side in (found["first"], found["second"])] == [
        ("mine:still", 20),
        ("random", 20),
    ]
    assert found["difference"] == pytest.approx(expected.estimate)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    wins = np.array(values["mine-still"])[:, None] > np.array(values["random"])
    assert found["probability_of_improvement"] == pytest.approx(wins.mean())


@pytest.mark.usefixtures("in_process")
def test_compare_evaluates_agents_named_with_a_task(pkubench: Command) -> None:
    said = pkubench("compare", "random", "mine:still", "--task", SPREAD, "--episodes", 4)
    assert said.code == 0, said.err
    assert "Differences in the ranking metric" in said.out
    assert "sample is episodes" in said.out


def test_compare_names_a_misspelled_agent_before_it_plays(
    pkubench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pkubench.evaluation.run.harness.evaluate", None)  # must not be called
    said = pkubench("compare", "random", "hapo", "--task", SPREAD)
    assert said.code == 2
    assert "did you mean 'happo'" in said.err


def test_two_agents_of_one_name_are_told_apart_or_refused(pkubench: Command) -> None:
    for place in ("a", "b"):
        folder = Path(place, "mine")
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"seed": place}))
    refusal = "a/mine and b/mine are both called mine; rename one of the folders"
    said = pkubench("evaluate", "--agents", "a/mine,b/mine", SPREAD, "--out", "results")
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert refusal in said.err
    assert refusal in pkubench("compare", "a/mine", "b/mine", "--task", SPREAD).err


@pytest.mark.usefixtures("in_process")
def test_lower_is_better_in_games(pkubench: Command) -> None:
    Path("mine.py").write_text(
        AGENTS
        + dedent(
            '''
            class Uniform:
                """Plays the first legal action."""

                def action_probabilities(self, observation, mask):
                    first = np.cumsum(mask, axis=1) == 1
                    return (first & (mask == 1)).astype(float)


            def first(task):
                return Uniform()
            '''
        )
    )
    found = pkubench("compare", "random", "mine:first", "--task", "KuhnPoker-v0", "--json")
    [comparison] = found.json["comparisons"]
    # Always passing (1.0 exploitable by hand) is worse than uniform play (11/24).
    assert comparison["first"]["agent"] == "random"
    assert comparison["difference"] < 0
    assert comparison["probability_of_improvement"] == 1.0
    assert comparison["verdict"] == "unclear"


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("compare", "nowhere"), "no results folder or agent 'nowhere'"),
        (("compare", "random"), "no task given to compare random on; name a --task"),
        (("compare", "nowhere"), "`pkubench list` shows all agents"),
        (("compare", "results", "--baseline", "rando"), "did you mean 'random'"),
        (("compare", "results"), "nothing to compare"),
        (("compare", "empty"), "nothing to compare"),
        (("plot", "nowhere"), "there is nothing at nowhere"),
        (("plot", "empty"), "no figure can be drawn from empty"),
        (("plot", "results", "--kind", "bar"), "did you mean 'bars'"),
        (("plot", "results", "--kind", "curves"), "and here are results"),
        (("plot", "results", "--metric", "speed"), "has a mean of speed; known: "),
        (("plot", "results", "--kind", "profile"), "it needs two runs or more of an agent"),
        (("plot", "results", "--kind", "cost"), "no result there is of a task with a cost limit"),
        (("plot", "results", "--out", "figure.gif"), "figures are .svg or .png files"),
    ],
    ids=" ".join,
)
def test_misuse_of_results_is_one_line(
    pkubench: Command, words: tuple[str, ...], part: str
) -> None:
    Path("empty").mkdir()
    evaluate(pkubench, "random", SPREAD, "--episodes", "2", "--out", "results", "--quiet")
    said = pkubench(*words)
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert part in said.err


@pytest.mark.usefixtures("in_process")
def test_plot_draws_scores_and_curves(pkubench: Command) -> None:
    evaluate(pkubench, "random", SPREAD, "--episodes", "4", "--out", "results", "--quiet")
    for seed in (0, 1):
        run = Path(f"runs/seed{seed}")
        run.mkdir(parents=True)
        (run / "config.json").write_text(
            json.dumps({"agent": "happo", "task": f"pkubench/{SPREAD}"})
        )
        points = [{"steps": 10 * i, "return": i + seed} for i in range(5)]
        lines = [json.dumps(point) for point in points]
        (run / "training.jsonl").write_text("\n".join(lines) + '\n{"steps": 50, "ret')
    said = pkubench("plot", "results", "runs", "--json")
    assert said.code == 0, said.err
    assert said.json["figures"] == [
        "plots/SimpleSpread-v0-return-curve.svg",
        "plots/return-scores.svg",
    ]
    assert Path("plots/return-scores.svg").read_text().startswith("<?xml")
    assert pkubench("plot", "runs", "--out", "curve.png").code == 0
    assert Path("curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("in_process")
def test_curves_of_other_settings_stand_apart_and_none_counts_twice(pkubench: Command) -> None:
    def run(name: str, seed: int, gamma: float) -> None:
        facts = {"agent": "happo", "task": f"pkubench/{SPREAD}", "seed": seed}
        Path(name).mkdir(parents=True)
        text = json.dumps({**facts, "settings": {"gamma": gamma}, "total_steps": 20})
        Path(name, "config.json").write_text(text)
        points = [{"steps": 10 * i, "return": i + seed} for i in range(3)]
        Path(name, "training.jsonl").write_text("".join(json.dumps(p) + "\n" for p in points))

    run("base/seed0", 0, 0.9)
    run("base/seed1", 1, 0.9)
    assert pkubench("plot", "base", "--out", "one.svg").code == 0
    assert "n = 2 seeds" in Path("one.svg").read_text()
    run("other/seed0", 0, 0.5)
    assert pkubench("plot", "base", "other", "--out", "two.svg").code == 0
    drawn = Path("two.svg").read_text()
    assert "happo (base)" in drawn and "happo (other)" in drawn
    run("x/base/seed0", 0, 0.1)
    assert pkubench("plot", "base", "x", "--out", "same.svg").code == 0
    drawn = Path("same.svg").read_text()
    assert "happo (base)" in drawn and "happo (x/base)" in drawn
    assert "happo (base) 2, happo (x/base) 1" in " ".join(drawn.split())
    run("copy/seed1", 1, 0.9)
    said = pkubench("plot", "base", "copy", "--out", "three.svg")
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert "base/seed1 and copy/seed1 are both seed 1 of happo on SimpleSpread-v0" in said.err
    for folder in ("results", "again"):
        evaluate(pkubench, "random", SPREAD, "--episodes", "2", "--out", folder, "--quiet")
    said = pkubench("plot", "results", "again")
    assert "there are two results of random on SimpleSpread-v0: give one of them" in said.err


@pytest.mark.usefixtures("in_process")
def test_a_constrained_task_shows_its_violation(pkubench: Command) -> None:
    said = pkubench("evaluate", "random", "SpeedLimit-v0", "--episodes", "8", "--json")
    found = said.json["constraint"]
    assert found["cost_limit"] == 5.0 and found["violation"]["n"] == 8
    table = pkubench("evaluate", "random", "SpeedLimit-v0", "--episodes", "8").out
    assert "violation" in table and "feasible runs" in table
    assert "violation" not in pkubench("evaluate", "random", "Climbing-v0").out
    said = pkubench("evaluate", "random", "Climbing-v0", "SpeedLimit-v0", "--episodes", "2")
    free, limited = said.out.strip().split("\n\n")
    assert "Climbing-v0" in free and "violation" not in free
    assert "SpeedLimit-v0" in limited and "violation" in limited
    assert "violation of the limit" in pkubench("show", "SpeedLimit-v0").out
    for task, learner in (
        ("PointCircle1-v0", "ppo-lag"),
        ("PointCircle0-v0", "ppo"),
        ("SpeedLimit-v0", "ppo-lag"),
        ("MultiAnt4x2Velocity-v1", "happo-lag"),
        ("MiniGridMT7-v0", "retrieval-hypernetwork"),
    ):
        assert f"pkubench train {learner} {task}\n" in pkubench("show", task).err
    said = pkubench("show", "cpo", "PointCircle0-v0")
    assert "none on PointCircle0-v0: it needs a cost limit" in said.out
    assert "pkubench train" not in said.err
    assert "pkubench train ppo PointCircle0-v0\n" in pkubench("show", "ppo", "PointCircle0-v0").err


@pytest.mark.usefixtures("in_process")
def test_an_agent_or_a_task_named_twice_is_evaluated_once(pkubench: Command) -> None:
    words = ("RiskyCorridor-v0", "RiskyCorridor-v0", "--episodes", "1", "--json")
    said = pkubench("evaluate", "--agents", "random,scripted:optimum, random", *words)
    assert sorted(report["agent"] for report in said.json) == ["random", "scripted:optimum"]
    said = pkubench("compare", "random", "random", "--task", "RiskyCorridor-v0")
    assert (said.code, said.err) == (2, "error: compare names random twice; give two agents\n")


def test_ctrl_c_names_the_command_that_resumes_quoted_as_a_shell_takes_it(
    pkubench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pkubench.evaluation.run.harness.evaluate", stopped)
    words = ("evaluate", "random", "RiskyCorridor-v0", "--out", "my 'best' $results")
    said = pkubench(*words)
    assert (said.code, len(said.err.splitlines())) == (130, 1)
    assert shlex.split(said.err.partition("stopped: ")[2] or said.err)[-5:] == list(words)
