"""The statistics equal hand-worked numbers and SciPy; their intervals cover what they claim to."""

from __future__ import annotations

import functools
import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from pkubench.errors import PkubenchError
from pkubench.evaluation import statistics as st

RNG_SEED = 20240607


def draw(*shape: int, seed: int = RNG_SEED) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# Aggregates ------------------------------------------------------------------------------------


def test_iqm_drops_a_quarter_at_each_end() -> None:
    # 8 pooled scores: 0 and 1 go, 900 and 1000 go, the mean of 2, 3, 4, 7 stays.
    assert st.iqm([[1000, 0, 7, 2], [3, 1, 4, 900]]) == 4.0


def test_iqm_of_a_size_not_divisible_by_four_cuts_the_floor() -> None:
    # 6 scores: floor(6 / 4) = 1 is cut from each end; (1 + 2 + 3 + 6) / 4.
    assert st.iqm([[0, 1], [2, 3], [6, 99]]) == 3.0


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (5, 7), (10, 4), (2, 11)])
def test_iqm_equals_scipy_trimmed_mean(shape: tuple[int, int]) -> None:
    scores = draw(*shape)
    assert st.iqm(scores) == pytest.approx(stats.trim_mean(scores, 0.25, axis=None), abs=1e-14)


def test_optimality_gap_ignores_what_exceeds_gamma() -> None:
    # min(scores, 1) = 0.5, 1, 0, 1: mean 0.625, gap 0.375. With gamma 2: 0.5, 2, 0, 1 -> 1.125.
    scores = [[0.5, 3.0], [0.0, 1.0]]
    assert st.optimality_gap(scores) == 0.375
    assert st.optimality_gap(scores, gamma=2.0) == 1.125


def test_probability_of_improvement_counts_ties_as_half_and_averages_over_tasks() -> None:
    # Task 0: pairs (1,0) win, (1,1) tie, (2,0) win, (2,1) win, (3,0), (3,1) win: 5.5 / 6.
    # Task 1: all pairs lose: 0.
    x = [[1, 0], [2, 0], [3, 0]]
    y = [[0, 1], [1, 1]]
    assert st.probability_of_improvement(x, y) == pytest.approx(5.5 / 12, abs=1e-15)
    assert st.probability_of_improvement(y, x) == pytest.approx(1 - 5.5 / 12, abs=1e-15)


def test_probability_of_improvement_equals_mann_whitney_on_each_task() -> None:
    x, y = draw(7, 3).round(1), draw(9, 3, seed=1).round(1)  # rounded, so that ties happen
    u = [stats.mannwhitneyu(x[:, t], y[:, t]).statistic / (7 * 9) for t in range(3)]
    assert st.probability_of_improvement(x, y) == pytest.approx(np.mean(u), abs=1e-14)


def test_performance_profile_is_the_fraction_strictly_above() -> None:
    profile = st.performance_profile([[0.0, 1.0], [1.0, 2.0]], [-1.0, 0.0, 1.0, 1.5, 2.0])
    assert profile.tolist() == [1.0, 0.75, 0.25, 0.25, 0.0]


def test_area_under_the_profile_is_the_mean() -> None:
    scores = np.random.default_rng(3).uniform(size=(6, 5))
    edges = np.linspace(0, 1, 20_001)
    area = np.mean(st.performance_profile(scores, (edges[1:] + edges[:-1]) / 2))
    assert area == pytest.approx(scores.mean(), abs=1e-4)


# Closed-form intervals -------------------------------------------------------------------------


def test_mean_interval_of_a_sample_worked_by_hand() -> None:
    # mean 3, variance 2.5, standard error sqrt(0.5), t(0.975; 4) = 2.776445 from the tables.
    interval = st.mean_interval([1, 2, 3, 4, 5])
    assert interval.estimate == 3.0
    assert interval.high - 3.0 == pytest.approx(2.776445 * math.sqrt(0.5), abs=1e-5)
    assert 3.0 - interval.low == pytest.approx(interval.high - 3.0, abs=1e-12)


