"""One actor's update on its samples: passes of Adam over minibatches, or a trust-region step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch

from pkubench.agents.nn.actor import Actor
from pkubench.agents.nn.fast.loss_gradients import has_gradients
from pkubench.agents.nn.fast.trainers import FastActorTrainer, is_fast
from pkubench.agents.rl.constrained_step import constrained_step, cross_fitted_step
from pkubench.agents.rl.constraints.base import CostConstraint
from pkubench.agents.rl.constraints.step import StepConstraint
from pkubench.agents.rl.objective import Objective
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.samples import ActorSamples
from pkubench.agents.rl.trainers import ActorTrainer, AutogradActorTrainer
from pkubench.agents.rl.trust_region import trust_region_step
from pkubench.agents.rl.update_rules.base import CostTerms, GradientRule
from pkubench.agents.rl.update_rules.trust_region import TrustRegion
from pkubench.errors import ConfigError


def resolve_gradients(config: OnPolicyConfig) -> Literal["fast", "autograd"]:
    """Return ``fast`` or ``autograd`` for a config's ``gradients``.

    ``auto`` is ``fast`` where the networks, the update rule and the constraint have hand-written
    gradients.

    Raises:
        ConfigError: ``fast`` is set and they have none.
    """
    is_known = (
        config.encoder.is_plain_mlp
        and not config.is_recurrent
        and has_gradients(config.update, config.constraint)
    )
    if config.gradients == "fast" and not is_known:
        raise ConfigError(
            f"gradients=fast needs hand-written gradients, which update={config.update.name}, "
            f"constraint={config.constraint.name}, encoder={config.encoder.name} and "
            f"memory={config.memory.name} do not have together: leave gradients=auto"
        )
    return "fast" if is_known and config.gradients != "autograd" else "autograd"


def trainer_for(actor: Actor, samples: int, config: OnPolicyConfig) -> ActorTrainer:
    """Return the trainer of ``actor`` on minibatches of ``samples``."""
    rule = config.update
    assert isinstance(rule, GradientRule)
    is_hand_written = (
        config.gradients == "fast" and is_fast(actor.net, samples) and not actor.counts
    )
    kind: Any = FastActorTrainer if is_hand_written else AutogradActorTrainer
    made: ActorTrainer = kind(
        actor,
        lr=rule.actor_lr,
        epsilon=config.adam_epsilon,
        max_grad_norm=config.max_grad_norm,
    )
    return made


def update_by_passes(
    trainer: ActorTrainer,
    samples: ActorSamples,
    constraint: CostConstraint | None,
    config: OnPolicyConfig,
    generator: torch.Generator,
    simultaneous: int = 1,
) -> dict[str, float]:
    """Minimise the rule's loss in passes of Adam; return diagnostics: ``kl`` and ``entropy``.

    Args:
        trainer: of the actor, which is updated in place.
        samples: the batch, with the advantage that the actor ascends and that of cost.
        constraint: the measured cost, None without a critic of cost.
        config: the rule and its numbers.
        generator: shuffles the samples.
        simultaneous: agents updated simultaneously; each gets its part of the cost's excess.
    """
    rule, held = config.update, config.constraint
    assert isinstance(rule, GradientRule)
    cost = CostTerms() if constraint is None else held.terms(constraint, config, simultaneous)
    how: dict[str, Any] = {
        "epochs": rule.epochs,
        "parts": config.minibatches,
        "target_kl": rule.target_kl,
        "generator": generator,
    }
    report = trainer.passes(samples, Objective(rule, held, cost), **how)
    if not held.corrects:
        return report
    corrected = trainer.passes(samples, Objective(rule, held, cost, is_correction=True), **how)
    return {**report, "correction_kl": corrected["kl"]}


def update_by_a_step(
    actor: Actor,
    samples: ActorSamples,
    constraint: CostConstraint | None,
    config: OnPolicyConfig,
    simultaneous: int = 1,
) -> dict[str, float]:
    """Take one trust-region step; return its diagnostics, ``accepted`` 0.0 or 1.0.

    The arguments are those of ``update_by_passes``.
    """
    rule, held = config.update, config.constraint
    assert isinstance(rule, TrustRegion)
    fast = config.gradients != "autograd"
    more: dict[str, float] = {}
    if isinstance(held, StepConstraint):
        assert constraint is not None
        # the acceptance test must count the cost change of the agents updated before, too
        excess = held.terms(constraint, config, simultaneous).excess + changed_before(samples)
        if excess > 0.0 and held.variant == "published":
            excess *= held.recovery
        take = cross_fitted_step if held.acceptance == "held-out" else constrained_step
        found = take(actor, samples, excess, rule, held, fast=fast)
        step, more = found.step, {"cost_change": found.cost_change}
        if held.has_cases:
            more["case"] = found.case
    else:
        step = trust_region_step(actor, samples, rule, fast=fast)
    return {
        "kl": step.kl,
        "entropy": step.entropy,
        "accepted": float(step.is_accepted),
        "fraction": step.fraction,
        **more,
    }


def changed_before(samples: ActorSamples) -> float:
    """Return ``mean[(M - 1) A_C]``: the cost change by the agents updated before."""
    steps = samples.steps
    assert steps.costs is not None
    return float(((steps.factor - 1.0) * steps.costs).mean())


def means(reports: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each figure over the reports that have it."""
    names = dict.fromkeys(name for report in reports for name in report)
    return {name: float(np.mean([of[name] for of in reports if name in of])) for name in names}
