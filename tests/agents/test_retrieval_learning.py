"""The retrieval agents learn which action each of three tasks wants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
from gymnasium import spaces

from pkubench.agents.components import changed
from pkubench.agents.families.retrieval.presets import PRESETS
from pkubench.agents.families.retrieval.training import RetrievalTraining
from pkubench.envs.core.batch import SOLE_AGENT, BatchEnv
from pkubench.envs.core.options import Option

TASKS = 3


class OneStep(BatchEnv):
    """An episode is one step; in task k action 2 k + 1 earns 1."""

    default_horizon: ClassVar[int | None] = 1
    missions: ClassVar[tuple[str, ...]] = ("press one", "press three", "press five")

    def __init__(self, num_envs: int) -> None:
        self.episode_options = {"task": Option(0, spaces.Discrete(TASKS), "")}  # type: ignore[misc]
        super().__init__(num_envs)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(0, 255, (7, 7, 4), np.uint8)}
        self.action_spaces = {SOLE_AGENT: spaces.Discrete(7)}

    def _reset(self, ids: Any, seeds: Any) -> None:
        pass

    def _step(self, actions: Mapping[str, Any], active: Any) -> Any:
        rewards = (actions[SOLE_AGENT] == 2 * self.options["task"] + 1).astype(np.float64)
        return rewards[:, None], np.ones(self.num_envs, np.bool_), {}

    def _observe(self) -> dict[str, Any]:
        seen = np.ones((self.num_envs, 7, 7, 4), np.uint8)
        seen[..., 3] = self.options["task"][:, None, None]
        return {SOLE_AGENT: seen}

    def _info(self) -> dict[str, Any]:
        return {}

    def render(self, index: int = 0) -> Any:
        raise NotImplementedError


class _Context:
    seed, device = 1000, "cpu"
    inputs: ClassVar[dict[str, Any]] = {}

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def make_env(self, num_envs: int, **_: Any) -> BatchEnv:
        return OneStep(num_envs)


@pytest.mark.parametrize(
    "agent",
    [
        "retrieval-hypernetwork",
        *(pytest.param(a, marks=pytest.mark.slow) for a in [*PRESETS][1:]),
    ],
)
def test_each_task_is_learned(agent: str) -> None:
    sizes = {"num_envs": 12, "rollout_steps": 16, "batch_size": 48}
    context: Any = _Context(changed(PRESETS[agent], sizes))
    made = RetrievalTraining(context)
    early = made.iterate()["return"]
    for _ in range(25):
        late = made.iterate()["return"]
    assert early < 0.4 and late > 0.8  # a guess earns 1/7
