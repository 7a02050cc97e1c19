"""The verdict on the paper's claim: PSD-PSRO against every other method on every game measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.results.game_records import Line
from pkubench.evaluation.statistics import holm, welch_interval

_METRICS = {"exploitability": "exploitability", "pe": "PE"}
_RANKS = {"psd-psro": 0, "dpp-psro": 1, "bd-rd-psro": 1, "p-psro": 2, "psro-rn": 2, "psro": 2}
"""The published order at the end of the runs, lowest first; equal ranks are not distinguished."""
_LEVEL = 0.05
FAST = ("self-play", "cfr+")
"""Methods that do not set a budget for the others, because they are much faster."""


class Comparison(NamedTuple):
    """Two methods on a game, by the values at the end of their runs.

    Attributes:
        game: Where.
        lower: The method that the paper has lower.
        other: The method that it is compared with.
        metric: ``exploitability`` or ``pe``.
        difference: Of means, the first minus the other.
        low: Of the difference, Welch's 95 % interval, not corrected.
        high: The same.
        p: Welch's p-value, corrected by Holm for all comparisons.
    """

    game: str
    lower: str
    other: str
    metric: str
    difference: float
    low: float
    high: float
    p: float

    @property
    def text(self) -> str:
        """The difference with its interval; equal values that do not vary have none."""
        if not np.isfinite([self.low, self.high]).all():
            return f"{self.difference:.3g}"
        return f"{self.difference:.3g} [{self.low:.3g}, {self.high:.3g}]"

    @property
    def verdict(self) -> str:
        """Whether the first is better (lower), worse, or neither is shown."""
        if not self.p < _LEVEL:
            return "undecided"
        return "better" if self.difference < 0.0 else "worse"


def equal_budgets(lines: Sequence[Line]) -> dict[str, float]:
    """Return the largest episodes and seconds that all methods' runs reach, in the mean.

    Self-play takes very little time, too little for any population method, and is left out, as is
    CFR+, which plays no episodes.
    """
    budgets = {}
    for budget in ("episodes", "seconds"):
        counted = [line for line in lines if line.row.method not in FAST]
        counted = [line for line in counted or lines if max(line.ends(budget)) > 0]
        budgets[budget] = min(float(np.mean(line.ends(budget))) for line in counted)
    return budgets


def comparisons(lines: Sequence[Line]) -> list[Comparison]:
    """Compare, on each game, the methods that the paper ranks apart, and PSD-PSRO with all others.

    Both metrics of all games are one family for Holm's correction.
    """
    found: list[Comparison] = []
    for ours in lines:
        for theirs in lines:
            one, other = _plain(ours), _plain(theirs)
            is_ranked = one in _RANKS and _RANKS[one] < _RANKS.get(other, -1)
            is_other = one == "psd-psro" and other not in _RANKS and other != "cfr+"
            if ours.row.heading == theirs.row.heading and (is_ranked or is_other):
                for metric in _METRICS:
                    gap = welch_interval(ours.ends(metric), theirs.ends(metric))
                    p = 1.0 if np.isnan(gap.p_value) else gap.p_value
                    values = gap.estimate, gap.low, gap.high, p
                    found.append(Comparison(ours.row.heading, one, other, metric, *values))
    corrected = holm([each.p for each in found])
    return [each._replace(p=p) for each, p in zip(found, corrected, strict=True)]


def claim(lines: Sequence[Line]) -> Iterator[str]:
    """Yield the section on the paper's claim."""
    family = comparisons(lines)
    ours = [each for each in family if each.lower == "psd-psro"]
    yield "## The paper's claim\n\n"
    if not ours:
        yield "PSD-PSRO is not measured together with another method yet.\n\n"
        return
    games = dict.fromkeys(each.game for each in ours)
    yield (
        f"PSD-PSRO against each other method at the end of the runs, on all {len(games)} games "
        "measured: difference of means (negative is lower, which is better) with Welch's 95 % "
        "interval over seeds, and the p-value corrected by Holm for all "
        f"{len(family)} comparisons of this section, those among the other ranks of the published "
        "order included. The intervals are not corrected, so one can leave out 0 where nothing is "
        "decided.\n\n"
        "| game | against | exploitability | p | verdict | PE | p | verdict |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    for game in games:
        for other in dict.fromkeys(each.other for each in ours if each.game == game):
            cells = [game, other]
            for metric in _METRICS:
                (each,) = (e for e in ours if (e.game, e.other, e.metric) == (game, other, metric))
                cells += [each.text, f"{each.p:.2g}", each.verdict]
            yield "| " + " | ".join(cells) + " |\n"
    yield "\n"
    for metric, word in _METRICS.items():
        yield f"- {word}: PSD-PSRO is {_counts([e for e in ours if e.metric == metric])}.\n"
    ranked = [each for each in family if each.lower in _RANKS and each.other in _RANKS]
    yield f"\n{_order(ranked)}\n\n"


def _order(ranked: Sequence[Comparison]) -> str:
    """Return whether the published order is reproduced, from the counts alone."""
    order = "PSD-PSRO, then DPP and BD&RD, then P-PSRO, PSRO_rN and PSRO"
    verdicts = [each.verdict for each in ranked]
    if "worse" in verdicts:
        word = "is not reproduced"
    elif verdicts and set(verdicts) == {"better"}:
        word = "is reproduced"
    else:
        word = "is reproduced in part: nothing contradicts it, and not all of it is shown"
    return (
        f"The published order of the AlphaStar league (lowest first: {order}) **{word}**: of the "
        f"{len(ranked)} comparisons between its ranks, the method that it ranks lower is "
        f"{_counts(ranked)}."
    )


def _counts(chosen: Sequence[Comparison]) -> str:
    verdicts = [each.verdict for each in chosen]
    better, worse, none = (verdicts.count(word) for word in ("better", "worse", "undecided"))
    return f"better in {better}, worse in {worse}, undecided in {none}"


def _plain(line: Line) -> str:
    """Return the method; learned responses have their own section, so need no suffix."""
    return line.row.method.removesuffix("-deep")
