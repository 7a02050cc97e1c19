"""Any encoding of the terminal: every verb prints, and ``--json`` stays JSON."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pkubench.cli.main import VERBS, main
from pkubench.cli.output import print_anything

ROOT = Path(__file__).parents[2]
GAME, LIMITED, DELAYED = "KuhnPoker-v0", "RiskyCorridor-v0", "AliceAndBob-v0"
STORY = [
    ["list"],
    ["list", "--all"],
    ["show", GAME],
    ["show", "psro"],
    ["doctor"],
    ["check", "Climbing-v0"],
    ["train", "cfr+", GAME, "--steps", "3", "--out", "runs/mine"],
    ["show", "runs/mine"],
    ["evaluate", "--agents", "random,scripted:optimum", LIMITED, "--quick", "--out", "results"],
    ["evaluate", "runs/mine", "--out", "results"],
    ["compare", "results"],
    ["rate", "random", "runs/mine", "--task", GAME],
    ["claims", "--paper", "HASAC"],
    ["plot", "results"],
    ["watch", "runs/mine", GAME, "--episodes", "1", "--out", "film.gif"],
    ["reproduce", "runs/mine"],
    ["train", "uniform", DELAYED, "--steps", "160", "--set", "num_envs=4", "--out", "runs/credit"],
    ["credit", "runs/credit", "--policies", "own", "--episodes", "1"],
    ["evaluate", "scripted:always-A", "SVOSlider-v0", "--quick", "--out", "sheets"],
    ["values", "sheets"],
    ["verify", "results", "--rerun", "16"],
    ["export", "runs/mine", GAME, "--population", "mine.npz"],
    ["bundle", "results/mine", "runs/mine", "--name", "Kühn–Łąka", "--out", "mine.zip"],
    ["submit", "mine.zip", "--board", "board.sqlite"],
    ["leaderboard", "show", "--board", "board.sqlite"],
    ["leaderboard", "export", "site", "--board", "board.sqlite"],
]
"""Every verb, each with what the ones before it left."""


def said(monkeypatch: pytest.MonkeyPatch, encoding: str, *words: str) -> tuple[int, bytes, bytes]:
    """Run a command in this process with streams of an encoding that refuse what it lacks."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding, errors="strict") for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        code = main(list(words))
        out, err = (stream.detach().getvalue() for stream in streams)  # type: ignore[attr-defined]
    return code, out, err


def test_help_of_every_verb_is_ascii_where_the_terminal_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for verb in VERBS:
        code, out, _ = said(monkeypatch, "ascii", verb, "--help")
        assert code == 0 and f"pkubench {verb}".encode() in out


def test_the_story_has_every_verb() -> None:
    assert {words[0] for words in STORY} == set(VERBS)


@pytest.mark.slow
def test_every_verb_prints_in_ascii(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in STORY:
        if words[0] in ("doctor", "plot"):  # seconds; the slow test has them
            continue
        code, out, err = said(monkeypatch, "ascii", *words)
        assert code == 0, (words, err)
        assert (out + err).isascii() and out


def test_what_an_encoding_has_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    out = said(monkeypatch, "utf-8", "list", "--suite", "games")[1].decode()
    assert "─" in out and "↓" in out
    stream = io.TextIOWrapper(io.BytesIO(), "latin-1", errors="strict")
    print_anything(stream)
    stream.write("Kühn × 3 – ↑ é Łąka 囲 \udcff")
    stream.flush()
    assert stream.buffer.getvalue() == b"K\xfchn \xd7 3 - ^ \xe9 ?aka ? \xff"  # type: ignore[attr-defined]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_is_json_in_any_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    (tmp_path / "Kühn囲").mkdir()
    (tmp_path / "Kühn囲" / "config.json").write_text('{"agent": "Łąka"}', encoding="utf-8")
    code, out, _ = said(monkeypatch, encoding, "show", str(tmp_path / "Kühn囲"), "--json")
    assert (code, json.loads(out.decode(encoding))) == (0, {"agent": "Łąka"})
    code, out, err = said(monkeypatch, encoding, "show", "囲", "--json")
    assert (code, json.loads(out)["exit_code"]) == (2, 2) and err


SETTINGS = [
    {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]


def run(settings: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "pkubench", *words]
    environment = {**os.environ, "PYTHONPATH": paths, **settings}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)


def test_a_shell_of_another_encoding_reads_the_table(tmp_path: Path) -> None:
    done = run(SETTINGS[1], tmp_path, "evaluate", "random", LIMITED, "--episodes", "2")
    assert done.returncode == 0, done.stderr
    assert LIMITED.encode() in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [*SETTINGS, {"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "utf-16"}]
)
def test_every_verb_runs_in_a_shell_of_another_encoding(
    settings: dict[str, str], tmp_path: Path
) -> None:
    for words in STORY:
        done = run(settings, tmp_path, *words)
        assert done.returncode == 0 and done.stdout, (words, done.stderr)
        assert b"Traceback" not in done.stderr
    assert "Kühn–Łąka" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    done = run({**settings, "PYTHONIOENCODING": "ascii"}, tmp_path, "show", "Kühn")
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1
