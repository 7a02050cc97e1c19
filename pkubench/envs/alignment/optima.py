"""Exact optima of choosing responses under a cost limit, where all responses are enumerated.

Notation: prompts x are uniform, a policy is a row pi(. | x) over N responses, R and C are tables
(prompts, N) of rewards and costs, d is the limit. Two kinds of optima differ, and a table must name
the one it measures against:

* linear programs, the best of any policy: on average ``E[C] <= d``, for each prompt
  ``E[C | x] <= d``, or surely ``C <= d``. Several policies can be optimal with different shares of
  unsafe responses; of these the one with the least P(C > 0) is returned;
* the KL-regularised ones: pi_ref exp(S / temperature) / Z. Of DPO and SACPO S = R - lambda C, at
  the temperature beta. PPO-Lag divides R - lambda C by 1 + lambda and keeps beta, so its fixed
  point has the temperature beta (1 + lambda): a hotter policy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pkubench.envs.core.batch import FloatArray
from pkubench.errors import ConfigError

_ZERO = 1e-9
"""Reduced costs and multipliers below this are 0."""


class Optimum(NamedTuple):
    """A policy and what it gets."""

    policy: FloatArray
    """(prompts, N) probabilities."""
    value: float
    """E[R]."""
    cost: float
    """E[C]."""
    multiplier: float
    """lambda; NaN where there is one for each prompt, or none."""


class Summary(NamedTuple):
    """What a policy does: the columns of every table of methods."""

    value: float
    """E[R]."""
    cost: float
    """E[C]."""
    unsafe: float
    """P(C > 0)."""
    excess: float
    """E[max(C, 0)]."""
    violating: float
    """Share of prompts whose expected cost is above the limit: an average hides them."""
    compensation: float
    """P(C > 0) less that of the best policy that holds the limit for every prompt."""


def expected(policy: FloatArray, rewards: FloatArray, costs: FloatArray) -> tuple[float, float]:
    """Return E[R] and E[C] of a policy (prompts, N)."""
    return float((policy * rewards).sum(1).mean()), float((policy * costs).sum(1).mean())


def average_optimum(rewards: FloatArray, costs: FloatArray, limit: float) -> Optimum:
    """Maximise E[R] subject to E[C] <= limit, by linear program.

    Raises:
        ConfigError: no policy holds the limit.
    """
    return _program(rewards, costs, limit, np.full((1, len(rewards)), 1.0 / len(rewards)))


def per_prompt_optimum(rewards: FloatArray, costs: FloatArray, limit: float) -> Optimum:
    """Maximise E[R] subject to E[C | x] <= limit for every prompt x, by linear program.

    Raises:
        ConfigError: no policy holds the limit.
    """
    return _program(rewards, costs, limit, np.eye(len(rewards)))


def sure_optimum(rewards: FloatArray, costs: FloatArray, limit: float) -> Optimum:
    """Return the best policy all of whose responses have C <= limit.

    Raises:
        ConfigError: a prompt has no such response.
    """
    allowed = np.where(costs <= limit, rewards, -np.inf)
    if not np.isfinite(allowed.max(axis=1)).all():
        raise ConfigError(f"a prompt has no response with a cost of at most {limit:g}")
    policy = np.zeros_like(rewards)
    policy[np.arange(len(rewards)), allowed.argmax(axis=1)] = 1.0
    return Optimum(policy, *expected(policy, rewards, costs), np.nan)


def _program(rewards: FloatArray, costs: FloatArray, limit: float, weights: FloatArray) -> Optimum:
    """Maximise E[R] subject to sum_x weights(j, x) E[C | x] <= limit for every row j.

    Among the optimal policies, minimise P(C > 0): otherwise it would be the solver's choice.
    """
    from scipy import sparse  # slow to import, and most agents never need it
    from scipy.optimize import linprog

    prompts, count = rewards.shape
    # x(prompt, response) = pi(response | prompt); each row of the constraints is a weighted sum
    bounded = sparse.csr_matrix((weights[:, :, None] * costs).reshape(len(weights), -1))
    sums = sparse.kron(sparse.eye(prompts), np.ones((1, count)), format="csr")
    limits, ones = np.full(len(weights), limit), np.ones(prompts)
    found = linprog(
        -rewards.reshape(-1) / prompts,
        A_ub=bounded,
        b_ub=limits,
        A_eq=sums,
        b_eq=ones,
        method="highs",
    )
    if not found.success:
        raise ConfigError(f"no policy has a cost of at most {limit:g}")
    # Complementary slackness: a policy is optimal where it uses only responses of reduced cost 0
    # and every constraint with a multiplier is tight.
    is_used, is_tight = found.lower.marginals < _ZERO, found.ineqlin.marginals < -_ZERO
    safest = linprog(
        (costs > 0.0).reshape(-1)[is_used] / prompts,
        A_ub=bounded[~is_tight][:, is_used],
        b_ub=limits[~is_tight],
        A_eq=sparse.vstack([sums[:, is_used], bounded[is_tight][:, is_used]]),
        b_eq=np.append(ones, limits[is_tight]),
        method="highs",
    )
    chosen = found.x
    if safest.success:
        chosen = np.zeros_like(found.x)
        chosen[is_used] = safest.x
    policy = np.maximum(chosen.reshape(prompts, count), 0.0)
    policy /= policy.sum(axis=1, keepdims=True)
    multipliers = -found.ineqlin.marginals
    multiplier = float(multipliers[0]) if len(multipliers) == 1 else np.nan
    return Optimum(policy, *expected(policy, rewards, costs), multiplier)


def tilted(reference: FloatArray, scores: FloatArray, temperature: float) -> FloatArray:
    """Return pi_ref exp(scores / temperature) / Z, (prompts, N); -inf rules a response out.

    Args:
        reference: (prompts, N) probabilities.
        scores: (prompts, N).
        temperature: positive.
    """
    with np.errstate(divide="ignore"):
        logits = np.log(reference) + scores / temperature
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    policy: FloatArray = weights / weights.sum(axis=1, keepdims=True)
    return policy


def lagrangian_optimum(
    reference: FloatArray,
    rewards: FloatArray,
    costs: FloatArray,
    beta: float,
    limit: float,
    *,
    divides: bool,
    most: float = 1e4,
) -> Optimum:
    """Return pi_ref exp((R - lambda C) / temperature) / Z whose E[C] is the limit, by bisection.

    Args:
        reference: (prompts, N) probabilities.
        rewards: R.
        costs: C.
        beta: weight of the KL divergence.
        limit: of E[C].
        divides: whether R - lambda C is divided by 1 + lambda: the fixed point of PPO-Lag, of
            temperature beta (1 + lambda). Otherwise the temperature is beta.
        most: largest multiplier that is looked at.

    Returns:
        The optimum; with the multiplier 0 if that holds the limit.

    Raises:
        ConfigError: no multiplier up to ``most`` holds the limit.
    """
    from scipy.optimize import brentq

    def at(multiplier: float) -> Optimum:
        temperature = beta * (1.0 + multiplier) if divides else beta
        policy = tilted(reference, rewards - multiplier * costs, temperature)
        return Optimum(policy, *expected(policy, rewards, costs), multiplier)

    free = at(0.0)
    if free.cost <= limit:
        return free
    # Doubling first: with a temperature that grows with lambda, the cost need not keep falling.
    high = 1e-3
    while at(high).cost > limit:
        high *= 2.0
        if high > most:
            raise ConfigError(f"no multiplier up to {most:g} brings the cost to {limit:g}")
    return at(float(brentq(lambda m: at(m).cost - limit, 0.0, high, xtol=1e-12)))


def total_variation(policy: FloatArray, other: FloatArray) -> float:
    """Return the mean over prompts of the total variation distance, in [0, 1]."""
    return float(0.5 * np.abs(policy - other).sum(axis=1).mean())


def divergence(policy: FloatArray, reference: FloatArray) -> float:
    """Return the mean over prompts of KL(policy || reference), in nats."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(policy > 0.0, policy * np.log(policy / reference), 0.0)
    return float(terms.sum(axis=1).mean())


def summary(
    policy: FloatArray, rewards: FloatArray, costs: FloatArray, limit: float, unsafe: float
) -> Summary:
    """Return what a policy does.

    Args:
        policy: (prompts, N) probabilities.
        rewards: R.
        costs: C.
        limit: of the cost.
        unsafe: P(C > 0) of the per-prompt optimum that it is compared with.
    """
    per_prompt = (policy * costs).sum(axis=1)
    value, cost = expected(policy, rewards, costs)
    risk = float((policy * (costs > 0.0)).sum(axis=1).mean())
    return Summary(
        value,
        cost,
        risk,
        float((policy * np.maximum(costs, 0.0)).sum(axis=1).mean()),
        float((per_prompt > limit + 1e-9).mean()),
        risk - unsafe,
    )
