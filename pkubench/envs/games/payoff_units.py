"""Payoffs in units of their own: what solvers with fixed tolerances are given.

The equilibria of a zero-sum game stay the same when a constant is added to all its payoffs, or when
all are multiplied by a positive one. Solvers compare with fixed small numbers, so payoffs in
billionths, or of a small spread about a large mean, are brought to the size of 1 first. Factors
are powers of two, which change no digit: games that differ by one are solved alike to the last bit.
"""

from __future__ import annotations

import math

import numpy as np

from pkubench.envs.games.errors import GameError
from pkubench.envs.games.forest import TIE, Floats

LARGEST = 1e301
"""Payoffs above it could overflow when they are added."""
SMALLEST = 1e-307
"""A largest payoff below it has lost digits, or will when it is weighted."""
_ROUNDING = 64.0 * float(np.finfo(np.float64).eps)
"""What adding up a payoff table loses at most, in units of the largest payoff."""
_PLAIN = (1e-3, 1e12)
"""Largest payoffs whose fingerprints are taken of plain payoffs, nine decimals of them."""


def check_range(payoffs: Floats, name: str) -> None:
    """Check that sums and differences of payoffs keep their digits.

    Raises:
        GameError: They are too large, or all are too small.
    """
    largest = float(np.abs(payoffs).max(initial=0.0))
    if largest > LARGEST:
        raise GameError(
            f"{name}: payoffs as large as {largest:g} overflow when they are added; divide them "
            f"all by one number, so that none is above {LARGEST:g}"
        )
    if 0.0 < largest < SMALLEST:
        raise GameError(
            f"{name}: the largest payoff is {largest:g}, too small to keep its digits; multiply "
            f"all payoffs by one number, so that the largest is at least {SMALLEST:g}"
        )


def centre(payoffs: Floats) -> float:
    """Return the middle of payoffs that all have one sign, and 0 of others.

    Taking it off such payoffs leaves numbers no larger than their spread. Where payoffs have both
    signs they are no larger than that as they are, and taking nothing off keeps them exact.
    """
    low, high = float(payoffs.min(initial=np.inf)), float(payoffs.max(initial=-np.inf))
    return low / 2.0 + high / 2.0 if low > 0.0 or high < 0.0 else 0.0


def spread(payoffs: Floats) -> float:
    """Return the largest distance of a payoff from the :func:`centre`."""
    middle = centre(payoffs)
    return max(
        float(payoffs.max(initial=middle)) - middle, middle - float(payoffs.min(initial=middle))
    )


def exponent(payoffs: Floats) -> int:
    """Return the least whole number such that no payoff is larger than 2 to the power of it."""
    mantissa, power = math.frexp(float(np.abs(payoffs).max(initial=0.0)))
    return power - 1 if mantissa == 0.5 else power


def in_units(payoffs: Floats) -> Floats:
    """Return payoffs times the power of two that makes the largest more than 1/2 and at most 1."""
    return np.asarray(np.ldexp(payoffs, -exponent(payoffs)))


def tie(payoffs: Floats) -> float:
    """Return how far apart two sums of payoffs may be and count as equal."""
    return max(TIE * spread(payoffs), _ROUNDING * float(np.abs(payoffs).max(initial=0.0)))


def identifying(payoffs: Floats, largest: float) -> Floats:
    """Return payoffs as fingerprints take them: without the digits that rounding changes.

    They are rounded to nine decimals; those of a game whose largest payoff is very small or very
    large in units of their own.
    """
    if largest and not _PLAIN[0] <= largest <= _PLAIN[1]:
        power = exponent(payoffs)
        return np.append(np.ldexp(payoffs, -power).round(9) + 0.0, float(power))
    return np.asarray(payoffs.round(9) + 0.0)
