"""Hand-written gradients of multi-layer perceptrons, in NumPy, for small minibatches.

At minibatches of 64 autograd and torch's operators spend most of their time outside arithmetic.
NumPy products on preallocated buffers reach the processor's speed at that size, so a step is
little more than its matrix products.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pkubench.agents.nn.networks import MLP

Array = npt.NDArray[Any]

MAX_BATCH = 1024
"""Size of the largest minibatch with hand-written gradients."""
CHUNK = 256
"""Batch size of a forward pass without gradients."""
_SIZES_KEPT = 16

_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_relu_backward = torch.ops.aten.threshold_backward.grad_input


class Layer(NamedTuple):
    """One layer's parameters, or their gradients, as views of the flat rows."""

    affine: Tensor
    """(R, inputs + 1, outputs): the transposed weight, then the bias."""
    scale: Tensor | None
    """(R, inputs, 1) of the LayerNorm before the layer, if there is one."""
    shift: Tensor | None
    """(R, inputs, 1)."""


class Backprop:
    """R networks of one shape, with hand-written gradients.

    Their parameters become views of one flat array. The modules keep working otherwise:
    ``state_dict``, ``load_state_dict`` and autograd use the same memory. (Weights are then
    transposed views: ``reshape(-1)`` flattens them, ``view(-1)`` does not.) Moving a module to
    another device or type afterwards breaks the sharing.

    Activations are stored feature by feature, (features, samples), with a row of ones below, and a
    layer's bias follows its weight in memory: one product computes pre-activations with biases, and
    one the gradients of both. A LayerNorm's scale and shift are folded into the next layer, so only
    the normalisation itself passes over the samples; that of the input is done once, in
    ``prepare``.
    """

    def __init__(self, nets: Sequence[MLP], extras: Sequence[nn.Parameter] = ()) -> None:
        """Take over the parameters of ``nets``, and one further vector per net in ``extras``."""
        self.nets, self.spec = list(nets), nets[0].spec
        self.sizes = (self.spec.inputs, *self.spec.hidden, self.spec.outputs)
        self.is_normed = self.spec.layer_norm
        head = nets[0].head.weight
        pairs = itertools.pairwise(self.sizes)
        count = sum((a + 1) * b + 2 * a * self.is_normed for a, b in pairs)
        self._inner = count
        count += extras[0].numel() if extras else 0
        self.flat = torch.zeros(len(nets), count, dtype=head.dtype, device=head.device)
        """(R, P), all parameters."""
        self.gradient = torch.zeros_like(self.flat)
        """(R, P), written by ``backward`` and ``set_extra_gradient``."""
        self.layers, self.gradients = self._layers_of(self.flat), self._layers_of(self.gradient)
        self._extras = self.flat[:, self._inner :]
        self._extra_gradients = self.gradient[:, self._inner :]
        self._inputs: Array = np.empty((0, 0))
        for row, net in enumerate(nets):
            for parameter, view in _pairs(net, self.layers, row):
                _adopt(parameter, view)
        for row, extra in enumerate(extras):
            _adopt(extra, self.flat[row, self._inner :])
        # With LayerNorm these are the folded layers and their gradients; else the plain ones.
        self._affine = [layer.affine.numpy() for layer in self.layers]
        self._into = [layer.affine.numpy() for layer in self.gradients]
        if self.is_normed:
            self._affine = [np.empty_like(a) for a in self._affine]
            self._into = [np.empty_like(a) for a in self._into]
        self._buffers: dict[int, _Buffers] = {}
        self._is_tanh = self.spec.activation == "tanh"

    def _layers_of(self, flat: Tensor) -> list[Layer]:
        layers, at = [], 0

        def cut(a: int, b: int) -> Tensor:
            nonlocal at
            start, at = at, at + a * b
            return flat[:, start:at].view(-1, a, b)

        for a, b in itertools.pairwise(self.sizes):
            affine = cut(a + 1, b)
            normed = (cut(a, 1), cut(a, 1)) if self.is_normed else (None, None)
            layers.append(Layer(affine, *normed))
        return layers

    def extras(self) -> Array:
        """Return the extra parameters, (R, E); on the CPU a view."""
        return self._extras.cpu().numpy()

    def set_extra_gradient(self, gradient: Array) -> None:
        """Write the gradient (R, E) of the extra parameters, which ``backward`` does not touch."""
        self._extra_gradients.copy_(torch.from_numpy(gradient))

    def prepare(self, inputs: Array) -> Array:
        """Return (B, inputs + 1), a copy with a column of ones; normalised with LayerNorm.

        It does not depend on parameters, so it serves all passes over the samples.
        """
        wide = np.ones((len(inputs), self.sizes[0] + 1), self._affine[0].dtype)
        wide[:, :-1] = inputs
        if self.is_normed:
            _normalise(wide[:, :-1], 1)
        return wide

    def forward(self, inputs: Array) -> Array:
        """Return outputs (R, outputs, B) of prepared inputs (B, ...), ready for ``backward``.

        The array is overwritten by the next call with as many samples.
        """
        self._inputs = inputs
        self._fold()
        return self._through(inputs)

    def outputs(self, inputs: Array) -> Array:
        """Return outputs (R, outputs, N) of many prepared inputs, in a new array."""
        self._fold()
        parts = [inputs[k : k + CHUNK] for k in range(0, len(inputs), CHUNK)]
        return np.concatenate([self._through(x).copy() for x in parts], axis=-1)

    def _through(self, x: Array) -> Array:
        buffers = self._buffers_for(len(x))
        below: Array = x.T
        for k, sums in enumerate(buffers.sums):
            np.matmul(self._affine[k].mT, below, out=sums)
            if k == len(buffers.hidden):
                break
            if self._is_tanh:
                np.tanh(sums, out=buffers.active[k])
            else:
                np.maximum(sums, 0, out=buffers.active[k])
            if self.is_normed:
                buffers.normal[k][...] = buffers.active[k]
                buffers.inverse_std[k] = _normalise(buffers.normal[k], 1)
            below = buffers.hidden[k]
        return buffers.sums[-1]

    def backward(self, gradient: Array) -> None:
        """Write the parameters' gradients of the last ``forward``, except those of the extras.

        Args:
            gradient: (R, outputs, B), of the loss w.r.t. the outputs.
        """
        buffers = self._buffers_for(len(self._inputs))
        for k in range(len(buffers.hidden), 0, -1):
            np.matmul(buffers.hidden[k - 1], gradient.mT, out=self._into[k])
            weight, below = self._affine[k][:, :-1], buffers.sums[k - 1]
            if weight.shape[2] == 1:  # an outer product, which is faster by broadcasting
                np.multiply(weight, gradient, out=below)
            else:
                np.matmul(weight, gradient, out=below)
            if self.is_normed:
                _through_normalising(below, buffers.normal[k - 1], buffers.inverse_std[k - 1])
            slope, active = buffers.torch_sums[k - 1], buffers.torch_active[k - 1]
            if self._is_tanh:
                _tanh_backward(slope, active, grad_input=slope)
            else:
                _relu_backward(slope, active, 0.0, grad_input=slope)
            gradient = below
        np.matmul(self._inputs.T, gradient.mT, out=self._into[0])
        self._unfold()

    def _fold(self) -> None:
        """Fold each LayerNorm's scale and shift into the next layer."""
        for layer, folded in zip(self.layers, self._affine, strict=True):
            if layer.scale is None or layer.shift is None:
                return
            weight = layer.affine[:, :-1]
            into = torch.from_numpy(folded)
            torch.mul(weight, layer.scale, out=into[:, :-1])
            into[:, -1:] = layer.affine[:, -1:] + layer.shift.mT @ weight

    def _unfold(self) -> None:
        """Turn the folded layers' gradients into those of weight, bias, scale and shift."""
        for layer, gradient, folded in zip(self.layers, self.gradients, self._into, strict=True):
            if layer.scale is None or layer.shift is None:
                return
            assert gradient.scale is not None and gradient.shift is not None
            weight, total = layer.affine[:, :-1], torch.from_numpy(folded)
            by_weight, by_bias = total[:, :-1], total[:, -1:]
            gradient.affine[:, :-1] = layer.scale * by_weight + layer.shift * by_bias
            gradient.affine[:, -1:] = by_bias
            gradient.scale.copy_((weight * by_weight).sum(-1, keepdim=True))
            gradient.shift.copy_(weight @ by_bias.mT)

    def _buffers_for(self, samples: int) -> _Buffers:
        """Return the buffers of a batch size, allocated at its first use.

        Those of a few sizes are kept: batches of whole episodes differ in their size every time.
        """
        buffers = self._buffers.get(samples)
        if buffers is None:
            if len(self._buffers) == _SIZES_KEPT:
                del self._buffers[next(iter(self._buffers))]
            buffers = self._buffers[samples] = _Buffers(self, samples)
        return buffers


