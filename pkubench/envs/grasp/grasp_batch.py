"""Grasping as a batch: what the environments of the package share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from pkubench.envs.core.batch import SOLE_AGENT, Array, BoolArray, FloatArray, Info
from pkubench.envs.core.options import Option
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.envs.grasp.clouds.observation import official_leak
from pkubench.envs.grasp.clouds.vision import CARRIED, OFFICIAL_LEAK, STATE, Vision, points_of
from pkubench.envs.grasp.geometry_codes import basis_point_code
from pkubench.envs.grasp.grasp_scene import GraspScene
from pkubench.envs.grasp.hands import SHADOW, Hand
from pkubench.envs.grasp.items import Item
from pkubench.envs.grasp.observations import (
    CODE_SCALE,
    CODE_SIZE,
    LIMIT,
)
from pkubench.envs.grasp.rewards import GOAL_RADIUS_M, LIFT_M, Distances, Success, reward
from pkubench.envs.grasp.rotations import (
    multiply,
    yaw_quaternions,
)
from pkubench.envs.grasp.scene import (
    OBJECT,
    TABLE_TOP_M,
)
from pkubench.envs.grasp.starts import DrawnTasks, StartPoses
from pkubench.envs.grasp.state import (
    hand_geoms,
)

HORIZON = 200
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
CLOUD_OF = "cloud_of"
"""Option of an episode that shows the surface of another object than the one on the table."""
MAX_POSES = 128
_FAILURE_REWARD = -2.0
"""The lowest reward there is: of a step in which a simulation broke down."""


class GraspBatch(GraspScene):
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

    **Observation with a cloud** (`observation=cloud`): numbers 0:191 of the above, then `points`
    (1,024) points with position (m), color, and whether they are the hand's and the object's;
    half are on the hand and half on the object, fixed to their bodies. Nothing else says where the
    object is (but `state`, for critics and teachers, has all 300 numbers). `observation=views` has
    what five cameras see instead. `observation=official-leak`
    has 29 numbers more between the two, the object's pose among them, which the released vision
    policy was shown. The option `cloud_of` shows another object's surface.

    Settings: `tasks` (pairs of an object and its pose, by number, that seeds draw from: for
    curricula and specialists), `observation`, `points`, `lift_relative`, `hand` ("shadow", the path
    of an MJCF file, or a `pkubench.envs.grasp.hands.Hand`), `friction`, `max_episode_steps`,
    `num_threads` (results do not depend on it). Where MuJoCo meets a value it cannot continue with,
    the episode ends with reward −2 and `simulation_failed`.

    Source: Wan et al., "UniDexGrasp++", ICCV 2023 (arXiv 2304.00464): actions, observation, reward
    and success are those of its released code. The physics is MuJoCo's, so that no score of the
    paper is comparable.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 60}
    default_horizon: ClassVar[int | None] = HORIZON

    def __init__(
        self,
        items: Sequence[Item],
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        num_threads: int = 1,
        *,
        drawn: int | None = None,
        tasks: Sequence[Sequence[int]] | None = None,
        lift_relative: bool = False,
        hand: str | Hand = SHADOW,
        friction: float = 1.0,
        observation: str = STATE,
        points: int | None = None,
    ) -> None:
        """Compile the scene and make the simulations.

        Args:
            items: the objects at their scales: one ``Ball``, or any number of ``Solid``.
            num_envs: number of environments.
            max_episode_steps: time limit; -1 is the 200 steps of the paper, None no limit.
            num_threads: threads that share the environments; results do not depend on it.
            drawn: how many of the objects, from the first, are drawn by seeds; None: all.
            tasks: pairs of an object and its pose, by number, of which alone seeds draw, each as
                often as the pose is drawn of its object; None: all poses of those objects.
            lift_relative: measure goal and lift from where the object rests.
            hand: "shadow", the path of an MJCF file, or a ``Hand``.
            friction: of hand, object and table.
            observation: "state", "cloud", "views" or "official-leak".
            points: of a cloud, 1,024 unless given; half of them on the hand.

        Raises:
            ConfigError: a number that is out of range, or a hand that cannot be read.
            UnknownName: there is no such observation.
            MissingExtra: gymnasium-robotics, which has the ShadowHand, is not installed.
        """
        shown_points = points_of(observation, points)
        numbers = spaces.Discrete(len(items) + 1, start=FROM_SEED)
        self.episode_options = {  # type: ignore[misc]
            "object": Option(FROM_SEED, numbers, "number of the object; -1 draws it from the seed"),
            "pose": Option(
                FROM_SEED,
                spaces.Discrete(MAX_POSES + 1, start=FROM_SEED),
                "number of its stable pose, likeliest first, modulo how many it has; -1 draws it",
            ),
        }
        if observation in CARRIED:
            meaning = "number of the object whose surface is shown in its place; -1: its own"
            self.episode_options[CLOUD_OF] = Option(FROM_SEED, numbers, meaning)
        super().__init__(
            *(items, num_envs, max_episode_steps, num_threads), hand=hand, friction=friction
        )
        self.lift_relative = lift_relative
        self._drawn = len(self.items) if drawn is None else drawn
        self._starts = StartPoses(self.items)
        self._tasks = None if tasks is None else DrawnTasks(tasks, self.items)
        self.vision = None if observation == STATE else self._make_vision(observation, shown_points)
        self._shown: IntArray = np.zeros(num_envs, dtype=np.int64)
        self._streams = RandomStreams(num_envs)
        self.success = Success(num_envs)
        self.goal: FloatArray = np.zeros((num_envs, 3))
        self._lifted: FloatArray = np.full(num_envs, LIFTED_M)
        self._high: FloatArray = np.full(num_envs, HIGH_M)
        self._code: FloatArray = np.zeros((num_envs, CODE_SIZE))
        self._codes: dict[int, FloatArray] = {}
        self.top_m: FloatArray = np.zeros(num_envs)
        """How far objects reached above their centers at the start of their episodes."""
        size = 6 + self.model.nu
        self._action: FloatArray = np.zeros((num_envs, size))
        self._state = self.grasp_state()
        self.action_spaces = {SOLE_AGENT: spaces.Box(-1.0, 1.0, (size,), np.float32)}
        shown = self.layout.size if self.vision is None else self.vision.layout.size
        self.observation_spaces = {SOLE_AGENT: spaces.Box(-LIMIT, LIMIT, (shown,), np.float32)}
        if self.vision is not None:  # critics and teachers may see what the policy is not shown
            self.state_space = spaces.Box(-LIMIT, LIMIT, (self.layout.size,), np.float32)

    def _make_vision(self, kind: str, points: int) -> Vision:
        model, body = self.model, self.model.body(OBJECT).id
        on_hand, on_object = hand_geoms(model, self.hand), np.flatnonzero(model.geom_bodyid == body)
        own, joints = int(self.layout.proprioception.stop), len(self._joint_qpos)
        return Vision(*(kind, points, model, (on_hand, on_object, body)), self.items, (own, joints))

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._streams.seed(ids, seeds)
        draw = self._streams.uniform(ids, 3)
        asked, pose = self.options["object"][ids], self.options["pose"][ids]
        drawn = (draw[:, 0] * self._drawn).astype(np.int64)
        if self._tasks is not None:
            drawn, lying = self._tasks.at(draw[:, 0])
            pose = np.where((asked < 0) & (pose < 0), lying, pose)
        chosen = np.where(asked >= 0, asked, drawn)
        quat, height, top = self._starts.at(chosen, pose, draw[:, 1])
        yaw = MAX_YAW * (2.0 * draw[:, 2] - 1.0)
        lowest = TABLE_TOP_M + top + CLEARANCE_M + self.reach_down_m
        hand = np.maximum(HAND_HEIGHT_M, lowest)
        turned = multiply(yaw_quaternions(yaw), quat)
        self._start(ids, chosen, hand, turned, TABLE_TOP_M + height)
        self.top_m[ids] = top - height
        self._shown[ids] = chosen
        if self.vision is not None:
            other = self.options.get(CLOUD_OF, self.object)[ids]
            self._shown[ids] = np.where(other < 0, chosen, other)
            self.vision.prepare(self._shown[ids])
        self._code[ids] = [self.code(item) for item in chosen.tolist()]
        self.goal[ids] = 0.0, 0.0, NOMINAL_HEIGHT_M + LIFT_M
        if self.lift_relative:
            rest = TABLE_TOP_M + height
            self.goal[ids, 2] = rest + LIFT_M
            self._lifted[ids], self._high[ids] = rest + LIFTED_RELATIVE_M, rest + HIGH_RELATIVE_M
        self._action[ids] = 0.0
        self.success.reset(ids)
        self._state = self.grasp_state()

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
        self._act(action, active)
        distances = self.distances()
        rewards = reward(distances, action[:, 2], self._lifted, self._high)
        self.success.update(distances.goal)
        if self.failed.any():
            rewards[self.failed] = _FAILURE_REWARD
        return rewards[:, None], self.failed.copy(), self._describe(distances)

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
        seen = self.state_observation()
        if self.vision is None:
            return {SOLE_AGENT: seen}
        leak = self._official_leak() if self.vision.kind == OFFICIAL_LEAK else None
        bodies, own = (self._bodies.xpos, self._bodies.xquat), seen[:, self.layout.proprioception]
        return {SOLE_AGENT: self.vision.observe(own, leak, self.batch, bodies, self._shown)}

    def state(self) -> Array:
        """Return the observation of a state policy, whatever the policy itself is shown."""
        return self.state_observation()

    def _goal_of(self, index: int) -> tuple[FloatArray | None, bool]:
        goal = self.goal[index]
        distance = float(np.linalg.norm(self.qpos[index, self._object_at :][:3] - goal))
        return goal, distance <= GOAL_RADIUS_M

    def _official_leak(self) -> FloatArray:
        state, palm = self._state, self._bodies.xpos[:, self._palm]
        object_ = state.object_position, state.object_quaternion
        return official_leak(palm, state.palm_quaternion, *object_, self.qpos[:, self._joint_qpos])

    def state_observation(self) -> Array:
        """Return the observation of a state policy, (num_envs, 300), whatever is shown instead."""
        layout = self.layout
        found = np.zeros((self.num_envs, layout.size), dtype=np.float32)
        self._write_state(found, self._state)
        found[:, layout.action] = self._action
        found[:, layout.goal] = self.goal - self._state.object_position
        found[:, layout.code] = CODE_SCALE * self._code
        np.clip(found, -LIMIT, LIMIT, out=found)
        return found
