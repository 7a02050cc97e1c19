"""Limits per source of cost: each has its own critic, multiplier and measured cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from pkubench.agents.components import with_settings
from pkubench.agents.families.on_policy import saferl
from pkubench.agents.learner import Context
from pkubench.agents.rl.constraints.multiplier import limits_of
from pkubench.agents.rl.constraints.scale import AdvantageScale
from pkubench.agents.rl.on_policy.mixing import Estimated, mixed
from pkubench.agents.rl.on_policy.training import OnPolicyTraining
from pkubench.envs.core.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray
from pkubench.errors import ConfigError
from tests.agents.configs import config_of
from tests.agents.toy_envs import task_of

LIMITS = {"cost_a": 2.0, "cost_b": 6.0}
TEXTS = tuple(f"{key}:{limit:g}" for key, limit in LIMITS.items())


class TwoCostsEnv(BatchEnv):
    """Reward 1 - (1 - a)^2 + 1 - (1 - b)^2, costs a and b, each in [0, 1], in 10 steps.

    Within limits of 2 and 6 an episode the best is a = 0.2, b = 0.6; a limit of 8 on their sum
    would give a = b = 0.4.
    """

    default_horizon = 10

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(0.0, 1.0, (2,), np.float32)}
        self.action_spaces = {SOLE_AGENT: spaces.Box(0.0, 1.0, (2,), np.float32)}

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        pass

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        a, b = np.clip(actions[SOLE_AGENT].astype(np.float64), 0.0, 1.0).T
        reward = 2.0 - (1.0 - a) ** 2 - (1.0 - b) ** 2
        costs = {"cost": a + b, "cost_a": a, "cost_b": b}
        return reward[:, None], np.zeros(self.num_envs, bool), costs

    def _info(self) -> Info:
        return {key: np.zeros(self.num_envs) for key in ("cost", "cost_a", "cost_b")}

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: np.ones((self.num_envs, 2), np.float32)}

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


def _training(limits: tuple[str, ...] = TEXTS, seed: int = 0, **changes: Any) -> OnPolicyTraining:
    settings = {
        "num_envs": "16",
        "rollout_steps": "40",
        "minibatches": "4",
        "epochs": "5",
        "hidden": "[16]",
        "window": "64",
        "actor_lr": "0.003",
        "lr_decay": "false",
        "lambda_lr": "0.3",
        "cost_limits": str([*limits]).replace("'", '"'),
        **changes,
    }
    config = with_settings(saferl.PRESETS["ppo-lag"], settings)
    task = task_of(TwoCostsEnv, cost_limit=8.0)
    return OnPolicyTraining(
        Context(agent="ppo-lag", task=task, settings=config, seed=seed, total=100_000)
    )


@pytest.mark.parametrize(
    "texts", [("cost_a",), ("cost_a:x",), (":3",), ("cost_a:-1",), ("c:1", "c:2"), ("c:nan",)]
)
def test_limits_per_source_that_are_not_of_the_form_are_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="KEY:LIMIT"):
        config_of(constraint="lagrangian", cost_limits=texts)


def test_limits_per_source_need_one_unit_and_plain_signals() -> None:
    assert limits_of(TEXTS) == LIMITS
    with pytest.raises(ConfigError, match="lambda_unit=reward"):
        config_of(constraint="pid", cost_limits=TEXTS, lambda_unit="deviation")
    with pytest.raises(ConfigError, match="signal_norm=false"):
        config_of(constraint="lagrangian", cost_limits=TEXTS, signal_norm=True)


@pytest.mark.parametrize("kind", ["lagrangian", "pid"])
def test_each_source_is_weighed_by_its_own_multiplier(kind: str) -> None:
    config = config_of(constraint=kind, cost_limits=TEXTS, lambda_init=0.1, advantage_epsilon=0.0)
    constraint: Any = config.constraint.start()
    a, b = constraint.parts.values()
    assert (a.limit, b.limit) == (2.0, 6.0)
    reward, *costs = torch.randn(3, 200, generator=torch.Generator().manual_seed(0)).double()
    scales = [AdvantageScale(), AdvantageScale()]
    found = mixed([Estimated(None, reward, costs)], constraint, scales, config, ([4.0, 3.0], 10.0))
    assert a.value > 0.1 > b.value  # the first source is over its limit, the second is not
    wanted = reward - a.value * costs[0] - b.value * costs[1]
    wanted = (wanted - wanted.mean()) / wanted.std(correction=0)
    torch.testing.assert_close(found.to_ascend[0], wanted)
    other: Any = config.constraint.start()
    other.restore(constraint.state())
    assert other == constraint


def test_a_source_that_the_environment_does_not_report_is_named() -> None:
    training = _training(("cost_a:1", "cost_c:1"))
    with pytest.raises(ConfigError, match=r"'cost_c'.*cost, cost_a, cost_b"):
        training.iterate()
    training.close()


def test_costs_are_summed_by_source_and_resumed() -> None:
    training = _training()
    figures = training.iterate()
    window = training.collector.window
    sums = np.array(window.sources)
    np.testing.assert_allclose(sums.sum(1), window.costs, rtol=1e-6)
    assert len(training.learner.stacks[0].members) == 3
    assert {"multiplier.cost_a", "multiplier.cost_b"} <= figures.keys()
    other = _training()
    other.load_state(training.state())
    assert other.iterate() == training.iterate()
    assert [*other.collector.window.sources] == [*window.sources]
    window.take_means()
    assert all(math.isnan(cost) for cost in window.source_means())  # no new episode
    training.close()
    other.close()


def test_each_limit_is_held_and_used(tmp_path: Path) -> None:
    training = _training()
    late = []
    for k in range(110):
        training.iterate()
        if k >= 70:
            late.append(training.collector.window.sources[-1])
    training.close()
    np.testing.assert_allclose(np.mean(late, axis=0), [*LIMITS.values()], rtol=0.15)
