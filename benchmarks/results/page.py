"""Pages of results: tables and verdicts in Markdown, computed from the runs' records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.results.records import Scored, scored_agent, scored_row
from benchmarks.results.rows import Row
from pkubench.evaluation.statistics import welch_interval
from pkubench.tasks.catalogue import make_task

Table = dict[str, dict[str, Scored]]
"""Task -> name of the row -> its line, anchors first."""


def table_of(rows: Sequence[Row], scale: float, anchors: Mapping[str, str]) -> Table:
    """Gather the finished rows; one whose runs are not all recorded is left out, with a note.

    Args:
        rows: what is trained.
        scale: of the budgets.
        anchors: task -> an agent shown after ``random``, such as ``scripted:assignment``.
    """
    table: Table = {}
    for row in rows:
        found = scored_row(row, row.budget(scale))
        if found is None:
            print(f"left out, its training is not finished: {row.name} on {row.task}")
            continue
        if row.task not in table:
            named = ["random", *([anchors[row.task]] if row.task in anchors else [])]
            table[row.task] = {name: scored_agent(name, row.task) for name in named}
        table[row.task][row.name] = found
    return table


def markdown(
    task: str, lines: Mapping[str, Scored], published: Mapping[tuple[str, str], str], anchor: str
) -> Iterator[str]:
    """Yield one task's table.

    With an ``anchor`` among the lines, the column ``normalised`` holds
    100 (s - random) / (anchor - random); with another text it is left out.
    """
    found = make_task(task)
    metric = found.ranking.name
    has_cost = found.cost_limit is not None
    columns = ["agent", "training", f"{metric.replace('_', ' ')} [95 %]"]
    columns += [*(["cost [95 %]"] if has_cost else []), "n"]
    columns += [*([f"normalised ({anchor} = 100)"] if anchor in lines else []), "published"]
    yield f"### {task}\n\n"
    yield "| " + " | ".join(columns) + " |\n"
    yield "|" + "---|" * len(columns) + "\n"
    for name, line in lines.items():
        cells = [name, line.training, line.text(metric)]
        cells += [line.text("cost")] if has_cost else []
        cells.append(f"{line.metrics[metric][-1]} {line.sample}")
        if anchor in lines:
            low, high = lines["random"].mean(metric), lines[anchor].mean(metric)
            cells.append(f"{100 * (line.mean(metric) - low) / (high - low):.0f}")
        cells.append(published.get((name, task), "-"))
        yield "| " + " | ".join(cells) + " |\n"
    yield "\n"


def versus(table: Table, task: str, ours: str, theirs: str) -> str:
    """Return a line of Markdown: the difference of two rows with its interval, and a verdict.

    Welch's interval over training seeds; empty if one of the rows is not there.
    """
    lines = table.get(task, {})
    if ours not in lines or theirs not in lines:
        return ""
    metric = make_task(task).ranking.name
    left, right = ([run[metric] for run in lines[name].runs] for name in (ours, theirs))
    subject = f"- {ours} minus {theirs} on {task.removesuffix('-v0')}"
    if min(len(left), len(right)) < 2:
        return f"{subject}: too few runs to say.\n"
    found = welch_interval(left, right)
    verdict = "no difference shown"
    if found.low > 0 or found.high < 0:
        verdict = f"{ours if found.low > 0 else theirs} is better"
    return (
        f"{subject}: {found.estimate:.4g} [{found.low:.4g}, {found.high:.4g}], Welch, "
        f"n = {len(left)} and {len(right)}: {verdict}.\n"
    )
