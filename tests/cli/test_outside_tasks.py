"""Tasks of other packages: every verb takes their names, and no bundle has them imported."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest

import pkubench as package
from examples.relay import TASK
from pkubench import plugins
from pkubench.envs.core import registry
from pkubench.envs.core.registry import register_environment, resolve
from pkubench.errors import BundleError, ConfigError, UnknownName
from pkubench.leaderboard.submissions.bundle import create_bundle, read_bundle
from pkubench.tasks import outside
from pkubench.tasks.registry import make_listed_task, make_task, tasks
from tests.cli.conftest import Command

OWN = TASK.id.replace("examples.relay", "own_relay").replace("examples/", "own/")


def forget() -> None:
    """Leave the module as a new process finds it."""
    sys.modules.pop("own_relay", None)
    plugins._REGISTRANTS.pop("own_relay", None)
    outside._REGISTERED.pop(OWN, None)
    if registry._SPECS.pop("own/Relay-v0", None) is not None:
        gymnasium.registry.pop("own/Relay-v0")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module next to the results, as a user has it."""
    text = (Path(__file__).parents[2] / "examples" / "relay.py").read_text()
    path = tmp_path / "own_relay.py"
    path.write_text(text.replace("examples.relay", "own_relay").replace("examples/", "own/"))
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield path
    forget()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_given_as_an_object_has_the_same_score_in_other_processes(workers: int) -> None:
    here = package.evaluate("random", TASK, episodes=20, workers=0)
    there = package.evaluate("random", TASK, episodes=20, workers=workers)
    assert there.runs == here.runs
    assert there.task == "examples.relay:examples/Relay-v0"
    assert 0 < (here.score or 0) < 1


def test_registering_twice_is_harmless_and_another_under_its_name_is_not() -> None:
    spec = resolve("examples/Relay-v0")
    register_environment(dataclasses.replace(spec))
    outside.register_task(dataclasses.replace(TASK))
    with pytest.raises(ConfigError, match="another environment 'examples/Relay-v0'"):
        register_environment(dataclasses.replace(spec, horizon=33))
    with pytest.raises(ConfigError, match=r"another task 'examples.relay:examples/Relay-v0'"):
        outside.register_task(dataclasses.replace(TASK, title="another"))
    assert resolve("examples/Relay-v0") == spec and make_task(TASK.id) == TASK


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "examples/Relay-v0"}, "must be module:namespace/Name-vN"),
        ({"id": "examples.relay:Relay"}, "must be module:namespace/Name-vN"),
        ({"suite": "My suite/../x"}, "must be a word"),
        ({"id": "examples.relay:examples/Maze-v0"}, "no environment"),
    ],
)
def test_a_task_that_nobody_could_find_again_is_refused(
    changes: dict[str, str], words: str
) -> None:
    with pytest.raises((ConfigError, UnknownName), match=words):
        outside.register_task(dataclasses.replace(TASK, **changes))


def test_it_is_found_by_its_module_and_its_short_name() -> None:
    assert make_task("examples.relay:Relay-v0") is make_task(TASK.id)
    assert TASK not in tasks()
    with pytest.raises(UnknownName, match=r"did you mean 'examples.relay:Relay-v0'"):
        make_task("examples.relay:Rely-v0")
    with pytest.raises(UnknownName, match="'json' registers no tasks"):
        make_task("json:Relay-v0")
    with pytest.raises(ConfigError, match="'nowhere', which cannot be imported"):
        make_task("nowhere:Relay-v0")


def test_train_and_show_take_its_name(pkubench: Command, module: Path, tiny: list[Any]) -> None:
    shown = pkubench("show", "own_relay:Relay-v0")
    assert shown.code == 0 and "two carriers pass a load" in shown.out
    forget()
    assert pkubench("train", "tiny", "own_relay:Relay-v0", "--steps", "20").code == 0
    assert len(tiny) == 1
    turned = pkubench("evaluate", "own_relay:Relay-v0")
    assert turned.code == 2 and "the agent comes first" in turned.err


@pytest.mark.slow
def test_every_verb_takes_its_name(pkubench: Command, module: Path) -> None:
    trained = pkubench(
        "train", "ippo", "own_relay:Relay-v0", "--steps", "4096", "--out", "runs/mine", "--quiet"
    )
    assert trained.code == 0, trained.err
    for agent in ("random", "runs/mine"):
        forget()
        said = pkubench(
            *("evaluate", agent, "own_relay:Relay-v0", "--out", "results", "--episodes", "20")
        )
        assert said.code == 0, said.err
    again = pkubench("evaluate", "runs/mine", "--episodes", "4", "--json")  # the run's own task
    assert again.code == 0 and again.json["task"] == OWN
    compared = pkubench("compare", "results", "--json")
    assert [entry["task"] for entry in compared.json["comparisons"]] == [OWN]
    assert pkubench("verify", "results", "--rerun", "16").code == 0
    assert pkubench("plot", "results", "runs/mine").code == 0
    site = pkubench("leaderboard", "export", "site", "--results", "results", "--weights", "runs")
    assert site.code == 0 and Path("site/tasks/Relay-v0.html").is_file()
    board = pkubench("leaderboard", "show", "--results", "results", "--json")
    assert [entry["task"] for entry in board.json["tasks"]] == [OWN]


def test_records_are_read_where_their_module_can_be_imported_and_only_from_there(
    pkubench: Command, module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("evaluate", "random", "own_relay:Relay-v0", "--out", "results", "--episodes", "4")
    assert pkubench(*words).code == 0
    for verb in (
        ("verify", "results"),
        ("compare", "results"),
        ("leaderboard", "export", "site", "--results", "results"),
    ):
        forget()
        monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(module.parent)])
        refused = pkubench(*verb)
        assert refused.code == 2, refused.out
        assert "the module 'own_relay', which cannot be imported" in refused.err
        assert len(refused.err.strip().splitlines()) == 1
        assert "own_relay" not in sys.modules  # although it lies in this folder
        monkeypatch.syspath_prepend(str(module.parent))
        assert pkubench(*verb).code == (2 if verb[0] == "compare" else 0)  # one agent: no pair


def test_a_bundle_never_imports_a_module(
    pkubench: Command, module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("evaluate", "random", "own_relay:Relay-v0", "--out", "results", "--episodes", "4")
    assert pkubench(*words).code == 0
    create_bundle("results/random", "mine.zip")  # by who has imported it
    assert read_bundle("mine.zip").tasks[0].task.id == OWN
    monkeypatch.syspath_prepend(str(module.parent))
    forget()
    with pytest.raises(UnknownName, match="no listed task"):
        make_listed_task(OWN)
    with pytest.raises(BundleError, match="no listed task"):
        read_bundle("mine.zip")
    for verb in (("verify", "mine.zip"), ("submit", "mine.zip", "--board", "board.sqlite")):
        said = pkubench(*verb)
        assert said.code != 0 and "no listed task" in said.out + said.err
    refused = pkubench("bundle", "results/random", "--out", "other.zip")
    assert refused.code == 2 and "no listed task" in refused.err
    with pytest.raises(UnknownName, match="no module 'own_relay' that registers it is imported"):
        resolve(OWN)
    assert "own_relay" not in sys.modules
