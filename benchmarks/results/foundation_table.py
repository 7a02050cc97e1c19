"""Writes ``docs/results/foundation.md``: every figure in it is computed from records here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pkubench
from benchmarks.results.running import Row, finished
from pkubench.agents.loading import resolve_agent
from pkubench.evaluation.report import Report
from pkubench.evaluation.statistics import welch_interval
from pkubench.tasks.catalogue import make_task

_SPREAD_V2_SHIFT = -37.5
"""What the self-collision of the v2 rules adds to the team return of an episode."""
_PUBLISHED = {
    ("happo-10m", "SimpleSpread-v0"): "-62 at 10 M steps on the v2 scale",
    ("happo", "SimpleSpeakerListener-v0"): "about -9 at 10 M",
    ("mappo", "SimpleSpeakerListener-v0"): "-13 at 10 M",
    ("happo", "SimpleReference-v0"): "-12 to -13 at 10 M",
    ("mappo", "SimpleReference-v0"): "-12 to -13 at 10 M",
    ("ppo", "HalfCheetahVelocity-v0"): "6921.8, cost 919 at 10 M",
    ("ppo-lag", "HalfCheetahVelocity-v0"): "2946.2, cost 3.4 at 10 M",
    ("ppo", "HopperVelocity-v0"): "2337.1, cost 550 at 10 M",
    ("ppo-lag", "HopperVelocity-v0"): "961.9, cost 14.0 at 10 M",
}
"""HARL figures 2-3 (read off curves, 2-3 % error) and OmniSafe's benchmark page, 10 M steps."""
_HEAD = """# Foundation: reference agents

Written by `make results-foundation`; no figure here is typed by hand. Every row is scored by
`pkubench evaluate` on seeds no learner has met. Intervals are 95 % Student t intervals over
training seeds (n); a row with one run shows the interval over its episodes and says so.

"""


def write_table(rows: Sequence[Row], results: Path, page: Path) -> None:
    """Evaluate all finished rows and the random agent, and write the page."""
    sections = [_HEAD]
    reports: dict[tuple[str, str], Report] = {}
    for title, prefix in (
        ("Cooperative particle worlds", "Simple"),
        ("Robots under a speed limit (cost at most 25 an episode)", "H"),
        ("Poker (exact exploitability)", ""),
    ):
        chosen = [r for r in rows if r.task.startswith(prefix) and (prefix or "Poker" in r.task)]
        body = list(_lines(chosen, results, reports))
        if body:
            sections += [f"## {title}\n\n", *body, "\n"]
    sections += _verdicts(reports)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("".join(sections))
    print(f"wrote {page}")


def _lines(
    rows: Iterable[Row], results: Path, reports: dict[tuple[str, str], Report]
) -> Iterable[str]:
    tasks: list[str] = []
    table: dict[str, list[str]] = {}
    for row in rows:
        if len(list(finished(row))) < row.seeds:
            print(f"left out, its training is not finished: {row.name} on {row.task}")
            continue
        if row.task not in tasks:
            tasks.append(row.task)
            report = pkubench.evaluate("random", row.task, workers=2, out=results)
            table[row.task] = [_line("random", "-", report, "")]
        source = replace(resolve_agent(str(row.folder), make_task(row.task)), name=row.name)
        report = pkubench.evaluate(source, row.task, workers=2, out=results)
        reports[row.name, row.task] = report
        published = _PUBLISHED.get((row.name, row.task), "")
        table[row.task].append(_line(row.name, _budget(row), report, published))
    for task in tasks:
        metric = make_task(task).ranking
        yield f"### {task}\n\n"
        cost = make_task(task).cost_limit is not None
        columns = ["agent", "training", f"{metric.name} [95 %]", *(["cost [95 %]"] if cost else [])]
        columns += ["n", "normalised", "published"]
        yield "| " + " | ".join(columns) + " |\n"
        yield "|" + "---|" * len(columns) + "\n"
        yield from table[task]
        yield "\n"


def _budget(row: Row) -> str:
    configs = [json.loads(p.read_text()) for p in (run / "config.json" for run in finished(row))]
    steps = configs[0].get("steps", row.steps)
    seconds = [c["seconds"] for c in configs if "seconds" in c]
    unit = "iterations" if row.agent == "psro" else "steps"
    took = f", {sum(seconds) / len(seconds):.0f} s a run" if seconds else ""
    return f"{steps:,} {unit}{took}"


