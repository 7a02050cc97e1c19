"""Policy space diversity: how far a policy lies from everything that a population can play.

Yao et al. (2023), "Policy Space Diversity for Non-Transitive Games". The distance of ``x`` from
``z`` is the Kullback-Leibler divergence of what the player does in a whole play, against a fixed
opponent, the new policy first:

    dis(x, z) = E over plays of x of [sum over own decisions of KL(x(.|s) || z(.|s))]
              = sum over own sequences of x w log(x / z),

where ``w`` (``ZeroSumGame.terminal_weights``) is the probability that chance and the opponent
assign to plays ending with that sequence. The sum over decisions telescopes into the second line,
in which mixing is averaging of plans: so it is convex in the weights of a mixture, and its minimum
over the whole hull is found exactly. Official code takes the minimum over the members alone
(:func:`divergences`), which is never smaller and can be positive inside the hull.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import nnls

from pkubench.envs.games.errors import GameError, PlanError
from pkubench.envs.games.forest import Floats

_MAX_STEPS = 500


class HullDistance(NamedTuple):
    """The distance of a policy from the hull of a population.

    Attributes:
        distance: In nats; infinite if the policy takes an action that no member ever takes.
        weights: The nearest mixture, float64 ``(members,)``.
        gap: The true minimum is at least ``distance - gap``.
    """

    distance: float
    weights: Floats
    gap: float


def divergences(plan: ArrayLike, members: ArrayLike, weights: ArrayLike) -> Floats:
    """Return the divergence of a policy from each member of a population.

    Args:
        plan: ``(sequences,)``, the new policy.
        members: ``(members, sequences)``.
        weights: ``(sequences,)``, see ``ZeroSumGame.terminal_weights``.

    Returns:
        float64 ``(members,)``, in nats. ``min()`` of it is the diversity of the official code.

    Raises:
        PlanError: Incompatible shapes.
    """
    own, rows, mass = _played(plan, members, weights)
    return np.array([_divergence(own, row, mass) for row in rows])


def hull_distance(
    plan: ArrayLike, members: ArrayLike, weights: ArrayLike, *, tolerance: float = 1e-10
) -> HullDistance:
    """Return the least divergence of a policy from any mixture of a population.

    ``min over a of -sum_k c_k log (M a)_k`` with ``a`` a distribution: mixture weights of maximum
    likelihood. Newton steps, each a non-negative least squares problem, alternate with steps of
    expectation maximisation, which never increase the objective. With the gradient ``-G`` the
    minimum is at most ``max G - sum c`` below (the duality gap of Frank and Wolfe), and that ends
    the search.

    Args:
        plan: ``(sequences,)``, the new policy.
        members: ``(members, sequences)``.
        weights: ``(sequences,)``, see ``ZeroSumGame.terminal_weights``.
        tolerance: Largest gap, in nats.

    Raises:
        PlanError: Incompatible shapes.
        GameError: The gap does not close.
    """
    own, rows, mass = _played(plan, members, weights)
    counts, columns = mass * own, rows.T
    mixture = np.full(len(rows), 1.0 / len(rows))
    if (columns.sum(axis=1) <= 0.0).any():
        return HullDistance(np.inf, mixture, 0.0)
    gap = np.inf
    for _ in range(_MAX_STEPS):
        mixed = columns @ mixture
        pull = columns.T @ (counts / mixed)
        gap = float(pull.max() - counts.sum())
        if gap <= tolerance:
            break
        # Expectation maximisation keeps the sum of the weights and lowers the divergence.
        mixture = mixture * pull / counts.sum()
        mixture = _newton_step(mixture / mixture.sum(), counts, columns)
    else:
        raise GameError(
            f"the distance from the hull of {len(rows)} policies did not converge: gap {gap:g} "
            f"after {_MAX_STEPS} steps; smooth the policies more (--set smoothing=0.01) or take "
            "the distance from members (--set diversity=members)"
        )
    distance = _divergence(own, columns @ mixture, mass)
    return HullDistance(max(distance, 0.0), mixture, max(gap, 0.0))


def _newton_step(mixture: Floats, counts: Floats, columns: Floats) -> Floats:
    """Minimise the quadratic model over distributions; shorten the step until it descends.

    With ``B = diag(sqrt(c) / M a) M`` the model at ``a`` is ``|B b - 2 sqrt(c)|^2 / 2``.
    """
    mixed = columns @ mixture
    root = np.sqrt(counts)
    model = columns * (root / mixed)[:, None]
    # A row that outweighs all others enforces that the weights sum to one.
    heavy = 1e3 * np.linalg.norm(model)
    target, _ = nnls(np.vstack([model, np.full(len(mixture), heavy)]), np.append(2.0 * root, heavy))
    if not target.sum() > 0.0:
        return mixture
    step = target / target.sum() - mixture
    before = float(counts @ np.log(mixed))
    length = 1.0
    while length > 1e-6:
        tried = mixed + length * (columns @ step)
        if tried.min() > 0.0 and float(counts @ np.log(tried)) > before:
            moved = np.maximum(mixture + length * step, 0.0)
            return np.asarray(moved / moved.sum())
        length /= 2.0
    return mixture


def _played(
    plan: ArrayLike, members: ArrayLike, weights: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """Return plan, members and weights on the sequences with which plays can end."""
    own, mass = np.asarray(plan, np.float64), np.asarray(weights, np.float64)
    rows = np.atleast_2d(np.asarray(members, np.float64))
    if own.ndim != 1 or mass.shape != own.shape or rows.shape[1:] != own.shape or not len(rows):
        raise PlanError(
            f"a plan of shape {own.shape}, members of shape {rows.shape} and weights of shape "
            f"{mass.shape} are incompatible"
        )
    kept = (own > 0.0) & (mass > 0.0)
    return own[kept], rows[:, kept], mass[kept]


def _divergence(own: Floats, other: Floats, mass: Floats) -> float:
    if (other <= 0.0).any():
        return np.inf
    return float((mass * own) @ (np.log(own) - np.log(other)))
