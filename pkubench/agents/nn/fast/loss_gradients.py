"""Derivatives of the written losses per sample, in NumPy; registered by the loss's class.

A rule or constraint without an entry here is differentiated by autograd. A test compares each of
them with autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pkubench.agents.nn.fast.distributions import LossGradients, Policies
from pkubench.agents.rl.constraints.base import Constraint
from pkubench.agents.rl.constraints.cup import CUP
from pkubench.agents.rl.constraints.p3o import P3O
from pkubench.agents.rl.objective import Objective
from pkubench.agents.rl.update_rules.a2c import A2C
from pkubench.agents.rl.update_rules.base import CostTerms, UpdateRule
from pkubench.agents.rl.update_rules.focops import FOCOPS
from pkubench.agents.rl.update_rules.ppo_clip import PPOClip
from pkubench.agents.rl.update_rules.trust_region import TrustRegion

Array = npt.NDArray[Any]


@dataclass(eq=False)
class FastTerms:
    """``Terms`` in NumPy: a minibatch of B samples, every array (B,) but actions (d, B)."""

    policy: Policies
    start: Any
    actions: Array
    old_log_prob: Array
    weight: Array
    """M A, the factor times the advantage; the factor is not negative."""
    factor: Array
    cost_advantage: Any
    cost: CostTerms

    @cached_property
    def log_ratio(self) -> Array:
        """Log pi(a|o) - log pi_old(a|o)."""
        return self.policy.log_prob(self.actions) - self.old_log_prob

    @cached_property
    def ratio(self) -> Array:
        """R = pi(a|o) / pi_old(a|o)."""
        found: Array = np.exp(self.log_ratio)
        return found

    @cached_property
    def kl(self) -> Array:
        """KL(pi || pi_start) of each state."""
        return self.policy.kl(self.start)

    @cached_property
    def entropy(self) -> float:
        """Mean entropy in nats."""
        return self.policy.entropy()


Derivatives = Callable[[Any, FastTerms], LossGradients]
"""From a component and a minibatch to the derivatives of its loss."""
DerivativesT = TypeVar("DerivativesT", bound=Derivatives)
_OF_LOSS: dict[type, Derivatives] = {}
_OF_PENALTY: dict[type, Derivatives] = {}
_OF_CORRECTION: dict[type, Derivatives] = {}


def derivative_of(
    cls: type, table: dict[type, Derivatives] = _OF_LOSS
) -> Callable[[DerivativesT], DerivativesT]:
    """Register the derivatives of exactly this class's loss; a subclass may have another loss."""

    def enter(derivatives: DerivativesT) -> DerivativesT:
        table[cls] = derivatives
        return derivatives

    return enter


def has_gradients(update: UpdateRule, constraint: Constraint) -> bool:
    """Return whether every loss of an actor's update has hand-written derivatives here.

    A trust-region step has hand-written products with the Fisher matrix instead.
    """
    kind = type(constraint)
    return (
        (type(update) in _OF_LOSS or type(update) is TrustRegion)
        and (kind.penalty is Constraint.penalty or kind in _OF_PENALTY)
        and (kind.correction is Constraint.correction or kind in _OF_CORRECTION)
    )


def objective_gradients(objective: Objective, terms: FastTerms) -> LossGradients:
    """Return the derivatives of an objective's loss."""
    rule, constraint = objective.rule, objective.constraint
    if objective.is_correction:
        return _OF_CORRECTION[type(constraint)](constraint, terms)
    found = _OF_LOSS[type(rule)](rule, terms)
    penalty = _OF_PENALTY.get(type(constraint))
    if penalty is not None:
        more = penalty(constraint, terms).log_prob
        found = found._replace(log_prob=more if found.log_prob is None else found.log_prob + more)
    return found._replace(entropy=-rule.entropy)


@derivative_of(PPOClip)
def _ppo_clip(rule: PPOClip, terms: FastTerms) -> LossGradients:
    return LossGradients(log_prob=ppo_clip_slope(terms.ratio, terms.weight, rule.clip))


@derivative_of(A2C)
def _a2c(rule: A2C, terms: FastTerms) -> LossGradients:
    return LossGradients(log_prob=surrogate_slope(terms.ratio, terms.weight))


@derivative_of(FOCOPS)
def _focops(rule: FOCOPS, terms: FastTerms) -> LossGradients:
    by_log_prob, by_kl = focops_slopes(
        terms.ratio,
        terms.weight,
        terms.kl,
        trusted=rule.focops_eta,
        softness=rule.focops_lam,
    )
    return LossGradients(log_prob=by_log_prob, kl_to=by_kl)


