"""Gradient steps of actors and critics: a loss, autograd, clipping, Adam.

A trainer takes over the parameters of torch modules, which become views of one flat array, and
updates them in place, so the modules change with every step. It is independent of the algorithm:
it minimises the given ``Objective``. ``nn/fast/trainers.py`` does the same with hand-written
gradients, for the networks and rules that have them.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pkubench.agents.nn.actor import Actor
from pkubench.agents.nn.distributions import Distribution
from pkubench.agents.nn.fast.stacked import Adam
from pkubench.agents.rl.objective import Objective
from pkubench.agents.rl.samples import ActorSamples, terms_of
from pkubench.agents.rl.update_rules.base import Terms, surrogate
from pkubench.agents.rl.value_loss import value_loss

Array = npt.NDArray[Any]


class Part(NamedTuple):
    """A minibatch: views that are valid until the next pass."""

    inputs: Array
    """(B, ...), as returned by a trainer's ``prepare``."""
    samples: dict[str, Array]
    """(..., B): samples on the last axis."""


class Minibatches:
    """Samples shuffled in each pass, split into ``parts`` of sizes that differ by at most one.

    Parts without a sample are left out.
    All arrays are reordered once per pass, so that a minibatch is a contiguous view. A single part
    is the whole batch in its original order.
    """

    def __init__(
        self,
        inputs: Array,
        samples: Mapping[str, Array | None],
        parts: int,
        generator: torch.Generator,
    ) -> None:
        """Split ``inputs`` (N, ...) and ``samples`` (..., N); those that are None are omitted."""
        self._inputs, self._parts, self._generator = inputs, parts, generator
        self._samples = {name: array for name, array in samples.items() if array is not None}
        if parts > 1:
            self._shuffled = np.empty_like(inputs)
        self._slices = slices(len(inputs), parts)

    def one_pass(self) -> Iterator[Part]:
        """Iterate over all samples once."""
        if self._parts == 1:
            yield Part(self._inputs, self._samples)
            return
        order = torch.randperm(len(self._inputs), generator=self._generator).numpy()
        np.take(self._inputs, order, axis=0, out=self._shuffled, mode="clip")
        samples = {name: array.take(order, axis=-1) for name, array in self._samples.items()}
        for part in self._slices:
            if part.start == part.stop:  # fewer samples than parts, such as of an agent that died
                continue
            yield Part(self._shuffled[part], {k: array[..., part] for k, array in samples.items()})