@pytest.mark.parametrize("n", [2, 5, 40])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_mean_interval_equals_scipy(n: int, confidence: float) -> None:
    sample = 100 * draw(n) + 7
    expected = stats.t.interval(confidence, n - 1, loc=sample.mean(), scale=stats.sem(sample))
    assert st.mean_interval(sample, confidence)[1:] == pytest.approx(expected, rel=1e-12)


def test_one_run_has_a_mean_and_no_interval() -> None:
    interval = st.mean_interval([4.0])
    assert interval.estimate == 4.0
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert all(math.isnan(bound) for bound in st.welch_interval([1.0], [2.0, 3.0])[1:])
    assert all(math.isnan(b) for b in st.stratified_bootstrap([[1.0, 2.0]], st.iqm)[1:])


def test_wilson_interval_worked_by_hand() -> None:
    # k = 2, n = 4, z = 1.959964: centre 1/2, half sqrt(z2 (1 + z2 / 4)) / (4 + z2) = 0.349961.
    assert st.wilson_interval(2, 4) == pytest.approx((0.5, 0.150039, 0.849961), abs=1e-6)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 20), (3, 7), (50, 50), (7, 1000)])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_wilson_interval_equals_scipy(successes: int, n: int, confidence: float) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    interval = st.wilson_interval(successes, n, confidence)
    assert interval.estimate == successes / n
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-14)


def test_wilson_interval_ends_exactly_at_zero_and_one() -> None:
    for n in range(1, 200):
        assert st.wilson_interval(0, n).low == 0.0
        assert st.wilson_interval(n, n).high == 1.0


@pytest.mark.parametrize(("n", "m"), [(5, 5), (2, 9), (30, 4)])
def test_welch_interval_equals_scipy(n: int, m: int) -> None:
    x, y = draw(n) + 1, 3 * draw(m, seed=8)
    test = stats.ttest_ind(x, y, equal_var=False)
    expected = test.confidence_interval(0.9)
    got = st.welch_interval(x, y, confidence=0.9)
    assert got.estimate == pytest.approx(x.mean() - y.mean())
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), rel=1e-10)
    assert got.p_value == pytest.approx(test.pvalue, rel=1e-10)


def test_welch_interval_of_samples_that_do_not_vary_is_a_point() -> None:
    assert st.welch_interval([2.0, 2.0], [1.0, 1.0, 1.0]) == (1.0, 1.0, 1.0, 0.0)
    assert st.welch_interval([2.0, 2.0], [2.0, 2.0]) == (0.0, 0.0, 0.0, 1.0)


def test_welch_interval_survives_tiny_and_huge_scales() -> None:
    x, y = draw(5), draw(6, seed=4)
    p_value = st.welch_interval(x, y).p_value
    for scale in (1e-120, 1e120):
        assert st.welch_interval(scale * x, scale * y).p_value == pytest.approx(p_value, rel=1e-9)


# The bootstrap ---------------------------------------------------------------------------------


def test_bootstrap_is_close_to_scipys_percentile_bootstrap() -> None:
    scores = draw(12, 1) + 5
    theirs = stats.bootstrap(
        (scores[:, 0],), np.mean, n_resamples=20_000, method="percentile", random_state=1
    ).confidence_interval
    ours = st.stratified_bootstrap(scores, np.mean, seed=2, resamples=20_000)
    spread = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * spread)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * spread)


def test_bootstrap_of_two_runs_takes_each_value_as_often_as_theory_says() -> None:
    # The mean of a resample of {0, 1} is 0, 1/2, 1 with chances 1/4, 1/2, 1/4.
    scores = [[0.0], [1.0]]
    assert st.stratified_bootstrap(scores, np.mean, confidence=0.95)[1:] == (0.0, 1.0)
    assert st.stratified_bootstrap(scores, np.mean, confidence=0.45)[1:] == (0.5, 0.5)


