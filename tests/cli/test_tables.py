"""Tables of narrow terminals: nothing that a reader needs is lost, and no line is too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from pkubench import evaluate
from pkubench.cli.output import Column, Output
from pkubench.cli.results import reports_table
from pkubench.evaluation.report import Report
from tests.cli.conftest import Command

LONG = "onnx:runs/of-last-night/HalfCheetahVelocity-v0/policy.onnx"


def printed(
    capsys: pytest.CaptureFixture[str], columns: Sequence[Column], *rows: Sequence[str]
) -> str:
    output = Output()
    output.show(output.table("", columns, rows))
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    """One on a task with a cost limit, one on a task without, under long names."""
    limited = evaluate("random", "RiskyCorridor-v0", episodes=3, workers=0)
    free = evaluate("random", "Climbing-v0", episodes=3, workers=0)
    return [
        replace(limited, task="pkubench/MultiHalfCheetah2x3Velocity-v1", agent=LONG),
        replace(limited, task="pkubench/HalfCheetahVelocity-v0", agent="cppo-pid"),
        replace(free, task="pkubench/SimpleSpeakerListenerContinuous-v0", agent=LONG),
        replace(free, task="pkubench/SimpleSpread-v0", agent="happo"),
    ]


@pytest.mark.parametrize("width", [80, 60, 40])
@pytest.mark.parametrize("which", range(4), ids=["limit, long", "limit", "long", "short"])
def test_scores_keep_metric_mean_interval_and_n(
    reports: list[Report],
    which: int,
    width: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    output = Output()
    output.show(*reports_table(output, [reports[which]]))
    out = capsys.readouterr().out
    assert all(cell_len(line) <= width for line in out.splitlines())
    words = set(out.split())
    measured = reports[which].metrics["return"]
    wanted = {"metric", "return", "mean", "95", "interval", "n", "3", "episodes"}
    wanted |= {f"{value:.4g}" for value in (measured.mean, measured.low, measured.high)}
    if which < 2:
        violation = reports[which].constraint
        assert violation is not None
        wanted |= {"cost", "violation", f"{violation.violation.mean:.4g}"}
    assert wanted <= words, wanted - words
    flat = "".join(out.split())  # a name may be folded, but a part of it stays on its line
    for part in ("onnx:", "policy.") if reports[which].agent == LONG else (reports[which].agent,):
        assert part in flat


def test_normalised_goes_first_and_names_are_folded_before_anything_goes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = [Column("agent"), Column("n", right=True), Column("failed", right=True, rank=1)]
    columns.insert(2, Column("normalised", right=True, rank=3))
    row = ("a-rather-long-name-of-an-agent", "200 episodes", "0.5", "7")
    for width, normalised, failed, lines in [
        (67, True, True, 1),
        (66, True, True, 2),  # 30 + 12 + 10 + 6 and three gaps are 67
        (57, True, True, 2),
        (56, False, True, 1),  # without normalised the name has its room again
        (53, False, True, 2),
        (44, False, True, 2),
        (43, False, False, 2),
        (34, False, False, 2),
    ]:
        monkeypatch.setenv("COLUMNS", str(width))
        _, _, *body = printed(capsys, columns, row).splitlines()
        words = printed(capsys, columns, row).split()
        assert ("normalised" in words, "failed" in words, len(body)) == (normalised, failed, lines)
        assert "200 episodes" in body[0]


def test_where_no_table_fits_a_row_is_a_list_of_all_its_values(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    columns = [Column("task"), *(Column(name, right=True, rank=k) for k, name in enumerate("abc"))]
    columns += [Column("95 % interval", right=True), Column("n", right=True)]
    first = ("KuhnPoker-v0", "1.25", "2.5", "3.75", "1,234,567 to 7,654,321", "20,000 episodes")
    out = printed(capsys, columns, first, ("", *first[1:]))
    assert (
        out.splitlines()
        == [
            *(
                "KuhnPoker-v0",
                "  a 1.25   b 2.5   c 3.75",
                "  95 % interval 1,234,567 to",
                "7,654,321",
                "  n 20,000 episodes",
            )
        ]
        * 2
    )


def test_names_are_folded_between_their_parts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    for name, lines in [
        ("MultiHalfCheetah2x3Velocity-v1", ["MultiHalfCheetah2x3", "Velocity-v1"]),
        ("onnx:runs/night/policy.onnx", ["onnx:runs/night/", "policy.onnx"]),
        ("x" * 50, ["x" * 20, "x" * 20, "x" * 10]),
        ("囲" * 15, ["囲" * 10, "囲" * 5]),
    ]:
        assert printed(capsys, [Column("agent")], (name,)).splitlines()[2:] == lines


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("width", ["80", pytest.param("60", marks=pytest.mark.slow)])
def test_every_verb_keeps_what_its_table_is_for(
    pkubench: Command, monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    agents = "random,scripted:optimum"
    words = ("RiskyCorridor-v0", "SpeedLimit-v0", "--episodes", "3", "--out", "results")
    tables = {
        ("evaluate", "--agents", agents, *words): "metric mean interval n cost violation",
        ("compare", "results"): "difference interval n",
        ("leaderboard", "show", "--results", "results"): "rank return ↑ interval seeds cost",
        ("verify", "results"): "task agent found 3 episodes: report and lines agree",
        ("list", "--suite", "constrained"): "task metric agent",
        ("show", "RiskyCorridor-v0"): "metric interval meaning normalized agent score n",
        ("show", "happo"): "setting default",
    }
    for command, wanted in tables.items():
        said = pkubench(*command)
        assert said.code == 0, said.err
        assert set(wanted.split()) <= set(said.out.split()), (command, said.out)
        for line in said.out.splitlines():
            assert cell_len(line) <= int(width) or "┌" in line, line
    assert Path("results").is_dir()
