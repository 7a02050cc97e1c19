"""Many objects in one batch are many models with one object each."""

from __future__ import annotations

import copy
import functools
import pickle
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

import pkubench
from pkubench.envs.core.batch import FloatArray
from pkubench.envs.core.checks import Subject, run_checks
from pkubench.envs.core.registry import resolve
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.core.traits import traits_of
from pkubench.envs.grasp.grasp_batch import GraspBatch
from pkubench.envs.grasp.hands import SHADOW_HAND
from pkubench.envs.grasp.items import Solid
from pkubench.envs.grasp.objects.model import GraspObject, make_object
from pkubench.envs.grasp.scene import DENSITY, OBJECT, SUBSTEPS, SceneSettings, compile_scene
from pkubench.envs.grasp.slots import _compiled, compile_slots
from pkubench.errors import ConfigError, PkubenchError, UnknownName
from tests.envs.test_grasp_hands import FINGERS, gripper

OBJECTS = 8
HAND_FORCE_N = -150.0


def lumps(parts: int, seed: int) -> GraspObject:
    """Ellipsoids of random points in a row."""
    rng = np.random.default_rng(seed)
    clouds = []
    for place in range(parts):
        points = rng.normal(size=(20, 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        clouds.append(points * rng.uniform(0.5, 1.0, 3) + [0.9 * place, 0.0, 0.0])
    return make_object(f"lumps/{seed:04d}", clouds)


def the_items() -> list[Solid]:
    return [Solid(lumps(1 + k % 4, k), 0.06 + 0.01 * k) for k in range(OBJECTS)]


@pytest.fixture(scope="module")
def items() -> list[Solid]:
    return the_items()


def alone(item: Solid) -> Any:
    """A model with one object, made without slots: its geoms belong to its body."""
    settings = SceneSettings(hand=SHADOW_HAND)
    spec = SHADOW_HAND.spec()
    template = compile_scene(settings)
    spec.option.timestep = template.opt.timestep
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio, spec.option.iterations = 10.0, 10
    spec.option.disableflags = template.opt.disableflags
    for body in spec.bodies:
        body.gravcomp = 1.0
    for geom in spec.geoms:
        geom.contype, geom.conaffinity = 1, 0
    for joint in spec.joints:
        joint.frictionloss = 0.0
    box, plane = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_PLANE
    spec.worldbody.add_geom(type=box, size=[0.5, 0.5, 0.3], pos=[0, 0, 0.3])
    spec.worldbody.add_geom(type=plane, size=[5.0, 5.0, 0.1])
    body = spec.worldbody.add_body(name=OBJECT, pos=[0, 0, 0.7])
    body.add_freejoint()
    for number, part in enumerate(item.parts):
        mesh = spec.add_mesh(name=f"mesh {number}")
        mesh.uservert, mesh.userface = part.vertices.ravel(), part.faces.ravel()
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX
        kind = mujoco.mjtGeom.mjGEOM_MESH
        body.add_geom(type=kind, meshname=mesh.name, density=DENSITY)
    for geom in spec.geoms:
        geom.friction, geom.condim = np.array([1.0, 0.005, 0.0001]), 3
    model = spec.compile()
    model.dof_damping[:] = template.dof_damping
    return model


def start(item: Solid) -> FloatArray:
    """The hand open above an object that stands on the table."""
    qpos = np.zeros(36)
    qpos[:7] = 0.0, 0.05, 0.72 + 2 * item.scale, *SHADOW_HAND.start_quat
    qpos[29:] = 0.0, 0.0, 0.6 + item.scale, 1.0, 0.0, 0.0, 0.0
    return qpos


def pressed(env: GraspBatch, numbers: IntArray, steps: int) -> FloatArray:
    """Press the closing hand on the objects; return the states, (steps, num_envs, 70)."""
    env.reset(np.zeros(len(numbers), dtype=np.int64), options={"object": numbers})
    env.qpos[:] = [start(env.items[k]) for k in numbers]
    env.qvel[:] = 0.0
    palm = env.model.body(SHADOW_HAND.palm).id
    states = []
    for moment in range(steps):
        env.ctrl[:] = closing(env.model, moment)
        env._wrench[:, palm, 2] = HAND_FORCE_N
        env.batch.step(nstep=SUBSTEPS)
        states.append(np.concatenate((env.qpos, env.qvel), axis=1))
    return np.stack(states)


def closing(model: Any, moment: int) -> FloatArray:
    low, high = model.actuator_ctrlrange.T
    ctrl: FloatArray = low + (high - low) * (0.5 - 0.5 * np.cos(moment / 20))
    return ctrl


def played(item: Solid, steps: int) -> tuple[FloatArray, int]:
    """Do the same to one object; return the states, and the contacts of hand and object."""
    model = alone(item)
    data = mujoco.MjData(model)
    data.qpos[:] = start(item)
    palm, thing = model.body(SHADOW_HAND.palm).id, model.body(OBJECT).id
    states, touches = [], 0
    for moment in range(steps):
        data.ctrl[:] = closing(model, moment)
        data.xfrc_applied[palm, 2] = HAND_FORCE_N
        for _ in range(SUBSTEPS):
            mujoco.mj_step(model, data)
            bodies = model.geom_bodyid[data.contact.geom]
            touches += int(((bodies == thing).any(axis=1) & (bodies > 0).all(axis=1)).sum())
        states.append(np.concatenate((data.qpos, data.qvel)))
    return np.stack(states), touches


def test_a_mixed_batch_in_contact_with_hands_equals_single_models(items: list[Solid]) -> None:
    steps = 90
    env = GraspBatch(items, 2 * OBJECTS)
    numbers = np.random.default_rng(0).permutation(2 * OBJECTS) % OBJECTS
    together = pressed(env, numbers, steps)
    for number, item in enumerate(items):
        single, touches = played(item, steps)
        assert touches > 30, item.name
        for index in np.flatnonzero(numbers == number):
            assert np.abs(together[:, index] - single).max() < 1e-9, (item.name, index)


def test_each_object_has_the_fields_that_mujoco_compiles_for_it_alone(items: list[Solid]) -> None:
    env = GraspBatch(items, OBJECTS)
    env.reset(np.zeros(OBJECTS, dtype=np.int64), options={"object": np.arange(OBJECTS)})
    for number, item in enumerate(items):
        single, own = alone(item), env.batch.get_model(number)
        thing, parts = single.body(OBJECT).id, len(item.parts)
        for name in ("mass", "inertia", "ipos", "iquat", "subtreemass", "invweight0"):
            field = f"body_{name}"
            assert np.array_equal(getattr(own, field)[thing], getattr(single, field)[thing]), field
        first = int(single.body(OBJECT).geomadr[0])
        for name in ("pos", "quat", "size", "rbound", "aabb", "sameframe", "contype"):
            mine = getattr(own, f"geom_{name}")[first : first + parts]
            assert np.array_equal(mine, getattr(single, f"geom_{name}")[first:]), name
        assert not own.geom_contype[first + parts :].any()
        volume = item.object.volume * item.scale**3
        assert own.body_mass[thing] == pytest.approx(DENSITY * volume, rel=1e-6)


def test_copies_keep_their_objects_and_continue_alike(items: list[Solid]) -> None:
    env = GraspBatch(items, 4)
    env.reset(np.arange(4), options={"object": np.array([3, 0, 6, 3])})
    rng = np.random.default_rng(0)
    tape = rng.uniform(-1, 1, (12, 4, 24)).astype(np.float32)
    for action in tape[:6]:
        env.step({"agent": action})
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    twins[0].reset(np.array([9]), np.array([1]))  # copies have fields of their own
    for action in tape[6:]:
        wanted = env.step({"agent": action})
        for twin, rows in zip(twins, ([0, 2, 3], [0, 1, 2, 3]), strict=True):
            found = twin.step({"agent": action})
            assert np.array_equal(
                found.observations["agent"][rows], wanted.observations["agent"][rows]
            )
            assert np.array_equal(found.rewards[rows], wanted.rewards[rows])


def test_an_episode_is_the_same_whatever_was_in_its_place_before(items: list[Solid]) -> None:
    fresh, used = GraspBatch(items, 1), GraspBatch(items, 1)
    used.reset(np.array([5]), options={"object": 7})
    used.step({"agent": np.ones((1, 24), dtype=np.float32)})
    for env in (fresh, used):
        env.reset(np.array([3]), options={"object": 2})
    rng = np.random.default_rng(0)
    for action in rng.uniform(-1, 1, (30, 1, 24)).astype(np.float32):
        one, two = (env.step({"agent": action}) for env in (fresh, used))
        assert np.array_equal(one.observations["agent"], two.observations["agent"])


def test_seeds_draw_every_object_and_pose_and_options_choose_them(items: list[Solid]) -> None:
    env = GraspBatch(items, 400, drawn=5)
    _, info = env.reset(np.arange(400))
    drawn = np.bincount(info["object"], minlength=OBJECTS)
    assert (drawn[:5] > 50).all() and not drawn[5:].any()
    assert len(np.unique(env.qpos[info["object"] == 1, 31])) > 1  # heights of several poses
    env.reset(np.arange(400), options={"object": 6, "pose": 0})
    assert (env.object == 6).all()
    assert env.qpos[:, 31] == pytest.approx(0.6 + items[6].poses.height[0])
    yaws = np.arctan2(env.qpos[:, 35], env.qpos[:, 32])
    assert yaws.std() > 0.3


def test_the_filler_of_unused_slots_touches_nothing(items: list[Solid]) -> None:
    env = GraspBatch(items, 1)
    env.reset(np.array([0]), options={"object": 0})  # one part, three unused slots
    model, data = env.batch.get_model(0), env.batch.get_data(0)
    data.qpos[29:32] = 0.0, 0.0, 0.6  # its center in the table's surface
    mujoco.mj_forward(model, data)
    slots = {model.geom(f"slot {k}").id for k in range(4)}
    met = {int(g) for c in data.contact for g in (c.geom1, c.geom2)} & slots
    assert met == {model.geom("slot 0").id}


def test_poses_are_drawn_as_often_as_a_drop_ends_in_them() -> None:
    """Also where objects of few and of many poses are in one batch."""
    from scipy.spatial.transform import Rotation
    from scipy.stats import chi2

    env = pkubench.make_batch("GraspSmall-v0", 1500)
    assert isinstance(env, GraspBatch)
    numbers = np.resize([9, 21], 1500)  # a box and another object
    env.reset(np.arange(1500), options={"object": numbers})
    for number in (9, 21):
        poses = env.items[number].poses
        share = np.diff(poses.chance, prepend=0.0)
        quat = env.qpos[numbers == number, 32:]
        down = [
            Rotation.from_quat(q, scalar_first=True).inv().apply([0.0, 0.0, -1.0])
            for q in (quat, poses.quaternion)
        ]
        pose = np.argmax(down[0] @ down[1].T, axis=1)
        counts = np.bincount(pose, minlength=len(share))
        is_likely = 750 * share >= 5
        assert is_likely.sum() >= 3
        expected = np.append(share[is_likely], share[~is_likely].sum()) * 750
        found = np.append(counts[is_likely], counts[~is_likely].sum())
        terms = ((found - expected) ** 2)[expected > 0] / expected[expected > 0]
        assert terms.sum() < chi2.ppf(0.999, len(terms) - 1)
        assert share.max() > 1.5 * share[is_likely].min(), "equal shares would show nothing"


def full(**settings: Any) -> Any:
    return pkubench.make_batch("GraspFull-v0", **settings)


@pytest.mark.slow
def test_the_full_set_keeps_the_rules_of_environments() -> None:
    few = functools.partial(full, splits="unseen_category", objects=20)
    outcomes = list(run_checks(Subject("GraspFull-v0", few)))
    assert [o for o in outcomes if o.status == "fail"] == []
    env = full(num_envs=3)
    assert {name: len(numbers) for name, numbers in env.members.items()} == {
        "train": 3200,
        "seen_category": 141,
        "unseen_category": 100,
    }
    assert traits_of(env) == resolve("GraspFull-v0").traits
    assert env.max_episode_steps == 200
    _, info = env.reset(np.arange(3), options={"object": np.array([0, 3200, 3440])})
    assert info["object"].tolist() == [0, 3200, 3440]
    goal = env.goal[:, 2]
    assert goal == pytest.approx(0.9), "the full set has the paper's goal"


def test_pictures_leave_the_compiled_scenes_of_environments_alone(items: list[Solid]) -> None:
    settings = SceneSettings(hand=SHADOW_HAND)
    compile_slots(settings, items)
    before = _compiled.cache_info()
    for item in items[:3]:
        compile_slots(settings, [item], is_drawn=True)
    compile_slots(settings, items)
    after = _compiled.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)


def meshes_of(model: Any) -> list[str]:
    """The names of the meshes that the object's geoms show."""
    found = model.geom_dataid[model.geom_bodyid == model.body(OBJECT).id]
    return [model.mesh(int(number)).name for number in found]


def test_an_object_has_its_own_meshes_whatever_meshes_the_hand_has(
    items: list[Solid], tmp_path: Path
) -> None:
    item = items[2]
    wanted = [f"part {number}" for number in range(len(item.parts))]
    drawn = compile_slots(SceneSettings(hand=SHADOW_HAND), [item], is_drawn=True).model
    assert drawn.nmesh > 5 + len(wanted) and meshes_of(drawn) == wanted
    path = gripper(tmp_path, '<geom type="mesh" mesh="knob" pos="0 0 0.03"/>' + FINGERS)
    knob = '<asset><mesh name="knob" vertex="0 0 0 .02 0 0 0 .02 0 0 0 .02"/></asset>'
    path.write_text(path.read_text().replace("<worldbody>", knob + "<worldbody>"))
    env = GraspBatch([items[0], item], 2, hand=str(path))
    env.reset(np.arange(2), options={"object": [0, 1]})
    for number, mine in ((0, ["part 0", "filler", "filler"]), (1, ["part 1", "part 2", "part 3"])):
        assert meshes_of(env.batch.get_model(number)) == mine


def test_a_picture_marks_the_goal_and_says_when_the_object_is_there(items: list[Solid]) -> None:
    env = GraspBatch(items[:1], 1)
    env.reset(np.arange(1))
    try:
        before = env.render().astype(int)
    except PkubenchError as error:
        pytest.skip(f"no OpenGL on this machine: {error}")
    env.qpos[0, 2], env.qpos[0, 29:32] = 1.3, env.goal[0]
    after = env.render().astype(int)
    env.close()
    assert (before[..., 2] - before[..., :2].max(axis=2)).max() > 60
    greenest = [
        (picture[..., 1] - picture[..., ::2].max(axis=2)).max() for picture in (before, after)
    ]
    assert greenest[0] < 20 < greenest[1]


def test_splits_are_numbered_in_order_and_others_are_refused() -> None:
    env = pkubench.make_batch("GraspSmall-v0", 200, splits=["seen_category", "train"], objects=3)
    assert dict(env.members) == {"seen_category": range(3), "train": range(3, 6)}
    _, info = env.reset(np.arange(200))
    assert set(info["object"]) == {0, 1, 2}
    with pytest.raises(UnknownName, match="trian"):
        pkubench.make_batch("GraspSmall-v0", splits="trian")
    for objects in (0, 2.5, "all", True):
        with pytest.raises(ConfigError, match="objects must be a whole number, 1 or more"):
            pkubench.make_batch("GraspSmall-v0", objects=objects)
    for splits in (None, 3):
        with pytest.raises(ConfigError, match="splits must be one or several of train, seen_cat"):
            pkubench.make_batch("GraspSmall-v0", splits=splits)
    for splits in ([], ["train", "train"]):
        with pytest.raises(ConfigError, match="splits must be different ones, at least one"):
            pkubench.make_batch("GraspSmall-v0", splits=splits)
    with pytest.raises(ConfigError, match="object"):
        env.reset(np.arange(200), options={"object": 6})
