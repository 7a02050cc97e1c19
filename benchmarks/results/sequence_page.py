"""Writes ``docs/results/sequence.md``: every figure in it is computed from records here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from benchmarks.results.page import Table, markdown, not_learned, table_of, unfinished
from benchmarks.results.records import Scored
from benchmarks.results.rows import Row, config_of, page_path
from benchmarks.results.sequence_scores import (
    LEARNED_FROM_DATA,
    OPTIMUM,
    SOLVED,
    WITH_MEMORY,
    abilities_of,
    asked_of,
    calibration_text,
    corridors,
    kept,
    margins,
)
from pkubench.data.cards import cards
from pkubench.evaluation.abilities import longest_solved
from pkubench.evaluation.figures.abilities import Asked, ability_radar, calibration_curves
from pkubench.tasks.registry import make_task

TABLE = "sequence"
TMAZES = ("TMazePassive-v0", "TMazeActive-v0")
LONG = tuple(f"TMazePassive-v0+corridor={cells}" for cells in (30, 100))
DELAYED, DELAYED_ROBOT = (f"{task}-v0+delay=episode" for task in ("GraphPath", "HopperVelocity"))
DOORS = ("KeyToDoor-v0", "KeyToDoorLong-v0")
DIAGNOSTICS = ("LuckyArm-v0", "Stitching-v0", "GraphPath-v0", *DOORS, *TMAZES)
PARTICLES = ("SimpleSpreadContinuous-v0", "SimpleReferenceContinuous-v0")
ROBOTS = ("HopperVelocity-v0", "HalfCheetahVelocity-v0")
KINDS = ("medium", "mixed")
K1 = "dt-k1"
"""Row of a Decision Transformer that looks at the present step alone."""
TENTHS = tuple(f"{10 * k}%" for k in range(1, 11))
ASKED = {
    "LuckyArm-v0": ("0", "1", "10"),
    "Stitching-v0": ("0.2", "1"),
    **dict.fromkeys(DOORS, ("0", "1")),
    **dict.fromkeys(("GraphPath-v0", *ROBOTS), TENTHS),
}
"""Target returns that agents which are asked for one are also evaluated with."""
_CONTROLLERS = {
    **dict.fromkeys((*DIAGNOSTICS, *LONG, DELAYED), OPTIMUM),
    PARTICLES[0]: "scripted:assignment",
    PARTICLES[1]: "scripted:messenger",
}
_HEAD = """# Sequence models, memory and learning from data

Written by `make results-sequence`; no score here is entered by hand. Agents that learn from data
are described [here](../agents/sequence.md) and the data sets
[there](../environments/data-sets.md). Every diagnostic task has an exact optimum, which
`scripted:optimum` plays, and a *lazy* policy: what an agent does that fails at the point of the
task. Which agent is better than which is decided on [the page of claims](../claims.md).

**Scores** are of the weights after the last update, with the mode of the policy, over the task's
own episodes. Intervals are 95 % Student t intervals over training seeds (n); of a single run they
are over its episodes. *Normalised* is 100 (s - floor) / (optimum - floor), where the floor is the
best of random play and the lazy policies.

**Target returns.** `dt` and `odt` are asked for the best return of their data, one rule for every
task; what other targets give is shown as a curve. *Rank correlation* is Spearman's between what is
asked and what is got, *error* the mean distance between the two; both are averaged over runs.

**What is equal**: the data set, for agents that learn from data. They are trained for 10,000
gradient steps where *training* says nothing else; a step of a transformer has 32 windows of up to
20 steps (of `tt` 10), one of the others 256 single steps. `odt` is pre-trained for half of its
gradient steps and then plays an episode every ten (on Hopper every 300); `short` is narrower.
Agents that learn by playing have equal environment steps.

**What was tuned**: nothing but the size of rollouts and the number of steps of PPO, with the GRU on
TMazePassive and training seed 1000. All other settings are the presets', and *memoryless* is the
GRU's without a memory. `-1k` learns from a tenth of the episodes. CQL has 20,000 gradient steps on
robots, not 50,000, for the time that they take.

"""
_LUCKY = """An agent that is asked for 10 imitates what happened before a 10: it takes the lottery,
whose mean is 0.5, and was asked for luck. Asked for 1 it takes the sure prize.

"""
_MAZES = """Without a memory exactly 1/2 can be earned: the sign is as often up as down.

"""
_LATE = """### Late rewards

