"""Stacks of networks of one shape, with hand-written gradients: one operation for all of them.

Twin critics, agents with equal spaces and training seeds are rows of one stack. All parameters of
a row are contiguous in memory, so an optimiser step or a soft update of many networks is a few
passes over one array. The gradients equal those of autograd (a test compares them).
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_relu_backward = torch.ops.aten.threshold_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


class Layer(NamedTuple):
    """Views of one layer's parameters (or of their gradients) in the flat rows."""

    weight: Tensor
    """(R, inputs, outputs)."""
    bias: Tensor
    """(R, 1, outputs)."""


def layers_of(flat: Tensor, sizes: tuple[int, ...]) -> list[Layer]:
    """Return the layers as views of ``flat`` (R, P); the last one's weight is stored transposed.

    A product with few columns is several times slower than the transposed one with few rows.
    """
    layers, at = [], 0
    for k, (a, b) in enumerate(itertools.pairwise(sizes)):
        weight = flat[:, at : at + a * b]
        is_last = k == len(sizes) - 2
        weight = weight.view(-1, b, a).mT if is_last else weight.view(-1, a, b)
        at += a * b
        layers.append(Layer(weight, flat[:, at : at + b].view(-1, 1, b)))
        at += b
    return layers


def parameter_count(sizes: tuple[int, ...]) -> int:
    """Return P, the parameters of one network."""
    return sum(a * b + b for a, b in itertools.pairwise(sizes))


class StackedMLP:
    """R multi-layer perceptrons of one shape: Linear, ReLU, ..., Linear.

    ``is_last_tanh``: the last hidden layer has tanh instead of ReLU, as in HASAC's actor.
    """

    def __init__(self, rows: int, sizes: tuple[int, ...], is_last_tanh: bool = False) -> None:
        """Allocate parameters; ``initialise`` fills them."""
        self.sizes, self.is_last_tanh = sizes, is_last_tanh
        self.flat = torch.zeros(rows, parameter_count(sizes))
        """(R, P)."""
        self.layers = layers_of(self.flat, sizes)

    def to(self, device: str) -> StackedMLP:
        """Move to ``device`` and return self."""
        self.flat = self.flat.to(device)
        self.layers = layers_of(self.flat, self.sizes)
        return self

    def initialise(self, row: int, generator: torch.Generator) -> None:
        """Initialise one network as torch's ``Linear``: uniform in ±1/sqrt(inputs)."""
        for weight, bias in self.layers:
            bound = 1.0 / math.sqrt(weight.shape[1])
            for part in (weight[row], bias[row]):
                fresh = torch.empty(part.shape).uniform_(-bound, bound, generator=generator)
                part.copy_(fresh)

    def on(self, flat: Tensor) -> StackedMLP:
        """Return networks of the same shape with their parameters in ``flat`` (any R, P)."""
        part = object.__new__(StackedMLP)
        part.sizes, part.is_last_tanh = self.sizes, self.is_last_tanh
        part.flat, part.layers = flat, layers_of(flat, self.sizes)
        return part

    def rows(self, start: int, stop: int) -> StackedMLP:
        """Return a view of some of the networks."""
        return self.on(self.flat[start:stop])

    def every(self, start: int, step: int) -> StackedMLP:
        """Return a view of every ``step``-th network from ``start`` on."""
        return self.on(self.flat[start::step])

    def first(self, x: Tensor) -> Tensor:
        """Return the first layer's pre-activations (R, B, h) of inputs (R, B, inputs)."""
        weight, bias = self.layers[0]
        return torch.baddbmm(bias, x, weight)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return outputs (R, B, outputs) of inputs (R, B, inputs), and the hidden layers."""
        return self._from(self.first(x))

    def from_first(self, sums: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Continue from the first layer's pre-activations (R, B, h), which are not modified."""
        return self._from(sums, is_kept=True)

    def _from(self, sums: Tensor, is_kept: bool = False) -> tuple[Tensor, list[Tensor]]:
        hidden = []
        last = len(self.layers) - 1
        for k in range(1, last + 1):
            if k == last and self.is_last_tanh:
                sums = tanh(sums)
            else:
                sums = sums.relu() if is_kept and k == 1 else sums.relu_()
            hidden.append(sums)
            weight, bias = self.layers[k]
            if k < last:
                sums = torch.baddbmm(bias, sums, weight)
        return torch.baddbmm(bias.mT, weight.mT, sums.mT).mT, hidden

    def _into_hidden(self, grad: Tensor, k: int, hidden: Tensor) -> Tensor:
        """Return the gradient of hidden layer ``k``'s pre-activations from that of its outputs."""
        weight = self.layers[k].weight.mT
        # with one output the product is an outer product, which is faster by broadcasting
        grad = grad * weight if weight.shape[1] == 1 else torch.bmm(grad, weight)
        if k == len(self.layers) - 1 and self.is_last_tanh:
            return _tanh_backward(grad, hidden, grad_input=grad)  # type: ignore[no-any-return]
        return _relu_backward(grad, hidden, 0.0, grad_input=grad)  # type: ignore[no-any-return]

    def backward(self, x: Tensor, hidden: list[Tensor], grad: Tensor, into: list[Layer]) -> None:
        """Write the parameters' gradients.

        Args:
            x: (R, B, inputs) of the forward pass.
            hidden: returned by the forward pass; not modified.
            grad: (R, B, outputs), of the loss w.r.t. the outputs.
            into: layers of the gradient's flat rows.
        """
        last = len(self.layers) - 1
        for k in range(last, 0, -1):
            if k == last:
                torch.bmm(grad.mT, hidden[k - 1], out=into[k].weight.mT)
            else:
                torch.bmm(hidden[k - 1].mT, grad, out=into[k].weight)
            torch.sum(grad, 1, keepdim=True, out=into[k].bias)
            grad = self._into_hidden(grad, k, hidden[k - 1])
        torch.bmm(x.mT, grad, out=into[0].weight)
        torch.sum(grad, 1, keepdim=True, out=into[0].bias)

    def input_gradient(self, hidden: list[Tensor], grad: Tensor, columns: slice) -> Tensor:
        """Return the gradient w.r.t. some of the inputs, (R, B, columns); none of parameters."""
        for k in range(len(self.layers) - 1, 0, -1):
            grad = self._into_hidden(grad, k, hidden[k - 1])
        return torch.bmm(grad, self.layers[0].weight[:, columns].mT)