class _Buffers:
    """Buffers of a minibatch."""

    def __init__(self, owner: Backprop, samples: int) -> None:
        rows, dtype, inner = len(owner.nets), _numpy_type(owner.flat), owner.sizes[1:-1]
        self.sums = [np.empty((rows, n, samples), dtype) for n in owner.sizes[1:]]
        """Of each layer; in the backward pass, the gradients w.r.t. them."""
        self.hidden = [np.ones((rows, n + 1, samples), dtype) for n in inner]
        """Input of each layer but the first: (normalised) activations above a row of ones."""
        self.normal = [hidden[:, :-1] for hidden in self.hidden]
        self.active = [np.empty_like(n) for n in self.normal] if owner.is_normed else self.normal
        self.inverse_std = [np.empty((rows, 1, samples), dtype) for _ in inner]
        self.torch_sums = [torch.from_numpy(a) for a in self.sums]
        self.torch_active = [torch.from_numpy(a) for a in self.active]


def _normalise(x: Array, axis: int) -> Array:
    """Normalise ``x`` to mean 0 and variance 1 along ``axis``, in place; return 1 / std."""
    x -= x.mean(axis, keepdims=True)
    variance = np.multiply(x, x).mean(axis, keepdims=True)
    inverse: Array = 1.0 / np.sqrt(variance + x.dtype.type(1e-5))  # torch's epsilon
    x *= inverse
    return inverse