def slices(count: int, parts: int) -> list[slice]:
    """Return ``parts`` slices of ``count`` items, of sizes that differ by at most one."""
    share, rest = divmod(count, parts)
    edges = [k * share + min(k, rest) for k in range(parts + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def shuffled(count: int, parts: int, generator: torch.Generator) -> Iterator[Tensor | None]:
    """Yield the indices of each minibatch of a pass; None is the whole batch in order."""
    if parts == 1:
        yield None
        return
    order = torch.randperm(count, generator=generator)
    for part in slices(count, parts):
        yield order[part]


class Trainer:
    """R networks of one shape, each with its own gradient clipping; one Adam."""

    def __init__(
        self,
        flat: Tensor,
        gradient: Tensor,
        *,
        lr: float,
        epsilon: float,
        max_grad_norm: float,
    ) -> None:
        """Train parameters ``flat`` (R, P) with gradients in ``gradient`` (R, P)."""
        self.max_grad_norm = max_grad_norm
        self.adam = Adam(flat, lr, epsilon)
        self.adam.gradient = gradient
        self._rows = list(gradient.unbind())

    def step(self) -> None:
        """Clip gradient norms row by row, and take a step of Adam."""
        for gradient in self._rows:
            norm = math.sqrt(gradient.dot(gradient).item())
            # The 1e-6 is clip_grad_norm_'s; there too a NaN norm makes the gradient NaN.
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
        """Restore Adam's ``state``; the modules load their own parameters.

        Raises:
            KeyError: an entry is missing.
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


class ActorTrainer(Trainer, ABC):
    """Passes of Adam over minibatches of one actor's samples."""

    actor: Actor

    def passes(
        self,
        samples: ActorSamples,
        objective: Objective,
        *,
        epochs: int,
        parts: int,
        target_kl: float | None,
        generator: torch.Generator,
    ) -> dict[str, float]:
        """Minimise an objective; return diagnostics: ``kl`` and ``entropy``.

        Args:
            samples: the batch, of one usable step or more.
            objective: the loss of every minibatch.
            epochs: passes over the data.
            parts: minibatches per pass.
            target_kl: stop once the mean KL(start||now) over the batch exceeds this.
            generator: shuffles the samples.
        """
        self.load(samples, objective.uses_kl, target_kl is not None)
        kl = entropy = float("nan")
        for _ in range(epochs):
            terms: Any = None
            if objective.is_gated_by_batch:
                objective = objective.gated(self.cost_change())
            for terms in self.one_pass(objective, parts, generator):  # noqa: B007 - the last one
                pass
            entropy, kl = self.entropy_and_kl(terms)
            if target_kl is not None:
                kl = self.kl_from_start()
                if kl > target_kl:
                    break
        return {"kl": kl, "entropy": entropy}

    def entropy_and_kl(self, terms: Any) -> tuple[float, float]:
        """Return the mean entropy and an estimate of KL(old||now), ``mean[r - 1 - log r]``."""
        return float(terms.entropy), float((terms.ratio - 1.0 - terms.log_ratio).mean())

    @abstractmethod
    def load(self, samples: ActorSamples, uses_kl: bool, has_target: bool) -> None:
        """Load the samples of the following passes, and the policy at their start if needed."""

    @abstractmethod
    def one_pass(
        self, objective: Objective, parts: int, generator: torch.Generator
    ) -> Iterator[Any]:
        """Take a step on every minibatch; yield its ``Terms``, valid until the next one."""

    @abstractmethod
    def kl_from_start(self) -> float:
        """Return the mean KL(start||now) over the batch."""

    @abstractmethod
    def cost_change(self) -> float:
        """Return the cost's surrogate over the batch, ``mean[M r A_C]``, not clipped."""


class AutogradActorTrainer(ActorTrainer):
    """Gradients of the written loss by autograd: any network, any loss, any device."""

    def __init__(self, actor: Actor, *, lr: float, epsilon: float, max_grad_norm: float) -> None:
        """Take over ``actor``'s parameters."""
        self.actor = actor
        flat, self.gradient = flattened([actor])
        super().__init__(flat, self.gradient, lr=lr, epsilon=epsilon, max_grad_norm=max_grad_norm)

    def load(self, samples: ActorSamples, uses_kl: bool, has_target: bool) -> None:
        """Load the samples (see ``ActorTrainer``)."""
        self._samples, self._start = samples, None
        self._starts: dict[int, Distribution] = {}
        self._uses_kl = uses_kl
        if uses_kl or has_target:
            with torch.no_grad():
                self._start = samples.policy(self.actor)

    def one_pass(
        self, objective: Objective, parts: int, generator: torch.Generator
    ) -> Iterator[Terms]:
        """Take a step on every minibatch (see ``ActorTrainer``)."""
        for index in shuffled(self._samples.size, parts, generator):
            part, start = self._samples, self._start if self._uses_kl else None
            if index is not None:
                index = index.to(self.gradient.device)
                part = part.take(index)
                if not part.num_steps:  # the agent is dead in all of these sequences
                    continue
                start = None if start is None else self._start_of(part, index)
            self.actor.train()
            terms = terms_of(part, part.policy(self.actor), start, objective.cost)
            self.gradient.zero_()
            objective.loss(terms).backward()  # type: ignore[no-untyped-call]
            self.actor.eval()
            self.step()
            yield terms

    def entropy_and_kl(self, terms: Terms) -> tuple[float, float]:
        """Return the mean entropy and an estimate of KL(old||now) (see ``ActorTrainer``)."""
        log_ratio = terms.log_ratio.detach()
        return float(terms.entropy.detach()), float((log_ratio.exp() - 1.0 - log_ratio).mean())

    def _start_of(self, part: ActorSamples, index: Tensor) -> Distribution:
        """Return the policy at the start of the passes on a minibatch."""
        assert self._start is not None
        if part.size == len(part.steps.actions):  # single steps: the same order
            return self._start[index]
        usable: Tensor = self._samples.usable  # type: ignore[union-attr]
        place = torch.full(usable.shape, -1, dtype=torch.int64, device=usable.device)
        place[usable] = torch.arange(int(usable.sum()), device=usable.device)
        chosen = place[:, index]
        return self._start[chosen[chosen >= 0]]

    @torch.no_grad()
    def kl_from_start(self) -> float:
        """Return the mean KL(start||now) over the batch."""
        assert self._start is not None
        return float(self._start.kl(self._samples.policy(self.actor)).mean())  # type: ignore[arg-type]

    @torch.no_grad()
    def cost_change(self) -> float:
        """Return the cost's surrogate over the batch (see ``ActorTrainer``)."""
        terms = terms_of(self._samples, self._samples.policy(self.actor))
        return float(surrogate(terms.ratio, terms.cost_advantage, terms.factor))


class CriticTrainer(Trainer, ABC):
    """Gradient steps of R critics with the same inputs, such as one of reward and one of cost.

    The loss of each is ``value_loss`` plus ``l2`` times the sum of its squared parameters.
    """

    @abstractmethod
    def prepare(self, inputs: Array) -> Array:
        """Return ``inputs`` (B, numbers) in the form that ``descend`` takes."""

    @abstractmethod
    def descend(self, inputs: Array, old_values: Array, targets: Array) -> Array:
        """Take a step on a minibatch of prepared inputs; return each critic's loss before it, (R,).

        ``old_values`` and ``targets`` are (R, B), on the networks' scale.
        """


class AutogradCriticTrainer(CriticTrainer):
    """Gradients of the written loss by autograd: any network, on any device."""

    def __init__(
        self,
        nets: Sequence[nn.Module],
        *,
        lr: float,
        epsilon: float,
        max_grad_norm: float,
        l2: float = 0.0,
        clip: float | None = None,
        huber_delta: float | None = None,
    ) -> None:
        """Take over the parameters of ``nets``; ``clip``, ``huber_delta``: see ``value_loss``."""
        self.nets: list[Any] = list(nets)
        self.flat, self.gradient = flattened(nets)
        super().__init__(
            self.flat, self.gradient, lr=lr, epsilon=epsilon, max_grad_norm=max_grad_norm
        )
        self.l2, self.clip, self.huber_delta = l2, clip, huber_delta

    def prepare(self, inputs: Array) -> Array:
        """Return the inputs unchanged."""
        return inputs

    def descend(self, inputs: Array, old_values: Array, targets: Array) -> Array:
        """Take a step (see ``CriticTrainer``)."""
        x = torch.from_numpy(inputs).to(self.flat.device)

        def values(net: Any, row: int) -> Tensor:
            return net(x)[:, 0]  # type: ignore[no-any-return]

        return self._descend(values, old_values, targets)

    def descend_sequences(
        self, inputs: Array, first: Array, hidden: Array, usable: Array, old: Array, targets: Array
    ) -> Array:
        """Take a step on whole sequences; return each critic's loss before it, (R,).

        Args:
            inputs: (T, N, numbers).
            first: (T, N) bool, whether a step is the first one of its episode.
            hidden: (R, N, units), before the first step.
            usable: (T, N) bool; other steps are excluded from the loss.
            old: (R, T, N), values when the data was collected.
            targets: (R, T, N).
        """
        device = self.flat.device
        x, begins = torch.from_numpy(inputs).to(device), torch.from_numpy(first).to(device)
        chosen = torch.from_numpy(usable).to(device)

        def values(net: Any, row: int) -> Tensor:
            out, _ = net.sequence(x, begins, torch.from_numpy(hidden[row]).to(device))
            return out[..., 0][chosen]  # type: ignore[no-any-return]

        return self._descend(values, old[:, usable], targets[:, usable])

    def _descend(self, values: Any, old_values: Array, targets: Array) -> Array:
        losses, device = [], self.flat.device
        self.gradient.zero_()
        for row, net in enumerate(self.nets):
            net.train()
            old, target = (torch.from_numpy(of[row]).to(device) for of in (old_values, targets))
            value = values(net, row)
            loss = value_loss(value, old, target, clip=self.clip, huber_delta=self.huber_delta)
            if self.l2:
                loss = loss + self.l2 * sum(p.square().sum() for p in net.parameters())
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(float(loss.detach()))
            net.eval()
        self.step()
        return np.array(losses)


def flattened(modules: Sequence[nn.Module]) -> tuple[Tensor, Tensor]:
    """Make the parameters of R modules views of one array; return it and the array of gradients.

    Gradients are views of the second array, (R, P) like the first, to which autograd adds. Moving a
    module to another device or type afterwards breaks the sharing.
    """
    rows = [list(module.parameters()) for module in modules]
    count = sum(p.numel() for p in rows[0])
    like = rows[0][0]
    flat = torch.zeros(len(rows), count, dtype=like.dtype, device=like.device)
    gradient = torch.zeros_like(flat)
    for row, parameters in enumerate(rows):
        at = 0
        for parameter in parameters:
            end = at + parameter.numel()
            view = flat[row, at:end].view_as(parameter)
            view.copy_(parameter.detach())
            parameter.data = view
            parameter.grad = gradient[row, at:end].view_as(parameter)
            at = end
    return flat, gradient
