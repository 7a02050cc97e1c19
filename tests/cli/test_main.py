"""The command as a whole: help, quick verbs, purity of stdout, and how errors are reported."""

from __future__ import annotations

import errno
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pkubench.agents.components import as_plain
from pkubench.agents.families.off_policy.presets import preset
from pkubench.cli import main as main_module
from pkubench.cli import progress as progress_module
from pkubench.cli.main import VERBS, main
from pkubench.cli.output import Column, Output, number
from pkubench.cli.progress import Meter
from pkubench.errors import StorageError, counted
from pkubench.tasks.registry import make_task, tasks
from tests.cli.conftest import Command


def test_help_lists_every_verb_and_imports_none(pkubench: Command) -> None:
    said = pkubench("--help")
    assert said.code == 0
    for verb in VERBS:
        assert verb in said.out
    program = (
        "import sys; from pkubench.cli.main import main; main(['--help']); "
        f"print([v for v in {list(VERBS)} if 'pkubench.cli.' + v in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(pkubench: Command, verb: str) -> None:
    said = pkubench(verb, "--help")
    assert said.code == 0
    assert f"pkubench {verb}" in said.out


def test_nothing_is_help(pkubench: Command) -> None:
    assert "Usage: pkubench" in pkubench().out


def test_list_has_the_schema_of_the_design(pkubench: Command) -> None:
    said = pkubench("list", "--json")
    assert (said.code, said.err) == (0, "")
    listing = said.json
    assert set(listing) == {"suites", "tasks", "agents"}
    assert listing["suites"] == [
        "marl",
        "constrained",
        "games",
        "diagnostics",
        "credit",
        "sequence",
        "retrieval",
        "alignment",
        "grasp",
    ]
    assert [task["id"] for task in listing["tasks"]] == [task.id for task in tasks()]
    kuhn = next(task for task in listing["tasks"] if task["id"] == "pkubench/KuhnPoker-v0")
    assert (kuhn["suite"], kuhn["metric"], kuhn["higher_is_better"]) == (
        "games",
        "exploitability",
        False,
    )
    happo = next(agent for agent in listing["agents"] if agent["name"] == "happo")
    assert happo["suites"] == ["marl", "diagnostics", "credit", "constrained", "alignment"]
    assert "HARL" in happo["paper"]


def test_list_of_a_suite_leaves_out_the_others(pkubench: Command) -> None:
    assert "cost limit" in pkubench("list", "--suite", "constrained").out
    said = pkubench("list", "--suite", "games")
    assert "cost limit" not in said.out
    assert "LeducPoker-v0" in said.out
    assert "psro" in said.out
    assert "SimpleSpread" not in said.out
    assert "happo" not in said.out


def test_quiet_silences_hints(pkubench: Command) -> None:
    assert "next:" in pkubench("list").err
    assert pkubench("list", "--quiet").err == ""


def test_show_has_protocol_metrics_notes_and_the_environments_page(pkubench: Command) -> None:
    out = pkubench("show", "SimpleSpread-v0").out
    for part in ("25 steps", "team return", "Before you compare", "agents share out N landmarks"):
        assert part in out
    assert "observation      Box(18) each" in out
    out = pkubench("show", "SimpleSpeakerListener-v0").out
    assert "observation      speaker_0: Box(3); listener_0: Box(11)" in out
    out = pkubench("show", "PointGoal1-v0").out
    assert "observation      Box(60)" in out
    assert "   >>> import gymnasium, pkubench\n" in out.replace(" \n", "\n"), "lines of code stay"
    card = pkubench("show", "pkubench/HopperVelocity-v0", "--json").json
    assert card["cost_limit"] == 25.0
    assert [metric["name"] for metric in card["metrics"]] == ["return", "cost"]


def test_show_tells_the_meaning_of_inherited_settings_too(pkubench: Command) -> None:
    said = pkubench("show", "psro-deep")
    assert "Decisions kept, the newest" in said.out
    assert "diversity.diversity_chance" in pkubench("show", "psd-psro").out


def test_show_has_an_agents_settings_with_their_meaning(pkubench: Command) -> None:
    out = pkubench("show", "happo").out
    assert "rollout_steps" in out
    assert "between updates." in out
    card = pkubench("show", "ppo-lag", "--json").json
    assert card["settings"]["constraint"] == "lagrangian"
    assert "Settings" in pkubench("show", "psro").out


def test_show_has_what_a_task_makes_of_an_agents_settings(pkubench: Command) -> None:
    assert "a task may change some: pkubench show hasac TASK" in pkubench("show", "hasac").out
    said = pkubench("show", "hasac", "MultiHopper3x1-v0")
    assert "on MultiHopper3x1-v0" in said.out
    assert "pkubench train hasac MultiHopper3x1-v0" in said.err
    settings = pkubench("show", "hasac", "MultiHopper3x1-v0", "--json").json["settings"]
    config = preset("hasac", make_task("MultiHopper3x1-v0"))
    assert settings == as_plain(config)
    assert settings != pkubench("show", "hasac", "--json").json["settings"]
    assert pkubench("show", "hasac", "KuhnPoker-v0").code == 2
    assert "Settings" in pkubench("show", "psro", "KuhnPoker-v0").out


def test_show_knows_every_spelling_of_an_agent(pkubench: Command) -> None:
    said = pkubench("show", "scripted:optimum", "Climbing-v0", "--json")
    assert said.json == {
        "name": "scripted:optimum",
        "kind": "scripted",
        "runs": ["run"],
        "files": {},
    }
    assert "depends on the task; name one" in pkubench("show", "scripted:optimum").err
    assert pkubench("show", "happo@2").out.startswith("happo\n")
    card = pkubench("show", "happo@2", "SimpleSpread-v0", "--json").json
    assert (card["name"], card["runs"]) == ("happo@2", ["seed2"])
    assert set(card["files"]) == {"config.json", "weights.safetensors"}
    assert "sha256" in pkubench("show", "happo@2", "SimpleSpread-v0").out
    assert "one task at a time" in pkubench("show", "KuhnPoker-v0", "LeducPoker-v0").err


def test_show_names_the_members_of_a_run_without_their_networks(pkubench: Command) -> None:
    Path("run").mkdir()
    members = {"agent_0": {"spec": {"inputs": 3}}, "agent_1": {"spec": {"inputs": 4}}}
    Path("run/config.json").write_text(json.dumps({"agent": "happo", "members": members}))
    assert "agent_0, agent_1\n" in pkubench("show", "run").out
    assert pkubench("show", "run", "--json").json["members"] == members


def test_show_reads_a_run_folder(pkubench: Command) -> None:
    Path("run").mkdir()
    Path("run/config.json").write_text('{"agent": "happo", "seed": 7}')
    assert pkubench("show", "run", "--json").json == {"agent": "happo", "seed": 7}
    Path("run/config.json").write_text("{")
    said = pkubench("show", "run")
    assert said.code == 2
    assert "config.json is not valid JSON: Expecting property name" in said.err


def test_doctor_finds_folders_and_extras(
    pkubench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pkubench.cli.doctor._can_draw", lambda backend: backend == "osmesa")
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    said = pkubench("doctor", "--json")
    assert said.code == 0
    found = {finding["name"]: finding for finding in said.json["findings"]}
    assert found["numpy"]["status"] == "ok"
    assert found["drawing"]["value"] == "MUJOCO_GL=osmesa"
    monkeypatch.setattr("pkubench.cli.doctor._is_writeable", lambda folder: False)
    said = pkubench("doctor")
    assert said.code == 1
    assert "cannot be written; choose another folder with --out" in said.out


def test_doctor_gives_the_pip_line_of_what_is_missing(
    pkubench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_mujoco(name: str) -> object:
        return None if name in ("mujoco", "torch", "minigrid", "ray") else object()

    monkeypatch.setattr("pkubench.cli.extras.find_spec", without_mujoco)
    said = pkubench("doctor")
    assert said.code == 0
    assert "mujoco: pip install 'pkubench[mujoco]'" in said.out
    assert "agents: pip install 'pkubench[agents]'" in said.out
    assert "minigrid: pip install 'pkubench[minigrid]'" in said.out
    # no advice to install what nothing uses yet
    assert "pip install 'pkubench[cluster]'" not in said.out
    assert "cluster: nothing in this release uses it; left out of pkubench[all]" in said.out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("lst",), "Did you mean 'list'"),
        (("list", "--jsn"), "see `pkubench list --help`"),
        (("list", "--suite", "game"), "did you mean 'games'"),
        (("show", "hapo"), "did you mean 'happo'"),
        (("show", "LeducPokr-v0"), "did you mean 'pkubench/LeducPoker-v0'"),
        (("show",), "TASK|AGENT"),
    ],
    ids=" ".join,
)
def test_misuse_is_one_line_and_exit_code_2(
    pkubench: Command, words: tuple[str, ...], part: str
) -> None:
    said = pkubench(*words)
    assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert part in said.err


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    # Tests of this process that registered toys would make the module below one of a plug-in.
    monkeypatch.setattr("pkubench.plugins._REGISTRANTS", {})

    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr("pkubench.cli.list.tasks", fail)
    main_module.importlib.import_module("pkubench.cli.list")


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (StorageError("cannot write x:\n disk full"), 2, "error: cannot write x: disk full"),
        (ModuleNotFoundError("no", name="mujoco.batch"), 2, "pip install 'pkubench[mujoco]'"),
        (OSError(errno.ENOSPC, "No space left on device", "out/x"), 2, "out/x: No space left"),
        (MemoryError("Unable to allocate 52.9 GiB"), 2, "not enough memory (Unable to allocate"),
        (RuntimeError("CPU: can't allocate memory"), 2, "reduce what needs it: batch_size"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 2, "--workers of an evaluation"),
        (ZeroDivisionError("division by zero"), 70, "unexpected ZeroDivisionError"),
        (KeyboardInterrupt(), 130, "stopped; to start again: pkubench list"),
    ],
    ids=["ours", "missing module", "full disk", "memory", "torch", "fork", "defect", "ctrl-c"],
)
def test_errors_are_one_line_with_the_right_code(
    pkubench: Command,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    part: str,
) -> None:
    fail_with(monkeypatch, error)
    said = pkubench("list")
    assert (said.code, said.out, len(said.err.splitlines())) == (code, "", 1)
    assert part in said.err
    said = pkubench("list", "--json")
    assert said.json == {"error": said.err.strip().removeprefix("error: "), "exit_code": code}


