"""The verdict on the paper's claim: PSD-PSRO against every other method, game by game.

Records become comparisons, and comparisons verdicts, by pure functions. A *question* is one other
method, one metric and one kind of equal budget; the games on which it can be asked are the family
of comparisons that Holm's correction is for. Games that methods solve within a run are compared by
the time that it takes, and learned responses are shown but not counted while their budget is not
the paper's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np

from benchmarks.results.game_records import Line, timed_alike
from benchmarks.results.page import LEVEL
from pkubench.evaluation.statistics import holm, welch_interval

METRICS = {"exploitability": "exploitability", "pe": "PE"}
BUDGETS = ("iterations", "episodes", "seconds")
OFFICIAL_PLAYS = 162 * 20_000
"""Plays of training in the published code for Leduc poker."""
WITHOUT_PLAYS = ("cfr+", "mmd", "mmd-magnet")
"""Solvers that play no episodes and approach an equilibrium without reaching it."""
LATER = ("anytime-psro", "sp-psro", "xdo", "xdo-exact")
"""Oracle methods that PSD-PSRO's claim is not about; they have claims of their own."""
SAMPLED = ("nfsp", "deep-cfr")
"""Solvers that learn networks from plays, so that episodes are those played."""
FAST = ("self-play", *WITHOUT_PLAYS, *LATER, *SAMPLED)
"""Methods that do not set a budget for the others: much faster, or of another kind."""
_OURS = "psd-psro"
_SPLITS = 20_000
"""Largest number of ways to divide the runs of two methods that are gone through."""


class Question(NamedTuple):
    """What is asked of every game.

    Attributes:
        other: The method that PSD-PSRO is compared with.
        metric: ``exploitability`` or ``pe``; ``solution`` for the time to solution.
        budget: What is equal (or, of a solution, counted): iterations, episodes or seconds.
    """

    other: str
    metric: str
    budget: str


class Comparison(NamedTuple):
    """PSD-PSRO and another method on a game.

    Attributes:
        game: The game.
        question: What is compared.
        difference: Of means, PSD-PSRO minus the other; of a solution, of medians.
        low: Of the difference, Welch's 95 % interval, not corrected; NaN where there is none.
        high: The same.
        p: Two-sided p-value, corrected by Holm for the games of the question.
        lead: Negative if PSD-PSRO is ahead: lower, or earlier.
    """

    game: str
    question: Question
    difference: float
    low: float
    high: float
    p: float
    lead: float

    @property
    def text(self) -> str:
        """The difference with its interval; equal values that do not vary have none."""
        if not np.isfinite([self.low, self.high]).all():
            return f"{self.difference:.3g}"
        return f"{self.difference:.3g} [{self.low:.3g}, {self.high:.3g}]"

    @property
    def verdict(self) -> str:
        """Whether PSD-PSRO is better (lower, earlier), worse, or neither is shown."""
        if not self.p < LEVEL or self.lead == 0.0:
            return "undecided"
        return "better" if self.lead < 0.0 else "worse"


class Solutions(NamedTuple):
    """When the runs of a method reached an equilibrium.

    Attributes:
        times: Of each run, when it did, or how far it came without.
        solved: Whether it did.
    """

    times: list[float]
    solved: list[bool]

    @property
    def median(self) -> float:
        """Kaplan and Meier's median; infinite if half of the runs did not get there."""
        left, survival = len(self.times), 1.0
        for time, is_solved in sorted(zip(self.times, self.solved, strict=True)):
            if is_solved:
                survival *= 1.0 - 1.0 / left
            left -= 1
            if survival <= 0.5 + 1e-12:
                return time
        return np.inf


def equal_budgets(lines: Sequence[Line]) -> dict[str, float]:
    """Return the largest episodes and seconds that all methods' runs reach, in the mean.

    Self-play takes very little time, too little for any population method, and is left out, as are
    the solvers of ``FAST``. Seconds are those of the rows that were timed alike.
    """
    budgets = {}
    for budget in ("episodes", "seconds"):
        of = timed_alike(lines) if budget == "seconds" else lines
        counted = [line for line in of if line.row.method not in FAST]
        counted = [line for line in counted or of if max(line.ends(budget)) > 0]
        budgets[budget] = min(float(np.mean(line.ends(budget))) for line in counted)
    return budgets


def is_solved(lines: Sequence[Line]) -> bool:
    """Say whether a population method reaches an equilibrium of this game in all its runs."""
    return any(
        all(run["finished"] for run in line.runs) for line in lines if line.row.method not in FAST
    )


def is_counted(lines: Sequence[Line]) -> bool:
    """Say whether a section's runs have at least the paper's budget: the exact ones always."""
    plays = min(float(np.mean(line.ends("episodes"))) for line in lines)
    return not lines[0].row.is_deep or plays >= OFFICIAL_PLAYS


