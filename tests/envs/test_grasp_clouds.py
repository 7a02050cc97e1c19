"""Point clouds against analytic surfaces, SciPy's rotations and rays solved on paper."""

from __future__ import annotations

import contextlib
from typing import Any

import mujoco
import mujoco.batch
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from pkubench.envs.grasp.clouds.carried import BodyPoints, body_points, carry, carry_bodies
from pkubench.envs.grasp.clouds.observation import (
    HAND,
    OBJECT,
    VisionLayout,
    label_of_geoms,
    labeled_cloud,
    official_leak,
)
from pkubench.envs.grasp.clouds.sampling import farthest_points, resample
from pkubench.envs.grasp.clouds.scene_cloud import SceneCloud
from pkubench.envs.grasp.clouds.views import CAMERAS, Camera, Viewer, camera_rays, is_kept
from pkubench.envs.grasp.environments import GraspSmall
from pkubench.envs.grasp.objects.families import FAMILIES
from pkubench.envs.grasp.objects.surface import contains, surface_points
from pkubench.errors import ConfigError, DataError

RADIUS = 0.07


def quaternions(count: int, seed: int) -> np.ndarray:
    return Rotation.random(count, rng=seed).as_quat(scalar_first=True)


def test_carried_points_equal_scipys_rotation() -> None:
    rng = np.random.default_rng(0)
    points, position, turns = rng.normal(size=(50, 3)), rng.normal(size=(7, 3)), quaternions(7, 1)
    found = carry(points, position, turns)
    assert found.shape == (7, 50, 3) and found.dtype == np.float32
    for k in range(7):
        expected = Rotation.from_quat(turns[k], scalar_first=True).apply(points) + position[k]
        np.testing.assert_allclose(found[k], expected, atol=2e-6)
    each = carry(np.stack([points * k for k in range(7)]), position, turns)
    np.testing.assert_allclose(each[1], found[1], atol=1e-6)
    np.testing.assert_allclose(each[0], np.broadcast_to(position[0], (50, 3)), atol=1e-6)


def test_points_of_several_bodies_follow_each_its_own() -> None:
    points = BodyPoints(np.eye(3, dtype=np.float32), (1, 3), (2, 1))
    places, turns = np.zeros((2, 4, 3)), np.tile([1.0, 0, 0, 0], (2, 4, 1))
    places[:, 1], places[:, 3] = [10, 0, 0], [0, 20, 0]
    turns[1, 3] = [np.sqrt(0.5), 0, np.sqrt(0.5), 0]  # a quarter about y: z to x
    found = carry_bodies(points, places, turns)
    np.testing.assert_allclose(found[0], [[11, 0, 0], [10, 1, 0], [0, 20, 1]], atol=1e-6)
    np.testing.assert_allclose(found[1], [[11, 0, 0], [10, 1, 0], [1, 20, 0]], atol=1e-6)


GEOMS = """
<mujoco><worldbody><geom name="floor" type="plane" size="1 1 1"/>
  <body name="a"><geom name="capsule" type="capsule" size="0.02 0.05" pos="0.1 0 0" euler="90 0 0"/>
    <body name="b"><geom name="box" type="box" size="0.03 0.02 0.01"/></body></body>
  <body name="c"><geom name="ball" type="sphere" size="0.04"/></body>
  <body name="d"><geom name="mesh" type="mesh" mesh="m"/></body>
</worldbody><asset><mesh name="m" vertex="0 0 0 1 0 0 0 1 0 0 0 1"/></asset></mujoco>
"""


