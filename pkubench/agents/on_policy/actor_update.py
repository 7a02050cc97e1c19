"""One actor's move on its samples: passes of Adam over minibatches, or a step in a trust region."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pkubench.agents.on_policy.config import OnPolicyConfig
from pkubench.agents.on_policy.critic import descend
from pkubench.agents.parts.actor import Actor
from pkubench.agents.parts.constrained_step import constrained_step
from pkubench.agents.parts.constraints import Lagrange, Measured
from pkubench.agents.parts.distributions import Distribution
from pkubench.agents.parts.trust_region import Samples, TrustRegion, trust_region_step
from pkubench.agents.parts.update_rules import (
    cup_correction,
    exact_penalty,
    focops,
    ppo_clip,
    surrogate,
)

Minibatches = Callable[[int], list[Any]]
"""From a number of samples to the index sets of one pass."""


def update_actor(
    actor: Actor,
    optimiser: torch.optim.Optimizer,
    samples: Samples,
    costs: Tensor | None,
    constraint: Measured | None,
    config: OnPolicyConfig,
    minibatches: Minibatches,
) -> dict[str, float]:
    """Move ``actor`` by the settings' rule; return diagnostics such as ``kl`` and ``entropy``.

    Args:
        actor: moved in place.
        optimiser: of its parameters; a trust-region step leaves it alone.
        samples: the batch, with the advantage the actor climbs.
        costs: (B,), advantages of cost; None without a cost critic.
        constraint: what holds the cost, None without one.
        config: the rule and its numbers.
        minibatches: cuts a pass.
    """
    excess = 0.0
    if constraint is not None and costs is not None:
        excess = _excess_of_a_step(constraint, samples.factor, costs, config)
    if config.update == "trust-region":
        return _step(actor, samples, costs, excess, config)
    with torch.no_grad():
        old: Distribution = actor(samples.observations, samples.masks)

    def first(pi: Distribution, ratio: Tensor, index: Any) -> Tensor:
        advantage, factor = samples.advantage[index], samples.factor[index]
        if config.update == "a2c":
            loss = -surrogate(ratio, advantage, factor)
        elif config.update == "focops":
            kl = pi.kl(old[index])  # type: ignore[arg-type]
            loss = focops(
                ratio,
                advantage,
                factor,
                kl,
                trusted=config.focops_eta,
                softness=config.focops_lam,
            )
        else:
            loss = ppo_clip(ratio, advantage, factor, config.clip)
        if config.constraint == "exact-penalty" and costs is not None:
            clip = config.clip if config.variant == "paper" else None
            loss = loss + exact_penalty(
                ratio, costs[index], factor, clip=clip, excess=excess, weight=config.kappa
            )
        return loss - config.entropy * pi.entropy().mean()

    report = _passes(actor, optimiser, samples, old, first, config, minibatches)
    if config.constraint != "corrected" or costs is None:
        return report
    assert isinstance(constraint, Lagrange)
    weight = constraint.value * (1.0 - config.gamma * config.lam) / (1.0 - config.gamma)
    with torch.no_grad():
        middle: Distribution = actor(samples.observations, samples.masks)

    def second(pi: Distribution, ratio: Tensor, index: Any) -> Tensor:
        kl = pi.kl(middle[index])  # type: ignore[arg-type]
        return cup_correction(ratio, costs[index], samples.factor[index], kl, weight)

    corrected = _passes(actor, optimiser, samples, middle, second, config, minibatches)
    return {**report, "correction_kl": corrected["kl"]}


def _excess_of_a_step(
    constraint: Measured, factor: Tensor, costs: Tensor, config: OnPolicyConfig
) -> float:
    """Return the cost's excess on the scale of ``mean[M r A_C]``, a mean over steps.

    An episode's cost is a sum over its steps, so the excess is divided by their number. What the
    agents updated before have already changed, ``mean[(M - 1) A_C]``, is added.
    """
    if config.variant == "omnisafe":
        return constraint.excess
    return constraint.excess / constraint.length + float(((factor - 1.0) * costs).mean())


def _passes(
    actor: Actor,
    optimiser: torch.optim.Optimizer,
    samples: Samples,
    start: Distribution,
    loss_of: Callable[[Distribution, Tensor, Any], Tensor],
    config: OnPolicyConfig,
    minibatches: Minibatches,
) -> dict[str, float]:
    """Descend a loss; stop early once KL(start||now) passes ``target_kl``."""
    kl = entropy = float("nan")
    for _ in range(config.epochs):
        for index in minibatches(len(samples.observations)):
            masks = None if samples.masks is None else samples.masks[index]
            pi: Distribution = actor(samples.observations[index], masks)
            log_ratio = pi.log_prob(samples.actions[index]) - samples.log_probs[index]
            loss = loss_of(pi, log_ratio.exp(), index)
            descend(loss, actor, optimiser, config.max_grad_norm)
            entropy = float(pi.entropy().mean().detach())
            kl = float((log_ratio.detach().exp() - 1.0 - log_ratio.detach()).mean())
        if config.target_kl is not None:
            with torch.no_grad():
                now: Distribution = actor(samples.observations, samples.masks)
                kl = float(start.kl(now).mean())  # type: ignore[arg-type]
            if kl > config.target_kl:
                break
    return {"kl": kl, "entropy": entropy}


def _step(
    actor: Actor, samples: Samples, costs: Tensor | None, excess: float, config: OnPolicyConfig
) -> dict[str, float]:
    """Take one step on the whole batch; return what it did, ``accepted`` 0.0 or 1.0."""
    settings = TrustRegion(
        radius=config.kl_limit,
        cg_iterations=config.cg_iterations,
        cg_damping=config.cg_damping,
        fisher_every=config.fisher_every,
        search_steps=config.search_steps,
        search_decay=config.search_decay,
        accept_ratio=config.accept_ratio,
        discrete_kl=config.discrete_kl,
    )
    more: dict[str, float] = {}
    if costs is not None and config.constraint in ("linearised", "projected"):
        found = constrained_step(
            actor, samples, costs, excess, settings, config.constraint, config.variant
        )
        step, more = found.step, {"case": float(found.case), "cost_change": found.cost_change}
    else:
        step = trust_region_step(actor, samples, settings)
    return {
        "kl": step.kl,
        "entropy": step.entropy,
        "accepted": float(step.is_accepted),
        "fraction": step.fraction,
        **more,
    }
