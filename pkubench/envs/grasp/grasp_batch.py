"""Grasping as a batch: what the environments of the package share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import SOLE_AGENT, Array, BoolArray, FloatArray, Info
from pkubench.envs.core.options import Option
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.envs.grasp.geometry_codes import basis_point_code
from pkubench.envs.grasp.hands import SHADOW, Hand, read_hand
from pkubench.envs.grasp.items import Ball, Item, Solid
from pkubench.envs.grasp.observations import (
    CODE_SCALE,
    CODE_SIZE,
    FORCE_SCALE,
    LIMIT,
    VELOCITY_SCALE,
    Layout,
)
from pkubench.envs.grasp.picture import ScenePicture
from pkubench.envs.grasp.rewards import LIFT_M, Distances, Success, reward
from pkubench.envs.grasp.rotations import (
    euler_xyz,
    multiply,
    rotate,
    yaw_quaternions,
)
from pkubench.envs.grasp.scene import (
    HAND_JOINT,
    OBJECT,
    SUBSTEPS,
    TABLE_TOP_M,
    SceneSettings,
    compile_scene,
)
from pkubench.envs.grasp.slots import compile_slots
from pkubench.envs.grasp.state import GraspState, reach_below_root, tip_forces, tip_states
from pkubench.envs.mujoco.batch import MujocoBatch
from pkubench.errors import ConfigError

CONTROL_S = 1.0 / 60.0
FORCE_N = CONTROL_S * 0.5 * 100_000.0
"""Force on the palm at full action: 833.3 N."""
TORQUE_NM = CONTROL_S * 0.1 * 1_000.0
"""Torque on the palm at full action: 1.667 N m."""
HAND_HEIGHT_M = 0.8
CLEARANCE_M = 0.05
"""Between the highest point of an object and the hand, at the start of an episode, at least."""
MAX_YAW = 3.14
NOMINAL_HEIGHT_M = 0.7
"""From where the paper's goal is measured, whatever the object."""
LIFTED_M, HIGH_M = 0.63, 0.8
"""Heights of the paper's lift bonuses: 0.03 and 0.2 above the table."""
LIFTED_RELATIVE_M, HIGH_RELATIVE_M = 0.03, 0.17
"""Those of ``lift_relative``, above where the object rests."""
FROM_SEED = -1
MAX_POSES = 128
_FAILURE_REWARD = -2.0
"""The lowest reward there is: of a step in which a simulation broke down."""


