"""Networks of the multitask agents: an encoder of grid views, a hypernetwork, actors and critics.

Samples are grouped by task: a layer of a task's own is one product for each task of a batch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.contract import IntArray
from pkubench.agents.nn.memory.base import Memory
from pkubench.agents.nn.memory.none import NoMemory
from pkubench.errors import ConfigError

SIDE, WIDTH, TEXT = 7, 64, 512
"""Cells of a view's side, features, numbers of a mission's embedding."""
LARGEST = (10.0, 5.0, 2.0)
"""Largest index of an object, a color and a state in MiniGrid."""


class Groups(NamedTuple):
    """Samples by task, each task's padded to the number of the largest."""

    padded: Tensor
    """(K, most) numbers of samples; 0 in padding."""
    places: Tensor
    """(B,) where each sample stands in ``padded``, flattened."""

    @staticmethod
    def of(tasks: IntArray, count: int, device: str | torch.device = "cpu") -> Groups:
        """Group samples of ``tasks`` (B,), numbers below ``count``."""
        counts = np.bincount(tasks, minlength=count)
        order = np.argsort(tasks, kind="stable")
        most = int(counts.max(initial=1))
        within = np.arange(len(tasks)) - np.repeat(np.cumsum(counts) - counts, counts)
        places = np.empty(len(tasks), np.int64)
        places[order] = tasks[order] * most + within
        padded = np.zeros(count * most, np.int64)
        padded[places] = np.arange(len(tasks))
        return Groups(
            torch.from_numpy(padded.reshape(count, most)).to(device),
            torch.from_numpy(places).to(device),
        )


class TaskLayer(NamedTuple):
    """One affine layer a task, ``x W_k + b_k``: weights (K, in, out) and biases (K, out)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor, groups: Groups) -> Tensor:
        """Map (B, in) to (B, out), one product a task."""
        if not len(x):
            return x.new_zeros(0, self.bias.shape[1])
        given = x.index_select(0, groups.padded.view(-1)).view(*groups.padded.shape, -1)
        found = torch.baddbmm(self.bias[:, None], given, self.weight)
        return found.flatten(0, 1).index_select(0, groups.places)


class Spec(NamedTuple):
    """What is needed to rebuild a policy from its tensors."""

    tasks: int
    actions: int
    task_layer: str
    memory: Memory
    normalise: bool
    channels: int
    """Of observations: 4 where the last one is the task's number."""

    @property
    def inputs(self) -> int:
        """Numbers of an observation."""
        return SIDE * SIDE * self.channels


def unit_rows(module: nn.Module, generator: torch.Generator) -> None:
    """Draw initial weights: linear layers with normal rows of length 1, and no bias.

    So does the released code, for the hypernetwork too. Convolutions are torch's own.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, generator=generator)
            part.weight.data /= part.weight.data.norm(dim=1, keepdim=True)
            nn.init.zeros_(part.bias)
        elif isinstance(part, TaskHeads):
            for weight in (part.hidden_weight, part.weight):
                nn.init.normal_(weight, generator=generator)
                weight.data /= weight.data.norm(dim=1, keepdim=True)
            nn.init.zeros_(part.hidden_bias)
            nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Conv2d):
            nn.init.kaiming_uniform_(part.weight, a=math.sqrt(5.0), generator=generator)
            bound = 1.0 / math.sqrt(part.weight[0].numel())
            assert part.bias is not None
            nn.init.uniform_(part.bias, -bound, bound, generator=generator)


class EncoderMatrices(NamedTuple):
    """The encoder's convolutions as matrices and biases, in the order of the layers."""

    weights: tuple[Tensor, Tensor, Tensor]
    """(12, 16), (144, 128) and (128, 64)."""
    biases: tuple[Tensor, Tensor, Tensor]


class GridEncoder(nn.Module):
    """Three convolutions of 2 x 2 cells, a max-pooling after the first: 64 features of a view.

    On 7 x 7 cells the convolutions are products of matrices: of 36 patches; of 3 x 3 pooled cells,
    all four outputs together; and of what is left. This is faster than a library's convolution, and
    patches of a view are made once for all passes over it.
    """

    scale: Tensor

    def __init__(self, normalise: bool) -> None:
        """Build; ``normalise`` divides channels by their largest numbers."""
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 2) for inputs, outputs in ((3, 16), (16, 32), (32, WIDTH))
        )
        scale = torch.tensor(LARGEST) if normalise else torch.ones(3)
        self.register_buffer("scale", scale.repeat(4), persistent=False)

    def patches(self, images: Tensor) -> Tensor:
        """Return (B, 4, 9, 12): patches of views (B, 7, 7, 3), the four pooled together apart.

        Views may have further channels, which are left out.
        """
        places = _patch_places(images.shape[-1]).to(images.device)
        cut = images.reshape(len(images), -1).index_select(1, places)
        return cut.view(-1, 4, 9, 12).to(self.scale.dtype) / self.scale

    def matrices(self) -> EncoderMatrices:
        """Return the layers as matrices, for as many calls of :meth:`encode` as they stay."""
        layers = [(layer.weight, layer.bias) for layer in self.layers]
        (w1, b1), (w2, b2), (w3, b3) = cast("list[tuple[Tensor, Tensor]]", layers)
        # each output of the second layer sees four of the nine pooled cells, and zeros of the rest
        padded = functional.pad(w2.flatten(), (0, 1))
        second = padded.index_select(0, _second_places().to(w2.device)).view(9 * 16, 4 * 32)
        return EncoderMatrices((_matrix(w1), second, _matrix(w3)), (b1, b2.repeat(4), b3))

    def encode(self, patches: Tensor, matrices: EncoderMatrices | None = None) -> Tensor:
        """Map patches to (B, 64); ``matrices`` are the layers', made here if they are not given."""
        (w1, w2, w3), (b1, b2, b3) = self.matrices() if matrices is None else matrices
        h = torch.addmm(b1, patches.view(-1, 12), w1)
        h = h.view(-1, 4, 9 * 16).amax(1).relu()
        h = torch.addmm(b2, h, w2).relu()
        return torch.addmm(b3, h, w3).relu()

    def forward(self, images: Tensor) -> Tensor:
        """Map views (B, 7, 7, 3 or more), of bytes or numbers, to (B, 64)."""
        return self.encode(self.patches(images))