def test_points_on_geoms_lie_on_them_and_are_shared_out_by_area() -> None:
    model = mujoco.MjModel.from_xml_string(GEOMS)
    number = {name: model.geom(name).id for name in ("capsule", "box", "ball", "mesh", "floor")}
    found = body_points(model, [number["ball"], number["box"], number["capsule"]], 3000, seed=4)
    assert found.bodies == tuple(model.body(name).id for name in ("a", "b", "c"))
    areas = np.array(
        [
            2 * np.pi * 0.02 * 0.10 + 4 * np.pi * 0.02**2,
            8 * (0.03 * 0.02 + 0.03 * 0.01 + 0.02 * 0.01),
            4 * np.pi * 0.04**2,
        ]
    )
    np.testing.assert_allclose(np.array(found.counts) / 3000, areas / areas.sum(), atol=0.012)
    capsule, block, ball = np.split(found.points, np.cumsum(found.counts)[:-1])
    # The capsule's axis is turned from z to -y, through (0.1, 0, 0).
    beyond = np.clip(capsule[:, 1], -0.05, 0.05)
    apart = capsule - np.column_stack([np.full(len(beyond), 0.1), beyond, np.zeros(len(beyond))])
    np.testing.assert_allclose(np.linalg.norm(apart, axis=1), 0.02, atol=8e-4)
    np.testing.assert_allclose(np.max(np.abs(block) / [0.03, 0.02, 0.01], axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(ball, axis=1), 0.04, atol=1.5e-3)
    upper = int((ball[:, 2] > 0).sum())
    assert (2 * upper - len(ball)) ** 2 / len(ball) < chi2.ppf(0.999, 1)
    tetrahedron = body_points(model, [number["mesh"]], 300, seed=0).points
    on_sides = np.minimum(tetrahedron.min(axis=1), np.abs(tetrahedron.sum(axis=1) - 1.0))
    np.testing.assert_allclose(on_sides, 0.0, atol=1e-6)
    assert tetrahedron.min() > -1e-6 and tetrahedron.sum(axis=1).max() < 1 + 1e-6
    with pytest.raises(DataError, match="type plane"):
        body_points(model, [number["floor"]], 10, seed=0)


def ball_scene(center: tuple[float, float, float]) -> tuple[Any, Any]:
    spec = mujoco.MjSpec()
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.5, 0.5, 0.3], pos=[0, 0, 0.3], name="table"
    )
    body = spec.worldbody.add_body(pos=center)
    body.add_freejoint()
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[RADIUS, 0, 0], name="ball")
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def test_a_view_of_a_ball_is_the_front_of_the_analytic_sphere() -> None:
    center = np.array([0.03, -0.02, 0.72])
    model, data = ball_scene(tuple(center))
    viewer = Viewer(side=24)
    view = viewer.of_data(model, data)
    # |o + t d - c| = r: the smaller root, where there is one, and where the table is not nearer.
    apart = viewer.origins - center
    along = np.einsum("ri,ri->r", apart, viewer.directions)
    inner = along**2 - (apart**2).sum(axis=1) + RADIUS**2
    meets = inner > 0
    depth = -along - np.sqrt(np.where(meets, inner, 0.0))
    is_ball = view.geom[0] == model.geom("ball").id
    assert is_ball.sum() > 100
    np.testing.assert_array_equal(is_ball, meets)
    np.testing.assert_allclose(view.distance[0][meets], depth[meets], atol=1e-6)
    surface = view.points[0][meets]
    np.testing.assert_allclose(np.linalg.norm(surface - center, axis=1), RADIUS, atol=1e-6)
    np.testing.assert_allclose(view.normals[0][meets], (surface - center) / RADIUS, atol=1e-5)
    assert (np.einsum("ri,ri->r", view.normals[0], viewer.directions)[meets] < 0).all()


def test_each_camera_sees_its_own_side_only() -> None:
    center = (0.0, 0.0, 0.72)
    model, data = ball_scene(center)
    for camera in CAMERAS:
        viewer = Viewer((camera,), 32)
        view = viewer.of_data(model, data)
        points = view.points[0][view.geom[0] == model.geom("ball").id] - np.array(center)
        toward = np.add(camera.position, [0.0, 0.0, 0.6]) - center
        assert len(points) > 20
        # A sphere's visible cap ends where r / distance is the cosine from its middle.
        distance = np.linalg.norm(toward)
        assert (points @ toward / distance).min() > RADIUS**2 / distance - 1e-4


def test_views_of_a_batch_equal_those_of_single_simulations() -> None:
    model, data = ball_scene((0.0, 0.0, 0.75))
    batch = mujoco.batch.Batch(model, 3, 1, persistent=True)
    qpos = batch.bind("qpos")
    qpos[:] = data.qpos
    qpos[:, 0] = [0.0, 0.1, -0.1]
    viewer = Viewer(side=8)
    together = viewer.of_batch(batch)
    for k in range(3):
        data.qpos[:] = qpos[k]
        mujoco.mj_forward(model, data)
        alone = viewer.of_data(model, data)
        np.testing.assert_array_equal(together.geom[k], alone.geom[0])
        np.testing.assert_allclose(together.points[k], alone.points[0], atol=1e-6)
        np.testing.assert_allclose(together.normals[k], alone.normals[0], atol=1e-5)
    some = viewer.of_batch(batch, ids=[2])
    np.testing.assert_array_equal(some.points[0], together.points[2])


