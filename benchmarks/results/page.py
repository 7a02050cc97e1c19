"""Pages of results: tables and verdicts in Markdown, computed from the runs' records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.results.anchors import anchor_lines, floor_of, is_trained, not_above_floor
from benchmarks.results.records import Scored, read, scored_row
from benchmarks.results.rows import Row
from pkubench.evaluation.figures.plots import return_against_cost, score_intervals
from pkubench.evaluation.metrics import feasible
from pkubench.evaluation.statistics import Difference, holm, welch_interval
from pkubench.tasks.registry import make_task

OLDER = " °"
"""Mark of rows that were evaluated in float32, in whole or in part."""
OLDER_NOTE = (
    "° {runs} runs of the rows marked like this were evaluated when agents acted in float32, whose "
    "last bits depend on the processor. Their weights do not ship, so the figures stay until the "
    "rows are trained again."
)
LEVEL = 0.05
"""Significance level of the corrected p-values."""
Table = dict[str, dict[str, Scored]]
"""Task -> name of the row -> its line, anchors first."""


def table_of(
    rows: Sequence[Row],
    scale: float,
    anchors: Mapping[str, str],
    others: Mapping[str, Sequence[str]] | None = None,
) -> Table:
    """Gather the finished rows; one whose runs are not all recorded is left out, with a note.

    Args:
        rows: the rows of the table.
        scale: of the budgets.
        anchors: task -> an agent shown after ``random`` and the lazy policies, such as
            ``scripted:assignment``.
        others: task -> more agents that need no training, shown before that one.
    """
    table: Table = {}
    for row in rows:
        found = scored_row(row, row.budget(scale))
        if found is None:
            print(f"left out, its training is not finished: {row.name} on {row.task}")
            continue
        if row.task not in table:
            anchor = [anchors[row.task]] if row.task in anchors else []
            names = [*(others or {}).get(row.task, ()), *anchor]
            table[row.task] = anchor_lines(row.task, names)
        table[row.task][row.name] = found
    return table


def not_learned(table: Table, tried: str = "") -> Iterator[str]:
    """Say which rows are no better than random and the lazy policies; for a page's first lines.

    ``tried`` says what was done about it.
    """
    lines = []
    for task, rows in table.items():
        names = not_above_floor(task, rows)
        if names:
            floor = floor_of(task, rows)
            score = rows[floor].mean(make_task(task).ranking.name)
            lines.append(f"- {task}: {', '.join(names)} ({floor} scores {score:.4g})\n")
    if lines:
        yield (
            "**Not better than a lazy policy.** The intervals of these rows do not lie above those "
            "of random play, of doing nothing, of keeping silent and of standing still, so these "
            "runs do not show that they learned the task:\n\n"
        )
        yield from lines
        yield f"\n{tried}\n" if tried else "\n"


def markdown(
    task: str, lines: Mapping[str, Scored], published: Mapping[tuple[str, str], str], anchor: str
) -> Iterator[str]:
    """Yield one task's table.

    With an ``anchor`` among the lines, the column ``normalised`` holds
    100 (s - floor) / (anchor - floor), the floor being the best of random and the lazy policies;
    with another text it is left out.
    """
    found = make_task(task)
    metric = found.ranking.name
    has_cost = found.cost_limit is not None
    columns = ["agent", "training", f"{metric.replace('_', ' ')} [95 %]"]
    is_counted = any(line.training_costs for line in lines.values())
    is_sampled = any(line.sampled for line in lines.values())
    has_end = any(line.at_the_end for line in lines.values())
    if has_cost:  # defined in docs/concepts/constraints.md
        columns += ["cost [95 %]", "violation [95 %]", "feasible runs"]
        columns += ["sampled: return [95 %]", "sampled: cost [95 %]"] if is_sampled else []
        columns += ["cost at the end of training"] if has_end else []
        columns += ["excess in training"] if is_counted else []
    is_validated = any(line.validated for line in lines.values())
    columns += ["n", *(["last ten validations: mode, sampled"] if is_validated else [])]
    columns += [*([f"normalised ({anchor} = 100)"] if anchor in lines else []), "published"]
    yield f"### {task}\n\n"
    yield "| " + " | ".join(columns) + " |\n"
    yield "|" + "---|" * len(columns) + "\n"
    for name, line in lines.items():
        cells = [name, line.training, line.text(metric)]
        if has_cost:
            cells += [line.text("cost"), line.violation(), line.feasible_runs()]
            if is_sampled:
                cells += [line.sampled_text(metric), line.sampled_text("cost")]
            cells += [line.cost_at_the_end()] if has_end else []
            cells += [line.training_excess()] if is_counted else []
        older = OLDER if line.in_float32 else ""
        cells.append(f"{line.metrics[metric][-1]} {line.sample}{older}")
        cells += [line.validation()] if is_validated else []
        if anchor in lines:
            low, high = lines[floor_of(task, lines)].mean(metric), lines[anchor].mean(metric)
            cells.append(f"{normalised(line.mean(metric), low, high):.0f}")
        cells.append(published.get((name, task), "-"))
        yield "| " + " | ".join(cells) + " |\n"
    yield "\n"
    runs = sum(line.in_float32 for line in lines.values())
    if runs:
        yield OLDER_NOTE.format(runs=runs) + "\n\n"


def return_cost_figure(task: str, lines: Mapping[str, Scored], page: Path) -> str:
    """Draw return against cost of one task's lines, and return the Markdown that shows it.

    The figure is written next to the page, ``figures/PAGE-TASK.svg``, with the same bytes each
    time. For tasks without a cost limit there is none: the empty text.
    """
    found = make_task(task)
    if found.cost_limit is None:
        return ""
    figure = Path("figures") / f"{page.stem}-{task}.svg"
    return_against_cost(
        {name: line.runs for name, line in lines.items()},
        page.parent / figure,
        cost_limit=found.cost_limit,
        title=task,
        x_label=f"episode cost ({found.metric('cost').unit})",
    )
    return f"![Return against cost on {task}: limit {found.cost_limit:g}]({figure.as_posix()})\n\n"


def score_figure(
    stem: str, title: str, table: Table, page: Path, *, x_label: str = "return"
) -> str:
    """Draw the scores of tasks, a panel each, and return the Markdown that shows the figure.

    ``x_label`` names the tasks' ranking metric. Lines that are not trained are dashed. The figure
    is written next to the page, ``figures/PAGE-STEM.svg``.
    """
    scores, references = {}, {}
    for task, lines in table.items():
        metric = make_task(task).ranking.name
        scores[task] = {
            name: {
                **dict(zip(("mean", "low", "high", "n"), line.metrics[metric], strict=True)),
                "sample": line.sample,
            }
            for name, line in lines.items()
            if is_trained(name)
        }
        references[task] = {n: lines[n].mean(metric) for n in lines if not is_trained(n)}
    figure = Path("figures") / f"{page.stem}-{stem}.svg"
    score_intervals(
        scores, page.parent / figure, title=title, x_label=x_label, references=references
    )
    return f"![Scores and intervals: {title}]({figure.as_posix()})\n\n"


def unfinished(rows: Sequence[Row], scale: float) -> Iterator[str]:
    """Yield a section on the rows that have no line, since not all of their runs are done."""
    missing: dict[str, list[str]] = {}
    for row in rows:
        done = sum(read(row, seed, row.budget(scale)) is not None for seed in range(row.seeds))
        if done < row.seeds:
            missing.setdefault(row.task, []).append(f"{row.name} ({done} of {row.seeds} runs)")
    if missing:
        yield "## Not yet measured\n\nRows are shown when all their runs are done:\n\n"
        yield from (f"- {task}: {', '.join(names)}\n" for task, names in missing.items())


class Pair(NamedTuple):
    """Two rows to compare on a task."""

    task: str
    ours: str
    theirs: str


def compared(table: Table, pairs: Sequence[Pair]) -> list[tuple[Pair, Difference | None]]:
    """Return the pairs whose two rows are there, with their difference, None of single runs."""
    found = []
    for pair in pairs:
        lines = table.get(pair.task, {})
        if pair.ours in lines and pair.theirs in lines:
            metric = make_task(pair.task).ranking.name
            left, right = ([run[metric] for run in lines[name].runs] for name in pair[1:])
            is_single = min(len(left), len(right)) < 2
            found.append((pair, None if is_single else welch_interval(left, right)))
    return found


def line_of(table: Table, pair: Pair, difference: Difference | None, p: float) -> str:
    """Return a line of Markdown about two rows; ``p`` is corrected for all comparisons.

    A row is called better if p is below 0.05; but if its mean cost is above the task's limit, it
    only has the higher return.
    """
    subject = f"- {pair.ours} minus {pair.theirs} on {pair.task.removesuffix('-v0')}"
    if difference is None:
        return f"{subject}: one run each, so no comparison.\n"
    verdict = "no difference shown"
    if p < LEVEL:
        winner = pair.ours if difference.estimate > 0 else pair.theirs
        verdict = f"**{winner} is better**"
        cost = table[pair.task][winner].metrics.get("cost")
        if feasible(make_task(pair.task), cost[0] if cost else None) is False:
            verdict = f"{winner} has the higher return, over the limit"
    left, right = (len(table[pair.task][name].runs) for name in pair[1:])
    return (
        f"{subject}: {difference.estimate:.4g} [{difference.low:.4g}, {difference.high:.4g}], "
        f"n = {left} and {right}, corrected p = {p:.2g}: {verdict}.\n"
    )


def verdicts(table: Table, pairs: Sequence[Pair]) -> Iterator[str]:
    """Yield a line for each pair whose two rows are there, corrected for all of them (Holm)."""
    found = compared(table, pairs)
    corrected = iter(holm([difference.p_value for _, difference in found if difference]))
    for pair, difference in found:
        yield line_of(table, pair, difference, next(corrected) if difference else 1.0)


def normalised(value: float, low: float, high: float) -> float:
    """Return a score on the scale where ``low`` is 0 and ``high`` 100.

    >>> normalised(-40.0, -60.0, -20.0)
    50.0
    """
    return 100.0 * (value - low) / (high - low)