def test_a_misuse_is_a_json_document_too(pkubench: Command) -> None:
    said = pkubench("list", "--suite", "gamez", "--json")
    assert said.json["exit_code"] == said.code == 2
    assert "did you mean 'games'" in said.json["error"]
    assert pkubench("list", "--jsn", "--json").json["exit_code"] == 2


def test_debug_shows_where(pkubench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, ZeroDivisionError("division by zero"))
    assert "Traceback" in pkubench("list", "--debug").err
    monkeypatch.setenv("PKUBENCH_DEBUG", "1")
    assert "Traceback" in pkubench("list").err


def test_a_reader_that_goes_away_is_no_error() -> None:
    words = [sys.executable, "-m", "pkubench", "list", "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(timeout=30) == main_module.BROKEN_PIPE


def test_json_owns_stdout_even_against_c_libraries(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pkubench.cli.output import Output\n"
        "with Output(json=True) as output:\n"
        "    print('chatter'); os.write(1, b'from C'); output.document({'nan': float('nan')})\n"
        "print('after')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    document, _, after = done.stdout.rpartition("}")
    assert json.loads(document + "}") == {"nan": None}
    assert after.strip() == "after"
    assert "chatter" in done.stderr
    assert "from C" in done.stderr


def test_what_is_piped_is_as_wide_as_columns_says(
    pkubench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths = []
    for columns in ("", "120", "250"):
        monkeypatch.setenv("COLUMNS", columns)
        widths.append(Output().console.width)
    assert widths == [200, 120, 250]
    assert "pkubench list --suite marl" in pkubench("list").err
    assert "--suite" not in pkubench("list", "--suite", "games").err


def test_tables_drop_columns_rather_than_break_words(monkeypatch: pytest.MonkeyPatch) -> None:
    output = Output()
    columns = (Column("name"), Column("extra", rank=2), Column("score", right=True, rank=1))
    rows = [("a" * 20, "b" * 20, "1.5")]
    for width, kept in ((80, 3), (40, 2), (22, 1)):
        monkeypatch.setattr("pkubench.cli.output.PIPED_WIDTH", width)
        assert len(output.table("", columns, rows).columns) == kept


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (25.0, "25"),
        (-37.123456, "-37.12"),
        (12345.6, "12,346"),
        (1234567, "1,234,567"),
        (0.00012347, "0.0001235"),
        (-4e-17, "0"),
    ],
)
def test_numbers_are_written_for_people(value: float | None, text: str) -> None:
    assert number(value) == text


