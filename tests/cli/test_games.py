"""What the command line says about games: iterations and not steps, and how a training ended."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from pkubench.agents.saved.runs import read_training
from pkubench.cli.plot import _axis
from pkubench.cli.progress import Meter
from pkubench.evaluation.comparison import compare
from pkubench.tasks.registry import make_task
from pkubench.training.progress import Progress
from pkubench.training.session import train
from tests.cli.conftest import Command

KUHN = make_task("KuhnPoker-v0")


def stopped(out: Path, after: int) -> list[Progress]:
    """Train on Kuhn poker and stop after so many iterations."""
    seen, training = [], train("psro", KUHN, steps=50, seed=0, settings={}, out=out)
    for progress in training:
        seen.append(progress)
        if len(seen) == after:
            training.close()  # type: ignore[attr-defined]
    return seen


def test_a_game_task_has_no_budget_of_steps(pkubench: Command) -> None:
    said = pkubench("show", "KuhnPoker-v0").out
    assert "none; iterations by default: psro 300, cfr+ 1,000; --steps N sets" in " ".join(
        said.split()
    )
    assert "steps" not in said.split("Metrics")[0].replace("--steps", "")
    assert "episodes" not in said.split("Metrics")[0]
    assert pkubench("show", "KuhnPoker-v0", "--json").json["protocol"]["budget"] == {}
    assert "10,000,000 environment steps" in pkubench("show", "SimpleSpread-v0").out


def test_a_page_tells_the_size_and_the_value_of_a_game(pkubench: Command) -> None:
    kuhn = " ".join(pkubench("show", "KuhnPoker-v0").out.split())
    assert "size 2 actions; 6 and 6 information states; 58 histories" in kuhn
    assert "value -0.05556 for the first seat" in kuhn
    blotto = " ".join(pkubench("show", "matrix:blotto(5,3)").out.split())
    assert "game matrix:blotto(coins=5,fields=3,payoff=sign) size 21 rows, 21 columns" in blotto
    assert "symmetric yes: one population plays both sides value 0 for the row player" in blotto
    np.save("mine.npy", [[3.0, 0.0, 1.0], [1.0, 2.0, 1.0]])
    card = pkubench("show", "payoff:mine.npy", "--json").json["game"]
    assert (card["actions"], card["symmetric"]) == ([2, 3], False)
    # The third column loses 1 whatever the row; rows mixed by half win 1 from any column.
    assert card["value"] == pytest.approx(1.0)
    chess = " ".join(pkubench("show", "openspiel:chess").out.split())
    assert "too large to score exactly: evaluate with --responses" in chess
    large = " ".join(pkubench("show", "openspiel:tic_tac_toe").out.split())
    assert (
        "9 actions; more than 300,000 histories" in large and "value" not in large.split("Met")[0]
    )
    assert "information-state strings" in pkubench("show", "openspiel:backgammon").err


@pytest.mark.usefixtures("in_process")
def test_every_reference_of_a_game_is_an_agent(pkubench: Command) -> None:
    reference = KUHN.references["reference"]
    words = reference.command.split()
    assert words[:3] == ["pkubench", "evaluate", reference.agent]
    assert pkubench(*words[1:], "--json").json["score"] == pytest.approx(reference.score, abs=1e-9)


def test_a_training_that_finds_an_equilibrium_says_so(pkubench: Command) -> None:
    said = pkubench("train", "psro", "KuhnPoker-v0", "--steps", 50, "--out", "run")
    done = len(Path("run/training.jsonl").read_text().splitlines())
    assert 1 < done < 50
    assert f"ended at an equilibrium after {done} iterations" in said.err
    assert f"100 %  {done}/{done} iterations" in said.err
    assert "steps" not in said.err + said.out
    card = " ".join(said.out.split())
    assert f"iterations {done} seconds " in card
    assert "seconds of learning 0." in card and "seconds of scoring 0." in card
    shown = pkubench("show", "run").out
    assert f"ended at an equilibrium after {done} iterations" in " ".join(shown.split())
    assert pkubench("train", "cfr+", "KuhnPoker-v0", "--steps", 7, "--out", "regrets").code == 0
    assert "complete: 7 iterations" in pkubench("show", "./regrets").out


def test_of_two_numbers_of_iterations_it_is_said_which_counts(pkubench: Command) -> None:
    words = ("train", "cfr+", "KuhnPoker-v0", "--set", "iterations=20")
    said = pkubench(*words, "--steps", 10, "--out", "a").err
    assert "note: --steps 10 sets the number of iterations and overrides --set" in said
    assert "10/10 iterations" in said
    said = pkubench(*words, "--out", "b").err
    assert "note" not in said and "20/20 iterations" in said


def test_what_ends_within_a_wide_tolerance_is_not_called_an_equilibrium(
    pkubench: Command,
) -> None:
    for agent in ("cfr+", "psro"):
        words = ("--set", "tolerance=0.05", "--steps", 50, "--out", f"near/{agent}")
        said = pkubench("train", agent, "KuhnPoker-v0", *words)
        shown = pkubench("show", f"near/{agent}").out
        for text in (said.err, " ".join(shown.split())):
            assert "ended within a tolerance of 0.05 of an equilibrium after" in text
            assert "at an equilibrium" not in text


def test_a_stopped_training_tells_what_is_saved_and_not_its_last_report(tmp_path: Path) -> None:
    training = train("cfr+", KUHN, steps=50, seed=0, settings={}, out=tmp_path)
    next(training)  # every tenth iteration is reported
    training.close()  # type: ignore[attr-defined]
    (tmp_path / "training.jsonl").write_text("")
    run = read_training(tmp_path)
    assert run is not None
    assert run.ended == "stopped at iteration 10 of 50; its agent so far is saved"


def test_a_stopped_training_is_told_from_a_solved_one_and_goes_on(pkubench: Command) -> None:
    stopped(Path("seeds/seed0"), 2)
    list(train("psro", KUHN, steps=50, seed=1, settings={}, out=Path("seeds/seed1")))
    said = pkubench("show", "seeds/seed0")
    assert "stopped at iteration 2 of 50; its agent so far is saved" in " ".join(said.out.split())
    assert "--out seeds/seed0 --resume" in said.err and "evaluate seeds/seed0" in said.err
    table = pkubench("show", "seeds").out
    assert "stopped at iteration 2 of 50" in table and "ended at an equilibrium after" in table
    run = read_training(Path("seeds/seed0"))
    assert run is not None and run.is_stopped
    words = run.resume_command.split()[1:]
    assert pkubench(*words).code == 0
    again = json.loads(Path("seeds/seed0/config.json").read_text())
    list(train("psro", KUHN, steps=50, seed=0, settings={}, out=Path("whole")))
    assert again["ended"] == "solved"
    assert again == json.loads(Path("whole/config.json").read_text())


@pytest.mark.usefixtures("in_process")
def test_show_tells_what_a_folder_of_runs_and_a_population_file_are(pkubench: Command) -> None:
    pkubench("train", "cfr+", "KuhnPoker-v0", "--steps", 1, "--out", "of mine/first one")
    said = pkubench("show", "of mine")
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert "of mine holds runs and is not itself a run: show one of them, such as" in said.err
    assert "of mine/first" in said.err
    said = pkubench("show", "of mine/first one").err
    assert "pkubench evaluate 'of mine/first one'\n" in said
    words = said.split("next: ")[1].splitlines()[0]
    assert pkubench(*shlex.split(words)[1:]).code == 0
    pkubench("export", "of mine/first one", "KuhnPoker-v0", "--population", "mine.npz")
    assert "depends on the task; name one" in pkubench("show", "mine.npz").err
    assert "sha256" in pkubench("show", "mine.npz", "KuhnPoker-v0").out
    assert "no task or agent 'yours.npz'" in pkubench("show", "yours.npz").err


def test_figures_of_games_have_safe_names_and_labels_in_words(pkubench: Command) -> None:
    name = "matrix:blotto(4,3)"
    assert pkubench("train", "psro", name, "--steps", 6).code == 0
    run = Path("runs/psro-matrix-blotto-4-3-seed0")
    assert run.is_dir()
    said = pkubench("plot", str(run), "--json")
    stem = "plots/matrix-blotto-4-3"
    assert said.json["figures"] == [
        f"{stem}-exploitability-curve.svg",
        f"{stem}-population_exploitability-curve.svg",
    ]
    assert _axis(make_task(name), "exploitability") == "exploitability (payoff per game)"
    assert _axis(KUHN, "population_exploitability") == "population exploitability (chips per game)"
    assert _axis(KUHN, "nash_conv") == "NashConv (chips per game)"
    assert _axis(KUHN, "restricted_value") == "restricted value (chips per game)"
    assert _axis(KUHN, "scoring_seconds") == "seconds of scoring"
    assert _axis(KUHN, "policies") == "policies"
    # What may be negative has no place on a log axis; its steps are iterations all the same.
    assert pkubench("plot", str(run), "--metric", "restricted_value", "--out", "r.svg").code == 0
    drawn = Path("r.svg").read_text()
    assert "<!-- restricted value (payoff per game) -->" in drawn and "<!-- iterations -->" in drawn
    assert "equilibrium" not in drawn
    assert "is --metric" in pkubench("plot", str(run), "--kind", "exploitability").err


@pytest.mark.usefixtures("in_process")
def test_rounding_makes_no_equilibrium_better_than_another(pkubench: Command) -> None:
    for side in ("left", "right"):
        assert pkubench("evaluate", "psro", "KuhnPoker-v0", "--out", side).code == 0
        for number, file in enumerate(sorted(Path(side).rglob("episodes.jsonl"))):
            record = json.loads(file.read_text())
            record["metrics"]["exploitability"] = (1 + 0.01 * number) * 1e-15 * (side == "right")
            file.write_text(json.dumps(record) + "\n")
    found = compare(*(Path(side) / "psro/KuhnPoker-v0" for side in ("left", "right")))
    assert (found.difference, found.probability_of_improvement) == (0.0, 0.5)
    assert found.p_value is None or found.p_value > 0.05
    assert found.second.mean == pytest.approx(1.02e-15)


@pytest.mark.usefixtures("in_process")
def test_of_results_only_what_shows_the_metric_asked_for_is_drawn(pkubench: Command) -> None:
    assert pkubench("evaluate", "psro", "KuhnPoker-v0", "--out", "results").code == 0
    scores = "plots/{}-scores.svg"
    every = pkubench("plot", "results", "--json").json["figures"]
    assert every == [scores.format("exploitability"), "plots/profile.svg"]
    one = pkubench("plot", "results", "--metric", "nash_conv", "--json").json["figures"]
    assert one == [scores.format("nash_conv")]
    assert (
        "has a mean of speed; known: expl" in pkubench("plot", "results", "--metric", "speed").err
    )


@pytest.mark.usefixtures("in_process")
def test_an_evaluation_of_a_game_counts_no_episodes(pkubench: Command) -> None:
    assert "episodes" not in pkubench("evaluate", "random", "KuhnPoker-v0").err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("random", "SimpleSpread-v0"), "SimpleSpread-v0 is not a game: .* leave --resp"),
        (("random", "KuhnPoker-v0", "LeducPoker-v0"), "one agent and one game"),
        (("random", "KuhnPoker-v0", "--out", "x"), "keeps no records; leave --out out"),
        (("random", "matrix:cyclic(3)"), "is a matrix, and scored exactly; leave --responses out"),
    ],
)
def test_a_bound_of_what_it_is_not_for_is_refused_with_the_reason(
    pkubench: Command, words: tuple[str, ...], part: str
) -> None:
    said = pkubench("evaluate", *words, "--responses", 1000)
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert re.search(part, said.err)


def test_progress_never_passes_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    with Meter("work", unit="steps") as meter:
        meter.update(1024, 1000)
    assert capsys.readouterr().err == "work  100 %  1,024/1,000 steps\n"


def test_seeds_of_what_draws_nothing_are_said_to_be_one_run(pkubench: Command) -> None:
    words = ("--steps", 2, "--seeds", "0-1")
    said = pkubench("train", "cfr+", "KuhnPoker-v0", *words, "--out", "cfr")
    assert "note: cfr+ is deterministic: these 2 runs will be the same" in said.err
    assert "deterministic" not in pkubench("train", "psro", "KuhnPoker-v0", *words).err


@pytest.mark.usefixtures("in_process")
def test_a_larger_tree_is_allowed_by_what_the_refusal_names(
    pkubench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = "openspiel:liars_dice(dice_sides=2)"  # it has 127
    monkeypatch.setenv("PKUBENCH_MAX_HISTORIES", "20")
    refused = pkubench("evaluate", "scripted:equilibrium", game)
    assert refused.code == 2
    assert "more than 20 histories" in refused.err
    assert refused.err.count("\n") == 1
    (flag,) = set(re.findall(r"--max-\w+", refused.err))
    for verb in ("evaluate", "train"):
        assert flag in pkubench(verb, "--help").out
    allowed = pkubench("evaluate", "scripted:equilibrium", game, flag, "1e3", "--json")
    assert allowed.code == 0, allowed.err
    assert allowed.json["metrics"]["exploitability"]["mean"] == pytest.approx(0.0, abs=1e-12)
    trained = pkubench("train", "psro", game, "--steps", "2", flag, "1e3", "--out", "run")
    assert trained.code == 0, trained.err
