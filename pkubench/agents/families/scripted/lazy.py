"""Lazy policies: what an agent earns that does nothing, or that only does not fall.

A learner that is not better than these has not learned the task, however far it is above random
play: a random robot wastes energy and falls, so a policy that keeps still may beat it by much.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from gymnasium import spaces

from pkubench.agents.contract import Array, Entrant, Team
from pkubench.agents.families.scripted.linear import ConstantAgent, LinearAgent
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.envs.core.registry import make_batch
from pkubench.errors import AgentError


def no_op(task_id: str) -> Entrant:
    """Return the agents that do nothing: no torque, no movement, no message.

    Where actions are discrete, that is the environment's ``idle_action``, or the first one in the
    particle environments; a message that cannot be omitted is the first one.

    Raises:
        AgentError: the task's environment has no such action.
    """
    env = make_batch(task_id)
    action_spaces = dict(env.action_spaces)
    idle: int | None = getattr(env, "idle_action", None)
    env.close()
    is_particle = task_id.rpartition("/")[2].startswith("Simple")
    actions: dict[str, Array] = {}
    for agent, space in action_spaces.items():
        if isinstance(space, spaces.Box) and space.contains(np.zeros(space.shape, space.dtype)):
            actions[agent] = np.zeros(space.shape, space.dtype)
        elif isinstance(space, spaces.Discrete) and (is_particle or idle is not None):
            actions[agent] = np.array(idle or 0)
        else:
            raise AgentError(f"scripted:no-op: no action of {task_id!r} does nothing")
    if list(actions) == [SOLE_AGENT]:
        return ConstantAgent(actions[SOLE_AGENT])
    return Team({agent: ConstantAgent(action) for agent, action in actions.items()})


_HOPPER_REST: Final = np.array([1.2079, *[0.0] * 10])
"""The height at which the foot carries the weight; upright, at rest."""
_HOPPER_GAIN: Final = np.array(
    [
        [-0.054, 0.418, 0.213, -0.182, -0.097, 0.237, -0.002, 0.135, 0.433, -0.022, -0.001],
        [-0.322, -0.586, 0.695, 1.438, 1.143, 0.972, -0.004, 0.035, -0.022, 0.451, -0.014],
        [-1.298, -1.519, 1.542, 1.756, 2.751, 1.598, -0.031, -0.283, 0.16, -0.007, 0.455],
    ]
)
"""The linear-quadratic regulator of Gymnasium's ``hopper.xml`` (Euler steps, 4 of 2 ms), linearised
by finite differences at rest: weight 1 on every state but x, 10 on the velocity of x, 1 on actions.
"""


def standing(task_id: str) -> Entrant:
    """Return the agent that stands still and does not fall: 988 of 1,000 on HopperVelocity.

    The other robots that can fall have a stated score instead: what surviving alone earns.

    Raises:
        AgentError: another task.
    """
    if task_id.rpartition("/")[2] != "HopperVelocity-v0":
        raise AgentError(f"scripted:standing plays HopperVelocity-v0 only, not {task_id!r}")
    return LinearAgent(-_HOPPER_GAIN[None], _HOPPER_REST, np.full(3, -0.0335))
