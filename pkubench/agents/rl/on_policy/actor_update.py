"""One actor's move on its samples: passes of Adam over minibatches, or a step in a trust region."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pkubench.agents.nn.actor import Actor
from pkubench.agents.nn.fast.hand_gradients import Policies, Slopes
from pkubench.agents.nn.fast.loss_gradients import (
    cup_slopes,
    exact_penalty_slope,
    focops_slopes,
    ppo_clip_slope,
    surrogate_slope,
)
from pkubench.agents.rl.constrained_step import constrained_step, numbers_averaged
from pkubench.agents.rl.constraints.base import CostConstraint
from pkubench.agents.rl.constraints.multiplier import MultiplierConstraint
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.rollout import Array
from pkubench.agents.rl.trainers import ActorTrainer, Minibatches
from pkubench.agents.rl.trust_region import Samples, TrustRegion, trust_region_step

Loss = Callable[[Policies, Array, dict[str, Array], Policies | None], Slopes]
"""From the policy now, its ratios, a minibatch's samples and the policy before: derivatives."""


def update_by_passes(
    trainer: ActorTrainer,
    samples: Samples,
    costs: Tensor | None,
    constraint: CostConstraint | None,
    config: OnPolicyConfig,
    generator: torch.Generator,
    at_once: int = 1,
) -> dict[str, float]:
    """Descend the rule's loss in passes of Adam; return diagnostics: ``kl`` and ``entropy``.

    Args:
        trainer: of the actor, which moves in place.
        samples: the batch, with the advantage the actor climbs.
        costs: (B,), advantages of cost; None without a cost critic.
        constraint: what holds the cost, None without one.
        config: the rule and its numbers.
        generator: puts the samples in order.
        at_once: agents that move at once; each has its part of the cost's excess.
    """
    named = {
        "masks": None if samples.masks is None else _last(samples.masks),
        "actions": _last(samples.actions),
        "log_probs": _last(samples.log_probs),
        "factor": _last(samples.factor),
        "weight": _last(samples.factor * samples.advantage),
        "costs": None if costs is None else _last(costs),
    }
    inputs = trainer.prepare(samples.observations.cpu().numpy())
    excess = 0.0 if constraint is None else excess_of_a_step(constraint, config) / at_once

    def first(pi: Policies, ratio: Array, part: dict[str, Array], old: Policies | None) -> Slopes:
        by_kl = None
        if config.update == "a2c":
            slope = surrogate_slope(ratio, part["weight"])
        elif config.update == "focops":
            slope, by_kl = focops_slopes(
                ratio,
                part["weight"],
                pi.kl(old),  # type: ignore[arg-type]
                trusted=config.focops_eta,
                softness=config.focops_lam,
            )
        else:
            slope = ppo_clip_slope(ratio, part["weight"], config.clip)
        if config.constraint == "exact-penalty":
            slope = slope + exact_penalty_slope(
                ratio,
                part["costs"],
                part["factor"],
                clip=config.clip if config.variant == "published" else None,
                excess=excess,
                weight=config.kappa,
            )
        return Slopes(log_prob=slope, kl_to=by_kl, entropy=-config.entropy)

    looks_back = config.update == "focops"
    report = _passes(trainer, inputs, named, first, looks_back, config, generator)
    if config.constraint != "corrected":
        return report
    assert isinstance(constraint, MultiplierConstraint)
    weight = constraint.value * (1.0 - config.gamma * config.lam) / (1.0 - config.gamma)

    def second(
        pi: Policies, ratio: Array, part: dict[str, Array], middle: Policies | None
    ) -> Slopes:
        slope, by_kl = cup_slopes(ratio, part["costs"], part["factor"], weight)
        return Slopes(log_prob=slope, kl_to=by_kl)

    corrected = _passes(trainer, inputs, named, second, True, config, generator)
    return {**report, "correction_kl": corrected["kl"]}


