"""Acting with saved networks in NumPy: no torch, about 10 microseconds for one observation.

The layers are the plain arrays of a ``NetworkSpec``; a test compares them with the torch network.

Networks are saved in single precision and act in double precision, and their outputs are rounded to
single precision. A product of float32 matrices differs between processors in its last bits, and
a chaotic environment amplifies this to another score; in float64 the kernels differ 2**29 times
less than one float32 step, so that the rounded action is the same on all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.agents.contract import BoolArray, FloatArray, IntArray, MaskedObservation
from pkubench.envs.core.seeding import RandomStreams
from pkubench.errors import AgentError, WeightsError

Array = npt.NDArray[Any]
_LAYER_NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class Layers:
    """A multi-layer perceptron as float64 arrays (see ``NetworkSpec`` for its shape)."""

    linears: tuple[tuple[Array, Array], ...]
    """(weight (inputs, outputs), bias) of each hidden layer, then of the head."""
    norms: tuple[tuple[Array, Array], ...]
    """(scale, shift) of the LayerNorm on the input and after each activation; empty: none."""
    activation: str
    last_activation: str | None = None
    """After the last hidden layer, where it differs."""

    def __post_init__(self) -> None:
        """Convert the arrays to float64 once, not at every call."""
        for name in ("linears", "norms"):
            pairs = getattr(self, name)
            wide = tuple((np.float64(a), np.float64(b)) for a, b in pairs)
            object.__setattr__(self, name, wide)

    @staticmethod
    def read(tensors: Mapping[str, Array], prefix: str, spec: Mapping[str, Any]) -> Layers:
        """Read the arrays of the network ``prefix`` from saved tensors.

        Raises:
            WeightsError: ``spec`` does not describe a network, or a tensor does not fit it.
        """
        sizes = [spec["inputs"], *spec["hidden"], spec["outputs"]]
        if not all(type(size) is int and size > 0 for size in sizes):
            raise WeightsError(f"network {prefix!r} has layers of {sizes[:8]} units")
        last_activation = spec.get("last_activation", spec["activation"])
        for activation in (spec["activation"], last_activation):
            if activation not in ("relu", "tanh"):
                raise WeightsError(f"network {prefix!r} has an unknown activation {activation!r}")

        def take(name: str, shape: tuple[int, ...]) -> Array:
            return saved_floats(tensors, f"{prefix}.{name}", shape)

        def linear(name: str, k: int) -> tuple[Array, Array]:
            weight = take(f"{name}.weight", (sizes[k + 1], sizes[k]))
            return np.ascontiguousarray(weight.T), take(f"{name}.bias", (sizes[k + 1],))

        last = len(sizes) - 2
        linears = [linear(f"linears.{k}", k) for k in range(last)] + [linear("head", last)]
        norms = [
            (take(f"norms.{k}.weight", (size,)), take(f"norms.{k}.bias", (size,)))
            for k, size in enumerate(sizes[:-1])
            if spec["layer_norm"]
        ]
        return Layers(tuple(linears), tuple(norms), str(spec["activation"]), last_activation)

    @property
    def inputs(self) -> int:
        """Size of one observation."""
        return int(self.linears[0][0].shape[0])

    def activation_after(self, k: int) -> str:
        """Return the activation of the ``k``-th hidden layer."""
        is_last = k == len(self.linears) - 2
        return self.last_activation if is_last and self.last_activation else self.activation

    def __call__(self, x: Array) -> Array:
        """Map (B, inputs) float64 to (B, outputs) float64."""
        if self.norms:
            x = _layer_norm(x, *self.norms[0])
        last = len(self.linears) - 1
        for k, (weight, bias) in enumerate(self.linears):
            x = x @ weight
            x += bias
            if k == last:
                return x
            if self.activation_after(k) == "relu":
                np.maximum(x, 0.0, out=x)
            else:
                np.tanh(x, out=x)
            if self.norms:
                x = _layer_norm(x, *self.norms[k + 1])
        raise WeightsError("a network needs a head")


def saved_floats(tensors: Mapping[str, Array], key: str, shape: tuple[int, ...]) -> Array:
    """Return a saved tensor in single precision.

    Raises:
        WeightsError: it is missing, of another shape, not floating-point, or not finite.
    """
    if key not in tensors:
        raise WeightsError(f"the weights lack the tensor {key!r}")
    tensor = tensors[key]
    if tensor.shape != shape:
        raise WeightsError(f"tensor {key!r} has shape {tensor.shape}, wanted {shape}")
    if tensor.dtype.kind != "f":
        raise WeightsError(f"tensor {key!r} has dtype {tensor.dtype}, wanted floating point")
    with np.errstate(over="ignore"):  # a double too large for single precision becomes infinite
        values = tensor.astype(np.float32)
    if not np.isfinite(values).all():
        raise WeightsError(f"tensor {key!r} holds NaN or infinity (in single precision)")
    return values


def _layer_norm(x: Array, scale: Array, shift: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    variance = np.einsum("bi,bi->b", centred, centred)[:, None] / x.shape[-1]
    centred /= np.sqrt(variance + _LAYER_NORM_EPSILON)
    centred *= scale
    centred += shift
    normed: Array = centred
    return normed


class NetworkSettings(NamedTuple):
    """How a network's output is mapped to an action."""

    space: spaces.Space[Any]
    std: Array | None
    """(d,) of a Gaussian; None for a categorical head, or several."""
    action_map: str
    """``clip``: the output itself; ``affine``: [-1, 1] stretched to the bounds; ``high``: times
    the upper bound of the first number; all clipped."""
    observation_mean: Array | None
    observation_std: Array | None


