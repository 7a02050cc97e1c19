"""The published update: the losses of rule and constraint, differentiated by autograd.

It supports every rule and network. ``fast.py`` has hand-written gradients for some.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pkubench.agents.rl.constraints.multiplier import MultiplierConstraint
from pkubench.agents.rl.off_policy.batch import Noise
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.rl.off_policy.heads import Drawn, rows_of
from pkubench.agents.rl.off_policy.networks import Team


class Autograd:
    """Steps of critics, actors and temperatures."""

    def __init__(self, team: Team, config: OffPolicyConfig) -> None:
        """Update ``team`` by the settings."""
        self.team, self.config = team, config

    def update_critics(self, joint: Tensor, targets: Tensor) -> Tensor:
        """Step all critics towards targets (K, S, B); return their values before.

        ``joint`` (S, B, i) are states and joint actions.
        """
        critics = self.team.critics
        flat = critics.net.flat.detach().requires_grad_()
        with torch.enable_grad():
            q = critics.values(joint, critics.net.on(flat))
            loss = self.config.rule.critic_loss(q, targets).sum()
            _differentiate(loss, flat, critics.adam.gradient)
        critics.step()
        return q.detach()

    def update_actors(
        self,
        rows: Tensor,
        noise: Noise,
        alpha: Tensor | None,
        constraints: Sequence[MultiplierConstraint],
        order: Sequence[int],
    ) -> Tensor | None:
        """Step every actor once, in the scheme of the settings.

        Args:
            rows: (S, B, width); the action columns are written to.
            noise: the random numbers of sampled actions.
            alpha: (S, n + 1), the agents' temperatures.
            constraints: one per training seed, or none.
            order: of the agents.

        Returns:
            log-probabilities (S, n, B) under the policies before the update, for rules that have
            them.
        """
        team, scheme = self.team, self.config.scheme
        lambdas = rows.new_tensor([c.multiplier for c in constraints]) if constraints else None
        log_probs: list[Tensor | None] = [None] * len(team.agents)

        def loss_of(agent: str, drawn: Drawn) -> Tensor:
            k = list(team.agents).index(agent)
            log_probs[k] = None if drawn.log_prob is None else drawn.log_prob.detach()
            own_alpha = None if alpha is None else alpha[:, k, None]
            return self.actor_loss(agent, drawn, rows, own_alpha, lambdas)

        if scheme != "replayed":  # then the others' actions are of their current policies
            for g, group in enumerate(team.groups):
                outputs = group.forward(team.observations(group, rows))[0]
                team.place_actions(group, rows, group.head.sample(outputs, noise.present[g]).action)
        if scheme == "sequential":
            for k in order:
                agent = team.agents[k]
                g, m = team.place[agent]
                group, part = team.groups[g], team.groups[g].members[m]
                a, b = group.span(m)
                seen = rows[..., team.layout.observations[agent]]
                flat = part.net.flat.detach().requires_grad_()
                with torch.enable_grad():
                    outputs = part.net.on(flat).forward(seen)[0]
                    loss = loss_of(agent, part.head.sample(outputs, _rows(noise.present[g], a, b)))
                    _differentiate(loss.sum(), flat, part.adam.gradient)
                group.step(m)
                outputs = part.net.forward(seen)[0]
                fresh = part.head.sample(outputs, _rows(noise.fresh[g], a, b)).action
                rows[..., team.layout.actions[agent]] = fresh
        else:
            for g, group in enumerate(team.groups):
                flat = group.net.flat.detach().requires_grad_()
                with torch.enable_grad():
                    outputs = group.forward(team.observations(group, rows), group.net.on(flat))[0]
                    drawn = group.head.sample(outputs, noise.present[g])
                    losses = torch.stack(
                        [
                            loss_of(agent, rows_of(drawn, *group.span(m)))
                            for m, agent in enumerate(group.agents)
                        ]
                    )
                    # a shared actor minimises the mean of its agents' losses
                    loss = losses.mean(0) if group.shared else losses.sum(0)
                    _differentiate(loss.sum(), flat, group.adam.gradient)
                group.step()
        known = [log_prob for log_prob in log_probs if log_prob is not None]
        return torch.stack(known, 1) if alpha is not None else None

    def actor_loss(
        self, agent: str, drawn: Drawn, rows: Tensor, alpha: Tensor | None, lambdas: Tensor | None
    ) -> Tensor:
        """Return an agent's loss (S,), with its own action instead of that in ``rows``."""
        team, critics = self.team, self.team.critics
        joint, columns = rows[..., team.layout.joint], team.columns(agent)
        x = torch.cat([joint[..., : columns.start], drawn.action, joint[..., columns.stop :]], -1)
        q = critics.values(x)
        loss = self.config.rule.actor_loss(q[critics.costs :], drawn.log_prob, alpha)
        if lambdas is None:
            return loss
        return self.config.constraint.actor_loss(loss, q[: critics.costs], lambdas)

    def temperature_gradient(self, log_alpha: Tensor, log_prob: Tensor, goals: Tensor) -> Tensor:
        """Return the gradient of the temperature loss w.r.t. log_alpha (S, n + 1).

        ``log_prob`` (S, n + 1, B) is each agent's, then the sum over agents.
        """
        leaf, gradient = log_alpha.detach().requires_grad_(), torch.empty_like(log_alpha)
        with torch.enable_grad():
            loss = self.config.rule.temperature_loss(leaf, log_prob, goals).sum()
            _differentiate(loss, leaf, gradient)
        return gradient


def _differentiate(loss: Tensor, by: Tensor, into: Tensor) -> None:
    """Write the gradient of a sum of independent losses into an optimiser's memory."""
    into.copy_(torch.autograd.grad(loss, by)[0])


def _rows(noise: Tensor | None, start: int, stop: int) -> Tensor | None:
    return None if noise is None else noise[start:stop]
