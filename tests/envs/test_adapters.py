"""The Gymnasium and PettingZoo adapters, held to Gymnasium's own vector environment."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import pkubench
from pkubench.envs.adapters.factories import make_single, make_vector, parallel_env
from pkubench.envs.adapters.gymnasium import GymnasiumAdapter, VectorAdapter
from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.episode_seeds import EpisodeSeeds
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import IntArray, RandomStreams, next_seeds
from pkubench.errors import ActionError, ConfigError, UnknownName

NUM_ENVS = 5


class Walk(BatchEnv):
    """A random walk that ends where it leaves [-3, 3]; small enough to check by hand.

    It has what the particle environments lack: ends at different times in different environments,
    infos with and without further axes, and infos that reset gives too.
    """

    default_horizon = 9

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.observation_spaces = {"agent": spaces.Box(-9, 9, (2,), np.float32)}
        self.action_spaces = {"agent": spaces.Discrete(3)}
        self.place = np.zeros(num_envs, dtype=np.int64)
        self.random = RandomStreams(num_envs)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self.random.seed(ids, seeds)
        self.place[ids] = self.random.integers(ids, 1, 5)[:, 0] - 2

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        indices = self._all if active is None else np.flatnonzero(active)
        self.place[indices] += actions["agent"][indices] - 1
        self.place[indices] += self.random.integers(indices, 1, 3)[:, 0] - 1
        rewards = self.place[:, None].astype(np.float64)
        return rewards, np.abs(self.place) > 3, {**self._info(), "cost": np.abs(rewards[:, 0])}

    def _observe(self) -> dict[str, Array]:
        return {"agent": np.stack([self.place, self.elapsed], axis=1).astype(np.float32)}

    def _info(self) -> Info:
        mask = np.stack([self.place > -3, self.place < 3], axis=1).astype(np.int8)
        return {"action_mask": mask, "is_home": self.place == 0}

    def render(self, env_index: int = 0) -> npt.NDArray[np.uint8]:
        return np.full((8, 8, 3), 100 + self.place[env_index], dtype=np.uint8)


def limited(env: gymnasium.Env[Any, Any], limit: int) -> gymnasium.Env[Any, Any]:
    return gymnasium.wrappers.TimeLimit(env, limit)


def pair(name: str, mode: AutoresetMode) -> tuple[VectorAdapter, SyncVectorEnv]:
    """Return our vector environment and Gymnasium's over single ones, of the same environment."""
    if name == "walk":
        ours = VectorAdapter(Walk(NUM_ENVS), mode)
        theirs = SyncVectorEnv(
            [lambda: limited(GymnasiumAdapter(Walk(1, None)), 9)] * NUM_ENVS, autoreset_mode=mode
        )
    else:
        ours = make_vector(name, NUM_ENVS, autoreset_mode=mode)
        theirs = SyncVectorEnv([lambda: gymnasium.make(name)] * NUM_ENVS, autoreset_mode=mode)
    return ours, theirs


def assert_same(got: Any, wanted: Any, where: str) -> None:
    if isinstance(wanted, Mapping):
        assert set(got) == set(wanted), where
        for key in wanted:
            assert_same(got[key], wanted[key], f"{where}.{key}")
    elif isinstance(wanted, np.ndarray) and wanted.dtype == object:
        assert got.shape == wanted.shape, where
        for index, value in enumerate(wanted):
            assert_same(got[index], value, f"{where}[{index}]")
    elif wanted is None:
        assert got is None, where
    else:
        assert got.dtype == wanted.dtype, (where, got.dtype, wanted.dtype)
        np.testing.assert_array_equal(got, wanted, err_msg=where)


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", ["walk", "pkubench/SimpleSpread-v0"])
def test_the_batch_does_what_gymnasiums_sync_vector_env_does(
    name: str, mode: AutoresetMode
) -> None:
    ours, theirs = pair(name, mode)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.metadata["autoreset_mode"] is mode
    for got, wanted in zip(ours.reset(seed=11), theirs.reset(seed=11), strict=True):
        assert_same(got, wanted, "reset")
    ours.action_space.seed(3)
    ends = 0
    for step in range(80):
        actions = ours.action_space.sample()
        got, wanted = ours.step(actions), theirs.step(actions)
        for part, (a, b) in enumerate(zip(got, wanted, strict=True)):
            assert_same(a, b, f"step {step}, part {part}")
        over = got[2] | got[3]
        ends += over.sum()
        if mode is AutoresetMode.DISABLED and over.any():
            for a, b in zip(
                ours.reset(options={"reset_mask": over}),
                theirs.reset(options={"reset_mask": over.copy()}),
                strict=True,
            ):
                assert_same(a, b, f"masked reset after step {step}")
    assert ends >= 3 * NUM_ENVS


