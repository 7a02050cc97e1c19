"""Gymnasium's v4 locomotion tasks with a speed limit, on batches.

The rules here are those of ``gymnasium.envs.mujoco.*_v4``, to the last bit
(``tests/envs/test_velocity.py``); the cost is Safety-Gymnasium's (``speed_limits.py``).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.utils.seeding import np_random

from pkubench.envs.core.batch import SOLE_AGENT, Array, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.mujoco.locomotion import Runner
from pkubench.envs.safety.speed_limits import Thresholds, speed_limit


class Locomotion(Runner):
    """One agent that moves a whole robot, rewarded for its speed and charged for too much of it.

    ``pkubench.envs.safety.velocity`` has the tasks.
    """

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        num_threads: int = 1,
        thresholds: Thresholds = "v1",
    ) -> None:
        """Make the environments.

        Args:
            num_envs: number of environments.
            max_episode_steps: time limit; -1 is the 1000 steps of the original, None no limit.
            num_threads: threads that share the environments; results do not depend on it.
            thresholds: speed limits of Safety-Gymnasium's ``-v1`` or ``-v0`` environments.

        Raises:
            UnknownName: no such set of thresholds.
            ConfigError: a number that is not positive.
        """
        self.speed_limit = speed_limit(self.robot, thresholds)
        super().__init__(num_envs, max_episode_steps, num_threads)
        bounds = np.array(self.model.actuator_ctrlrange, dtype=np.float32)
        self.action_spaces = {SOLE_AGENT: spaces.Box(bounds[:, 0], bounds[:, 1], dtype=np.float32)}
        size = self._observation().shape[1]
        self.observation_spaces = {SOLE_AGENT: spaces.Box(-np.inf, np.inf, (size,), np.float64)}

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
        position, velocity = self._run_forward(action, active)
        failed = self.failed.copy()
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
        reward[failed] = 0.0
        return reward[:, None], terminated, info

    def _info(self) -> Info:
        position = self._position()
        info = self._motion_info(position, np.zeros_like(position))
        terms = ["reward_forward", "reward_ctrl"]
        terms += ["reward_survive"] * (self.healthy_reward is not None)
        return info | {name: np.zeros(self.num_envs) for name in terms}

    def _motion_info(self, position: FloatArray, velocity: FloatArray) -> Info:
        return super()._motion_info(position, velocity) | self.speed_limit.info(velocity)

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: self._observation()}

    def _observation(self) -> FloatArray:
        """Return a new array of what is observed now, (num_envs, observation size)."""
        return self._observed_motion()

    def _control_cost(self, action: npt.NDArray[np.float32]) -> Array:
        """Return the price of the action as given, (num_envs,); single precision, as in v4."""
        cost: Array = np.float32(self.control_weight) * np.square(action).sum(axis=1)
        return cost
