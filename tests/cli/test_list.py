"""``pkubench list``: a screen of names, and tables of what is asked for."""

from __future__ import annotations

import re
import subprocess

import pytest
from gymnasium import spaces

from pkubench.agents.registry import presets
from pkubench.envs.core.options import Option
from pkubench.envs.core.registry import env_class, resolve
from pkubench.tasks.registry import tasks
from tests.cli.conftest import Command

SHORT = [task.id.partition("/")[2] for task in tasks()]


def test_the_overview_fits_a_screen_and_names_everything(
    pkubench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = pkubench("list")
    lines = said.out.splitlines()
    assert len(lines) <= 56 and max(map(len, lines)) <= 80
    words = [word for word in said.out.split() if not set(word) & set("()'")]
    shell = ["bash", "-c", f"echo {' '.join(words)}"]
    expanded = subprocess.run(shell, capture_output=True, text=True, check=True).stdout.split()
    listed = sorted(word for word in expanded if re.search(r"-v\d+$", word))
    assert listed == sorted(SHORT), "the names are those a shell makes of them"
    assert set(presets()) - set(expanded) == {name for name in presets() if "-paper" in name}
    paper = sum(name.endswith("-paper") for name in presets())
    assert f"{paper} more with the official settings" in said.err
    assert "pkubench list --all" in said.err


def test_a_suite_is_a_table_without_variants_and_all_has_every_row(pkubench: Command) -> None:
    def first_words(*words: str) -> set[str]:
        return {line.split()[0] for line in pkubench("list", *words).out.splitlines() if line}

    every = first_words("--all")
    assert every >= {*SHORT, *presets()}
    games = {name for name, spec in presets().items() if "games" in (spec.suites or ("games",))}
    shown = first_words("--suite", "games")
    assert shown & presets().keys() == {name for name in games if not name.endswith("-paper")}
    assert first_words("--suite", "games", "--all") >= games


def test_patterns_choose_tasks_and_agents(pkubench: Command) -> None:
    said = pkubench("list", "psd-psro", "leduc")
    names = {line.split()[0] for line in said.out.splitlines() if line}
    assert names >= {"psd-psro", "psd-psro-paper", "psd-psro-deep", "LeducPoker-v0"}
    assert not names & {"psro", "KuhnPoker-v0"}
    assert "1 task\n" in said.out
    chosen = pkubench("list", "psd-psro", "KuhnPoker-v?", "--json").json
    assert [task["id"] for task in chosen["tasks"]] == ["pkubench/KuhnPoker-v0"]
    said = pkubench("list", "cfr", "hapo")
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert "no task or agent 'hapo'; did you mean 'happo'" in said.err
    said = pkubench("list", "credit")
    assert said.err == "error: 'credit' is a suite; see: pkubench list --suite credit\n"
    assert pkubench("list", "*-paper", "--suite", "diagnostics").code in (0, 2)


def test_a_task_s_card_lists_the_agents_that_need_no_training(pkubench: Command) -> None:
    found = pkubench("show", "SimpleSpread-v0", "--json").json["untrained"]
    assert found == ["random", "scripted:assignment", "scripted:no-op"]
    of_game = pkubench("show", "KuhnPoker-v0", "--json").json["untrained"]
    assert of_game == ["random", "scripted:equilibrium"]
    of_dilemma = pkubench("show", "PrisonersDilemma-v0").out
    assert "scripted:cooperate" in of_dilemma and "scripted:tit-for-tat" in of_dilemma


def test_a_task_s_card_lists_what_a_reset_may_choose(
    pkubench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    option = Option(2, spaces.Discrete(5), "number of the layout")
    monkeypatch.setattr(env_class(resolve("SpeedLimit-v0")), "episode_options", {"layout": option})
    monkeypatch.setenv("COLUMNS", "100")
    (line,) = (
        line for line in pkubench("show", "SpeedLimit-v0").out.splitlines() if "reset" in line
    )
    assert line.split("  ")[0].strip() == "layout"
    assert "number of the layout (reset option of Discrete(5), 2 by default)" in line