def _matrix(weight: Tensor) -> Tensor:
    """Return a convolution's weights (out, in, 2, 2) as (2 * 2 * in, out)."""
    return weight.permute(2, 3, 1, 0).reshape(-1, len(weight))


@functools.cache
def _patch_places(channels: int) -> Tensor:
    """Return where the numbers of the patches (4, 9, 12) are in a flat view, (432,)."""
    x = torch.arange(SIDE * SIDE * channels).view(SIDE, SIDE, channels)[..., :3]
    corners = [x[dy : dy + 6, dx : dx + 6] for dy in (0, 1) for dx in (0, 1)]
    every = torch.cat(corners, -1).view(3, 2, 3, 2, 12)
    return every.permute(1, 3, 0, 2, 4).flatten()


@functools.cache
def _second_places() -> Tensor:
    """Return where the second layer's matrix (144, 128) has its numbers, flattened.

    Rows are pooled cells and channels, columns are outputs and channels; places are those in the
    flat weights (32, 16, 2, 2) with a zero behind them.
    """
    own = torch.arange(32 * 16 * 4).view(32, 16, 2, 2)
    found = torch.full((3, 3, 16, 2, 2, 32), own.numel())
    for y, x in np.ndindex(2, 2):
        found[y : y + 2, x : x + 2, :, y, x] = own.permute(2, 3, 1, 0)
    return found.flatten()


class Hypernetwork(nn.Module):
    """From a mission, a task's number and a role to a layer of 64 x 64 weights and 64 biases."""

    missions: Tensor
    numbers: Tensor

    def __init__(self, missions: Tensor) -> None:
        """Build for embeddings (K, 512) of the missions."""
        super().__init__()
        count = len(missions)
        self.register_buffer("missions", missions)
        # of each role, decision and retrieval, (2, K, K + 1): the task's number, and the role
        roles = [functional.pad(torch.eye(count), (0, 1), value=float(role)) for role in (0, 1)]
        self.register_buffer("numbers", torch.stack(roles), persistent=False)
        self.role = nn.Sequential(nn.Linear(count + 1, 32), nn.ReLU(), nn.Linear(32, WIDTH))
        self.text = nn.Linear(TEXT, WIDTH)
        self.weight = nn.Linear(2 * WIDTH, WIDTH * WIDTH)
        self.bias = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, roles: int) -> list[TaskLayer]:
        """Return the layers of every task for the first ``roles`` roles, in one call."""
        count = len(self.missions)
        text = self.text(self.missions)
        z = torch.cat([text.repeat(roles, 1), self.role(self.numbers[:roles].flatten(0, 1))], 1)
        weights = self.weight(z).view(roles, count, WIDTH, WIDTH)
        biases = self.bias(z).view(roles, count, WIDTH)
        return [TaskLayer(*pair) for pair in zip(weights, biases, strict=True)]


class TaskHeads(nn.Module):
    """``Linear -> Tanh -> Linear`` with weights of each task's own."""

    def __init__(self, tasks: int, outputs: int) -> None:
        """Build for 64 features."""
        super().__init__()
        self.hidden_weight = nn.Parameter(torch.empty(tasks, WIDTH, WIDTH))
        self.hidden_bias = nn.Parameter(torch.empty(tasks, WIDTH))
        self.weight = nn.Parameter(torch.empty(tasks, WIDTH, outputs))
        self.bias = nn.Parameter(torch.empty(tasks, outputs))

    def forward(self, x: Tensor, groups: Groups) -> Tensor:
        """Map (B, 64) to (B, outputs)."""
        hidden = TaskLayer(self.hidden_weight, self.hidden_bias)(x, groups).tanh()
        return TaskLayer(self.weight, self.bias)(hidden, groups)


