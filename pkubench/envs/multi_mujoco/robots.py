"""Six robots, each moved by a team: Gymnasium's v5 tasks with the joints dealt out to agents."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from pkubench.envs.core.batch import FloatArray
from pkubench.envs.mujoco.locomotion import ContactForces
from pkubench.envs.mujoco.robots import Ant, HalfCheetah, Hopper, Humanoid, Swimmer, Walker2d
from pkubench.envs.multi_mujoco.factorization import Graph
from pkubench.envs.multi_mujoco.graphs import ANT, HALF_CHEETAH, HOPPER, HUMANOID, SWIMMER, WALKER
from pkubench.envs.multi_mujoco.robot import MultiRobot


class MultiHalfCheetah(MultiRobot, HalfCheetah):
    """A flat two-legged cheetah runs forward, each leg or each joint moved by an agent of its own.

    | part        | type                 | meaning                                                |
    |-------------|----------------------|--------------------------------------------------------|
    | agents      | `agent_0`, `agent_1` | 2x3: thigh, shin, foot of the back leg; of the front   |
    | or          | ... `agent_5`        | 6x1: one agent a joint, in the same order              |
    | observation | Box(17 + n) float64  | state and the agent's number, standardised             |
    | or          | Box float64          | with `agent_obsk`: its nearest joints                  |
    | action      | Box(−1, 1) float32   | torque on each of its joints                           |
    | reward      | float64              | (vₓ − 0.1 · ‖action of all‖²) / n for each of n agents |
    | state       | Box(17) float64      | positions without x (8), velocities (9)                |
    | ends        |                      | never; truncated at 1000 steps of 0.05 s               |

    The state lists, as positions, the height of the torso above its rest at 0.7 m (m), its pitch
    (rad) and the angles of back thigh, shin, foot and front thigh, shin, foot (rad); then the
    velocities of x, height, pitch and the same six angles (m/s, rad/s). vₓ is the displacement in
    the step, over 0.05 s. Torques are clipped to [−1, 1] and scaled by 120, 90, 60, 120, 60 and 30
    N m; the price is of the action as given. Neighbours are the joints along the body, from the
    back foot over the thighs to the front foot; with `agent_obsk` 0, 1, 2 an agent of 2x3 sees 11,
    12, 13 numbers.

    An episode starts with every position within ±0.1 of rest (uniform) and velocities of standard
    deviation 0.1.

    >>> import numpy as np, pkubench
    >>> env = pkubench.make_batch("MultiHalfCheetah2x3-v1", num_envs=64)
    >>> observations, _ = env.reset(np.arange(64))
    >>> step = env.step({agent: np.zeros((64, 3), dtype=np.float32) for agent in env.agents})
    >>> step.observations["agent_0"].shape, env.state().shape
    ((64, 19), (64, 17))

    Versions: v0 first release.
    """

    graph: ClassVar[Graph] = HALF_CHEETAH


class MultiHopper(MultiRobot, Hopper):
    """A one-legged robot hops forward, thigh, leg and foot moved by an agent each.

    | part        | type                    | meaning                                             |
    |-------------|-------------------------|-----------------------------------------------------|
    | agents      | `agent_0` ... `agent_2` | 3x1: thigh, leg, foot                               |
    | observation | Box(14) float64         | state (11) and the agent's number (3), standardised |
    | or          | Box float64             | with `agent_obsk`: its nearest joints               |
    | action      | Box(−1, 1, (1,))        | torque on its joint, times 200 N m                  |
    | reward      | float64                 | (vₓ + 1 − 0.001 · ‖action of all‖²) / 3 for each    |
    | state       | Box(11) float64         | positions without x (5), velocities (6)             |
    | ends        |                         | it falls; truncated at 1000 steps of 0.008 s        |

    The state lists, as positions, the height of the torso (m), its pitch and the angles of thigh,
    leg and foot (rad); then the velocities of x, height, pitch and the same three angles (m/s,
    rad/s), clipped to ±10. vₓ is the displacement in the step, over 0.008 s. Thigh and leg are
    neighbours, and leg and foot; with `agent_obsk` 0, 1 or 2 an agent sees 7 numbers and the
    angles of as many more joints as there are (velocities clipped to ±10 here too).

    The robot has fallen when its height is not above 0.7 m, its pitch not within ±0.2 rad, or any
    other position or velocity not within ±100. The step in which it falls earns no 1. An episode
    starts with every position and velocity within ±0.005 of rest (uniform).

    Versions: v0 first release.
    """

    graph: ClassVar[Graph] = HOPPER
    clips_nearest: ClassVar[bool] = True


class MultiWalker2d(MultiRobot, Walker2d):
    """A flat two-legged robot walks forward, each leg or each joint moved by an agent of its own.

    | part        | type                 | meaning                                                |
    |-------------|----------------------|--------------------------------------------------------|
    | agents      | `agent_0`, `agent_1` | 2x3: foot, leg, thigh on the right; on the left        |
    | or          | ... `agent_5`        | 6x1: one agent a joint, in the same order              |
    | observation | Box(17 + n) float64  | state and the agent's number, standardised             |
    | or          | Box float64          | with `agent_obsk`: its nearest joints                  |
    | action      | Box(−1, 1) float32   | torque on each of its joints, times 100 N m            |
    | reward      | float64              | (vₓ + 1 − 0.001 · ‖action of all‖²) / n for each of n  |
    | state       | Box(17) float64      | positions without x (8), velocities (9)                |
    | ends        |                      | it falls; truncated at 1000 steps of 0.008 s           |

    The state lists, as positions, the height of the torso (m), its pitch and the angles of thigh,
    leg, foot on the right and on the left (rad); then the velocities of x, height, pitch and the
    same six angles (m/s, rad/s), clipped to ±10. vₓ is the displacement in the step, over 0.008 s.
    Neighbours are the joints along each leg, and the two thighs; with `agent_obsk` 0, 1, 2 an agent
    of 2x3 sees 11, 12, 13 numbers (velocities are not clipped here, as in the original).

    The robot has fallen when its height is not between 0.8 and 2 m or its pitch not within ±1 rad.
    The step in which it falls earns no 1. An episode starts with every position and velocity within
    ±0.005 of rest (uniform).

    6x1 is known to the papers, but not to Gymnasium-Robotics by name.

    Versions: v0 first release.
    """

    graph: ClassVar[Graph] = WALKER


class MultiSwimmer(MultiRobot, Swimmer):
    """A three-link swimmer in a viscous fluid, its two joints moved by an agent each.

    | part        | type                   | meaning                                              |
    |-------------|------------------------|------------------------------------------------------|
    | agents      | `agent_0`, `agent_1`   | 2x1: front joint, rear joint                         |
    | observation | Box(10) float64        | state (8) and the agent's number (2), standardised   |
    | or          | Box float64            | with `agent_obsk`: its nearest joints                |
    | action      | Box(−1, 1, (1,))       | torque on its joint, times 150 N m                   |
    | reward      | float64                | (vₓ − 0.0001 · ‖action of both‖²) / 2 for each       |
    | state       | Box(8) float64         | positions without x and y (3), velocities (5)        |
    | ends        |                        | never; truncated at 1000 steps of 0.04 s             |

    The state lists, as positions, the heading of the first link and the angles of the two joints
    (rad); then the velocities of x, y, heading and the two angles (m/s, rad/s). vₓ is the
    displacement in the step, over 0.04 s, by the origin of the first link. With `agent_obsk=0` an
    agent sees its angle and two velocities (of x and of the front joint; of y and of the rear
    joint), and the heading and its velocity; with 1 or more the other angle too.

    An episode starts with every position and velocity within ±0.1 of rest (uniform).

    Versions: v0 first release.
    """

    graph: ClassVar[Graph] = SWIMMER


class MultiAnt(MultiRobot, ContactForces, Ant):
    """A four-legged robot walks in the plane, its legs moved by two agents or four.

    | part        | type                     | meaning                                            |
    |-------------|--------------------------|----------------------------------------------------|
    | agents      | `agent_0` ... `agent_3`  | 4x2: hip and ankle of leg 1, 2, 3, 4               |
    | or          | `agent_0`, `agent_1`     | 2x4: legs 1, 2 and 3, 4; 2x4d: legs 1, 4 and 2, 3  |
    | observation | Box(105 + n) float64     | state and the agent's number, standardised         |
    | or          | Box float64              | with `agent_obsk`: its nearest joints              |
    | action      | Box(−1, 1) float32       | torque on hip and ankle of each of its legs        |
    | reward      | float64                  | a share of 1/n, see below                          |
    | state       | Box(105) float64         | positions (13), velocities (14), forces (78)       |
    | ends        |                          | it falls; truncated at 1000 steps of 0.05 s        |

    The state lists, as positions without x and y, the height of the torso (m), its orientation
    (quaternion) and the angles of hip and ankle of legs 1 to 4 (rad); then the torso's velocity
    (m/s) and angular velocity (rad/s) and the velocities of the eight angles; then the contact
    torque and force on each of the 13 bodies, clipped to ±1, which are 0 after a reset. Legs are
    numbered front left, front right, back left, back right. Torques are clipped to [−1, 1] and
    scaled by 150 N m. The reward is vₓ + 1 − 0.5 · ‖action of all‖² − 0.0005 · ‖contact forces,
    clipped‖², with vₓ that of the torso.

    The hips are neighbours of one another, and of their ankles. With `agent_obsk` an agent sees
    angle and velocity of its joints and the contact forces on torso and its legs; 0, 1, 2 make 39,
    42, 45 numbers in 4x2.

    The robot has fallen when the height of its torso is not between 0.2 and 1 m; the step in which
    it falls earns no 1. An episode starts with every position within ±0.1 of rest (uniform) and
    velocities of standard deviation 0.1.

    Versions: v0 first release.
    """

    graph: ClassVar[Graph] = ANT
    contact_weight: ClassVar[float] = 5e-4

    def _forces(self) -> FloatArray:
        return np.clip(self._contact_forces, -1.0, 1.0)

    def _contact_cost(self) -> FloatArray:
        cost: FloatArray = self.contact_weight * np.square(self._forces()).sum(axis=1)
        return cost

    def _single_observation(self) -> FloatArray:
        # Without the entries of the world body.
        return np.concatenate([super()._single_observation(), self._forces()[:, 6:]], axis=1)

    def _fields(self) -> dict[str, FloatArray]:
        return {**super()._fields(), "cfrc_ext": self._forces()}


class MultiHumanoid(MultiRobot, ContactForces, Humanoid):
    """A humanoid walks in the plane, moved by two halves of its body or by each joint alone.

    | part        | type                     | meaning                                            |
    |-------------|--------------------------|----------------------------------------------------|
    | agents      | `agent_0`, `agent_1`     | 9p8: abdomen and arms; legs                        |
    | or          | ... `agent_16`           | 17x1: one agent a joint, in the same order         |
    | observation | Box(348 + n) float64     | state and the agent's number, standardised         |
    | or          | Box float64              | with `agent_obsk`: its nearest joints              |
    | action      | Box(−0.4, 0.4) float32   | torque on each of its joints                       |
    | reward      | float64                  | a share of 1/n, see below                          |
    | state       | Box(348) float64         | motion (45), and what MuJoCo derives from it (303) |
    | ends        |                          | it falls; truncated at 1000 steps of 0.015 s       |

    | state   | what                                                                             |
    |---------|----------------------------------------------------------------------------------|
    | 0–21    | height of the torso (m), its orientation (quaternion), 17 joint angles (rad)     |
    | 22–44   | its velocity (m/s) and angular velocity (rad/s), 17 joint velocities             |
    | 45–174  | inertia and mass of the 13 bodies about the centre of mass (`cinert`)            |
    | 175–252 | velocities of the 13 bodies about the centre of mass (`cvel`)                    |
    | 253–269 | torques of the motors on the 17 joints (`qfrc_actuator`)                         |
    | 270–347 | forces of contacts on the 13 bodies (`cfrc_ext`); 0 after a reset                |

    The reward is 1.25 · vₓ + 5 − 0.1 · ‖action of all‖² − min(10, 5·10⁻⁷ · ‖contact forces‖²), with
    vₓ that of the centre of mass. Actions are clipped to ±0.4, then scaled by 25 (arms) to 300 N m
    (hips); the price is of the action as given. With `agent_obsk` an agent sees angle, velocity and
    the derived quantities of its joints; 0 makes 236 and 167 numbers in 9p8. As in the original,
    the agent that moves the abdomen about y sees the angle about z in place of it, and the other
    way round.

    The robot has fallen when the height of its torso is not between 1 and 2 m; the step in which
    it falls earns no 5. An episode starts with every position and velocity within ±0.01 of rest
    (uniform).

    9p8 is what Gymnasium-Robotics calls 9|8; 17x1 is known to the papers, but not there by name.

    Versions: v0 first release.
    """

    graph: ClassVar[Graph] = HUMANOID
    contact_weight: ClassVar[float] = 5e-7
    max_contact_cost: ClassVar[float] = 10.0

    def _contact_cost(self) -> FloatArray:
        cost: FloatArray = self.contact_weight * np.square(self._contact_forces).sum(axis=1)
        return np.minimum(cost, self.max_contact_cost)

    def _single_observation(self) -> FloatArray:
        # Without the entries of the world body, and of motors that the root does not have.
        derived = self._derived_quantities()
        return np.concatenate(
            [
                super()._single_observation(),
                derived["cinert"][:, 10:],
                derived["cvel"][:, 6:],
                derived["qfrc_actuator"][:, 6:],
                self._contact_forces[:, 6:],
            ],
            axis=1,
        )

    def _fields(self) -> dict[str, FloatArray]:
        derived = self._derived_quantities()
        return {**super()._fields(), **derived, "cfrc_ext": self._contact_forces}
