"""What makes PSD-PSRO's advantage on random games of skill: step, weight or meta-solver.

The published PSD-PSRO takes longer steps (0.6 of the way to its diverse responses) than the methods
that it is compared with (0.5), so its distance and its step are measured apart here: P-PSRO and
PSD-PSRO at equal steps, PSD-PSRO with weight 0, and both as published, under three meta-solvers, on
five games and scored exactly. ``python -m benchmarks.results.games --stage ablation`` does the runs
that have no record yet, and can be stopped and started at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.results.game_records import GameRow, Line, read
from pkubench.evaluation.figures.games import ratios_by_step
from pkubench.evaluation.statistics import Interval, holm, mean_interval, welch_interval

SKILL = tuple(f"matrix:game_of_skill(888,{seed})" for seed in range(5))
ITERATIONS = 200
EXACT, UNIFORM_START, OFFICIAL = "nash-simplex", "fictitious-play", "fictitious-play-official"
_PRESET_STEP, _PUBLISHED = 0.5, (0.5, 0.6)
_WEIGHT = 0.01


class Cell(NamedTuple):
    """One setting of the ablation.

    Attributes:
        step: Weight of a plain response in the mixture with the old policy.
        diverse_step: The same of a diverse response; None for P-PSRO, which has none.
        weight: Of the distance; None for P-PSRO.
        meta_solver: What responses are to.
    """

    step: float
    diverse_step: float | None = None
    weight: float | None = None
    meta_solver: str = EXACT

    @property
    def method(self) -> str:
        """Which of both methods it is."""
        return "p-psro" if self.weight is None else "psd-psro"

    @property
    def is_equal(self) -> bool:
        """Whether all of its steps are equal, so that one number says how long they are."""
        return self.diverse_step in (None, self.step)

    def row(self, game: str) -> GameRow:
        """Return its row on a game; equal settings of the main table are read from there."""
        changes: list[tuple[str, float | str]] = []
        if self.step != _PRESET_STEP:
            changes.append(("step", self.step))
        if self.diverse_step not in (None, 0.6):
            changes.append(("diversity_step", float(self.diverse_step or 0.0)))
        if self.weight not in (None, _WEIGHT):
            changes.append(("diversity_weight", float(self.weight or 0.0)))
        if self.meta_solver != EXACT:
            changes.append(("meta_solver", self.meta_solver))
        seeds = 5 if self.meta_solver == EXACT else 3
        row = GameRow(f"{self.method}-paper", game, ITERATIONS, seeds, ITERATIONS, tuple(changes))
        in_table = GameRow(row.agent, game, ITERATIONS, seeds, 5, row.changes)
        return in_table if row.changes in ((), (("diversity_step", 0.5),)) else row


def _cells() -> Iterator[Cell]:
    for step in (0.5, 0.6, 0.9):
        yield Cell(step)
        yield Cell(step, step, _WEIGHT)
        yield Cell(step, step, 0.0)
    yield Cell(*_PUBLISHED, _WEIGHT)
    yield Cell(*_PUBLISHED, 0.0)
    for solver in (OFFICIAL, UNIFORM_START):
        yield Cell(0.5, meta_solver=solver)
        yield Cell(0.6, meta_solver=solver)
        yield Cell(0.5, 0.5, _WEIGHT, solver)
        yield Cell(*_PUBLISHED, _WEIGHT, solver)
        yield Cell(*_PUBLISHED, 0.0, solver)


CELLS = tuple(_cells())


def rows() -> tuple[GameRow, ...]:
    """Return all rows, the cells of the exact meta-solver first."""
    return tuple(cell.row(game) for cell in CELLS for game in SKILL)


def measured(cell: Cell, column: str) -> list[list[float]] | None:
    """Return the values at the end of a cell's runs, a list per game; None if a game has none."""
    found = []
    for game in SKILL:
        row = cell.row(game)
        runs = read(row)
        if not runs:
            return None
        found.append(Line(row, runs[: row.seeds]).ends(column))
    return found


