"""Judgements of claims in words, as the command line, the documentation and the site show them."""

from __future__ import annotations

from collections.abc import Sequence

from pkubench.evaluation.verdicts import Judgement


def verdict(judged: Judgement) -> str:
    """Return the verdict, with a star if the cause that the paper names is not supported too.

    It is ``not measured`` where no comparison has runs on both sides.
    """
    if not judged.is_measured:
        return "not measured"
    return f"{judged.verdict}{' *' if judged.is_unexplained else ''}"


def counts(judged: Judgement) -> str:
    """Return how many comparisons are decided for it, against it, and undecided."""
    if not judged.tested and not judged.count("tie"):
        return "–"
    return ", ".join(str(judged.count(word)) for word in ("for", "against", "undecided"))


def chance(judged: Judgement) -> str:
    """Return the chance that the claim holds for a run, with its interval."""
    found = judged.chance
    if found is None:
        return "–"
    if found.low != found.low:  # a single run
        return f"{found.estimate:.2f}"
    return f"{found.estimate:.2f} {found.low:.2f} to {found.high:.2f}"


def runs(judged: Judgement) -> str:
    """Return how many runs the sides of tested comparisons have: ``3 to 5``."""
    return _span(sorted({n for each in judged.tested for n in each.n if n}))


def budget(judged: Judgement) -> str:
    """Return the budgets of tested comparisons, in words."""
    found = sorted({each.budget for each in judged.tested if each.budget is not None})
    if not found:
        return "not recorded" if judged.tested else "–"
    unit = judged.claim.equal
    return f"{_span([_brief(value) for value in (found[0], found[-1])])} {unit}"


def _span(values: Sequence[object]) -> str:
    if not values:
        return "–"
    return f"{values[0]}" if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def _brief(value: float) -> str:
    return f"{value / 1e6:.3g} M" if value >= 1e5 else f"{value:.3g}"
