"""Stable-Baselines3 on a native batch, held to its own DummyVecEnv over single environments."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from pkubench.errors import ActionError, ConfigError
from tests.envs.test_copies import same

pytest.importorskip("stable_baselines3")
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from pkubench.envs.adapters.sb3 import as_sb3_vec_env

COUNT = 3
HOPPER = "pkubench/HopperVelocity-v0"


def native(name: str, **kwargs: Any) -> Any:
    return as_sb3_vec_env(gymnasium.make_vec(name, num_envs=COUNT, **kwargs))


def in_order(infos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [dict(sorted(info.items())) for info in infos]


@pytest.mark.parametrize("name", [HOPPER, "pkubench/LeducPoker-v0", "pkubench/RiskyCorridor-v0"])
def test_it_gives_what_dummy_vec_env_gives(name: str) -> None:
    ours = native(name)
    theirs = DummyVecEnv([lambda: gymnasium.make(name)] * COUNT)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    ours.action_space.seed(1)
    ends = 0
    for _ in range(2):
        for envs in (ours, theirs):
            envs.seed(11)
        same(ours.reset(), theirs.reset())
        same(ours.reset_infos, theirs.reset_infos)
        for _ in range(55):
            actions = np.stack([ours.action_space.sample() for _ in range(COUNT)])
            *got, infos = ours.step(actions)
            *wanted, their_infos = theirs.step(actions)
            same(got, wanted)
            same(in_order(infos), in_order(their_infos))
            same(ours.reset_infos, theirs.reset_infos)
            ends += int(got[2].sum())
    assert ends >= 2 * COUNT
    same(ours.reset(), theirs.reset())  # without a seed: the episode that follows


def test_truncation_is_distinguished_from_termination() -> None:
    envs = native("pkubench/RiskyCorridor-v0", max_episode_steps=2)
    envs.reset()
    for late in (False, True, False):
        _, _, dones, infos = envs.step(np.zeros(COUNT, dtype=np.int64))
        assert dones.tolist() == [late] * COUNT
        assert [info["TimeLimit.truncated"] for info in infos] == [late] * COUNT
        assert ["terminal_observation" in info for info in infos] == [late] * COUNT


def test_ppo_learns_to_drive_on_it() -> None:
    envs = VecMonitor(
        as_sb3_vec_env(gymnasium.make_vec("pkubench/SpeedLimit-v0", num_envs=32)),
    )
    model = PPO(
        "MlpPolicy",
        envs,
        n_steps=20,
        batch_size=160,
        n_epochs=4,
        learning_rate=3e-3,
        seed=0,
        device="cpu",
    )
    returns = []
    for _ in range(4):
        model.learn(32 * 20, reset_num_timesteps=False)
        returns.append(np.mean([episode["r"] for episode in list(model.ep_info_buffer)[-32:]]))
    assert returns[0] < 0 < 4 < returns[-1], "from driving backwards to driving forwards"


def test_masked_algorithms_find_the_action_masks() -> None:
    utilities = pytest.importorskip("sb3_contrib.common.maskable.utils")
    poker = native("pkubench/LeducPoker-v0")
    poker.reset()
    assert utilities.is_masking_supported(poker)
    masks = utilities.get_action_masks(poker)
    shown = np.stack([info["action_mask"] for info in poker.reset_infos])
    np.testing.assert_array_equal(masks, shown.astype(bool))
    *_, infos = poker.step(masks.argmax(axis=1))
    over = ["terminal_observation" in info for info in infos]
    now = [poker.reset_infos[i] if over[i] else infos[i] for i in range(COUNT)]
    np.testing.assert_array_equal(
        utilities.get_action_masks(poker), np.stack([info["action_mask"] for info in now]) != 0
    )
    assert not utilities.is_masking_supported(native(HOPPER))


def test_what_a_batch_cannot_do_is_refused() -> None:
    envs = native(HOPPER)
    assert envs.get_attr("render_mode", [0, 2]) == [None, None]
    assert envs.env_is_wrapped(gymnasium.Wrapper) == [False] * COUNT
    with pytest.raises(ConfigError, match="share their attributes"):
        envs.set_attr("anything", 1, indices=[0])
    with pytest.raises(AttributeError, match="no method 'fly'"):
        envs.env_method("fly")
    with pytest.raises(gymnasium.error.ResetNeeded):
        envs.step(np.zeros((COUNT, 3), dtype=np.float32))
    envs.reset()
    with pytest.raises(ActionError, match="not finite"):
        envs.step(np.full((COUNT, 3), np.nan, dtype=np.float32))
    with pytest.raises(ConfigError, match="has 3; `pkubench train`"):
        native("pkubench/SimpleSpread-v0")
    sync = gymnasium.make_vec(HOPPER, num_envs=2, vectorization_mode="sync")
    with pytest.raises(ConfigError, match="got SyncVectorEnv"):
        as_sb3_vec_env(sync)
