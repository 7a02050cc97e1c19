"""What a memory is worth shows in the critic: where its values tell states apart, and else not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from pkubench.agents.components import changed
from pkubench.agents.families.retrieval.presets import PRESETS
from pkubench.agents.families.retrieval.training import RetrievalTraining
from pkubench.envs.core.batch import BatchEnv
from tests.agents.test_retrieval_learning import TASKS, OneStep

FULL = "retrieval-hypernetwork"


class Graded(OneStep):
    """Every action earns the same: 0, 1/2 or 1 by the task."""

    def _step(self, actions: Mapping[str, Any], active: Any) -> Any:
        rewards = self.options["task"] / (TASKS - 1)
        return rewards[:, None], np.ones(self.num_envs, np.bool_), {}


class _Context:
    seed, device = 1000, "cpu"
    inputs: ClassVar[dict[str, Any]] = {}

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def make_env(self, num_envs: int, **_: Any) -> BatchEnv:
        return Graded(num_envs)


def figures_of(agent: str, iterations: int) -> dict[str, float]:
    sizes = {"num_envs": 6, "rollout_steps": 16, "batch_size": 48, "epochs": 2}
    context: Any = _Context(changed(PRESETS[agent], sizes))
    made = RetrievalTraining(context)
    for _ in range(iterations):
        figures = made.iterate()
    return figures


def test_the_kernel_finds_the_own_tasks_value_and_shuffling_hides_it() -> None:
    figures = figures_of(f"{FULL}-episodic", 2)
    assert figures["memory_error"] < 1e-6  # of its own task, whatever the features
    assert 0.1 <= figures["memory_weight"] <= 1.0
    # values of others in two of three cases: a mean square of 1/6 (0 or 1 against 1/2), or more
    assert figures_of(f"{FULL}-shuffled", 2)["memory_error"] > 0.05


@pytest.mark.slow
def test_attention_learns_to_read_the_own_task_where_values_are_true() -> None:
    errors = {
        agent: figures_of(agent, 60)["memory_error"]
        for agent in (FULL, f"{FULL}-no-hypernetwork", f"{FULL}-shuffled", f"{FULL}-random-keys")
    }
    assert errors[FULL] < 0.01
    # one network for all tasks cannot tell equal views apart: V_mem is the mean, 1/2
    assert errors[f"{FULL}-no-hypernetwork"] == pytest.approx(1 / 6, abs=0.01)
    assert errors[f"{FULL}-shuffled"] > 0.05 and errors[f"{FULL}-random-keys"] > 0.05


@pytest.mark.slow
def test_at_its_floor_a_memory_that_says_nothing_still_biases_the_critic() -> None:
    figures = figures_of(f"{FULL}-no-hypernetwork", 60)
    assert figures["memory_weight"] == pytest.approx(0.1)
    # V = R + 0.1 (1/2 - R): l1 = 0.9 0.1^2 d^2 + 0.1 0.9^2 d^2 with d^2 = 1/6 on average
    assert figures["value_loss"] == pytest.approx((0.009 + 0.081) / 6, abs=0.001)
