"""Elementary functions held to arbitrary precision, and to the same bits at every SIMD level."""

from __future__ import annotations

import os
import subprocess
import sys

import mpmath
import numpy as np
import pytest

from pkubench.envs.core import exact_math
from pkubench.envs.core.seeding import LaneRandom

RNG = np.random.default_rng(0)
UNITS = 1.0 - RNG.integers(0, 2**53, 400) * 2.0**-53
"""As ``LaneRandom.normal`` takes the logarithm of: in (0, 1]."""
EDGES = np.array([1.0, 0.5, np.sqrt(0.5), np.nextafter(1.0, 0.0), 2.0**-53, 1e-300, 5e-324, 1e300])


def ulps(found: np.ndarray, wanted: list[mpmath.mpf], least: float = 0.0) -> float:
    """Return the largest error in units of the last place (of ``least`` at the least)."""
    unit = [max(float(np.spacing(abs(float(w)))), least) for w in wanted]
    errors = [
        abs(mpmath.mpf(float(f)) - w) / u for f, w, u in zip(found, wanted, unit, strict=True)
    ]
    return float(max(errors))


def test_the_logarithm_is_right_to_the_last_places() -> None:
    x = np.concatenate([UNITS, EDGES, 10.0 ** RNG.uniform(-300, 300, 200)])
    with mpmath.workdps(40):
        wanted = [mpmath.log(mpmath.mpf(float(v))) for v in x]
    assert ulps(exact_math.log(x), wanted) < 5


def test_the_cosine_of_turns_is_right_to_the_last_places() -> None:
    turns = np.concatenate([1.0 - UNITS, np.arange(0, 1, 1 / 16), [2.0**-53, 0.125 - 2.0**-53]])
    with mpmath.workdps(40):
        wanted = [mpmath.cospi(2 * mpmath.mpf(float(v))) for v in turns]
    assert ulps(exact_math.cos_of_turns(turns), wanted, 2.0**-54) < 5


def test_the_angle_of_a_point_is_right_to_the_last_places_in_every_direction() -> None:
    y, x = RNG.normal(size=(2, 400)) * 10.0 ** RNG.uniform(-3, 3, (2, 400))
    ring = np.linspace(-np.pi, np.pi, 257)
    y, x = np.append(y, np.sin(ring)), np.append(x, np.cos(ring))
    with mpmath.workdps(40):
        wanted = [mpmath.atan2(float(b), float(a)) for b, a in zip(y, x, strict=True)]
    assert ulps(exact_math.arctan2(y, x), wanted) < 5


def test_angles_on_the_axes_and_at_the_origin_are_those_of_atan2() -> None:
    y = np.array([0.0, 0.0, -0.0, 1.0, -1.0, 0.0, 0.0])
    x = np.array([1.0, -1.0, -1.0, 0.0, 0.0, 0.0, -0.0])
    np.testing.assert_array_equal(exact_math.arctan2(y, x), np.arctan2(y, x))


def test_normal_numbers_have_the_moments_of_the_normal_law() -> None:
    streams = LaneRandom.started(np.arange(200))
    drawn = streams.normal(np.arange(200), 1000)
    n = drawn.size
    assert abs(drawn.mean()) < 5 / np.sqrt(n)
    assert abs(np.square(drawn).mean() - 1.0) < 5 * np.sqrt(2.0 / n)
    assert abs((drawn**4).mean() - 3.0) < 5 * np.sqrt(96.0 / n)
    assert (np.abs(drawn) > 3.0).mean() == pytest.approx(0.0026998, rel=0.1)


PRINT = """
import hashlib, numpy as np
from pkubench.envs.core import exact_math
from pkubench.envs.core.seeding import LaneRandom
drawn = LaneRandom.started(np.arange(50)).normal(np.arange(50), 101)
angles = exact_math.arctan2(drawn[:, 1:], drawn[:, :-1])
print(hashlib.sha256(drawn.tobytes() + angles.tobytes()).hexdigest())
"""


def test_numbers_are_the_same_bits_without_the_processors_wide_instructions() -> None:
    def printed(disabled: str) -> str:
        env = {**os.environ, "NPY_DISABLE_CPU_FEATURES": disabled}
        command = [sys.executable, "-W", "ignore", "-c", PRINT]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    assert printed("") == printed("X86_V3 X86_V4 AVX512_ICL AVX512_SPR")