The same data and environment with all rewards paid at the end of an episode. *Kept* is the
normalised score with late rewards over that with timely ones, where the optimum is known.
Imitation does not read single rewards, so that `bc` and `bc-10` would be the same agents.

"""
_ROBOTS = """## Robots

The data sets are ours: scores that are published for D4RL, whose robots, versions and data differ,
are not on this scale. Costs are recorded and not limited here.

"""
_TEAMS = """## Teams

HAPPO and MAPPO are the rows of [the page of teams](marl.md), at the same number of steps. Execution
is centralized in {centralised}: each agent acts on what all observe. It is decentralized in
{decentralised}.

"""
_CLAIMS = """
## The papers' claims

The literature's orderings are judged by these runs on [the page of claims](../claims.md)
(`pkubench claims --suite sequence`).
"""


def named(agent: str, kind: str) -> str:
    """Return the name of an agent's row with a data set that is one of several of its task."""
    return f"{agent}-{kind.removeprefix('random-')}"


def page_of(rows: tuple[Row, ...], scale: float) -> str:
    """Return the page, from the records of all finished rows."""
    table = table_of(rows, scale, _CONTROLLERS)
    page = page_path(TABLE, scale)
    sections = [_HEAD, *not_learned(table)]
    if any(task in table for task in DIAGNOSTICS):
        sections.append("## Diagnostics\n\n")
    for task in DIAGNOSTICS:
        if task in table:
            sections += markdown(task, table[task], {}, OPTIMUM)
            sections += [_exact(task), {"LuckyArm-v0": _LUCKY}.get(task, "")]
            sections += [_MAZES] if task in TMAZES else []
            sections += _asked_table(task, table[task])
    sections += [*_ablations(table), *_lengths(table), *_abilities(table, page)]
    sections += _teams(table, rows)
    sections += _robots(table, page)
    return "".join([*sections, *_margins(table), *unfinished(rows, scale), _CLAIMS])


def _exact(task: str) -> str:
    """Return a task's exact scores as a line."""
    known = make_task(task).references
    words = [f"{name} {found.score:.4g}" for name, found in known.items()]
    return f"Exactly: {', '.join(words)} (*reference*: the optimum).\n\n"


def _asked_table(task: str, lines: Mapping[str, Scored]) -> Iterator[str]:
    """Yield what is got against what is asked for."""
    curves = {name: asked_of(task, line) for name, line in lines.items() if line.asked}
    if not curves:
        return
    targets = [point.target for point in next(iter(curves.values()))]
    columns = ["got when asked for", *(f"{t:.4g}" for t in targets), "rank correlation", "error"]
    yield "| " + " | ".join(columns) + " |\n" + "|" + "---|" * len(columns) + "\n"
    for name, curve in curves.items():
        cells = [
            f"{p.mean:.4g}" + (f" [{p.low:.3g}, {p.high:.3g}]" if p.low is not None else "")
            for p in curve
        ]
        cells += calibration_text(task, lines[name])
        yield f"| {' | '.join([name, *cells])} |\n"
    yield "\n"


def _ablations(table: Table) -> Iterator[str]:
    """Yield what a context, and rewards that come in time, are worth."""
    tasks = [task for task in table if {"dt", K1} <= set(table[task])]
    if tasks:
        yield "### Context\n\nDecision Transformer with windows of 20 steps, and of one.\n\n"
        yield "| task | 20 steps | 1 step |\n|---|---|---|\n"
        for task in tasks:
            metric = make_task(task).ranking.name
            cells = [table[task][name].text(metric) for name in ("dt", K1)]
            yield f"| {' | '.join([task, *cells])} |\n"
        yield "\n"
    late = [(t, line) for t in (DELAYED, DELAYED_ROBOT) for line in kept(table, _timely(t), t)]
    if late:
        yield _LATE
        yield "| task | agent | timely | late | kept |\n|---|---|---|---|---|\n"
        for task, (name, timely, delayed, part) in late:
            share = "-" if part is None else f"{100.0 * part:.0f} %"
            yield f"| {_timely(task)} | {name} | {timely} | {delayed} | {share} |\n"
        yield "\n"


def _timely(task: str) -> str:
    """Return the task without its delay."""
    return task.partition("+")[0]


