"""Networks of value decomposition: the agents' utilities, and what mixes them.

Axes are named T (time), B (environments or episodes), n (agents), A (actions of the agent with
most). Agents with fewer observations or actions are padded with zeros at the end, and padded
actions are never legal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.nn.encoders.mlp import MLPEncoder
from pkubench.agents.nn.modules import EncodedNet, EncodedSpec
from pkubench.agents.nn.networks import initialise
from pkubench.agents.rl.groups import groups_of
from pkubench.agents.rl.value_based.config import DecompositionConfig
from pkubench.envs.core.batch import BatchEnv
from pkubench.errors import ConfigError


@dataclass(frozen=True)
class TeamShape:
    """Sizes of a team's observations and actions."""

    agents: tuple[str, ...]
    observations: tuple[int, ...]
    """Numbers of each agent's observation."""
    actions: tuple[int, ...]
    """Number of each agent's actions."""
    starts: tuple[int, ...]
    """The first action of each agent's space."""
    groups: tuple[tuple[int, ...], ...]
    """Indices of the agents of each network."""

    @property
    def widest(self) -> tuple[int, int]:
        """Numbers of an observation, and of actions, of the agents with most."""
        return max(self.observations), max(self.actions)

    @staticmethod
    def of(env: BatchEnv, shared: bool) -> TeamShape:
        """Return the shape of an environment's team.

        Raises:
            ConfigError: an action space is not Discrete.
        """
        found = [env.action_spaces[a] for a in env.agents]
        acted = [space for space in found if isinstance(space, spaces.Discrete)]
        if len(acted) < len(found):
            raise ConfigError(f"this learner acts in Discrete spaces, not in {found}")
        seen = [int(np.prod(env.observation_spaces[a].shape or (1,))) for a in env.agents]
        alike = [str((env.observation_spaces[a], env.action_spaces[a])) for a in env.agents]
        of = {a: k for k, a in enumerate(env.agents)}
        groups = groups_of(env.agents, alike if shared else env.agents)
        return TeamShape(
            env.agents,
            tuple(seen),
            tuple(int(space.n) for space in acted),
            tuple(int(space.start) for space in acted),
            tuple(tuple(of[a] for a in members) for members in groups),
        )


class Utilities(nn.Module):
    """Q_i(tau_i, a_i) of all agents, one network for each group.

    A network's input is the observation, with ``last_action`` the previous action, and, in a group
    of several agents, who of them acts (one-hot, in this order).
    """

    def __init__(
        self, shape: TeamShape, config: DecompositionConfig, generator: torch.Generator
    ) -> None:
        """Build and initialise from ``generator`` alone."""
        super().__init__()
        self.shape, self.last_action = shape, config.last_action
        encoder = MLPEncoder(
            hidden=config.hidden, activation="relu", layer_norm=False, init="kaiming"
        )
        self.nets = nn.ModuleList()
        for members in shape.groups:
            seen, actions = (of[members[0]] for of in (shape.observations, shape.actions))
            inputs = seen + actions * config.last_action + len(members) * (len(members) > 1)
            spec = EncodedSpec(encoder, config.memory, (inputs,), False, actions, 1.0)
            self.nets.append(EncodedNet(spec, generator))

    @property
    def units(self) -> int:
        """Size of an agent's hidden state; 0 without memory."""
        first = self.nets[0]
        assert isinstance(first, EncodedNet)
        return first.units

    def forward(
        self, observations: Tensor, last: Tensor, hidden: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return utilities (T, B, n, A) of steps of one episode each, and the last hidden states.

        Args:
            observations: (T, B, n, d).
            last: (T, B, n, A), previous actions, one-hot; zeros where there was none.
            hidden: (B, n, units), before the first step; None: zeros, as an episode begins.
        """
        steps, batch, agents, _ = observations.shape
        found = last.new_zeros(last.shape)
        if hidden is None:
            hidden = last.new_zeros(batch, agents, self.units)
        after = torch.zeros_like(hidden)
        for net, members in zip(self.nets, self.shape.groups, strict=True):
            assert isinstance(net, EncodedNet)
            chosen = list(members)
            x = self._inputs(observations[:, :, chosen], last[:, :, chosen], members)
            x = x.flatten(1, 2)
            if net.units:
                never = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
                out, states = net.sequence(x, never, hidden[:, chosen].flatten(0, 1))
                after[:, chosen] = states[-1].view(batch, len(chosen), -1)
            else:
                out = net(x.flatten(0, 1))
            actions = self.shape.actions[members[0]]
            found[:, :, chosen, :actions] = out.view(steps, batch, len(chosen), actions)
        return found, after

    def _inputs(self, observations: Tensor, last: Tensor, members: tuple[int, ...]) -> Tensor:
        first, count = members[0], len(members)
        parts = [observations[..., : self.shape.observations[first]]]
        if self.last_action:
            parts.append(last[..., : self.shape.actions[first]])
        if count > 1:
            who = torch.eye(count, dtype=last.dtype, device=last.device)
            parts.append(who.expand(*last.shape[:2], count, count))
        return torch.cat(parts, -1)


class Sum(nn.Module):
    """VDN's mixer."""

    def forward(self, utilities: Tensor, states: Tensor) -> Tensor:
        """Return the sum over agents, (...), of utilities (..., n)."""
        return utilities.sum(-1)


class Monotone(nn.Module):
    """QMIX's mixer: the weights on utilities are absolute values, so that it increases in each."""

    def __init__(
        self, agents: int, state: int, embed: int, hyper: int, generator: torch.Generator
    ) -> None:
        """Build and initialise from ``generator`` alone."""
        super().__init__()
        self.embed = embed
        self.first = _two_layers(state, hyper, agents * embed)
        self.shift = nn.Linear(state, embed)
        self.second = _two_layers(state, hyper, embed)
        self.value = _two_layers(state, embed, 1)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                initialise(module, "kaiming", 1.0, generator)

    def forward(self, utilities: Tensor, states: Tensor) -> Tensor:
        """Return the joint action's value (...) of utilities (..., n) in states (..., s)."""
        weights = self.first(states).abs().unflatten(-1, (-1, self.embed))
        mixed = (utilities.unsqueeze(-2) @ weights).squeeze(-2)
        hidden = functional.elu(mixed + self.shift(states))
        found: Tensor = (hidden * self.second(states).abs()).sum(-1) + self.value(states)[..., 0]
        return found


def _two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
