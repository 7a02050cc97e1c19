"""Hands of the user: what works with any of them, and what is said of those that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from pkubench.envs.grasp.environments import GraspSphere
from pkubench.envs.grasp.grasp_batch import GraspBatch
from pkubench.envs.grasp.hands import SHADOW_HAND, Hand
from pkubench.envs.grasp.items import Ball, Solid
from pkubench.envs.grasp.objects.model import make_object
from pkubench.envs.grasp.open_loop import SHADOW_GRIP, grip_of
from pkubench.envs.grasp.search import _first_distribution, search
from pkubench.errors import ConfigError

HINGE = 'axis="0 1 0" range="0 1.5" limited="true"'
FINGER = (
    f'<body name="{{name}}" pos="{{x}} 0 0"><joint name="j{{name}}" {HINGE}/>'
    '<geom type="capsule" size="0.01" fromto="0 0 0 0 0 -0.08"/></body>'
)
FINGERS = "".join(FINGER.format(name=n, x=x) for n, x in (("left", -0.05), ("right", 0.05)))
SERVO = '<position joint="j{name}" kp="1" ctrlrange="0 1.5" forcerange="-1 1"/>'
SERVOS = "".join(SERVO.format(name=name) for name in ("left", "right"))


def gripper(folder: Path, fingers: str = FINGERS, servos: str = SERVOS) -> Path:
    path = folder / "gripper.xml"
    path.write_text(
        "<mujoco><compiler angle='radian'/><worldbody><body name='base'>"
        f"<geom type='box' size='0.06 0.02 0.02' mass='1'/>{fingers}</body></worldbody>"
        f"<actuator>{servos}</actuator></mujoco>"
    )
    return path


def test_a_hand_of_the_user_has_the_slices_of_its_own_size(tmp_path: Any) -> None:
    path = gripper(tmp_path)
    env = GraspSphere(2, hand=str(path))
    assert env.action_spaces["agent"].shape == (8,)
    size = 3 * 2 + 13 * 2 + 6 * 2 + 3 + 3 + 8 + 13 + 3 + 29 + 64
    assert env.reset(np.arange(2))[0]["agent"].shape == (2, size)
    assert env.hand.fingertips == ("left", "right")
    # 5 cm of air between the ball's top, at 0.7 m, and the fingers, which reach 9 cm down.
    assert env.qpos[0, 2] == pytest.approx(0.7 + 0.05 + 0.09)
    for _ in range(20):
        step = env.step({"agent": np.tile([0, 0, 1, 0, 0, 0, -1, -1], (2, 1)).astype(np.float32)})
    mass = float(env.model.body("base").subtreemass[0])
    assert env.qvel[0, 2] == pytest.approx(833.333 / (100 * mass), rel=1e-2)
    assert np.isfinite(step.rewards).all()


def test_bodies_are_where_mujoco_says_whatever_the_hand_and_object(tmp_path: Path) -> None:
    """The environment's own kinematics have no geoms: masses and joints are all that counts."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 2) for z in (0, 3)], dtype=float)
    item = Solid(make_object("test/0000", [corners, np.add(corners, [1.0, 0.0, 0.0])]), 0.06)
    for hand in (str(gripper(tmp_path)), "shadow"):
        env = GraspBatch([item], 2, hand=hand)
        env.reset(np.arange(2))
        rng = np.random.default_rng(1)
        for _ in range(5):
            shape = env.action_spaces["agent"].shape
            assert shape is not None
            env.step({"agent": rng.uniform(-1, 1, (2, *shape)).astype(np.float32)})
        data = mujoco.MjData(env.model)
        for index in range(2):
            data.qpos[:], data.qvel[:] = env.qpos[index], env.qvel[index]
            mujoco.mj_forward(env.model, data)
            palm = env.model.body(env.hand.palm).id
            for name, chosen in (("xpos", slice(1, None)), ("xquat", slice(1, None))):
                mine = getattr(env._bodies, name)[index, chosen]
                assert mine == pytest.approx(getattr(data, name)[chosen], abs=1e-12)
            on_hand = env.model.body_rootid == palm
            assert env._bodies.cvel[index, on_hand] == pytest.approx(data.cvel[on_hand], abs=1e-9)
            mine = env._bodies.subtree_com[index, palm]
            assert mine == pytest.approx(data.subtree_com[palm], abs=1e-12)