class Head(nn.Module):
    """An actor or a critic, after the encoder and a task's layer."""

    def __init__(self, spec: Spec, features: int, outputs: int) -> None:
        """Build.

        Raises:
            ConfigError: a memory of another size than 64 before layers that need it.
        """
        super().__init__()
        self.kind, self.tasks = spec.task_layer, spec.tasks
        if self.kind != "one-hot" and features != WIDTH:
            raise ConfigError(f"task_layer={self.kind} needs a memory of {WIDTH} units")
        if self.kind == "heads":
            self.net: nn.Module = TaskHeads(spec.tasks, outputs)
            return
        inputs = features + (spec.tasks if self.kind == "one-hot" else 0)
        self.net = nn.Sequential(nn.Linear(inputs, WIDTH), nn.Tanh(), nn.Linear(WIDTH, outputs))

    def forward(self, h: Tensor, tasks: Tensor, groups: Groups) -> Tensor:
        """Map (B, features) of samples of ``tasks`` (B,) to (B, outputs)."""
        if self.kind == "heads":
            return self.net(h, groups)  # type: ignore[no-any-return]
        if self.kind == "one-hot":
            h = torch.cat([h, functional.one_hot(tasks, self.tasks).to(h.dtype)], 1)
        return self.net(h)  # type: ignore[no-any-return]


class Policy(nn.Module):
    """What acting reads: the encoder, a memory of the episode, and the actor."""

    def __init__(self, spec: Spec, generator: torch.Generator) -> None:
        """Build and draw initial weights."""
        super().__init__()
        self.spec = spec
        self.encoder = GridEncoder(spec.normalise)
        unit_rows(self.encoder, generator)
        self.memory = spec.memory.build(WIDTH, generator)
        self.features = WIDTH if self.memory is None else self.memory.features
        self.actor = Head(spec, self.features, spec.actions)
        unit_rows(self.actor, generator)

    @property
    def units(self) -> int:
        """Size of the hidden state, 0 without memory."""
        return 0 if self.memory is None else self.memory.units

    def logits(self, h: Tensor, tasks: Tensor, groups: Groups, layer: TaskLayer | None) -> Tensor:
        """Return logits (B, actions) from features, after a generated ``layer`` if there is one."""
        h = h if layer is None else layer(h, groups)
        return self.actor(h, tasks, groups)  # type: ignore[no-any-return]

    def remember(self, features: Tensor, first: Tensor, hidden: Tensor) -> tuple[Tensor, Any]:
        """Return the memory's outputs (T, N, f) and states, see ``nn.modules.Recurrent``."""
        assert self.memory is not None
        return self.memory(features, first, hidden)  # type: ignore[no-any-return]


class Layers(NamedTuple):
    """What the hypernetwork generates; None where a network does without."""

    decision: TaskLayer | None
    retrieval: TaskLayer | None


class MultitaskNet(nn.Module):
    """The policy, the critic, and what generates their layers and the memory's projections."""

    def __init__(
        self,
        spec: Spec,
        missions: Tensor,
        generator: torch.Generator,
        *,
        is_retrieval_generated: bool = False,
        has_static_retrieval: bool = False,
    ) -> None:
        """Build and draw initial weights; ``missions`` (K, 512) are embedded."""
        super().__init__()
        self.policy = Policy(spec, generator)
        self.critic = Head(spec, self.policy.features, 1)
        unit_rows(self.critic, generator)
        self.hypernetwork = Hypernetwork(missions) if spec.task_layer == "hypernetwork" else None
        if self.hypernetwork is not None:
            unit_rows(self.hypernetwork, generator)
        self.is_retrieval_generated = is_retrieval_generated
        self.static = nn.Linear(WIDTH, WIDTH) if has_static_retrieval else None
        if self.static is not None:
            unit_rows(self.static, generator)

    def generate(self, *, decision_only: bool = False) -> Layers:
        """Call the hypernetwork, once; a static projection is the same layer for each task."""
        decision = retrieval = None
        if self.hypernetwork is not None:
            both = self.is_retrieval_generated and not decision_only
            made = self.hypernetwork(2 if both else 1)
            decision, retrieval = made[0], made[1] if both else None
        if self.static is not None:
            count = self.policy.spec.tasks
            weight = self.static.weight.t().expand(count, -1, -1)
            retrieval = TaskLayer(weight, self.static.bias.expand(count, -1))
        return Layers(decision, retrieval)

    def evaluate(
        self, h: Tensor, tasks: Tensor, groups: Groups, layer: TaskLayer | None
    ) -> tuple[Tensor, Tensor]:
        """Return logits (B, actions) and values (B,) of features (B, f)."""
        h = h if layer is None else layer(h, groups)
        logits = self.policy.actor(h, tasks, groups)
        return logits, self.critic(h, tasks, groups)[:, 0]


def spec_of(config: Mapping[str, Any], memory: Memory | None = None) -> Spec:
    """Read what ``config.json`` says of a policy.

    Raises:
        KeyError, TypeError, ValueError: it says too little.
    """
    return Spec(
        tasks=int(config["tasks"]),
        actions=int(config["actions"]),
        task_layer=str(config["task_layer"]),
        memory=memory or NoMemory(),
        normalise=bool(config["normalise"]),
        channels=int(config["channels"]),
    )
