"""The update with hand-written gradients, for the losses and networks that have them.

Results common to all agents are computed once: all actors' forward passes and the critic's
first-layer pre-activations (one agent's action changes a few columns of its input); no parameter
gradient of a critic is computed in actor updates. A test compares it with ``autograd.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pkubench.agents.nn.fast import actor_gradients
from pkubench.agents.nn.fast.stacked import StackedMLP
from pkubench.agents.nn.gumbel import HardSample
from pkubench.agents.nn.squashed import Squashed
from pkubench.agents.rl.constraints.multiplier import MultiplierConstraint
from pkubench.agents.rl.off_policy.batch import Noise
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.rl.off_policy.constraints import OffPolicyConstraint
from pkubench.agents.rl.off_policy.heads import Drawn, Head, rows_of
from pkubench.agents.rl.off_policy.networks import ActorGroup, Team
from pkubench.agents.rl.off_policy.rules import OffPolicyRule
from pkubench.agents.rl.off_policy.rules.ddpg import DDPG
from pkubench.agents.rl.off_policy.rules.sac import SAC
from pkubench.agents.rl.off_policy.rules.td3 import TD3

ACTOR_LOSSES: dict[Any, int] = {DDPG.actor_loss: 1, TD3.actor_loss: 1, SAC.actor_loss: 2}
"""Losses with a hand-written gradient -> number of reward critics in their minimum."""


def without_gradients(team: Team, config: OffPolicyConfig) -> str:
    """Return in words what has no hand-written gradient; "" if everything has one.

    A rule that inherits a loss also inherits its gradient; one with its own loss has none.
    """
    rule, constraint = type(config.rule), type(config.constraint)
    losses = {
        f"the critic loss of rule={rule.name}": rule.critic_loss is OffPolicyRule.critic_loss,
        f"the actor loss of rule={rule.name}": rule.actor_loss in ACTOR_LOSSES,
        f"the temperature loss of rule={rule.name}": (
            rule.temperature_loss is OffPolicyRule.temperature_loss
        ),
        f"the actor loss of constraint={constraint.name}": (
            constraint.actor_loss is OffPolicyConstraint.actor_loss
        ),
    }
    nets = [team.critics.net, *(group.net for group in team.groups)]
    losses |= {type(net).__name__: type(net) is StackedMLP for net in nets}
    return ", ".join(name for name, is_written in losses.items() if not is_written)


class Fast:
    """Steps of critics, actors and temperatures, equal to those of ``autograd.Autograd``."""

    def __init__(self, team: Team, config: OffPolicyConfig) -> None:
        """Update ``team`` by the settings."""
        self.team, self.config = team, config
        rewards = ACTOR_LOSSES[type(config.rule).actor_loss]
        self._num_critics = team.critics.costs + rewards
        """Critics in the actor loss: those of cost, then one of reward or twins."""

    def update_critics(self, joint: Tensor, targets: Tensor) -> Tensor:
        """Step all critics towards targets (K, S, B); return their values before."""
        critics = self.team.critics
        wide = critics.wide(joint)
        out, hidden = critics.net.forward(wide)
        q = out.view(targets.shape)
        gradient = squared_error_gradient(q, targets).reshape(len(wide), -1, 1)
        critics.net.backward(wide, hidden, gradient, critics.gradient_layers)
        critics.step()
        return q

    def update_actors(
        self,
        rows: Tensor,
        noise: Noise,
        alpha: Tensor | None,
        constraints: Sequence[MultiplierConstraint],
        order: Sequence[int],
    ) -> Tensor | None:
        """Step every actor once; arguments and result as ``Autograd.update_actors``."""
        team, weights = self.team, None
        if constraints:
            pairs = [constraint.weights() for constraint in constraints]
            weights = rows.new_tensor(pairs).t()[..., None]
        mixed = alpha if weights is None or alpha is None else alpha * weights[0]
        is_replayed = self.config.scheme == "replayed"
        drawn, passes = [], []
        sums = self._sums(rows) if is_replayed else None
        for g, group in enumerate(team.groups):
            outputs, hidden, x = group.forward(team.observations(group, rows))
            drawn.append(group.head.sample(outputs, noise.present[g]))
            passes.append(Pass(hidden, x))
            if not is_replayed:
                team.place_actions(group, rows, drawn[g].action)
        if sums is None:
            sums = self._sums(rows)
        ascent = Ascent(team, self._num_critics, weights)
        if is_replayed:
            self._learn_given_replayed(rows, sums, ascent, mixed, drawn, passes)
        elif self.config.scheme == "simultaneous":
            self._learn_simultaneously(sums, ascent, mixed, drawn, passes)
        else:
            self._learn_sequentially(order, sums, ascent, mixed, drawn, passes, noise)
        if alpha is None:
            return None
        parts = []
        for agent in team.agents:
            g, m = team.place[agent]
            log_prob = drawn[g].log_prob
            assert log_prob is not None
            parts.append(log_prob[slice(*team.groups[g].span(m))])
        return torch.stack(parts, 1)

    def temperature_gradient(self, log_alpha: Tensor, log_prob: Tensor, goals: Tensor) -> Tensor:
        """Return ``-(mean_B log pi + H_target)``, (S, n + 1)."""
        return temperature_gradient(log_prob, goals)

    def _sums(self, rows: Tensor) -> Tensor:
        """Return the first-layer pre-activations (K S, B, h) of the critics in the actor loss."""
        critics = self.team.critics
        net = critics.net.rows(0, self._num_critics * self.team.seeds)
        return net.first(critics.wide(rows[..., self.team.layout.joint], self._num_critics))

    def _learn_sequentially(
        self,
        order: Sequence[int],
        sums: Tensor,
        ascent: Ascent,
        alpha: Tensor | None,
        drawn: list[Drawn],
        passes: list[Pass],
        noise: Noise,
    ) -> None:
        """Step one agent after another, each given the fresh actions of those before it."""
        team = self.team
        for position, k in enumerate(order):
            agent = team.agents[k]
            g, m = team.place[agent]
            group, (hidden, x) = team.groups[g], passes[g]
            part, (a, b) = group.members[m], group.span(m)
            own = rows_of(drawn[g], a, b)
            by_action = ascent(sums, team.columns(agent))
            temperature = None if alpha is None else alpha[:, k, None, None]
            gradient = output_gradient(part.head, own, by_action, temperature)
            part.net.backward(x[a:b], [h[a:b] for h in hidden], gradient, part.gradient_layers)
            group.step(m)
            if position + 1 < len(order):
                fresh = noise.fresh[g]
                outputs = part.net.forward(x[a:b])[0]
                again = part.head.sample(outputs, None if fresh is None else fresh[a:b])
                sums = ascent.shifted(sums, team.columns(agent), again.action - own.action)

    def _learn_simultaneously(
        self,
        sums: Tensor,
        ascent: Ascent,
        alpha: Tensor | None,
        drawn: list[Drawn],
        passes: list[Pass],
    ) -> None:
        """Step all agents, each given the others' actions before the update."""
        team = self.team
        start = team.layout.state_size
        whole = ascent(sums, slice(start, team.layout.joint.stop - team.layout.joint.start))
        for g, group in enumerate(team.groups):
            columns = [team.columns(a) for a in group.agents]
            parts = [whole[..., c.start - start : c.stop - start] for c in columns]
            self._learn_group(group, drawn[g], parts, alpha, passes[g])

    def _learn_given_replayed(
        self,
        rows: Tensor,
        sums: Tensor,
        ascent: Ascent,
        alpha: Tensor | None,
        drawn: list[Drawn],
        passes: list[Pass],
    ) -> None:
        """Step all agents, each given the others' actions of the transition."""
        team = self.team
        for g, group in enumerate(team.groups):
            parts = []
            for m, agent in enumerate(group.agents):
                own = drawn[g].action[slice(*group.span(m))]
                change = own - rows[..., team.layout.actions[agent]]
                columns = team.columns(agent)
                parts.append(ascent(ascent.shifted(sums, columns, change), columns))
            self._learn_group(group, drawn[g], parts, alpha, passes[g])

    def _learn_group(
        self,
        group: ActorGroup,
        drawn: Drawn,
        by_action: list[Tensor],
        alpha: Tensor | None,
        forward: Pass,
    ) -> None:
        """Step a group's actors together; ``by_action`` has dQ/da (S, B, d) of each."""
        temperature = None
        if alpha is not None:
            columns = [list(self.team.agents).index(a) for a in group.agents]
            temperature = alpha[:, columns].t().reshape(-1, 1, 1)
        gradient = output_gradient(group.head, drawn, torch.cat(by_action), temperature)
        if group.shared:  # it minimises the mean of its agents' losses
            groups, batch = len(group.agents), gradient.shape[1]
            apart = gradient.view(groups, group.seeds, batch, -1).transpose(0, 1)
            gradient = apart.reshape(group.seeds, groups * batch, -1) / groups
        group.net.backward(forward.x, forward.hidden, gradient, group.gradient_layers)
        group.step()