def test_without_a_terminal_progress_is_a_line_every_few_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0.0
    with Meter("work", unit="steps", clock=lambda: now) as meter:
        for done in range(1, 101):
            now = done * 0.1
            meter.update(done, 100, {"return": done / 2})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == round(10.0 / progress_module.SECONDS_BETWEEN_LINES)
    assert lines[-1] == "work  100 %  100/100 steps  return 50"
    with Meter("work", quiet=True) as meter:
        meter.update(1, 1)
    assert capsys.readouterr().err == ""


def test_the_module_is_the_command() -> None:
    assert main(["--version"]) == 0


@pytest.mark.usefixtures("in_process")
def test_hints_are_commands_that_a_shell_takes_as_they_are(pkubench: Command) -> None:
    """With a space, a quote and a dollar in every path that the user gave."""
    folder, site = "my 'best' $results", "a site"
    Path(folder).mkdir()
    task = ("RiskyCorridor-v0", "--episodes", "2")
    runs = "run s"
    commands = [
        ("evaluate", "random", *task),
        ("evaluate", "random", *task, "--out", folder),
        ("evaluate", "--agents", "random,scripted:optimum", *task, "--out", folder),
        ("compare", folder),
        ("verify", folder),
        ("train", "psro", "KuhnPoker-v0", "--steps", "3", "--seeds", "0-1", "--out", runs),
        ("leaderboard", "show", "--results", folder, "--weights", runs),
        ("leaderboard", "export", site, "--results", folder),
        ("show", runs),
        ("show", f"{runs}/seed0"),
        ("evaluate", runs, "--out", f"{folder}/two"),
        ("bundle", f"{folder}/two", runs, "--out", "my bundle.zip"),
        ("submit", "my bundle.zip", "--board", "my board.sqlite"),
        ("export", f"{runs}/seed0", "KuhnPoker-v0", "--population", "my population.npz"),
        ("show", "matrix:blotto(10,3)"),
    ]
    known = {folder, site, runs, f"{folder}/two", "my bundle.zip", "my board.sqlite"}
    known |= {f"{runs}/seed0", f"{folder}/site", "my population.npz", "matrix:blotto(10,3)"}
    found = set()
    for words in commands:
        said = pkubench(*words)
        assert said.code == 0, said.err
        hints = said.err[said.err.index("next: ") + 6 :].splitlines()
        for hint in hints:
            split = shlex.split(hint)
            assert split[0] in ("pkubench", "python"), hint
            odd = {word for word in split if " " in word or "(" in word}
            assert odd <= known, hint
            found |= odd
    assert found == known


def test_numbers_agree_with_their_nouns() -> None:
    written = [counted(n, "episode") for n in (0, 1, 2, "1", "1,000")]
    assert written == ["0 episodes", "1 episode", "2 episodes", "1 episode", "1,000 episodes"]


@pytest.mark.usefixtures("in_process")
def test_nothing_speaks_of_1_episodes(pkubench: Command) -> None:
    agents = ("--agents", "random,scripted:optimum")
    said = [
        pkubench("evaluate", *agents, "RiskyCorridor-v0", "--episodes", "1", "--out", "results"),
        pkubench("compare", "results"),
        pkubench("verify", "results", "--rerun", "1"),
        pkubench("leaderboard", "show", "--results", "results"),
        pkubench("train", "cfr+", "KuhnPoker-v0", "--steps", "1", "--out", "run"),
        pkubench("show", "run"),
        pkubench("list", "KuhnPoker"),
    ]
    for one in said:
        assert one.code == 0, one.err
        assert not re.search(r"\b1 [a-z]+s\b", one.out + one.err), one.out + one.err