def test_objects_in_slots_are_seen_and_where_they_cannot_be_are_refused() -> None:
    with contextlib.closing(GraspSmall(num_envs=2, splits="train")) as env:
        env.reset([0, 1], options={"object": [0, 7]})
        viewer = Viewer(side=16)
        names = [env.batch.get_model(0).geom(k).name for k in range(env.batch.get_model(0).ngeom)]
        slots = [k for k, name in enumerate(names) if name.startswith("slot")]
        seen = np.isin(viewer.of_batch(env.batch).geom, slots).sum(axis=1)
        assert np.all(seen >= 20), seen
        with pytest.raises(ConfigError, match="of_batch"):
            viewer.of_data(env.batch.get_model(0), env.batch.get_data(0))


def test_the_crop_leaves_the_table_out_and_keeps_what_stands_on_it() -> None:
    model, data = ball_scene((0.0, 0.0, 0.6 + RADIUS))
    view = Viewer(side=24).of_data(model, data)
    kept = is_kept(view)
    top = (view.geom == model.geom("table").id) & (np.abs(view.points[..., 2] - 0.6) < 1e-6)
    assert top.any() and not kept[top].any()
    ball = (view.geom == model.geom("ball").id) & (view.points[..., 2] > 0.612)
    assert ball.any() and kept[ball].all()
    assert not kept[view.geom < 0].any()


def test_rays_of_a_camera_have_its_angle_and_look_at_its_target() -> None:
    camera = Camera((0.0, -1.0, 0.0), (0.0, 0.0, 0.0), 90.0)
    rays = camera_rays(camera, 2)
    # Pixel middles lie half way to an edge that is 45 degrees aside: (+-0.5, 1, +-0.5).
    expected = np.array([[-1, 2, 1], [1, 2, 1], [-1, 2, -1], [1, 2, -1]]) / np.sqrt(6)
    np.testing.assert_allclose(rays, expected, atol=1e-12)
    for camera in CAMERAS:
        middle = camera_rays(camera, 3)[4]
        aim = np.array(camera.target) - camera.position
        np.testing.assert_allclose(middle, aim / np.linalg.norm(aim), atol=1e-12)
    with pytest.raises(ConfigError, match="1 pixel"):
        camera_rays(CAMERAS[0], 0)
    with pytest.raises(ConfigError, match="own place"):
        camera_rays(Camera((0, 0, 0), (0, 0, 0)), 4)


def test_rays_meet_an_object_only_on_its_exposed_surface() -> None:
    item = FAMILIES["mug"].make(2)
    spec = mujoco.MjSpec()
    for number, part in enumerate(item.parts):
        mesh = spec.add_mesh(name=f"{number}", uservert=part.vertices.ravel())
        mesh.userface = part.faces.ravel()
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=f"{number}")
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    view = Viewer((Camera((1.5, -2.0, 2.0), (0, 0, 0), 45.0),), 48, (0, 0, 0)).of_data(model, data)
    is_hit = view.geom[0] >= 0
    points, normals = view.points[0][is_hit].astype(float), view.normals[0][is_hit].astype(float)
    assert len(points) > 300
    for part in item.parts:
        assert not contains(part, points + 2e-3 * normals).mean() > 0.01
    on_some_part = [contains(part, points - 1e-3 * normals) for part in item.parts]
    assert np.any(on_some_part, axis=0).mean() > 0.99
    # The nearest of many surface points is as near as their spacing allows.
    dense = surface_points(item, 4000, 0)[0]
    nearest = np.min(np.linalg.norm(points[::10, None] - dense, axis=2), axis=1)
    assert np.quantile(nearest, 0.99) < 0.12


def test_farthest_points_of_a_line_by_hand() -> None:
    line = np.zeros((1, 6, 3))
    line[0, :, 0] = [0.0, 1.0, 2.0, 3.0, 7.0, 10.0]
    # From 0 the farthest is 10; then 3 (4 and 3 away from...) by hand: 3 is 3 from 0, 7 is 3 from
    # 10: the first of equals; then 7, then 1 (1 from 0).
    assert farthest_points(line, 5)[0].tolist() == [0, 5, 3, 4, 1]
    assert farthest_points(np.concatenate([line, line[:, ::-1]]), 2)[1].tolist() == [0, 5]


