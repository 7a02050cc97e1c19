"""What a new user trips over: agents elsewhere, earlier ids, empty paths, records of many tasks."""

from __future__ import annotations

import json
import shlex
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pkubench as suite
from pkubench.cli.main import main
from pkubench.errors import ConfigError
from tests.cli.conftest import Command
from tests.conftest import play_in_process

KUHN, SPREAD = "KuhnPoker-v0", "SimpleSpread-v0"
OLD, NEW = "MultiAnt4x2-v0", "MultiAnt4x2-v1"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run outside ./runs, and results of it and of random, each on one task."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        play_in_process(patch)
        words = ["train", "cfr+", KUHN, "--steps", "5", "--out", "far away/mine", "-q"]
        assert main(words) == 0
        assert main(["evaluate", "far away/mine", "--out", "results", "-q"]) == 0
        words = ["evaluate", "random", SPREAD, "--episodes", "2", "--out", "results", "-q"]
        assert main(words) == 0
    return folder


@pytest.fixture
def here(made: Path, pkubench: Command, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def _edit(path: str, **changes: Any) -> None:
    settings = json.loads(Path(path).read_text())
    Path(path).write_text(json.dumps({**settings, **changes}))


@pytest.mark.usefixtures("in_process")
def test_an_agent_that_is_not_found_does_not_keep_others_from_a_rerun(
    pkubench: Command, here: Path
) -> None:
    said = pkubench("verify", "results", "--rerun", "1", "--json")
    mine, random = said.json["checked"]
    assert (said.code, mine["ok"], random["ok"]) == (0, None, True)
    assert "not rerun" in mine["found"][-1] and "--agent PATH" in mine["found"][-1]
    assert random["found"][1].startswith("2 of 2 episodes")
    lost = pkubench("verify", "results/mine", "--rerun", "1")
    assert (lost.code, len(lost.err.splitlines())) == (2, 1) and "--agent PATH" in lost.err
    _edit(f"results/mine/{KUHN}/report.json", score=-1.0)  # wrong, whether it can be rerun or not
    said = pkubench("verify", "results", "--rerun", "1", "--json")
    assert (said.code, said.json["checked"][0]["ok"]) == (1, False)


@pytest.mark.usefixtures("in_process")
def test_the_hint_of_an_agent_given_by_path_says_where_it_is(pkubench: Command, here: Path) -> None:
    said = pkubench("evaluate", "far away/mine", "--out", "new")
    [hint] = [line for line in said.err.splitlines() if line.startswith("next: ")]
    words = shlex.split(hint.removeprefix("next: "))
    assert words[1:] == ["verify", "new/mine", "--rerun", "16", "--agent", "far away/mine"]
    assert pkubench(*words[1:]).code == 0
    assert "--agent" not in pkubench("evaluate", "random", KUHN, "--out", "new2").err


@pytest.mark.parametrize(
    ("where", "agent", "reason"),
    [
        ("results/random", "happo", "has no run 'run'"),
        ("results", "far away/other", "the name of none of these agents (mine, random)"),
        ("results", "nobody", "no agent 'nobody'"),
    ],
)
def test_an_agent_without_a_recorded_run_is_misuse(
    pkubench: Command, here: Path, where: str, agent: str, reason: str
) -> None:
    shutil.copytree("far away/mine", "far away/other")
    said = pkubench("verify", where, "--rerun", "1", "--agent", agent)
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert reason in said.err


@pytest.mark.parametrize("verb", ["show", "list", "reproduce"])
def test_an_earlier_id_stands_for_the_present_one(pkubench: Command, verb: str) -> None:
    said, wanted = pkubench(verb, OLD), pkubench(verb, NEW)
    assert (said.code, said.out) == (0, wanted.out)
    notice, *hints = said.err.splitlines()
    assert notice.startswith(f"note: {OLD} is {NEW} now")
    assert hints == wanted.err.splitlines() and OLD not in "".join(hints)


def test_hints_name_the_present_id(pkubench: Command) -> None:
    said = pkubench("evaluate", "random", OLD, "--episodes", "1")
    assert said.err.splitlines()[-1].startswith(f"next: pkubench evaluate random {NEW} ")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("evaluate", "random", SPREAD, "--out", ""), "--out"),
        (("evaluate", "random", SPREAD, "--out="), "--out"),
        (("leaderboard", "show", "--results", ""), "--results"),
        (("leaderboard", "show", "--board", ""), "--board"),
        (("verify", ""), "an argument of `pkubench verify`"),
        (("plot", "-q", ""), "an argument of `pkubench plot`"),
    ],
)
def test_an_empty_path_is_not_the_current_folder(
    pkubench: Command, words: tuple[str, ...], what: str
) -> None:
    said = pkubench(*words)
    assert (said.code, said.err) == (2, f"error: {what} is empty\n")
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("task", "wrong"),
    [
        (3, {}),
        (None, {}),
        (SPREAD, {"episodes": "a"}),
        (SPREAD, {"episodes": 1.5}),
        (SPREAD, {"episodes": True}),
        (SPREAD, {"seed": "x"}),
        (SPREAD, {"workers": 1.5}),
        (SPREAD, {"out": ""}),
        (SPREAD, {"out": 3}),
    ],
)
def test_a_wrong_argument_is_named(task: Any, wrong: dict[str, Any]) -> None:
    [name] = wrong or ["task"]
    with pytest.raises(ConfigError, match=f"^{name} "):
        suite.evaluate("random", task, **{"episodes": 1, **wrong})


