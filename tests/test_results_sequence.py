"""The page of sequence models: its rows, what they are asked for, and scores of several rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import offline_data
from benchmarks.results import (
    claims,
    records,
    running,
    sequence,
    sequence_page,
    sequence_plan,
    sequence_scores,
)
from benchmarks.results.records import Scored, target_of
from benchmarks.results.rows import Row, config_of
from benchmarks.results.sequence_plan import data_seconds, seconds
from pkubench.agents.components import as_plain
from pkubench.data.cards import cards
from pkubench.tasks.registry import claims as every_claim
from pkubench.tasks.registry import make_task

OWN = [row for row in sequence.ROWS if row.table == "sequence"]


def line(name: str, runs: list[dict[str, float]], **more: Any) -> Scored:
    names = runs[0]
    metrics: Any = {m: (sum(r[m] for r in runs) / len(runs), None, None, len(runs)) for m in names}
    return Scored(name, "-", "runs", metrics, runs, **more)


def returns(name: str, *values: float, metric: str = "return") -> Scored:
    return line(name, [{metric: value} for value in values])


def test_every_row_can_be_trained_and_is_one_row() -> None:
    keys = [(row.name, row.task) for row in sequence.ROWS]
    assert len(set(keys)) == len(keys)
    for row in OWN:
        assert config_of(row.agent, row.task, dict(row.changes)) is not None
        assert not row.changes or row.label
        assert row.ships == 0 and seconds(row) > 0
        if row.data:
            base = row.task.partition("+")[0]
            plan = next(p for p in offline_data.PLANS if p.task == base)
            assert plan.task.removesuffix("-v0") == row.data.split("/")[1]
        assert {"--data", row.data} <= set(row.flags()) or not row.data


def test_rows_are_those_of_the_issue() -> None:
    found = {(row.agent, row.task.partition("+")[0]): row for row in reversed(OWN)}
    for task in sequence_page.DIAGNOSTICS[:4]:
        for agent in ("dt", "bc", "bc-10", "iql", "cql", "odt"):
            assert (agent, task) in found
        assert (("tt", task) in found) == (task != "KeyToDoor-v0")
        assert (found["dt", task].seeds, found["dt", task].steps) == (5, 10_000)
    for task in (*sequence_page.TMAZES, "KeyToDoor-v0"):
        names = [row.name for row in OWN if row.task == task and row.agent.endswith("-ppo")]
        assert names == ["memoryless", "gru", "gtrxl"]
    for task in sequence_page.PARTICLES:
        rows = {row.name: row for row in sequence.ROWS if row.task == task}
        assert set(rows) == {"mat", "mat-dec", "sable", "happo", "mappo"}
        assert {row.steps for row in rows.values()} == {1_000_000}
    late = [row for row in OWN if row.task == "HopperVelocity-v0+delay=episode"]
    assert {(row.name, row.data) for row in late} == {
        (f"{agent}-medium", "pkubench/HopperVelocity/medium-v0") for agent in ("dt", "iql", "cql")
    }
    assert {row.name for row in OWN if row.task == "KeyToDoorLong-v0"} >= {"dt", "bc-10", "cql"}
    planned = OWN[: 1 + max(k for k, row in enumerate(OWN) if row.task == sequence_page.ROBOTS[1])]
    making = sum(sequence_plan._MAKING.values())
    assert sum(map(seconds, planned)) + making < 16 * 3600  # the issue's eight hours of two cores
    assert sum(map(seconds, OWN)) + making < 19.5 * 3600


def test_the_robots_data_are_priced_until_they_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(sequence.ROOT_VARIABLE, str(tmp_path))
    hopper = [row for row in OWN if row.data == "pkubench/HopperVelocity/medium-v0"]
    assert data_seconds(hopper) == 2_000.0
    assert data_seconds(OWN) == 5_000.0
    (tmp_path / "pkubench/HopperVelocity/medium-v0/data").mkdir(parents=True)
    assert data_seconds(hopper) == 0.0


def test_memory_rows_differ_in_their_memory_alone() -> None:
    for task in (*sequence_page.TMAZES, *sequence_page.LONG, "KeyToDoor-v0"):
        plain = []
        for row in OWN:
            if row.task == task and row.agent.endswith("-ppo"):
                of = as_plain(config_of(row.agent, row.task, dict(row.changes)))
                plain.append({k: v for k, v in of.items() if not k.startswith("memory")})
        assert len(plain) == 3 and plain[0] == plain[1] == plain[2]


def test_a_run_on_other_data_is_not_of_the_row() -> None:
    row = next(row for row in OWN if row.name == "dt-medium")
    command = f"pkubench train dt {row.task} --steps {row.steps} --seed 0 {' '.join(row.flags())}"
    assert row.is_made_by({"command": command}, row.steps)
    assert not row.is_made_by({"command": command.replace("medium", "mixed")}, row.steps)
    assert row.num_episodes == make_task(row.task).protocol.episodes
    assert next(r for r in OWN if r.name == "tt-medium").num_episodes == 10


def test_targets_are_shares_of_the_way_between_the_data_s_returns() -> None:
    assert (target_of("0%", -10.0, 5.0), target_of("100%", -10.0, 5.0)) == (-10.0, 5.0)
    assert target_of("20%", -10.0, 5.0) == pytest.approx(-7.0)
    assert target_of("0.2", 0.0, 1.0) == 0.2


def test_a_record_has_what_was_asked_and_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = next(row for row in OWN if (row.agent, row.task) == ("dt", "LuckyArm-v0"))
    config = {
        "command": f"pkubench train dt LuckyArm-v0 --steps {row.steps} --data {row.data} ",
        "inputs": {"data": "abc"},
        "policy": {"returns": [0.0, 10.0]},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "weights.safetensors").write_bytes(b"")
    asked = []

    class Report:
        def to_json(self) -> dict[str, Any]:
            return {"episodes": 200, "metrics": {"expected_return": {"mean": len(asked)}}}

    def evaluate(agent: str, task: str, episodes: int | None = None) -> Report:
        asked.append((agent.removeprefix(str(tmp_path)), episodes))
        return Report()

    monkeypatch.setattr(records, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(records.pkubench, "evaluate", evaluate)
    found = records.write(row, 0, row.steps, tmp_path)
    assert found["data"] == {"id": row.data, "sha256": "abc"}
    assert [each["target"] for each in found["asked"]] == [0.0, 1.0, 10.0]
    assert [name for name, _ in asked] == ["", *(f"+target_return={t}" for t in (0, 1, 10))]
    assert records.read(row, 0, row.steps) == found


def asked(*got: float) -> list[dict[str, Any]]:
    return [
        {"target": target, "metrics": {"expected_return": {"mean": mean}}}
        for target, mean in zip((0.0, 1.0, 10.0), got, strict=True)
    ]


def test_what_is_got_is_averaged_over_runs() -> None:
    dt = replace(returns("dt", 0.5, 0.5, metric="expected_return"), asked=[
        asked(0.7, 1.0, 0.5),
        asked(0.5, 1.0, 0.5),
    ])  # fmt: skip
    curve = sequence_scores.asked_of("LuckyArm-v0", dt)
    assert [(p.target, round(p.mean, 9)) for p in curve] == [(0.0, 0.6), (1.0, 1.0), (10.0, 0.5)]
    # Student's t of two runs: 0.6 +- 12.706 * 0.1
    assert curve[0].high == pytest.approx(0.6 + 1.2706, abs=1e-4)
    rank, error = sequence_scores.calibration_text("LuckyArm-v0", dt)
    # ranks 2 3 1 and 1.5 3 1.5 against 1 2 3: -0.5 and 0; errors 10.2 / 3 and 10 / 3
    assert float(rank) == -0.25 and float(error) == pytest.approx((10.2 + 10.0) / 6, abs=0.01)
    text = "".join(sequence_page._asked_table("LuckyArm-v0", {"dt": dt}))
    assert "| got when asked for | 0 | 1 | 10 | rank correlation | error |" in text


def test_the_margin_is_over_the_better_imitator() -> None:
    table = {
        "KeyToDoor-v0": {
            "bc": returns("bc", 0.1, 0.2),
            "bc-10": returns("bc-10", 0.5, 0.7),
            "dt": returns("dt", 0.9, 0.9),
        },
        "HopperVelocity-v0": {
            "bc-medium": returns("bc-medium", 900.0),
            "dt-medium": returns("dt-medium", 1000.0),
            "dt-mixed": returns("dt-mixed", 1.0),
        },
    }
    first, second = sequence_scores.margins(table)
    assert first[:3] == ("KeyToDoor-v0", "dt", "bc-10") and first[3].startswith("0.3 [")
    assert second == ("HopperVelocity-v0", "dt-medium", "bc-medium", "100")


def table() -> dict[str, dict[str, Scored]]:
    """One agent that stitches half the way, and one that earns the optimum everywhere."""
    found: dict[str, dict[str, Scored]] = {}
    for task, poor in (
        ("Stitching-v0", 0.6),
        ("LuckyArm-v0", 0.5),
        ("KeyToDoor-v0", 0.25),
        ("GraphPath-v0", -10.0),
        ("GraphPath-v0+delay=episode", -10.0),
    ):
        metric, best = make_task(task).ranking.name, make_task(task).references["reference"].score
        found[task] = {
            "random": returns("random", 0.0, metric=metric),
            "poor": returns("poor", poor, metric=metric),
            "perfect": returns("perfect", best, metric=metric),
        }
    return found


def test_abilities_of_agents_that_learn_from_data() -> None:
    found = sequence_scores.abilities_of(table(), sequence_scores.LEARNED_FROM_DATA)
    assert set(found) == {"poor", "perfect"}
    assert list(found["perfect"].values()) == [1.0] * 5
    assert list(found["poor"].values()) == pytest.approx([0.5, 0.0, 0.25, 0.0, 0.0])
    few = [row for row in OWN if row.data.endswith("random-1k-v0")]
    assert {row.name for row in few} == {"dt-1k", "bc-1k", "bc-10-1k", "cql-1k"}
    kept = sequence_scores.kept(table(), "GraphPath-v0", "GraphPath-v0+delay=episode")
    assert [(name, part) for name, _, _, part in kept] == [("poor", None), ("perfect", 1.0)]
    assert sequence_scores.abilities_of({}, sequence_scores.LEARNED_FROM_DATA) == {}


def test_the_page_has_a_section_for_each_kind_of_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    known = table()
    for lines in known.values():
        lines["scripted:optimum"] = lines["perfect"]
    known["GraphPath-v0"]["dt"] = returns("dt", -2.0, -2.2)
    known["GraphPath-v0"]["dt-k1"] = returns("dt-k1", -3.0, -3.2)
    robot = {"return": 900.0, "cost": 3.0}
    targets = [
        {"target": t, "metrics": {"return": {"mean": got}}}
        for t, got in ((100.0, 150.0), (200.0, 180.0))
    ]
    known["HopperVelocity-v0+delay=episode"] = {
        "random": line("random", [{"return": 18.0, "cost": 0.0}]),
        "dt-medium": line("dt-medium", [robot, robot]),
    }
    known["HopperVelocity-v0"] = {
        "random": line("random", [{"return": 18.0, "cost": 0.0}]),
        "bc-medium": line("bc-medium", [robot, robot]),
        "dt-medium": line("dt-medium", [robot, robot], asked=[targets, targets]),
    }
    for found in known.values():  # as of runs, with bounds
        for name, of in found.items():
            bounds = {m: (v[0], v[0], v[0], v[3]) for m, v in of.metrics.items()}
            found[name] = replace(of, metrics=bounds)
    monkeypatch.setattr(sequence_page, "table_of", lambda rows, scale, anchors: known)
    monkeypatch.setattr(sequence_page, "page_path", lambda name, scale: tmp_path / "sequence.md")
    page = sequence_page.page_of((), 1.0)
    assert "### LuckyArm-v0\n" in page and "Exactly: random 0.7493, lucky 0.5, reference 1" in page
    assert "| perfect | 100 | 100 | 100 | 100 | 100 |" in page
    assert "| GraphPath-v0 | -2.1 [-2.1, -2.1] | -3.1 [-3.1, -3.1] |" in page
    assert "| HopperVelocity-v0 | dt-medium | 900 [900, 900] | 900 [900, 900] | - |" in page
    assert "| GraphPath-v0 | perfect |" in page and "### HopperVelocity-v0+delay" not in page
    assert "### HopperVelocity-v0, medium data" in page and "mixed data" not in page
    assert "| dt-medium | 150 [150, 150] | 180 [180, 180] | 1.00 | 35 |" in page
    assert "| HopperVelocity-v0 | dt-medium | bc-medium | 0" in page
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert drawn == {"sequence-abilities-data.svg", "sequence-HopperVelocity-v0.svg"}


def test_abilities_of_agents_with_a_memory() -> None:
    tasks = {"": (1.0, 0.5), "+corridor=30": (1.0, 0.5), "+corridor=100": (0.5, 0.5)}
    mazes = {
        f"TMazePassive-v0{end}": {
            "gru": returns("gru", scores[0]),
            "memoryless": returns("memoryless", scores[1]),
        }
        for end, scores in tasks.items()
    }
    for other in ("TMazeActive-v0", "KeyToDoor-v0"):
        mazes[other] = {"gru": returns("gru", 0.5), "memoryless": returns("memoryless", 0.0)}
    assert sequence_scores.corridors(mazes)["gru"] == {10: 1.0, 30: 1.0, 100: 0.5}
    found = sequence_scores.abilities_of(mazes, sequence_scores.WITH_MEMORY)
    # 31 of 101 on the logarithmic scale
    assert list(found["gru"].values()) == pytest.approx([1.0, 0.0, 0.5, 0.744], abs=1e-3)
    assert list(found["memoryless"].values()) == [0.0, 0.0, 0.0, 0.0]
    assert "| gru | 1 | 1 | 0.5 | 30 |" in "".join(sequence_page._lengths(mazes))


def test_claims_are_spelled_as_the_rows_are() -> None:
    wanted = {
        (name, task)
        for suite, claim in every_claim().values()
        if suite == "sequence"
        for pair in claim.pairs
        for task in pair.tasks
        for name in (pair.better, pair.other)
    }
    made = set()
    for row in sequence.ROWS:
        if row.data and row.data not in cards():  # of robots, once they are made
            monkey = row.data.rpartition("/")[2].removesuffix("-v0")
            spelled = claims.spelling(row.agent, (*row.changes, ("data", monkey)))
        else:
            task = make_task(row.task)
            report = {"metrics": {task.ranking.name: {"mean": 1.0}}}
            sample = claims._of_row(row, [{"seed": 0, "report": report}])
            assert (sample.unit == "recorded steps") == bool(row.data)
            spelled = sample.agent
        made.add((spelled, make_task(row.task).id))
    assert wanted <= made, sorted(wanted - made)


def test_a_plan_counts_the_runs_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (Row("bc", "Stitching-v0", 10, 4, label="x"), Row("bc", "LuckyArm-v0", 10, 2))
    monkeypatch.setattr(
        running.records, "read", lambda row, seed, budget: {} if row.label and seed else None
    )
    text = "".join(running.plan_of(rows, lambda row: 40.0))
    assert "| x | Stitching-v0 | 10 | 1 of 4 | 10 | 10 |\n" in text
    assert "| bc | LuckyArm-v0 | 10 | 2 of 2 | 40 | 50 |\n" in text


def test_data_of_a_trial_are_kept_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = tuple(row for row in OWN if row.agent == "bc")
    words: list[list[str]] = []
    monkeypatch.setattr(offline_data, "main", lambda given: words.append(given) or 0)
    monkeypatch.setenv(sequence.ROOT_VARIABLE, "before")
    sequence.make_data(rows, 1.0)
    assert words[0] == list(dict.fromkeys(row.task for row in rows))
    sequence.make_data(rows[:1], 0.5)
    assert words[1][:4] == [rows[0].task, "--scale", "0.5", "--out"]
    monkeypatch.setattr(offline_data, "main", lambda given: 1)
    with pytest.raises(SystemExit, match="differ from their cards"):
        sequence.make_data(rows, 1.0)
    sequence.make_data((), 1.0)