class Pass(NamedTuple):
    """Stored results of a forward pass for the backward pass."""

    hidden: list[Tensor]
    x: Tensor


class Ascent:
    """Gradient of the actors' objective w.r.t. their actions, from the critics' pre-activations."""

    def __init__(self, team: Team, count: int, weights: Tensor | None) -> None:
        """Use the first ``count`` critics, mixed with ``weights`` (see ``ascent_gradient``)."""
        self._critics, self._count, self._seeds = team.critics, count, team.seeds
        self._net = team.critics.net.rows(0, count * team.seeds)
        self._weights = weights

    def __call__(self, sums: Tensor, columns: slice) -> Tensor:
        """Return the gradient w.r.t. some columns of the critics' input, (S, B, columns)."""
        count, seeds = self._count, self._seeds
        q, hidden = self._net.from_first(sums)
        gradient = ascent_gradient(q.view(count, seeds, -1), self._critics.costs, self._weights)
        wide = gradient.view(count * seeds, -1, 1)
        by_input = self._net.input_gradient(hidden, wide, columns)
        return by_input.view(count, seeds, *by_input.shape[1:]).sum(0)

    def shifted(self, sums: Tensor, columns: slice, change: Tensor) -> Tensor:
        """Return the pre-activations after an action (S, B, d) has changed."""
        weight = self._net.layers[0].weight[:, columns]
        return torch.baddbmm(sums, self._critics.wide(change, self._count), weight)


