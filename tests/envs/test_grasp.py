"""Grasping: units of actions, slices of observations, rewards and success by the specification."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import pkubench
from pkubench.envs.core.batch import FloatArray
from pkubench.envs.grasp.environments import GraspSphere
from pkubench.envs.grasp.grasp_scene import FORCE_N, TORQUE_NM
from pkubench.envs.grasp.rewards import Distances, Success, reward
from pkubench.envs.grasp.rotations import euler_xyz, multiply, rotate
from pkubench.envs.grasp.shadow_hand import PREFIX
from pkubench.errors import ConfigError

JOINTS = (
    *("FFJ3", "FFJ2", "FFJ1", "FFJ0", "MFJ3", "MFJ2", "MFJ1", "MFJ0"),
    *("RFJ3", "RFJ2", "RFJ1", "RFJ0", "LFJ4", "LFJ3", "LFJ2", "LFJ1", "LFJ0"),
    *("THJ4", "THJ3", "THJ2", "THJ1", "THJ0"),
)
RANGES = {
    **{f"{f}J3": (-0.349, 0.349) for f in ("FF", "MF", "RF", "LF")},
    **{f"{f}J{k}": (0.0, 1.571) for f in ("FF", "MF", "RF", "LF") for k in (2, 1, 0)},
    "LFJ4": (0.0, 0.785),
    "THJ4": (-1.047, 1.047),
    "THJ3": (0.0, 1.222),
    "THJ2": (-0.209, 0.209),
    "THJ1": (-0.524, 0.524),
    "THJ0": (-1.571, 0.0),
}
TORQUES = {
    **{f"{f}J{k}": 0.9 for f in ("FF", "MF", "RF", "LF") for k in (3, 2)},
    **{f"{f}J1": 0.7245 for f in ("FF", "MF", "RF", "LF")},
    **{"LFJ4": 0.9, "THJ4": 2.3722, "THJ3": 1.45, "THJ2": 0.99, "THJ1": 0.99, "THJ0": 0.81},
}


def acted(env: GraspSphere, **parts: FloatArray | float) -> dict[str, FloatArray]:
    """An action that leaves the joints where they are at the start, but for ``parts``."""
    action = np.zeros((env.num_envs, 24), dtype=np.float32)
    action[:, 6:] = 2.0 * (np.clip(0.0, env._low, None) - env._low) / env._span - 1.0
    for name, value in parts.items():
        action[:, {"force": slice(0, 3), "torque": slice(3, 6), "joints": slice(6, 24)}[name]] = (
            value
        )
    return {"agent": action}


def test_the_hand_is_the_one_of_the_specification() -> None:
    model = GraspSphere().model
    assert (model.nq, model.nv, model.nu) == (36, 34, 18)
    names = [model.joint(k).name.removeprefix(PREFIX) for k in range(model.njnt)]
    assert names == ["hand", *JOINTS, "object"]
    for name in JOINTS:
        joint = model.joint(PREFIX + name)
        assert joint.range.tolist() == pytest.approx(RANGES[name])
        assert (joint.damping[0], joint.armature[0], joint.frictionloss[0]) == (0.1, 0.001, 0.0)
    driven = [model.actuator(k).name.removeprefix(f"{PREFIX}A_") for k in range(18)]
    assert driven == [name for name in JOINTS if name[2:] != "J0" or name == "THJ0"]
    for name in driven:
        actuator = model.actuator(f"{PREFIX}A_{name}")
        assert actuator.gainprm[0] == 1.0
        assert actuator.forcerange.tolist() == [-TORQUES[name], TORQUES[name]]
    palm = model.body(f"{PREFIX}palm")
    assert palm.mass[0] == 4.0 and palm.inertia.tolist() == [0.01, 0.01, 0.0075]
    assert palm.subtreemass[0] == pytest.approx(4.31, abs=2e-3)
    assert model.tendon_range.tolist() == [[-0.001, 0.001]] * 4
    assert model.wrap_prm[:2].tolist() == [0.00705, -0.00805]


def test_contacts_have_the_settings_under_which_a_grasp_holds() -> None:
    model = GraspSphere().model
    assert model.opt.timestep * 2 == pytest.approx(1 / 60)
    assert (model.opt.cone, model.opt.impratio, model.opt.iterations) == (1, 10.0, 10)
    assert set(model.geom_condim) == {3} and set(model.geom_friction[:, 0]) == {1.0}
    table = model.geom("table")
    assert (table.size * 2).tolist() == [1.0, 1.0, 0.6] and table.pos[2] + table.size[2] == 0.6
    assert GraspSphere(radius=0.06).model.body("object").mass[0] == pytest.approx(
        500.0 * 4 / 3 * np.pi * 0.06**3
    )


def test_forces_and_torques_have_the_units_of_the_original() -> None:
    assert pytest.approx(833.333333) == FORCE_N
    assert pytest.approx(1.6666667) == TORQUE_NM
    env = GraspSphere(2)
    env.reset(np.arange(2))
    env.step(acted(env, force=np.array([[1, -0.5, 0.25], [7, 0, 0]]), torque=np.array([0, 0, 1])))
    wrench = env._wrench[:, env.model.body(f"{PREFIX}palm").id]
    assert wrench[0] == pytest.approx([FORCE_N, -FORCE_N / 2, FORCE_N / 4, 0, 0, TORQUE_NM])
    assert wrench[1, 0] == pytest.approx(FORCE_N)  # clipped to 1
    assert np.count_nonzero(env._wrench) == 6


def test_the_free_hand_reaches_the_terminal_speed_along_every_axis_and_does_not_turn() -> None:
    env = GraspSphere(3)
    env.reset(np.zeros(3, dtype=np.int64))
    before = env.qpos[:, 3:7].copy()
    for _ in range(20):
        env.step(acted(env, force=np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1.0]])))
    speed = FORCE_N / (100 * 4.311)
    assert env.qvel[:, :3] == pytest.approx(np.diag([speed] * 3), abs=1e-3)
    assert speed == pytest.approx(1.933, abs=1e-3)
    # The fingers lag a little behind the palm, no more.
    assert env.qpos[:, 3:7] == pytest.approx(before, abs=0.02)


def test_a_torque_turns_the_hand_and_gravity_does_not_move_it() -> None:
    env = GraspSphere(2)
    env.reset(np.zeros(2, dtype=np.int64))
    height = env.qpos[:, 2].copy()
    for _ in range(40):
        env.step(acted(env, torque=np.array([[0, 0, 1.0], [0, 0, 0]])))
    # World z is the hand's own y; 2 N m s/rad of drag, a little more from the fingers' motion.
    assert env.qvel[0, 4] == pytest.approx(TORQUE_NM / 2.0, rel=0.02)
    assert np.abs(env.qvel[1, :28]).max() < 1e-5 and env.qpos[1, 2] == pytest.approx(height[1])


def test_joint_targets_span_the_range_and_the_last_joints_follow() -> None:
    env = GraspSphere(2)
    env.reset(np.zeros(2, dtype=np.int64))
    for _ in range(120):
        env.step(acted(env, joints=np.array([[-1.0] * 18, [0.5] * 18])))
    assert env.ctrl[0] == pytest.approx(env.model.actuator_ctrlrange[:, 0])
    low, high = env.model.actuator_ctrlrange.T
    assert env.ctrl[1] == pytest.approx(low + 0.75 * (high - low))
    for finger in ("FF", "MF", "RF", "LF"):
        first, last = (
            env.qpos[1, int(env.model.joint(f"{PREFIX}{finger}J{k}").qposadr[0])] for k in (1, 0)
        )
        assert first > 0.5
        assert abs(0.00705 * last - 0.00805 * first) < 0.0012


def test_slices_are_those_of_the_specification() -> None:
    layout = GraspSphere().layout
    bounds = {name: getattr(layout, name) for name in type(layout).__slots__}
    assert {name: (s.start, s.stop) for name, s in bounds.items()} == {
        "joint_position": (0, 22),
        "joint_velocity": (22, 44),
        "joint_force": (44, 66),
        "fingertips": (66, 131),
        "fingertip_force": (131, 161),
        "palm": (161, 164),
        "hand_rotation": (164, 167),
        "action": (167, 191),
        "object_position": (191, 194),
        "object_quaternion": (194, 198),
        "object_velocity": (198, 201),
        "object_spin": (201, 204),
        "goal": (204, 207),
        "grasp": (207, 236),
        "code": (236, 300),
    }
    assert layout.size == 300 and layout.proprioception == slice(0, 191)


def moving(seed: int = 3) -> GraspSphere:
    """An environment in the middle of things: hand and ball turn and move."""
    env = GraspSphere(2)
    env.reset(np.array([1, 2]))
    rng = np.random.default_rng(seed)
    env.qpos[:, 7:29] = rng.uniform(env._joint_low, env._joint_low + env._joint_span)
    env.qpos[:, 2] = 1.5
    env.qvel[:] = rng.uniform(-1, 1, env.qvel.shape)
    env.step({"agent": rng.uniform(-1, 1, (2, 24)).astype(np.float32)})
    return env


def test_an_observation_says_what_mujoco_says() -> None:
    import mujoco

    env = moving()
    seen = env._observe()["agent"]
    layout = env.layout
    for index in range(2):
        data = mujoco.MjData(env.model)
        data.qpos[:], data.qvel[:] = env.qpos[index], env.qvel[index]
        mujoco.mj_forward(env.model, data)
        tips = [env.model.body(f"{PREFIX}{f}distal").id for f in ("ff", "mf", "rf", "lf", "th")]
        wanted = []
        for body in tips:
            motion = np.zeros(6)
            kind = int(mujoco.mjtObj.mjOBJ_XBODY)
            mujoco.mj_objectVelocity(env.model, data, kind, body, motion, 0)
            quat = data.xquat[body]
            wanted += [*data.xpos[body], *quat[1:], quat[0], *motion[3:], *motion[:3]]
        clipped = np.clip(wanted, -5, 5)
        assert seen[index, layout.fingertips] == pytest.approx(clipped, abs=2e-5)
        palm = env.model.body(f"{PREFIX}palm").id
        turn = data.xmat[palm].reshape(3, 3)
        center = data.xpos[palm] + turn @ [0, -0.02, 0.08]
        assert seen[index, layout.palm] == pytest.approx(center, abs=1e-5)
        assert seen[index, layout.object_position] == pytest.approx(data.qpos[29:32], abs=1e-5)
        quat = data.qpos[[33, 34, 35, 32]]
        assert seen[index, layout.object_quaternion] == pytest.approx(quat, abs=1e-5)
        assert seen[index, layout.object_velocity] == pytest.approx(data.qvel[28:31], abs=1e-5)
        spin = 0.2 * data.body("object").xmat.reshape(3, 3) @ data.qvel[31:34]
        assert seen[index, layout.object_spin] == pytest.approx(spin, abs=1e-5)
        goal = env.goal[index] - data.qpos[29:32]
        assert seen[index, layout.goal] == pytest.approx(goal, abs=1e-5)


def test_forces_are_those_of_the_last_physics_step() -> None:
    """Of a twin that MuJoCo steps alone; without gravity its sensors feel no weight."""
    import mujoco

    env = moving()
    weightless = copy.copy(env.model)
    weightless.opt.gravity[:] = 0.0
    twins = [env.batch.get_data(index, mujoco.MjData(env.model)) for index in range(2)]
    action = np.random.default_rng(7).uniform(-1, 1, (2, 24)).astype(np.float32)
    seen = env.step({"agent": action}).observations["agent"]
    assert np.abs(seen[:, 131:161]).max() > 0.05 and np.abs(seen[:, 44:66]).max() > 0.05
    for index, data in enumerate(twins):
        data.ctrl[:], data.xfrc_applied[:] = env.ctrl[index], env._wrench[index]
        for _ in range(2):
            mujoco.mj_step(weightless, data)
        # Forces on the 22 joints of the fingers, after the six degrees of freedom of the root.
        torque = np.clip(10 * data.qfrc_actuator[6:28], -5, 5)
        assert seen[index, 44:66] == pytest.approx(torque, abs=1e-5)
        felt = np.clip(10 * data.sensordata, -5, 5)
        assert felt.shape == (30,)
        # The weight that is taken off is that of one physics step later.
        for part, unit in ((slice(0, 3), 0.05), (slice(3, 6), 1e-3)):
            mine, wanted = (x.reshape(5, 6)[:, part] for x in (seen[index, 131:161], felt))
            assert mine == pytest.approx(wanted, abs=unit)


def test_the_rotation_of_the_hand_is_roll_pitch_and_yaw_of_its_root() -> None:
    from scipy.spatial.transform import Rotation

    env = moving()
    env.qpos[:, 3:7] = Rotation.from_euler("xyz", [[1, 0.4, -0.7], [-2, 0.2, 3]]).as_quat(
        scalar_first=True
    )
    env.batch.forward()
    env._info()
    wanted = [[1, 0.4, -0.7], [-2, 0.2, 3]]
    assert env._observe()["agent"][:, 164:167] == pytest.approx(np.array(wanted), abs=1e-6)


def test_joints_are_seen_by_their_limits_and_velocities_by_a_fifth() -> None:
    env = moving()
    seen = env._observe()["agent"]
    low = np.array([RANGES[name][0] for name in JOINTS])
    high = np.array([RANGES[name][1] for name in JOINTS])
    unit = 2 * (env.qpos[:, 7:29] - low) / (high - low) - 1
    assert seen[:, 0:22] == pytest.approx(np.clip(unit, -5, 5), abs=1e-5)
    assert seen[:, 22:44] == pytest.approx(np.clip(0.2 * env.qvel[:, 6:28], -5, 5), abs=1e-5)
    assert np.abs(seen).max() <= 5.0 and not seen[:, 207:236].any()
    assert seen[:, 236:300] == pytest.approx(np.stack([0.1 * env.code(0)] * 2), abs=1e-6)


def test_the_previous_action_is_seen_clipped_and_forgotten_at_a_reset() -> None:
    env = GraspSphere(2)
    env.reset(np.arange(2))
    given = np.linspace(-2, 2, 48).reshape(2, 24).astype(np.float32)
    seen = env.step({"agent": given}).observations["agent"]
    assert np.array_equal(seen[:, 167:191], np.clip(given, -1, 1))
    after = env.reset(np.array([5]), np.array([1]))[0]["agent"]
    assert np.array_equal(after[0, 167:191], np.clip(given[0], -1, 1))
    assert not after[1, 167:191].any()


def test_a_fingertip_feels_what_presses_on_it_and_not_its_weight() -> None:
    env = GraspSphere(1)
    env.reset(np.zeros(1, dtype=np.int64))
    for _ in range(60):  # joints that rest within their limits' margin come to rest
        free = env.step(acted(env)).observations["agent"][0, 131:161]
    assert np.abs(free).max() < 0.01
    # Its fingers are lowered onto the ball.
    env.qpos[0, 29:31] = 0.0, -0.16
    felt = [
        env.step(acted(env, force=np.array([0, 0, -0.1]))).observations["agent"][0, 131:161]
        for _ in range(60)
    ]
    assert np.abs(felt).max() > 1.0


def of(d_h: float, d_f: float, d_g: float, z: float, held: bool) -> Distances:
    cell = [np.array([value]) for value in (d_h, d_f, d_g, z)]
    return Distances(*cell, np.array([held]))


@pytest.mark.parametrize(
    ("d_h", "d_f", "d_g", "z", "push", "held", "wanted"),
    [
        (0.10, 0.50, 0.04, 0.88, 0.0, True, -0.10 - 0.25 + 0.82 + 0.20 + 1 / 1.4),
        (0.10, 0.50, 0.25, 0.65, 0.5, True, 0.20),
        (0.10, 0.50, 0.29, 0.61, 1.0, True, -0.03),
        (0.13, 0.50, 0.04, 0.88, 0.0, False, -0.38),
        (0.50, 3.00, 0.30, 0.64, 1.0, False, -2.0),
    ],
)
def test_rewards_are_those_of_the_worked_table(
    d_h: float, d_f: float, d_g: float, z: float, push: float, held: bool, wanted: float
) -> None:
    thresholds = np.array([0.63]), np.array([0.80])
    found = reward(of(d_h, d_f, d_g, z, held), np.array([push]), *thresholds)
    assert found == pytest.approx([wanted], abs=1e-12)


def test_distances_are_capped_and_holding_has_both_limits() -> None:
    thing = np.zeros((4, 3))
    palm = np.array([[0, 0, 0.9], [0, 0, 0.12], [0, 0, 0.1201], [0, 0, 0.12]])
    tips = np.zeros((4, 5, 3))
    tips[0, :, 0] = 0.84  # 4.2 m in all
    tips[1:3, :, 0] = 0.12
    tips[3, :, 0] = 0.1201
    goal = np.array([[0, 0, 0.05]] * 4)
    found = Distances.between(thing, palm, tips, goal)
    assert found.palm[0] == 0.5 and found.fingers[0] == 3.0
    assert found.palm[1:] == pytest.approx([0.12, 0.1201, 0.12])
    assert found.fingers[1:] == pytest.approx([0.6, 0.6, 0.6005])
    assert found.is_held.tolist() == [False, True, False, False]
    assert found.goal.tolist() == [0.05] * 4


def test_success_is_latched_counted_and_forgotten_with_the_episode() -> None:
    success = Success(2)
    for step in range(40):
        success.update(np.array([0.04 if step >= 5 else 0.2, 0.05 if step == 3 else 0.051]))
        assert success.any.tolist() == [step >= 5, step >= 3]
        assert success.final.tolist() == [step >= 5, step == 3]
        assert success.hold.tolist() == [step >= 34, False]  # 30 steps: 5 to 34
    success.update(np.array([0.3, 0.3]))
    assert success.any.tolist() == [True, True]
    assert not success.final.any() and not success.hold.any()
    success.reset(np.array([0]))
    assert success.any.tolist() == [False, True]


def test_the_goal_is_above_the_table_or_above_where_the_object_rests() -> None:
    paper = GraspSphere(lift_relative=False, radius=0.03)
    paper.reset(np.array([0]))
    assert paper.goal.tolist() == [[0.0, 0.0, pytest.approx(0.9)]]
    assert (paper._lifted[0], paper._high[0]) == (0.63, 0.8)
    relative = GraspSphere(radius=0.03)
    relative.reset(np.array([0]))
    assert relative.goal[0] == pytest.approx([0.0, 0.0, 0.83])
    assert relative._lifted[0] == pytest.approx(0.66)
    assert relative._high[0] == pytest.approx(0.8)


def test_rewards_after_a_step_are_those_of_the_state_that_it_left() -> None:
    """Not of the state before its last physics step, which MuJoCo's fields describe."""
    import mujoco

    env = moving()
    rng = np.random.default_rng(1)
    for _ in range(5):
        action = rng.uniform(-1, 1, (2, 24)).astype(np.float32)
        paid = env.step({"agent": action}).rewards
        for index in range(2):
            data = mujoco.MjData(env.model)
            data.qpos[:] = env.qpos[index]
            mujoco.mj_kinematics(env.model, data)
            palm = data.body(f"{PREFIX}palm")
            center = palm.xpos + palm.xmat.reshape(3, 3) @ [0, -0.02, 0.08]
            ball = data.body("object").xpos
            d_f = 0.0
            for finger in ("ff", "mf", "rf", "lf", "th"):
                body = data.body(f"{PREFIX}{finger}distal")
                d_f += float(
                    np.linalg.norm(ball - body.xpos - body.xmat.reshape(3, 3)[:, 2] * 0.02)
                )
            d_h = min(float(np.linalg.norm(ball - center)), 0.5)
            assert paid[index, 0] == pytest.approx(-d_h - 0.5 * min(d_f, 3.0), abs=1e-12)


