"""The shipped agents reach the scores stored with their weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import pkubench
from pkubench.agents.registry import WEIGHTS, presets
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.agents.resolve.sources import file_hash
from pkubench.tasks.registry import make_task

RUNS = sorted(path.parent for path in WEIGHTS.glob("*/*/seed*/weights.safetensors"))
LIMIT_BYTES = 40e6


def _name(run: Path) -> str:
    return "/".join(run.parts[-3:])


def _covers(run: Path) -> set[tuple[object, ...]]:
    """What is played by a run: of the navigation tasks, which take longest, a circle alone."""
    task = run.parts[-2]
    if task.startswith(("Point", "Car")):
        return {(task,)} if "Circle" in task else set()
    config = json.loads((run / "config.json").read_text())
    members = config.get("members", {})
    first = next(iter(members.values()), {})
    is_shared = len({member["network"] for member in members.values()}) < len(members)
    return {(task, config["kind"], first.get("head"), first.get("std")), (is_shared,)}


def _cases() -> list[object]:
    """All runs; in the quick run seed 0 of one agent for each task and way of acting.

    Agents that differ in their training alone act by the same code; ``test_results.py`` compares
    the weights and scores of all with their records.
    """
    covered: set[tuple[object, ...]] = set()
    cases: list[object] = []
    for run in RUNS:
        new = _covers(run) - covered if run.name == "seed0" else set()
        covered |= new
        cases.append(pytest.param(run, id=_name(run), marks=[pytest.mark.slow] * (not new)))
    return cases


def test_shipped_runs_are_named_agents_of_seeds_zero_to_four() -> None:
    shipped: dict[tuple[str, str], list[str]] = {}
    for run in RUNS:
        agent, task, seed = run.parts[-3:]
        assert agent in presets()
        assert make_task(task)
        shipped.setdefault((agent, task), []).append(seed)
    assert shipped
    for seeds in shipped.values():
        assert set(seeds) <= {f"seed{k}" for k in range(5)}


def test_all_weights_together_stay_under_the_limit() -> None:
    assert sum(f.stat().st_size for f in WEIGHTS.rglob("*") if f.is_file()) < LIMIT_BYTES


@pytest.mark.parametrize("run", RUNS, ids=_name)
def test_a_shipped_run_says_how_it_was_made(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    assert config["command"].startswith(f"pkubench train {run.parts[-3]} {config['task']}")
    assert f"--seed {config['seed']}" in config["command"]
    assert run.name == f"seed{config['seed']}"
    assert config["weights_sha256"] == file_hash(run / "weights.safetensors")
    curve = [json.loads(x) for x in (run / "training.jsonl").read_text().splitlines()]
    steps = [line["steps"] for line in curve]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("run", _cases())
def test_a_shipped_run_scores_inside_its_stored_interval(run: Path) -> None:
    stored = json.loads((run / "score.json").read_text())
    task = make_task(run.parts[-2])
    agent = f"{run.parts[-3]}@{run.name.removeprefix('seed')}"
    report = pkubench.evaluate(resolve_agent(agent, task), task, workers=0)
    found = report.metrics[stored["metric"]].mean
    assert found is not None
    if stored["low"] is None:  # exact scores have no interval
        assert found == pytest.approx(stored["mean"], abs=1e-6)
    else:
        # equal episodes have an interval without width, up to the rounding of their sum
        assert stored["low"] - 1e-6 <= found <= stored["high"] + 1e-6
