"""The protocol's training budget: the default of a training, and what a report says beyond it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pkubench
from pkubench.agents.registry import WEIGHTS
from pkubench.agents.resolve.saved import saved_run
from pkubench.cli.output import Output
from pkubench.cli.results import reports_table
from pkubench.evaluation.report import Report
from pkubench.tasks.registry import make_task, tasks
from pkubench.tasks.task import Protocol
from pkubench.training.request import request

SPREAD = "SimpleSpread-v0"


def test_a_budget_is_in_any_counter_of_a_training_and_what_exceeds_it_is_said() -> None:
    budget = {"environment_steps": 1000, "gradient_steps": 50}
    protocol = Protocol(episodes=1, horizon=None, budget=budget, quick_episodes=1)
    assert protocol.budget_in_words() == "1,000 environment steps and 50 gradient steps"
    assert protocol.beyond_budget({"environment_steps": 1000, "gradient_steps": 50}) == ""
    assert protocol.beyond_budget({}) == protocol.beyond_budget({"iterations": 10**9}) == ""
    assert (
        protocol.beyond_budget({"environment_steps": 2000, "gradient_steps": 51})
        == "2,000 environment steps of 1,000, 51 gradient steps of 50"
    )
    none = replace(protocol, budget={})
    assert none.budget_in_words() == none.beyond_budget({"environment_steps": 1}) == ""
    for task in tasks():
        assert bool(task.protocol.budget) == task.scoring.is_played, task.id


def test_the_default_of_a_training_is_the_budget_in_the_unit_of_the_family() -> None:
    task = make_task(SPREAD)
    assert request("happo", task, {}, steps=None, seeds=[0]).total == 10_000_000
    both = replace(task.protocol, budget={"iterations": 7, "environment_steps": 900})
    asked = request("happo", replace(task, protocol=both), {}, steps=None, seeds=[0])
    assert asked.total == 900


def _trained(folder: Path, **facts: Any) -> Path:
    """A copy of a shipped agent whose config says that it was trained otherwise."""
    shutil.copytree(WEIGHTS / "happo" / SPREAD / "seed0", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **facts}))
    return folder


@pytest.mark.parametrize(
    ("facts", "beyond"),
    [
        ({"steps": 12_000_000, "total_steps": 12_000_000}, "12,000,000 environment steps of"),
        ({"steps": 10_000_400, "total_steps": 10_000_000}, ""),  # the last update ends beyond
        ({"steps": None, "total_steps": None}, ""),  # not known
    ],
)
def test_a_report_says_what_was_trained_beyond_the_budget(
    tmp_path: Path, facts: dict[str, Any], beyond: str
) -> None:
    folder = _trained(tmp_path / "seed0", **facts)
    spent = saved_run(folder, None).spent.get("environment_steps")
    assert spent == facts["total_steps"]
    out = tmp_path / "results"
    report = pkubench.evaluate(str(folder), SPREAD, episodes=2, workers=0, out=out)
    [settings] = out.rglob("run.json")
    assert Report.from_records(settings.parent) == report
    words = [str(line) for line in reports_table(Output(), [report])]
    if not beyond:
        assert "beyond_budget" not in settings.read_text() + json.dumps(report.to_json())
        assert not any("budget" in line for line in words)
        return
    assert report.to_json()["beyond_budget"] == f"{beyond} 10,000,000"
    assert f"was trained beyond the protocol's budget: {beyond} 10,000,000" in words[-1]
