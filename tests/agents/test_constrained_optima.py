"""Constrained learners on a tabular MDP with its optimum by linear programming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pkubench.agents.families.on_policy.presets import preset
from pkubench.agents.resolve.loading import load_agent
from pkubench.tasks.registry import make_task
from pkubench.training.session import train
from tests.agents.configs import that_fit
from tests.agents.optima import exact, late, optimum

CORRIDOR = "RiskyCorridor-v0"
SETTINGS: dict[str, str] = {
    "num_envs": "32",
    "rollout_steps": "50",
    "minibatches": "4",
    "hidden": "[16]",
    "window": "128",
    "actor_lr": "0.001",
    "critic_lr": "0.003",
    "lr_decay": "false",
    "lambda_lr": "0.05",
}


def _run(name: str, folder: Path, **changes: str) -> list[Any]:
    task = make_task(CORRIDOR)
    settings = that_fit(preset(name, task), {**SETTINGS, **changes})
    return list(train(name, task, steps=80_000, seed=2, settings=settings, out=folder))


@pytest.mark.parametrize("name", ["cpo", "pcpo"])
def test_steps_that_hold_the_constraint_settle_at_the_linear_programs_optimum(
    name: str, tmp_path: Path
) -> None:
    best, limit = optimum(CORRIDOR), make_task(CORRIDOR).cost_limit
    run = _run(name, tmp_path / "run")
    # a stochastic optimum: no deterministic policy earns more than 0.3 within the limit
    assert late(run, "return", 0.5) == pytest.approx(best.value, abs=0.06)
    assert late(run, "cost", 0.5) == pytest.approx(limit, abs=0.8)
    found = exact(load_agent(str(tmp_path / "run"), make_task(CORRIDOR)))
    assert found.value > 0.25
    assert found.cost < 1.5 * limit  # type: ignore[operator]


@pytest.mark.parametrize("name", ["cpo", "ppo-lag", "trpo-pid", "crpo", "ppo"])
def test_no_policy_that_was_learned_beats_the_dual_bound(name: str, tmp_path: Path) -> None:
    """For every policy, return <= V* + lambda* (cost - limit): the multiplier prices the limit.

    Of those that hold the limit, the last policy lies near it, and wins what its cost is worth.
    """
    best, limit = optimum(CORRIDOR), make_task(CORRIDOR).cost_limit
    assert limit is not None
    _run(name, tmp_path / "run")
    found = exact(load_agent(str(tmp_path / "run"), make_task(CORRIDOR)))
    bound = best.value + best.multiplier * (found.cost - limit)
    assert found.value <= bound + 1e-9  # a random policy lies 2 below
    if name == "ppo":
        assert found.value > bound - 0.35 and found.cost > 3 * limit
    else:
        assert found.value > bound - 0.1 and 0.5 * limit < found.cost < 1.8 * limit


def test_an_unconstrained_learner_takes_the_short_way(tmp_path: Path) -> None:
    run = _run("ppo", tmp_path / "run", entropy="0.001")
    assert late(run, "return") > 0.8
    assert late(run, "cost") > 15.0
