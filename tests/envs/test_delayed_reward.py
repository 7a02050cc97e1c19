"""Delayed rewards of any environment: nothing is lost, nothing is seen early."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import pkubench
from pkubench.agents.rl.rollout import Collector, Rollout
from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.delayed_reward import DelayedReward, EpisodicReward, delayed
from pkubench.envs.core.options import Option
from pkubench.envs.core.registry import environments, make_batch, traits
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.core.traits import DENSE_REWARD
from pkubench.errors import ConfigError, UnknownName
from pkubench.tasks.registry import make_listed_task


class Ladder(BatchEnv):
    """Two agents climb; step t pays t and 10 t. An episode ends at the rung of its option ``top``.

    Agent "b" dies at rung 3 where its option ``dies`` is 1.
    """

    default_horizon = 6
    episode_options = {  # noqa: RUF012
        "top": Option(100, spaces.Discrete(101), "rung at which the episode ends"),
        "dies": Option(0, spaces.Discrete(2), "whether b dies"),
    }

    def __init__(
        self, num_envs: int = 1, max_episode_steps: int | None = -1, *, has_deaths: bool = False
    ) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.agents = ("a", "b")
        self.observation_spaces = dict.fromkeys(
            self.agents, spaces.Box(-np.inf, np.inf, (1,), np.float32)
        )
        self.action_spaces = {agent: spaces.Discrete(2) for agent in self.agents}
        self.has_deaths = has_deaths
        self.rung = np.zeros(num_envs)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self.rung[ids] = 0

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        self.rung = self.rung + 1
        rewards = np.stack([self.rung, 10 * self.rung], axis=1)
        return rewards, self.rung >= self.options["top"], self._info()

    def _info(self) -> Info:
        if not self.has_deaths:
            return {}
        is_dead = (self.options["dies"] == 1) & (self.rung >= 3)
        return {"alive": np.stack([np.ones(self.num_envs, dtype=np.bool_), ~is_dead], axis=1)}

    def _observe(self) -> dict[str, Array]:
        return {agent: self.rung[:, None].astype(np.float32) for agent in self.agents}

    def render(self, index: int = 0) -> np.ndarray[Any, Any]:
        return np.zeros((2, 2, 3), dtype=np.uint8)


def paid(env: BatchEnv, steps: int, **options: Any) -> np.ndarray[Any, Any]:
    """Return what agent a is paid in each step, (steps, num_envs); agent b gets ten times that."""
    env.reset(np.arange(env.num_envs), None, options)
    nothing = {agent: np.zeros(env.num_envs, dtype=np.int64) for agent in env.agents}
    found = []
    for count in range(1, steps + 1):
        step = env.step(nothing)
        np.testing.assert_array_equal(step.info[DENSE_REWARD][:, 0], count)
        np.testing.assert_array_equal(step.rewards[:, 1], 10 * step.rewards[:, 0])
        found.append(step.rewards[:, 0])
    return np.array(found)


def test_an_episode_pays_its_sum_at_its_end_by_a_terminal_state_or_the_time_limit() -> None:
    found = paid(EpisodicReward(Ladder(2)), 6, top=[4, 100])
    assert found[:, 0].tolist()[:4] == [0, 0, 0, 1 + 2 + 3 + 4]
    assert found[:, 1].tolist() == [0, 0, 0, 0, 0, 21]


def test_every_k_steps_pay_their_sum_and_the_end_pays_the_rest() -> None:
    found = paid(DelayedReward(Ladder(2), 4), 6, top=[3, 100])
    assert found[:, 0].tolist()[:3] == [0, 0, 6]
    assert found[:, 1].tolist() == [0, 0, 0, 10, 0, 11]
    assert paid(DelayedReward(Ladder(1), 1), 6)[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert paid(DelayedReward(Ladder(1), 3), 6)[:, 0].tolist() == [0, 0, 6, 0, 0, 15]
    # Without a time limit a period still pays.
    assert paid(DelayedReward(Ladder(1, None), 8), 9)[:, 0].tolist() == [0] * 7 + [36, 0]


def test_a_reset_forgets_what_was_withheld_in_its_environments_alone() -> None:
    env = EpisodicReward(Ladder(2))
    paid(env, 3)
    _, info = env.reset(np.array([9]), np.array([1]))
    assert info[DENSE_REWARD].tolist() == [[0, 0], [0, 0]]
    nothing = {agent: np.zeros(2, dtype=np.int64) for agent in env.agents}
    rewards = [env.step(nothing).rewards[:, 0].tolist() for _ in range(6)]
    assert [row[0] for row in rewards[:3]] == [0, 0, 21]
    assert [row[1] for row in rewards] == [0, 0, 0, 0, 0, 21]


def test_an_agent_is_paid_with_its_death() -> None:
    env = EpisodicReward(Ladder(2, has_deaths=True))
    env.reset(np.arange(2), None, {"dies": [1, 0]})
    nothing = {agent: np.zeros(2, dtype=np.int64) for agent in env.agents}
    rewards = np.array([env.step(nothing).rewards for _ in range(6)])
    assert rewards[:, 0, 0].tolist() == [0, 0, 0, 0, 0, 21]
    assert rewards[:, 0, 1].tolist() == [0, 0, 60, 0, 0, 150]
    assert rewards[:, 1].tolist() == [[0, 0]] * 5 + [[21, 210]]
    # In the next episode of the environment nobody is dead, so nobody has died at its start.
    env.reset(np.array([5]), np.array([0]))
    assert env.step(nothing).rewards[0].tolist() == [0, 0]


def test_copies_and_pickles_within_an_episode_pay_alike() -> None:
    env = EpisodicReward(Ladder(1))
    paid(env, 3)
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env)), env):
        nothing = {agent: np.zeros(1, dtype=np.int64) for agent in env.agents}
        assert [twin.step(nothing).rewards[0, 0] for _ in range(3)] == [0, 0, 21]


NAMES = ("SimpleSpread-v0", "Climbing-v0", "KuhnPoker-v0", "HopperVelocity-v0", "RiskyCorridor-v0")


@pytest.mark.parametrize("delay", ["episode", 7])
@pytest.mark.parametrize("name", NAMES)
def test_any_environment_pays_the_same_in_all_and_nothing_else_changes(
    name: str, delay: Any
) -> None:
    count, limit = 8, {} if name == "KuhnPoker-v0" else {"max_episode_steps": 30}
    plain, late = make_batch(name, count, **limit), make_batch(name, count, delay=delay, **limit)
    rng = np.random.default_rng(1)
    info = plain.reset(np.arange(count))[1]
    late_info = late.reset(np.arange(count))[1]
    active = np.ones(count, dtype=np.bool_)
    total, dense = np.zeros((2, count, plain.num_agents)), 0.0
    while active.any():
        assert late_info.keys() == info.keys() | {DENSE_REWARD}
        actions = {}
        for agent, space in plain.action_spaces.items():
            if isinstance(space, spaces.Box):
                actions[agent] = rng.uniform(-1, 1, (count, *space.shape)).astype(np.float32)
            elif "action_mask" in info:
                actions[agent] = info["action_mask"].argmax(axis=1)
            else:
                actions[agent] = rng.integers(0, space.n, count)  # type: ignore[attr-defined]
        one, other = plain.step(actions, active), late.step(actions, active)
        for agent in plain.agents:
            np.testing.assert_array_equal(
                one.observations[agent][active], other.observations[agent][active]
            )
        np.testing.assert_array_equal(one.terminated[active], other.terminated[active])
        np.testing.assert_array_equal(one.truncated[active], other.truncated[active])
        np.testing.assert_array_equal(one.rewards[active], other.info[DENSE_REWARD][active])
        for sums, step in zip(total, (one, other), strict=True):
            sums[active] += step.rewards[active]
        dense += float(np.abs(one.rewards[active]).sum())
        info, late_info = one.info, other.info
        active = active & ~(one.terminated | one.truncated)
    np.testing.assert_allclose(total[0], total[1], rtol=1e-12, atol=1e-12)
    assert dense > 0 or name == "KuhnPoker-v0"


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_a_vector_environment_pays_each_episode_in_every_autoreset_mode(mode: str) -> None:
    envs = gymnasium.make_vec(
        "pkubench/SimpleSpread-v0",
        num_envs=3,
        autoreset_mode=mode,
        delay="episode",
        max_episode_steps=4,
    )
    envs.reset(seed=0)
    envs.action_space.seed(0)
    nonzero = []
    for _ in range(10):
        _, rewards, terminated, truncated, infos = envs.step(envs.action_space.sample())
        done = terminated | truncated
        nonzero.append(bool((rewards != 0).all()))
        assert (rewards != 0).any() == done.any() == done.all()
        if mode == "SameStep" and done.any():
            assert infos["final_info"][DENSE_REWARD].shape == (3, 3)
            assert not infos[DENSE_REWARD].any()
        if mode == "Disabled" and done.any():
            envs.reset(options={"reset_mask": np.ones(3, dtype=np.bool_)})
    ends = [4, 9] if mode == "NextStep" else [4, 8]  # the next step resets
    assert [k for k, is_paid in enumerate(nonzero, start=1) if is_paid] == ends


def test_the_other_adapters_pay_at_the_time_limit_of_the_environment() -> None:
    env = gymnasium.make("pkubench/Navigation3-v0")
    env.reset(seed=3)
    env.action_space.seed(3)
    rewards, dense = [], 0.0
    for _ in range(25):
        _, reward, _, truncated, info = env.step(env.action_space.sample())
        rewards.append(reward)
        dense += info[DENSE_REWARD].sum()
    assert truncated and rewards[:24] == [0.0] * 24
    assert rewards[24] == pytest.approx(dense) and dense < -10
    parallel = pkubench.parallel_env("pkubench/HeterogeneousCarriers-v0", delay=20)
    parallel.reset(seed=3)
    steps = [parallel.step({a: np.ones(2, np.float32) for a in parallel.agents}) for _ in range(50)]
    assert [k for k, step in enumerate(steps, 1) if step[1]["agent_0"]] == [20, 40, 50]


def test_gymnasium_warns_of_a_time_limit_around_it_that_it_does_not_know() -> None:
    env = gymnasium.make("pkubench/Navigation3-v0", max_episode_steps=5)
    env.reset(seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an early reset by itself is nothing to warn of
        for steps in (5, 5, 3, 5, 5, 5, 5):
            for _ in range(steps):
                step = env.step(env.action_space.sample())
            assert step[1] == 0.0 and step[3] == (steps == 5)
            env.reset()
    for _ in range(5):
        env.step(env.action_space.sample())
    with pytest.warns(UserWarning, match="last 5 episodes were cut at step 5"):
        env.reset()


def random_behaviour(rng: np.random.Generator) -> Any:
    def behave(inputs: Mapping[str, Array], masks: Mapping[str, Array]) -> Any:
        actions = {agent: rng.integers(0, 4, len(array)) for agent, array in inputs.items()}
        return actions, actions, {agent: np.zeros(len(array)) for agent, array in inputs.items()}

    return behave


def collected(seed: int, delay: Any, whole_episodes: bool) -> tuple[Rollout, Collector]:
    env = make_batch("AliceAndBob-v0", 6, delay=delay, max_episode_steps=12)
    collector = Collector(env, seed, 50, lambda raw, state, fresh, alive: (dict(raw), state))
    rng = np.random.default_rng(seed)
    rollout = collector.collect(
        30, random_behaviour(rng), restart=True, whole_episodes=whole_episodes
    )
    return rollout, collector


@pytest.mark.parametrize("whole_episodes", [False, True])
def test_learners_see_the_delayed_reward_alone(whole_episodes: bool) -> None:
    late, late_collector = collected(0, "episode", whole_episodes)
    dense, dense_collector = collected(0, None, whole_episodes)
    ends = late.terminated | late.truncated
    assert ends.sum() >= 12 and not late.rewards[~ends].any()
    assert dense.rewards[~ends].any()
    # The same steps: only the rewards differ, and reported returns do not.
    for name in ("states", "terminated", "truncated", "first", "valid"):
        np.testing.assert_array_equal(getattr(late, name), getattr(dense, name))
    np.testing.assert_allclose(late_collector.window.returns, dense_collector.window.returns)
    # What each step earned stands nowhere in what is collected.
    hidden = dense.rewards[~ends & dense.valid][:, 0]
    hidden = hidden[hidden != 0]
    for name in ("rewards", "costs"):
        assert not np.isin(getattr(late, name)[~ends], hidden).any()
    assert late.sources is None
    assert not any("reward" in name for name in Rollout.__dataclass_fields__ if name != "rewards")


def test_a_collector_resumes_within_an_episode_with_what_was_withheld() -> None:
    collector = collected(1, "episode", False)[1]
    assert collector.env.elapsed.any()
    env = make_batch("AliceAndBob-v0", 6, max_episode_steps=12)
    other = Collector(env, 1, 50, lambda raw, state, fresh, alive: (dict(raw), state))
    other.thaw(collector.freeze())
    np.testing.assert_array_equal(env.withheld, collector.env.withheld)  # type: ignore[attr-defined]
    assert env.withheld.any()  # type: ignore[attr-defined]
    one, two = (
        c.collect(20, random_behaviour(np.random.default_rng(2)), restart=False)
        for c in (collector, other)
    )
    np.testing.assert_array_equal(one.rewards, two.rewards)
    assert one.rewards.any()


@pytest.mark.parametrize("delay", [0, -3, True, 2.5, "epsode", [4]])
def test_an_unknown_delay_is_refused(delay: Any) -> None:
    with pytest.raises(ConfigError, match='delay must be "episode", a positive number of steps'):
        make_batch("SimpleSpread-v0", 1, delay=delay)


def test_an_episode_that_may_never_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="SimpleSpread without a time limit may have none"):
        make_batch("SimpleSpread-v0", 1, delay="episode", max_episode_steps=None)
    with pytest.raises(ConfigError, match="at least 1 step"):
        DelayedReward(Ladder(1), 0)
    assert make_batch("SimpleSpread-v0", 1, delay=5, max_episode_steps=None).num_envs == 1
    assert make_batch("KuhnPoker-v0", 1, delay="episode").max_episode_steps is None
    with pytest.raises(UnknownName, match="delay"):
        make_batch("SimpleSpread-v0", 1, delays=5)


def test_none_leaves_an_environment_as_it_is_and_unwrapped_finds_it() -> None:
    env = Ladder(1)
    assert delayed(env, None) is env is env.unwrapped
    assert DelayedReward(EpisodicReward(env), 3).unwrapped is env
    assert (
        DENSE_REWARD not in make_batch("Navigation3-v0", 1, delay=None).reset(np.zeros(1, int))[1]
    )


def test_the_tasks_of_the_suite_pay_at_the_end() -> None:
    names = [task.id for task in pkubench.tasks() if task.suite == "credit"]
    assert len(names) == 7
    for name in names:
        assert environments()[name].kwargs["delay"] == "episode"
        assert isinstance(make_batch(name, 1), EpisodicReward)


def test_any_task_has_a_delayed_variant_by_name(tmp_path: Path) -> None:
    plain, late = (pkubench.make_task(f"AliceAndBob-v0{end}") for end in ("", "+delay=007"))
    assert late.id == "pkubench/AliceAndBob-v0+delay=7"
    assert late.references == plain.references and late.metrics == plain.metrics
    env = make_batch(late.id, 2)
    assert isinstance(env, DelayedReward) and env.period == 7
    assert traits(late.id) == traits(plain.id)
    found = pkubench.evaluate("scripted:optimum", late, episodes=2, workers=2, out=tmp_path)
    assert found.metrics["return"].mean == 100.0
    assert found.task == late.id
    for wrong in ("dleay=7", "", "mass=2"):
        with pytest.raises(UnknownName, match=r"variants are \+delay=20 and \+delay=episode"):
            pkubench.make_task(f"AliceAndBob-v0+{wrong}")
    for wrong in ("0", "-1", "1.5", "", "ever"):
        with pytest.raises(ConfigError, match="delay= takes a positive number of steps, or epi"):
            pkubench.make_task(f"AliceAndBob-v0+delay={wrong}")
    with pytest.raises(ConfigError, match=r"AliceAndBob-v0\+delay=3\+delay=4 sets delay twice"):
        pkubench.make_task("AliceAndBob-v0+delay=3+delay=4")
    with pytest.raises(UnknownName, match=r"did you mean 'pkubench/AliceAndBob-v0\+delay=7'"):
        pkubench.make_task("AliceAndBbo-v0+delay=7")
    with pytest.raises(ConfigError, match="evaluate the agent on AliceAndBob-v0 and submit that"):
        make_listed_task(late.id)
