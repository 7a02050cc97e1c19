"""The torch modules of encoders and memories, and the network made of them.

Initial weights come from the given generator, never from torch's global one. All modules take
observations flattened to (B, numbers) in their own dtype.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.components import Component, changed, choices
from pkubench.agents.nn.encoders.base import Encoder
from pkubench.agents.nn.memory.base import Memory
from pkubench.agents.nn.networks import initialise
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    from pkubench.agents.nn.encoders.cnn import CNNEncoder
    from pkubench.agents.nn.encoders.mlp import MLPEncoder
    from pkubench.agents.nn.encoders.point_set import PointSetEncoder
    from pkubench.agents.nn.encoders.scene_cloud import SceneCloudEncoder
    from pkubench.agents.nn.encoders.sequence import SequenceEncoder


class EncoderModule(nn.Module):
    """From observations (B, numbers) to features (B, ``features``)."""

    features: int


class _Dense(nn.Module):
    """``(Linear -> activation -> [LayerNorm]) * k`` over the last axis."""

    def __init__(
        self,
        sizes: tuple[int, ...],
        settings: Encoder,
        generator: torch.Generator,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.activate = functional.relu if settings.activation == "relu" else torch.tanh
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.norms = nn.ModuleList(nn.LayerNorm(n) for n in sizes[1:]) if layer_norm else None
        for linear in self.linears:
            assert isinstance(linear, nn.Linear)
            initialise(linear, settings.init, _gain(settings), generator)

    def forward(self, x: Tensor) -> Tensor:
        for k, linear in enumerate(self.linears):
            x = self.activate(linear(x))
            if self.norms is not None:
                x = self.norms[k](x)
        return x


class DenseModule(EncoderModule):
    """An MLP without its head."""

    def __init__(
        self, settings: MLPEncoder, shape: tuple[int, ...], generator: torch.Generator
    ) -> None:
        """Build for vectors of ``shape``."""
        super().__init__()
        sizes = (math.prod(shape), *settings.hidden)
        self.features = sizes[-1]
        self.norm = nn.LayerNorm(sizes[0]) if settings.layer_norm else nn.Identity()
        self.dense = _Dense(sizes, settings, generator, settings.layer_norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, numbers) to (B, features)."""
        return self.dense(self.norm(x))  # type: ignore[no-any-return]


class ConvModule(EncoderModule):
    """Convolutions and dense layers."""

    def __init__(
        self,
        settings: CNNEncoder,
        shape: tuple[int, ...],
        is_bytes: bool,
        generator: torch.Generator,
    ) -> None:
        """Build for images of ``shape`` (H, W, C)."""
        super().__init__()
        self.shape, self.scale = shape, 1.0 / 255.0 if is_bytes else 1.0
        self.activate = functional.relu if settings.activation == "relu" else torch.tanh
        height, width, channels = shape
        pad = settings.kernel // 2
        layers = []
        for filters in settings.channels:
            layers.append(nn.Conv2d(channels, filters, settings.kernel, settings.stride, pad))
            channels = filters
            height, width = (
                (side + 2 * pad - settings.kernel) // settings.stride + 1
                for side in (height, width)
            )
        self.convolutions = nn.ModuleList(layers)
        for layer in layers:
            _initialise_any(layer, settings, generator)
        sizes = (height * width * channels, *settings.hidden)
        self.features = sizes[-1]
        self.dense = _Dense(sizes, settings, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H * W * C) to (B, features)."""
        dtype = next(self.parameters()).dtype
        image = (x.to(dtype) * self.scale).reshape(-1, *self.shape).permute(0, 3, 1, 2)
        for layer in self.convolutions:
            image = self.activate(layer(image))
        return self.dense(image.flatten(1))  # type: ignore[no-any-return]


class PointSetModule(EncoderModule):
    """A shared MLP, the maximum over the points that exist, and dense layers."""

    def __init__(
        self, settings: PointSetEncoder, shape: tuple[int, ...], generator: torch.Generator
    ) -> None:
        """Build for points of ``shape`` (P, D)."""
        super().__init__()
        self.shape, self.padded = shape, settings.padded
        inner = (shape[1] - settings.padded, *settings.point_hidden)
        sizes = (inner[-1], *settings.hidden)
        self.features = sizes[-1]
        self.points = _Dense(inner, settings, generator)
        self.dense = _Dense(sizes, settings, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, P * D) to (B, features); a set without a point is one of zeros."""
        points = x.reshape(-1, *self.shape)
        if not self.padded:
            return self.dense(self.points(points).amax(1))  # type: ignore[no-any-return]
        exists = points[..., -1:] > 0.5
        features = self.points(points[..., :-1]).masked_fill(~exists, -torch.inf).amax(1)
        return self.dense(features.masked_fill(~exists.any(1), 0.0))  # type: ignore[no-any-return]


