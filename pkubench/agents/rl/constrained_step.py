"""Trust-region steps that hold a cost constraint themselves: CPO and PCPO.

Both look for a step d that raises the reward's surrogate, ``g'd``, inside the ball
``d'Hd / 2 <= radius`` and on the safe side of the linearised constraint ``c + b'd <= 0``. With
``x = H^-1 g`` and ``p = H^-1 b`` every candidate is ``a x - k p``, so a rule is a pure function
from five numbers to two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor
from torch.nn.utils import parameters_to_vector

from pkubench.agents.nn.actor import Actor
from pkubench.agents.nn.distributions import Distribution
from pkubench.agents.rl.constraints.cpo import cpo_combination
from pkubench.agents.rl.constraints.pcpo import pcpo_combination
from pkubench.agents.rl.constraints.step import Combination, Products, to_the_boundary
from pkubench.agents.rl.fisher import mean_kl
from pkubench.agents.rl.trust_region import (
    Samples,
    Step,
    TrustRegion,
    conjugate_gradient,
    fisher_of,
    flat_gradient,
    line_search,
    surrogate_of,
)

Variant = Literal["published", "omnisafe"]
_NO_GRADIENT = 1e-6
"""A cost gradient whose square is below this bends nothing."""


RULES: dict[str, Callable[[Products], Combination]] = {
    "linearised": cpo_combination,
    "projected": pcpo_combination,
}


class ConstrainedStep(NamedTuple):
    """What a constrained step did."""

    step: Step
    case: int
    cost_change: float
    """Change of the cost's surrogate (0.0 when restored)."""


def numbers_averaged(actor: Actor, samples: Samples, variant: Variant) -> int:
    """Return over how many numbers of an action KL is averaged, by which a summed one is larger.

    OmniSafe averages the KL of Box actions over their numbers, in the Fisher matrix and in the line
    search. Summed, the same ball has so many times the radius and the damping.
    """
    is_averaged = variant == "omnisafe" and not actor.discrete
    return int(samples.actions.shape[-1]) if is_averaged else 1


def constrained_step(
    actor: Actor,
    samples: Samples,
    cost_advantage: Tensor,
    excess: float,
    settings: TrustRegion,
    rule: Literal["linearised", "projected"],
    variant: Variant = "published",
) -> ConstrainedStep:
    """Raise ``mean[M r A]`` inside the ball, with ``excess + mean[M r A_C]`` held below zero.

    A length is accepted if the mean KL stays inside the ball, the cost's surrogate rises by no
    more than the slack, ``max(-excess, 0)``, and the reward's does not fall, which is not asked of
    CPO where the policy is unsafe, nor of PCPO where the cost has a gradient.

    Args:
        actor: moved in place.
        samples: the batch with the reward's advantage.
        cost_advantage: (B,), of the joint action.
        excess: mean episode cost minus the limit, over the mean episode length, as
            ``mean[r A_C]`` is a mean over steps.
        settings: the ball and the search.
        rule: ``linearised`` is CPO, ``projected`` PCPO.
        variant: ``omnisafe`` restores the code's ``-r`` (CPO) and its ``g`` in place of
            ``H^-1 g`` (PCPO), on the scale of its averaged KL (``numbers_averaged``).
    """
    pi = actor(samples.observations, samples.masks)
    of_cost = samples._replace(advantage=cost_advantage)
    before, cost_before = surrogate_of(pi, samples), surrogate_of(pi, of_cost)
    old, start = pi.detach(), parameters_to_vector(actor.parameters()).detach()
    b = flat_gradient(cost_before, actor, keep_graph=True)
    g = flat_gradient(before, actor)
    fisher = fisher_of(actor, samples, settings)
    x, image = conjugate_gradient(fisher, g, settings.cg_iterations, settings.cg_tolerance)
    q, entropy = float(x @ image), float(old.entropy().mean())
    still = ConstrainedStep(Step(0.0, 0.0, 0.0, entropy), 0, 0.0)
    if not math.isfinite(q) or (q <= 0.0 and excess <= 0.0):  # nothing known, or nothing to do
        return still
    p, _ = conjugate_gradient(fisher, b, settings.cg_iterations, settings.cg_tolerance)
    r, s = float(g @ p), float(b @ p)
    if rule == "linearised" and variant == "omnisafe":
        r = -r
    if float(b @ b) <= _NO_GRADIENT and (excess < 0.0 or not s > 0.0):
        chosen = Combination(to_the_boundary(q, settings.radius), 0.0, 4)
    else:
        chosen = RULES[rule](Products(q, r, s, excess, settings.radius))
    ascent = x
    if rule == "projected" and variant == "omnisafe":
        # x is on the scale of the KL and g is not; with an averaged KL the step along g is shorter
        ascent = g / numbers_averaged(actor, samples, variant)
    step = chosen.of_reward * ascent - chosen.of_cost * p
    reached, cost_reached = float(before.detach()), float(cost_before.detach())
    kl = improvement = cost_change = 0.0

    def accept(fraction: float) -> bool:
        nonlocal kl, improvement, cost_change
        new: Distribution = actor(samples.observations, samples.masks)
        kl = float(mean_kl(old, new, settings.discrete_kl))
        improvement = float(surrogate_of(new, samples)) - reached
        cost_change = float(surrogate_of(new, of_cost)) - cost_reached
        is_worth_it = improvement >= 0.0 or chosen.case <= 1
        return kl <= settings.radius and cost_change <= max(-excess, 0.0) and is_worth_it

    fraction = line_search(actor, start, step, accept, settings.search_steps, settings.search_decay)
    if not fraction:
        return still._replace(case=chosen.case)
    return ConstrainedStep(Step(fraction, kl, improvement, entropy), chosen.case, cost_change)
