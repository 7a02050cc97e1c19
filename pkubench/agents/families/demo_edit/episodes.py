"""Grasping as a bandit: an episode is one edit, and one reward for the script that it makes.

The scene, its objects and its three kinds of success are those of the task; a step plays a whole
script through the task's ordinary actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from gymnasium import spaces

from pkubench.agents.contract import FloatArray
from pkubench.agents.families.demo_edit.edits import edited
from pkubench.agents.families.demo_edit.shapes import SIZE, shape_of
from pkubench.envs.core.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, Info
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.grasp.grasp_batch import GraspBatch
from pkubench.envs.grasp.hands import SHADOW_HAND
from pkubench.envs.grasp.open_loop import CLOSE_STEPS, LIFT_STEPS, ScriptAgent
from pkubench.envs.grasp.rewards import HOLD_STEPS
from pkubench.errors import ConfigError

_SWING_STEPS: Final = 15
"""After the lift, for objects that swing, before those of a hold."""
_LOOKS: Final = (20, 30)
"""Steps after the hand has closed at which objects that were not lifted are given up."""
_LIFTED_M: Final = 0.02
_BOUND: Final = 20.0


def grasp_scene(env: BatchEnv) -> GraspBatch:
    """Return the scene of a task's environment.

    Raises:
        ConfigError: it is not one in which a hand grasps, with another hand, or without the state.
    """
    own = env.unwrapped
    if not isinstance(own, GraspBatch):
        raise ConfigError("this agent edits scripts of a hand that grasps, and there is none")
    if own.hand != SHADOW_HAND or own.vision is not None:
        raise ConfigError(
            "this agent acts with the ShadowHand and observes the state: leave the settings hand "
            "and observation of the environment out"
        )
    return own


def script_steps(reach_steps: int) -> int:
    """Return the steps of a script and the hold after it."""
    return reach_steps + CLOSE_STEPS + LIFT_STEPS + _SWING_STEPS + HOLD_STEPS


class EditEpisodes(BatchEnv):
    """Episodes of one step on the scene of a task.

    | part        | type                  | meaning                                          |
    |-------------|-----------------------|--------------------------------------------------|
    | observation | Box(−20, 20, (97,))   | shape and height of the object, see ``shapes``   |
    | action      | Box(−1, 1, (24,))     | an edit, see ``edits``                           |
    | reward      | float64               | 1 if the object reached the goal at any step     |
    | ends        |                       | after the step                                   |
    """

    def __init__(self, env: BatchEnv, script: FloatArray, reach_steps: int) -> None:
        """Take over the environment of a task.

        Args:
            env: whose episodes are long enough for a script.
            script: to edit, (24,).
            reach_steps: see ``ScriptAgent``.

        Raises:
            ConfigError: see ``grasp_scene``; or episodes are too short.
        """
        self.scene, self.script, self.reach_steps = grasp_scene(env), script, reach_steps
        limit, needed = self.scene.max_episode_steps, script_steps(reach_steps)
        if limit is not None and limit < needed:
            raise ConfigError(
                f"a script with reach_steps={reach_steps} takes {needed} steps, and episodes end "
                f"after {limit}"
            )
        self.episode_options = self.scene.episode_options  # type: ignore[misc]
        super().__init__(self.scene.num_envs, None)
        self.action_spaces = {SOLE_AGENT: spaces.Box(-1.0, 1.0, (len(script),), np.float32)}
        self.observation_spaces = {SOLE_AGENT: spaces.Box(-_BOUND, _BOUND, (SIZE,), np.float32)}
        low, high = self.scene.model.actuator_ctrlrange.T
        self.joint_span: FloatArray = high - low
        self.simulated = 0
        """Steps of the scene so far, of all environments."""
        self._first: Array = np.zeros((self.num_envs, self.scene.layout.size), np.float32)
        self._shape = np.zeros((self.num_envs, SIZE), np.float32)
        self._yaw: FloatArray = np.zeros(self.num_envs)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        options = {name: values[ids] for name, values in self.options.items()}
        self.scene.reset(seeds, ids, options)
        self._first[ids] = self.scene.state_observation()[ids]
        shape = shape_of(self._first[ids], self.scene.layout)
        self._shape[ids] = shape.numbers.clip(-_BOUND, _BOUND)
        self._yaw[ids] = shape.yaw

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: self._shape.copy()}

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        edits = actions[SOLE_AGENT].astype(np.float64).clip(-1.0, 1.0)
        played = np.ones(self.num_envs, np.bool_) if active is None else active.copy()
        scripts = edited(self.script, edits, self._yaw, self.joint_span)
        agent = ScriptAgent(scripts, reach_steps=self.reach_steps)
        state, seen, info = None, self._first, self._info()
        height, closed = self.scene.layout.object_position.start + 2, self.reach_steps + CLOSE_STEPS
        for moment in range(script_steps(self.reach_steps)):
            if moment - closed in _LOOKS:
                played &= seen[:, height] - self._first[:, height] > _LIFTED_M
            if not played.any():
                break
            action, state = agent.act(seen, state, played)
            info = self.scene.step({SOLE_AGENT: action}, played).info
            seen = self.scene.state_observation()
            self.simulated += int(played.sum())
        found = {name: info[name] & played for name in ("success", "success_hold", "success_final")}
        return found["success"].astype(np.float64)[:, None], np.ones_like(played), found

    def _info(self) -> Info:
        return {
            name: np.zeros(self.num_envs, np.bool_)
            for name in ("success", "success_hold", "success_final")
        }

    def render(self, index: int = 0) -> Any:
        """Draw the scene."""
        return self.scene.render(index)

    def close(self) -> None:
        """Release the scene."""
        self.scene.close()