def test_resampling_repeats_no_point_before_all_were_taken() -> None:
    kept = np.array([[True] * 3 + [False] * 5, [True] * 8, [False] * 8])
    rng = [np.random.default_rng(k) for k in range(3)]
    found = resample(kept, 7, rng)
    assert sorted(np.bincount(found[0], minlength=8)[:3].tolist()) == [2, 2, 3]
    assert len(set(found[1].tolist())) == 7
    assert (found[2] == -1).all()


def test_a_cloud_says_which_points_are_the_hands_and_the_objects() -> None:
    labels = label_of_geoms(9, hand=[7, 8], grasped=[2])[[[5, 7, 2, -1]]]
    cloud = labeled_cloud(np.arange(12.0).reshape(1, 4, 3), labels)
    assert cloud.shape == (1, 4, 8)
    assert labels.tolist() == [[0, HAND, OBJECT, 0]]
    assert cloud[0, :, 6].tolist() == [0, 1, 0, 0]
    assert cloud[0, :, 7].tolist() == [0, 0, 1, 0]
    np.testing.assert_array_equal(cloud[0, :, :3].ravel(), np.arange(12))


def test_the_cloud_of_a_scene_has_the_hand_and_each_environments_own_object() -> None:
    hand = BodyPoints(np.zeros((2, 3), dtype=np.float32), (1,), (2,))
    asked = []

    class Lump:
        def __init__(self, number: int) -> None:
            self.number = number

        def surface(self, count: int) -> np.ndarray:
            asked.append(self.number)
            return np.full((count, 3), 0.1 * self.number)

    items: Any = [Lump(number) for number in range(6)]
    scene = SceneCloud(hand, 2, items, points=3)
    places = np.zeros((3, 3, 3))
    places[:, 1], places[:, 2] = [1.0, 0, 0], [0, 2.0, 0]
    turns = np.tile([1.0, 0, 0, 0], (3, 3, 1))
    for _ in range(2):
        cloud = scene.of(places, turns, [4, 5, 4])
    assert cloud.shape == (3, 5, 8) and sorted(asked) == [4, 5]
    np.testing.assert_allclose(cloud[:, :2, :3], np.broadcast_to([1.0, 0, 0], (3, 2, 3)))
    np.testing.assert_allclose(cloud[1, 4, :3], [0.5, 2.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(cloud[2, 4, :3], [0.4, 2.4, 0.4], atol=1e-6)
    assert cloud[0, :, 6].tolist() == [1, 1, 0, 0, 0]
    assert cloud[0, :, 7].tolist() == [0, 0, 1, 1, 1]


def test_the_29_numbers_of_the_released_code_are_the_pose_of_the_object() -> None:
    rng = np.random.default_rng(3)
    hand, grasped = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    hand_turn, turn = quaternions(5, 4), quaternions(5, 5)
    joints = rng.normal(size=(5, 22))
    leak = official_leak(hand, hand_turn, grasped, turn, joints)
    assert leak.shape == (5, 29)
    np.testing.assert_array_equal(leak[:, 7:], joints)
    # With the hand's pose, which is proprioception, they are the object's pose.
    relative = Rotation.from_quat(leak[:, 3:7])
    hand_rotation = Rotation.from_quat(hand_turn, scalar_first=True)
    recovered = hand_rotation * relative.inv()
    expected = Rotation.from_quat(turn, scalar_first=True)
    assert ((recovered.inv() * expected).magnitude() < 1e-6).all()
    np.testing.assert_allclose(hand - recovered.apply(leak[:, :3]), grasped, atol=1e-9)


def test_a_row_of_numbers_has_its_clouds_at_the_end() -> None:
    layout = VisionLayout.of(proprioception=3, points=2, leak=4)
    assert (layout.proprioception, layout.leak) == (slice(0, 3), slice(3, 7))
    assert (layout.size, layout.points) == (3 + 4 + 2 * 8, 2)
    rows = np.arange(2 * layout.size, dtype=np.float32).reshape(2, -1)
    clouds = layout.clouds(rows)
    assert clouds.shape == (2, 2, 8) and np.shares_memory(clouds, rows)
    assert clouds[1, 1].tolist() == list(range(23 + 15, 23 + 23))