class GraspBatch(MujocoBatch):
    """A floating hand grasps an object on a table and lifts it to a goal above.

    | part        | type                  | meaning                                           |
    |-------------|-----------------------|---------------------------------------------------|
    | observation | Box(−5, 5, (300,))    | hand, object and goal, see below; float32         |
    | action      | Box(−1, 1, (24,))     | force 3, torque 3, 18 joint targets               |
    | reward      | float64               | see below                                         |
    | ends        |                       | never; truncated at 200 steps of 1/60 s           |

    **Action.** `a[0:3]` is a force on the palm in the world's axes, 833.3 N at 1, and `a[3:6]` a
    torque, 1.667 N m at 1. Drag of 431 N s/m and 2 N m s/rad leaves a speed of at most 1.93 m/s
    along an axis. `a[6:24]` are the targets of the joints between their limits, −1 to 1, in the
    order FFJ3, 2, 1; MFJ3, 2, 1; RFJ3, 2, 1; LFJ4, 3, 2, 1; THJ4, 3, 2, 1, 0. The last joint of
    each finger but the thumb follows the one before it. Gravity does not act on the hand.

    **Observation**, clipped to ±5:

    | numbers | meaning                                                                         |
    |---------|---------------------------------------------------------------------------------|
    | 0:22    | joint angles, by their limits to [−1, 1]                                        |
    | 22:44   | 0.2 × joint velocities (rad/s)                                                  |
    | 44:66   | 10 × torques of the actuators on the joints (N m)                               |
    | 66:131  | of each fingertip: position, quaternion (x, y, z, w), velocity, angular velocity |
    | 131:161 | 10 × force (N) and torque (N m) between each fingertip and its finger           |
    | 161:164 | center of the palm (m)                                                          |
    | 164:167 | roll, pitch, yaw of the hand (rad)                                              |
    | 167:191 | previous action                                                                 |
    | 191:198 | object: position, quaternion (x, y, z, w)                                       |
    | 198:204 | object: velocity, 0.2 × angular velocity                                        |
    | 204:207 | goal − object position (m)                                                      |
    | 207:236 | zeros (UniDexGrasp's grasp to reach)                                            |
    | 236:300 | 0.1 × geometry code of the object                                               |

    The geometry code is the distances of 64 fixed points to the object's surface in units of 5 cm.

    **Reward.** With the distances of the object to the goal `g`, to the palm `h` (at most 0.5 m)
    and to the five fingertips summed `f` (at most 3 m), its height `z`, and held meaning f ≤ 0.6
    and h ≤ 0.12: −h − f/2, and while held + 0.9 − 2g, + 0.2 if z is at least the upper threshold
    or else + 0.1 + 0.1 a[2] if it is at least the lower one, + 1/(1 + 10 g) if g ≤ 0.05.

    **Success** is g ≤ 0.05: `success` in any step of the episode (the paper's), `success_final`
    now, `success_hold` now and in the 29 steps before. Other `info`: `distance_to_goal` (m),
    `is_held`, `object` (its number), `simulation_failed`.

    With `lift_relative` the goal is 0.2 m above the place where the object rests and the thresholds
    are 0.03 and 0.17 m above it; without, as in the paper, the goal is (0, 0, 0.9) and the
    thresholds 0.63 and 0.8, so that thick objects collect the lower one on the table.

    An episode starts with the object at rest in one of its stable poses, drawn as often as a drop
    ends in it, with a yaw in ±3.14, the hand open above it: at 0.8 m as in the paper, or higher
    where less than 5 cm would be between them. (The original drops the object from 0.7 m, which
    throws the hand off thick objects.) The released code's `random_time`, which starts the clocks
    of the first episodes at random steps, is left out: an episode is its seed.
    Options of an episode: `object` and `pose`, by number; −1 draws from the seed.

    Settings: `lift_relative`, `hand` ("shadow", the path of an MJCF file, or a
    `pkubench.envs.grasp.hands.Hand`), `friction`, `max_episode_steps`, `num_threads` (results do
    not depend on it). Where MuJoCo meets a value it cannot continue with, the episode ends with
    reward −2 and `simulation_failed`.

    Source: Wan et al., "UniDexGrasp++", ICCV 2023 (arXiv 2304.00464): actions, observation, reward
    and success are those of its released code. The physics is MuJoCo's, so that no score of the
    paper is comparable.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 60}
    default_horizon: ClassVar[int | None] = 200

    def __init__(
        self,
        items: Sequence[Item],
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        num_threads: int = 1,
        *,
        drawn: int | None = None,
        lift_relative: bool = False,
        hand: str | Hand = SHADOW,
        friction: float = 1.0,
    ) -> None:
        """Compile the scene and make the simulations.

        Args:
            items: the objects at their scales: one ``Ball``, or any number of ``Solid``.
            num_envs: number of environments.
            max_episode_steps: time limit; -1 is the 200 steps of the paper, None no limit.
            num_threads: threads that share the environments; results do not depend on it.
            drawn: how many of the objects, from the first, are drawn by seeds; None: all.
            lift_relative: measure goal and lift from where the object rests.
            hand: "shadow", the path of an MJCF file, or a ``Hand``.
            friction: of hand, object and table.

        Raises:
            ConfigError: a number that is out of range, or a hand that cannot be read.
            MissingExtra: gymnasium-robotics, which has the ShadowHand, is not installed.
        """
        if not items:
            raise ConfigError("no objects to grasp; give at least one")
        if not 0.0 <= friction < np.inf:
            raise ConfigError(f"friction must be finite and not negative, got {friction}")
        self.hand = read_hand(hand)
        self.items = tuple(items)
        self.lift_relative = lift_relative
        self._drawn = len(self.items) if drawn is None else drawn
        ball = self.items[0].radius if isinstance(self.items[0], Ball) else None
        self._settings = SceneSettings(hand=self.hand, friction=friction, ball_m=ball)
        self._slots = None
        solids = [item for item in self.items if isinstance(item, Solid)]
        if len(solids) == len(self.items):
            self._slots = compile_slots(self._settings, solids)
            model = self._slots.model
        elif len(self.items) == 1:
            model = compile_scene(self._settings)
        else:
            raise ConfigError("a ball is the only object of its scene")
        self.episode_options = {  # type: ignore[misc]
            "object": Option(
                FROM_SEED,
                spaces.Discrete(len(self.items) + 1, start=FROM_SEED),
                "number of the object; -1 draws it from the seed",
            ),
            "pose": Option(
                FROM_SEED,
                spaces.Discrete(MAX_POSES + 1, start=FROM_SEED),
                "number of its stable pose, likeliest first, modulo how many it has; -1 draws it",
            ),
        }
        super().__init__(model, SUBSTEPS, num_envs, max_episode_steps, num_threads)
        self._find_parts()
        self._fields = {} if self._slots is None else self._slots.expand(self.expand)
        self._streams = RandomStreams(num_envs)
        self.success = Success(num_envs)
        self.object: IntArray = np.zeros(num_envs, dtype=np.int64)
        self.goal: FloatArray = np.zeros((num_envs, 3))
        self._lifted: FloatArray = np.full(num_envs, LIFTED_M)
        self._high: FloatArray = np.full(num_envs, HIGH_M)
        self._code: FloatArray = np.zeros((num_envs, CODE_SIZE))
        self._codes: dict[int, FloatArray] = {}
        size = 6 + self.model.nu
        self._action: FloatArray = np.zeros((num_envs, size))
        self._state = self.grasp_state()
        self.action_spaces = {SOLE_AGENT: spaces.Box(-1.0, 1.0, (size,), np.float32)}
        self.observation_spaces = {
            SOLE_AGENT: spaces.Box(-LIMIT, LIMIT, (self.layout.size,), np.float32)
        }

    def _find_parts(self) -> None:
        """Find hand and object in the model, and bind what is read of them."""
        model, hand = self.model, self.hand
        self._palm = model.body(hand.palm).id
        self._tips = np.array([model.body(name).id for name in hand.fingertips])
        self._parts = np.array([self._palm, *self._tips])
        self._points = np.array([hand.palm_point, *[hand.tip_point] * len(self._tips)])
        self._tip_center = model.body_ipos[self._tips]
        self._tip_weight = -model.body_mass[self._tips, None] * model.opt.gravity
        joints = np.array([j for j in range(model.njnt) if model.jnt_type[j] != 0])
        self._joint_qpos, self._joint_dofs = model.jnt_qposadr[joints], model.jnt_dofadr[joints]
        self._joint_low, high = model.jnt_range[joints].T.copy()
        self._joint_span = np.where(high > self._joint_low, high - self._joint_low, 1.0)
        self._low, high = model.actuator_ctrlrange.T.copy()
        self._span = high - self._low
        self.layout = Layout.of(len(joints), len(self._tips), model.nu)
        self._root_at = int(model.joint(HAND_JOINT).qposadr[0])
        self._object_at = int(model.joint(OBJECT).qposadr[0])
        self._object_dof = int(model.joint(OBJECT).dofadr[0])
        self._wrench = self.bind("xfrc_applied")
        self._xpos, self._xquat = self.bind("xpos"), self.bind("xquat")
        self._cvel, self._center = self.bind("cvel"), self.bind("subtree_com")
        self._torque, self._tip_force = self.bind("qfrc_actuator"), self.bind("sensordata")
        self._reach_down = reach_below_root(model, hand)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._streams.seed(ids, seeds)
        draw = self._streams.uniform(ids, 3)
        chosen, pose = self.options["object"][ids], self.options["pose"][ids]
        number = np.where(chosen >= 0, chosen, (draw[:, 0] * self._drawn).astype(np.int64))
        if self._slots is not None:
            self._slots.put(self._fields, ids, number)
        quat, height, top = self._resting(number, pose, draw[:, 1])
        yaw = MAX_YAW * (2.0 * draw[:, 2] - 1.0)
        qpos = np.tile(self.model.qpos0, (len(ids), 1))
        root, thing = self._root_at, self._object_at
        lowest = TABLE_TOP_M + top + CLEARANCE_M + self._reach_down
        qpos[:, root : root + 2] = 0.0
        qpos[:, root + 2] = np.maximum(HAND_HEIGHT_M, lowest)
        qpos[:, root + 3 : root + 7] = self.hand.start_quat
        qpos[:, self._joint_qpos] = np.clip(
            0.0, self._joint_low, self._joint_low + self._joint_span
        )
        qpos[:, thing : thing + 2] = 0.0
        qpos[:, thing + 2] = TABLE_TOP_M + height
        qpos[:, thing + 3 : thing + 7] = multiply(yaw_quaternions(yaw), quat)
        self._place(ids, qpos, np.zeros((len(ids), self.model.nv)))
        self.object[ids] = number
        self._code[ids] = [self.code(item) for item in number.tolist()]
        self.goal[ids] = 0.0, 0.0, NOMINAL_HEIGHT_M + LIFT_M
        if self.lift_relative:
            rest = TABLE_TOP_M + height
            self.goal[ids, 2] = rest + LIFT_M
            self._lifted[ids], self._high[ids] = rest + LIFTED_RELATIVE_M, rest + HIGH_RELATIVE_M
        self._action[ids] = 0.0
        self.success.reset(ids)
        self._state = self.grasp_state()

    def _resting(
        self, number: IntArray, pose: IntArray, draw: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the poses that episodes start in.

        Args:
            number: of the object, (n,).
            pose: of its stable pose, or -1, (n,).
            draw: in [0, 1), chooses where the pose is -1, (n,).

        Returns:
            Quaternion (n, 4), height (n,) of the origin and top (n,) above the table in m.
        """
        quat, height, top = np.empty((len(number), 4)), np.empty(len(number)), np.empty(len(number))
        for row, (item, wanted) in enumerate(zip(number.tolist(), pose.tolist(), strict=True)):
            poses = self.items[item].poses
            count = len(poses.height)
            if wanted < 0:
                wanted = int(np.searchsorted(poses.chance, draw[row], side="right"))
            place = wanted % count
            quat[row], height[row] = poses.quaternion[place], poses.height[place]
            top[row] = poses.top[place]
        return quat, height, top

    def code(self, number: int) -> FloatArray:
        """Return the geometry code of an object by number, (64,)."""
        if number not in self._codes:
            self._codes[number] = basis_point_code(self.items[number])
        return self._codes[number]

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        action = np.clip(actions[SOLE_AGENT].astype(np.float64), -1.0, 1.0)
        self._action[:] = action
        self._wrench[:, self._palm, :3] = FORCE_N * action[:, :3]
        self._wrench[:, self._palm, 3:] = TORQUE_NM * action[:, 3:6]
        self._advance(self._low + 0.5 * (action[:, 6:] + 1.0) * self._span, active)
        distances = self.distances()
        rewards = reward(distances, action[:, 2], self._lifted, self._high)
        self.success.update(distances.goal)
        if self.failed.any():
            rewards[self.failed] = _FAILURE_REWARD
        return rewards[:, None], self.failed.copy(), self._describe(distances)

    def _run(self, ids: IntArray | None) -> None:
        # Positions and velocities of bodies are then those after the last physics step, not before.
        self.batch.step(ids, nstep=self.frame_skip, stage=int(mujoco.mjtStage.mjSTAGE_VEL))

    def grasp_state(self) -> GraspState:
        """Return where object, palm and fingertips are, as new arrays."""
        parts, thing = self._parts, self._object_at
        position, quat = self._xpos[:, parts], self._xquat[:, parts]
        points = position + rotate(quat, self._points)
        motion = self.qpos[:, thing : thing + 7].copy()
        return GraspState(
            *(motion[:, :3], motion[:, 3:], points[:, 0], quat[:, 0]),
            *(points[:, 1:], position[:, 1:], quat[:, 1:]),
        )

    def distances(self) -> Distances:
        """Return what rewards are functions of, in the present state."""
        state = self.grasp_state()
        self._state = state
        return Distances.between(state.object_position, state.palm, state.tips, self.goal)

    def _info(self) -> Info:
        return self._describe(self.distances())

    def _describe(self, distances: Distances) -> Info:
        return {
            "success": self.success.any,
            "success_final": self.success.final,
            "success_hold": self.success.hold,
            "distance_to_goal": distances.goal,
            "is_held": distances.is_held,
            "object": self.object.copy(),
            "simulation_failed": self.failed.copy(),
        }

    def _observe(self) -> dict[str, Array]:
        layout, state = self.layout, self._state
        found = np.zeros((self.num_envs, layout.size), dtype=np.float32)
        angles = self.qpos[:, self._joint_qpos] - self._joint_low
        found[:, layout.joint_position] = 2.0 * angles / self._joint_span - 1.0
        found[:, layout.joint_velocity] = VELOCITY_SCALE * self.qvel[:, self._joint_dofs]
        found[:, layout.joint_force] = FORCE_SCALE * self._torque[:, self._joint_dofs]
        found[:, layout.fingertips] = tip_states(
            state, self._cvel[:, self._tips], self._center[:, self._palm]
        )
        found[:, layout.fingertip_force] = FORCE_SCALE * tip_forces(
            state, self._tip_force, self._tip_weight, self._tip_center
        )
        found[:, layout.palm] = state.palm
        found[:, layout.hand_rotation] = euler_xyz(state.palm_quaternion)
        found[:, layout.action] = self._action
        found[:, layout.object_position] = state.object_position
        found[:, layout.object_quaternion] = state.object_quaternion[:, [1, 2, 3, 0]]
        dof = self._object_dof
        found[:, layout.object_velocity] = self.qvel[:, dof : dof + 3]
        spin = rotate(state.object_quaternion, self.qvel[:, dof + 3 : dof + 6])
        found[:, layout.object_spin] = VELOCITY_SCALE * spin
        found[:, layout.goal] = self.goal - state.object_position
        found[:, layout.code] = CODE_SCALE * self._code
        np.clip(found, -LIMIT, LIMIT, out=found)
        return {SOLE_AGENT: found}

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw one environment off-screen: (480, 480, 3) uint8.

        Raises:
            PkubenchError: no OpenGL can be found; the message names the Debian packages.
        """
        item = self.items[int(self.object[index])]
        if self._camera is not None and self._camera.item is not item:
            self.close()
        if self._camera is None:
            self._camera = ScenePicture(self._settings, item, self.frame_size)
        picture: npt.NDArray[np.uint8] = self._camera.draw(self.qpos[index])
        return picture