def output_gradient(head: Head, drawn: Drawn, by_action: Tensor, alpha: Tensor | None) -> Tensor:
    """Return the gradient of ``mean_B[alpha log pi - Q]`` w.r.t. an actor's outputs, (R, B, o)."""
    if isinstance(drawn, HardSample):
        return actor_gradients.categorical(drawn, by_action, alpha)
    if isinstance(drawn, Squashed):
        assert alpha is not None
        return actor_gradients.gaussian(drawn, by_action, alpha, head.bounds.half)
    return actor_gradients.deterministic(drawn.unit, by_action, head.bounds.half)


def squared_error_gradient(q: Tensor, target: Tensor) -> Tensor:
    """Return the gradient of ``sum_K mean_B (Q - y)^2`` w.r.t. q (K, S, B)."""
    return (q - target).mul_(2.0 / q.shape[-1])


def ascent_gradient(q: Tensor, costs: int = 0, weights: Tensor | None = None) -> Tensor:
    """Return the gradient of an actor's objective w.r.t. the critics' values q (K, S, B).

    The objective is ``Q``, or ``min(Q1, Q2)`` of twins (SAC), or with a multiplier lambda
    ``(Q - lambda Q_cost) / (1 + lambda)`` (OmniSafe, ``-Lag`` and ``-PID``), where ``Q_cost`` is
    one critic or the larger of twins.

    Args:
        q: the cost critics first, then one reward critic or twins.
        costs: number of cost critics.
        weights: (2, S, 1): 1/(1 + lambda) and -lambda/(1 + lambda); None without a cost.
    """
    by_reward = _by_estimate(q[costs:])
    if weights is None:
        return by_reward
    return torch.cat([weights[1] * _by_estimate(-q[:costs]), weights[0] * by_reward])


def _by_estimate(q: Tensor) -> Tensor:
    """Return the gradient of one critic's value, or of the smaller of twins, w.r.t. q (K, S, B)."""
    return torch.ones_like(q) if len(q) == 1 else chosen_twin(q)


def chosen_twin(q: Tensor) -> Tensor:
    """Return the gradient of ``min(Q1, Q2)`` w.r.t. q (2, S, B): 1 for the smaller, else 0."""
    is_first = (q[0] <= q[1]).to(q.dtype)
    return torch.stack([is_first, 1.0 - is_first])


def temperature_gradient(log_prob: Tensor, target_entropy: Tensor) -> Tensor:
    """Return the gradient of ``-log_alpha mean_B(log pi + H_target)`` w.r.t. log_alpha.

    ``log_prob`` (..., B), ``target_entropy`` (...,).
    """
    return -(log_prob.mean(-1) + target_entropy)
