"""Observations with a cloud: what is in them, and that nothing but the cloud shows the object."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

import pkubench
from pkubench.envs.core.checks import Subject, run_checks
from pkubench.envs.core.registry import resolve
from pkubench.envs.grasp.clouds.swap import cloud_swap_cost, other_objects
from pkubench.envs.grasp.clouds.vision import KINDS
from pkubench.envs.grasp.grasp_batch import GraspBatch
from pkubench.envs.grasp.hands import SHADOW_HAND
from pkubench.errors import ConfigError, PkubenchError, UnknownName

POINTS = 128
OBJECTS = np.array([3, 20, 40, 50])


def small(observation: str, num_envs: int = 4, **settings: Any) -> GraspBatch:
    if observation != "state":
        settings.setdefault("points", POINTS)
    env = pkubench.make_batch("GraspSmall-v0", num_envs, observation=observation, **settings)
    assert isinstance(env, GraspBatch)
    return env


def played(env: GraspBatch, steps: int = 12, **options: Any) -> Any:
    """Observations after some random steps from one start."""
    seen = env.reset(np.arange(env.num_envs), options={"object": OBJECTS, **options})[0]
    rng = np.random.default_rng(1)
    for _ in range(steps):
        action = rng.uniform(-1, 1, (env.num_envs, 24)).astype(np.float32)
        seen = env.step({"agent": action}).observations
    return seen["agent"]


@pytest.mark.parametrize("kind", KINDS[1:])
def test_proprioception_comes_first_and_is_that_of_the_state(kind: str) -> None:
    state, env = small("state"), small(kind)
    wanted, seen = played(state), played(env)
    assert env.vision is not None
    layout = env.vision.layout
    assert seen.shape == (4, layout.size) == (4, *env.observation_spaces["agent"].shape)
    assert np.array_equal(seen[:, :191], wanted[:, :191])
    assert layout.clouds(seen).shape == (4, POINTS, 8)
    assert layout.leak.stop - layout.leak.start == (29 if kind == "official-leak" else 0)
    # A state policy can be asked about the same moments.
    assert np.array_equal(env.state_observation(), wanted)


@pytest.mark.parametrize("kind", ["cloud", "views"])
def test_no_number_outside_the_cloud_depends_on_where_the_object_is(kind: str) -> None:
    """The object is put elsewhere, turned and spun: only points of the cloud change."""
    env = small(kind)
    played(env)
    assert env.vision is not None
    layout = env.vision.layout
    seen = []
    for place, turn in (([0.0, 0.2, 0.75], 0.0), ([0.2, -0.1, 0.9], 1.0)):
        env.qpos[:, 29:32] = place
        env.qpos[:, 32:] = Rotation.from_euler("y", turn).as_quat(scalar_first=True)
        env.qvel[:, 28:] = turn
        env.batch.forward()
        env.grasp_state()
        env._info()
        seen.append(env._observe()["agent"])
    first, second = (row.copy() for row in seen)
    assert not np.array_equal(first, second)
    clouds = [layout.clouds(row) for row in (first, second)]
    for cloud in clouds:
        assert (cloud[..., 7].sum(axis=1) > 0).all()
        cloud[...] = 0.0
    assert np.array_equal(first, second)


def test_the_leaky_observation_shows_the_object_outside_the_cloud() -> None:
    env = small("official-leak")
    seen = played(env)
    assert env.vision is not None
    leak = seen[:, env.vision.layout.leak].astype(np.float64)
    # The hand's root from what it knows of itself: the palm's center and its angles.
    turn = Rotation.from_euler("xyz", seen[:, 164:167])
    root = seen[:, 161:164] - turn.apply(SHADOW_HAND.palm_point)
    object_turn = turn * Rotation.from_quat(leak[:, 3:7]).inv()
    np.testing.assert_allclose(root - object_turn.apply(leak[:, :3]), env.qpos[:, 29:32], atol=1e-5)


def test_points_of_the_object_lie_on_it_where_it_is() -> None:
    env = small("cloud")
    seen = played(env, steps=30)
    assert env.vision is not None
    clouds = env.vision.layout.clouds(seen)
    assert (clouds[..., 7].sum(axis=1) == POINTS / 2).all()
    assert (clouds[..., 6] == 1.0 - clouds[..., 7]).all()
    for index, number in enumerate(OBJECTS.tolist()):
        own = clouds[index, clouds[index, :, 7] == 1, :3]
        turn = Rotation.from_quat(env.qpos[index, 32:], scalar_first=True)
        local = turn.inv().apply(own - env.qpos[index, 29:32])
        np.testing.assert_allclose(local, env.items[number].surface(POINTS // 2), atol=1e-6)


def test_points_of_the_hand_follow_its_fingers() -> None:
    env = small("cloud", points=1000)
    seen = played(env, steps=40)
    assert env.vision is not None
    clouds = env.vision.layout.clouds(seen)
    for index in range(4):
        own = clouds[index, clouds[index, :, 6] == 1, :3]
        model, data = env.batch.get_model(index), env.batch.get_data(index)
        mujoco.mj_kinematics(model, data)
        tips = data.xpos[[model.body(name).id for name in SHADOW_HAND.fingertips]]
        distance, _ = cKDTree(own).query(tips)
        assert distance.max() < 0.02  # a tip's capsule has a radius of 5 to 10 mm


def test_views_show_less_of_the_hand_and_object_than_there_is() -> None:
    env = small("views", points=512)
    seen = played(env, steps=0)
    assert env.vision is not None
    clouds = env.vision.layout.clouds(seen)
    for index, number in enumerate(OBJECTS.tolist()):
        own = clouds[index, clouds[index, :, 7] == 1, :3].astype(np.float64)
        surface = env.items[number].surface(4096)
        turn = Rotation.from_quat(env.qpos[index, 32:], scalar_first=True)
        distance, _ = cKDTree(turn.apply(surface) + env.qpos[index, 29:32]).query(own)
        assert len(own) > 5 and distance.max() < 0.012
        assert own[:, 2].min() > 0.61  # the crop of the paper
    # As often as any other, to within one, where there are fewer than asked for.
    _, times = np.unique(clouds[0, :, :3], axis=0, return_counts=True)
    assert len(times) < 512 and times.max() - times.min() <= 1


def test_a_scene_without_anything_in_view_is_an_empty_cloud() -> None:
    env = small("views")
    env.reset(np.arange(4))
    env.qpos[:, 2] = env.qpos[:, 31] = 3.0
    env.batch.forward()
    assert env.vision is not None
    assert not env.vision.layout.clouds(env._observe()["agent"]).any()


def test_another_objects_surface_is_shown_in_its_place_and_nothing_else_changes() -> None:
    env = small("cloud")
    shown = OBJECTS[[1, 2, 3, 0]]
    own, other = played(env), played(env, cloud_of=shown)
    assert env.vision is not None
    assert np.array_equal(own[:, :191], other[:, :191])
    clouds = env.vision.layout.clouds(other)
    for index, number in enumerate(shown.tolist()):
        turn = Rotation.from_quat(env.qpos[index, 32:], scalar_first=True)
        points = clouds[index, POINTS // 2 :, :3]
        local = turn.inv().apply(points - env.qpos[index, 29:32])
        np.testing.assert_allclose(local, env.items[number].surface(POINTS // 2), atol=1e-6)
    assert np.array_equal(played(env), own), "the next episode shows its own object again"
    assert "cloud_of" not in small("views").episode_options


@pytest.mark.parametrize(
    "kind", ["cloud", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[2:])]
)
def test_environments_with_clouds_keep_the_rules(kind: str) -> None:
    name = f"GraspSphere-v0+observation={kind}+points=64"
    outcomes = list(run_checks(Subject(name, lambda **k: pkubench.make_batch(name, **k))))
    assert [o for o in outcomes if o.status == "fail"] == []


def test_a_name_says_what_is_seen() -> None:
    spec = resolve("GraspSmall-v0+observation=cloud+points=256")
    assert spec.id == "pkubench/GraspSmall-v0+observation=cloud+points=256"
    assert dict(spec.kwargs) == {"observation": "cloud", "points": 256} and spec.horizon == 200
    with pytest.raises(UnknownName, match="cluod"):
        resolve("GraspSmall-v0+observation=cluod")
    for name in ("points=1", "points=many", "mass=3"):
        with pytest.raises(ConfigError, match="points"):
            resolve(f"GraspSmall-v0+{name}")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"points": 256}, "no effect with observation=state"),
        ({"observation": "cloud", "points": 2.5}, "points must be a whole number"),
        ({"observation": "cloud", "points": 1}, "points must be a whole number"),
        ({"observation": 3}, "observation '3'"),
    ],
)
def test_observations_that_do_not_exist_are_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(PkubenchError, match=said):
        pkubench.make_batch("GraspSphere-v0", 1, **settings)


class Sighted:
    """Puts the object at its goal where the cloud shows the object's own surface."""

    def __init__(self, env: GraspBatch) -> None:
        self.env = env

    def begin(self, seeds: Any) -> None:
        return None

    def act(self, observation: Any, state: None, active: Any) -> tuple[Any, None]:
        assert self.env.vision is not None
        clouds = self.env.vision.layout.clouds(observation)
        for index, number in enumerate(self.env.object.tolist()):
            turn = Rotation.from_quat(self.env.qpos[index, 32:], scalar_first=True)
            points = clouds[index, POINTS // 2 :, :3] - self.env.qpos[index, 29:32]
            if np.allclose(turn.inv().apply(points), self.env.items[number].surface(64), atol=1e-5):
                self.env.qpos[index, 29:32] = self.env.goal[index]
        return np.zeros((self.env.num_envs, 24), dtype=np.float32), None


def test_the_cost_of_other_clouds_is_that_of_the_episodes_that_need_their_own() -> None:
    env = small("cloud", max_episode_steps=2)
    objects = np.arange(8)
    shown = other_objects(objects, len(env.items), seed=0)
    assert (shown != objects).all() and shown.max() < len(env.items)
    assert np.array_equal(np.sort(other_objects(np.arange(2), 2, 0)), [0, 1])
    shown[:2] = objects[:2]
    cost = cloud_swap_cost(env, Sighted(env), np.arange(8), objects, shown)
    assert cost.own.all() and cost.swapped.tolist() == [True] * 2 + [False] * 6
    assert cost.points == pytest.approx(75.0)
    with pytest.raises(ConfigError, match="observation=cloud"):
        cloud_swap_cost(small("views"), Sighted(env), np.arange(8), objects, shown)
    with pytest.raises(ConfigError, match="multiple of 4"):
        cloud_swap_cost(env, Sighted(env), np.arange(7), objects[:7], shown[:7])
    with pytest.raises(ConfigError, match="no other object"):
        other_objects(objects, 1, 0)