class SceneCloudModule(EncoderModule):
    """PointNet of a cloud, and an MLP of its features and the numbers before the cloud."""

    def __init__(
        self, settings: SceneCloudEncoder, shape: tuple[int, ...], generator: torch.Generator
    ) -> None:
        """Build for rows of ``shape`` (numbers + points * channels,)."""
        super().__init__()
        self.cloud = (settings.points, settings.channels)
        self.numbers = shape[0] - settings.points * settings.channels
        inner = (settings.channels + 6, *settings.point_hidden)
        after = (inner[-1], *settings.cloud_hidden)
        sizes = (self.numbers + after[-1], *settings.hidden)
        self.features = sizes[-1]
        self.points = _Dense(inner, settings, generator)
        self.pooled = _Dense(after, settings, generator)
        self.dense = _Dense(sizes, settings, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, numbers + points * channels) to (B, features)."""
        points = x[:, self.numbers :].reshape(-1, *self.cloud)
        places = points[..., :3]
        low, high = places.amin(1, keepdim=True), places.amax(1, keepdim=True)
        around = torch.cat((places.mean(1, keepdim=True), 0.5 * (low + high)), -1)
        rows = torch.cat((around.expand(-1, self.cloud[0], -1), points), -1)
        found = self.points(rows)
        half = found.shape[-1] // 2
        pooled = torch.cat((found[..., :half].amax(1), found[..., half:].mean(1)), -1)
        features = torch.cat((x[:, : self.numbers], self.pooled(pooled)), -1)
        return self.dense(features)  # type: ignore[no-any-return]


class SequenceModule(EncoderModule):
    """Causal self-attention with learned positions."""

    def __init__(
        self, settings: SequenceEncoder, shape: tuple[int, ...], generator: torch.Generator
    ) -> None:
        """Build for sequences of ``shape`` (L, d)."""
        super().__init__()
        self.shape, self.features = shape, settings.width
        self.embed = nn.Linear(shape[1], settings.width)
        self.positions = nn.Parameter(torch.empty(shape[0], settings.width))
        nn.init.normal_(self.positions, std=0.02, generator=generator)
        initialise(self.embed, settings.init, 1.0, generator)
        self.blocks = nn.ModuleList(_Block(settings, generator) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(settings.width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L * d) to (B, features): the last position's."""
        h = self.embed(x.reshape(-1, *self.shape)) + self.positions
        for block in self.blocks:
            h = block(h)
        return self.norm(h[:, -1])  # type: ignore[no-any-return]


