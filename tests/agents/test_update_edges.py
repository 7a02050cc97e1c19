"""One update of the on-policy learner: what critics are trained towards, and when actors stop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.rl.on_policy.critic import Critic, CriticStack, Fit, joined
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.rollout import Collector, Rollout
from pkubench.envs.core.batch import Array
from pkubench.envs.core.registry import make_batch
from pkubench.errors import ConfigError
from tests.agents.configs import config_of
from tests.agents.toy_envs import SpeedEnv


def _slow_returns(
    critic: Critic, rewards: Array, before: Array, after: Array, data: Rollout, lam: float
) -> Array:
    """Lambda returns, 0.9 the discount: one environment and one step at a time."""
    values, following = (
        critic.denormalise(critic.values(states, "cpu")).astype(np.float64)
        for states in (before, after)
    )
    returns = np.zeros(rewards.shape)
    for index in range(rewards.shape[1]):
        running = 0.0
        for t in reversed(range(len(rewards))):
            if data.terminated[t, index]:
                running = rewards[t, index] - values[t, index]
            else:
                delta = rewards[t, index] + 0.9 * following[t, index] - values[t, index]
                running = delta + 0.9 * lam * running * (not data.truncated[t, index])
            returns[t, index] = running + values[t, index]
    return returns.reshape(-1)


@pytest.mark.parametrize("critic", ["state", "local"])
@pytest.mark.parametrize("constraint", ["none", "lagrangian"])
def test_critics_are_trained_on_the_returns_of_their_own_states(
    critic: Any, constraint: Any
) -> None:
    config = config_of(
        critic=critic,
        constraint=constraint,
        num_envs=5,
        rollout_steps=45,
        hidden=(8,),
        gamma=0.9,
        lam=0.8,
        cost_lam=0.5,
        reward_scale=0.1,
        cost_limit=1.0,
    )
    env = SpeedEnv(5) if constraint == "lagrangian" else make_batch("SimpleSpeakerListener-v0", 5)
    learner = OnPolicyLearner(env, config, 0)
    collector = Collector(env, 0, 10, learner.inputs)
    for stack in learner.stacks:
        for one, centre in zip(stack.members, (5.0, -3.0), strict=False):
            # normalisers with a past, so that both scales matter
            assert one.norm is not None
            one.norm.update(np.array([centre, centre + 4.0]))
    data = collector.collect(45, learner.behave, False)
    assert data.truncated.any()
    expected = []
    for k, agent in enumerate(env.agents if critic == "local" else env.agents[:1]):
        before, after = data.states, data.next_states
        if critic == "local":
            before, after = data.observations[agent], data.next_observations[agent]
        scaled = data.team_rewards * 0.1
        judges = learner.stacks[k].members
        expected.append([_slow_returns(judges[0], scaled, before, after, data, 0.8)])
        if constraint == "lagrangian":
            expected[-1].append(_slow_returns(judges[1], data.costs, before, after, data, 0.5))
    seen: list[tuple[CriticStack, Array]] = []
    normalised = CriticStack._normalised

    def spy(self: CriticStack, targets: Array) -> Array:
        seen.append((self, targets.copy()))
        return normalised(self, targets)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(CriticStack, "_normalised", spy)
        learner.update(data, 2.0, 0.0)
    assert len(seen) == 5 * len(expected)
    for k, (stack, wanted) in enumerate(zip(learner.stacks, expected, strict=True)):
        for who, targets in seen[5 * k : 5 * k + 5]:  # five passes over the same returns
            assert who is stack
            np.testing.assert_allclose(targets, np.stack(wanted), atol=2e-4, rtol=1e-4)


def test_a_shared_critic_is_trained_on_the_own_states_of_all_agents() -> None:
    config = config_of(
        critic="local-shared",
        credit="own-reward",
        num_envs=4,
        rollout_steps=30,
        hidden=(8,),
        gamma=0.9,
        lam=0.8,
        critic_epochs=1,
        minibatches=3,
    )
    env = make_batch("SimpleSpread-v0", 4)
    learner = OnPolicyLearner(env, config, 0)
    (stack,) = learner.stacks
    assert all(learner.stack_of(k) is stack for k in range(3))
    data = Collector(env, 0, 10, learner.inputs).collect(30, learner.behave, False)
    judge = stack.members[0]
    expected = [
        _slow_returns(
            judge,
            data.rewards[..., k].astype(np.float32),
            data.observations[agent],
            data.next_observations[agent],
            data,
            0.8,
        )
        for k, agent in enumerate(env.agents)
    ]
    found: list[tuple[Array, Array, Array]] = []
    descend = type(stack.trainer).descend

    def spy(self: Any, inputs: Array, old: Array, targets: Array) -> Array:
        found.append((inputs.copy(), old.copy(), targets.copy()))
        return descend(self, inputs, old, targets)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(stack.trainer), "descend", spy)
        learner.update(data, 0.0, 0.0)
    assert [len(old[0]) for _, old, _ in found] == [120, 120, 120]
    old, targets = (np.sort(np.concatenate([of[k][0] for of in found])) for k in (1, 2))
    values = [judge_values.reshape(-1) for judge_values in _values_before(learner, data)]
    np.testing.assert_allclose(old, np.sort(np.concatenate(values)), atol=1e-6)
    assert judge.norm is not None
    spread = np.sort(np.concatenate(expected))
    # normalised anew with every minibatch, so only the order and the spread are compared
    assert np.corrcoef(targets, spread)[0, 1] > 0.999


def _values_before(learner: OnPolicyLearner, data: Rollout) -> list[Array]:
    """Values of a learner with the same initial weights, each agent's own states."""
    fresh = OnPolicyLearner(make_batch("SimpleSpread-v0", 4), learner.config, 0)
    return [
        fresh.stack_of(k).members[0].values(data.observations[agent], "cpu")
        for k, agent in enumerate(learner.agents)
    ]