def test_a_search_of_another_hand_has_scripts_of_its_size(tmp_path: Path) -> None:
    env = GraspSphere(16, hand=gripper(tmp_path))
    grip = grip_of(env)
    assert grip.driven == (0, 1) and grip.layout == env.layout
    assert grip.mass_kg == pytest.approx(float(env.model.body("base").subtreemass[0]))
    first = next(search(env, seed=0))
    assert first.scripts.shape == (16, 8) and np.isfinite(first.scores).all()


def test_what_a_script_knows_of_the_shadow_hand_is_what_its_model_says() -> None:
    env = GraspSphere(1)
    assert grip_of(env) is SHADOW_GRIP
    joints = [k for k in range(env.model.njnt) if env.model.jnt_type[k] != 0]
    driven = [joints.index(k) for k in env.model.actuator_trnid[:, 0].tolist()]
    assert SHADOW_GRIP.driven == tuple(driven)
    assert SHADOW_GRIP.layout == env.layout
    mass = float(env.model.body(SHADOW_HAND.palm).subtreemass[0])
    assert SHADOW_GRIP.mass_kg == pytest.approx(mass, abs=1e-3)
    assert env.model.actuator(SHADOW_GRIP.early[0]).name.endswith("THJ4")


def test_the_first_scripts_reach_for_the_top_of_the_pose_that_is_there() -> None:
    """A brick of 2 x 1 x 0.5 stands on its sides by turns; its farthest point is 8 cm away."""
    corners = np.stack(np.meshgrid([-2.0, 2.0], [-1.0, 1.0], [-0.5, 0.5]), axis=-1).reshape(-1, 3)
    env = GraspBatch([Solid(make_object("brick/0000", [corners]), 0.08)], 6)
    env.reset(np.arange(6), options={"pose": np.arange(6)})
    unit = 0.08 / np.sqrt(4.0 + 1.0 + 0.25)
    tops = np.sort(unit * np.repeat([0.5, 1.0, 2.0], 2))
    means, _ = _first_distribution(env)
    assert np.sort(means[:, 2]) == pytest.approx(tops + 0.002, abs=1e-4)
    assert means[:, 2] == pytest.approx(env.qpos[:, 31] - 0.6 + 0.002, abs=1e-4)


def test_the_top_of_a_ball_is_its_radius_above_its_center() -> None:
    env = GraspBatch([Ball(0.03)], 2)
    env.reset(np.arange(2))
    assert env.top_m == pytest.approx([0.03, 0.03])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fingers": FINGERS.replace('name="left"', 'name="object"', 1)}, "body 'object'"),
        (
            {"fingers": FINGERS.replace("jleft", "hand"), "servos": SERVOS[len(SERVO) - 2 :]},
            "joint 'hand'",
        ),
        ({"fingers": FINGERS.replace("<geom", '<geom name="table"', 1)}, "geom 'table'"),
        ({"fingers": FINGERS.replace("<geom", '<geom name="slot 0"', 1)}, "does not fit the scene"),
        ({"fingers": "", "servos": ""}, "has no fingers"),
        ({"servos": ""}, "has no actuators"),
        ({"servos": '<motor joint="jleft"/>'}, "no ctrlrange"),
        ({"servos": '<position joint="jleft" kp="1"/>'}, "no ctrlrange"),
        (
            {"fingers": FINGERS.replace(HINGE, 'type="ball"')},
            "is a ball joint",
        ),
    ],
)
def test_a_hand_that_cannot_be_used_is_one_line(
    tmp_path: Path, change: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        GraspSphere(1, hand=str(gripper(tmp_path, **change)))
    assert "\n" not in str(raised.value)


def test_bodies_that_a_hand_has_not_are_named(tmp_path: Path) -> None:
    path = str(gripper(tmp_path))
    with pytest.raises(ConfigError, match="no body 'thumb'; it has base, left, right"):
        GraspSphere(1, hand=Hand(path=path, fingertips=("thumb",)))