def test_bootstrap_resamples_within_each_task_and_each_task_by_itself() -> None:
    # Tasks on separate scales: mixing tasks would vary the mean, stratified draws never do.
    assert st.stratified_bootstrap([[0.0, 9.0]] * 4, np.mean)[1:] == (4.5, 4.5)
    # Opposite runs: drawing whole rows would keep every resampled mean at exactly 0.
    apart = st.stratified_bootstrap([[1.0, -1.0], [-1.0, 1.0]], np.mean)
    assert apart[1:] == (-1.0, 1.0)


@pytest.mark.parametrize(
    "statistic",
    [
        st.iqm,
        st.optimality_gap,
        functools.partial(st.optimality_gap, gamma=0.3),
        np.mean,
        np.median,
    ],
)
def test_fast_bootstrap_equals_calling_the_statistic_on_each_resample(statistic: object) -> None:
    scores = draw(5, 4)
    slow = st.stratified_bootstrap(scores, lambda s: statistic(s), seed=6, resamples=300)  # type: ignore[operator]
    fast = st.stratified_bootstrap(scores, statistic, seed=6, resamples=300)  # type: ignore[arg-type]
    assert fast == pytest.approx(slow, abs=1e-13)


def test_two_sample_bootstrap_equals_calling_the_statistic_on_each_resample() -> None:
    x, y = draw(5, 3) + 0.4, draw(7, 3, seed=2)
    calls = st.probability_of_improvement
    slow = st.stratified_bootstrap(x, lambda a, b: calls(a, b), 5, 200, other=y)
    fast = st.stratified_bootstrap(x, calls, 5, 200, other=y)
    assert fast == pytest.approx(slow, abs=1e-13)
    assert fast.low < fast.estimate < fast.high


def test_partial_with_arguments_of_its_own_is_called_as_given() -> None:
    column = functools.partial(lambda scores, task: scores[:, task].mean(), task=1)
    interval = st.stratified_bootstrap(draw(6, 2) + np.array([0.0, 50.0]), column, resamples=100)
    assert 45 < interval.low <= interval.estimate <= interval.high < 55
    over_all = functools.partial(np.mean, axis=None)
    scores = draw(6, 2)
    expected = st.stratified_bootstrap(scores, np.mean, resamples=100)
    assert st.stratified_bootstrap(scores, over_all, resamples=100) == pytest.approx(expected)


def test_bootstrap_draws_do_not_depend_on_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = draw(5, 3)
    whole = st.stratified_bootstrap(scores, st.iqm, seed=1)
    monkeypatch.setattr("pkubench.evaluation.statistics.bootstrap._CHUNK_ELEMENTS", 100)
    assert st.stratified_bootstrap(scores, st.iqm, seed=1) == whole


def test_profile_band_equals_bootstrapping_each_threshold() -> None:
    scores, thresholds = draw(6, 4), [-0.5, 0.0, 1.0]
    band = st.profile_band(scores, thresholds, seed=3, resamples=400)
    for i, threshold in enumerate(thresholds):
        above = functools.partial(lambda s, t: (s > t).mean(), t=threshold)
        one = st.stratified_bootstrap(scores, above, seed=3, resamples=400)
        assert (band.estimate[i], band.low[i], band.high[i]) == pytest.approx(one)
    assert np.isnan(st.profile_band([[1.0]], [0.0]).low).all()


# Ranks -----------------------------------------------------------------------------------------


def test_clearly_separated_agents_have_certain_ranks() -> None:
    scores = {"low": draw(5, 3), "high": draw(5, 3) + 100, "middle": draw(5, 3) + 50}
    ranks = st.rank_intervals(scores)
    assert list(ranks) == ["low", "high", "middle"]
    assert ranks == {"low": (3, 3, 3), "high": (1, 1, 1), "middle": (2, 2, 2)}
    assert st.rank_intervals(scores, higher_is_better=False)["low"] == (1, 1, 1)