def _line(name: str, budget: str, report: Report, published: str) -> str:
    task = make_task(report.task)
    cells = [name, budget, _interval(report, task.ranking.name)]
    if task.cost_limit is not None:
        cells.append(_interval(report, "cost"))
    n = report.metrics[task.ranking.name].n
    normalised = "-" if report.normalised is None else f"{report.normalised:.2f}"
    cells += [f"{n} {report.sample}", normalised, published or "-"]
    return "| " + " | ".join(cells) + " |\n"


def _interval(report: Report, metric: str) -> str:
    value = report.metrics[metric]
    if value.mean is None:
        return "failed"
    if value.low is None or value.high is None:
        return f"{value.mean:.4g}"
    return f"{value.mean:.4g} [{value.low:.4g}, {value.high:.4g}]"


def _verdicts(reports: dict[tuple[str, str], Report]) -> list[str]:
    """Say in words, from the numbers, what the table shows against the stated bars."""
    lines = ["## Verdicts\n\n"]
    spread = reports.get(("happo", "SimpleSpread-v0"))
    if spread is not None and spread.score is not None:
        met = "meets" if spread.score >= -38 else "misses"
        lines.append(
            f"- HAPPO on SimpleSpread {met} the bar of -38 at 1.5 M steps: "
            f"{_interval(spread, 'return')}, n = {spread.metrics['return'].n}.\n"
        )
    shared = reports.get(("mappo", "SimpleSpread-v0"))
    if spread is not None and shared is not None:
        lines.append(_compare("SimpleSpread", spread, shared))
    for task in ("SimpleSpeakerListener-v0", "SimpleReference-v0"):
        ours, theirs = reports.get(("happo", task)), reports.get(("mappo", task))
        if ours is not None and theirs is not None:
            lines.append(_compare(task.removesuffix("-v0"), ours, theirs))
    long = reports.get(("happo-10m", "SimpleSpread-v0"))
    if long is not None and long.score is not None:
        lines.append(
            f"- One HAPPO run of 10 M steps on SimpleSpread: {long.score:.1f} by the v3 rules, "
            f"about {long.score + _SPREAD_V2_SHIFT:.1f} on the published v2 scale, where the "
            "paper's curve ends near -62. One run is no claim.\n"
        )
    paper = reports.get(("happo-paper", "SimpleSpread-v0"))
    if paper is not None:
        lines.append(
            f"- HAPPO with the official numbers (gamma 0.99, 5e-4, 20 x 200) at 1.5 M steps: "
            f"{_interval(paper, 'return')}; `pkubench/agents/harl.py` says what we changed.\n"
        )
    for robot, bar in (("HalfCheetah", 2500.0), ("Hopper", None)):
        safe = reports.get(("ppo-lag", f"{robot}Velocity-v0"))
        blind = reports.get(("ppo", f"{robot}Velocity-v0"))
        if safe is None:
            continue
        limit = "within" if safe.feasible else "above"
        text = (
            f"- PPO-Lag on {robot}Velocity: cost {_interval(safe, 'cost')}, {limit} the limit of "
            f"25 on average; return {_interval(safe, 'return')}"
        )
        if bar is not None and safe.metrics["return"].mean is not None:
            met = "meets" if safe.feasible and safe.metrics["return"].mean >= bar else "misses"
            text += f"; it {met} the bar of {bar:,.0f}"
        lines.append(text + ".\n")
        over = [r.label for r in safe.runs if (r.metrics["cost"] or 0.0) > 25.0]
        if over:
            lines.append(f"    - Runs above the limit on their own: {', '.join(over)}.\n")
        if blind is not None:
            lines.append(
                f"    - PPO, blind to cost, pays {_interval(blind, 'cost')} for a return of "
                f"{_interval(blind, 'return')} at the same budget.\n"
            )
    return lines


def _compare(task: str, happo: Report, mappo: Report) -> str:
    ours = [r.metrics["return"] for r in happo.runs]
    theirs = [r.metrics["return"] for r in mappo.runs]
    if min(len(ours), len(theirs)) < 2 or None in ours or None in theirs:
        return f"- HAPPO against MAPPO on {task}: too few runs to say.\n"
    difference = welch_interval(
        [v for v in ours if v is not None], [v for v in theirs if v is not None]
    )
    if difference.low > 0:
        verdict = "HAPPO is better"
    elif difference.high < 0:
        verdict = "MAPPO is better"
    else:
        verdict = "no difference shown"
    return (
        f"- HAPPO minus MAPPO on {task}: {difference.estimate:.2f} "
        f"[{difference.low:.2f}, {difference.high:.2f}], Welch, n = {len(ours)} and "
        f"{len(theirs)}: {verdict}.\n"
    )
