"""Environments with a cost budget, agents trained in them, and the harness that reports costs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from pkubench.agents.adapters.onnx_export import export_onnx
from pkubench.agents.contract import MaskedObservation, Observer, Outcome
from pkubench.agents.families.on_policy import saferl
from pkubench.agents.nn.normalisers import ObservationNorm
from pkubench.agents.resolve.loading import load_agent
from pkubench.agents.rl.budget import (
    RAW_REWARD,
    Budget,
    BudgetPolicy,
    EarlyTermination,
    Saute,
)
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.rollout import Collector
from pkubench.envs.core.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray
from pkubench.errors import AgentError, ConfigError
from pkubench.evaluation.run.episodes import run_block
from pkubench.tasks.scoring import Episode
from pkubench.training.session import train
from tests.agents.toy_envs import MEAN_LENGTH, SpeedEnv, task_of

EPISODES = [Episode(number=k, seed=k + 1, agent_seed=k + 1) for k in range(2)]


class TollEnv(BatchEnv):
    """Five steps; an action's value is the step's reward and its cost."""

    default_horizon = 5

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(-1.0, 1.0, (2,), np.float32)}
        self.action_spaces = {SOLE_AGENT: spaces.Box(-4.0, 4.0, (1,), np.float32)}

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        pass

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        toll = actions[SOLE_AGENT].astype(np.float64)
        return toll, np.zeros(self.num_envs, np.bool_), {"cost": toll[:, 0].copy()}

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: np.full((self.num_envs, 2), 0.5, np.float32)}

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


def _pay(*tolls: float) -> dict[str, Array]:
    return {SOLE_AGENT: np.array(tolls, np.float32)[:, None]}


def test_the_budget_of_a_limit_worked_by_hand() -> None:
    # a cost of 10/5 per step, discounted: 2 (1 + .5 + .25 + .125 + .0625)
    assert Budget.of_limit(10.0, 0.5, 5).total == pytest.approx(3.875)
    assert Budget.of_limit(10.0, 1.0, 5).total == pytest.approx(10.0)
    with pytest.raises(ConfigError, match="positive"):
        Budget.of_limit(0.0, 0.5, 5)


def test_saute_observes_the_remaining_budget_and_pays_nothing_without_it() -> None:
    env = Saute(TollEnv(2), Budget(total=4.0, gamma=0.5), unsafe_reward=-3.0)
    observations, _ = env.reset(np.array([1, 2]))
    assert env.observation_spaces[SOLE_AGENT].shape == (3,)
    np.testing.assert_array_equal(observations[SOLE_AGENT], [[0.5, 0.5, 1.0]] * 2)
    step = env.step(_pay(1.0, 3.0))
    # (1 - 1/4) / .5 and (1 - 3/4) / .5
    np.testing.assert_allclose(step.observations[SOLE_AGENT][:, 2], [1.5, 0.5])
    np.testing.assert_array_equal(step.rewards[:, 0], [1.0, 3.0])
    step = env.step(_pay(2.0, 2.0))
    np.testing.assert_allclose(step.observations[SOLE_AGENT][:, 2], [2.0, 0.0])
    np.testing.assert_array_equal(step.rewards[:, 0], [2.0, -3.0])  # nothing is left: unsafe
    np.testing.assert_array_equal(step.info[RAW_REWARD], [2.0, 2.0])  # the environment's reward
    np.testing.assert_allclose(env.state()[:, 2], [2.0, 0.0])
    observations, _ = env.reset(np.array([3]), np.array([1]))
    np.testing.assert_allclose(observations[SOLE_AGENT][:, 2], [2.0, 1.0])  # the other goes on


class TollTeam(TollEnv):
    """Two members; one earns twice what the other does."""

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.agents = ("a", "b")
        self.observation_spaces = dict.fromkeys(self.agents, self.observation_spaces[SOLE_AGENT])
        self.action_spaces = dict.fromkeys(self.agents, self.action_spaces[SOLE_AGENT])

    def _step(self, actions: Any, active: Any) -> Any:
        toll = actions["a"][:, 0] + actions["b"][:, 0].astype(np.float64)
        return np.stack([toll, 2.0 * toll], 1), np.zeros(self.num_envs, np.bool_), {"cost": toll}

    def _observe(self) -> dict[str, Array]:
        return dict.fromkeys(self.agents, np.full((self.num_envs, 2), 0.5, np.float32))


def test_a_team_divides_the_unsafe_reward_and_all_observe_the_remaining_budget() -> None:
    env = Saute(TollTeam(2), Budget(total=4.0, gamma=1.0), unsafe_reward=-3.0)
    env.reset(np.array([1, 2]))
    half, whole = np.array([[0.5], [2.5]], np.float32), np.array([[0.5], [1.5]], np.float32)
    step = env.step({"a": half, "b": whole})
    np.testing.assert_array_equal(step.rewards, [[1.0, 2.0], [-1.5, -1.5]])
    np.testing.assert_array_equal(step.info[RAW_REWARD], [3.0, 12.0])
    for agent in env.agents:
        np.testing.assert_array_equal(step.observations[agent][:, 2], [0.75, 0.0])


def test_reported_returns_are_of_the_unwrapped_environment() -> None:
    def behave(observations: Any, masks: Any) -> Any:
        actions = _pay(1.0, 2.0)
        return actions, actions, {SOLE_AGENT: np.zeros(2, np.float32)}

    def plain(observations: Any, state: Any, fresh: bool, alive: Any = None) -> Any:
        return observations, state

    collector = Collector(Saute(TollEnv(2), Budget(4.0, 1.0), -50.0), 0, 10, plain)
    data = collector.collect(5, behave, restart=False)
    assert list(collector.window.returns) == [5.0, 10.0]
    # the budget is spent after the fourth step of the one and after the second of the other
    np.testing.assert_array_equal(data.team_rewards.sum(0), [3.0 - 100.0, 2.0 - 200.0])


def test_the_remaining_share_keeps_its_scale() -> None:
    norm = ObservationNorm(3, kept=1)
    batch = np.array([[1.0, 10.0, 0.2], [3.0, 30.0, 0.8], [5.0, 80.0, 9.0]])
    norm.update(batch)
    assert (norm.mean[2], norm.std[2]) == (0.0, 1.0)
    np.testing.assert_allclose(norm(batch)[:, 2], [0.2, 0.8, 5.0], rtol=1e-6)
    assert abs(float(norm(batch)[:, :2].mean())) < 1e-6
    config = saferl.PRESETS["ppo-saute"]
    learner = OnPolicyLearner(Saute(TollEnv(2), Budget(4.0, 1.0), -1.0), config, 0)
    assert learner.inputs.norms[SOLE_AGENT].scaled == 2


def test_early_termination_ends_an_episode_once_its_cost_is_over_the_limit() -> None:
    env = EarlyTermination(TollEnv(3), limit=3.0)
    env.reset(np.array([1, 2, 3]))
    first = env.step(_pay(3.0, 4.0, 1.0))
    np.testing.assert_array_equal(first.terminated, [False, True, False])  # 3 is not over 3
    np.testing.assert_array_equal(first.rewards[:, 0], [3.0, 0.0, 1.0])
    env.reset(np.array([4]), np.array([1]))
    second = env.step(_pay(1.0, 2.0, 1.0))
    np.testing.assert_array_equal(second.terminated, [True, False, False])  # a count of its own


def test_an_environment_without_cost_has_no_budget() -> None:
    class Free(TollEnv):
        def _step(self, actions: Any, active: Any) -> Any:
            return (*super()._step(actions, active)[:2], {})

    env = EarlyTermination(Free(1), limit=3.0)
    env.reset(np.array([1]))
    with pytest.raises(ConfigError, match="no cost"):
        env.step(_pay(1.0))


class Recorder:
    """Pays one, and records its observations and costs."""

    def __init__(self) -> None:
        self.seen: list[Array] = []

    def begin(self, seeds: Any) -> Any:
        return None

    def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
        self.seen.append(observation.copy())
        return np.linspace(1.0, 2.0, len(observation), dtype=np.float32)[:, None], state


def test_a_policy_acts_on_the_same_share_in_training_and_in_the_harness() -> None:
    budget = Budget(total=4.0, gamma=0.9)
    env = Saute(TollEnv(2), budget, -1.0)
    shown = [env.reset(np.array([1, 2]))[0][SOLE_AGENT]]
    for _ in range(4):
        shown.append(env.step(_pay(1.0, 2.0)).observations[SOLE_AGENT])
    inner = Recorder()
    policy = BudgetPolicy(inner, budget)
    assert isinstance(policy, Observer) and not isinstance(inner, Observer)
    task = task_of(TollEnv, cost_limit=3.0, cost=True)
    records = list(run_block(TollEnv(2), policy, task, EPISODES))
    assert [record.cost for record in sorted(records, key=lambda r: r.episode)] == [5.0, 10.0]
    np.testing.assert_array_equal(np.stack(inner.seen), np.stack(shown))


def test_action_masks_are_passed_on_with_the_share() -> None:
    class Masked(Recorder):
        def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
            self.seen.append(observation)
            return np.zeros(len(active), np.int64), state

    inner = Masked()
    policy = BudgetPolicy(inner, Budget(4.0, 0.9))
    mask = np.array([[1, 0], [0, 1]], np.int8)
    shown = MaskedObservation(np.zeros((2, 3), np.float32), mask)
    policy.act(shown, policy.begin(np.array([1, 2])), np.ones(2, np.bool_))
    (seen,) = inner.seen
    np.testing.assert_array_equal(seen.observation, [[0.0, 0.0, 0.0, 1.0]] * 2)
    np.testing.assert_array_equal(seen.action_mask, mask)


def test_a_budget_cannot_be_kept_in_onnx_and_the_error_says_why(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="an ONNX policy receives no costs: share the run folder"):
        export_onnx(BudgetPolicy(Recorder(), Budget(4.0, 0.9)), tmp_path / "policy.onnx")


class Deaf(BudgetPolicy):
    """Fails when it observes a cost."""

    def observe(self, outcome: Any, state: Any) -> Any:
        raise RuntimeError("no ear")


def test_an_agent_that_fails_to_observe_a_cost_fails_its_episodes_with_a_reason() -> None:
    task = task_of(TollEnv, cost_limit=3.0, cost=True)
    agent = Deaf(Recorder(), Budget(4.0, 0.9))
    records = list(run_block(TollEnv(2), agent, task, EPISODES))
    assert len(records) == 2
    assert all("no ear" in str(record.failure) for record in records)


SMALL = {"num_envs": "8", "rollout_steps": "32", "minibatches": "2", "hidden": "[8]"}


@pytest.mark.parametrize("agent", ["ppo-saute", "ppo-early-terminated", "pdo-paper"])
def test_a_run_with_wrapped_rewards_resumes_to_the_same_bytes(agent: str, tmp_path: Path) -> None:
    task = task_of(SpeedEnv, cost_limit=MEAN_LENGTH / 2)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for _ in train(agent, task, steps=2048, seed=1, settings=SMALL, out=whole):
        pass
    halted = train(agent, task, steps=2048, seed=1, settings=SMALL, out=parts)
    for progress in halted:
        if progress.steps >= 1024:
            halted.close()
            break
    for _ in train(agent, task, steps=2048, seed=1, settings=SMALL, out=parts, resume=True):
        pass
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (whole, parts)]
    assert weights[0] == weights[1]


def test_a_saute_agent_is_saved_with_its_budget(tmp_path: Path) -> None:
    task = task_of(SpeedEnv, cost_limit=MEAN_LENGTH / 2)
    for _ in train("ppo-saute", task, steps=512, seed=1, settings=SMALL, out=tmp_path / "run"):
        pass
    agent = load_agent(str(tmp_path / "run"), task)
    assert isinstance(agent, BudgetPolicy)
    assert agent.budget == Budget.of_limit(MEAN_LENGTH / 2, 0.999, 20)
    state = agent.begin(np.array([1, 2]))
    active = np.ones(2, np.bool_)
    observation = np.zeros((2, 2))
    before, state = agent.act(observation, state, active)
    state = agent.observe(Outcome(np.zeros(2), np.array([0.0, 4.0])), state)
    after, _ = agent.act(observation, state, active)
    assert before[0] == before[1]
    assert after[0] != after[1]  # the second has spent most of its budget
