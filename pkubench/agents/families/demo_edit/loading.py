"""Loads saved agents that edit a demonstration; they act without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pkubench.agents.contract import Agent
from pkubench.agents.families.demo_edit.acting import Demonstration, EditAgent
from pkubench.agents.families.demo_edit.shapes import SIZE
from pkubench.agents.families.demo_edit.steps import MAX_REACH_STEPS
from pkubench.agents.nn.fast.policy import Layers, saved_floats
from pkubench.agents.saved.files import SavedAgent
from pkubench.agents.saved.team import is_sampled
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.envs.core.registry import make_batch
from pkubench.envs.grasp.open_loop import SCRIPT_SIZE, SHADOW_GRIP
from pkubench.errors import AgentError, WeightsError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

NETWORK = "edits"
"""Prefix of the network's tensors."""


def load(
    saved: SavedAgent, task: Task | None = None, acting: Mapping[str, Any] | None = None
) -> Agent:
    """Return the agent that a folder holds.

    Args:
        saved: what ``load_saved`` read.
        task: the task to act in; None is the one it was trained on.
        acting: ``{"mode": "sampled"}`` samples edits instead of taking the policy's mode.

    Raises:
        ConfigError: unknown acting setting or mode.
        WeightsError: the weights do not fit their own description.
        AgentError: the task has other spaces.
    """
    is_random, tensors = is_sampled(acting or {}), saved.tensors
    try:
        spec, head = saved.config["spec"], str(saved.config["head"])
        reach, trained_on = int(saved.config["reach_steps"]), str(saved.config["task"])
        is_known = head in ("tanh", "clip") and 20 <= reach <= MAX_REACH_STEPS
        if not is_known or (spec["inputs"], spec["outputs"]) != (SIZE, SCRIPT_SIZE):
            raise WeightsError(
                f"a saved agent that edits scripts maps {SIZE} numbers to {SCRIPT_SIZE}, with "
                f"head tanh or clip and at most {MAX_REACH_STEPS} steps of reaching"
            )
        network = Layers.read(tensors, NETWORK, spec)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"the saved agent is incomplete: {error}") from error
    joints = SCRIPT_SIZE - 6
    demonstration = Demonstration(
        saved_floats(tensors, "demonstration", (SCRIPT_SIZE,)).astype(np.float64),
        saved_floats(tensors, "joint_span", (joints,)).astype(np.float64),
        reach,
    )
    std = saved_floats(tensors, "std", (SCRIPT_SIZE,)).astype(np.float64)
    if (demonstration.joint_span <= 0.0).any() or (std < 0.0).any():
        raise WeightsError("spans of joints must be positive, and deviations not negative")
    _check_space(trained_on if task is None else task.id, {} if task is None else task.env_kwargs)
    return EditAgent(
        network, demonstration, has_tanh=head == "tanh", std=std if is_random else None
    )


def _check_space(task_id: str, settings: Mapping[str, Any]) -> None:
    env = make_batch(task_id, 1, **settings)
    try:
        shape = env.observation_spaces[env.agents[0]].shape
        wanted = (SHADOW_GRIP.layout.size,)
        if env.agents != (SOLE_AGENT,) or shape != wanted:
            raise AgentError(f"this agent observes the state, {wanted}, and the task shows {shape}")
    finally:
        env.close()
