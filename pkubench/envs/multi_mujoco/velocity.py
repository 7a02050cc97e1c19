"""Teams that move a robot under a speed limit: Multi-Agent MuJoCo with the Velocity tasks' cost.

Nothing is new here but the meeting of the two: robot, agents and reward are those of
``multi_mujoco.robots``, limit and cost those of ``safety.speed_limits``.
"""

from __future__ import annotations

from pkubench.envs.core.batch import FloatArray, Info
from pkubench.envs.multi_mujoco.robot import MultiRobot
from pkubench.envs.multi_mujoco.robots import MultiAnt, MultiHalfCheetah
from pkubench.envs.safety.speed_limits import Thresholds, speed_limit


class _Limited(MultiRobot):
    """A team's robot that is charged for too much speed, once for all agents."""

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        num_threads: int = 1,
        *,
        factorization: str,
        agent_obsk: int | None = None,
        thresholds: Thresholds = "v1",
    ) -> None:
        """Make the environments (see ``MultiRobot``).

        Args:
            num_envs: number of environments.
            max_episode_steps: time limit; -1 is the 1000 steps of the original, None no limit.
            num_threads: threads that share the environments; results do not depend on it.
            factorization: who moves what, a name in the robot's table.
            agent_obsk: edges of the graph an agent sees across; None is the whole state.
            thresholds: speed limits of Safety-Gymnasium's ``-v1`` or ``-v0`` environments.

        Raises:
            UnknownName: no such set of thresholds, or the robot is not factorized so.
            ConfigError: a number out of range.
        """
        self.speed_limit = speed_limit(self.robot, thresholds)
        super().__init__(
            num_envs,
            max_episode_steps,
            num_threads,
            factorization=factorization,
            agent_obsk=agent_obsk,
        )

    def _motion_info(self, position: FloatArray, velocity: FloatArray) -> Info:
        return super()._motion_info(position, velocity) | self.speed_limit.info(velocity)


class MultiHalfCheetahVelocity(_Limited, MultiHalfCheetah):
    """Two agents, a leg each, run a cheetah forward under a speed limit.

    | part        | type                 | meaning                                                |
    |-------------|----------------------|--------------------------------------------------------|
    | agents      | `agent_0`, `agent_1` | 2x3: thigh, shin, foot of the back leg; of the front   |
    | observation | Box(19) float64      | state and the agent's number, standardised             |
    | or          | Box float64          | with `agent_obsk`: its nearest joints                  |
    | action      | Box(−1, 1, (3,))     | torque on each of its joints                           |
    | reward      | float64              | (vₓ − 0.1 · ‖action of both‖²) / 2 for each            |
    | cost        | 0 or 1               | 1 if vₓ is above 3.2096 m/s; one for the whole team    |
    | state       | Box(17) float64      | positions without x (8), velocities (9)                |
    | ends        |                      | never; truncated at 1000 steps of 0.05 s               |

    All but the cost is `MultiHalfCheetah2x3-v1`, to the last bit; the cost is that of
    `HalfCheetahVelocity-v0`. Neither leg can tell from its own torques how fast the robot runs, so
    the limit is the team's to hold. `info`: `cost` and `cost_velocity` besides.

    Constrained teams are held to 25 costs an episode; running at the limit all the way earns at
    most 3,210.

    >>> import numpy as np, pkubench
    >>> env = pkubench.make_batch("MultiHalfCheetah2x3Velocity-v1", num_envs=64)
    >>> observations, _ = env.reset(np.arange(64))
    >>> step = env.step({agent: np.zeros((64, 3), dtype=np.float32) for agent in env.agents})
    >>> step.info["cost"].shape
    (64,)

    Settings besides: `thresholds` ("v1" or "v0": 3.2096 or 2.8795 m/s).

    Source of the limit: Ji et al., "Safety-Gymnasium: A Unified Safe Reinforcement Learning
    Benchmark", NeurIPS 2023. Versions: v0 first release.
    """


class MultiAntVelocity(_Limited, MultiAnt):
    """Four agents, a leg each, walk an ant under a speed limit.

    | part        | type                     | meaning                                            |
    |-------------|--------------------------|----------------------------------------------------|
    | agents      | `agent_0` ... `agent_3`  | 4x2: hip and ankle of leg 1, 2, 3, 4               |
    | observation | Box(109) float64         | state and the agent's number, standardised         |
    | or          | Box float64              | with `agent_obsk`: its nearest joints              |
    | action      | Box(−1, 1, (2,))         | torque on hip and ankle of its leg                 |
    | reward      | float64                  | a quarter of that of `MultiAnt4x2-v1`              |
    | cost        | 0 or 1                   | 1 if √(vₓ² + v_y²) is above 2.6222 m/s             |
    | state       | Box(105) float64         | positions (13), velocities (14), forces (78)       |
    | ends        |                          | it falls; truncated at 1000 steps of 0.05 s        |

    All but the cost is `MultiAnt4x2-v1`, to the last bit; the cost, one for the whole team, is that
    of `AntVelocity-v0`: the torso's speed in the plane, whatever its direction. `info`: `cost` and
    `cost_velocity` besides.

    Constrained teams are held to 25 costs an episode; walking at the limit all the way earns at
    most 3,622. The limit was chosen on Gymnasium's v4 ant, which is not charged for the forces of
    contacts; this one is.

    Settings besides: `thresholds` ("v1" or "v0": 2.6222 or 2.5745 m/s).

    Source of the limit: Ji et al., "Safety-Gymnasium: A Unified Safe Reinforcement Learning
    Benchmark", NeurIPS 2023. Versions: v0 first release.
    """
