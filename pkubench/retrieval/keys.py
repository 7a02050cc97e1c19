"""Keys by which states are compared: functions from images and tasks to vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pkubench.data.episodes import IntArray
from pkubench.retrieval.bank import Images

Keys = npt.NDArray[np.float32]
Embed = Callable[[Images, IntArray], Keys]
"""From images (n, 7, 7, 3) and tasks (n,) to keys (n, d) float32. An agent's key network fits."""

_SIZES: Final = (11, 6, 4)
"""How many objects, colors and states MiniGrid has."""
_CHUNK: Final = 4096
_GRID: Final = 2.0**12


def raw_pixels(images: Images, tasks: IntArray) -> Keys:
    """Return the images as they are, (n, 147): object, color and state as numbers."""
    return images.reshape(len(images), -1).astype(np.float32)


def one_hot(images: Images) -> Keys:
    """Return images (n, 7, 7, 3) as ones and zeros, (n, 1029): which object, color and state."""
    flat = images.reshape(len(images), -1, len(_SIZES))
    parts = [flat[:, :, channel, None] == np.arange(size) for channel, size in enumerate(_SIZES)]
    return np.concatenate(parts, axis=2).reshape(len(images), -1).astype(np.float32)


@dataclass(frozen=True)
class RandomProjection:
    """A random linear map of the one-hot image, which keeps distances approximately.

    The squared distance of two keys is on average the number of entries that differ (Johnson and
    Lindenstrauss, 1984). Weights are multiples of 2**-12, so that float32 holds the sums
    exactly: equal images have equal keys, whatever is computed beside them. The task is not in a
    key.
    """

    width: int = 64
    """d, the size of a key."""
    seed: int = 0

    def __call__(self, images: Images, tasks: IntArray) -> Keys:
        """Return keys (n, width)."""
        entries = images.shape[1] * images.shape[2] * sum(_SIZES)
        rng = np.random.default_rng(self.seed)
        normal = rng.standard_normal((entries, self.width)) / np.sqrt(self.width)
        weights = (np.rint(normal * _GRID) / _GRID).astype(np.float32)
        keys = np.empty((len(images), self.width), dtype=np.float32)
        for first in range(0, len(images), _CHUNK):
            some = slice(first, first + _CHUNK)
            keys[some] = one_hot(images[some]) @ weights
        return keys


def name_of(embed: Embed) -> str:
    """Return what a saved retriever records of the keys it was made with."""
    return str(getattr(embed, "__qualname__", None) or embed)