def test_a_masked_reset_takes_the_seeds_of_its_environments() -> None:
    ours, theirs = pair("walk", AutoresetMode.DISABLED)
    ours.reset(seed=0)
    theirs.reset(seed=0)
    mask = np.array([False, True, False, True, True])
    seeds = [None, 21, 22, None, 24]
    for a, b in zip(
        ours.reset(seed=seeds, options={"reset_mask": mask}),
        theirs.reset(seed=seeds, options={"reset_mask": mask}),
        strict=True,
    ):
        assert_same(a, b, "masked reset")
    np.testing.assert_array_equal(ours.seeds.last, [0, 21, 2, next_seeds(np.array([3]))[0], 24])
    for vector in (ours, theirs):
        vector.reset(seed=70, options={"reset_mask": mask.copy()})
    np.testing.assert_array_equal(ours.seeds.last, [0, 71, 2, 73, 74])


def test_a_masked_reset_leaves_environments_that_are_over_waiting() -> None:
    env = VectorAdapter(Walk(3, 2), "Disabled")
    env.reset(seed=0)
    for _ in range(2):
        env.step(np.ones(3, dtype=np.int64))
    env.reset(options={"reset_mask": np.array([True, False, True])})
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"\[1\] are over"):
        env.step(np.ones(3, dtype=np.int64))
    env.reset(options={"reset_mask": np.array([False, True, False])})
    env.step(np.ones(3, dtype=np.int64))


def test_environment_i_starts_the_episode_of_seed_plus_i_and_continues_with_the_next() -> None:
    batch = make_vector("SimpleSpread-v0", 3)
    observations, _ = batch.reset(seed=40)
    single = make_single("SimpleSpread-v0")
    for env_index in range(3):
        alone, _ = single.reset(seed=40 + env_index)
        np.testing.assert_array_equal(observations["agent_1"][env_index], alone["agent_1"])
    following, _ = single.reset()
    again, _ = single.reset(seed=int(next_seeds(np.array([42]))[0]))
    np.testing.assert_array_equal(following["agent_0"], again["agent_0"])


def test_environments_that_were_never_seeded_differ() -> None:
    starts = {make_single("SimpleSpread-v0").reset()[0]["agent_0"].tobytes() for _ in range(4)}
    assert len(starts) == 4
    seeds = EpisodeSeeds(1000)
    first = seeds.take(np.arange(1000))
    assert len(set(first.tolist())) == 1000
    assert (first >= 0).all() and (first < 2**31).all()


def test_the_team_reward_is_the_sum_over_agents() -> None:
    env = gymnasium.make("pkubench/SimpleSpread-v0")
    assert isinstance(env.action_space, spaces.Dict)
    env.reset(seed=1)
    env.action_space.seed(1)
    _, reward, _, _, info = env.step(env.action_space.sample())
    assert set(info["rewards"]) == {"agent_0", "agent_1", "agent_2"}
    assert reward == pytest.approx(sum(info["rewards"].values()), abs=1e-12)
    assert isinstance(reward, float)