def test_agents_that_tie_share_the_mean_rank() -> None:
    ranks = st.rank_intervals({"a": [[1.0], [1.0]], "b": [[1.0], [1.0]], "c": [[0.0], [0.0]]})
    assert ranks == {"a": (1.5, 1.5, 1.5), "b": (1.5, 1.5, 1.5), "c": (3, 3, 3)}


def test_overlapping_agents_get_the_ranks_they_may_take() -> None:
    ranks = st.rank_intervals({"a": draw(5, 1), "b": draw(5, 1, seed=1), "far": draw(5, 1) - 90})
    assert ranks["a"][1:] == (1, 2)
    assert ranks["b"][1:] == (1, 2)
    assert ranks["far"] == (3, 3, 3)


def test_rank_bounds_are_the_tail_quantiles_of_resampled_ranks() -> None:
    # b is 1/2 always; a's resampled mean is 0, 1/2 or 1 with chances 1/4, 1/2, 1/4, so its rank
    # is 2, 1.5 or 1. Tails of 30 % leave only the tie; tails of 20 % reach both ends.
    scores = {"a": [[0.0], [1.0]], "b": [[0.5], [0.5]]}
    narrow = st.rank_intervals(scores, confidence=0.4, statistic=np.mean)
    wide = st.rank_intervals(scores, confidence=0.6, statistic=np.mean)
    assert narrow["a"] == (1.5, 1.5, 1.5)
    assert wide["a"] == (1.5, 1.0, 2.0)


def test_rank_bounds_are_ranks_that_occurred() -> None:
    # With two resamples every seed shows one pair of a's ranks; some pair must be 1 and 2.
    scores = {"a": [[0.0], [1.0]], "b": [[0.5], [0.5]]}
    found = {st.rank_intervals(scores, seed, 2, statistic=np.mean)["a"] for seed in range(40)}
    assert found == {(1.5, 1.0, 1.5), (1.5, 1.0, 2.0), (1.5, 1.5, 1.5), (1.5, 1.5, 2.0)}


def test_rank_intervals_ignore_the_order_in_which_agents_are_given() -> None:
    agents = {name: draw(5, 2, seed=i) for i, name in enumerate("abcd")}
    backwards = dict(reversed(agents.items()))
    assert st.rank_intervals(agents, seed=4) == st.rank_intervals(backwards, seed=4)


def test_agents_with_equal_scores_are_resampled_independently() -> None:
    same = draw(5, 2)
    assert st.rank_intervals({"a": same, "b": same})["a"] == (1.5, 1.0, 2.0)


# Seeds -----------------------------------------------------------------------------------------


def seeded_calls(seed: int) -> list[object]:
    x, y = draw(5, 3), draw(6, 3, seed=1)
    band = st.profile_band(x, [-0.31, 0.0, 0.41], seed, 150)
    return [
        st.stratified_bootstrap(x, st.iqm, seed, 150),
        st.stratified_bootstrap(x, st.probability_of_improvement, seed, 150, other=y),
        [part.tolist() for part in band],
    ]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    first, again, other = seeded_calls(7), seeded_calls(7), seeded_calls(8)
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_rank_intervals_depend_on_the_seed_alone() -> None:
    agents = {f"agent {i}": draw(3, 1, seed=i) + i / 4 for i in range(12)}
    results = [st.rank_intervals(agents, seed, 25) for seed in (1, 1, 2)]
    assert results[0] == results[1] != results[2]


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    np.random.seed(1)  # noqa: NPY002 - the global generator is what is being watched
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    first = seeded_calls(7), st.rank_intervals({"a": draw(4, 2), "b": draw(4, 2)})
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert (seeded_calls(7), st.rank_intervals({"a": draw(4, 2), "b": draw(4, 2)})) == first


# Bad input -------------------------------------------------------------------------------------

