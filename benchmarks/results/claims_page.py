"""Writes ``docs/claims.md``: every claim with its verdict, from the evidence that ships."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pkubench.evaluation.claims import LEVEL, judge_all
from pkubench.evaluation.evidence import Sample, shipped
from pkubench.evaluation.verdict_words import budget, chance, counts, runs, verdict
from pkubench.evaluation.verdicts import MIN_RUNS, Comparison, Judgement, amount
from pkubench.tasks.claim import AREA
from pkubench.tasks.registry import claims

_HEAD = f"""# The papers' claims

Written by `make results-claims` from the runs behind the published tables; nothing here is entered
by hand but the claims themselves, which are declared in `pkubench/tasks/claims`, one module per
paper. `pkubench claims` shows the same in a shell, `pkubench claims NAME` one of them, `pkubench
claims --json` all of it as data, and `pkubench claims --results FOLDER` judges by evaluations of
your own.

Each pair of agents is compared on each task by the difference of means over training seeds, with
Welch's 95 % interval, at the largest budget that both were trained for with at least {MIN_RUNS}
runs each; unequal budgets are not compared. Agents that learn from data have equal data, whose
recorded steps are then the budget; their gradient steps are on [their page](results/sequence.md).
Where a claim says so, runs with the same training seed are compared, by Student's interval of their
differences; *area* is that under the normalised learning curve, as a share of the training. Where a
pair is compared on several tasks without a cost limit, it is also compared over these together: by
the probability that a run of the first beats one of the second, tested by permuting the agents of
the runs within each task. Games are judged one by one. The p-values of a claim are corrected
together (Holm 1979), and a comparison is *decided* below {LEVEL}; intervals are not corrected, so
one can leave out 0 where nothing is decided. Against a cost limit, a mean cost has Student's t
interval. A higher return counts only where the agent's mean cost is within the task's limit.

A claim is **supported** if some comparisons are decided for it and none against, **contradicted**
in the opposite case, **mixed** if both occur, **not shown** if none is decided, and **not
measured** if there are no runs yet. *Supported* does not say that every comparison is decided: read
the counts. A star says that the cause which the paper names is not supported too: the claim to be
read with this one. *Chance* is the probability that a run of a pair's first agent beats one of its
second, averaged over all comparisons (0.5: no difference); for cost limits it is the share of runs
on the claimed side. Its interval is from a bootstrap over runs, which is too narrow for three of
them (of shares, Wilson's).

*Would decide* says how many runs of each side would show a difference with probability 0.8, at the
observed spread and at the level that corrects for all comparisons of the claim: one as large as the
one seen, or one of 5 points of the normalised scale (0 is the best of random and lazy play, 100 the
reference agent or, without one above that, the best mean seen within the cost limit; of a cost, 5 %
of its limit). A few runs estimate the spread badly, so the numbers are a guide. It names published
budgets where ours are smaller: then a verdict is about our budget, and not about the paper's.

"""


def page_of(samples: Sequence[Sample] | None = None) -> str:
    """Return the page, by default from the evidence in the package."""
    known = shipped() if samples is None else samples
    judged = judge_all(claims().values(), known)
    papers = list(dict.fromkeys(each.claim.paper for each in judged))
    judged.sort(key=lambda each: papers.index(each.claim.paper))
    sections = [_HEAD, "".join(_summary(judged))]
    for paper in papers:
        sections.append(f"## {paper}\n\n")
        sections += ["".join(_section(each)) for each in judged if each.claim.paper == paper]
    return "".join(sections).rstrip() + "\n"


def _summary(judged: Sequence[Judgement]) -> Iterator[str]:
    yield "| paper | claim | verdict | for, against, undecided | chance [95 %] | n | budget |\n"
    yield "|---|---|---|---|---|---|---|\n"
    for each in judged:
        claim = each.claim
        cells = [claim.paper, f"[{claim.text.rstrip('.')}](#{claim.name})", _verdict(each)]
        cells += [counts(each), chance(each), runs(each), budget(each)]
        yield f"| {' | '.join(cells)} |\n"
    yield "\n"


def _verdict(judged: Judgement) -> str:
    return f"**{_word(judged)}**" + (" \\*" if judged.is_unexplained else "")


def _word(judged: Judgement) -> str:
    """Return the verdict without a star."""
    return verdict(judged).removesuffix(" *")


def _section(judged: Judgement) -> Iterator[str]:
    claim = judged.claim
    yield f"### {claim.name}\n\n{claim.text}\n\n"
    tied, over = judged.count("tie"), judged.count("over the limit")
    yield f"**{_word(judged).capitalize()}.** For, against, undecided: {counts(judged)}"
    yield f"; ties: {tied}" if tied else ""
    yield f"; higher return over the limit: {over}" if over else ""
    yield f". Equal {claim.equal}. Chance {chance(judged)}."
    yield " Of the area under the learning curve." if claim.metric == AREA.name else ""
    yield " Runs with the same training seed are compared." if claim.is_paired else ""
    yield "\n\n"
    yield f"*Published*: {claim.published}\n\n"
    yield f"*Note*: {claim.note}\n\n" if claim.note else ""
    if claim.ablation:
        yield f"*Read with*: [{claim.ablation}](#{claim.ablation}), {judged.ablation}"
        yield (
            ": the cause that the paper names is not shown.\n\n"
            if (judged.is_unexplained)
            else ".\n\n"
        )
    if judged.decide:
        yield f"*Would decide*: {'; '.join(judged.decide)}.\n\n"
    rows = [each for each in judged.comparisons if each.difference is not None]
    if rows:
        yield "| task | agent | against | budget | difference [95 %] | p | n | runs a side | |\n"
        yield "|---|---|---|---|---|---|---|---|---|\n"
        yield from (_row(each, claim.equal) for each in rows)
        yield "\n"
    for found in judged.pooled:
        yield (
            f"- {found.better} against {found.other} over {len(found.tasks)} tasks: a run is "
            f"better with probability {found.chance.estimate:.2f} [{found.chance.low:.2f}, "
            f"{found.chance.high:.2f}], p = {found.corrected:.2g}: {found.outcome}.\n"
        )
    yield "\n" if judged.pooled else ""


def _row(each: Comparison, unit: str) -> str:
    difference = f"{each.difference:.4g}"
    if each.low is not None and each.high is not None:
        difference += f" [{each.low:.4g}, {each.high:.4g}]"
    needed = [
        "-" if number is None else f"{number:,}"
        for number in (each.runs_for_difference, each.runs_for_five_points)
    ]
    cells = [
        each.task.rpartition("/")[2],
        each.better,
        each.other,
        amount(each.budget, unit),
        difference,
        "-" if each.corrected is None else f"{each.corrected:.2g}",
        ", ".join(str(n) for n in each.n if n),
        " / ".join(needed),
        each.outcome,
    ]
    return f"| {' | '.join(cells)} |\n"
