"""Published pages say what the runs' records say, and the records are of the shipped weights."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from benchmarks.results import (
    anchors,
    foundation,
    foundation_page,
    marl,
    marl_page,
    records,
    safety,
    safety_page,
)
from benchmarks.results.kept import is_withheld
from benchmarks.results.page import markdown, not_learned
from benchmarks.results.rows import ROOT, Row, runs_of, settings_of
from benchmarks.results.running import is_interrupted
from pkubench.envs.core.registry import superseded
from pkubench.evaluation.metrics import Aggregate, constraint
from pkubench.evaluation.statistics import mean_interval
from pkubench.tasks.registry import make_task
from pkubench.training.request import request
from pkubench.training.validation import Validation

TABLES = {"foundation": foundation.ROWS, "marl": marl.ROWS, "safety": safety.ROWS}
PAGES = {"foundation": foundation_page, "marl": marl_page, "safety": safety_page}
BEST = Validation(points=20, episodes=8, window=10, keep="best", sampled=True)
"""What ``Row.flags`` asks for."""
RECORDED = [
    pytest.param(row, seed, id=f"{row.table}/{row.name}/{row.task}/{seed}")
    for row, seed in {run: None for rows in TABLES.values() for run in runs_of(rows)}
    if records.path_of(row, seed, row.steps).exists()
]


@pytest.mark.parametrize(("row", "seed"), RECORDED)
def test_a_record_is_of_the_row_it_stands_in(row: Row, seed: int) -> None:
    record = json.loads(records.path_of(row, seed, row.steps).read_text())
    assert (record["row"], record["agent"], record["seed"]) == (row.name, row.agent, seed)
    # What was evaluated in float32 may be of the version before.
    before = {new: old for old, new in superseded().items()}.get(f"pkubench/{row.task}", "")
    is_older = records.acted_in(record) == "float32"
    assert record["task"] == row.task or (is_older and before == f"pkubench/{record['task']}")
    assert record["budget"] == row.steps
    assert records.read(row, seed, row.steps) == record  # of the settings the preset has now
    alone = f"--steps {row.steps} --seed {seed}" in record["command"]
    together = re.search(r" --seeds ([0-9,]+) --(?:together|batch-seeds)", record["command"])
    assert alone or (together is not None and str(seed) in together[1].split(","))
    assert alone or seed >= row.ships
    report = record["report"]
    assert report["failed"] == 0
    assert report["episodes"] == make_task(row.task).protocol.episodes
    assert report["runs"][0]["hashes"]["weights.safetensors"] == record["weights"]


@pytest.mark.parametrize(("row", "seed"), RECORDED)
def test_shipped_weights_and_scores_are_the_recorded_ones(row: Row, seed: int) -> None:
    shipped = row.shipped(seed)
    if seed >= row.ships:
        return
    record = json.loads(records.path_of(row, seed, row.steps).read_text())
    if not shipped.exists():  # only a run that lost its policy again has no weights here
        assert is_withheld(record, make_task(row.task))
        return
    weights = (shipped / "weights.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == record["weights"]
    score = json.loads((shipped / "score.json").read_text())
    assert score["mean"] == record["report"]["metrics"][score["metric"]]["mean"]


def test_a_row_of_float32_is_marked_and_one_whose_weights_ship_is_not() -> None:
    row = next(row for row in marl.ROWS if row.name == "happo" and row.seeds > row.ships > 0)
    line = records.scored_row(row, row.steps)
    assert line is not None and line.in_float32 == row.seeds - row.ships
    page = "".join(markdown(row.task, {"happo": line}, {}, ""))
    assert f"{row.seeds} runs ° |" in page and f"° {line.in_float32} runs of the rows" in page
    whole = replace(line, in_float32=0)
    assert "°" not in "".join(markdown(row.task, {"happo": whole}, {}, ""))


def test_rows_that_a_lazy_policy_equals_are_named_and_no_others() -> None:
    def line(name: str, mean: float, low: float | None, high: float | None) -> records.Scored:
        return records.Scored(name, "-", "runs", {"return": (mean, low, high, 3)}, [])

    lines = {
        "random": line("random", -50.0, -60.0, -40.0),
        "scripted:no-op": line("scripted:no-op", 995.0, 990.0, 1000.0),
        "still": line("still", 1010.0, 999.0, 1021.0),
        "worse": line("worse", 500.0, 400.0, 600.0),
        "walks": line("walks", 1500.0, 1400.0, 1600.0),
    }
    assert anchors.not_above_floor("MultiAnt4x2-v1", lines) == ["still", "worse"]
    (title, named, end) = not_learned({"MultiAnt4x2-v1": lines})
    assert title.startswith("**Not better than a lazy policy.**") and end == "\n"
    assert named == "- MultiAnt4x2-v1: still, worse (scripted:no-op scores 995)\n"
    del lines["still"], lines["worse"]
    assert list(not_learned({"MultiAnt4x2-v1": lines})) == []
    assert anchors.floor_of("MultiAnt4x2-v1", lines) == "scripted:no-op"
    del lines["scripted:no-op"]
    assert anchors.floor_of("MultiAnt4x2-v1", lines) == "random"


@pytest.mark.parametrize("has_cost", [False, True])
def test_a_finished_run_leaves_a_record_with_and_without_costs(
    has_cost: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = next(row for row in marl.ROWS if row.keep == "best")
    config: dict[str, Any] = {
        "command": f"pkubench train {row.agent} {row.task} --steps {row.steps} --seed 0",
        "validation": {"points": [{"at": 1, "return": 3.0}], "sampled_points": []},
    }
    line = {"steps": row.steps, "return": 2.0}
    if has_cost:
        config["training_cost"], line["cost"] = {"mean_cost": 9.0}, 7.0
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "training.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "weights.safetensors").write_bytes(b"")
    monkeypatch.setattr(records, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(records, "_evaluated", lambda row, run: {"report": {}})
    found = records.write(row, 0, row.steps, tmp_path)
    assert json.loads(records.path_of(row, 0, row.steps).read_text()) == found
    assert found["validation"] == {"mode": 3.0, "best": 3.0}
    assert found.get("training_cost_at_the_end") == (7.0 if has_cost else None)
    assert ("training_cost" in found) == has_cost


def test_many_episodes_decide_which_runs_are_within_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = next(r for r in safety.ROWS if r.name == "cpo" and r.task == "CarGoal1-v0")
    read = records.read

    def more(row: Row, seed: int, budget: int) -> dict[str, Any] | None:
        found = read(row, seed, budget)
        assert found is not None
        many = {"episodes": 256, "metrics": {"cost": {"mean": (24.0, 30.0, 20.0)[seed]}}}
        sampled = {"metrics": {name: {"mean": 10.0 * seed} for name in ("return", "cost")}}
        return {**found, "many": many, "sampled": sampled, "training_cost_at_the_end": 1.0 + seed}

    before = records.scored_row(row, row.steps)
    monkeypatch.setattr(records, "read", more)
    line = records.scored_row(row, row.steps)
    assert before is not None and line is not None
    assert before.feasible_runs().startswith("0 of 3")
    assert line.feasible_runs().startswith("2 of 3")
    assert line.violation() == before.violation()  # of the protocol's episodes
    assert line.sampled_text("cost").startswith("10 [") and line.cost_at_the_end().startswith("2 [")
    page = "".join(markdown(row.task, {"cpo": line}, {}, ""))
    assert "| sampled: return [95 %] | sampled: cost [95 %] | cost at the end of training |" in page
    listed = "".join(safety_page.claims({row.task: {"cpo": line}}))
    assert "- cpo: 2 of 3 runs.\n" in listed  # as in the table


def test_lower_is_better_in_games_when_rows_are_held_against_random_play() -> None:
    def line(name: str, low: float, high: float) -> records.Scored:
        metrics = {"exploitability": ((low + high) / 2.0, low, high, 3)}
        return records.Scored(name, "-", "runs", metrics, [])

    lines = {
        "random": line("random", 0.45, 0.46),
        "solves": line("solves", 0.0, 0.01),
        "plays on": line("plays on", 0.40, 0.45),
    }
    assert anchors.not_above_floor("KuhnPoker-v0", lines) == ["plays on"]


def test_a_bar_inside_an_interval_is_said_to_be_there() -> None:
    def line(low: float, high: float) -> records.Scored:
        metrics = {"return": ((low + high) / 2.0, low, high, 5)}
        return records.Scored("happo", "-", "runs", metrics, [])

    against = foundation_page._against
    assert against(-38.0, line(-42.0, -30.0)) == (
        "meets the bar of -38 on average, with the bar inside its interval,"
    )
    assert against(-38.0, line(-37.0, -30.0)) == "meets the bar of -38"
    assert against(-38.0, line(-50.0, -40.0)) == "misses the bar of -38"


def test_curves_are_shown_of_the_runs_that_the_rows_are_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row for row in marl.ROWS if row.task.startswith("Multi")]
    shown = "".join(marl_page._progress(tuple(rows)))
    recorded = {
        row.name
        for row in rows
        if (record := records.read(row, 0, row.steps)) is not None
        and record["weights"] == records.sha256_of(row.shipped(0) / "weights.safetensors")
    }
    assert set(re.findall(r"\| Multi\S+ \| (\S+) \|", shown)) == recorded
    # another row of the agent, with a longer budget, has not that run
    (longer,) = (r for r in rows if r.name == "happo-5m" and r.task.startswith("MultiHalf"))
    assert list(marl_page._progress((longer,))) == []


def test_a_row_that_keeps_the_best_is_another_than_one_that_keeps_the_last() -> None:
    row = next(row for row in marl.ROWS if row.name == "hasac")
    best = replace(row, keep="best")
    command = f"pkubench train hasac {row.task} --steps {row.steps} --seed 0"
    kept = f"{command} {' '.join(best.flags())}"
    assert [
        r.is_made_by({"command": c}, r.steps) for r in (row, best) for c in (command, kept)
    ] == [
        True,
        False,
        False,
        True,
    ]
    made = request("hasac", make_task(row.task), {}, steps=row.steps, seeds=[0], validation=BEST)
    assert best.is_made_by({"command": made.command()}, row.steps)
    assert " ".join(best.flags()) in made.command()


def test_a_line_shows_the_means_of_the_last_ten_validations() -> None:
    points = [{"at": k, "return": float(k)} for k in range(1, 21)]
    sampled = [{"at": k, "return": -float(k)} for k in range(1, 21)]
    found = records.validated({"points": points, "sampled_points": sampled})
    assert found == {"mode": 15.5, "sampled": -15.5, "best": 20.0}
    failed = [*points[:-1], {"at": 20, "failure": "diverged"}]
    assert records.validated({"points": failed}) == {"best": 19.0}
    line = records.Scored("a", "-", "runs", {"return": (1.0, 0.0, 2.0, 2)}, [{"return": 1.0}] * 2)
    line = replace(line, validated=[found, {"mode": 16.5, "best": 17.0}])
    page = "".join(markdown("MultiAnt4x2-v1", {"random": line, "a": line}, {}, ""))
    assert "last ten validations" in page and "| 16, -15.5 |" in page


def pages() -> dict[str, Path]:
    return {name: ROOT / "docs/results" / f"{name}.md" for name in TABLES}


@pytest.mark.parametrize("name", [name for name, page in pages().items() if page.exists()])
def test_a_page_holds_every_finished_row_and_no_other(name: str) -> None:
    sections = pages()[name].read_text().split("\n### ")
    shown = {}
    for section in sections[1:]:
        task, *lines = section.splitlines()
        shown[task] = {
            line.split(" | ")[0].removeprefix("| "): line for line in lines if "|" in line
        }
    wanted: dict[str, set[str]] = {}
    for row in TABLES[name]:
        found = records.scored_row(row, row.steps)
        if found is not None:
            metric = make_task(row.task).ranking.name
            assert found.text(metric) in shown[row.task][row.name]
            assert f" {found.metrics[metric][-1]} {found.sample} " in shown[row.task][row.name]
            wanted.setdefault(row.task, set()).add(row.name)
    for task, rows in wanted.items():
        others = {n for n in shown[task] if anchors.is_trained(n) and not n.startswith("|--")}
        assert others - {"agent"} == rows


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, page in pages().items() if page.exists()])
def test_a_page_is_what_its_records_give(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last word, and to a figure's last digit, which another processor may round apart."""
    module = PAGES[name]
    monkeypatch.setattr(module, "page_path", lambda *_: tmp_path / f"{name}.md")
    number = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?")
    made, kept = module.page_of(TABLES[name], 1.0), pages()[name].read_text()
    assert number.sub("#", made) == number.sub("#", kept)
    for found, wanted in zip(number.findall(made), number.findall(kept), strict=True):
        apart = abs(float(found.replace(",", "")) - float(wanted.replace(",", "")))
        assert apart <= 1.01 * max(last_digit(found), last_digit(wanted)), (found, wanted)
    figures = set(re.findall(r"\(figures/(.*?\.svg)\)", made))
    assert figures
    for figure in figures:
        drawn, shown = (
            re.findall("<!-- (.*) -->", (page.parent / "figures" / figure).read_text())
            for page in (tmp_path / name, pages()[name])
        )
        assert number.sub("#", " ".join(drawn)) == number.sub("#", " ".join(shown)), figure


