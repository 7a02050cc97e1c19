"""Acting with a Trajectory Transformer: a beam search before every action."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from pkubench.agents.contract import BoolArray, IntArray, Outcome
from pkubench.agents.nn.fast.policy import map_action
from pkubench.agents.nn.torch_policy import one_thread
from pkubench.agents.rl.offline.data import Array, flat_states
from pkubench.agents.rl.offline.models.discretiser import Discretiser
from pkubench.agents.rl.offline.models.trajectory import TrajectoryTransformer
from pkubench.agents.rl.offline.planning import CachedModel, PlanSettings, plan, prefix_of
from pkubench.envs.core.seeding import RandomStreams
from pkubench.errors import AgentError


@dataclass
class Past:
    """What the policy remembers of B episodes that began together."""

    random: RandomStreams
    tokens: list[Array] = field(default_factory=list)
    """(B, D) of each of the last transitions. Returns are 0: nothing attends to them."""


class TrajectoryPolicy:
    """An Agent that plans in a Trajectory Transformer, in double precision."""

    def __init__(
        self,
        net: TrajectoryTransformer,
        bins: Discretiser,
        space: spaces.Space[Any],
        settings: PlanSettings,
        context: int,
    ) -> None:
        """Make the policy.

        Args:
            net: taken over, and widened to double precision.
            bins: of states, actions, reward and return.
            space: of the environment's actions.
            settings: of the search.
            context: past transitions that a plan begins with.
        """
        self.net, self.bins, self.space = net.double().eval(), bins, space
        self.settings, self.context = settings, context
        self.values = torch.from_numpy(bins.values[-2:].astype(np.float64))

    def begin(self, seeds: IntArray) -> Past:
        """Start episodes, each with a random stream for its plans."""
        return Past(RandomStreams.started(seeds))

    def act(self, observation: Any, state: Past, active: BoolArray) -> tuple[Array, Past]:
        """Return actions (B,) int64 or (B, d_a) of the space's dtype."""
        spec, seen = self.net.spec, np.asarray(observation)
        if seen.size != len(active) * spec.states:
            raise AgentError(f"the policy takes states of {spec.states} numbers, got {seen.shape}")
        present = np.zeros((len(active), spec.width), np.int64)
        present[:, : spec.states] = self._encoded(flat_states(seen), 0)
        rows = np.flatnonzero(active)
        past = (
            np.stack([part[rows] for part in state.tokens], 1)
            if state.tokens
            else present[rows, :0]
        )
        with one_thread(), torch.no_grad():
            chosen = plan(
                CachedModel(self.net),
                prefix_of(past, present[rows, : spec.states]),
                (spec.states, spec.actions),
                self.values,
                self.settings,
                lambda count: state.random.uniform(rows, count),
            ).numpy()
        acted = slice(spec.states, spec.states + spec.actions)
        present[rows, acted] = chosen
        state.tokens = [*state.tokens, present][-self.context :] if self.context else []
        dimensions = np.arange(acted.start, acted.stop)
        numbers = self.bins.values[dimensions, present[:, acted]]
        if isinstance(self.space, spaces.Discrete):
            return np.rint(numbers[:, 0]).astype(np.int64) + int(self.space.start), state
        return map_action(numbers, self.space, "affine"), state

    def observe(self, outcome: Outcome, state: Past) -> Past:
        """Add the reward to the last transition."""
        if state.tokens:
            place = self.net.spec.width - 2
            state.tokens[-1][:, place] = self._encoded(outcome.reward[:, None], place)[:, 0]
        return state

    def _encoded(self, numbers: Array, first: int) -> Array:
        """Return the bins (B, n) of numbers in the dimensions from ``first`` on."""
        some = slice(first, first + numbers.shape[1])
        return Discretiser(self.bins.edges[some], self.bins.values[some]).encode(numbers)
