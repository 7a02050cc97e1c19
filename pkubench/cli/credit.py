"""``pkubench credit``: how the training of an agent assigned credit, against what is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from pkubench.cli.names import command, own_task, short, task_named
from pkubench.cli.options import (
    AgentName,
    Json,
    OwnTaskName,
    Quiet,
    Seed,
    count,
    verb_app,
)
from pkubench.cli.output import Column, Output, number
from pkubench.cli.progress import Meter
from pkubench.errors import ConfigError, StorageError
from pkubench.tasks.task import Task

if TYPE_CHECKING:
    from pkubench.agents.resolve.sources import AgentSource
    from pkubench.envs.core.recording import Recording
    from pkubench.evaluation.credit_quality import Quality

app = verb_app()

OWN = "own"
"""The agent's own policy, sampled, among ``--policies``."""
FORMATS = (".svg", ".png")


class Played(NamedTuple):
    """A run's credit on the episodes of one policy."""

    run: str
    policy: str
    quality: Quality


@app.command()
def credit(
    agent: AgentName,
    task: OwnTaskName = None,
    policies: Annotated[
        str | None,
        typer.Option(
            "--policies",
            metavar="A,B",
            help="Whose episodes: agents, or `own`, the agent with sampled actions. Default: "
            "own, random and the reference of the task.",
        ),
    ] = None,
    episodes: Annotated[int, count("--episodes", 1, "Episodes of each policy.")] = 100,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Draw the first episode of the first policy: an .svg or .png.",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score the credit that an agent was trained with, on episodes that no training has seen.

    Shares are compared with returns, and with rewards, difference rewards and exact values of steps
    where the environment reports them. Run folders hold the credit model; shipped weights do not.
    """
    if out is not None and out.suffix not in FORMATS:
        raise ConfigError(f"--out {out}: figures are {' or '.join(FORMATS)} files")
    chosen = own_task(agent, "credit") if task is None else task_named(task)
    from pkubench.agents.resolve.loading import resolve_agent
    from pkubench.agents.resolve.saved import credit_of
    from pkubench.evaluation.credit_quality import quality, recorded

    names = _names(policies, chosen)
    source = resolve_agent(agent, chosen)
    for run in source.runs:
        run.load()  # an agent of another task says so here
    credits = {run.label: credit_of(source.name, run) for run in source.runs}
    sources = {name: _source(name, agent, chosen) for name in names}
    found, shown_first = [], None
    with (
        Output(json=json, quiet=quiet) as output,
        Meter(f"credit of {agent} on {short(chosen.id)}", quiet=quiet, unit="policies") as meter,
    ):
        for number_, name in enumerate(names):
            known: Recording | None = None
            for k, (label, assign) in enumerate(credits.items()):
                if known is None or name == OWN:
                    run = sources[name].runs[k if name == OWN else 0]
                    known = recorded(run.load(), chosen, episodes, seed)
                found.append(Played(label, name, quality(assign, known)))
                if shown_first is None:
                    shown_first = known, assign(known)
            meter.update(number_ + 1, len(names))
        figure, failed = None, None
        if out is not None and shown_first is not None:
            try:
                figure = str(_draw(out, agent, chosen, names[0], *shown_first))
            except StorageError as error:  # the scores took minutes, and do not depend on it
                failed = error
        _show(output, agent, chosen, seed, found, figure)
        if failed is not None:
            raise failed


def _names(policies: str | None, task: Task) -> list[str]:
    if policies is None:
        return [OWN, "random", *([task.reference] if task.reference else [])]
    names = list(dict.fromkeys(name.strip() for name in policies.split(",") if name.strip()))
    if not names:
        raise ConfigError("--policies names none, as in --policies own,random")
    return names


def _source(name: str, agent: str, task: Task) -> AgentSource:
    """Return a policy by its name in ``--policies``."""
    from pkubench.agents.resolve.acting import split_acting, with_acting
    from pkubench.agents.resolve.loading import resolve_agent

    if name != OWN:
        return resolve_agent(name, task)
    acting = {"mode": "sampled", **split_acting(agent)[1]}
    return resolve_agent(with_acting(agent, acting), task)


def _draw(
    out: Path, agent: str, task: Task, policy: str, recording: Recording, shares: Any
) -> Path:
    from pkubench.evaluation.figures.credit import credit_map

    whose = "its own policy, sampled" if policy == OWN else policy
    return credit_map(
        recording,
        shares,
        out,
        title=f"Credit by {Path(agent).name} on {short(task.id)}",
        caption=f"One episode of {whose}: return {number(float(recording.returns[0]))}, credit "
        f"{number(float(shares[:, 0].sum()))}, {int(recording.lengths[0])} steps.",
    )


def _show(
    output: Output,
    agent: str,
    task: Task,
    seed: int,
    found: Sequence[Played],
    figure: str | None,
) -> None:
    from pkubench.evaluation.credit_quality import in_words, mean_quality

    means: dict[str, Quality] = {
        name: mean_quality(of.quality for of in found if of.policy == name)
        for name in dict.fromkeys(of.policy for of in found)
    }
    if output.json:
        output.document(
            {
                "schema": 1,
                "task": task.id,
                "agent": agent,
                "seed": seed,
                "policies": {name: of.to_json() for name, of in means.items()},
                "runs": [
                    {"run": of.run, "policy": of.policy, **of.quality.to_json()} for of in found
                ],
                "figure": figure,
            }
        )
        return
    runs = len({of.run for of in found})
    episodes = next(iter(means.values())).episodes
    title = f"credit by {agent} on {short(task.id)}"
    note = f"{episodes} episodes of each policy" + (f", mean of {runs} runs" if runs > 1 else "")
    output.show("", _table(output, title, means), note, "", *_legend(means, in_words()), "")
    if figure is not None:
        output.show(figure)
    else:
        output.next(command("credit", agent, short(task.id), "--out", "credit.svg"))


HEADS = {
    "return_rmse": "RMSE",
    "return_r2": "R²",
    "time": "time",
    "agents": "agents",
    "value": "value",
    "value_rmse": "gap",
    "spread": "spread",
}
"""Score -> head of its column."""


def _known(means: Mapping[str, Quality]) -> list[str]:
    """Return the scores that some policy's episodes have."""
    return [name for name in HEADS if any(of.to_json()[name] is not None for of in means.values())]


def _table(output: Output, title: str, means: Mapping[str, Quality]) -> Any:
    names = _known(means)
    columns = [
        Column("episodes of", style="bold"),
        *(Column(HEADS[name], right=True) for name in names),
    ]
    rows = [
        [policy, *(number(of.to_json()[name], 3) for name in names)] for policy, of in means.items()
    ]
    return output.table(title, columns, rows)


def _legend(means: Mapping[str, Quality], words: Mapping[str, str]) -> list[str]:
    return [f"{HEADS[name]:<10}  {words[name]}" for name in _known(means)]