def last_digit(number: str) -> float:
    """Return what one in the last digit is worth: 0.01 of 3.14, 1e-05 of 1.4e-04."""
    mantissa, _, exponent = number.partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def test_the_foundation_is_whole() -> None:
    missing = [
        f"{row.name} {row.task} {seed}"
        for row, seed in runs_of(foundation.ROWS)
        if not records.path_of(row, seed, row.steps).exists()
    ]
    assert not missing


def _line(task: str, earned: float, cost: float) -> records.Scored:
    return records.Scored("x", "-", "runs", {}, [{"return": earned, "cost": cost}])


@pytest.mark.parametrize(
    ("task", "earned", "cost", "is_possible"),
    [
        ("HalfCheetahVelocity-v0", 3209.0, 0.0, True),
        ("HalfCheetahVelocity-v0", 3210.0, 0.0, False),
        ("HalfCheetahVelocity-v0", 3210.0, 1.0, True),  # a step above the limit earns more
        ("HopperVelocity-v0", 1741.0, 0.0, False),
        ("PointCircle1-v0", 81.0, 400.0, True),
        (
            "PointCircle1-v0",
            82.0,
            400.0,
            False,
        ),  # the maximal speed of an environment binds all runs
        ("PointGoal1-v0", 114.0, 60.0, False),
    ],
)
def test_a_return_above_its_ceiling_is_not_published(
    task: str, earned: float, cost: float, is_possible: bool
) -> None:
    lines = {"x": _line(task, earned, cost)}
    if is_possible:
        assert "can have a return above" in "".join(safety_page.ceiling_text(task, lines))
    else:
        with pytest.raises(ValueError, match=f"x on {task} has the return {earned}"):
            list(safety_page.ceiling_text(task, lines))