TWO = [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: st.iqm([1.0, 2.0]), r"\(runs, tasks\).*\(2,\).*scores\[:, None\]"),
        (lambda: st.iqm([[[1.0]]]), r"\(1, 1, 1\)"),
        (lambda: st.iqm(np.empty((0, 3))), "empty"),
        (lambda: st.iqm([[1.0, math.nan]]), "1 NaN or infinite of 2"),
        (lambda: st.iqm([[1.0, math.inf]]), "finite"),
        (lambda: st.iqm([[1.0], [1.0, 2.0]]), "different length"),
        (lambda: st.iqm([["a", "b"]]), "numbers"),
        (lambda: st.iqm([[1.0, None]]), "NaN|missing"),
        (lambda: st.optimality_gap(TWO, gamma=math.nan), "gamma"),
        (lambda: st.probability_of_improvement(TWO, [[1.0]]), "same tasks.*2 and 1"),
        (lambda: st.probability_of_improvement([1.0], TWO), "x must have shape"),
        (lambda: st.performance_profile(TWO, []), "thresholds must not be empty"),
        (lambda: st.performance_profile(TWO, 0.5), "thresholds must be one-dimensional"),
        (lambda: st.mean_interval([]), "values must not be empty"),
        (lambda: st.mean_interval(TWO), "one-dimensional"),
        (lambda: st.mean_interval([1.0, math.nan]), "NaN"),
        (lambda: st.mean_interval([1.0, 2.0], confidence=95), r"\(0, 1\).*95"),
        (lambda: st.mean_interval([1.0, 2.0], confidence=math.nan), "confidence"),
        (lambda: st.welch_interval([1.0, 2.0], []), "y must not be empty"),
        (lambda: st.wilson_interval(3, 2), "0..n, got 3 of n = 2"),
        (lambda: st.wilson_interval(-1, 2), "got -1"),
        (lambda: st.wilson_interval(0, 0), "at least one trial"),
        (lambda: st.wilson_interval(1.5, 2), "whole number"),  # type: ignore[arg-type]
        (lambda: st.wilson_interval(math.nan, 2), "whole number"),  # type: ignore[arg-type]
        (lambda: st.wilson_interval("1", 2), "whole number"),  # type: ignore[arg-type]
        (lambda: st.stratified_bootstrap(TWO, st.iqm, seed=-1), "seed"),
        (lambda: st.stratified_bootstrap(TWO, st.iqm, seed=0.5), "seed"),  # type: ignore[arg-type]
        (lambda: st.stratified_bootstrap(TWO, st.iqm, resamples=0), "resamples"),
        (lambda: st.stratified_bootstrap(TWO, lambda s: math.nan), "one finite number"),
        (lambda: st.stratified_bootstrap(TWO, lambda s: s), "one finite number"),
        (lambda: st.stratified_bootstrap(TWO, st.iqm, other=[[1.0]]), "same tasks"),
        (lambda: st.stratified_bootstrap(TWO, st.iqm, other=TWO), "two samples"),
        (lambda: st.stratified_bootstrap(TWO, st.probability_of_improvement), "two samples"),
        (lambda: st.rank_intervals({}), "at least one agent"),
        (lambda: st.rank_intervals({"a": TWO, "b": [[1.0], [2.0]]}), "same tasks"),
        (lambda: st.rank_intervals({"a": TWO, "b": [[1.0, 2.0]]}), "'b' has one run"),
        (lambda: st.rank_intervals({"a": [[math.nan]]}), "scores of 'a'"),
    ],
)
def test_bad_input_is_refused_with_what_was_given(call: object, words: str) -> None:
    with pytest.raises(st.StatisticsError, match=words) as caught:
        call()  # type: ignore[operator]
    assert isinstance(caught.value, PkubenchError)
    assert "\n" not in str(caught.value)


def test_inputs_are_left_as_they_were() -> None:
    scores = draw(5, 3)
    kept = scores.copy()
    scores.flags.writeable = False
    st.iqm(scores)
    st.stratified_bootstrap(scores, st.iqm, resamples=10)
    st.rank_intervals({"a": scores}, resamples=10)
    assert (scores == kept).all()