def solutions(line: Line, budget: str) -> Solutions:
    """Return when each run of a method reached an equilibrium, in a budget's unit."""
    return Solutions(line.ends(budget), [bool(run["finished"]) for run in line.runs])


def log_rank_scores(found: Solutions) -> list[float]:
    """Return the log-rank score of each run: 1 if it solved, less the hazard up to its time.

    The sum over a group is its observed less its expected number of solutions (Mantel 1966);
    positive is earlier.
    """
    scores = []
    for time, is_solved in zip(found.times, found.solved, strict=True):
        hazard = 0.0
        for event in sorted({t for t, s in zip(*found, strict=True) if s and t <= time}):
            events = sum(t == event and s for t, s in zip(*found, strict=True))
            hazard += events / sum(t >= event for t in found.times)
        scores.append(float(is_solved) - hazard)
    return scores


def log_rank(ours: Solutions, theirs: Solutions) -> tuple[float, float]:
    """Compare times to solution; runs that did not get there are right-censored.

    Returns:
        Observed less expected solutions of the first, and the exact two-sided p-value: the share of
        divisions of all runs into groups of these sizes whose score is as far from 0.
    """
    size = len(ours.times)
    pooled = Solutions([*ours.times, *theirs.times], [*ours.solved, *theirs.solved])
    if comb(len(pooled.times), size) > _SPLITS:
        raise ValueError(f"{len(pooled.times)} runs have too many divisions to go through")
    scores = np.array(log_rank_scores(pooled))
    found = float(scores[:size].sum())
    sums = np.array([scores[list(group)].sum() for group in combinations(range(len(scores)), size)])
    return found, float((np.abs(sums) >= abs(found) - 1e-9).mean())


def comparisons(games: Mapping[str, Sequence[Line]]) -> list[Comparison]:
    """Compare PSD-PSRO with each other method on every game that counts.

    Args:
        games: Section of the page -> the lines of its methods.

    Returns:
        One comparison per game and question, p-values corrected for the games of the question.
    """
    found: list[Comparison] = []
    for game, lines in games.items():
        ours = next((line for line in lines if _plain(line) == _OURS), None)
        if ours is None or not is_counted(lines):
            continue
        alike = timed_alike(lines)
        for theirs in lines:
            if theirs is not ours and theirs.row.method not in (*WITHOUT_PLAYS, *LATER):
                compare = _compared_solutions if is_solved(lines) else _compared_values
                asked = compare(game, ours, theirs, equal_budgets(lines))
                is_timed = ours in alike and theirs in alike
                found += [e for e in asked if is_timed or e.question.budget != "seconds"]
    questions = dict.fromkeys(each.question for each in found)
    corrected: dict[tuple[str, Question], float] = {}
    for question in questions:
        family = [each for each in found if each.question == question]
        for each, p in zip(family, holm([each.p for each in family]), strict=True):
            corrected[each.game, question] = p
    return [each._replace(p=corrected[each.game, each.question]) for each in found]


def _compared_values(
    game: str, ours: Line, theirs: Line, budgets: Mapping[str, float]
) -> Iterator[Comparison]:
    for metric in METRICS:
        for budget in BUDGETS:
            one, other = (
                line.ends(metric)
                if budget == "iterations"
                else line.at(metric, budget, budgets[budget])
                for line in (ours, theirs)
            )
            gap = welch_interval(one, other)
            p = 1.0 if np.isnan(gap.p_value) else gap.p_value
            question = Question(_plain(theirs), metric, budget)
            values = gap.estimate, gap.low, gap.high, p, gap.estimate
            yield Comparison(game, question, *values)


def _compared_solutions(
    game: str, ours: Line, theirs: Line, budgets: Mapping[str, float]
) -> Iterator[Comparison]:
    for budget in BUDGETS:
        one, other = solutions(ours, budget), solutions(theirs, budget)
        score, p = log_rank(one, other)
        with np.errstate(invalid="ignore"):
            gap = float(np.subtract(one.median, other.median))
        question = Question(_plain(theirs), "solution", budget)
        yield Comparison(game, question, gap, np.nan, np.nan, p, -score)


def counts(chosen: Sequence[Comparison]) -> str:
    """Return how often PSD-PSRO is better, worse, and neither is shown."""
    verdicts = [each.verdict for each in chosen]
    better, worse, none = (verdicts.count(word) for word in ("better", "worse", "undecided"))
    return f"better {better}, worse {worse}, undecided {none}"