class Network(Protocol):
    """From observations to outputs, in double precision: NumPy's ``Layers``, or torch's."""

    @property
    def inputs(self) -> int:
        """Size of one observation."""
        ...

    def __call__(self, x: Array) -> Array:
        """Map (B, inputs) float64 to (B, outputs) float64."""
        ...


class NetworkPolicy:
    """An Agent on a saved network. Deterministic (the mode) unless ``stochastic``."""

    def __init__(
        self, layers: Network, settings: NetworkSettings, *, stochastic: bool = False
    ) -> None:
        """Make the policy; its only state between steps is its random stream."""
        self.layers = layers
        self.settings = settings
        self.stochastic = stochastic

    def begin(self, seeds: IntArray) -> RandomStreams | None:
        """Start episodes; a stochastic policy gets one random stream per episode."""
        if not self.stochastic:
            return None
        return RandomStreams.started(seeds)

    def act(
        self, observation: Any, state: RandomStreams | None, active: BoolArray
    ) -> tuple[Array, RandomStreams | None]:
        """Return actions (B,) int64 or (B, d) of the space's dtype."""
        mask = None
        if isinstance(observation, MaskedObservation):
            observation, mask = observation
        return self.choose(self._outputs(observation), mask, state)

    def choose(
        self, out: FloatArray, mask: Array | None, state: RandomStreams | None
    ) -> tuple[Array, RandomStreams | None]:
        """Return the actions of outputs (B, outputs), and the new state."""
        space = self.settings.space
        if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
            if state is not None:
                draws = state.uniform(np.arange(len(out)), out.shape[1])
                out = out - np.log(-np.log(np.maximum(draws, 1e-300)))
            out = out.astype(np.float32)
            if mask is not None:
                out = np.where(mask, out, -np.inf)
            if isinstance(space, spaces.Discrete):
                return out.argmax(-1) + int(space.start), state
            parts = np.split(out, np.cumsum(space.nvec)[:-1], axis=-1)
            return np.stack([part.argmax(-1) for part in parts], -1), state
        if state is not None:
            noise = state.normal(np.arange(len(out)), out.shape[1])
            out = out + np.asarray(self.settings.std) * noise
        return map_action(out.astype(np.float32), space, self.settings.action_map), state

    def action_probabilities(self, observation: Array, action_mask: Array) -> FloatArray:
        """Return the softmax over legal actions, or the mode's indicator when deterministic."""
        if not isinstance(self.settings.space, spaces.Discrete):
            raise AgentError("action probabilities exist for discrete actions only")
        outputs = self._outputs(observation).astype(np.float32)
        logits = np.where(action_mask, outputs.astype(np.float64), -np.inf)
        if not self.stochastic:
            indicator: FloatArray = np.eye(logits.shape[1])[logits.argmax(-1)]
            return indicator
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        probabilities: FloatArray = weights / weights.sum(-1, keepdims=True)
        return probabilities

    def _outputs(self, observation: Array) -> FloatArray:
        """Return the network's outputs (B, outputs), before rounding."""
        outputs: FloatArray = self.layers(self.inputs_of(observation))
        return outputs

    def inputs_of(self, observation: Array) -> FloatArray:
        """Return the network's inputs (B, inputs) float64: flattened and normalised."""
        x = np.asarray(observation, dtype=np.float64)
        inputs = self.layers.inputs
        if x.ndim > 2 and x[0].size == inputs:
            x = x.reshape(len(x), -1)
        if x.ndim != 2 or x.shape[1] != inputs:
            raise AgentError(f"the policy takes observations (n, {inputs}), got {x.shape}")
        mean, std = self.settings.observation_mean, self.settings.observation_std
        if mean is not None and std is not None:
            x = (x - mean) / std
            x = np.clip(x, -5.0, 5.0)
        return x


def map_action(raw: Array, space: spaces.Space[Any], how: str) -> Array:
    """Return environment actions (B, d) from network outputs, in the space's dtype.

    ``affine`` maps [-1, 1] to the bounds, as OmniSafe does; ``clip`` takes outputs unchanged;
    ``high`` multiplies by the first upper bound, as the official HASAC does. All then clip to the
    bounds.
    """
    assert isinstance(space, spaces.Box)
    if how == "affine":
        half = (space.high - space.low) / 2
        raw = space.low + half * (raw + 1.0)
    elif how == "high":
        raw = raw * space.high[0]
    clipped: Array = np.clip(raw, space.low, space.high).astype(space.dtype)
    return clipped
