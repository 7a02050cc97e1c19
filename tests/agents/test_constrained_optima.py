"""Constrained learners on a tabular MDP with its optimum by linear programming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.results.constrained_diagnostics import BARS, PRESETS, SEEDS, Bar, read
from benchmarks.results.constrained_diagnostics import train as trained
from pkubench.agents.families.on_policy.presets import preset
from pkubench.agents.resolve.loading import load_agent
from pkubench.envs.diagnostics.speed_limit import (
    action_to,
    driving_reward,
    gaussian_value,
    speeding_cost,
)
from pkubench.tasks.registry import make_task
from pkubench.training.session import train
from tests.agents.configs import that_fit
from tests.agents.optima import exact, late, optimum

CORRIDOR = "RiskyCorridor-v0"
SMALL: dict[str, str] = {
    "num_envs": "32",
    "rollout_steps": "50",
    "minibatches": "4",
    "hidden": "[16]",
    "actor_lr": "0.001",
    "critic_lr": "0.003",
    "lr_decay": "false",
}
"""Smaller networks and batches than the presets', whose constraints have their own settings."""


def _run(name: str, folder: Path, **changes: str) -> list[Any]:
    task = make_task(CORRIDOR)
    settings = that_fit(preset(name, task), {**SMALL, **changes})
    return list(train(name, task, steps=80_000, seed=2, settings=settings, out=folder))


@pytest.mark.parametrize("name", [pytest.param("cpo", marks=pytest.mark.slow), "pcpo"])
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


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name != "ppo-lag"))
        for name in ("cpo", "ppo-lag", "trpo-pid", "crpo", "ppo")
    ],
)
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


@pytest.mark.slow
@pytest.mark.parametrize("bar", BARS, ids=lambda bar: bar.task)
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_holds_its_limit_where_the_optimum_is_known(name: str, bar: Bar) -> None:
    """As it ships, for the protocol's budget, by the exact value of its sampled policy."""
    found = trained(name, bar.task, seed=1000)
    assert bar.verdict(found["return"], found["cost"]) == "holds", (found["return"], found["cost"])


def test_recorded_presets_hold_their_limits() -> None:
    """As means over seeds; settings that changed have no records, and must be run again."""
    for bar in BARS:
        for name in PRESETS:
            runs = [read(name, bar.task, seed) for seed in range(SEEDS)]
            done = [run for run in runs if run is not None]
            assert len(done) == SEEDS, (name, bar.task)
            value, cost = (np.mean([run[of] for run in done]) for of in ("return", "cost"))
            assert bar.verdict(float(value), float(cost)) == "holds", (name, bar.task)


def test_the_exact_value_of_a_gaussian_policy_in_speed_limit() -> None:
    """Of the optimum nearly without noise; and, with noise, of a million sampled episodes."""
    value, cost = gaussian_value(lambda v: (action_to(0.75, v), np.full_like(v, 1e-3)))
    assert (value, cost) == pytest.approx((18.75, 5.0), abs=2e-2)
    rng, speed, sums = np.random.default_rng(0), np.zeros(200_000), np.zeros(2)
    for _ in range(20):
        throttle = np.clip(0.4 - 0.2 * speed + 0.5 * rng.normal(size=speed.shape), -1.0, 1.0)
        speed = (speed + 1.5 * throttle) / 2.0
        sums += driving_reward(speed).mean(), speeding_cost(speed).mean()
    found = gaussian_value(lambda v: (0.4 - 0.2 * v, np.full_like(v, 0.5)))
    np.testing.assert_allclose(found, sums, rtol=5e-3)
