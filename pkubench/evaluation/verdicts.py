"""What runs say of a claim: its comparisons, their outcomes, the verdict, what would decide it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pkubench.evaluation.statistics import Interval
from pkubench.tasks.claim import Claim

MIN_RUNS = 3
"""Runs of each side below which nothing is tested: two say next to nothing about their spread."""
Verdict = Literal["supported", "contradicted", "mixed", "not shown"]
Outcome = Literal[
    "for", "against", "undecided", "tie", "over the limit", "too few runs", "unequal budgets",
    "not measured",
]  # fmt: skip
"""What a comparison says. ``tie``: all values are equal, or exact scores that agree to rounding.
``over the limit``: the agent with the higher return has a mean cost above the task's limit, so its
return does not count. The last three are not tested."""
TESTED: tuple[Outcome, ...] = ("for", "against", "undecided", "over the limit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """First agent of a pair against the second on one task, in the task's metric."""

    better: str
    other: str
    task: str
    metric: str
    higher_is_better: bool
    """Which direction the claim says is better."""
    outcome: Outcome
    budget: float | None = None
    """What both were trained for, in the claim's unit; None if it is not recorded."""
    n: tuple[int, int] = (0, 0)
    """Runs of each side; of a limit 0."""
    difference: float | None = None
    """Of the means, the first minus the second."""
    low: float | None = None
    """95 % interval of the difference, not corrected."""
    high: float | None = None
    p_value: float | None = None
    corrected: float | None = None
    """The p-value, corrected for all of the claim's."""
    five_points: float | None = None
    """5 points of the task's normalised scale, in the metric's units (of a cost, 5 % of the limit);
    None where the scale is not known."""
    runs_for_difference: int | None = None
    """Runs of each side with which a true difference as large as this one would be shown with
    probability 0.8, at the level that corrects for all comparisons; None if it is 0."""
    runs_for_five_points: int | None = None
    """The same for a difference of ``five_points``."""
    missing: str = ""
    """Why nothing was tested."""
    keeps: tuple[str, ...] = ()
    """Which weights of each side's runs were scored (``Sample.keep``), if not the same of both."""

    @property
    def is_tested(self) -> bool:
        """Whether it counts in the verdict."""
        return self.outcome in TESTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """A pair over all tasks on which it is compared."""

    better: str
    other: str
    tasks: tuple[str, ...]
    chance: Interval
    """Probability that a run of the first beats one of the second, averaged over tasks."""
    p_value: float
    corrected: float
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A claim and what the runs say of it."""

    claim: Claim
    suite: str
    verdict: Verdict
    chance: Interval | None
    """Probability that a run of a pair's first agent beats one of its second, averaged over all
    comparisons; of limits, the share of runs on the claimed side, with Wilson's interval. None if
    nothing is compared."""
    comparisons: tuple[Comparison, ...]
    pooled: tuple[Pooled, ...]
    decide: tuple[str, ...]
    """What would decide the claim, or what keeps the verdict from being the paper's."""
    ablation: Verdict | None = None
    """Verdict on the claim's ablation; None if it names none."""

    @property
    def is_unexplained(self) -> bool:
        """Whether the claim is supported and its ablation, the cause that it names, is not."""
        return self.verdict == "supported" and self.ablation not in ("supported", None)

    @property
    def is_measured(self) -> bool:
        """Whether any of its comparisons has runs on both sides."""
        return any(each.outcome != "not measured" for each in self.comparisons)

    @property
    def tested(self) -> list[Comparison]:
        """The comparisons that count."""
        return [each for each in self.comparisons if each.is_tested]

    def count(self, outcome: Outcome) -> int:
        """Return how many comparisons, single and over tasks, have an outcome."""
        every: list[Comparison | Pooled] = [*self.comparisons, *self.pooled]
        return sum(each.outcome == outcome for each in every)

    def to_json(self) -> dict[str, Any]:
        """Return the judgement as JSON values."""
        claim = self.claim
        budgets = sorted({c.budget for c in self.tested if c.budget is not None})
        return {
            "name": claim.name,
            "suite": self.suite,
            "paper": claim.paper,
            "text": claim.text,
            "verdict": self.verdict,
            "counts": {
                word: self.count(word)
                for word in ("for", "against", "undecided", "tie", "over the limit")
            },
            "chance": None if self.chance is None else self.chance._asdict(),
            "n": sorted({n for c in self.tested for n in c.n if n}),
            "equal": claim.equal,
            "is_paired": claim.is_paired,
            "budgets": budgets,
            "published_budget": dict(claim.budget),
            "published": claim.published,
            "note": claim.note,
            "ablation": (
                {"name": claim.ablation, "verdict": self.ablation} if claim.ablation else None
            ),
            "decide": list(self.decide),
            "comparisons": [
                {name: getattr(c, name) for name in Comparison.__slots__} for c in self.comparisons
            ],
            "pooled": [
                {
                    **{name: getattr(p, name) for name in Pooled.__slots__},
                    "chance": p.chance._asdict(),
                }
                for p in self.pooled
            ],
        }