def claim(games: Mapping[str, Sequence[Line]]) -> Iterator[str]:
    """Yield the section on the paper's claim."""
    found = comparisons(games)
    yield "## PSD-PSRO against the other methods\n\n"
    if not found:
        yield "PSD-PSRO is not measured together with another method yet.\n\n"
        return
    yield (
        "A question is one other method, one metric and one kind of equal budget. It is asked of "
        "every game on which both are measured, and p-values are corrected by Holm for the games "
        "of the question. `psd-psro` takes the same steps as the others; `psd-psro-0.6` is the "
        "published form, with its longer step. Games that a method solves within its runs are "
        "compared by the time to solution below, not by values that are 0. How many games:\n\n"
        "| PSD-PSRO against | metric | equal iterations | equal episodes | equal seconds |\n"
        "|---|---|---|---|---|\n"
    )
    for other in dict.fromkeys(each.question.other for each in found):
        for metric, word in {**METRICS, "solution": "time to solution"}.items():
            asked = [
                [each for each in found if each.question == Question(other, metric, budget)]
                for budget in BUDGETS
            ]
            if asked[0]:
                cells = [other, word, *(counts(family) if family else "-" for family in asked)]
                yield "| " + " | ".join(cells) + " |\n"
    yield "\n"
    for metric, word in METRICS.items():
        yield from _by_game(found, metric, word)
    yield from _solved_games(games, found)
    for game, lines in games.items():
        if not is_counted(lines):
            plays = min(float(np.mean(line.ends("episodes"))) for line in lines)
            yield (
                f"Not counted: {game}, whose runs have {plays / 1e6:.3g} M plays of the published "
                f"{OFFICIAL_PLAYS / 1e6:.3g} M. Its table is below.\n\n"
            )


def _by_game(found: Sequence[Comparison], metric: str, word: str) -> Iterator[str]:
    """Yield the comparisons of a metric, one line per game and method."""
    chosen = [each for each in found if each.question.metric == metric]
    yield (
        f"### {word}, game by game\n\n"
        "Difference of means, PSD-PSRO minus the other (negative is lower, which is better), with "
        "Welch's 95 % interval over seeds, and the corrected p-value. The intervals are not "
        "corrected, so one can leave out 0 where nothing is decided.\n\n"
        "| game | against | equal iterations | equal episodes | equal seconds |\n"
        "|---|---|---|---|---|\n"
    )
    for game in dict.fromkeys(each.game for each in chosen):
        for other in dict.fromkeys(each.question.other for each in chosen if each.game == game):
            cells = [game, other]
            for budget in BUDGETS:
                question = Question(other, metric, budget)
                same = [e for e in chosen if (e.game, e.question) == (game, question)]
                cells += [f"{e.text}, p {e.p:.2g}: {e.verdict}" for e in same] or ["-"]
            yield "| " + " | ".join(cells) + " |\n"
    yield "\n"


def _solved_games(
    games: Mapping[str, Sequence[Line]], found: Sequence[Comparison]
) -> Iterator[str]:
    """Yield the times to solution of the games that are solved."""
    chosen = {g: lines for g, lines in games.items() if is_solved(lines) and is_counted(lines)}
    if not chosen:
        return
    yield (
        "### Time to solution\n\n"
        "On these games runs reach an equilibrium: no best response gains more than 1e-9 of the "
        "largest payoff. A run that does not is right-censored at its end. Kaplan and Meier's "
        "median over seeds, and PSD-PSRO compared by the log-rank test, with the exact p-value "
        "over all divisions of the runs, corrected like the others.\n\n"
        "| game | method | solved | iterations | episodes | seconds | "
        "PSD-PSRO in iterations | in episodes | in seconds |\n" + "|---" * 9 + "|\n"
    )
    for game, lines in chosen.items():
        for line in lines:
            if line.row.method in WITHOUT_PLAYS:
                continue
            at = {budget: solutions(line, budget) for budget in BUDGETS}
            times = at["iterations"]
            cells = [game, line.row.method, f"{sum(times.solved)} of {len(times.solved)}"]
            cells += [_time(at[budget]) for budget in BUDGETS]
            for budget in BUDGETS:
                question = Question(_plain(line), "solution", budget)
                same = [e for e in found if (e.game, e.question) == (game, question)]
                cells += [f"p {e.p:.2g}: {e.verdict}" for e in same] or ["-"]
            yield "| " + " | ".join(cells) + " |\n"
    yield "\n"


def _time(found: Solutions) -> str:
    """Format a median; a lower bound where half of the runs did not get there."""
    if np.isfinite(found.median):
        return f"{found.median:.3g}"
    return f"> {max(found.times):.3g}"


def _plain(line: Line) -> str:
    """Return the method; learned responses have their own section, so need no suffix."""
    return line.row.method.removesuffix("-deep")