@derivative_of(P3O, _OF_PENALTY)
def _p3o(constraint: P3O, terms: FastTerms) -> LossGradients:
    slope = exact_penalty_slope(
        terms.ratio,
        terms.cost_advantage,
        terms.factor,
        clip=constraint.clip,
        excess=terms.cost.excess,
        weight=constraint.kappa,
        is_over=terms.cost.is_over,
    )
    return LossGradients(log_prob=slope)


@derivative_of(CUP, _OF_CORRECTION)
def _cup(constraint: CUP, terms: FastTerms) -> LossGradients:
    by_log_prob, by_kl = cup_slopes(
        terms.ratio, terms.cost_advantage, terms.factor, constraint.weight(terms)
    )
    return LossGradients(log_prob=by_log_prob, kl_to=by_kl)


def ppo_clip_slope(ratio: Array, weight: Array, clip: float) -> Array:
    """Return the derivative (B,) of the loss ``ppo_clip`` w.r.t. each sample's log-probability.

    Args:
        ratio: (B,), r = pi_new(a|o) / pi_old(a|o).
        weight: (B,), M A, the factor times the advantage; the factor is not negative.
        clip: eps.
    """
    plain = ratio * weight
    clipped = np.minimum(np.maximum(ratio, 1.0 - clip), 1.0 + clip) * weight
    return plain * (plain <= clipped) * (-1.0 / len(ratio))


def surrogate_slope(ratio: Array, weight: Array) -> Array:
    """Return the derivative (B,) of minus ``surrogate``; arguments as above."""
    return ratio * weight * (-1.0 / len(ratio))


def focops_slopes(
    ratio: Array, weight: Array, kl: Array, *, trusted: float, softness: float
) -> tuple[Array, Array]:
    """Return the derivatives (B,) of ``focops`` w.r.t. log-probability and KL(new || old).

    Args:
        ratio: (B,), as above.
        weight: (B,), M A.
        kl: (B,), KL(new || old).
        trusted: eta.
        softness: lam.
    """
    inside = (kl <= trusted) * ratio.dtype.type(1.0 / len(ratio))
    return inside * ratio * weight * (-1.0 / softness), inside


def exact_penalty_slope(
    ratio: Array,
    cost_advantage: Array,
    factor: Array,
    *,
    clip: float | None,
    excess: float,
    weight: float,
    is_over: bool | None = None,
) -> Array:
    """Return the derivative (B,) of ``exact_penalty`` w.r.t. log-probability; same arguments."""
    change = ratio * cost_advantage
    slope = change
    if clip is not None:
        clipped = np.minimum(np.maximum(ratio, 1.0 - clip), 1.0 + clip) * cost_advantage
        slope = change * (change >= clipped)
        change = np.maximum(change, clipped)
    if is_over is None:
        is_over = float((factor * change).mean()) + excess > 0.0
    if not is_over:
        return np.zeros_like(ratio)
    penalised: Array = factor * slope * (weight / len(ratio))
    return penalised


def cup_slopes(
    ratio: Array, cost_advantage: Array, factor: Array, weight: float
) -> tuple[Array, Array]:
    """Return the derivatives (B,) of ``cup_correction`` w.r.t. log-probability and its KL."""
    share = ratio.dtype.type(1.0 / len(ratio))
    return ratio * cost_advantage * factor * (weight / len(ratio)), np.full_like(ratio, share)


def value_loss_slope(
    value: Array,
    old_value: Array,
    target: Array,
    *,
    clip: float | None,
    huber_delta: float | None,
) -> tuple[Array, Array]:
    """Return ``value_loss`` of each critic (R,), and its derivatives w.r.t. the values (R, B).

    The arguments are those of ``value_loss``, each (R, B). Where the plain and the clipped loss are
    equal the derivative is that of the plain one; ``torch.maximum`` averages both.
    """
    error = value - target
    samples = value.shape[-1]
    if huber_delta is None:
        slope = error * (2.0 / samples)
        loss = np.multiply(error, error)
    else:
        bounded = np.minimum(np.maximum(error, -huber_delta), huber_delta)
        slope = bounded * (1.0 / samples)
        loss = bounded * (error - 0.5 * bounded)
    if clip is not None:
        moved = value - old_value
        kept = np.minimum(np.maximum(moved, -clip), clip)
        far = old_value + kept - target
        if huber_delta is None:
            other = np.multiply(far, far)
        else:
            bounded = np.minimum(np.maximum(far, -huber_delta), huber_delta)
            other = bounded * (far - 0.5 * bounded)
        slope *= (kept == moved) | (loss >= other)
        loss = np.maximum(loss, other)
    return np.add.reduce(loss, -1) / samples, slope