def _through_normalising(gradient: Array, normal: Array, inverse_std: Array) -> None:
    """Convert the gradient w.r.t. normalised activations (R, n, B) to that w.r.t. plain ones."""
    along = np.multiply(gradient, normal).mean(1, keepdims=True)
    gradient -= gradient.mean(1, keepdims=True)
    gradient -= normal * along
    gradient *= inverse_std


def _pairs(net: MLP, layers: list[Layer], row: int) -> list[tuple[Tensor, Tensor]]:
    """Return a network's parameters, each with its view in ``layers``."""
    pairs: list[tuple[Tensor, Tensor]] = []
    for k, linear in enumerate([*net.linears, net.head]):
        affine, scale, shift = layers[k]
        assert isinstance(linear, nn.Linear)
        pairs += [(linear.weight, affine[row, :-1].mT), (linear.bias, affine[row, -1])]
        if net.norms is not None and scale is not None and shift is not None:
            norm = net.norms[k]
            assert isinstance(norm, nn.LayerNorm)
            pairs += [(norm.weight, scale[row, :, 0]), (norm.bias, shift[row, :, 0])]
    return pairs


def _adopt(parameter: Tensor, view: Tensor) -> None:
    """Copy a parameter's values into ``view``, and make it that view."""
    view.copy_(parameter.detach())
    parameter.data = view


def _numpy_type(tensor: Tensor) -> Any:
    return np.float64 if tensor.dtype == torch.float64 else np.float32
