"""Elementary functions with the same bits on every processor, on float64 arrays.

NumPy picks its kernel of ``log``, ``cos`` or ``arctan2`` by the processor's instruction set, and
these differ in the last bits: one seed would start an episode differently on two machines. What is
here adds, multiplies, divides and takes square roots only, which IEEE 754 rounds the same way
everywhere (NumPy does not fuse two operations into one). Errors stay below 5 units in the last
place.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

# Taylor coefficients, the highest power first: what is left out is below 1e-17 of the result.
_ATANH: Final = tuple(2.0 / (2 * k + 1) for k in range(11, 0, -1))
_SIN: Final = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(8, 0, -1))
_COS: Final = tuple((-1.0) ** k / math.factorial(2 * k) for k in range(9, 1, -1))
_ATAN: Final = tuple((-1.0) ** k / (2 * k + 1) for k in range(11, 0, -1))

# log 2 in two parts; the first has 28 bits, so that its product with an exponent is exact.
_LN2_HIGH: Final = float.fromhex("0x1.62e42ffp-1")
_LN2_LOW: Final = float.fromhex("-0x1.718432a1b0e26p-35")
_SQRT_HALF: Final = math.sqrt(0.5)

# An angle of at most 45 degrees is measured from the nearest of 0, 22.5 and 45 degrees.
_CENTRE: Final = np.array([0.0, math.pi / 8, math.pi / 4])
_CENTRE_COS: Final = np.array([1.0, math.sqrt(2.0 + math.sqrt(2.0)) / 2, _SQRT_HALF])
_CENTRE_SIN: Final = np.array([0.0, math.sqrt(2.0 - math.sqrt(2.0)) / 2, _SQRT_HALF])
_BETWEEN: Final = (0.2, 0.67)
"""About the tangents of 11.25 and 33.75 degrees."""


def log(x: FloatArray) -> FloatArray:
    """Return the natural logarithm of positive, finite numbers.

    With ``x = m 2^e``, ``m`` in [sqrt(1/2), sqrt(2))``, and ``s = (m - 1) / (m + 1)``:
    ``log x = e log 2 + 2 artanh s``.
    """
    m, e = np.frexp(x)
    is_low = m < _SQRT_HALF
    m = np.where(is_low, 2.0 * m, m)
    e = e - is_low
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    small = s * (_polynomial(z, _ATANH) * z + 2.0)
    value: FloatArray = e * _LN2_HIGH + (e * _LN2_LOW + small)
    return value


def cos_of_turns(turns: FloatArray) -> FloatArray:
    """Return ``cos(2 pi turns)`` for turns in [0, 1)."""
    quarters = 4.0 * turns
    nearest = np.floor(quarters + 0.5)
    angle = (quarters - nearest) * (math.pi / 2)  # within 45 degrees
    z = angle * angle
    sin = angle * (_polynomial(z, _SIN) * z + 1.0)
    cos = _polynomial(z, _COS) * z * z - 0.5 * z + 1.0
    is_sin = nearest % 2.0 == 1.0
    is_negative = (nearest == 1.0) | (nearest == 2.0)
    size = np.where(is_sin, sin, cos)
    value: FloatArray = np.where(is_negative, -size, size)
    return value


def arctan2(y: FloatArray, x: FloatArray) -> FloatArray:
    """Return the angles of the points (x, y) in radians, in [-pi, pi]; 0 at the origin."""
    wide, high = np.abs(x), np.abs(y)
    short, long = np.minimum(wide, high), np.maximum(wide, high)
    long = np.where(long == 0.0, 1.0, long)
    tangent = short / long
    nearest = (tangent > _BETWEEN[0]).astype(np.intp) + (tangent > _BETWEEN[1])
    cos, sin = _CENTRE_COS[nearest], _CENTRE_SIN[nearest]
    rest = (short * cos - long * sin) / (long * cos + short * sin)
    z = rest * rest
    angle = _CENTRE[nearest] + rest * (_polynomial(z, _ATAN) * z + 1.0)
    angle = np.where(high > wide, math.pi / 2 - angle, angle)
    angle = np.where(np.signbit(x), math.pi - angle, angle)
    signed: FloatArray = np.copysign(angle, y)
    return signed


def rotation_matrices(quat: FloatArray) -> FloatArray:
    """Return the rotation matrices of unit quaternions, (n, 4) to (n, 9), row by row."""
    w, x, y, z = quat.T
    found: FloatArray = np.stack(
        (
            w * w + x * x - y * y - z * z,
            2 * (x * y - w * z),
            2 * (x * z + w * y),
            2 * (x * y + w * z),
            w * w - x * x + y * y - z * z,
            2 * (y * z - w * x),
            2 * (x * z - w * y),
            2 * (y * z + w * x),
            w * w - x * x - y * y + z * z,
        ),
        axis=1,
    )
    return found


def _polynomial(x: FloatArray, coefficients: tuple[float, ...]) -> FloatArray:
    """Return ``sum_k c_k x^(n - k)`` by Horner's rule; ``coefficients`` are c_0 to c_n."""
    total = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total *= x
        total += coefficient
    return total
