"""Action distributions in NumPy with hand-written gradients.

The counterparts of ``nn/distributions.py``, with samples on the last axis as in ``backprop.py``. A
loss on them is specified by its derivatives: w.r.t. each sample's log-probability, each sample's
divergence from another policy, and the mean entropy.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pkubench.agents.nn.actor import StdKind

Array = npt.NDArray[Any]

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


class LossGradients(NamedTuple):
    """Derivatives of a scalar loss w.r.t. per-sample quantities of a distribution; each is (B,)."""

    log_prob: Array | None = None
    """W.r.t. log pi(a|o)."""
    kl_from: Array | None = None
    """W.r.t. KL(old || pi), as in CUP's second phase and TRPO's trust region."""
    kl_to: Array | None = None
    """W.r.t. KL(pi || old), as in FOCOPS."""
    entropy: float = 0.0
    """W.r.t. the mean entropy of the B samples: minus the weight of a bonus."""


class Gaussians(NamedTuple):
    """Diagonal Gaussians with a shared deviation, the counterpart of ``DiagonalGaussian``."""

    mean: Array
    """(d, B)."""
    log_std: Array
    """(d, 1)."""
    std: Array
    """(d, 1)."""
    growth: Array | float
    """(d, 1): d log std / d parameter; 1 for ``exp``."""

    @staticmethod
    def from_outputs(mean: Array, log_std: Array, kind: StdKind) -> Gaussians:
        """Build from the outputs (d, B) and the deviation's parameter (d,)."""
        column = log_std[:, None].copy()  # the parameter will change, these distributions must not
        if kind == "log":
            return Gaussians(mean, column, np.exp(column), 1.0)
        sigmoid = 1.0 / (1.0 + np.exp(-column))
        return Gaussians(mean, np.log(0.5 * sigmoid), 0.5 * sigmoid, 1.0 - sigmoid)

    def log_prob(self, actions: Array) -> Array:
        """Return log pi(a) (B,) of actions (d, B)."""
        z = (actions - self.mean) / self.std
        constant = np.add.reduce(self.log_std, None) + len(self.std) * _LOG_SQRT_2PI
        z *= z
        log_prob: Array = np.add.reduce(z) * -0.5 - constant
        return log_prob

    def entropy(self) -> float:
        """Return the mean entropy in nats."""
        return float(self.log_std.sum()) + len(self.std) * (_LOG_SQRT_2PI + 0.5)

    def kl(self, other: Gaussians) -> Array:
        """Return KL(self || other), (B,)."""
        ratio = (self.std / other.std) ** 2
        shift = ((self.mean - other.mean) / other.std) ** 2
        kl: Array = 0.5 * (shift.sum(0) + (ratio - 1.0 - np.log(ratio)).sum())
        return kl

    def gradient(
        self, gradients: LossGradients, actions: Array, old: Gaussians | None = None
    ) -> tuple[Array, Array]:
        """Return the loss's gradients w.r.t. the outputs (d, B) and the parameter (d,).

        Args:
            gradients: the loss's derivatives.
            actions: (d, B), of ``gradients.log_prob``.
            old: the policy the divergences are from or to.
        """
        by_mean = np.zeros(self.mean.shape, self.mean.dtype)
        by_log_std = np.zeros(self.std.shape, self.std.dtype) + gradients.entropy
        if gradients.log_prob is not None:
            z = (actions - self.mean) / self.std
            weighted = z * gradients.log_prob
            by_mean += weighted / self.std
            by_log_std += _along(weighted, z) - np.add.reduce(gradients.log_prob)
        if gradients.kl_from is not None:
            assert old is not None
            z = (self.mean - old.mean) / self.std
            weighted = z * gradients.kl_from
            by_mean += weighted / self.std
            by_log_std += (1.0 - (old.std / self.std) ** 2) * np.add.reduce(gradients.kl_from)
            by_log_std -= _along(weighted, z)
        if gradients.kl_to is not None:
            assert old is not None
            by_mean += (self.mean - old.mean) * gradients.kl_to / old.std**2
            by_log_std += ((self.std / old.std) ** 2 - 1.0) * np.add.reduce(gradients.kl_to)
        return by_mean, (by_log_std * self.growth)[:, 0]

    @property
    def table(self) -> Array:
        """The per-sample parameters, (d, B)."""
        return self.mean

    def with_table(self, table: Array) -> Gaussians:
        """Return the distributions of other per-sample parameters, such as a minibatch's."""
        return self._replace(mean=table)


class Categoricals(NamedTuple):
    """Distributions over n actions, the counterpart of ``Categorical``."""

    log_p: Array
    """(n, B), normalised log-probabilities."""
    mask: Array | None = None
    """(n, B), 0 where an action is illegal: a constant, with no gradient."""

    @staticmethod
    def from_outputs(logits: Array, mask: Array | None = None) -> Categoricals:
        """Normalise ``logits`` (n, B); actions with ``mask`` 0 get probability 0."""
        if mask is not None:
            logits = np.where(mask == 0, logits.dtype.type(-1e10), logits)
        shifted = logits - logits.max(0)
        return Categoricals(shifted - np.log(np.exp(shifted).sum(0)), mask)

    def log_prob(self, actions: Array) -> Array:
        """Return log pi(a) (B,) of actions (B,)."""
        return self.log_p[actions, np.arange(len(actions))]

    def entropy(self) -> float:
        """Return the mean entropy in nats."""
        return float(-(np.exp(self.log_p) * self.log_p).sum(0).mean())

    def kl(self, other: Categoricals) -> Array:
        """Return KL(self || other), (B,)."""
        kl: Array = (np.exp(self.log_p) * (self.log_p - other.log_p)).sum(0)
        return kl

    def gradient(
        self, gradients: LossGradients, actions: Array, old: Categoricals | None = None
    ) -> tuple[Array, Array]:
        """Return the loss's gradients w.r.t. the outputs (n, B), and no further parameter (0,).

        Args:
            gradients: the loss's derivatives.
            actions: (B,), of ``gradients.log_prob``.
            old: the policy the divergences are from or to.
        """
        p = np.exp(self.log_p)
        by_logits = np.zeros_like(p)
        if gradients.log_prob is not None:
            by_logits -= p * gradients.log_prob
            by_logits[actions, np.arange(len(actions))] += gradients.log_prob
        if gradients.entropy:
            surprise = self.log_p - (p * self.log_p).sum(0)
            by_logits -= p * surprise * (gradients.entropy / p.shape[1])
        if gradients.kl_from is not None:
            assert old is not None
            by_logits += (p - np.exp(old.log_p)) * gradients.kl_from
        if gradients.kl_to is not None:
            assert old is not None
            excess = self.log_p - old.log_p
            by_logits += p * (excess - (p * excess).sum(0)) * gradients.kl_to
        if self.mask is not None:
            by_logits[self.mask == 0] = 0.0
        return by_logits, np.empty(0, p.dtype)

    @property
    def table(self) -> Array:
        """The per-sample parameters, (n, B)."""
        return self.log_p

    def with_table(self, table: Array) -> Categoricals:
        """Return the distributions of other per-sample parameters, such as a minibatch's.

        The mask is omitted: divergences from these do not need it.
        """
        return Categoricals(table)


Policies = Gaussians | Categoricals


def _along(a: Array, b: Array) -> Array:
    """Return the sum over samples of the product, (d, 1)."""
    return np.add.reduce(np.multiply(a, b), 1, keepdims=True)
