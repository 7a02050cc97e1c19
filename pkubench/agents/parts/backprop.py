"""Hand-written gradients of the on-policy networks, in NumPy, for many small minibatches.

At minibatches of 64 autograd and torch's operators spend most of their time outside arithmetic. A
product of NumPy's on buffers made beforehand reaches the processor's speed at that size, so a step
is little more than its matrix products. The layout serves them: activations lie feature by feature,
(features, samples), with a row of ones below, and a layer's bias follows its weight in memory, so
one product gives sums with their biases, and one the gradients of both.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pkubench.agents.parts.networks import MLP

Array = npt.NDArray[Any]

CHUNK = 512
"""Samples that go through a network together: their activations stay in the cache."""

_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_relu_backward = torch.ops.aten.threshold_backward.grad_input


class Layer(NamedTuple):
    """One layer's parameters, or their gradients, as views of the flat rows."""

    affine: Array
    """(R, inputs + 1, outputs): the transposed weight, then the bias."""
    scale: Array | None
    """(R, inputs, 1) of the LayerNorm before the layer, if there is one."""
    shift: Array | None
    """(R, inputs, 1)."""


class Backprop:
    """R networks of one shape on the CPU, whose parameters become views of one flat array.

    The modules stay what they were for everybody else: ``state_dict``, ``load_state_dict`` and
    autograd work on the same memory. (Weights are then transposed views: ``reshape(-1)`` flattens
    them, ``view(-1)`` does not.) Moving a module to another device or type afterwards cuts the tie.

    A LayerNorm's scale and shift are folded into the layer behind it, so only the normalising
    itself passes over the samples; and the input's own is done once, in ``prepare``.
    """

    def __init__(self, nets: Sequence[MLP], extras: Sequence[nn.Parameter] = ()) -> None:
        """Take over the parameters of ``nets``, and one further vector a net in ``extras``."""
        self.nets = list(nets)
        spec = nets[0].spec
        self.spec, rows = spec, len(nets)
        self.sizes = (spec.inputs, *spec.hidden, spec.outputs)
        self.is_normed = spec.layer_norm
        pairs = list(itertools.pairwise(self.sizes))
        per_layer = [(a + 1) * b + 2 * a * self.is_normed for a, b in pairs]
        self._extra = extras[0].numel() if extras else 0
        self.flat = torch.zeros(rows, sum(per_layer) + self._extra, dtype=nets[0].head.weight.dtype)
        """(R, P), all parameters."""
        self.gradient = torch.zeros_like(self.flat)
        """(R, P), what ``backward`` writes."""
        self.layers = self._layers_of(self.flat.numpy())
        self.gradients = self._layers_of(self.gradient.numpy())
        self.extra_gradient: Array = self._extras_of(self.gradient.numpy())
        """(R, E), for whoever computes it: ``backward`` leaves it alone."""
        for row, net in enumerate(nets):
            self._take_over(row, net)
        for row, extra in enumerate(extras):
            _adopt(extra, torch.from_numpy(self._extras_of(self.flat.numpy())[row]))
        # With LayerNorm these hold the folded layers and their gradients; else the plain ones.
        self._affine = [np.empty_like(a) if self.is_normed else a for a, *_ in self.layers]
        self._into = [np.empty_like(a) if self.is_normed else a for a, *_ in self.gradients]
        self._spare = [np.empty_like(layer.affine) for layer in self.layers]
        self._rooms: dict[int, list[_Room]] = {}
        self._inputs: Array = np.empty((0, spec.inputs + 1))

    def _layers_of(self, flat: Array) -> list[Layer]:
        layers, at, rows = [], 0, len(flat)

        def cut(*shape: int) -> Array:
            nonlocal at
            start, at = at, at + shape[0] * shape[1]
            return flat[:, start:at].reshape(rows, *shape)

        for a, b in itertools.pairwise(self.sizes):
            affine = cut(a + 1, b)
            normed = (cut(a, 1), cut(a, 1)) if self.is_normed else (None, None)
            layers.append(Layer(affine, *normed))
        return layers

    def _extras_of(self, flat: Array) -> Array:
        return flat[:, flat.shape[1] - self._extra :]

    def _take_over(self, row: int, net: MLP) -> None:
        for k, linear in enumerate([*net.linears, net.head]):
            layer = self.layers[k]
            affine = torch.from_numpy(layer.affine[row])
            _adopt(linear.weight, affine[:-1].T)
            _adopt(linear.bias, affine[-1])
            if net.norms is not None and layer.scale is not None and layer.shift is not None:
                _adopt(net.norms[k].weight, torch.from_numpy(layer.scale[row, :, 0]))
                _adopt(net.norms[k].bias, torch.from_numpy(layer.shift[row, :, 0]))

    def prepare(self, inputs: Array) -> Array:
        """Return what ``forward`` takes for ``inputs`` (B, inputs): a copy with a column of ones.

        With LayerNorm the copy is normalised. No parameter enters, so it serves all passes.
        """
        wide = np.ones((len(inputs), self.sizes[0] + 1), self.layers[0].affine.dtype)
        wide[:, :-1] = inputs
        if self.is_normed:
            _normalise(wide[:, :-1], 1)
        return wide

    def forward(self, inputs: Array) -> Array:
        """Return outputs (R, outputs, B) of prepared inputs (B, inputs + 1).

        The array is written again by the next call with as many samples.
        """
        self._fold()
        self._inputs = inputs
        rooms = self._rooms_for(len(inputs))
        if len(rooms) == 1:
            return self._through(inputs, rooms[0])
        outputs = [self._through(inputs[room.part], room) for room in rooms]
        return np.concatenate(outputs, axis=-1)

    def outputs(self, inputs: Array) -> Array:
        """Return outputs (R, outputs, N) of many prepared inputs, in memory of their own."""
        self._fold()
        parts = [inputs[k : k + CHUNK] for k in range(0, len(inputs), CHUNK)]
        return np.concatenate(
            [self._through(x, self._rooms_for(len(x))[0]).copy() for x in parts], axis=-1
        )

    def backward(self, gradient: Array) -> None:
        """Write the parameters' gradients of the last ``forward``, but for the extras.

        Args:
            gradient: (R, outputs, B), of the loss by the outputs.
        """
        for room in self._rooms_for(len(self._inputs)):
            into = self._into if room.part.start == 0 else self._spare
            self._back(self._inputs[room.part], room, gradient[..., room.part], into)
            if into is self._spare:
                for total, part in zip(self._into, self._spare, strict=True):
                    total += part
        if self.is_normed:
            self._unfold()

    def _through(self, x: Array, room: _Room) -> Array:
        below: Array = x.T
        for k, affine in enumerate(self._affine):
            sums = room.sums[k]
            np.matmul(affine.mT, below, out=sums)
            if k == len(room.hidden):
                break
            active = room.active[k]
            if self.spec.activation == "tanh":
                np.tanh(sums, out=active)
            else:
                np.maximum(sums, 0, out=active)
            if self.is_normed:
                normal = room.hidden[k][:, :-1]
                normal[...] = active
                room.inverse_std[k] = _normalise(normal, 1)
            below = room.hidden[k]
        return sums

    def _back(self, x: Array, room: _Room, gradient: Array, into: list[Array]) -> None:
        backward = _tanh_backward if self.spec.activation == "tanh" else _relu_backward
        threshold = () if self.spec.activation == "tanh" else (0.0,)
        for k in range(len(room.hidden), 0, -1):
            np.matmul(room.hidden[k - 1], gradient.mT, out=into[k])
            weight, below = self._affine[k][:, :-1], room.sums[k - 1]
            # With one output the product is an outer product, which a broadcast does faster.
            np.multiply(weight, gradient, out=below) if weight.shape[2] == 1 else np.matmul(
                weight, gradient, out=below
            )
            if self.is_normed:
                _denormalise(below, room.hidden[k - 1][:, :-1], room.inverse_std[k - 1])
            slope = room.torch_sums[k - 1]
            backward(slope, room.torch_active[k - 1], *threshold, grad_input=slope)
            gradient = below
        np.matmul(x.T, gradient.mT, out=into[0])

    def _fold(self) -> None:
        """Put each LayerNorm's scale and shift into the layer behind it."""
        for layer, folded in zip(self.layers, self._affine, strict=True):
            if layer.scale is not None and layer.shift is not None:
                weight = layer.affine[:, :-1]
                np.multiply(weight, layer.scale, out=folded[:, :-1])
                folded[:, -1:] = layer.affine[:, -1:] + np.matmul(layer.shift.mT, weight)

    def _unfold(self) -> None:
        """Turn the folded layers' gradients into those of weight, bias, scale and shift."""
        for layer, gradient, folded in zip(self.layers, self.gradients, self._into, strict=True):
            if layer.scale is None or layer.shift is None:
                continue
            weight, bias = layer.affine[:, :-1], folded[:, -1:]
            gradient.affine[:, :-1] = layer.scale * folded[:, :-1] + layer.shift * bias
            gradient.affine[:, -1:] = bias
            assert gradient.scale is not None and gradient.shift is not None
            gradient.scale[...] = (weight * folded[:, :-1]).sum(-1, keepdims=True)
            gradient.shift[...] = np.matmul(weight, bias.mT)

    def _rooms_for(self, samples: int) -> list[_Room]:
        """Return the buffers for a batch, made at the first of its size."""
        rooms = self._rooms.get(samples)
        if rooms is None:
            starts = range(0, max(samples, 1), CHUNK)
            parts = [slice(start, min(start + CHUNK, samples)) for start in starts]
            rooms = [_Room(self, part) for part in parts]
            self._rooms[samples] = rooms
        return rooms