def _passes(
    trainer: ActorTrainer,
    inputs: Array,
    samples: dict[str, Array | None],
    loss: Loss,
    looks_back: bool,
    config: OnPolicyConfig,
    generator: torch.Generator,
) -> dict[str, float]:
    """Descend a loss; stop early once KL(start||now) passes ``target_kl``.

    ``looks_back`` says that the loss has a divergence from the policy at the start.
    """
    masks, start = samples["masks"], None
    if looks_back or config.target_kl is not None:
        start = trainer.policies(inputs, masks)
    if looks_back and start is not None:
        samples = {**samples, "start": start.table}
    batches = Minibatches(inputs, samples, config.minibatches, generator)
    kl = entropy = float("nan")
    for _ in range(config.epochs):
        for part in batches.one_pass():
            held = part.samples
            pi = trainer.forward(part.inputs, held.get("masks"))
            log_ratio = pi.log_prob(held["actions"]) - held["log_probs"]
            ratio = np.exp(log_ratio)
            old = start.with_table(held["start"]) if start and looks_back else None
            slopes = loss(pi, ratio, held, old)
            trainer.descend(pi, slopes, held["actions"], old)
        entropy, kl = pi.entropy(), float((ratio - 1.0 - log_ratio).mean())
        if config.target_kl is not None and start is not None:
            kl = float(start.kl(trainer.policies(inputs, masks)).mean())  # type: ignore[arg-type]
            if kl > config.target_kl:
                break
    return {"kl": kl, "entropy": entropy}


def update_by_a_step(
    actor: Actor,
    samples: Samples,
    costs: Tensor | None,
    constraint: CostConstraint | None,
    config: OnPolicyConfig,
    at_once: int = 1,
) -> dict[str, float]:
    """Take one step in a trust region; return what it did, ``accepted`` 0.0 or 1.0.

    The arguments are those of ``update_by_passes``.
    """
    numbers = numbers_averaged(actor, samples, config.variant)
    settings = TrustRegion(
        radius=config.kl_limit * numbers,
        cg_iterations=config.cg_iterations,
        cg_damping=config.cg_damping * numbers,
        fisher_every=config.fisher_every,
        search_steps=config.search_steps,
        search_decay=config.search_decay,
        accept_ratio=config.accept_ratio,
        discrete_kl=config.discrete_kl,
    )
    more: dict[str, float] = {}
    if config.constraint in ("linearised", "projected"):
        assert constraint is not None and costs is not None
        # steps are judged by what they change, and the agents before have changed something too
        excess = excess_of_a_step(constraint, config) / at_once
        excess += changed_before(samples.factor, costs)
        if excess > 0.0 and config.variant == "published":
            excess *= config.recovery
        found = constrained_step(
            actor, samples, costs, excess, settings, config.constraint, config.variant
        )
        step, more = found.step, {"cost_change": found.cost_change}
        if config.constraint == "linearised":  # the cases are CPO's
            more["case"] = float(found.case)
    else:
        step = trust_region_step(actor, samples, settings)
    return {
        "kl": step.kl,
        "entropy": step.entropy,
        "accepted": float(step.is_accepted),
        "fraction": step.fraction,
        **more,
    }


def excess_of_a_step(constraint: CostConstraint, config: OnPolicyConfig) -> float:
    """Return the cost's excess on the scale of ``mean[M r A_C]``, a mean over steps.

    An episode's cost is a sum over its steps, so the excess is divided by their number.
    """
    if config.variant == "omnisafe":
        return constraint.excess
    return constraint.excess / constraint.length


def changed_before(factor: Tensor, costs: Tensor) -> float:
    """Return ``mean[(M - 1) A_C]``: by how much the agents updated before have moved the cost."""
    return float(((factor - 1.0) * costs).mean())


def _last(tensor: Tensor) -> Array:
    """Return samples (B, ...) with the samples on the last axis."""
    array: Any = tensor.cpu().numpy()
    return np.ascontiguousarray(array.T)
