"""Gradient steps with hand-written gradients, in NumPy on the CPU: for small minibatches of MLPs.

They minimise the same objectives as ``rl/trainers.py`` does by autograd, and are chosen where
network, rule and constraint have hand-written gradients (``has_gradients``); a test compares them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pkubench.agents.nn.actor import Actor
from pkubench.agents.nn.fast.backprop import MAX_BATCH, Backprop
from pkubench.agents.nn.fast.distributions import Categoricals, Gaussians, Policies
from pkubench.agents.nn.fast.loss_gradients import FastTerms, objective_gradients, value_loss_slope
from pkubench.agents.nn.networks import MLP
from pkubench.agents.rl.objective import Objective
from pkubench.agents.rl.samples import ActorSamples
from pkubench.agents.rl.trainers import ActorTrainer, CriticTrainer, Minibatches

Array = npt.NDArray[Any]


def is_fast(net: nn.Module, samples: int) -> bool:
    """Return whether hand-written gradients are faster for ``net`` on minibatches of ``samples``.

    On batches of thousands autograd is as fast, and uses torch's threads, or a GPU.
    """
    return isinstance(net, MLP) and net.head.weight.device.type == "cpu" and samples <= MAX_BATCH


class FastActorTrainer(ActorTrainer):
    """Passes of Adam over minibatches of one actor's samples."""

    def __init__(self, actor: Actor, *, lr: float, epsilon: float, max_grad_norm: float) -> None:
        """Take over ``actor``'s parameters."""
        self.actor = actor
        assert isinstance(actor.net, MLP)
        self.networks = Backprop([actor.net], [] if actor.discrete else [actor.log_std])
        super().__init__(
            self.networks.flat,
            self.networks.gradient,
            lr=lr,
            epsilon=epsilon,
            max_grad_norm=max_grad_norm,
        )

    def load(self, samples: ActorSamples, uses_kl: bool, has_target: bool) -> None:
        """Load the samples (see ``ActorTrainer``)."""
        steps = samples.steps
        self._masks = None if steps.masks is None else _last(steps.masks)
        self._inputs = self.networks.prepare(steps.observations.cpu().numpy())
        self._named: dict[str, Array | None] = {
            "masks": self._masks,
            "actions": _last(steps.actions),
            "log_probs": _last(steps.log_probs),
            "factor": _last(steps.factor),
            "weight": _last(steps.factor * steps.advantage),
            "costs": None if steps.costs is None else _last(steps.costs),
        }
        self._start: Any = None
        self._uses_kl = uses_kl
        self._batches: Minibatches | None = None
        if uses_kl or has_target:
            self._start = self.policies(self._inputs, self._masks)
        if uses_kl:
            self._named["start"] = self._start.table

    def one_pass(
        self, objective: Objective, parts: int, generator: torch.Generator
    ) -> Iterator[FastTerms]:
        """Take a step on every minibatch (see ``ActorTrainer``)."""
        if self._batches is None:
            self._batches = Minibatches(self._inputs, self._named, parts, generator)
        for part in self._batches.one_pass():
            held = part.samples
            terms = FastTerms(
                policy=self.forward(part.inputs, held.get("masks")),
                start=self._start.with_table(held["start"]) if self._uses_kl else None,
                actions=held["actions"],
                old_log_prob=held["log_probs"],
                weight=held["weight"],
                factor=held["factor"],
                cost_advantage=held.get("costs"),
                cost=objective.cost,
            )
            self.descend(terms, objective)
            yield terms

    def descend(self, terms: FastTerms, objective: Objective) -> None:
        """Take a step on the last result of ``forward``."""
        gradients = objective_gradients(objective, terms)
        pi: Any = terms.policy
        by_outputs, by_extra = pi.gradient(gradients, terms.actions, terms.start)
        self.networks.backward(by_outputs[None])
        if not self.actor.discrete:
            self.networks.set_extra_gradient(by_extra[None])
        self.step()

    def policies(self, inputs: Array, masks: Array | None = None) -> Policies:
        """Return the distributions of many prepared inputs (N, ...), in new arrays.

        ``masks`` are (n, N), 0 where an action is illegal.
        """
        return self._heads(self.networks.outputs(inputs)[0], masks)

    def forward(self, inputs: Array, masks: Array | None = None) -> Policies:
        """Return the distributions of a minibatch; they are valid until the next call."""
        return self._heads(self.networks.forward(inputs)[0], masks)

    def kl_from_start(self) -> float:
        """Return the mean KL(start||now) over the batch."""
        return float(self._start.kl(self.policies(self._inputs, self._masks)).mean())

    def cost_change(self) -> float:
        """Return the cost's surrogate over the batch (see ``ActorTrainer``)."""
        held: Any = self._named
        log_ratio = self.policies(self._inputs, self._masks).log_prob(held["actions"])
        ratio = np.exp(log_ratio - held["log_probs"])
        return float((held["factor"] * ratio * held["costs"]).mean())

    def _heads(self, outputs: Array, masks: Array | None) -> Policies:
        if self.actor.discrete:
            return Categoricals.from_outputs(outputs, masks)
        return Gaussians.from_outputs(outputs, self.networks.extras()[0], self.actor.std_kind)


class FastCriticTrainer(CriticTrainer):
    """Gradient steps of critics with the same inputs."""

    def __init__(
        self,
        nets: Sequence[MLP],
        *,
        lr: float,
        epsilon: float,
        max_grad_norm: float,
        l2: float = 0.0,
        clip: float | None = None,
        huber_delta: float | None = None,
    ) -> None:
        """Take over the parameters of ``nets``; ``clip``, ``huber_delta``: see ``value_loss``."""
        self.networks = Backprop(nets)
        super().__init__(
            self.networks.flat,
            self.networks.gradient,
            lr=lr,
            epsilon=epsilon,
            max_grad_norm=max_grad_norm,
        )
        self.l2, self.clip, self.huber_delta = l2, clip, huber_delta

    def prepare(self, inputs: Array) -> Array:
        """Return inputs for ``descend`` (see ``Backprop.prepare``)."""
        return self.networks.prepare(inputs)

    def values(self, inputs: Array) -> Array:
        """Return the values (R, N) of many prepared inputs."""
        return self.networks.outputs(inputs)[:, 0]

    def descend(self, inputs: Array, old_values: Array, targets: Array) -> Array:
        """Take a step (see ``CriticTrainer``)."""
        values = self.networks.forward(inputs)[:, 0]
        losses, slope = value_loss_slope(
            values, old_values, targets, clip=self.clip, huber_delta=self.huber_delta
        )
        self.networks.backward(slope[:, None])
        if self.l2:
            flat = self.networks.flat
            self.networks.gradient.add_(flat, alpha=2.0 * self.l2)
            losses = losses + [self.l2 * row.dot(row).item() for row in flat]
        self.step()
        return losses


def _last(tensor: Tensor) -> Array:
    """Return samples (B, ...) with the samples on the last axis."""
    array: Any = tensor.cpu().numpy()
    return np.ascontiguousarray(array.T)