def test_importing_the_statistics_leaves_heavy_modules_alone() -> None:
    code = (
        "import sys, pkubench.evaluation.statistics as s; "
        "print([m for m in ('scipy.stats', 'torch', 'matplotlib', 'mujoco') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Coverage: how often an interval holds the truth ------------------------------------------------
# Bands are the nominal or measured coverage with four standard errors of the simulation.

REPETITIONS = 2000


def test_the_t_interval_covers_a_normal_mean_95_times_in_100() -> None:
    samples = draw(REPETITIONS, 5)
    hits = [i.low <= 0.0 <= i.high for i in map(st.mean_interval, samples)]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.02)


def test_the_welch_interval_covers_a_difference_of_unequal_variances() -> None:
    x, y = draw(REPETITIONS, 5), 3 * draw(REPETITIONS, 10, seed=1) + 1
    found = [st.welch_interval(a, b) for a, b in zip(x, y, strict=True)]
    assert np.mean([d.low <= -1.0 <= d.high for d in found]) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(("n", "worst"), [(5, 0.82), (20, 0.85), (100, 0.85)])
def test_the_wilson_interval_covers_rates_near_the_nominal_level(n: int, worst: float) -> None:
    # Exact: each count's chance is known, so nothing needs simulating. Its known dips lie at
    # rates near 0 and 1; the average over rates is the nominal level.
    bounds = np.array([st.wilson_interval(k, n)[1:] for k in range(n + 1)])
    rates = np.linspace(0.0, 1.0, 402)[1:-1]
    held = (bounds[:, :1] <= rates) & (rates <= bounds[:, 1:])
    coverage = (stats.binom.pmf(np.arange(n + 1)[:, None], n, rates) * held).sum(axis=0)
    assert coverage.mean() == pytest.approx(0.95, abs=0.012)
    assert coverage.min() > worst


@pytest.mark.parametrize(
    ("runs", "tasks", "measured"), [(5, 1, 0.885), (5, 5, 0.915), (10, 5, 0.935)]
)
def test_the_bootstrap_of_the_iqm_covers_as_often_as_the_docs_say(
    runs: int, tasks: int, measured: float
) -> None:
    scores = draw(REPETITIONS // 2, runs, tasks)  # symmetric about 0, the true IQM
    found = [st.stratified_bootstrap(s, st.iqm, i, 400) for i, s in enumerate(scores)]
    coverage = np.mean([i.low <= 0.0 <= i.high for i in found])
    assert coverage == pytest.approx(measured, abs=0.035)


def test_the_bootstrap_of_the_probability_of_improvement_covers_the_normal_truth() -> None:
    x, y = draw(REPETITIONS // 2, 10, 3) + 0.5, draw(REPETITIONS // 2, 10, 3, seed=1)
    truth = stats.norm.cdf(0.5 / math.sqrt(2))
    better = st.probability_of_improvement
    found = [
        st.stratified_bootstrap(a, better, i, 400, other=b)
        for i, (a, b) in enumerate(zip(x, y, strict=True))
    ]
    coverage = np.mean([i.low <= truth <= i.high for i in found])
    assert coverage == pytest.approx(0.93, abs=0.035)


@pytest.mark.parametrize("gap", [0.1, 0.5, 2.0])
def test_rank_intervals_cover_the_true_rank(gap: float) -> None:
    scores = draw(250, 5, 5, 2) - gap * np.arange(5)[:, None, None]
    hits = np.zeros(5)
    for i, agents in enumerate(scores):
        ranks = st.rank_intervals({str(k): s for k, s in enumerate(agents)}, i, 200)
        hits += [ranks[str(k)].low <= k + 1 <= ranks[str(k)].high for k in range(5)]
    assert (hits / len(scores) > 0.85).all()
