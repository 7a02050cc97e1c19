"""Gradient steps of actors and critics on the CPU: hand-made gradients, clipping, Adam.

A trainer takes over the parameters of torch modules (see ``Backprop``) and moves them in place, so
whoever holds the modules sees every step. It knows nothing of algorithms: an update rule asks an
actor's trainer for the distributions of some samples, and hands back how the loss changes with
them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pkubench.agents.nn.actor import Actor
from pkubench.agents.nn.fast.backprop import FlatNetworks, networks_for
from pkubench.agents.nn.fast.hand_gradients import Categoricals, Gaussians, Policies, Slopes
from pkubench.agents.nn.fast.loss_gradients import value_loss_slope
from pkubench.agents.nn.fast.stacked import Adam
from pkubench.agents.nn.networks import MLP

Array = npt.NDArray[Any]


class Part(NamedTuple):
    """A minibatch: views that hold until the next pass."""

    inputs: Array
    """(B, ...), as a trainer's ``prepare`` gives them."""
    samples: dict[str, Array]
    """(..., B): samples on the last axis."""


class Minibatches:
    """Samples in a new order each pass, cut into ``parts`` of sizes that differ by one at most.

    All arrays are put in order once a pass, so that a minibatch is a view of neighbours. A single
    part is the whole batch as it came.
    """

    def __init__(
        self,
        inputs: Array,
        samples: Mapping[str, Array | None],
        parts: int,
        generator: torch.Generator,
    ) -> None:
        """Cut ``inputs`` (N, ...) and ``samples`` (..., N); those that are None are left out."""
        self._inputs, self._parts, self._generator = inputs, parts, generator
        self._samples = {name: array for name, array in samples.items() if array is not None}
        if parts > 1:
            self._room = np.empty_like(inputs)
        share, rest = divmod(len(inputs), parts)
        edges = [k * share + min(k, rest) for k in range(parts + 1)]
        self._slices = [slice(a, b) for a, b in itertools.pairwise(edges)]

    def one_pass(self) -> Iterator[Part]:
        """Go through all samples once."""
        if self._parts == 1:
            yield Part(self._inputs, self._samples)
            return
        order = torch.randperm(len(self._inputs), generator=self._generator).numpy()
        np.take(self._inputs, order, axis=0, out=self._room, mode="clip")
        samples = {name: array.take(order, axis=-1) for name, array in self._samples.items()}
        for part in self._slices:
            yield Part(self._room[part], {k: array[..., part] for k, array in samples.items()})


class Trainer:
    """R networks of one shape, each with its own clipping; one Adam."""

    def __init__(
        self,
        networks: FlatNetworks,
        *,
        lr: float,
        epsilon: float,
        max_grad_norm: float,
    ) -> None:
        """Train ``networks``."""
        self.networks, self.max_grad_norm = networks, max_grad_norm
        self.prepare = networks.prepare
        self.adam = Adam(networks.flat, lr, epsilon)
        self.adam.gradient = networks.gradient
        self._rows = list(networks.gradient.unbind())

    def step(self) -> None:
        """Scale gradients that are too long, row by row, and take a step of Adam."""
        for gradient in self._rows:
            norm = math.sqrt(gradient.dot(gradient).item())
            # The 1e-6 is clip_grad_norm_'s; there too a norm that is no number spoils the gradient.
            if not norm + 1e-6 <= self.max_grad_norm:
                gradient *= self.max_grad_norm / (norm + 1e-6)
        self.adam.step()

    def state(self) -> dict[str, Array]:
        """Return Adam's moments (R, P) and step count, for a checkpoint; copies."""
        return {
            "first": self.adam.first.cpu().numpy().copy(),
            "second": self.adam.second.cpu().numpy().copy(),
            "count": np.array([self.adam.count], np.int64),
        }

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Put Adam back to what ``state`` returned; the modules load their own parameters.

        Raises:
            KeyError: something is missing.
            ValueError: the moments are of networks of another shape.
        """
        moments = [(self.adam.first, state["first"]), (self.adam.second, state["second"])]
        for own, saved in moments:
            if saved.shape != tuple(own.shape):
                raise ValueError(
                    f"Adam's moments have shape {saved.shape}, the networks {tuple(own.shape)}"
                )
        for own, saved in moments:
            own.copy_(torch.from_numpy(np.array(saved)))
        self.adam.count = int(state["count"][0])


class ActorTrainer(Trainer):
    """Gradient steps of one actor, on any loss of its log-probabilities and divergences."""

    def __init__(
        self, actor: Actor, samples: int, *, lr: float, epsilon: float, max_grad_norm: float
    ) -> None:
        """Take over ``actor``'s parameters, to train on minibatches of ``samples``."""
        self.actor = actor
        extras = [] if actor.discrete else [actor.log_std]
        networks = networks_for([actor.net], extras, samples)
        super().__init__(networks, lr=lr, epsilon=epsilon, max_grad_norm=max_grad_norm)

    def policies(self, inputs: Array, masks: Array | None = None) -> Policies:
        """Return the distributions of many prepared inputs (N, ...), in memory of their own.

        ``masks`` are (n, N), 0 where an action is forbidden.
        """
        return self._heads(self.networks.outputs(inputs)[0], masks)

    def forward(self, inputs: Array, masks: Array | None = None) -> Policies:
        """Return the distributions of a minibatch; they hold until the next call."""
        return self._heads(self.networks.forward(inputs)[0], masks)

    def descend(
        self, pi: Policies, slopes: Slopes, actions: Array, old: Policies | None = None
    ) -> None:
        """Take a step against a loss of what ``forward`` returned last.

        Args:
            pi: what it returned.
            slopes: the loss's derivatives.
            actions: (d, B) of a Box, (B,) of Discrete; those of ``slopes.log_prob``.
            old: the policy that divergences are from or to, of the same samples.
        """
        by_outputs, by_extra = pi.gradient(slopes, actions, old)  # type: ignore[arg-type]
        self.networks.backward(by_outputs[None])
        if not self.actor.discrete:
            self.networks.set_extra_gradient(by_extra[None])
        self.step()

    def _heads(self, outputs: Array, masks: Array | None) -> Policies:
        if self.actor.discrete:
            return Categoricals.from_outputs(outputs, masks)
        return Gaussians.from_outputs(outputs, self.networks.extras()[0], self.actor.std_kind)


class CriticTrainer(Trainer):
    """Gradient steps of critics that see the same inputs, such as one of reward and one of cost.

    The loss of each is ``value_loss`` plus ``l2`` times the sum of its squared parameters.
    """

    def __init__(
        self,
        nets: Sequence[MLP],
        samples: int,
        *,
        lr: float,
        epsilon: float,
        max_grad_norm: float,
        l2: float = 0.0,
        clip: float | None = None,
        huber_delta: float | None = None,
    ) -> None:
        """Take over the parameters of ``nets``, to train on minibatches of ``samples``.

        ``clip`` and ``huber_delta`` are those of ``value_loss``.
        """
        networks = networks_for(nets, [], samples)
        super().__init__(networks, lr=lr, epsilon=epsilon, max_grad_norm=max_grad_norm)
        self.l2, self.clip, self.huber_delta = l2, clip, huber_delta

    def values(self, inputs: Array) -> Array:
        """Return the values (R, N) of many prepared inputs."""
        return self.networks.outputs(inputs)[:, 0]

    def descend(self, inputs: Array, old_values: Array, targets: Array) -> Array:
        """Take a step on a minibatch of prepared inputs; return each critic's loss before it, (R,).

        ``old_values`` and ``targets`` are (R, B), on the networks' scale.
        """
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