def test_whole_numbers_of_numpy_are_taken(tmp_path: Path) -> None:
    count = np.int64(2)
    suite.evaluate("random", KUHN, episodes=count, seed=count, workers=np.int32(0), out=tmp_path)
    with_python = suite.evaluate("random", KUHN, episodes=2, seed=2, workers=0)
    assert suite.evaluate("random", KUHN, seed=count, workers=0) == with_python


@pytest.mark.parametrize("verb", ["verify", "submit"])
def test_a_zip_of_something_else_is_not_a_bundle(pkubench: Command, verb: str) -> None:
    with zipfile.ZipFile("model.zip", "w") as archive:
        archive.writestr("data", "{}")
        archive.writestr("policy.pth", "weights")
    said = pkubench(verb, "model.zip")
    assert said.code == 2
    assert said.err == (
        "error: model.zip is not a bundle (it has no manifest.json); make one with "
        "`pkubench bundle`\n"
    )


@pytest.mark.parametrize("width", [60, 80])
def test_why_an_entry_is_not_ranked_stays_on_a_narrow_screen(
    pkubench: Command, here: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    wide = pkubench("leaderboard", "show", KUHN, "--results", "results", "--json")
    reason = wide.json["tasks"][0]["standings"][0]["unranked"]
    monkeypatch.setenv("COLUMNS", str(width))
    said = pkubench("leaderboard", "show", KUHN, "--results", "results")
    assert max(map(len, said.out.splitlines())) <= width
    assert reason and all(word in said.out for word in reason.split())


def test_a_run_folder_with_the_name_of_an_agent_is_suggested_as_a_path(
    pkubench: Command, here: Path
) -> None:
    shutil.copytree("far away/mine", "cfr+")
    for words in (["cfr+"], ["cfr+", KUHN]):
        said = pkubench("evaluate", *words)
        assert said.code == 2 and "the run folder of this name is spelled ./cfr+" in said.err
    assert pkubench("evaluate", "./cfr+", "--json").json["task"] == f"pkubench/{KUHN}"


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("far away/mine", "LeducPoker-v0"), ("far away/mine", f"pkubench/{KUHN}")),
        (("far away/mine", SPREAD), ("far away/mine", f"pkubench/{KUHN}")),
        (("psro", SPREAD), ("psro is for tasks of games", "one of marl")),
        (("onnx:empty", SPREAD), ("the folder empty has no team.json",)),
        (("team:make", SPREAD), ("no member for agent_1", "it has agent_0, somebody")),
    ],
)
def test_messages_name_what_is_there(
    pkubench: Command,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, str],
    parts: tuple[str, ...],
) -> None:
    monkeypatch.syspath_prepend(here)
    Path("empty").mkdir()
    Path("team.py").write_text(
        "from pkubench.agents.contract import Team\n"
        "class Still:\n"
        "    def begin(self, seeds): pass\n"
        "    def act(self, observation, state, active): return [0] * len(active), None\n"
        "def make(): return Team({'agent_0': Still(), 'somebody': Still()})\n"
    )
    said = pkubench("evaluate", *words, "--episodes", "1", "-q")
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert all(part in said.err for part in parts), said.err


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"episode": "a"}', "[" * 100_000])
def test_a_damaged_line_is_described_in_words(pkubench: Command, here: Path, line: str) -> None:
    Path(f"results/random/{SPREAD}/run/episodes.jsonl").write_text(f"{line}\n")
    said = pkubench("plot", "results/random", "--out", "figures")
    assert said.code == 2 and "is not an episode record (" in said.err
    assert "Error(" not in said.err and "object" not in said.err


def test_results_of_a_task_that_cannot_be_imported_do_not_hide_the_others(
    pkubench: Command, here: Path
) -> None:
    shutil.copytree(f"results/mine/{KUHN}", f"results/lost/{KUHN}")
    shutil.copytree(f"results/mine/{KUHN}", f"results/other/{KUHN}")
    _edit(f"results/lost/{KUHN}/run/run.json", task="gone_module:own/Maze-v0")
    _edit(f"results/other/{KUHN}/run/run.json", agent="other")
    Path(f"results/other/{KUHN}/report.json").unlink()
    verified = pkubench("verify", "results", "--json")
    rows = {row["agent"]: row for row in verified.json["checked"]}
    assert verified.code == 2 and verified.json["ok"] is False
    assert {agent: row["ok"] for agent, row in rows.items()} == {
        **{"lost": None, "mine": True, "random": True},
        "other": True,
    }
    assert "cannot be imported" in rows["lost"]["found"][0]
    for words in (("compare", "results"), ("plot", "results", "--out", "figures")):
        said = pkubench(*words)
        assert said.code == 0, said.err
        [note] = [line for line in said.err.splitlines() if line.startswith("note: ")]
        assert note.startswith(f"note: left out results/lost/{KUHN}: task 'own/Maze-v0'")
        alone = pkubench(words[0], "results/lost")
        assert alone.code == 2 and "gone_module" in alone.err
