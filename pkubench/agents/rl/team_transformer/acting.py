"""Acting with a saved Multi-Agent Transformer, in double precision on one thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from pkubench.agents.contract import BoolArray, FloatArray, IntArray
from pkubench.agents.nn.fast.policy import Array, NetworkPolicy, NetworkSettings
from pkubench.agents.nn.torch_policy import LocalNetwork, one_thread
from pkubench.envs.core.seeding import RandomStreams
from pkubench.errors import AgentError


class TeamPolicy:
    """A CentralisedTeam: agents act in order, each given all observations and earlier actions.

    Deterministic (the modes) unless ``stochastic``.
    """

    centralised = True

    def __init__(
        self,
        net: Any,
        action_spaces: Mapping[str, spaces.Space[Any]],
        *,
        stochastic: bool = False,
    ) -> None:
        """Take over ``net`` and widen it; ``action_spaces`` are in the order of its agents."""
        self.net, self.agents = net.double().eval(), tuple(action_spaces)
        std = None if net.spec.is_discrete else net.distribution.std().detach().numpy()
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
        seen = self.seen(observations, len(active))
        actions, choose, random = self.choosing(state)
        with one_thread(), torch.no_grad():
            self.net.one_by_one(seen, choose)
        return actions, random

    def seen(self, observations: Mapping[str, Any], episodes: int) -> Tensor:
        """Return the observations (episodes, n, d) of all agents."""
        arrays = (np.asarray(observations[a], np.float64) for a in self.agents)
        flat = [array.reshape(episodes, -1) for array in arrays]
        if any(array.shape[1] != self.net.spec.observations for array in flat):
            raise AgentError(f"the team takes {self.net.spec.observations} numbers of each agent")
        return torch.from_numpy(np.stack(flat, 1))

    def choosing(
        self, random: RandomStreams | None
    ) -> tuple[dict[str, Array], Callable[[int, Tensor], Tensor], RandomStreams | None]:
        """Return a mapping of actions, what fills it agent by agent, and the random streams.

        The streams advance in place. Later agents are given actions before they are clipped.
        """
        actions: dict[str, Array] = {}

        def choose(agent: int, outputs: Tensor) -> Tensor:
            member, name, raw = self.members[agent], self.agents[agent], outputs.numpy()
            space = member.settings.space
            if isinstance(space, spaces.Discrete):
                actions[name], _ = member.choose(raw, None, random)
                return torch.from_numpy(actions[name] - int(space.start))
            if random is not None:
                noise = random.normal(np.arange(len(raw)), raw.shape[1])
                raw = raw + np.asarray(member.settings.std) * noise
            actions[name], _ = member.choose(raw, None, None)
            return torch.from_numpy(raw)

        return actions, choose, random


class TeamMemory(NamedTuple):
    """The state of a team with a memory between steps."""

    hidden: FloatArray
    """(episodes, units)."""
    random: RandomStreams | None


class SablePolicy(TeamPolicy):
    """The same with Sable's network, which remembers the episode."""

    def begin(self, seeds: IntArray) -> TeamMemory:  # type: ignore[override]
        """Start episodes with an empty memory."""
        return TeamMemory(np.zeros((len(seeds), self.net.units)), super().begin(seeds))

    def act(  # type: ignore[override]
        self, observations: Mapping[str, Any], state: TeamMemory, active: BoolArray
    ) -> tuple[dict[str, Array], TeamMemory]:
        """Return actions by agent id."""
        seen = self.seen(observations, len(active))
        actions, choose, random = self.choosing(state.random)
        never = torch.zeros(len(active), dtype=torch.bool)
        with one_thread(), torch.no_grad():
            *_, after = self.net.step(seen, never, torch.from_numpy(state.hidden), choose)
        return actions, TeamMemory(after.numpy(), random)