def test_rows_of_one_policy_are_said_to_be_one() -> None:
    line = _line("PointGoal1-v0", 1.0, 0.0)
    lines = {
        "random": line,
        "scripted:idle": line,  # neither has weights
        "trpo": replace(line, weights=["a", "b"]),
        "cpo": replace(line, weights=["a", "c"]),
        "natural-pg": replace(line, weights=["a", "b"]),
    }
    found = list(safety_page.same_weights(lines))
    assert len(found) == 1
    assert found[0].startswith("trpo and natural-pg have the same weights, bit for bit")


def _safe(name: str, returns: list[float], costs: list[float], excess: float) -> records.Scored:
    runs = [{"return": r, "cost": c} for r, c in zip(returns, costs, strict=True)]
    metrics = {
        key: (*mean_interval([run[key] for run in runs]), len(runs)) for key in ("return", "cost")
    }
    kept = constraint(25.0, Aggregate(*metrics["cost"]), costs)
    spent = [{"mean_excess": excess, "mean_cost": -1.0}] * len(runs)
    return records.Scored(name, "2,000,000 steps", "runs", metrics, runs, kept, spent)


def test_a_table_of_safe_agents_says_who_is_better_within_the_limit() -> None:
    task = "PointGoal1-v0"
    lines = {
        "ppo-lag": _safe("ppo-lag", [10.0, 11.0, 12.0], [20.0, 25.0, 30.0], 4.5),
        "trpo-lag": _safe("trpo-lag", [15.0, 16.0, 17.0], [24.0, 25.0, 26.0], 0.5),
        "cpo": _safe("cpo", [25.0, 26.0, 27.0], [40.0, 50.0, 60.0], 30.0),
        "cup": _safe("cup", [5.0, 6.0, 7.0], [1.0, 2.0, 3.0], 0.0),
    }
    text = "".join(safety_page.claims({task: lines}))
    for words in (
        r"- trpo-lag minus ppo-lag on PointGoal1: 5 .*: \*\*trpo-lag is better\*\*[.]",
        r"- cpo minus ppo-lag on PointGoal1: 15 .*: cpo has the higher return, over the limit[.]",
        r"- cup minus ppo-lag on PointGoal1: -5 .*: \*\*ppo-lag is better\*\*[.]",
        r"- ppo-lag: 2 of 3 runs[.]",
        r"- cpo: 0 of 3 runs[.]",
        r"- cup: 3 of 3 runs[.]",
    ):
        assert re.search(words, text), words
    rows = {
        line.split(" | ")[0]: line
        for line in "".join(markdown(task, lines, {("cpo", task): "20.5, 28.8"}, "-")).splitlines()
    }
    # mean cost 50, t(2) = 4.303, deviation 10 / sqrt 3: 25 above the limit, 24.84 either way
    assert rows["| cpo"] == (
        "| cpo | 2,000,000 steps | 26 [23.52, 28.48] | 50 [25.16, 74.84] | 25 [0.159, 49.8] "
        "| 0 of 3 [0.00, 0.56] | 30 [30, 30] | 3 runs | 20.5, 28.8 |"
    )
    assert "| 4.5 [4.5, 4.5] | 3 runs | - |" in rows["| ppo-lag"]
    assert "| 2 of 3 [0.21, 0.94] |" in rows["| ppo-lag"]