def ratio(values: Sequence[Sequence[float]], reference: Sequence[Sequence[float]]) -> Interval:
    """Return the geometric mean over games of a ratio of means over seeds, with its interval.

    The games are the sample: 95 % Student t of the logarithm over games.
    """
    logs = [
        float(np.log(np.mean(ours) / np.mean(theirs)))
        for ours, theirs in zip(values, reference, strict=True)
    ]
    return Interval(*(float(np.exp(value)) for value in mean_interval(logs)))


def verdict(found: Interval) -> str:
    """Return what an interval of ratios shows."""
    if found.high < 1.0:
        return "lower"
    return "higher" if found.low > 1.0 else "no difference shown"


def by_game(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> str:
    """Count the games on which the first is lower or higher: Welch's test, Holm over the games."""
    if min(map(len, [*ours, *theirs])) < 2:
        return "-"
    gaps = [welch_interval(a, b) for a, b in zip(ours, theirs, strict=True)]
    corrected = holm([1.0 if np.isnan(gap.p_value) else gap.p_value for gap in gaps])
    shown = [gap.estimate for gap, p in zip(gaps, corrected, strict=True) if p < 0.05]
    return f"{sum(gap < 0 for gap in shown)} lower, {sum(gap > 0 for gap in shown)} higher"


def _text(found: Interval) -> str:
    return f"{found.estimate:.2f} [{found.low:.2f}, {found.high:.2f}]"


def summary() -> str:
    """Return what the ablation says of the claim, for the first lines of the page."""
    plain, long = measured(Cell(0.5), "pe"), measured(Cell(0.6), "pe")
    equal = measured(Cell(0.5, 0.5, _WEIGHT), "pe")
    published = measured(Cell(*_PUBLISHED, _WEIGHT), "pe")
    zeroed = measured(Cell(*_PUBLISHED, 0.0), "pe")
    if not (plain and long and equal and published and zeroed):
        return ""
    fair, apart = ratio(equal, plain), ratio(published, zeroed)
    words = {
        "lower": "the distance lowers PE",
        "higher": "the distance raises PE",
        "no difference shown": "no effect of the distance on PE is shown",
    }
    return (
        "**Diversity and step.** On random games of skill PSD-PSRO as published has "
        f"{_text(ratio(published, plain))} times the PE of P-PSRO; but it takes longer steps. With "
        f"the weight of the distance set to 0 it has {_text(ratio(zeroed, plain))} times, and "
        f"P-PSRO with the longer step {_text(ratio(long, plain))}. At equal steps of 0.5 PSD-PSRO "
        f"has {_text(fair)} times: there {words[verdict(fair)]}. At the published steps "
        f"{words[verdict(apart)]} ({_text(apart)} of the PE with weight 0). "
        "[The ablation](#diversity-or-step-an-ablation) has the settings.\n\n"
    )


def section(page: Path) -> Iterator[str]:
    """Yield the section of the page: comparisons, table and figure, from the records."""
    yield (
        "## Diversity or step: an ablation\n\n"
        "The published code lets PSD-PSRO move 0.6 of the way to a diverse response, and every "
        "other method 0.5 of the way to any. A policy is finished after about four steps, so what "
        "is left in it of its random start falls with the step, 0.5 to the fourth power being 6 % "
        "and 0.4 to the fourth 2.6 %, and PE falls with that. Here the step, the weight of the "
        "distance and the meta-solver are varied apart, on the five random games of skill, "
        f"{ITERATIONS} iterations, exact scores. Ratios are geometric means over the games, of "
        "means over seeds (5; 3 under fictitious play), with 95 % Student t intervals of the "
        "logarithm over games. The last column is on how many games the difference of means is "
        "shown (Welch over seeds, Holm over the five games).\n\n"
    )
    pe = {cell: values for cell in CELLS if (values := measured(cell, "pe"))}
    yield from _comparisons(pe)
    yield from _table(pe)
    yield from _figure(pe, page)
    left = sum(len(read(row)) < row.seeds for row in rows())
    if left:
        yield (
            f"{left} of {len(rows())} settings and games do not have all of their runs yet; "
            "n is of the game with the fewest.\n\n"
        )


def _comparisons(pe: dict[Cell, list[list[float]]]) -> Iterator[str]:
    """Yield the questions that decide whether distance or step lowers PE."""
    questions = [
        (f"equal steps of {step}: PSD-PSRO against P-PSRO", Cell(step, step, _WEIGHT), Cell(step))
        for step in (0.5, 0.6, 0.9)
    ]
    questions += [
        (
            f"equal steps of {step}: PSD-PSRO against itself with weight 0",
            Cell(step, step, _WEIGHT),
            Cell(step, step, 0.0),
        )
        for step in (0.5, 0.6, 0.9)
    ]
    published, zeroed = Cell(*_PUBLISHED, _WEIGHT), Cell(*_PUBLISHED, 0.0)
    questions += [
        ("as published: PSD-PSRO (steps 0.5 and 0.6) against P-PSRO (0.5)", published, Cell(0.5)),
        ("as published, with weight 0, against P-PSRO (0.5)", zeroed, Cell(0.5)),
        ("as published, against itself with weight 0", published, zeroed),
        ("P-PSRO with step 0.6 against P-PSRO with 0.5", Cell(0.6), Cell(0.5)),
    ]
    for solver in (OFFICIAL, UNIFORM_START):
        equal = Cell(0.5, 0.5, _WEIGHT, solver)
        named = f"meta-solver {solver}, "
        plain = Cell(0.5, meta_solver=solver)
        last = published._replace(meta_solver=solver), zeroed._replace(meta_solver=solver)
        questions += [
            (named + "equal steps of 0.5: PSD-PSRO against P-PSRO", equal, plain),
            (named + "as published: PSD-PSRO against P-PSRO (0.5)", last[0], plain),
            (named + "as published, against itself with weight 0", *last),
        ]
    asked = [q for q in questions if q[1] in pe and q[2] in pe]
    if not asked:
        return
    yield "| PE | ratio | verdict | games |\n|---|---|---|---|\n"
    for words, ours, theirs in asked:
        found = ratio(pe[ours], pe[theirs])
        games = by_game(pe[ours], pe[theirs])
        yield f"| {words} | {_text(found)} | {verdict(found)} | {games} |\n"
    yield "\n"


def _table(pe: dict[Cell, list[list[float]]]) -> Iterator[str]:
    """Yield all settings, against P-PSRO with step 0.5 and the exact meta-solver."""
    reference = pe.get(Cell(0.5))
    if reference is None:
        return
    exploitability = measured(Cell(0.5), "exploitability") or []
    yield (
        "Every setting, as a ratio to P-PSRO with step 0.5 and the exact meta-solver:\n\n"
        "| method | step | step of diverse responses | weight | meta-solver | PE | exploitability "
        "| n per game |\n|---|---|---|---|---|---|---|---|\n"
    )
    for cell, values in pe.items():
        of_mixture = ratio(measured(cell, "exploitability") or [], exploitability)
        cells = [
            cell.method,
            f"{cell.step}",
            "-" if cell.diverse_step is None else f"{cell.diverse_step}",
            "-" if cell.weight is None else f"{cell.weight:g}",
            cell.meta_solver,
            _text(ratio(values, reference)),
            _text(of_mixture),
            f"{min(map(len, values))}",
        ]
        yield "| " + " | ".join(cells) + " |\n"
    yield "\n"


def _figure(pe: dict[Cell, list[list[float]]], page: Path) -> Iterator[str]:
    """Draw PE against the step, at equal steps, and yield the Markdown that shows it."""
    reference = pe.get(Cell(0.5))
    lines: dict[str, dict[float, list[float]]] = {}
    for cell, values in pe.items():
        if cell.meta_solver != EXACT or not cell.is_equal or reference is None:
            continue
        name = "P-PSRO" if cell.weight is None else f"PSD-PSRO, weight {cell.weight:g}"
        lines.setdefault(name, {})[cell.step] = [
            float(np.mean(ours) / np.mean(theirs))
            for ours, theirs in zip(values, reference, strict=True)
        ]
    if not lines or any(len(line) < 3 for line in lines.values()):
        return
    name = f"{page.stem}-ablation.svg"
    ratios_by_step(
        lines,
        page.parent / "figures" / name,
        title="PE at equal steps, random games of skill",
        x_label="step of every response",
        y_label="PE / PE of P-PSRO with step 0.5",
    )
    yield f"![PE against the step, at equal steps](figures/{name})\n\n"
