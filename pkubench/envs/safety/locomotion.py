"""Gymnasium's v4 locomotion tasks with a speed limit, on batches.

The rules here are those of ``gymnasium.envs.mujoco.*_v4``, to the last bit
(``tests/envs/test_velocity.py``); the cost is Safety-Gymnasium's (Ji et al., "Safety-Gymnasium: A
Unified Safe Reinforcement Learning Benchmark", NeurIPS 2023 Datasets and Benchmarks).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import mujoco
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.utils.seeding import np_random

from pkubench.envs.core.batch import SOLE_AGENT, Array, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.mujoco.batch import MujocoBatch, gymnasium_model
from pkubench.errors import UnknownName

Thresholds = Literal["v0", "v1"]


class Locomotion(MujocoBatch):
    """A robot that is paid for speed, and charged for too much of it.

    The class attributes are a task's numbers; ``pkubench.envs.safety.velocity`` has the tasks.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}
    default_horizon: ClassVar[int | None] = 1000

    model_file: ClassVar[str]
    """The model, one of Gymnasium's own files."""
    physics_steps: ClassVar[int]
    """Physics steps in one step of the world."""
    thresholds: ClassVar[Mapping[str, float]]
    """Name of a set of thresholds -> speed in m/s above which a step costs 1."""
    planar_speed: ClassVar[frozenset[str]] = frozenset()
    """Sets of thresholds that look at the speed in the plane instead of forward velocity."""
    forward_weight: ClassVar[float] = 1.0
    control_weight: ClassVar[float]
    healthy_reward: ClassVar[float | None] = None
    """Reward of every step, in tasks that end when the robot falls; None in the others."""
    reset_noise: ClassVar[float]
    """Half-width of the uniform noise on the initial state (and see ``normal_velocity``)."""
    normal_velocity: ClassVar[bool] = False
    """Initial velocities are drawn from a normal distribution of this deviation instead."""
    hidden_positions: ClassVar[int] = 1
    """Leading positions that are not observed, so that no robot knows how far it is."""
    velocity_clip: ClassVar[float | None] = None
    """Observed velocities are clipped to plus or minus this."""
    keeps_data: ClassVar[bool] = False
    """Whether the task reads what only a lane's own ``MjData`` holds."""

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        num_threads: int = 1,
        thresholds: Thresholds = "v1",
    ) -> None:
        """Make the lanes.

        Args:
            num_envs: number of lanes.
            max_episode_steps: time limit; -1 is the 1000 steps of the original, None no limit.
            num_threads: threads that share the lanes; results do not depend on it.
            thresholds: speed limits of Safety-Gymnasium's ``-v1`` or ``-v0`` environments.

        Raises:
            UnknownName: no such set of thresholds.
            ConfigError: a number that is not positive.
        """
        if thresholds not in self.thresholds:
            raise UnknownName("set of thresholds", str(thresholds), self.thresholds)
        model = gymnasium_model(self.model_file)
        # One robot is one island of constraints: not looking for more saves 2 to 6 % of the time
        # and changes no bit.
        model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_ISLAND)
        super().__init__(
            model,
            self.physics_steps,
            num_envs,
            max_episode_steps,
            num_threads,
            persistent=self.keeps_data,
        )
        self.threshold = self.thresholds[thresholds]
        self.limits_planar_speed = thresholds in self.planar_speed
        self._prepare()
        self._initial_qpos: FloatArray = np.array(self.model.qpos0)
        bounds = np.array(self.model.actuator_ctrlrange, dtype=np.float32)
        self.action_spaces = {SOLE_AGENT: spaces.Box(bounds[:, 0], bounds[:, 1], dtype=np.float32)}
        size = self._observation().shape[1]
        self.observation_spaces = {SOLE_AGENT: spaces.Box(-np.inf, np.inf, (size,), np.float64)}

    def _prepare(self) -> None:
        """Bind the derived fields a task reads: MuJoCo fills them only from then on."""

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        noise, nq, nv = self.reset_noise, self.model.nq, self.model.nv
        qpos = np.empty((len(ids), nq))
        qvel = np.empty((len(ids), nv))
        for row, seed in enumerate(seeds.tolist()):
            # Gymnasium's generator and order of draws: the same seed starts the same episode.
            random, _ = np_random(seed)
            qpos[row] = random.uniform(low=-noise, high=noise, size=nq)
            if self.normal_velocity:
                qvel[row] = noise * random.standard_normal(nv)
            else:
                qvel[row] = random.uniform(low=-noise, high=noise, size=nv)
        self._place(ids, self._initial_qpos + qpos, qvel)

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        action = np.asarray(actions[SOLE_AGENT], dtype=np.float32)
        before = self._position()
        self._advance(action, active)
        position = self._position()
        velocity = (position - before) / self.dt
        # A simulation that broke down was put elsewhere by MuJoCo: that is no motion.
        failed = self.failed.copy()
        broke_down = bool(failed.any())
        if broke_down:
            velocity[failed] = 0.0

        forward = self.forward_weight * velocity[:, 0]
        control = -self._control_cost(action)
        if self.healthy_reward is None:
            reward = forward + control
            terminated = failed.copy()
        else:
            reward = (forward + self.healthy_reward) + control
            terminated = failed | ~self._healthy()
        info = self._motion_info(position, velocity)
        info["reward_forward"], info["reward_ctrl"] = forward, control.astype(np.float64)
        if self.healthy_reward is not None:
            info["reward_survive"] = np.full(self.num_envs, self.healthy_reward)
        if broke_down:
            reward[failed] = 0.0
        return reward[:, None], terminated, info

    def _info(self) -> Info:
        position = self._position()
        info = self._motion_info(position, np.zeros_like(position))
        earned = ["reward_forward", "reward_ctrl"]
        earned += ["reward_survive"] * (self.healthy_reward is not None)
        return info | {name: np.zeros(self.num_envs) for name in earned}

    def _motion_info(self, position: FloatArray, velocity: FloatArray) -> Info:
        """Return what a step and a reset both say of the motion: places, speeds and their cost."""
        info: Info = {"x_position": position[:, 0], "x_velocity": velocity[:, 0]}
        if velocity.shape[1] == 2:
            info["y_position"], info["y_velocity"] = position[:, 1], velocity[:, 1]
        info["cost"] = speed_cost(velocity, self.threshold, self.limits_planar_speed)
        info["cost_velocity"] = info["cost"].copy()
        info["simulation_failed"] = self.failed.copy()
        return info

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: self._observation()}

    def _observation(self) -> FloatArray:
        """Return what is seen now, (num_envs, observation size)."""
        observation: FloatArray = self.motion[:, self.hidden_positions :].copy()
        if self.velocity_clip is not None:
            velocity = observation[:, self.model.nq - self.hidden_positions :]
            np.clip(velocity, -self.velocity_clip, self.velocity_clip, out=velocity)
        return observation

    def _control_cost(self, action: npt.NDArray[np.float32]) -> Array:
        """Return the price of the action as given, (num_envs,); single precision, as in v4."""
        cost: Array = np.float32(self.control_weight) * np.square(action).sum(axis=1)
        return cost

    def _healthy(self) -> BoolArray:
        """Return whether each robot is still up, (num_envs,), in tasks that end otherwise."""
        return np.ones(self.num_envs, dtype=np.bool_)

    @abstractmethod
    def _position(self) -> FloatArray:
        """Return a copy of what velocity is the difference of: x or x, y in m, (num_envs, 1 or 2).

        Each task of v4 measures its own: a coordinate, a body, the centre of mass.
        """


def speed_cost(velocity: FloatArray, threshold: float, is_planar: bool) -> FloatArray:
    """Return 1 for each robot that is faster than its limit and 0 for the others, (num_envs,).

    Args:
        velocity: m/s, (num_envs, 1 or 2): along x, and y.
        threshold: m/s.
        is_planar: whether the speed in the plane counts, in place of that along x.
    """
    speed = velocity[:, 0]
    if is_planar:
        speed = np.sqrt(velocity[:, 0] ** 2 + velocity[:, 1] ** 2)
    cost: FloatArray = (speed > threshold).astype(np.float64)
    return cost
