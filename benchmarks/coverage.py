"""How often each interval of ``pkubench.evaluation.statistics`` covers the truth, by simulation.

``python benchmarks/coverage.py`` prints the Markdown table of ``docs/concepts/statistics.md``;
``--write`` inserts it between the two marks. About a minute on one core.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy import special

from pkubench.evaluation import statistics as st

PAGE = Path(__file__).resolve().parents[1] / "docs" / "concepts" / "statistics.md"
BEGIN = "<!-- coverage table: written by benchmarks/coverage.py --write -->"
END = "<!-- end of coverage table -->"

Row = tuple[str, str, str, float]
"""Interval, what is drawn, sample size, coverage."""

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
LAWS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "skewed (exponential)": lambda rng, shape: rng.exponential(size=shape) - 1.0,
    "two modes (1 run in 5 fails)": lambda rng, shape: (rng.random(shape) < 0.8) - 0.8,
}
"""Each with mean 0, the truth to be covered."""


def t_rows(rng: np.random.Generator, repetitions: int) -> Iterator[Row]:
    """Student t on one task, for distributions that it was and was not made for."""
    for law, draw in LAWS.items():
        for n in (3, 5, 10):
            samples = draw(rng, (repetitions, n))
            found = [st.mean_interval(sample) for sample in samples]
            yield "`mean_interval`", law, f"{n} runs", _held(found, 0.0)


def welch_rows(rng: np.random.Generator, repetitions: int) -> Iterator[Row]:
    """Welch's t on two normal samples whose spreads differ threefold."""
    for n, m in ((5, 5), (5, 10)):
        x, y = rng.normal(size=(repetitions, n)), 3 * rng.normal(size=(repetitions, m))
        found = [st.welch_interval(a, b) for a, b in zip(x, y, strict=True)]
        yield "`welch_interval`", "normal, spreads 1 and 3", f"{n} and {m} runs", _held(found, 0.0)


def wilson_rows() -> Iterator[Row]:
    """Wilson's score, exactly: every count's probability is known."""
    rates = np.linspace(0, 1, 1002)[1:-1]
    for n in (5, 20, 100):
        bounds = np.array([st.wilson_interval(k, n)[1:] for k in range(n + 1)])
        held = (bounds[:, :1] <= rates) & (rates <= bounds[:, 1:])
        k = np.arange(n + 1)[:, None]
        log_ways = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
        chance = np.exp(log_ways + k * np.log(rates) + (n - k) * np.log1p(-rates))
        cover = (chance * held).sum(axis=0)
        yield "`wilson_interval`", "mean over success rates", f"{n} trials", float(cover.mean())
        yield "`wilson_interval`", "worst success rate", f"{n} trials", float(cover.min())


def bootstrap_rows(rng: np.random.Generator, repetitions: int) -> Iterator[Row]:
    """The percentile bootstrap of the mean, the IQM and the probability of improvement."""
    shapes = ((5, 1), (5, 5), (10, 1), (10, 5), (20, 5))
    for label, statistic in (("mean", np.mean), ("IQM", st.iqm)):
        for runs, tasks in shapes:
            scores = rng.normal(size=(repetitions, runs, tasks))
            found = [st.stratified_bootstrap(s, statistic, i, 1000) for i, s in enumerate(scores)]
            size = _size(runs, tasks)
            yield f"`stratified_bootstrap`, {label}", "normal", size, _held(found, 0.0)
    truth = float(special.ndtr(0.5 / math.sqrt(2)))
    better = st.probability_of_improvement
    for runs, tasks in ((5, 1), (5, 5), (10, 5)):
        x = rng.normal(size=(repetitions, runs, tasks)) + 0.5
        y = rng.normal(size=(repetitions, runs, tasks))
        found = [
            st.stratified_bootstrap(a, better, i, 1000, other=b)
            for i, (a, b) in enumerate(zip(x, y, strict=True))
        ]
        name = "`stratified_bootstrap`, probability of improvement"
        yield name, "normal, shifted by half a spread", _size(runs, tasks), _held(found, truth)


def rank_rows(rng: np.random.Generator, repetitions: int) -> Iterator[Row]:
    """Ranks of five agents a fixed gap apart; the worst-covered agent of the five counts."""
    for gap in (0.02, 0.2, 1.0):
        for runs, tasks in ((5, 1), (5, 5), (10, 5)):
            hits = np.zeros(5)
            for i in range(repetitions // 2):
                scores = rng.normal(size=(5, runs, tasks)) - gap * np.arange(5)[:, None, None]
                ranks = st.rank_intervals({str(k): s for k, s in enumerate(scores)}, i, 400)
                hits += [ranks[str(k)].low <= k + 1 <= ranks[str(k)].high for k in range(5)]
            what = f"normal, agents {gap:g} spreads apart, worst agent"
            cover = float(hits.min()) / (repetitions // 2)
            yield "`rank_intervals`", what, _size(runs, tasks), cover


def table(repetitions: int) -> str:
    """Return the Markdown table."""
    rng = np.random.default_rng(20240607)
    rows = [
        *t_rows(rng, repetitions),
        *welch_rows(rng, repetitions),
        *wilson_rows(),
        *bootstrap_rows(rng, repetitions),
        *rank_rows(rng, repetitions),
    ]
    lines = ["| interval | drawn from | sample | holds the truth |", "|---|---|---|---:|"]
    lines += [f"| {a} | {b} | {c} | {100 * cover:.1f} % |" for a, b, c, cover in rows]
    return "\n".join(lines)


def _size(runs: int, tasks: int) -> str:
    return f"{runs} runs × {tasks} task{'s' if tasks > 1 else ''}"


def _held(found: list[st.Interval] | list[st.Difference], truth: float) -> float:
    return float(np.mean([i.low <= truth <= i.high for i in found]))


def main() -> None:
    """Print the table, or write it into the documentation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=4000)
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    options = parser.parse_args()
    markdown = table(options.repetitions)
    print(markdown)
    if options.write:
        text = PAGE.read_text(encoding="utf-8")
        head, rest = text.split(BEGIN)
        tail = rest.split(END)[1]
        PAGE.write_text(f"{head}{BEGIN}\n{markdown}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