def verdict_of(has_for: bool, has_against: bool) -> Verdict:
    """Return the verdict, given whether any comparison is decided for and against the claim."""
    if has_for:
        return "mixed" if has_against else "supported"
    return "contradicted" if has_against else "not shown"


def what_would_decide(judgement: Judgement) -> Iterator[str]:
    """Yield what would decide a claim, the cheapest first."""
    claim, comparisons = judgement.claim, judgement.comparisons
    for outcome, words in (
        ("not measured", "not measured"),
        ("unequal budgets", f"without equal {claim.equal}"),
        ("too few runs", f"at least {MIN_RUNS} runs a side"),
    ):
        where = [each for each in comparisons if each.outcome == outcome]
        if where:
            yield f"{words}: {_listed(where)}"
    undecided = [each for each in comparisons if each.outcome == "undecided"]
    spans = [
        (what, _span([getattr(each, name) for each in undecided]))
        for what, name in (
            ("the differences seen", "runs_for_difference"),
            ("5 points", "runs_for_five_points"),
        )
    ]
    needed = [f"{span} to show {what}" for what, span in spans if span]
    if needed:
        yield f"runs a side: {', '.join(needed)}"
    uneven = [each for each in comparisons if each.keeps and each.is_tested]
    if uneven:
        yield f"one rule for which weights are scored, last or best: {_listed(uneven)}"
    short = {
        (each.budget, published)
        for each in comparisons
        if each.budget is not None
        and (published := claim.published_budget(each.task)) is not None
        and each.budget < published
    }
    if short:
        most = max(published for _, published in short)
        held = _span([budget for budget, _ in short])
        yield f"the published {most:,.0f} {claim.equal}, instead of {held}"


def _span(numbers: Sequence[float | None]) -> str:
    """Return the lowest and the highest of some numbers in words, "" if there are none."""
    known = sorted(number for number in numbers if number is not None)
    if not known:
        return ""
    low, high = f"{known[0]:,.0f}", f"{known[-1]:,.0f}"
    return low if low == high else f"{low} to {high}"


def _listed(comparisons: Sequence[Comparison]) -> str:
    """Return the agents of comparisons, and the tasks where, in short."""
    by_pair: dict[tuple[str, str], list[str]] = {}
    for each in comparisons:
        by_pair.setdefault((each.better, each.other), []).append(each.task.rpartition("/")[2])
    by_tasks: dict[tuple[str, str], list[str]] = {}
    for (better, other), tasks in by_pair.items():
        by_tasks.setdefault((better, ", ".join(tasks)), []).append(other)
    return "; ".join(
        f"{better} and {', '.join(others)} on {tasks}"
        for (better, tasks), others in by_tasks.items()
    )


def amount(budget: float | None, unit: str) -> str:
    """Return a budget in words: ``1,000,000 steps``."""
    if budget is None:
        return "a budget that is not recorded"
    digits = f"{budget:,.0f}" if budget >= 100 else f"{budget:.3g}"
    return f"{digits} {unit}"