def test_no_driver_of_point_outruns_the_speed_its_ceilings_are_made_of() -> None:
    """Full force and turns, held for 1 to 59 steps, which is how speed would build up."""
    env = gymnasium.make_vec("pkubench/PointCircle1-v0", num_envs=64)
    rng = np.random.default_rng(0)
    every, action = rng.integers(1, 60, 64), np.ones((64, 2))
    seen, fastest = env.reset(seed=0)[0], 0.0
    for step in range(499):
        drawn = rng.choice([-1.0, 0.0, 1.0], (64, 2), p=[0.4, 0.2, 0.4])
        action = np.where((step % every == 0)[:, None], drawn, action)
        seen = env.step(action)[0]
        fastest = max(fastest, float(np.linalg.norm(seen[:, 3:5], axis=1).max()))
    assert 1.4 < fastest < safety_page.POINT_SPEED


def test_a_row_with_changed_settings_is_made_by_them_alone() -> None:
    (row,) = (row for row in safety.ROWS if row.name == "cpo-omnisafe-10m")
    config = {"command": f"train cpo-paper PointGoal1-v0 --steps {row.steps} --seed 0"}
    chosen = {"update": "trust-region", "constraint": "linearised"}  # by the names of then
    for variant, is_its_own in (("omnisafe", True), ("published", False)):
        settings = {**chosen, "variant": variant}
        assert row.is_made_by({**config, "settings": settings}, row.steps) == is_its_own