class _Block(nn.Module):
    """``x + attention(norm(x))``, then ``x + feed_forward(norm(x))``."""

    def __init__(self, settings: SequenceEncoder, generator: torch.Generator) -> None:
        super().__init__()
        width = settings.width
        self.heads = settings.heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attend = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(settings.dropout)
        for linear in (self.attend, self.mix, self.widen, self.narrow):
            initialise(linear, settings.init, 1.0, generator)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.attend(self.norms[0](x)).reshape(batch, length, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.dropout(self.mix(found.transpose(1, 2).reshape(batch, length, width)))
        inner = functional.gelu(self.widen(self.norms[1](x)))
        return x + self.dropout(self.narrow(inner))  # type: ignore[no-any-return]


class States(Protocol):
    """Hidden states (T, N, units) after each of T steps: a tensor, or what computes its rows."""

    def __getitem__(self, index: Any) -> Tensor:
        """Return (N, units) of a step, or (K, units) of a mask (T, N)."""
        ...


class MemoryModule(nn.Module):
    """What an actor or critic remembers of an episode; at first its hidden state is zero."""

    units: int
    """Size of the hidden state."""
    features: int
    """Size of the output."""


class Recurrent(MemoryModule):
    """A GRU; its hidden state is its output, normalised where asked."""

    def __init__(
        self, features: int, units: int, generator: torch.Generator, output_norm: bool = False
    ) -> None:
        """Build, with orthogonal weights as in HARL."""
        super().__init__()
        self.units = self.features = units
        self.norm = nn.LayerNorm(units) if output_norm else nn.Identity()
        self.cell = nn.GRUCell(features, units)
        for name, parameter in self.cell.named_parameters():
            if name.startswith("weight"):
                nn.init.orthogonal_(parameter, generator=generator)
            else:
                nn.init.zeros_(parameter)

    def forward(self, features: Tensor, first: Tensor, hidden: Tensor) -> tuple[Tensor, States]:
        """Return outputs (T, N, features) and the hidden states (T, N, units) after each step.

        Args:
            features: (T, N, features).
            first: (T, N) bool, whether a step is the first one of its episode.
            hidden: (N, units), before the first step.
        """
        states = []
        for x, begins in zip(features, first, strict=True):
            hidden = self.cell(x, hidden.masked_fill(begins[:, None], 0.0))
            states.append(hidden)
        stacked = torch.stack(states)
        return self.norm(stacked), stacked


class EncodedSpec(NamedTuple):
    """What is needed to rebuild an ``EncodedNet`` from its tensors."""

    encoder: Encoder
    memory: Memory
    shape: tuple[int, ...]
    """Of one observation."""
    is_bytes: bool
    outputs: int
    head_gain: float

    @property
    def inputs(self) -> int:
        """Size of one observation."""
        return math.prod(self.shape)

    def as_config(self) -> dict[str, Any]:
        """Return plain data for ``config.json``."""
        return {
            "encoder": _plain(self.encoder),
            "memory": _plain(self.memory),
            "shape": list(self.shape),
            "is_bytes": self.is_bytes,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "head_gain": self.head_gain,
        }

    @staticmethod
    def from_config(config: dict[str, Any]) -> EncodedSpec:
        """Read what ``as_config`` returned."""
        shape = tuple(int(size) for size in config["shape"])
        encoder = _component(Encoder, config["encoder"])
        memory = _component(Memory, config["memory"])
        assert isinstance(encoder, Encoder) and isinstance(memory, Memory)
        return EncodedSpec(
            encoder,
            memory,
            shape,
            bool(config["is_bytes"]),
            int(config["outputs"]),
            float(config["head_gain"]),
        )


class EncodedNet(nn.Module):
    """``encoder -> [memory] -> Linear``."""

    def __init__(self, spec: EncodedSpec, generator: torch.Generator) -> None:
        """Build and initialise from ``generator`` alone."""
        super().__init__()
        self.spec = spec
        self.encoder = spec.encoder.build(spec.shape, spec.is_bytes, generator)
        self.memory = spec.memory.build(self.encoder.features, generator)
        if spec.memory.is_recurrent is (self.memory is None):
            raise ConfigError(f"memory={spec.memory.name}: is_recurrent contradicts build")
        width = self.encoder.features if self.memory is None else self.memory.features
        self.head = nn.Linear(width, spec.outputs)
        initialise(self.head, spec.encoder.init, spec.head_gain, generator)

    @property
    def units(self) -> int:
        """Size of the hidden state, 0 without memory."""
        return 0 if self.memory is None else self.memory.units

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, numbers) to (B, outputs), without memory."""
        assert self.memory is None
        return self.head(self.encoder(x))  # type: ignore[no-any-return]

    def sequence(self, x: Tensor, first: Tensor, hidden: Tensor) -> tuple[Tensor, States]:
        """Return outputs (T, N, outputs) and hidden states (T, N, units) of sequences.

        Args:
            x: (T, N, numbers).
            first: (T, N) bool, whether a step is the first one of its episode.
            hidden: (N, units), before the first step.
        """
        assert self.memory is not None
        features = self.encoder(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        remembered, states = self.memory(features, first, hidden)
        return self.head(remembered), states


def _plain(component: Component) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(component)]  # type: ignore[arg-type]
    return {"name": component.name, **{name: getattr(component, name) for name in names}}


def _component(slot: type[Component], plain: dict[str, Any]) -> Component:
    settings = dict(plain)
    cls: Any = choices(slot)[settings.pop("name")]
    found: Component = changed(cls(), settings)
    return found


def _gain(settings: Encoder) -> float:
    return math.sqrt(2.0) if settings.activation == "relu" else 5.0 / 3.0


def _initialise_any(layer: nn.Conv2d, settings: Encoder, generator: torch.Generator) -> None:
    if settings.init == "orthogonal":
        nn.init.orthogonal_(layer.weight, gain=_gain(settings), generator=generator)
    else:
        nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5.0), generator=generator)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