def test_fits_of_one_stack_are_joined_and_others_are_left_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (CriticStack(2, 1, config_of(), "cpu", generator) for _ in range(2))

    def fit(stack: CriticStack, number: float, usable: Array | None) -> Fit:
        filled = np.full((1, 3, 2), number, np.float32)
        return Fit(stack, np.full((3, 2, 2), number), filled, filled + 10, usable, filled[:, :1])

    dead = np.array([[True, False]] * 3)
    alone = fit(other, 5.0, None)
    both, left = joined([fit(one, 1.0, None), alone, fit(one, 2.0, dead)])
    assert left is alone and both.stack is one
    assert both.usable is not None
    np.testing.assert_array_equal(both.usable, [[True, True, True, False]] * 3)
    np.testing.assert_array_equal(both.states[..., 1], [[1.0, 1.0, 2.0, 2.0]] * 3)
    np.testing.assert_array_equal(both.raw[0], [[1.0, 1.0, 2.0, 2.0]] * 3)
    np.testing.assert_array_equal(both.targets[0], [[11.0, 11.0, 12.0, 12.0]] * 3)


def test_a_critic_cannot_be_shared_across_unequal_observations_or_with_memory() -> None:
    env = make_batch("SimpleSpeakerListener-v0", 2)
    with pytest.raises(ConfigError, match="agents differ in their observations"):
        OnPolicyLearner(env, config_of(critic="local-shared", num_envs=2), 0)
    with pytest.raises(ConfigError, match="critic=local-shared has no memory"):
        config_of(critic="local-shared", memory="gru")


def test_the_weight_of_the_critics_squares_pulls_it_to_zero() -> None:
    squares = []
    for weight in (0.0, 0.5):
        config = config_of(hidden=(8,), critic_l2=weight, value_norm=False, critic_epochs=1)
        generator = torch.Generator().manual_seed(0)
        stack = CriticStack(2, 1, config, "cpu", generator)
        parameters = list(stack.members[0].net.parameters())
        total = sum(float(p.detach().pow(2).sum()) for p in parameters)
        states, nothing = np.ones((4, 2), np.float32), np.zeros((1, 4), np.float32)
        squares += stack.fit(states, nothing, nothing, generator)
    assert squares[1] - squares[0] == pytest.approx(0.5 * total, rel=1e-5)


@pytest.mark.parametrize(("limit", "passes"), [(1e-9, 1), (None, 6), (1e9, 6)])
def test_passes_stop_once_the_kl_exceeds_the_target(limit: float | None, passes: int) -> None:
    config = config_of(
        num_envs=4, rollout_steps=25, hidden=(8,), epochs=6, target_kl=limit, actor_lr=1e-2
    )
    env = make_batch("SimpleSpread-v0", 4)
    learner = OnPolicyLearner(env, config, 0)
    collector = Collector(env, 0, 10, learner.inputs)
    data = collector.collect(25, learner.behave, False)
    learner.update(data, math.nan, 0.0)
    for trainer in learner.trainers.values():
        assert trainer.adam.count == passes


def test_the_learning_rate_of_the_actor_falls_linearly() -> None:
    config = config_of(num_envs=4, rollout_steps=5, hidden=(8,), lr_decay=True, actor_lr=0.4)
    env = make_batch("SimpleSpread-v0", 4)
    learner = OnPolicyLearner(env, config, 0)
    collector = Collector(env, 0, 10, learner.inputs)
    data = collector.collect(5, learner.behave, False)
    for progress, rate in ((0.0, 0.4), (0.25, 0.3), (0.9, 0.04)):
        learner.update(data, math.nan, progress)
        for trainer in learner.trainers.values():
            assert trainer.adam.lr == pytest.approx(rate)
        assert learner.stacks[0].trainer.adam.lr == config.critic_lr
