"""Records of games are the same bytes on every processor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pkubench.envs.games.sums import dot, rows_dot, weighted_rows

PROCESSORS = (
    {},
    {"OPENBLAS_CORETYPE": "Nehalem"},
    {"OPENBLAS_CORETYPE": "Prescott"},
    {"OPENBLAS_CORETYPE": "Haswell"},
    {"NPY_DISABLE_CPU_FEATURES": "X86_V3"},
)
"""What a process sees of its processor, one property each; the first is its own."""
DISGUISES = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "OPENBLAS_L2_SIZE")


def records(kind: str, processor: dict[str, str], folder: Path) -> str:
    """Return the records that ``game_scores`` prints on such a processor."""
    folder.mkdir()
    plain = {key: value for key, value in os.environ.items() if key not in DISGUISES}
    done = subprocess.run(
        [sys.executable, "-m", "tests.games.game_scores", str(folder), kind],
        capture_output=True,
        text=True,
        env={**plain, **processor},
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("kind", "processors", "lines"),
    [
        ("quick", PROCESSORS[:2], 9),
        pytest.param("all", PROCESSORS, 17, marks=pytest.mark.slow),
    ],
)
def test_records_of_games_are_the_same_bytes_on_every_processor(
    tmp_path: Path, kind: str, processors: tuple[dict[str, str], ...], lines: int
) -> None:
    first, *others = (
        records(kind, processor, tmp_path / str(k)) for k, processor in enumerate(processors)
    )
    assert first.count("\n") == lines
    for processor, found in zip(processors[1:], others, strict=True):
        assert found == first, processor


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (9, 129), (300, 1093), (2, 40_000), (40_000, 2)])
def test_sums_in_a_fixed_order_are_right_and_do_not_depend_on_layout(
    shape: tuple[int, int],
) -> None:
    rng = np.random.default_rng(0)
    rows, left, right = rng.standard_normal(shape), rng.random(shape[0]), rng.random(shape[1])
    np.testing.assert_allclose(rows_dot(rows, right), rows @ right, atol=1e-11)
    np.testing.assert_allclose(weighted_rows(left, rows), left @ rows, atol=1e-11)
    assert dot(left, rows[:, 0]) == pytest.approx(left @ rows[:, 0], abs=1e-11)
    turned = np.asfortranarray(rows)
    np.testing.assert_array_equal(rows_dot(turned, right), rows_dot(rows, right))
    np.testing.assert_array_equal(weighted_rows(left, turned), weighted_rows(left, rows))


def test_rows_without_weight_change_no_bit_of_a_mixture() -> None:
    rng = np.random.default_rng(1)
    rows, weights = rng.standard_normal((50, 30)), rng.random(50)
    weights[::3] = 0.0
    kept = weights > 0.0
    found = weighted_rows(weights, rows)
    np.testing.assert_array_equal(found, weighted_rows(weights[kept], rows[kept]))
    assert (weighted_rows(np.zeros(50), rows) == 0.0).all()