def _lengths(table: Table) -> Iterator[str]:
    """Yield the returns by the length of the corridor, and the longest that is solved."""
    found = corridors(table)
    if not found:
        return
    lengths = sorted({length for scores in found.values() for length in scores})
    yield (
        "### Length of memory\n\nTMazePassive by the cells of its corridor. *Solved* is the "
        f"longest up to which the mean return is {SOLVED:g} or more.\n\n"
    )
    columns = ["agent", *map(str, lengths), "solved"]
    yield f"| {' | '.join(columns)} |\n" + "|" + "---|" * len(columns) + "\n"
    for name, scores in found.items():
        cells = [f"{scores[length]:.3g}" if length in scores else "-" for length in lengths]
        yield f"| {' | '.join([name, *cells, str(longest_solved(scores, SOLVED))])} |\n"
    yield "\n"


def _abilities(table: Table, page: Path) -> Iterator[str]:
    """Yield the radars of abilities, with their numbers."""
    parts = (
        ("from data", LEARNED_FROM_DATA, "data"),
        ("by playing", WITH_MEMORY, "memory"),
    )
    chosen = [(words, abilities_of(table, which), stem) for words, which, stem in parts]
    if any(found for _, found, _ in chosen):
        yield (
            "## Abilities\n\n0: the score of what fails at the point of the task; 100: its exact "
            "optimum.\n\n"
        )
    for words, found, stem in chosen:
        if not found:
            continue
        names = list(next(iter(found.values())))
        yield f"| agent | {' | '.join(names)} |\n" + "|" + "---|" * (1 + len(names)) + "\n"
        for agent, shares in found.items():
            cells = ["-" if v is None else f"{100.0 * v:.0f}" for v in shares.values()]
            yield f"| {' | '.join([agent, *cells])} |\n"
        figure = Path("figures") / f"{page.stem}-abilities-{stem}.svg"
        title = f"What agents learn {words}"
        ability_radar(found, page.parent / figure, title=title)
        yield f"\n![{title}]({figure.as_posix()})\n\n"


def _teams(table: Table, rows: Iterable[Row]) -> Iterator[str]:
    """Yield the tables of teams."""
    tasks = [task for task in PARTICLES if task in table]
    if tasks:
        classes: dict[str, list[str]] = {"centralised": [], "decentralised": []}
        for row in rows:
            if row.task == tasks[0]:
                config = config_of(row.agent, row.task)
                classes[getattr(config, "execution", "decentralised")].append(row.name)
        yield _TEAMS.format(**{key: ", ".join(names) for key, names in classes.items()})
    for task in tasks:
        yield from markdown(task, table[task], {}, _CONTROLLERS[task])


def _robots(table: Table, page: Path) -> Iterator[str]:
    """Yield the tables of robots, one a data set, and the curves of target returns."""
    tasks = [task for task in ROBOTS if task in table]
    if tasks:
        yield _ROBOTS
    for task in tasks:
        curves: dict[str, list[Asked]] = {}
        for kind in KINDS:
            if not any(name.endswith(f"-{kind}") for name in table[task]):
                continue
            lines = {
                name: line
                for name, line in table[task].items()
                if name.endswith(f"-{kind}") or not name.endswith(tuple(f"-{k}" for k in KINDS))
            }
            yield from (
                part.replace(f"### {task}\n", f"### {task}, {kind} data\n")
                for part in markdown(task, lines, {}, "-")
            )
            yield _data_line(task, kind)
            yield from _asked_table(task, lines)
            curves |= {n: asked_of(task, line) for n, line in lines.items() if line.asked}
        if curves:
            figure = Path("figures") / f"{page.stem}-{task}.svg"
            calibration_curves(curves, page.parent / figure, title=task)
            yield f"![What is got against what is asked for, on {task}]({figure.as_posix()})\n\n"


def _data_line(task: str, kind: str) -> str:
    """Return what the data set's own episodes earned."""
    card = cards().get(f"pkubench/{task.removesuffix('-v0')}/{kind}-v0")
    if card is None:
        return ""
    of = card["return"]
    return (
        f"The data: {card['episodes']:,} episodes, {card['steps']:,} steps, mean return "
        f"{of['mean']:.4g}, best {of['max']:.4g}; {card['policy']}.\n\n"
    )


def _margins(table: Table) -> Iterator[str]:
    """Yield what each agent earns above the better imitator."""
    found = margins(table)
    if not found:
        return
    yield (
        "## Above imitation\n\nMean return minus that of the better of `bc` and `bc-10` on the "
        "same data, with Welch's interval: what is more than imitating good episodes.\n\n"
    )
    yield "| task | agent | imitator | difference [95 %] |\n|---|---|---|---|\n"
    for task, agent, imitator, difference in found:
        yield f"| {task} | {agent} | {imitator} | {difference} |\n"
    yield "\n"