def test_rotations_agree_with_scipy() -> None:
    from scipy.spatial.transform import Rotation

    turns = Rotation.random(64, rng=np.random.default_rng(0))
    quat = turns.as_quat(scalar_first=True)
    vectors = np.random.default_rng(1).normal(size=(64, 3))
    assert rotate(quat, vectors) == pytest.approx(turns.apply(vectors))
    product = Rotation.from_quat(multiply(quat, quat[::-1]), scalar_first=True)
    assert (product.inv() * (turns * turns[::-1])).magnitude() == pytest.approx(0.0, abs=1e-7)
    assert euler_xyz(quat) == pytest.approx(turns.as_euler("xyz"))


def test_it_is_a_gymnasium_environment_with_the_paper_s_time_limit() -> None:
    import gymnasium

    env = gymnasium.make("pkubench/GraspSphere-v0")
    observation, _ = env.reset(seed=0)
    assert observation.shape == (300,) and observation.dtype == np.float32
    assert env.action_space.shape == (24,)
    steps = 0
    truncated = False
    while not truncated:
        _, _, terminated, truncated, _ = env.step(np.zeros(24, dtype=np.float32))
        assert not terminated
        steps += 1
    assert steps == 200
    several = gymnasium.make_vec("pkubench/GraspSphere-v0", num_envs=3)
    assert several.reset(seed=0)[0].shape == (3, 300)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"radius": 0.0}, r"radius must be a number in \(0, 0.2\], got 0.0"),
        ({"radius": "5 cm"}, "radius must be a number"),
        ({"friction": -1.0}, r"friction must be a number in \[0, inf\), got -1.0"),
        ({"friction": float("inf")}, "friction must be a number"),
        ({"friction": "a"}, "friction must be a number"),
        ({"friction": True}, "friction must be a number"),
        ({"hand": "no/such/hand.xml"}, "no hand 'no/such/hand.xml'"),
        ({"hand": 3}, "hand must be 'shadow', the path of an MJCF file or a Hand, got 3"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        pkubench.make_batch("GraspSphere-v0", 1, **settings)
