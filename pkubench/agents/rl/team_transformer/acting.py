"""Acting with a saved Multi-Agent Transformer, in double precision on one thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from pkubench.agents.contract import BoolArray, FloatArray, IntArray
from pkubench.agents.nn.fast.policy import Array, NetworkPolicy, NetworkSettings
from pkubench.agents.nn.torch_policy import one_thread
from pkubench.agents.rl.team_transformer.networks import TeamTransformer
from pkubench.envs.core.seeding import RandomStreams
from pkubench.errors import AgentError


class TeamPolicy:
    """A CentralisedTeam: agents act in order, each given all observations and earlier actions.

    Deterministic (the modes) unless ``stochastic``.
    """

    centralised = True

    def __init__(
        self,
        net: TeamTransformer,
        action_spaces: Mapping[str, spaces.Space[Any]],
        *,
        stochastic: bool = False,
    ) -> None:
        """Take over ``net`` and widen it; ``action_spaces`` are in the order of its agents."""
        self.net, self.agents = net.double().eval(), tuple(action_spaces)
        std = None if net.spec.is_discrete else net.std().detach().numpy()
        self.members = [
            NetworkPolicy(
                LocalNetwork(nn.Identity(), net.spec.observations),
                NetworkSettings(space, std, "clip", None, None),
                stochastic=stochastic,
            )
            for space in action_spaces.values()
        ]

    def begin(self, seeds: IntArray) -> RandomStreams | None:
        """Start episodes; a stochastic team gets one random stream per episode."""
        return self.members[0].begin(seeds)

    def act(
        self, observations: Mapping[str, Any], state: RandomStreams | None, active: BoolArray
    ) -> tuple[dict[str, Array], RandomStreams | None]:
        """Return actions by agent id."""
        seen = [
            np.asarray(observations[a], np.float64).reshape(len(active), -1) for a in self.agents
        ]
        if any(part.shape[1] != self.net.spec.observations for part in seen):
            raise AgentError(f"the team takes {self.net.spec.observations} numbers of each agent")
        actions: dict[str, Array] = {}

        def choose(agent: int, outputs: Tensor) -> Tensor:
            nonlocal state
            member, name = self.members[agent], self.agents[agent]
            if isinstance(member.settings.space, spaces.Discrete):
                actions[name], state = member.choose(outputs.numpy(), None, state)
                return torch.from_numpy(actions[name] - int(member.settings.space.start))
            raw = outputs.numpy()
            if state is not None:
                noise = state.normal(np.arange(len(raw)), raw.shape[1])
                raw = raw + np.asarray(member.settings.std) * noise
            actions[name], _ = member.choose(raw, None, None)  # clipped; later agents see it raw
            return torch.from_numpy(raw)

        with one_thread(), torch.no_grad():
            self.net.one_by_one(torch.from_numpy(np.stack(seen, 1)), choose)
        return actions, state


class LocalNetwork:
    """A torch module of one agent's observation, from arrays to arrays."""

    def __init__(self, module: nn.Module, inputs: int) -> None:
        """Take over ``module`` and widen it."""
        self.module, self.inputs = module.double().eval(), inputs

    def __call__(self, x: FloatArray) -> FloatArray:
        """Map (B, inputs) to (B, outputs)."""
        with one_thread(), torch.no_grad():
            found: FloatArray = self.module(torch.from_numpy(x)).numpy()
        return found