def tanh(x: Tensor) -> Tensor:
    """Return tanh. NumPy's is six times as fast as torch's on a CPU, and as accurate."""
    if x.device.type != "cpu" or x.requires_grad:
        return x.tanh()
    return torch.from_numpy(np.tanh(x.numpy()))


class Adam:
    """Adam (Kingma & Ba 2015) on one flat array, in one pass: the kernel of ``torch.optim.Adam``.

    Without that class's bookkeeping, which at these sizes takes ten times as long as the pass.
    """

    def __init__(self, parameters: Tensor, lr: float, epsilon: float = 1e-8) -> None:
        """Optimise ``parameters`` (contiguous) in place."""
        self.parameters, self.lr, self.epsilon = parameters, lr, epsilon
        self.gradient = torch.zeros_like(parameters)
        """The gradient of the next ``step``; written by the caller."""
        self.first = torch.zeros_like(parameters)
        self.second = torch.zeros_like(parameters)
        self._clock = torch.zeros((), device=parameters.device)
        self.count = 0

    def rows(self, start: int, stop: int) -> Adam:
        """Return an optimiser of some rows, on the same memory, with its own step count."""
        part = object.__new__(Adam)
        part.lr, part.epsilon, part.count = self.lr, self.epsilon, self.count
        part._clock = self._clock.clone()
        for name in ("parameters", "gradient", "first", "second"):
            setattr(part, name, getattr(self, name)[start:stop])
        return part

    def step(self) -> None:
        """Update the parameters with ``gradient``."""
        self.count += 1
        torch._fused_adam_(
            [self.parameters],
            [self.gradient],
            [self.first],
            [self.second],
            [],
            [self._clock.fill_(self.count)],
            lr=self.lr,
            beta1=0.9,
            beta2=0.999,
            weight_decay=0.0,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
        )


def shorten(gradients: Tensor, limit: float) -> None:
    """Clip gradients (K, S, P) in place to a joint norm of ``limit`` over K networks.

    As ``torch.nn.utils.clip_grad_norm_``, separately for each of S seeds.
    """
    norm = gradients.square().sum((0, 2)).sqrt_()
    gradients.mul_((limit / (norm + 1e-6)).clamp_(max=1.0)[:, None])