def test_gymnasium_makes_the_native_batch() -> None:
    env = gymnasium.make_vec("pkubench/SimpleSpread-v0", num_envs=7, num_agents=2)
    assert isinstance(env, VectorAdapter)
    assert env.batch.max_episode_steps == 25
    observations, _ = env.reset(seed=0)
    assert observations["agent_1"].shape == (7, 12)
    short = gymnasium.make_vec("pkubench/SimpleSpread-v0", num_envs=2, max_episode_steps=4)
    assert short.unwrapped.batch.max_episode_steps == 4


def test_gymnasium_finds_the_environments_without_an_import_of_ours() -> None:
    # Gymnasium 1.4 has no plug-in entry point any more; the module is named before the colon.
    code = 'import gymnasium; gymnasium.make("pkubench:pkubench/SimpleSpread-v0").reset(seed=0)'
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_single_face_leaves_the_time_limit_to_gymnasium() -> None:
    assert make_single("SimpleSpread-v0").batch.max_episode_steps is None
    env = gymnasium.make("pkubench/SimpleSpread-v0", max_episode_steps=3)
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[3] for _ in range(3)]
    assert ends == [False, False, True]


def test_the_parallel_face_ends_for_all_agents_at_once() -> None:
    env = parallel_env("SimpleReference-v0", max_episode_steps=2)
    env.reset(seed=5)
    assert env.state().shape == env.state_space.shape
    actions = {agent: 0 for agent in env.agents}
    _, _, _, truncated, _ = env.step(actions)
    assert not any(truncated.values())
    _, rewards, terminated, truncated, infos = env.step(actions)
    assert all(truncated.values()) and not any(terminated.values())
    assert set(rewards) == set(infos) == set(env.possible_agents)
    assert env.agents == []
    assert env.step(actions) == ({}, {}, {}, {}, {})


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (0, "dictionary"),
        ({"agent_0": 1, "agent_1": 1}, "no action for 'agent_2'"),
        ({"agent_0": 5, "agent_1": 0, "agent_2": 0}, "outside"),
        ({"agent_0": 0.5, "agent_1": 0, "agent_2": 0}, "integer"),
        ({"agent_0": [1, 2], "agent_1": 0, "agent_2": 0}, "shape"),
        ({"agent_0": "left", "agent_1": 0, "agent_2": 0}, "dtype"),
        ({"agent_0": None, "agent_1": 0, "agent_2": 0}, "dtype"),
    ],
)
def test_a_wrong_action_is_a_sentence_and_changes_nothing(action: Any, words: str) -> None:
    env = make_single("SimpleSpread-v0")
    before, _ = env.reset(seed=2)
    with pytest.raises(ActionError, match=words):
        env.step(action)
    np.testing.assert_array_equal(env.batch._observe()["agent_0"][0], before["agent_0"])
    parallel = parallel_env("SimpleSpread-v0")
    parallel.reset(seed=2)
    with pytest.raises(ActionError, match=words):
        parallel.step(action)


def test_a_continuous_action_that_is_not_a_number_is_refused() -> None:
    env = make_single("SimpleSpreadContinuous-v0")
    env.reset(seed=0)
    push = np.full(5, 0.5, dtype=np.float32)
    broken = {"agent_0": push, "agent_1": push * np.nan, "agent_2": push}
    with pytest.raises(ActionError, match="'agent_1' is not finite"):
        env.step(broken)


def test_environments_that_wait_for_their_reset_may_be_given_any_action() -> None:
    env = VectorAdapter(Walk(NUM_ENVS))
    env.reset(seed=11)
    for _ in range(40):
        over = env._over.copy()
        actions = np.where(over, 99, 2)
        env.step(actions)
    with pytest.raises(ActionError):
        env._over[:] = False
        env.step(np.full(NUM_ENVS, 99))


@pytest.mark.parametrize("seed", [-1, 1.5, "seven", 2**63])
def test_a_seed_that_no_episode_can_have_is_refused(seed: Any) -> None:
    with pytest.raises(ConfigError, match="seed"):
        make_single("SimpleSpread-v0").reset(seed=seed)
    with pytest.raises(ConfigError, match="seed"):
        make_vector("SimpleSpread-v0", 1).reset(seed=[seed])


