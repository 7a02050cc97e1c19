"""MuJoCo Warp against ``mujoco.batch``: the same scene, as far as single precision says so.

Faceted impacts amplify rounding, in one model as in many, so that states are compared before
contact, worlds of a mixed model with the same object alone in Warp, and heights at rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pkubench.envs.core.batch import FloatArray
from pkubench.envs.grasp.grasp_batch import GraspBatch
from pkubench.envs.grasp.items import Ball
from pkubench.errors import ConfigError
from tests.envs.test_grasp_slots import start, the_items

pytest.importorskip("mujoco_warp")
torch = pytest.importorskip("torch")
pytestmark = pytest.mark.slow

WORLDS = 4


@pytest.fixture(scope="module")
def scenes() -> tuple[GraspBatch, Any]:
    from pkubench.envs.grasp.warp_scene import WarpScene

    items = the_items()[:WORLDS]
    scene = WarpScene(items, WORLDS, device="cpu")
    scene.put(np.arange(WORLDS), np.arange(WORLDS))
    return GraspBatch(items, WORLDS), scene


def begin(env: GraspBatch, scene: Any, qpos: FloatArray | None = None) -> None:
    """Put both at the start of the same episodes, or where ``qpos`` says."""
    env.reset(np.arange(WORLDS), options={"object": np.arange(WORLDS)})
    if qpos is not None:
        env.qpos[:], env.qvel[:] = qpos, 0.0
    scene.qpos[:] = torch.as_tensor(env.qpos.copy())
    scene.qvel[:] = 0.0
    scene.forward()


def touching(scene: Any) -> np.ndarray:
    """In which worlds a hand touches its object now, (worlds,)."""
    contact, model = scene._d.contact, scene.model
    count = int(scene._d.nacon.numpy()[0])
    bodies = model.geom_bodyid[contact.geom.numpy()[:count]]
    thing = model.body("object").id
    met = ((bodies == thing).any(axis=1)) & (bodies > 0).all(axis=1)
    return np.isin(np.arange(WORLDS), contact.worldid.numpy()[:count][met])


def in_the_air(env: GraspBatch) -> FloatArray:
    env.reset(np.arange(WORLDS), options={"object": np.arange(WORLDS)})
    qpos = env.qpos.copy()
    qpos[:, 2], qpos[:, 31] = 1.6, 1.1
    return qpos


def test_before_contact_hand_and_object_move_as_in_mujoco(scenes: tuple[GraspBatch, Any]) -> None:
    env, scene = scenes
    begin(env, scene, in_the_air(env))
    tape = np.random.default_rng(0).uniform(-1, 1, (12, WORLDS, 24)).astype(np.float32)
    for action in tape:
        scene.step(torch.as_tensor(action))
        seen = env.step({"agent": action}).observations["agent"]
    found = scene.qpos.numpy()
    assert env.qpos[:, 31].max() < 1.0, "it has not fallen"
    assert np.abs(found[:, 3:29] - env.qpos[:, 3:29]).max() < 1e-5
    assert np.abs(found[:, :3] - env.qpos[:, :3]).max() < 1e-5
    assert np.abs(found[:, 29:] - env.qpos[:, 29:]).max() < 1e-6
    # The observation is that of the environment, a tensor on the same device.
    goal = torch.as_tensor(env.goal, dtype=torch.float32)
    code = torch.as_tensor(seen[:, env.layout.code])
    mine = scene.observe(torch.as_tensor(tape[-1]), goal, code).numpy()
    assert mine.shape == seen.shape and mine.dtype == seen.dtype
    forces = np.zeros(300, dtype=np.bool_)
    forces[env.layout.joint_force] = forces[env.layout.fingertip_force] = True
    assert np.abs(mine - seen)[:, ~forces].max() < 1e-3
    assert np.abs(mine - seen)[:, forces].max() < 2e-2


def test_worlds_of_a_mixed_model_are_those_of_each_object_alone(
    scenes: tuple[GraspBatch, Any],
) -> None:
    """The hand is pressed on the objects and closes."""
    from pkubench.envs.grasp.warp_scene import WarpScene

    env, scene = scenes
    begin(env, scene, np.array([start(item) for item in env.items]))
    action = torch.zeros((WORLDS, 24))
    action[:, 2], action[:, 6:] = -0.18, 0.5
    alone = [WarpScene([item], 1, device="cpu") for item in env.items]
    for index, single in enumerate(alone):
        single.qpos[:] = scene.qpos[index : index + 1]
        single.forward()
    touched = np.zeros(WORLDS, dtype=np.bool_)
    for _ in range(60):
        scene.step(action)
        touched |= touching(scene)
        for index, single in enumerate(alone):
            single.step(action[:1])
            apart = (single.qpos[0] - scene.qpos[index]).abs().max()
            assert float(apart) < 1e-3, env.items[index].name
        if touched.all():
            return
    raise AssertionError(f"hands touched their objects in {touched}")


def test_objects_rest_as_high_as_in_mujoco(scenes: tuple[GraspBatch, Any]) -> None:
    env, scene = scenes
    begin(env, scene)
    action = np.zeros((WORLDS, 24), dtype=np.float32)
    for _ in range(45):
        scene.step(torch.as_tensor(action))
        env.step({"agent": action})
    assert np.abs(scene.qpos[:, 31].numpy() - env.qpos[:, 31]).max() < 1e-3


def test_tensors_are_warps_own_memory(scenes: tuple[GraspBatch, Any]) -> None:
    _, scene = scenes
    for name in ("qpos", "qvel", "ctrl", "xpos", "xquat"):
        assert getattr(scene, name).data_ptr() == getattr(scene._d, name).ptr


@pytest.mark.parametrize(
    ("items", "settings", "said"),
    [
        (the_items()[:1], {"worlds": 0}, "worlds must be a whole number"),
        ([], {"worlds": 1}, "at least one"),
        ([Ball(0.05)], {"worlds": 1}, "convex parts"),
        (the_items()[:1], {"worlds": 1, "friction": -1.0}, "friction must be"),
    ],
)
def test_what_cannot_be_is_refused(items: list[Any], settings: dict[str, Any], said: str) -> None:
    from pkubench.envs.grasp.warp_scene import WarpScene

    with pytest.raises(ConfigError, match=said):
        WarpScene(items, **settings)
