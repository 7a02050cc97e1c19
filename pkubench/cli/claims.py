"""``pkubench claims``: what papers claim, what the runs say of it, and what would decide it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from pkubench.cli.names import command, short
from pkubench.cli.options import Json, Quiet, verb_app
from pkubench.cli.output import Column, Output, facts, number, prose, signed
from pkubench.cli.results import find_reports
from pkubench.errors import ConfigError, RecordError, UnknownName
from pkubench.evaluation.claims import judge_all
from pkubench.evaluation.evidence import Sample, from_reports, shipped
from pkubench.evaluation.verdict_words import budget, chance, counts, runs, verdict
from pkubench.evaluation.verdicts import Comparison, Judgement
from pkubench.tasks.claim import Claim
from pkubench.tasks.registry import claims as declared
from pkubench.tasks.registry import suites

app = verb_app()

SCHEMA = 1
"""Version of the JSON document."""
STYLES = {"supported": "green", "contradicted": "red", "mixed": "yellow", "not shown": "dim"}


@app.command()
def claims(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[CLAIM]", help="Only this claim, with all its comparisons."),
    ] = None,
    suite: Annotated[
        str | None, typer.Option("--suite", metavar="SUITE", help="Only claims of this suite.")
    ] = None,
    paper: Annotated[
        str | None, typer.Option("--paper", metavar="PAPER", help="Only claims of this paper.")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="RESULTS",
            help="Judge by your evaluations (`pkubench evaluate --out`), not by the shipped runs.",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """What papers claim about agents, judged by the runs behind the published tables.

    A claim is *supported* if some of its comparisons are decided for it and none against,
    *contradicted* in the opposite case, *mixed* if both occur, *not shown* if none is decided, *not
    measured* if there are no runs. A
    comparison is decided if its p-value, corrected for all of the claim (Holm), is below 0.05.
    """
    chosen = _chosen(name, suite, paper)
    with Output(json=json, quiet=quiet) as output:
        samples = shipped() if results is None else _own(results)
        judged = judge_all(chosen, samples)
        if results is not None:
            judged = [each for each in judged if each.is_measured]
            if not judged:
                raise RecordError(
                    f"no claim is about the agents and tasks in {results}; "
                    "`pkubench claims` shows which there are"
                )
        if json:
            documents = [each.to_json() for each in judged]
            output.document({"schema": SCHEMA, "claims": documents})
            return
        for title in dict.fromkeys(each.claim.paper for each in judged):
            rows = [each for each in judged if each.claim.paper == title]
            output.show(_table(output, title, rows), "")
        if name is not None:
            output.show(*_details(output, judged[0]))
            return
        output.show(*_remarks(judged, is_own=results is not None))
        output.next(command("claims", judged[0].claim.name))


def _own(results: Path) -> list[Sample]:
    """Return the samples of evaluations below a folder.

    Raises:
        RecordError: there are none, or as :func:`from_reports`.
    """
    reports = find_reports([results])
    if not reports:
        raise RecordError(f"no evaluation in {results}; `pkubench evaluate --out` makes them")
    return from_reports(reports)


def _chosen(name: str | None, suite: str | None, paper: str | None) -> list[tuple[str, Claim]]:
    """Return the claims that are asked for, with their suites.

    Raises:
        UnknownName: there is no such claim, suite or paper.
        ConfigError: no claim is of all that is asked for.
    """
    known = declared()
    papers = {claim.paper.lower(): claim.paper for _, claim in known.values()}
    if name is not None and name not in known:
        raise UnknownName("claim", name, known, "`pkubench claims` shows all")
    if suite is not None and suite not in suites():
        raise UnknownName("suite", suite, suites())
    if paper is not None and paper.lower() not in papers:
        raise UnknownName("paper", paper, papers.values(), "`pkubench claims` shows all")
    chosen = [
        (of, claim)
        for of, claim in known.values()
        if name in (None, claim.name)
        and suite in (None, of)
        and (paper is None or claim.paper == papers[paper.lower()])
    ]
    if not chosen:
        raise ConfigError(_why_none(name, suite, paper))
    return chosen


def _why_none(name: str | None, suite: str | None, paper: str | None) -> str:
    """Return why no claim has this name, suite and paper, each of which is known."""
    known = declared()
    if name is not None:
        of, claim = known[name]
        return f"claim {name!r} is of paper {claim.paper} and suite {of}: leave the options out"
    if paper is None:
        return f"suite {suite!r} has no claims; `pkubench claims` shows all"
    places = {of for of, claim in known.values() if claim.paper.lower() == paper.lower()}
    return f"{paper} has no claims in suite {suite!r}, but in {', '.join(sorted(places))}"


def _table(output: Output, title: str, judged: Sequence[Judgement]) -> RenderableType:
    columns = (
        Column("claim", style="bold"),
        Column("verdict"),
        Column("for, against, undecided", right=True, rank=1),
        Column("chance [95 %]", right=True),
        Column("n", right=True),
        Column("budget", right=True),
    )
    rows = [
        (
            each.claim.name,
            Text(verdict(each), style=STYLES[each.verdict]),
            counts(each),
            chance(each),
            runs(each),
            budget(each),
        )
        for each in judged
    ]
    return output.table(f"Claims of {title}", columns, rows)


def _details(output: Output, judged: Judgement) -> Iterator[RenderableType]:
    """Yield everything about one claim."""
    claim = judged.claim
    rows = [("claim", claim.text), ("published", claim.published)]
    rows += [("note", claim.note)] if claim.note else []
    if claim.ablation:
        rows += [("read with", f"{claim.ablation} ({judged.ablation})")]
    rows += [("would decide", line) for line in judged.decide]
    yield facts(rows)
    yield ""
    columns = (
        Column("task", style="bold"),
        Column("agent"),
        Column("against"),
        Column("difference", right=True),
        Column("95 % interval", right=True),
        Column("p", right=True, rank=1),
        Column("n", right=True),
        Column("runs needed", right=True, rank=2),
        Column(""),
    )
    yield output.table("", columns, [_row(each) for each in judged.comparisons])
    for pool in judged.pooled:
        yield ""
        yield prose(
            f"{pool.better} against {pool.other} over {len(pool.tasks)} tasks: a run is better "
            f"with probability {pool.chance.estimate:.2f} ({pool.chance.low:.2f} to "
            f"{pool.chance.high:.2f}), p = {pool.corrected:.2g}: {pool.outcome}."
        )
    yield ""
    yield prose(
        "p is corrected for all comparisons of the claim (Holm); intervals are not. Runs needed: "
        "of each side, for a difference as large as the one seen."
        + (" Runs with the same training seed are compared." if claim.is_paired else "")
    )
    missing = dict.fromkeys(
        f"{short(each.task)}: {each.outcome} ({each.missing})."
        for each in judged.comparisons
        if each.missing
    )
    yield from map(prose, missing)


def _row(each: Comparison) -> tuple[str, ...]:
    interval = "–"
    if each.low is not None and each.high is not None:
        interval = f"{number(each.low)} to {number(each.high)}"
    sizes = ", ".join(str(n) for n in each.n if n) or "–"
    return (
        short(each.task),
        each.better,
        each.other,
        "–" if each.difference is None else signed(each.difference),
        interval,
        "–" if each.corrected is None else f"{each.corrected:.2g}",
        sizes,
        "–" if each.runs_for_difference is None else f"{each.runs_for_difference:,}",
        each.outcome,
    )


def _remarks(judged: Sequence[Judgement], *, is_own: bool) -> Iterator[RenderableType]:
    """Yield the claims' sentences with what would decide them, and how the table is read."""
    for each in judged:
        decide = "; ".join(each.decide) or "nothing: every comparison is decided"
        yield prose(f"{each.claim.name}: {each.claim.text} Would decide: {decide}.")
    yield ""
    if any(each.is_unexplained for each in judged):
        yield prose(
            "* Supported, but not the cause that the paper names: the claim to be read with it "
            "(`pkubench claims NAME`) is not supported."
        )
    yield prose(
        "Chance: that a run of the first agent beats one of the second, averaged over all "
        "comparisons; for limits, the share of runs on the claimed side. n: runs of each side."
    )
    if is_own:
        yield prose(
            "Records of evaluations do not say what agents were trained for: whether budgets are "
            "equal is for you to know."
        )
