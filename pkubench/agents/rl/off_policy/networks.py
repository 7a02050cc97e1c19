"""The networks of a team: actors in groups of similar agents, and critics with their targets.

Rows of a stack are ordered by agent (or critic) first and training seed second, so that the
networks of one agent, or of one critic, are contiguous.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from gymnasium import spaces
from torch import Tensor

from pkubench.agents.nn.fast.stacked import Adam, Layer, StackedMLP, layers_of, shorten
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.rl.off_policy.heads import Head, head_of
from pkubench.agents.rl.replay import RowLayout


class Member(NamedTuple):
    """One agent of a group: views of its networks, optimiser, head and gradient."""

    net: StackedMLP
    adam: Adam
    head: Head
    gradient_layers: list[Layer]


class ActorGroup:
    """The actors of G agents with equal observation sizes and action spaces.

    Each has one network per training seed (S), or all share one (``config.shared``).
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
        """Allocate the networks."""
        self.agents, self.seeds, self.shared = agents, seeds, config.shared
        self.limit = config.max_grad_norm
        self.head = head_of(group, seeds, config, device)
        sizes = (inputs, *config.hidden, self.head.outputs)
        networks = seeds * (1 if config.shared else len(agents))
        is_last_tanh = config.last_activation == "tanh" and not self.head.is_discrete
        self.net = StackedMLP(networks, sizes, is_last_tanh).to(device)
        self.adam = Adam(self.net.flat, config.actor_lr)
        self.gradient_layers = layers_of(self.adam.gradient, sizes)
        """Where a hand-written backward pass writes."""
        self.members: list[Member] = []
        """One per agent, where each has its own networks."""
        if not config.shared:
            self.members = [self._member(*self.span(m)) for m in range(len(agents))]

    def _member(self, a: int, b: int) -> Member:
        layers = [Layer(x.weight[a:b], x.bias[a:b]) for x in self.gradient_layers]
        return Member(
            self.net.rows(a, b), self.adam.rows(a, b), self.head.rows(slice(a, b)), layers
        )

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

        ``net``: other networks of the same shape, the targets.
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

    def step(self, member: int | None = None) -> None:
        """Step with the optimiser's gradient: one agent's actors, or all together."""
        adam = self.adam if member is None else self.members[member].adam
        if self.limit is not None:
            shorten(adam.gradient[None], self.limit)
        adam.step()

    def forward_one(self, member: int, x: Tensor) -> Tensor:
        """Return one agent's outputs (S, B, o) for the group's inputs of ``forward``."""
        a, b = self.span(member)
        return self.members[member].net.forward(x[a:b])[0]

    def count_to(self, steps: int) -> None:
        """Set the optimisers' step counts."""
        self.adam.count = steps
        for member in self.members:
            member.adam.count = steps


class Critics:
    """K critics of state and joint action for each training seed, and their target networks.

    Cost critics, if any, come first, then reward critics: so the critics of the actor loss (cost,
    and the first reward critic or both) are contiguous.
    """

    def __init__(self, inputs: int, seeds: int, config: OffPolicyConfig, device: str) -> None:
        """Allocate the networks."""
        self.costs = config.constraint.cost_critics
        self.count = self.costs + config.rule.critics
        self.seeds, self.tau, self.limit = seeds, config.tau, config.max_grad_norm
        sizes = (inputs, *config.hidden, 1)
        self.net = StackedMLP(self.count * seeds, sizes).to(device)
        self.target = StackedMLP(self.count * seeds, sizes).to(device)
        self.adam = Adam(self.net.flat, config.critic_lr)
        self.gradient_layers = layers_of(self.adam.gradient, sizes)
        """Where a hand-written backward pass writes."""

    def initialise(self, seed: int, generator: torch.Generator) -> None:
        """Initialise the networks of one training seed; reward critics as if there were no cost."""
        for k in (*range(self.costs, self.count), *range(self.costs)):
            row = k * self.seeds + seed
            self.net.initialise(row, generator)
            self.target.flat[row].copy_(self.net.flat[row])

    def wide(self, x: Tensor, count: int | None = None) -> Tensor:
        """Return (S, B, i) repeated for each critic, (K S, B, i)."""
        count = self.count if count is None else count
        return x.expand(count, *x.shape).reshape(count * self.seeds, *x.shape[1:])

    def target_values(self, x: Tensor) -> Tensor:
        """Return the targets' values (K, S, B) of inputs (S, B, i)."""
        return self.values(x, self.target)

    def values(self, x: Tensor, net: StackedMLP | None = None) -> Tensor:
        """Return the values (K, S, B) of inputs (S, B, i), by the critics' networks or ``net``."""
        out, _ = (self.net if net is None else net).forward(self.wide(x))
        return out.view(self.count, self.seeds, -1)

    def step(self) -> None:
        """Step all critics with the optimiser's gradient."""
        if self.limit is not None:
            each = self.adam.gradient.view(self.count, self.seeds, -1)
            shorten(each[: self.costs], self.limit)
            shorten(each[self.costs :], self.limit)
        self.adam.step()

    def follow(self) -> None:
        """Soft-update the targets with rate tau."""
        self.target.flat.lerp_(self.net.flat, self.tau)


@dataclass(frozen=True)
class Team:
    """All networks of a learner and the layout of replay rows."""

    agents: Sequence[str]
    seeds: int
    """S, the number of training seeds."""
    layout: RowLayout
    groups: list[ActorGroup]
    critics: Critics

    def __post_init__(self) -> None:
        """Find each agent's group and index."""
        places = {a: (g, m) for g, x in enumerate(self.groups) for m, a in enumerate(x.agents)}
        object.__setattr__(self, "place", places)

    place: dict[str, tuple[int, int]] = field(init=False)
    """Agent -> its group and its index in it."""

    def columns(self, agent: str) -> slice:
        """Return the columns of an agent's action in the critic's input."""
        columns, origin = self.layout.actions[agent], self.layout.joint.start
        return slice(columns.start - origin, columns.stop - origin)

    def observations(self, group: ActorGroup, rows: Tensor) -> Tensor:
        """Return the observations (G, S, B, i) of a group's agents."""
        return torch.stack([rows[..., self.layout.observations[a]] for a in group.agents])

    def place_actions(self, group: ActorGroup, rows: Tensor, actions: Tensor) -> None:
        """Write a group's actions (G S, B, d) into rows (S, B, width)."""
        for m, agent in enumerate(group.agents):
            rows[..., self.layout.actions[agent]] = actions[slice(*group.span(m))]