def test_settings_that_do_not_exist_are_refused() -> None:
    with pytest.raises(UnknownName, match="SimpleSpread-v0"):
        make_single("SimpleSpred-v0")
    with pytest.raises(UnknownName, match="colour"):
        make_vector("SimpleSpread-v0", colour="red")
    with pytest.raises(ConfigError, match="render_mode"):
        parallel_env("SimpleSpread-v0", render_mode="ansi")
    with pytest.raises(ConfigError, match="autoreset_mode"):
        make_vector("SimpleSpread-v0", autoreset_mode="Sometimes")
    with pytest.raises(ConfigError, match="3 seeds for 2"):
        make_vector("SimpleSpread-v0", 2).reset(seed=[1, 2, 3])
    with pytest.raises(ConfigError, match="reset_mask"):
        make_vector("SimpleSpread-v0", 2).reset(options={"reset_mask": np.zeros(2, dtype=bool)})


def test_stepping_before_reset_and_past_the_end_is_refused() -> None:
    for env in (make_single("SimpleSpread-v0"), make_vector("SimpleSpread-v0", 2)):
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(env.action_space.sample())
    with pytest.raises(gymnasium.error.ResetNeeded):
        parallel_env("SimpleSpread-v0").step({})
    env = VectorAdapter(Walk(2, 1), "Disabled")
    with pytest.raises(gymnasium.error.ResetNeeded, match="without a mask"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(seed=0)
    env.step(np.ones(2, dtype=np.int64))
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"\[0, 1\] are over"):
        env.step(np.ones(2, dtype=np.int64))


def test_adapters_can_be_pickled_and_copied_in_the_middle_of_an_episode() -> None:
    adapter = make_vector("SimpleReference-v0", 3)
    adapter.reset(seed=9)
    adapter.action_space.seed(0)
    adapter.step(adapter.action_space.sample())
    actions = adapter.action_space.sample()
    twins = [pickle.loads(pickle.dumps(adapter)), copy.deepcopy(adapter)]
    wanted = adapter.step(actions)
    for twin in twins:
        assert_same(twin.step(actions)[0], wanted[0], "observations")
    env = parallel_env("SimpleSpread-v0")
    env.reset(seed=1)
    assert_same(pickle.loads(pickle.dumps(env)).state(), env.state(), "state")


def test_pictures_come_only_when_asked_for() -> None:
    env = gymnasium.make("pkubench/SimpleSpread-v0", render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().shape == (480, 480, 3)
    batch = make_vector("SimpleSpread-v0", 2, render_mode="rgb_array")
    batch.reset(seed=0)
    assert [frame.shape for frame in batch.render()] == [(480, 480, 3)] * 2
    frames = gymnasium.make("pkubench/SimpleSpread-v0", render_mode="rgb_array_list")
    frames.reset(seed=0)
    assert len(frames.render()) == 1
    for quiet in (make_single("SimpleSpread-v0"), parallel_env("SimpleSpread-v0")):
        quiet.reset(seed=0)
        with pytest.warns(UserWarning, match="render_mode"):
            assert quiet.render() is None


def test_the_package_hands_out_the_faces() -> None:
    assert pkubench.parallel_env is parallel_env
    assert pkubench.make_batch is make_batch


def test_a_setting_that_an_environment_lacks_is_named_with_the_nearest() -> None:
    with pytest.raises(
        UnknownName, match="no setting of pkubench/SimpleSpread-v0 'num_agent'; did"
    ):
        gymnasium.make("pkubench/SimpleSpread-v0", num_agent=4)
    with pytest.raises(UnknownName, match=r"'zzz'; known: .*num_agents") as refused:
        make_batch("SimpleSpread-v0", 2, zzz=4)
    assert "num_envs" not in str(refused.value)


def test_no_name_is_suggested_that_is_far_from_the_one_given() -> None:
    with pytest.raises(UnknownName, match="no environment 'pkubench/Nope-v0'; `pkubench list`"):
        make_batch("pkubench/Nope-v0")
