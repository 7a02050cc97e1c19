"""Statistics of claims: Holm, one sample, several tasks at once, and the runs that are needed."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from pkubench.evaluation.statistics import (
    Runs,
    StatisticsError,
    holm,
    improvement_interval,
    offset_interval,
    permutation_test,
    probability_of_improvement,
    runs_needed,
    stratified_bootstrap,
    welch_interval,
)


def test_holm_refuses_what_is_not_a_probability() -> None:
    assert holm([]) == [] and holm([0.5, 0.9]) == [1.0, 1.0]
    with pytest.raises(StatisticsError):
        holm([0.1, math.nan])


def test_the_distance_from_a_known_number_is_students() -> None:
    found = offset_interval([10.0, 20.0, 30.0], 25.0)
    # t = -5 / (10 / sqrt(3)) = -0.8660 with 2 degrees
    assert found.estimate == pytest.approx(-5.0) and found.p_value == pytest.approx(
        0.4778, abs=1e-4
    )
    assert found.high == pytest.approx(-5 + 4.3027 * 10 / 3**0.5, abs=1e-3)
    assert math.isnan(offset_interval([1.0], 0.0).p_value)
    assert offset_interval([2.0, 2.0], 2.0).p_value == 1.0
    assert offset_interval([2.0, 2.0], 3.0) == (-1.0, -1.0, -1.0, 0.0)


def test_the_permutation_test_of_several_tasks_keeps_its_level() -> None:
    rng = np.random.default_rng(0)
    ps = [
        permutation_test([tuple(rng.normal(size=(2, 3))) for _ in range(2)], draws=199)
        for _ in range(400)
    ]
    assert np.mean(np.array(ps) <= 0.05) < 0.075  # 0.05 and three of its deviations
    assert 0.4 < np.mean(ps) < 0.65
    # tasks of different scales, and of different numbers of runs
    pairs = [
        (rng.normal(size=n) + shift + 4.0, rng.normal(size=m) + shift)
        for shift, n, m in ((0.0, 5, 5), (100.0, 3, 6))
    ]
    assert permutation_test(pairs) < 0.002


def test_ties_count_one_half() -> None:
    assert permutation_test([([1.0, 1.0], [1.0, 1.0])]) == 1.0
    x, y = [1.0, 2.0, 2.0, 2.0], [2.0, 2.0, 3.0, 5.0]
    every, seen = [], probability_of_improvement([[v] for v in x], [[v] for v in y])
    for chosen in combinations(range(8), 4):
        first = [[(x + y)[k]] for k in chosen]
        second = [[(x + y)[k]] for k in range(8) if k not in chosen]
        every.append(probability_of_improvement(first, second))
    exact = np.mean(np.abs(np.array(every) - 0.5) >= abs(seen - 0.5) - 1e-12)
    assert 0.1 < exact < 0.5
    assert permutation_test([(x, y)]) == pytest.approx(exact, abs=0.02)


def test_a_chance_is_that_of_the_bootstrap_where_both_are_defined() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(6, 3)) + 0.5, rng.normal(size=(6, 3))
    pairs = [(Runs(f"x{k}", x[:, k]), Runs(f"y{k}", y[:, k])) for k in range(3)]
    found = improvement_interval(pairs)
    wanted = stratified_bootstrap(x, probability_of_improvement, other=y)
    assert found.estimate == pytest.approx(wanted.estimate)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=0.03)
    assert math.isnan(improvement_interval([(Runs("x", [1.0]), Runs("y", y[:, 0]))]).low)


def test_runs_that_occur_in_several_pairs_do_not_count_as_several() -> None:
    rng = np.random.default_rng(2)
    shared = Runs("shared", rng.normal(size=5))
    others = [Runs(f"other{k}", rng.normal(size=200)) for k in range(8)]
    found = improvement_interval([(shared, other) for other in others])
    apart = improvement_interval(
        [(Runs(f"copy{k}", shared.values), other) for k, other in enumerate(others)]
    )
    assert found.estimate == apart.estimate
    assert found.high - found.low > 2.0 * (apart.high - apart.low)


@pytest.mark.parametrize(("d", "n"), [(0.2, 394), (0.5, 64), (0.8, 26), (1.0, 17)])
def test_the_runs_needed_are_cohens(d: float, n: int) -> None:
    """Cohen (1988), table 2.4.1: two-sided 0.05, power 0.80."""
    x = [0.0, 1.0, 2.0]
    assert runs_needed(x, x, d) == runs_needed(x, x, -d) == n
    assert runs_needed(np.array(x) * 7, np.array(x) * 7, 7 * d) == n


def test_so_many_runs_do_show_the_difference() -> None:
    x = [0.0, 1.0, 2.0]
    n = runs_needed(x, x, 1.5)
    assert n is not None
    rng = np.random.default_rng(3)
    draws = rng.normal(size=(2000, 2, n)) + np.array([1.5, 0.0])[:, None]
    shown = np.mean([welch_interval(a, b).p_value < 0.05 for a, b in draws])
    assert 0.77 < shown < 0.87


def test_a_known_number_has_no_spread() -> None:
    x = [0.0, 1.0, 2.0]
    assert runs_needed(x, None, 0.5) == 34  # a one-sample t test, d = 0.5 (Cohen: 33.4)


def test_runs_needed_are_none_where_no_number_would_do() -> None:
    x = [0.0, 1.0, 2.0]
    assert runs_needed(x, x, 0.0) is None and runs_needed([1.0, 1.0], [1.0, 1.0], 1.0) is None
    assert runs_needed(x, x, 1e-6) is None and runs_needed(x, x, 1e6) == 2
    with pytest.raises(StatisticsError):
        runs_needed([1.0], x, 1.0)
    with pytest.raises(StatisticsError):
        runs_needed(x, x, 1.0, alpha=0.9)
