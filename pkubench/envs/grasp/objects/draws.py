"""Random numbers of an object, the same on every machine and with every version of NumPy."""

from __future__ import annotations

import hashlib


class Draws:
    """A stream of numbers that depends on a name only: SHA-256 of the name and a counter."""

    def __init__(self, name: str) -> None:
        """Begin the stream of ``name``."""
        self._name, self._count = name, 0

    def between(self, low: float, high: float) -> float:
        """Return a number drawn uniformly from [low, high), of 2^53 equally spaced ones."""
        word = hashlib.sha256(f"{self._name}#{self._count}".encode()).digest()[:8]
        self._count += 1
        return low + (high - low) * (int.from_bytes(word, "little") >> 11) * 2.0**-53

    def whole(self, low: int, high: int) -> int:
        """Return a whole number drawn uniformly from low to high, both included."""
        return low + int(self.between(0.0, 1.0) * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """Return true with a probability."""
        return self.between(0.0, 1.0) < probability
