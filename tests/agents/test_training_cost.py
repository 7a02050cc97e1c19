"""Cost of training and constraint regret: hand-worked sums, and exact totals through training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.agents.rl.rollout import Collector
from pkubench.agents.rl.training_cost import TrainingCost, excess_cost
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.tasks.registry import make_task
from pkubench.training.session import train
from pkubench.training.session import train as train_off_policy
from tests.agents.toy_envs import SpeedEnv, task_of

QUICK = {"num_envs": "4", "hidden": "[8]", "threads": "1"}
ON_POLICY = {**QUICK, "rollout_steps": "25", "minibatches": "1", "epochs": "1"}
OFF_POLICY = {**QUICK, "warmup_steps": "80", "batch_size": "8", "buffer_size": "2000"}


def test_a_cheap_episode_does_not_offset_an_expensive_one() -> None:
    # Limit 25: 35 is 10 over, 40 is 15 over; 0 and 25 are within. The mean cost is the limit.
    assert excess_cost([35.0, 0.0, 40.0, 25.0], 25.0) == 25.0
    assert np.mean([35.0, 0.0, 40.0, 25.0]) == 25.0
    assert excess_cost([], 25.0) == 0.0
    assert excess_cost(3.0, 0.0) == 3.0


def test_totals_and_means_are_worked_by_hand() -> None:
    counted = TrainingCost(25.0)
    assert counted.summary() is None
    for cost in (35.0, 0.0, 40.0, 25.0):
        counted.add(cost)
    assert counted.curve() == {"episodes": 4.0, "training_cost": 100.0, "excess_cost": 25.0}
    assert counted.summary() == {
        "cost_limit": 25.0,
        "episodes": 4,
        "cost": 100.0,
        "excess": 25.0,
        "mean_cost": 25.0,
        "mean_excess": 6.25,
    }


def test_a_checkpoint_without_totals_makes_them_unknown_for_good() -> None:
    counted = TrainingCost(25.0)
    counted.thaw(None)
    counted.add(30.0)
    assert all(math.isnan(value) for value in counted.curve().values())
    assert counted.summary() is None
    again = TrainingCost(25.0)
    again.thaw(counted.freeze())
    assert again.summary() is None


def _plain(observations: Any, state: Any, fresh: bool, alive: Any = None) -> Any:
    return observations, state


def test_the_collector_counts_every_finished_episode_once() -> None:
    """More episodes than the window holds, against a slow sum over the rollouts' own arrays."""
    env, rng = SpeedEnv(5), np.random.default_rng(2)

    def behave(observations: Any, masks: Any) -> Any:
        actions = {SOLE_AGENT: rng.uniform(0.0, 1.0, (5, 1)).astype(np.float32)}
        return actions, actions, {SOLE_AGENT: np.zeros(5, np.float32)}

    collector = Collector(env, 3, 4, _plain, cost_limit=2.0)
    costs, running = [], np.zeros(5)
    for _ in range(4):
        data = collector.collect(40, behave, restart=False)
        for t in range(40):
            running += data.costs[t]
            ended = data.terminated[t] | data.truncated[t]
            costs += running[ended].tolist()
            running[ended] = 0.0
    counted = collector.window.training
    assert counted is not None and len(costs) > 40
    assert counted.episodes == len(costs)
    assert counted.cost == pytest.approx(sum(costs), rel=1e-5)
    assert counted.excess == pytest.approx(sum(max(0.0, c - 2.0) for c in costs), rel=1e-5)
    assert 0.0 < counted.excess < counted.cost
    other = Collector(SpeedEnv(5), 3, 4, _plain, cost_limit=2.0)
    other.thaw(collector.freeze())
    assert other.window == collector.window


@pytest.mark.parametrize("loop", ["on-policy", "off-policy"])
def test_totals_are_in_log_and_config_and_survive_a_stop(loop: str, tmp_path: Path) -> None:
    is_on = loop == "on-policy"
    agent, trainer, settings = (
        ("ppo-lag", train, ON_POLICY) if is_on else ("hasac", train_off_policy, OFF_POLICY)
    )
    task = task_of(SpeedEnv, cost_limit=2.0)

    def run(out: Path, **more: Any) -> Any:
        return trainer(agent, task, steps=1200, seed=1, settings=settings, out=out, **more)

    for _ in run(tmp_path / "whole"):
        pass
    stopped = run(tmp_path / "parts")
    for progress in stopped:
        if progress.steps >= 500:
            break
    stopped.close()
    for _ in run(tmp_path / "parts", resume=True):
        pass
    configs = [
        json.loads((tmp_path / name / "config.json").read_text())["training_cost"]
        for name in ("whole", "parts")
    ]
    assert configs[0] == configs[1]
    found, lines = configs[0], (tmp_path / "whole/training.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    assert (last["episodes"], found["cost_limit"]) == (found["episodes"], 2.0)
    assert last["training_cost"] == pytest.approx(found["cost"], abs=1e-5)
    assert last["excess_cost"] == pytest.approx(found["excess"], abs=1e-5)
    assert found["mean_excess"] == found["excess"] / found["episodes"] > 0
    assert found["episodes"] > 60


def test_a_task_without_a_limit_counts_no_cost(tmp_path: Path) -> None:
    task = make_task("Climbing-v0")
    run = train("happo", task, steps=100, seed=0, settings=ON_POLICY, out=tmp_path)
    assert not {"cost", "excess_cost"} & list(run)[-1].metrics.keys()
    assert "training_cost" not in json.loads((tmp_path / "config.json").read_text())
