"""The networks of a team: actors in groups of like agents, and critics with their targets.

Rows of a stack are ordered by agent (or critic) first and training seed second, so that one
agent's networks, and one critic's, lie together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from pkubench.agents.nn.fast.stacked import Adam, Layer, StackedMLP, layers_of, shorten
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.rl.off_policy.heads import Head


class ActorGroup:
    """The actors of agents that are alike in observation size and action space, G of them.

    Each has a network a training seed (S), or all share one (``config.shared``).
    """

    def __init__(
        self,
        agents: tuple[str, ...],
        inputs: int,
        group: list[spaces.Space[Any]],
        seeds: int,
        config: OffPolicyConfig,
        device: str,
    ) -> None:
        """Make room for the networks."""
        self.agents, self.seeds, self.shared = agents, seeds, config.shared
        self.limit = config.max_grad_norm
        self.head = Head(group, seeds, config)
        if not self.head.is_discrete:
            self.head.bounds = type(self.head.bounds)(*(b.to(device) for b in self.head.bounds))
        sizes = (inputs, *config.hidden, self.head.outputs)
        networks = seeds * (1 if config.shared else len(agents))
        is_last_tanh = config.last_activation == "tanh" and not self.head.is_discrete
        self.net = StackedMLP(networks, sizes, is_last_tanh).to(device)
        self.adam = Adam(self.net.flat, config.actor_lr)
        self._into = layers_of(self.adam.gradient, sizes)
        if config.shared:
            return
        self._one = [
            (self.net.rows(a, b), self.adam.rows(a, b), [_cut(x, a, b) for x in self._into])
            for a, b in map(self.span, range(len(agents)))
        ]

    def span(self, member: int) -> tuple[int, int]:
        """Return the rows of one agent."""
        return member * self.seeds, (member + 1) * self.seeds

    def network_of(self, member: int, seed: int) -> int:
        """Return the row of the network that acts for an agent of one training seed."""
        return seed if self.shared else member * self.seeds + seed

    def forward(
        self, observations: Tensor, net: StackedMLP | None = None
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """Return outputs (G S, B, o) for observations (G, S, B, i), hidden layers and inputs.

        ``net`` are other networks of the same shape, the targets.
        """
        net = self.net if net is None else net
        groups, seeds, batch, inputs = observations.shape
        if not self.shared:
            x = observations.reshape(groups * seeds, batch, inputs)
            return (*net.forward(x), x)
        x = observations.transpose(0, 1).reshape(seeds, groups * batch, inputs)
        outputs, hidden = net.forward(x)
        apart = outputs.view(seeds, groups, batch, -1).transpose(0, 1)
        return apart.reshape(groups * seeds, batch, -1), hidden, x

    def learn(self, x: Tensor, hidden: list[Tensor], gradient: Tensor) -> None:
        """Step all actors at once on the gradient by their outputs (G S, B, o).

        A shared actor follows the mean of its agents' losses.
        """
        if self.shared:
            groups, batch = len(self.agents), gradient.shape[1]
            apart = gradient.view(groups, self.seeds, batch, -1).transpose(0, 1)
            gradient = apart.reshape(self.seeds, groups * batch, -1) / groups
        self.net.backward(x, hidden, gradient, self._into)
        if self.limit is not None:
            shorten(self.adam.gradient[None], self.limit)
        self.adam.step()

    def learn_one(self, member: int, x: Tensor, hidden: list[Tensor], gradient: Tensor) -> None:
        """Step one agent's actors on the gradient by their outputs (S, B, o)."""
        a, b = self.span(member)
        net, adam, into = self._one[member]
        net.backward(x[a:b], [h[a:b] for h in hidden], gradient, into)
        if self.limit is not None:
            shorten(adam.gradient[None], self.limit)
        adam.step()

    def forward_one(self, member: int, x: Tensor) -> Tensor:
        """Return one agent's outputs (S, B, o) for the group's inputs of ``forward``."""
        a, b = self.span(member)
        return self._one[member][0].forward(x[a:b])[0]

    def count_to(self, steps: int) -> None:
        """Set how many steps the optimisers have taken."""
        self.adam.count = steps
        if not self.shared:
            for _, adam, _ in self._one:
                adam.count = steps


class Critics:
    """K critics of state and joint action for each training seed, and their slow targets.

    Those of cost, if any, come first, then those of reward: so what an actor climbs, the cost and
    the first critic of reward or both, lies together.
    """

    def __init__(self, inputs: int, seeds: int, config: OffPolicyConfig, device: str) -> None:
        """Make room for the networks."""
        self.costs, self.count = config.cost_critics, config.cost_critics + config.critics
        self.seeds, self.tau, self.limit = seeds, config.tau, config.max_grad_norm
        sizes = (inputs, *config.hidden, 1)
        self.net = StackedMLP(self.count * seeds, sizes).to(device)
        self.target = StackedMLP(self.count * seeds, sizes).to(device)
        self.adam = Adam(self.net.flat, config.critic_lr)
        self._into = layers_of(self.adam.gradient, sizes)

    def initialise(self, seed: int, generator: torch.Generator) -> None:
        """Draw the networks of one training seed; those of reward as if there were no cost."""
        for k in (*range(self.costs, self.count), *range(self.costs)):
            row = k * self.seeds + seed
            self.net.initialise(row, generator)
            self.target.flat[row].copy_(self.net.flat[row])

    def wide(self, x: Tensor, count: int | None = None) -> Tensor:
        """Return (S, B, i) once for each critic, (K S, B, i)."""
        count = self.count if count is None else count
        return x.expand(count, *x.shape).reshape(count * self.seeds, *x.shape[1:])

    def target_values(self, x: Tensor) -> Tensor:
        """Return the targets' values (K, S, B) of inputs (S, B, i)."""
        out, _ = self.target.forward(self.wide(x))
        return out.view(self.count, self.seeds, -1)

    def values(self, x: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Return values (K, S, B), the hidden layers and the inputs given to the networks."""
        wide = self.wide(x)
        out, hidden = self.net.forward(wide)
        return out.view(self.count, self.seeds, -1), hidden, wide

    def learn(self, x: Tensor, hidden: list[Tensor], gradient: Tensor) -> None:
        """Step all critics on the gradient by their values (K, S, B)."""
        self.net.backward(x, hidden, gradient.reshape(len(x), -1, 1), self._into)
        if self.limit is not None:
            each = self.adam.gradient.view(self.count, self.seeds, -1)
            shorten(each[: self.costs], self.limit)
            shorten(each[self.costs :], self.limit)
        self.adam.step()

    def follow(self) -> None:
        """Move the targets a share tau towards their networks."""
        self.target.flat.lerp_(self.net.flat, self.tau)


def groups_of(agents: Sequence[str], alike: Sequence[Any]) -> list[tuple[str, ...]]:
    """Return the agents in groups of equal ``alike``, in the order they come."""
    groups: dict[Any, list[str]] = {}
    for agent, key in zip(agents, alike, strict=True):
        groups.setdefault(key, []).append(agent)
    return [tuple(members) for members in groups.values()]


def _cut(layer: Layer, a: int, b: int) -> Layer:
    return Layer(layer.weight[a:b], layer.bias[a:b])
