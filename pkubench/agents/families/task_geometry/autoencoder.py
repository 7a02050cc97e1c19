"""The autoencoder whose code stands for an object's geometry (UniDexGrasp++, Wan et al. 2023).

A PointNet encoder (Qi et al. 2017) maps a cloud to a code, and an MLP maps the code to as many
points again; the loss is the Chamfer distance. Sizes and settings are those of the authors'
released trainer where it has them. Positions enter in units of ``UNIT_M``, so that the code
depends on an object's size and not only on its shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pkubench.agents.rl.optimiser import Optimiser, adam
from pkubench.agents.rl.trained import Trained, tensors_of
from pkubench.errors import ConfigError, WeightsError

UNIT_M: Final = 0.1
"""Unit of the network's positions, in meters: about the size of an object."""
Float32Array = npt.NDArray[np.float32]
Clouds = Callable[[np.random.Generator, int, int], npt.NDArray[np.floating[Any]]]
"""From a generator, a number of clouds B and of points N to clouds (B, N, 3) in meters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderSettings:
    """What an autoencoder is made of and how it is trained; the defaults are the published ones."""

    code: int = 64
    """Length of the code."""
    points: int = 1024
    """Points that the decoder returns, and that a cloud of the training has."""
    point_hidden: tuple[int, ...] = (64, 128, 128, 256)
    """Widths of the layers shared by all points, before the code."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the decoder's layers."""
    batch: int = 32
    """Clouds in a step."""
    lr: float = 5e-4
    """Learning rate of Adam, which falls along half a cosine."""
    last_lr: float = 1e-7
    """Learning rate at the last step."""
    weight_decay: float = 1e-5
    """Of Adam (in the gradient)."""
    steps: int = 20_000
    """Gradient steps."""

    def __post_init__(self) -> None:
        """Check the domains."""
        sizes = (self.code, self.points, self.batch, self.steps, *self.point_hidden, *self.hidden)
        if min(sizes) < 1:
            raise ConfigError(f"sizes and numbers of steps are 1 or more, got {sizes}")
        if not 0 < self.last_lr <= self.lr:
            raise ConfigError(f"last_lr must lie in (0, lr], got {self.last_lr}")


SMALL: Final = AutoencoderSettings(points=256, point_hidden=(32, 64, 128), steps=4000)
"""Of the preset for a CPU: a fifth of the published network's time for a point."""


class PointAutoencoder(nn.Module):
    """Encoder and decoder; every linear layer but each one's last has batch norm and ReLU."""

    def __init__(self, settings: AutoencoderSettings, generator: torch.Generator) -> None:
        """Draw the initial weights from ``generator`` (He's uniform initialization)."""
        super().__init__()
        self.settings = settings
        self.encoder = _layers((3, *settings.point_hidden, settings.code), generator)
        self.decoder = _layers((settings.code, *settings.hidden, 3 * settings.points), generator)

    def encode(self, clouds: Tensor) -> Tensor:
        """Return the codes (B, code) of clouds (B, N, 3) in ``UNIT_M``, of any number of points."""
        count, points = clouds.shape[:2]
        features = self.encoder(clouds.reshape(-1, 3)).reshape(count, points, -1)
        code: Tensor = features.amax(1)
        return code

    def forward(self, clouds: Tensor) -> Tensor:
        """Return reconstructions (B, points, 3) of clouds (B, N, 3), both in ``UNIT_M``."""
        points: Tensor = self.decoder(self.encode(clouds))
        return points.reshape(len(clouds), self.settings.points, 3)


def _layers(sizes: tuple[int, ...], generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        linear = nn.Linear(inputs, outputs)
        nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-2])


def chamfer(first: Tensor, second: Tensor) -> Tensor:
    """Return the Chamfer distances (B,) of clouds (B, N, 3) and (B, M, 3).

    For each point the squared distance to the nearest point of the other cloud, summed over the
    points of both.
    """
    products = first @ second.transpose(1, 2)
    squares = (
        (first**2).sum(-1)[:, :, None] + (second**2).sum(-1)[:, None, :] - 2.0 * products
    ).clamp_min(0.0)
    return squares.amin(2).sum(1) + squares.amin(1).sum(1)


class AutoencoderTraining(Trained):
    """A training of an autoencoder: one gradient step at a time, resumed to the same bits."""

    def __init__(self, settings: AutoencoderSettings, clouds: Clouds, seed: int) -> None:
        """Begin.

        Args:
            settings: Network and training.
            clouds: Where clouds come from; its points are drawn anew at each step.
            seed: Of the weights and of the clouds.
        """
        self.settings, self.clouds = settings, clouds
        self.module = PointAutoencoder(settings, torch.Generator().manual_seed(seed))
        self.random = np.random.default_rng(seed)
        make = adam(settings.lr)
        self.optimiser = Optimiser(
            make,
            [{"params": [*self.module.parameters()], "weight_decay": settings.weight_decay}],
            schedule=self._schedule,
        )
        self.modules, self.optimisers = {"autoencoder": self.module}, {"adam": self.optimiser}

    def _schedule(self, step: int) -> float:
        floor = self.settings.last_lr / self.settings.lr
        fall = 0.5 * (1.0 + np.cos(np.pi * min(step / self.settings.steps, 1.0)))
        return float(floor + (1.0 - floor) * fall)

    def iterate(self) -> Mapping[str, float]:
        """Take a step; return its Chamfer distance per point, in units of ``UNIT_M`` squared."""
        drawn = self.clouds(self.random, self.settings.batch, self.settings.points)
        batch = torch.as_tensor(np.asarray(drawn, dtype=np.float32) / UNIT_M)
        self.module.train()
        loss = chamfer(self.module(batch), batch).mean()
        self.optimiser.step(loss)
        return {"chamfer": float(loss.detach()) / self.settings.points}

    def state(self) -> dict[str, Any]:
        """Return everything that changes."""
        return {**super().state(), "random": self.random.bit_generator.state}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises:
            WeightsError: it is of another network.
        """
        super().load_state(state)
        self.random.bit_generator.state = state["random"]

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the network's tensors, from which ``Codes`` encodes."""
        return tensors_of(self.module)


class Codes:
    """A trained encoder, frozen: from clouds to codes."""

    def __init__(
        self, settings: AutoencoderSettings, tensors: Mapping[str, npt.NDArray[Any]]
    ) -> None:
        """Load the network's tensors.

        Raises:
            WeightsError: they are of a network of other settings.
        """
        module = PointAutoencoder(settings, torch.Generator().manual_seed(0))
        try:
            module.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in tensors.items()})
        except (RuntimeError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise WeightsError(f"these are not the weights of the autoencoder: {reason}") from error
        # In double precision, codes agree as float32 between processors and numbers of threads.
        self._module = module.double().eval()

    def __call__(self, clouds: npt.ArrayLike, block: int = 64) -> Float32Array:
        """Return the codes (n, code) of clouds (n, N, 3) in meters."""
        given = np.asarray(clouds, dtype=np.float64) / UNIT_M
        with torch.no_grad():
            found = [
                self._module.encode(torch.from_numpy(given[k : k + block])).numpy()
                for k in range(0, len(given), block)
            ]
        return np.concatenate(found).astype(np.float32)