def test_a_table_goes_on_with_a_run_of_its_own_settings_alone(tmp_path: Path) -> None:
    row = next(row for row in safety.ROWS if row.name == "focops")
    facts = {
        "command": f"pkubench train focops {row.task} --steps {row.steps} --seed 0",
        "settings": settings_of(row.agent, row.task, dict(row.changes)),
    }
    held = tmp_path / "training.json"
    held.write_text(json.dumps(facts))
    assert not is_interrupted(row, tmp_path, row.steps)  # it came to no checkpoint
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "checkpoint.json").touch()
    assert is_interrupted(row, tmp_path, row.steps)
    assert not is_interrupted(row, tmp_path, row.steps // 10)
    held.write_text(json.dumps({**facts, "settings": {**facts["settings"], "window": 7}}))
    assert not is_interrupted(row, tmp_path, row.steps)  # the preset had other settings then
    held.unlink()  # of a release that wrote down nothing before the first step
    assert not is_interrupted(row, tmp_path, row.steps)


def test_a_record_of_another_protocol_is_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, seed = next(param.values for param in RECORDED if param.id.startswith("safety"))
    record = json.loads(records.path_of(row, seed, row.steps).read_text())
    held = tmp_path / "record.json"
    monkeypatch.setattr(records, "path_of", lambda *_: held)
    held.write_text(json.dumps(record))
    assert records.read(row, seed, row.steps) == record
    record["report"]["episodes"] -= 1
    held.write_text(json.dumps(record))
    assert records.read(row, seed, row.steps) is None
