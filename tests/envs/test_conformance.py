"""What every environment must do. A new one is covered as soon as it is registered.

To look at one environment: ``pytest tests/envs/test_conformance.py -k SimpleSpread-v0``.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

import pkubench
from pkubench.envs.core.batch import Array, BatchEnv, Info
from pkubench.envs.core.registry import env_class, environments, make_batch, resolve
from pkubench.envs.core.traits import traits_of
from pkubench.errors import ConfigError, PkubenchError, UnknownName
from tests.envs.tape import HERE, LARGE, SAMPLE, SHIPPED, Tape

STEPS = 12
SEEDS = np.arange(64) + 2_000

every_environment = pytest.mark.parametrize("name", HERE)
sampled_environments = pytest.mark.parametrize("name", SAMPLE)
TEAMS = tuple(
    f"pkubench.envs.{name}"
    for name in (
        *("particle", "linear_quadratic", "diagnostics", "multi_mujoco", "credit"),
        *("alignment", "battle"),
    )
)
every_team = pytest.mark.parametrize(
    "name", [name for name in HERE if environments()[name].entry_point.startswith(TEAMS)]
)
WITHOUT_CHANCE = "pkubench.envs.diagnostics"
"""Games that start the same whatever the seed, and see the same until they are over."""
START_ALIKE = (
    WITHOUT_CHANCE,
    "pkubench.envs.games.goofspiel",
    "pkubench.envs.credit.alice_and_bob",
    "pkubench.envs.alignment.matrix_dilemmas",
    "pkubench.envs.alignment.giving",
    "pkubench.envs.memory.lucky_arm",
    "pkubench.envs.memory.stitching",
    "pkubench.envs.minigrid.members:DistShift1",
)
"""Environments whose first picture is the same whatever the seed."""
SMALL = tuple(f"pkubench.envs.memory.{name}" for name in ("lucky_arm", "stitching", "tmaze"))
"""Environments with fewer than 16 different beginnings."""
every_environment_of_chance = pytest.mark.parametrize(
    "name",
    [
        name
        for name in SAMPLE
        if not environments()[name].entry_point.startswith((WITHOUT_CHANCE, *SMALL))
    ],
)


class Moment:
    """All that an environment says after a reset or a step, flattened to named arrays."""

    def __init__(self, observations: dict[str, Array], info: Info, **rest: Array) -> None:
        self.info = info
        self.arrays = {f"observation {agent}": array for agent, array in observations.items()}
        self.arrays |= {f"info {key}": value for key, value in info.items()}
        self.arrays |= rest

    def of(self, index: int) -> dict[str, bytes]:
        return {name: array[index].tobytes() for name, array in self.arrays.items()}


def play(
    batch: BatchEnv, seeds: np.ndarray[Any, Any], steps: int, active: Any = None
) -> Iterator[Moment]:
    """Yield what ``batch`` says from reset on, given the tape of its episodes."""
    tape = Tape(batch, seeds)
    moment = Moment(*batch.reset(seeds))
    yield moment
    for _ in range(steps):
        moment = advance(batch, tape.actions(moment.info), active)
        yield moment


def advance(batch: BatchEnv, actions: dict[str, Array], active: Any = None) -> Moment:
    step = batch.step(actions, active)
    return Moment(
        step.observations,
        step.info,
        rewards=step.rewards,
        terminated=step.terminated,
        truncated=step.truncated,
        state=batch.state(),
    )


def documentation(name: str) -> str:
    """Return what the docs say of an environment: its class, its settings and its family."""
    cls = env_class(resolve(name))
    texts = [base.__doc__ or "" for base in inspect.getmro(cls) if base is not BatchEnv]
    return "\n".join([*texts, inspect.getdoc(cls.__init__) or ""])


def test_every_registered_environment_is_tested() -> None:
    assert set(HERE) | LARGE == set(SHIPPED)


@every_environment
def test_the_class_and_the_catalogue_agree(name: str) -> None:
    spec = resolve(name)
    cls = env_class(spec)
    assert issubclass(cls, BatchEnv)
    assert re.fullmatch(r"pkubench/[A-Z][A-Za-z0-9_]*-v\d+", name)
    assert cls.default_horizon == spec.horizon
    made = make_batch(name, 1)
    assert made.max_episode_steps == spec.horizon
    assert traits_of(made) == spec.traits
    assert "rgb_array" in cls.metadata["render_modes"]
    assert cls.metadata["render_fps"] > 0
    assert gymnasium.spec(name).max_episode_steps == spec.horizon


@sampled_environments
def test_gymnasium_finds_nothing_wrong_with_it(name: str) -> None:
    env = gymnasium.make(name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env.unwrapped, skip_render_check=True)
    # Unbounded observations are what the originals have.
    unnamed = [
        str(w.message) for w in caught if "infinity. This is probably too" not in str(w.message)
    ]
    assert unnamed == []
    env.close()


@every_team
def test_pettingzoo_finds_nothing_wrong_with_it(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # PettingZoo's own, on import
        from pettingzoo.test import parallel_api_test, parallel_seed_test
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(pkubench.parallel_env(name), num_cycles=60)
        parallel_seed_test(lambda: pkubench.parallel_env(name), num_cycles=60)


@every_environment
def test_what_it_gives_lies_in_its_spaces(name: str) -> None:
    batch = make_batch(name, 5)
    assert tuple(batch.observation_spaces) == tuple(batch.action_spaces) == batch.agents
    structures = []
    for moment in play(batch, SEEDS[:5], STEPS):
        structures.append({key: (array.dtype, array.shape) for key, array in moment.info.items()})
        assert structures[-1] == structures[0], "infos have one structure, at reset and at step"
        for agent in batch.agents:
            space, array = (
                batch.observation_spaces[agent],
                moment.arrays[f"observation {agent}"],
            )
            assert array.shape == (5, *(space.shape or ()))
            assert array.dtype == space.dtype
            assert all(space.contains(row) for row in array)
        for key, values in moment.info.items():
            assert isinstance(values, np.ndarray) and len(values) == 5, key
        if "rewards" in moment.arrays:
            assert moment.arrays["rewards"].shape == (5, len(batch.agents))
            assert moment.arrays["rewards"].dtype == np.float64
            assert np.isfinite(moment.arrays["rewards"]).all()
            for end in ("terminated", "truncated"):
                assert moment.arrays[end].shape == (5,) and moment.arrays[end].dtype == np.bool_
            state = moment.arrays["state"]
            assert state.ndim == 2 and len(state) == 5
            if batch.state_space is not None:
                assert all(batch.state_space.contains(row) for row in state)
    batch.close()


@sampled_environments
def test_the_same_seeds_and_actions_give_the_same_bits(name: str) -> None:
    runs = [play(make_batch(name, 4), SEEDS[:4], STEPS) for _ in range(2)]
    for first, second in zip(*runs, strict=True):
        assert all(first.of(index) == second.of(index) for index in range(4))


@sampled_environments
def test_an_episode_is_the_same_at_any_index_of_any_batch(name: str) -> None:
    alone = play(make_batch(name, 1), SEEDS[37:38], STEPS)
    among_many = play(make_batch(name, 64), SEEDS, STEPS)
    for one, many in zip(alone, among_many, strict=True):
        assert one.of(0) == many.of(37)


@every_environment_of_chance
def test_other_seeds_give_other_episodes(name: str) -> None:
    moments = list(play(make_batch(name, 64), SEEDS, 3))
    stories = {tuple(str(m.of(index)) for m in moments) for index in range(64)}
    assert len(stories) > 16


@sampled_environments
def test_a_reset_of_some_environments_leaves_the_others_alone(name: str) -> None:
    left, right = make_batch(name, 4), make_batch(name, 4)
    moments = [list(play(batch, SEEDS[:4], 3))[-1] for batch in (left, right)]
    ids = np.array([1, 3])
    fresh = Moment(*right.reset(SEEDS[10:12], ids))
    for index in (0, 2):
        for key, value in fresh.of(index).items():
            if key.startswith("observation"):
                assert value == moments[0].of(index)[key]
    alone = Moment(*make_batch(name, 2).reset(SEEDS[10:12]))
    assert fresh.of(3) == alone.of(1)
    actions = Tape(left, SEEDS[:4]).actions(moments[0].info)
    one, other = advance(left, actions), advance(right, actions)
    assert all(one.of(index) == other.of(index) for index in (0, 2))
    assert right.elapsed.tolist() == [4, 1, 4, 1]


@sampled_environments
def test_environments_that_are_not_active_may_be_given_anything(name: str) -> None:
    active = np.array([True, False, True, False])
    left, right = make_batch(name, 4), make_batch(name, 4)
    tape = Tape(left, SEEDS[:4])
    moment = Moment(*left.reset(SEEDS[:4]))
    right.reset(SEEDS[:4])
    for _ in range(STEPS):
        actions = tape.actions(moment.info)
        garbled = copy.deepcopy(actions)
        for array in garbled.values():
            array[~active] = np.nan if array.dtype.kind == "f" else 10**6
        checked = right.check_actions(garbled, active)
        moment = advance(left, actions)
        seen = advance(right, checked, active)
        assert all(seen.of(index) == moment.of(index) for index in (0, 2))
    # And an environment that idled starts afresh like any other.
    fresh = Moment(*right.reset(SEEDS[20:22], np.flatnonzero(~active)))
    alone = Moment(*make_batch(name, 2).reset(SEEDS[20:22]))
    assert fresh.of(1) == alone.of(0) and fresh.of(3) == alone.of(1)


@sampled_environments
@pytest.mark.parametrize("num_envs", [1, 3])
def test_what_it_gave_is_never_written_to_again(name: str, num_envs: int) -> None:
    batch = make_batch(name, num_envs)
    given: list[tuple[Array, Array]] = []
    for _ in range(2):
        for moment in play(batch, SEEDS[:num_envs], 4):
            given += [(array, array.copy()) for array in moment.arrays.values()]
    for array, then in given:
        np.testing.assert_array_equal(array, then)
    # Nor does the environment mind if its caller writes to what it was given.
    actions = Tape(batch, SEEDS[:num_envs]).actions(moment.info)
    other = make_batch(name, num_envs)
    twin = list(play(other, SEEDS[:num_envs], 4))[-1]
    for array, _ in given:
        if array.flags.writeable:
            array[...] = 0
    got, wanted = advance(batch, actions), advance(other, actions)
    assert all(got.of(index) == wanted.of(index) for index in range(num_envs))
    assert twin.arrays.keys() == moment.arrays.keys()


@sampled_environments
def test_only_the_clock_truncates(name: str) -> None:
    limited = list(play(make_batch(name, 4, max_episode_steps=7), SEEDS[:4], 8))[1:]
    for count, moment in enumerate(limited, start=1):
        assert (moment.arrays["truncated"] == (count >= 7)).all()
    # A reward that is paid at the end would never be, without one: it is not delayed here.
    prompt = {"delay": None} if "delay" in environments()[name].kwargs else {}
    without_limit = make_batch(name, 4, max_episode_steps=None, **prompt)
    endless = list(play(without_limit, SEEDS[:4], 30))[1:]
    assert not any(moment.arrays["truncated"].any() for moment in endless)
    for moment, unlimited in zip(limited, endless, strict=False):
        np.testing.assert_array_equal(moment.arrays["terminated"], unlimited.arrays["terminated"])


@sampled_environments
def test_its_picture_shows_its_state(name: str) -> None:
    batch = make_batch(name, 3)
    batch.reset(SEEDS[:3])
    if environments()[name].entry_point.startswith(START_ALIKE):
        batch.step(Tape(batch, SEEDS[:3]).actions({}))
    try:
        frames = [batch.render(index) for index in range(3)]
    except PkubenchError as error:
        pytest.skip(f"no OpenGL on this machine: {error}")
    for frame in frames:
        assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
        assert min(frame.shape[:2]) >= 100
        assert frame.std() > 1
    assert any((frames[0] != frame).any() for frame in frames[1:])
    np.testing.assert_array_equal(batch.render(0), frames[0])
    batch.close()
    batch.close()


@every_environment
def test_its_docstring_is_its_page(name: str) -> None:
    text = env_class(resolve(name)).__doc__ or ""
    assert text.strip().splitlines()[0].endswith((".", "!"))
    for part in ("part", "observation", "action", "reward", "ends"):
        assert re.search(rf"^ *\| {part} *\|", text, re.MULTILINE), f"no row {part!r}"
    batch = make_batch(name, 1)
    page = documentation(name)
    if len(batch.agents) > 1:
        assert re.search(r"^ *\| agents *\|", text, re.MULTILINE)
        for agent in {batch.agents[0], batch.agents[-1]}:
            assert f"`{agent}`" in page
    keys = {key for moment in play(batch, SEEDS[:1], 2) for key in moment.info}
    keys = {re.sub(rf":({'|'.join(batch.agents)})$", ":AGENT", key) for key in keys}
    assert [key for key in sorted(keys) if not re.search(rf"[`\"]{key}[`\"]", page)] == []


@every_environment
@pytest.mark.parametrize(
    "again",
    [copy.deepcopy, lambda space: pickle.loads(pickle.dumps(space))],
    ids=["deepcopy", "pickle"],
)
def test_its_spaces_survive_copying(name: str, again: Callable[[Any], Any]) -> None:
    batch = make_batch(name, 1)
    every: list[spaces.Space[Any] | None] = [batch.state_space]
    every += [*batch.observation_spaces.values(), *batch.action_spaces.values()]
    assert all(again(space) == space for space in every)


@every_environment
def test_a_setting_it_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(UnknownName, match="flavour"):
        make_batch(name, 1, flavour="strawberry")
    with pytest.raises(ConfigError, match="num_envs"):
        make_batch(name, 0)
    with pytest.raises(ConfigError, match="max_episode_steps"):
        make_batch(name, 1, max_episode_steps=0)
    with pytest.raises(ConfigError, match="seeds"):
        make_batch(name, 2).reset(SEEDS[:3])