class _Room:
    """Buffers of one chunk of samples."""

    def __init__(self, owner: Backprop, part: slice) -> None:
        self.part = part
        rows, samples, dtype = len(owner.nets), part.stop - part.start, owner._affine[0].dtype
        inner = owner.sizes[1:-1]
        self.sums = [np.empty((rows, n, samples), dtype) for n in owner.sizes[1:]]
        """Of each layer; on the way back, the gradients by them."""
        self.hidden = [np.ones((rows, n + 1, samples), dtype) for n in inner]
        """What each layer but the first takes: activations, normalised if so, above ones."""
        self.active = [
            np.empty((rows, n, samples), dtype) if owner.is_normed else hidden[:, :-1]
            for n, hidden in zip(inner, self.hidden, strict=True)
        ]
        self.inverse_std = [np.empty((rows, 1, samples), dtype) for _ in inner]
        self.torch_sums = [torch.from_numpy(a) for a in self.sums]
        self.torch_active = [torch.from_numpy(a) for a in self.active]


def _normalise(x: Array, axis: int) -> Array:
    """Give ``x`` mean 0 and variance 1 along ``axis``, in place; return 1 / std."""
    x -= x.mean(axis, keepdims=True)
    variance = np.multiply(x, x).mean(axis, keepdims=True)
    inverse = 1.0 / np.sqrt(variance + x.dtype.type(1e-5))  # torch's epsilon
    x *= inverse
    return inverse


def _denormalise(gradient: Array, normal: Array, inverse_std: Array) -> None:
    """Turn the gradient by normalised activations (R, n, B) into that by the plain ones."""
    along = np.multiply(gradient, normal).mean(1, keepdims=True)
    gradient -= gradient.mean(1, keepdims=True)
    gradient -= normal * along
    gradient *= inverse_std


def _adopt(parameter: Tensor, view: Tensor) -> None:
    """Move a parameter's values into ``view``, and make it that view."""
    view.copy_(parameter.detach())
    parameter.data = view
