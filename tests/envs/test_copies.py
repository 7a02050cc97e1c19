"""Copies and pickles made within an episode go through the same bits as their original."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest

import pkubench
from pkubench.envs.core import checks
from pkubench.envs.core.registry import make_batch
from pkubench.envs.games import aec
from pkubench.errors import ConfigError
from tests.envs.tape import HERE

WAYS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda env: pickle.loads(pickle.dumps(env)),
    "cloudpickle": lambda env: cloudpickle.loads(cloudpickle.dumps(env)),
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)

KINDS = (
    "HumanoidVelocity-v0",  # with derived fields, and an MjData for each environment
    "PointButton1-v0",  # with bodies that are driven, and fields of the model
    "MultiHumanoid9p8-v0",
    "SimpleReference-v0",
    "RiskyCorridor-v0",
    "LeducPoker-v0",
)
"""Each mechanism once; the others are slow together."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name.rpartition("/")[2] in KINDS else pytest.mark.slow)
        for name in HERE
    ],
)
def test_a_copy_of_a_batch_behaves_as_its_original(name: str) -> None:
    checks.check_copies(checks.Subject(name, functools.partial(make_batch, name)))


FORMS: dict[str, Callable[[str], Any]] = {
    "make": gymnasium.make,
    "make_vec": lambda name: gymnasium.make_vec(name, num_envs=3),
    "parallel": lambda name: pkubench.parallel_env(name.rpartition("/")[2]),
}


def same(got: Any, wanted: Any) -> None:
    """Hold two nested results to the same structure, types and bits."""
    assert type(got) is type(wanted)
    if isinstance(wanted, Mapping):
        assert list(got) == list(wanted)
        for key in wanted:
            same(got[key], wanted[key])
    elif isinstance(wanted, tuple | list):
        assert len(got) == len(wanted)
        for one, other in zip(got, wanted, strict=True):
            same(one, other)
    else:
        one, other = np.asarray(got), np.asarray(wanted)
        assert one.dtype == other.dtype and one.shape == other.shape
        assert one.tobytes() == other.tobytes()


def actions_of(env: Any, count: int) -> list[Any]:
    """Return random actions, which do not depend on the environment's own draws."""
    if hasattr(env, "possible_agents"):
        spaces = {agent: env.action_space(agent) for agent in env.possible_agents}
        for number, space in enumerate(spaces.values()):
            space.seed(number)
        return [{a: space.sample() for a, space in spaces.items()} for _ in range(count)]
    env.action_space.seed(5)
    return [env.action_space.sample() for _ in range(count)]


def played(env: Any, actions: list[Any]) -> list[Any]:
    """Return all that a form gives from here on, to the end and into the next episode."""
    return [*(env.step(action) for action in actions), env.reset(), env.step(actions[0])]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", ["HopperVelocity-v0", "MultiHopper3x1-v0", "LeducPoker-v0"])
@ways
def test_a_copy_of_every_form_behaves_as_its_original(
    name: str, form: Callable[[str], Any], way: Callable[[Any], Any]
) -> None:
    env, untouched = form(f"pkubench/{name}"), form(f"pkubench/{name}")
    actions = actions_of(env, 7)
    for one in (env, untouched):
        one.reset(seed=3)
        for action in actions[:3]:
            one.step(action)
    twin = way(env)
    got = played(twin, actions[3:])
    wanted = played(untouched, actions[3:])
    same(got, wanted)
    same(played(env, actions[3:]), wanted)


@pytest.mark.parametrize("game", ["leduc_poker", "tic_tac_toe", "goofspiel(num_cards=4)"])
@ways
def test_a_copy_of_a_game_in_turns_behaves_as_its_original(
    game: str, way: Callable[[Any], Any]
) -> None:
    def rest(env: aec.GameAEC) -> list[Any]:
        seen = []
        for _ in range(2):
            for _ in env.agent_iter():
                observation, *others = env.last()
                seen.append((env.agent_selection, observation, *others))
                over = others[1] or others[2]
                env.step(None if over else int(np.flatnonzero(observation["action_mask"])[-1]))
            env.reset()
        return seen

    env, untouched = aec.env(game), aec.env(game)
    for one in (env, untouched):
        one.reset(seed=8)
        one.step(int(np.flatnonzero(one.observe(one.agent_selection)["action_mask"])[0]))
    twin = way(env)
    wanted = rest(untouched)
    same(rest(twin), wanted)
    same(rest(env), wanted)


def test_a_copy_sees_its_own_simulations_and_no_open_camera() -> None:
    env = make_batch("AntVelocity-v0", 2)
    env.reset(np.arange(2))
    env._camera = object()
    twin = copy.deepcopy(env)
    assert twin._camera is None
    for name in ("qpos", "qvel", "ctrl", "motion", "_torso", "_warnings"):
        mine, its = getattr(env, name), getattr(twin, name)
        assert not np.shares_memory(mine, its)
        np.testing.assert_array_equal(mine, its)
        assert mine.flags.writeable == its.flags.writeable
    assert np.shares_memory(twin.qpos, twin.batch.state)
    assert np.shares_memory(twin._torso, twin.batch.bind("xpos"))


def test_a_pickle_of_another_mujoco_is_refused() -> None:
    env = make_batch("SwimmerVelocity-v0", 2)
    state = env.__getstate__()
    state["buffers"]["state"] = state["buffers"]["state"][:, 1:]
    with pytest.raises(ConfigError, match="another version of MuJoCo"):
        type(env).__new__(type(env)).__setstate__(state)
