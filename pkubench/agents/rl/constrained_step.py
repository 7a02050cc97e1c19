"""Trust-region steps that enforce a cost constraint themselves: CPO and PCPO.

The geometry and the two rules are in ``constraints/step.py``, ``cpo.py`` and ``pcpo.py``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch.nn.utils import parameters_to_vector

from pkubench.agents.nn.actor import Actor
from pkubench.agents.rl.constraints.step import (
    Combination,
    Products,
    StepConstraint,
    to_the_boundary,
)
from pkubench.agents.rl.fisher import mean_kl
from pkubench.agents.rl.samples import ActorSamples
from pkubench.agents.rl.trust_region import (
    CG_TOLERANCE,
    Step,
    conjugate_gradient,
    fisher_of,
    flat_gradient,
    line_search,
    numbers_averaged,
    place,
    surrogate_of,
)
from pkubench.agents.rl.update_rules.trust_region import TrustRegion

_NO_GRADIENT = 1e-6
"""A cost gradient with a smaller square is ignored."""


class ConstrainedStep(NamedTuple):
    """Result of a constrained step."""

    step: Step
    case: float
    """CPO's (see ``Combination``); of a cross-fitted step the mean of two."""
    cost_change: float
    """Change of the cost's surrogate (0.0 when restored), on the data that accepted it."""


def cross_fitted_step(
    actor: Actor,
    samples: ActorSamples,
    excess: float,
    rule: TrustRegion,
    constraint: StepConstraint,
    *,
    fast: bool = True,
) -> ConstrainedStep:
    """Take the mean of two steps, each from one half of the environments and tested on the other.

    A step that its held-out half does not accept counts as 0. A mean of two steps in the ball is in
    the ball. The arguments are those of ``constrained_step``; so is the result, as a mean.
    """
    start = parameters_to_vector(actor.parameters()).detach().clone()
    first, second = samples.halves()
    ends, found = [], []
    for own, other in ((first, second), (second, first)):
        place(actor, start)
        found.append(
            constrained_step(actor, own, excess, rule, constraint, held_out=other, fast=fast)
        )
        ends.append(parameters_to_vector(actor.parameters()).detach().clone())
    place(actor, start + 0.5 * ((ends[0] - start) + (ends[1] - start)))
    if not any(one.step.is_accepted for one in found):
        place(actor, start)
    fraction, kl, improvement, entropy = (
        0.5 * (a + b) for a, b in zip(found[0].step, found[1].step, strict=True)
    )
    case, cost_change = (0.5 * (a + b) for a, b in zip(found[0][1:], found[1][1:], strict=True))
    return ConstrainedStep(Step(fraction, kl, improvement, entropy), case, cost_change)


def constrained_step(
    actor: Actor,
    samples: ActorSamples,
    excess: float,
    rule: TrustRegion,
    constraint: StepConstraint,
    *,
    held_out: ActorSamples | None = None,
    fast: bool = True,
) -> ConstrainedStep:
    """Maximise ``mean[M r A]`` inside the KL ball subject to ``excess + mean[M r A_C] <= 0``.

    A step length is accepted if the mean KL stays inside the ball, the cost's surrogate increases
    by at most the slack, ``max(-excess, 0)``, and the reward's does not decrease. The last is not
    required of CPO where the policy is unsafe, nor of PCPO where the cost has a gradient.

    Args:
        actor: updated in place.
        samples: the batch with the reward's advantage and the cost's.
        excess: mean episode cost minus the limit, over the mean episode length, as
            ``mean[r A_C]`` is a mean over steps.
        rule: the ball and the search.
        constraint: CPO or PCPO.
        held_out: the data that a step length is tested on; None: ``samples``.
        fast: hand-written products with the Fisher matrix, where the network has them.
    """
    averaged = numbers_averaged(actor, samples, rule)
    radius = rule.kl_limit * averaged
    pi = samples.policy(actor)
    assert samples.costs is not None
    of_cost = samples._replace(advantage=samples.costs)
    before, cost_before = surrogate_of(rule, pi, samples), surrogate_of(rule, pi, of_cost)
    old, start = pi.detach(), parameters_to_vector(actor.parameters()).detach()
    b = flat_gradient(cost_before, actor, keep_graph=True)
    g = flat_gradient(before, actor)
    fisher = fisher_of(actor, samples, rule, fast=fast)
    x, image = conjugate_gradient(fisher, g, rule.cg_iterations, CG_TOLERANCE)
    q, entropy = float(x @ image), float(old.entropy().mean())
    still = ConstrainedStep(Step(0.0, 0.0, 0.0, entropy), 0, 0.0)
    if not math.isfinite(q) or (q <= 0.0 and excess <= 0.0):  # no direction, or nothing to do
        return still
    p, _ = conjugate_gradient(fisher, b, rule.cg_iterations, CG_TOLERANCE)
    r, s = float(g @ p), float(b @ p)
    if float(b @ b) <= _NO_GRADIENT and (excess < 0.0 or not s > 0.0):
        chosen = Combination(to_the_boundary(q, radius), 0.0, 4)
    else:
        chosen = constraint.combination(Products(q, r, s, excess, radius))
    ascent = x
    if constraint.uses_plain_gradient:
        # x is on the scale of the KL and g is not; with an averaged KL the step along g is shorter
        ascent = g / averaged
    step = chosen.of_reward * ascent - chosen.of_cost * p
    if held_out is not None:
        assert held_out.costs is not None  # as in the samples of the step
        samples, of_cost = held_out, held_out._replace(advantage=held_out.costs)
        old = samples.policy(actor).detach()
        before, cost_before = surrogate_of(rule, old, samples), surrogate_of(rule, old, of_cost)
    reached, cost_reached = float(before.detach()), float(cost_before.detach())
    kl = improvement = cost_change = 0.0

    def accept(fraction: float) -> bool:
        nonlocal kl, improvement, cost_change
        new = samples.policy(actor)
        kl = float(mean_kl(old, new, rule.discrete_kl))
        improvement = float(surrogate_of(rule, new, samples)) - reached
        cost_change = float(surrogate_of(rule, new, of_cost)) - cost_reached
        is_improving = improvement >= 0.0 or chosen.case <= 1
        return kl <= radius and cost_change <= max(-excess, 0.0) and is_improving

    fraction = line_search(actor, start, step, accept, rule.search_steps, rule.search_decay)
    if not fraction:
        return still._replace(case=chosen.case)
    return ConstrainedStep(Step(fraction, kl, improvement, entropy), chosen.case, cost_change)
