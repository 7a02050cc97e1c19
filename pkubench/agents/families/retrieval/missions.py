"""Embeddings of missions: frozen, and made here, without any download."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SIZE = 512
"""Numbers of an embedding, as many as the released code's."""
NORM = 2.0
"""Its length; those of the released code's are 1.7 to 2.5."""


def embedded(missions: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return an embedding (K, 512) of each mission, a hashed bag of its words.

    Each word has a normal vector, seeded by the word's SHA-256: a Gaussian projection of the counts
    of words. Sums are scaled to length 2; without a word it is 0.
    """
    rows = np.zeros((len(missions), SIZE))
    for row, mission in zip(rows, missions, strict=True):
        for word in mission.lower().split():
            row += _vector(word)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: npt.NDArray[np.float32] = (NORM * rows / np.maximum(lengths, 1e-12)).astype(np.float32)
    return scaled


def _vector(word: str) -> npt.NDArray[np.float64]:
    digest = hashlib.sha256(word.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little")).standard_normal(SIZE)
