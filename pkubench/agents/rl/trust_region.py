"""A step inside a KL ball: conjugate gradients for its direction, a line search for its length.

The pieces are plain functions, so that a rule with other conditions (a cost constraint) takes the
same directions and searches the same line with an acceptance of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from pkubench.agents.nn.actor import Actor
from pkubench.agents.nn.distributions import Distribution
from pkubench.agents.rl.fisher import DiscreteKL, Fisher, mean_kl
from pkubench.agents.rl.update_rules import surrogate


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRegion:
    """The numbers of a trust-region step; the defaults are HARL's."""

    radius: float = 0.01
    """delta: the mean KL(old||new) stays below it."""
    cg_iterations: int = 10
    cg_damping: float = 0.1
    """Added to the Fisher matrix's diagonal."""
    cg_tolerance: float = 1e-10
    """Conjugate gradients stop once the squared residual is below it."""
    fisher_every: int = 1
    """Every how many-th sample the Fisher matrix averages over; 1 is all."""
    search_steps: int = 10
    """Lengths the line search tries; 0 takes the whole step unseen (natural gradient)."""
    search_decay: float = 0.8
    """Each length is this share of the one before."""
    accept_ratio: float = 0.5
    """Least share of the linearly expected improvement that must be found."""
    discrete_kl: DiscreteKL = "true"


class Samples(NamedTuple):
    """What one actor is updated on; B samples."""

    observations: Tensor
    """(B, inputs)."""
    masks: Tensor | None
    """(B, n) of legal actions."""
    actions: Tensor
    """(B,) int64 or (B, d)."""
    log_probs: Tensor
    """(B,), of the actions under the policy that took them."""
    advantage: Tensor
    """(B,), of the joint action."""
    factor: Tensor
    """(B,), product of the ratios of the agents updated before; ones for a single agent."""


class Step(NamedTuple):
    """What a trust-region step did."""

    fraction: float
    """Share of the full step taken; 0.0: no length was accepted and the actor is as before."""
    kl: float
    """Mean divergence of the new policy from the old (0.0 when restored)."""
    improvement: float
    """Change of the surrogate (0.0 when restored)."""
    entropy: float
    """Mean entropy of the old policy, nats."""

    @property
    def is_accepted(self) -> bool:
        """Whether the actor moved."""
        return self.fraction > 0.0


def trust_region_step(actor: Actor, samples: Samples, settings: TrustRegion) -> Step:
    """Maximise ``L = mean[M r A]`` inside ``mean KL(old||new) < radius`` (HATRPO; HARL alg. 2).

    With ``g`` the gradient of L and ``F`` the damped Fisher matrix, ``x`` solves ``F x = g`` by
    conjugate gradients and the full step is ``x sqrt(2 radius / x'F x)``, the boundary of the
    ball to second order. The first of the shrinking lengths is taken whose KL is below the
    radius, whose surrogate rises, and by more than ``accept_ratio`` of ``g' step``. With one
    agent (M = 1) this is TRPO (Schulman et al. 2015).
    """
    pi = actor(samples.observations, samples.masks)
    before = surrogate_of(pi, samples)
    old, start = pi.detach(), parameters_to_vector(actor.parameters()).detach()
    g = flat_gradient(before, actor)
    fisher = fisher_of(actor, samples, settings)
    x, image = conjugate_gradient(fisher, g, settings.cg_iterations, settings.cg_tolerance)
    entropy, curvature = float(old.entropy().mean()), float(x @ image)
    if not curvature > 0.0:  # a zero gradient, or one that is not finite
        return Step(0.0, 0.0, 0.0, entropy)
    step = x * (2.0 * settings.radius / curvature) ** 0.5
    expected, reached = float(g @ step), float(before.detach())
    kl = improvement = 0.0

    def accept(fraction: float) -> bool:
        nonlocal kl, improvement
        new: Distribution = actor(samples.observations, samples.masks)
        kl = float(mean_kl(old, new, settings.discrete_kl))
        improvement = float(surrogate_of(new, samples)) - reached
        if settings.search_steps == 0:
            return True
        is_worth_it = improvement > settings.accept_ratio * fraction * expected
        return kl < settings.radius and improvement > 0.0 and is_worth_it

    tries = max(settings.search_steps, 1)
    fraction = line_search(actor, start, step, accept, tries, settings.search_decay)
    return Step(fraction, kl, improvement, entropy) if fraction else Step(0.0, 0.0, 0.0, entropy)


def fisher_of(actor: Actor, samples: Samples, settings: TrustRegion) -> Fisher:
    """Return the damped Fisher matrix of the actor over every ``fisher_every``-th sample."""
    return Fisher(
        actor,
        samples.observations[:: settings.fisher_every],
        None if samples.masks is None else samples.masks[:: settings.fisher_every],
        damping=settings.cg_damping,
        discrete_kl=settings.discrete_kl,
    )


def flat_gradient(value: Tensor, actor: Actor, keep_graph: bool = False) -> Tensor:
    """Return the gradient of a scalar in the order of ``actor.parameters()``, (P,).

    ``keep_graph`` says that another scalar of the same forward pass will be differentiated too.
    """
    gradients = torch.autograd.grad(
        value, list(actor.parameters()), retain_graph=keep_graph, materialize_grads=True
    )
    return torch.cat([gradient.reshape(-1) for gradient in gradients])


class Solution(NamedTuple):
    """Of a linear system ``A x = b``, up to the residual."""

    x: Tensor
    image: Tensor
    """A x, known as b minus the residual without another product."""


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], target: Tensor, iterations: int, tolerance: float
) -> Solution:
    """Return x with ``product(x)`` near ``target``, for a symmetric positive definite product.

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
    """Move ``actor`` to ``start + f step`` with the first f of 1, decay, ... that is accepted.

    ``accept`` is called with f, without gradients, while the actor is at that point. Returns f;
    if none is accepted, puts ``start`` back bit for bit and returns 0.0.
    """
    fraction = 1.0
    for _ in range(tries):
        _place(actor, start + fraction * step)
        if accept(fraction):
            return fraction
        fraction *= decay
    _place(actor, start)
    return 0.0


def _place(actor: Actor, vector: Tensor) -> None:
    # torch's vector_to_parameters would leave the parameters as views of one vector
    parameters = list(actor.parameters())
    parts = torch.split(vector, [p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.copy_(part.view_as(parameter))


def surrogate_of(pi: Distribution, samples: Samples) -> Tensor:
    """Return ``mean[M r A]`` of a distribution over the samples' actions."""
    ratio = (pi.log_prob(samples.actions) - samples.log_probs).exp()
    return surrogate(ratio, samples.advantage, samples.factor)
