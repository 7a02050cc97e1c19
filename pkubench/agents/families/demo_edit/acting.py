"""Acting by edits: the first observation chooses a script, which is then replayed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pkubench.agents.contract import BoolArray, FloatArray, IntArray
from pkubench.agents.families.demo_edit.edits import edited
from pkubench.agents.families.demo_edit.shapes import shape_of
from pkubench.agents.nn.fast.policy import Array, Network
from pkubench.envs.core.seeding import RandomStreams
from pkubench.envs.grasp.open_loop import SHADOW_GRIP, ScriptAgent, ScriptState
from pkubench.errors import AgentError


class Demonstration(NamedTuple):
    """What edits are made to."""

    script: FloatArray
    """(24,)."""
    joint_span: FloatArray
    """See ``edited``."""
    reach_steps: int


class EditState(NamedTuple):
    """What an agent remembers of its episodes."""

    random: RandomStreams | None
    agent: ScriptAgent | None
    """With the scripts of the episodes; None before the first step."""
    played: ScriptState | None


class EditAgent:
    """Plays an edited demonstration. Deterministic unless it has a deviation of edits."""

    def __init__(
        self,
        network: Network | None,
        demonstration: Demonstration,
        *,
        has_tanh: bool = True,
        std: FloatArray | None = None,
    ) -> None:
        """Take a policy of edits.

        Args:
            network: from shapes to edits; None edits nothing.
            demonstration: the script.
            has_tanh: whether edits are the hyperbolic tangent of its outputs; else they are
                clipped.
            std: of edits that are sampled, (24,).
        """
        self.network, self.demonstration = network, demonstration
        self.has_tanh, self.std = has_tanh, std

    def begin(self, seeds: IntArray) -> EditState:
        """Start episodes."""
        random = None if self.std is None else RandomStreams.started(seeds)
        return EditState(random, None, None)

    def act(self, observation: Any, state: EditState, active: BoolArray) -> tuple[Array, EditState]:
        """Return the next actions, (episodes, 24) float32, and the state."""
        seen = np.asarray(observation)
        if seen.ndim != 2 or seen.shape[1] != SHADOW_GRIP.layout.size:
            raise AgentError(
                f"this agent observes the state, (n, {SHADOW_GRIP.layout.size}), got {seen.shape}"
            )
        agent = state.agent or self._script_agent(seen, state.random)
        action, played = agent.act(seen, state.played, active)
        return action, EditState(state.random, agent, played)

    def _script_agent(self, seen: Array, random: RandomStreams | None) -> ScriptAgent:
        shape, known = shape_of(seen, SHADOW_GRIP.layout), self.demonstration
        edits = np.zeros((len(seen), len(known.script)))
        if self.network is not None:
            edits = self.network(shape.numbers)
            edits = np.tanh(edits) if self.has_tanh else edits
        if random is not None and self.std is not None:
            edits = edits + self.std * random.normal(np.arange(len(seen)), edits.shape[1])
        # Rounded, so that kernels of other processors give the same script.
        rounded = edits.clip(-1.0, 1.0).astype(np.float32).astype(np.float64)
        scripts = edited(known.script, rounded, shape.yaw, known.joint_span)
        return ScriptAgent(scripts, reach_steps=known.reach_steps)
