"""A step inside a KL ball: conjugate gradients for its direction, a line search for its length.

The parts are plain functions, so that a rule with other conditions (a cost constraint) reuses
directions and line search with its own acceptance test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from pkubench.agents.nn.actor import Actor
from pkubench.agents.nn.distributions import Distribution
from pkubench.agents.nn.fast.fisher import FastFisher
from pkubench.agents.nn.networks import MLP
from pkubench.agents.rl.fisher import AutogradFisher, mean_kl
from pkubench.agents.rl.samples import ActorSamples, Samples, terms_of
from pkubench.agents.rl.update_rules.trust_region import TrustRegion

CG_TOLERANCE = 1e-10
"""Squared residual at which conjugate gradients stop."""


class Step(NamedTuple):
    """Result of a trust-region step."""

    fraction: float
    """Fraction of the full step taken; 0.0: no length was accepted and the actor is unchanged."""
    kl: float
    """Mean divergence of the new policy from the old (0.0 when restored)."""
    improvement: float
    """Change of the surrogate (0.0 when restored)."""
    entropy: float
    """Mean entropy of the old policy, nats."""

    @property
    def is_accepted(self) -> bool:
        """Whether the actor changed."""
        return self.fraction > 0.0


def trust_region_step(
    actor: Actor, samples: ActorSamples, rule: TrustRegion, *, fast: bool = True
) -> Step:
    """Maximise ``L = mean[M r A]`` inside ``mean KL(old||new) < radius`` (HATRPO; HARL alg. 2).

    With ``g`` the gradient of L and ``F`` the damped Fisher matrix, ``x`` solves ``F x = g`` by
    conjugate gradients and the full step is ``x sqrt(2 radius / x'F x)``, the boundary of the ball
    to second order. The line search takes the first of the shrinking lengths with a KL below the
    radius and a surrogate increase of more than 0 and more than ``accept_ratio`` times ``g' step``.
    Without a line search the full step is taken unless its KL is not finite.
    With one agent (M = 1) this is TRPO (Schulman et al. 2015).

    Args:
        actor: updated in place.
        samples: the batch.
        rule: the ball and the search; L is minus its loss.
        fast: hand-written products with F, where the network has them.
    """
    radius = rule.kl_limit * numbers_averaged(actor, samples, rule)
    pi = samples.policy(actor)
    before = surrogate_of(rule, pi, samples)
    old, start = pi.detach(), parameters_to_vector(actor.parameters()).detach()
    g = flat_gradient(before, actor)
    fisher = fisher_of(actor, samples, rule, fast=fast)
    x, image = conjugate_gradient(fisher, g, rule.cg_iterations, CG_TOLERANCE)
    entropy, curvature = float(old.entropy().mean()), float(x @ image)
    if not curvature > 0.0:  # a zero gradient, or one that is not finite
        return Step(0.0, 0.0, 0.0, entropy)
    step = x * (2.0 * radius / curvature) ** 0.5
    expected, reached = float(g @ step), float(before.detach())
    kl = improvement = 0.0

    def accept(fraction: float) -> bool:
        nonlocal kl, improvement
        new = samples.policy(actor)
        kl = float(mean_kl(old, new, rule.discrete_kl))
        improvement = float(surrogate_of(rule, new, samples)) - reached
        if rule.search_steps == 0:
            return math.isfinite(kl)
        is_sufficient = improvement > rule.accept_ratio * fraction * expected
        return kl < radius and improvement > 0.0 and is_sufficient

    tries = max(rule.search_steps, 1)
    fraction = line_search(actor, start, step, accept, tries, rule.search_decay)
    return Step(fraction, kl, improvement, entropy) if fraction else Step(0.0, 0.0, 0.0, entropy)


def fisher_of(
    actor: Actor, samples: ActorSamples, rule: TrustRegion, *, fast: bool = True
) -> Callable[[Tensor], Tensor]:
    """Return the damped Fisher matrix of the actor over every ``fisher_every``-th sample."""
    damping = rule.cg_damping * numbers_averaged(actor, samples, rule)
    part = samples.every(rule.fisher_every)
    if fast and isinstance(part, Samples) and isinstance(actor.net, MLP) and not actor.counts:
        return FastFisher(
            actor, part.observations, part.masks, damping=damping, discrete_kl=rule.discrete_kl
        )
    return AutogradFisher(actor, part, damping=damping, discrete_kl=rule.discrete_kl)


def numbers_averaged(actor: Actor, samples: ActorSamples, rule: TrustRegion) -> int:
    """Return the number of action dimensions that the KL is averaged over; 1 where it is summed."""
    is_averaged = rule.kl_mean_over_dimensions and not actor.discrete
    return int(samples.actions.shape[-1]) if is_averaged else 1


def flat_gradient(value: Tensor, actor: Actor, keep_graph: bool = False) -> Tensor:
    """Return the gradient of a scalar in the order of ``actor.parameters()``, (P,).

    ``keep_graph``: another scalar of the same forward pass will be differentiated too.
    """
    gradients = torch.autograd.grad(
        value, list(actor.parameters()), retain_graph=keep_graph, materialize_grads=True
    )
    return torch.cat([gradient.reshape(-1) for gradient in gradients])


class Solution(NamedTuple):
    """Solution of a linear system ``A x = b``, up to the residual."""

    x: Tensor
    image: Tensor
    """A x, equal to b minus the residual, without another product."""


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], target: Tensor, iterations: int, tolerance: float
) -> Solution:
    """Solve ``product(x) = target`` approximately, for a symmetric positive definite product.

    Starts from zero and stops after ``iterations`` or once the squared residual is below
    ``tolerance``. A target of zeros gives zeros.
    """
    x = torch.zeros_like(target)
    residual, direction = target.clone(), target.clone()
    squared = residual @ residual
    if float(squared) == 0.0:
        return Solution(x, target.clone())
    for _ in range(iterations):
        image = product(direction)
        length = squared / (direction @ image)
        x = x + length * direction
        residual = residual - length * image
        previous, squared = squared, residual @ residual
        if float(squared) < tolerance:
            break
        direction = residual + (squared / previous) * direction
    return Solution(x, target - residual)


@torch.no_grad()
def line_search(
    actor: Actor,
    start: Tensor,
    step: Tensor,
    accept: Callable[[float], bool],
    tries: int,
    decay: float,
) -> float:
    """Set ``actor`` to ``start + f step`` with the first f of 1, decay, ... that is accepted.

    ``accept`` is called with f, without gradients, while the actor is at that point. Returns f;
    if none is accepted, restores ``start`` bit for bit and returns 0.0.
    """
    fraction = 1.0
    for _ in range(tries):
        place(actor, start + fraction * step)
        if accept(fraction):
            return fraction
        fraction *= decay
    place(actor, start)
    return 0.0


@torch.no_grad()
def place(actor: Actor, vector: Tensor) -> None:
    """Set an actor's parameters to those of a flat vector (P,), in place."""
    # torch's vector_to_parameters would leave the parameters as views of one vector
    parameters = list(actor.parameters())
    parts = torch.split(vector, [p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.copy_(part.view_as(parameter))


def surrogate_of(rule: TrustRegion, pi: Distribution, samples: ActorSamples) -> Tensor:
    """Return ``mean[M r A]``, minus the rule's loss, of a distribution over samples' actions."""
    return -rule.loss(terms_of(samples, pi))
