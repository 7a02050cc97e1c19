"""``pkubench evaluate``: scores agents on tasks; writes records, reports and one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from pkubench.agents.registry import family_of, prefixes, presets
from pkubench.agents.saved.runs import trainings
from pkubench.cli.bounds import check_responses, show_bound
from pkubench.cli.interrupt import Interrupted, sigterm_as_interrupt, this_command
from pkubench.cli.names import (
    check_apart,
    check_one_agent,
    command,
    counted_in,
    shipped_tasks,
    short,
    task_named,
)
from pkubench.cli.options import (
    Act,
    BackendName,
    CostKey,
    CostLimit,
    CostMissing,
    Episodes,
    Json,
    MaxHistories,
    Out,
    Quiet,
    Seed,
    Trust,
    Workers,
    acting_of,
    check_backend,
    complete_tasks,
    set_max_histories,
    verb_app,
    with_costs,
)
from pkubench.cli.output import Output
from pkubench.cli.progress import Meter
from pkubench.errors import AgentError, ConfigError, MissingExtra, UnknownName
from pkubench.evaluation.run.sources import AgentSource
from pkubench.tasks.outside import is_outside
from pkubench.tasks.registry import make_task, suites, tasks
from pkubench.tasks.task import Task

if TYPE_CHECKING:
    from pkubench.evaluation.report import Report
    from pkubench.evaluation.run.execution import Backend

app = verb_app()

Responses = Annotated[
    int | None,
    typer.Option(
        "--responses",
        metavar="PLAYS",
        min=1,
        help="In a game whose tree is too large: learn a response to each seat from so many "
        "plays, and report a lower bound of exploitability.",
    ),
]

Quick = Annotated[bool, typer.Option("--quick", help="Fewer episodes, for a first look.")]
Stochastic = Annotated[bool, typer.Option("--stochastic", help="Short for --act mode=sampled.")]
Responder = Annotated[
    str,
    typer.Option(
        "--responder",
        metavar="dqn|lbr",
        help="How --responses finds them: dqn, learned from plays; or lbr, a local best response, "
        "in Kuhn and Leduc poker, which learns nothing and is scored by PLAYS.",
    ),
]


class Pair(NamedTuple):
    """One evaluation to run."""

    agent: str
    """Spelling of the agent."""
    task: Task
    asked_for: bool
    """Named by the user: an agent that does not fit is an error. Otherwise it is left out."""


def _complete(incomplete: str) -> list[str]:
    agents = [name for name in presets() if name.startswith(incomplete)]
    return agents + complete_tasks(incomplete)


@app.command()
def evaluate(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="AGENT [TASK...]",
            help="The agent (see `pkubench show`; any spelling) and tasks. With --agents only "
            "tasks. A run folder knows its own task.",
            autocompletion=_complete,
        ),
    ] = None,
    agents: Annotated[
        str | None,
        typer.Option("--agents", metavar="A,B,C", help="Several agents, for one table."),
    ] = None,
    suite: Annotated[
        str | None, typer.Option("--suite", metavar="SUITE", help="All tasks of a suite.")
    ] = None,
    all_: Annotated[
        bool,
        typer.Option(
            "--all",
            help="All tasks an agent has weights for or can act in; without an agent, all that "
            "are shipped, and random.",
        ),
    ] = False,
    quick: Quick = False,
    seed: Seed = 0,
    episodes: Episodes = None,
    workers: Workers = 1,
    out: Out = None,
    trust: Trust = False,
    act: Act = None,
    stochastic: Stochastic = False,
    responses: Responses = None,
    responder: Responder = "dqn",
    backend: BackendName = "local",
    max_histories: MaxHistories = None,
    cost_key: CostKey = None,
    cost_limit: CostLimit = None,
    cost_missing: CostMissing = "error",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score agents on tasks.

    With --out every episode is a line of OUT/AGENT/TASK/RUN/episodes.jsonl, and the same command
    resumes where it was stopped. Exit code 1 if an agent failed an episode.
    """
    check_backend(backend)
    if quick and episodes is not None:
        raise ConfigError("--quick and --episodes both say how many episodes; give one")
    set_max_histories(max_histories)
    named = with_costs(words, agents is None, (cost_key, cost_limit, cost_missing))
    pairs = _acting_as(acting_of(act, stochastic), _pairs(named, agents, suite, all_))
    is_one = agents is None and suite is None and not all_ and len(pairs) == 1
    if responses is None and responder != "dqn":
        raise ConfigError("--responder says how responses are found; give --responses PLAYS too")
    if responses is not None:
        check_responses([pair.task for pair in pairs], is_one, out)
        with Output(json=json, quiet=quiet) as output:
            pair = pairs[0]
            show_bound(output, pair.agent, pair.task, responses, seed, responder, trust=trust)
        return

    from pkubench.cli.results import reports_table

    with Output(json=json, quiet=quiet) as output, sigterm_as_interrupt():
        counts = {p.task.id: p.task.protocol.quick_episodes if quick else episodes for p in pairs}
        sources = list(_resolved(pairs, trust, output))
        where = _backend(backend, workers)
        reports, last = _scored(sources, counts, seed, out, where, output, quiet)
        if json:
            documents = [report.to_json() for report in reports]
            output.document(documents[0] if is_one else documents)
        else:
            output.show("", *reports_table(output, reports), "")
            _next(output, out, len(reports), *last)
    if any(report.failed for report in reports):
        raise typer.Exit(1)


def _backend(name: str, workers: int) -> Backend:
    if name == "ray":
        from pkubench.evaluation.run.cluster import RayBackend

        return RayBackend()
    from pkubench.evaluation.run.workers import ProcessPool

    return ProcessPool(workers)


def _acting_as(acting: Mapping[str, str], pairs: list[Pair]) -> list[Pair]:
    """Return the evaluations with settings of acting in each agent's spelling."""
    if not acting:
        return pairs
    from pkubench.agents.resolve.acting import with_acting

    return [pair._replace(agent=with_acting(pair.agent, acting)) for pair in pairs]


def _resolved(pairs: list[Pair], trust: bool, output: Output) -> Iterator[tuple[Pair, AgentSource]]:
    """Find every agent, so that a misspelled one is reported before anything runs."""
    from pkubench.agents.resolve.loading import resolve_agent

    found = []
    for pair in pairs:
        try:
            found.append((pair, resolve_agent(pair.agent, pair.task, trust=trust)))
        except AgentError as error:
            _leave_out(pair, error, output)
    check_apart((pair.agent, source.name, pair.task.id) for pair, source in found)
    yield from found


def _leave_out(pair: Pair, error: Exception, output: Output) -> None:
    if pair.asked_for:
        raise error
    output.note(f"left out {pair.agent} on {short(pair.task.id)}: {error}")


def _scored(
    sources: list[tuple[Pair, AgentSource]],
    episodes: Mapping[str, int | None],
    seed: int,
    out: Path | None,
    pool: Backend,
    output: Output,
    quiet: bool,
) -> tuple[list[Report], tuple[str, AgentSource]]:
    """Evaluate; return the reports, and the spelling and source of the last agent.

    Raises:
        AgentError: none could be scored.
        Interrupted: it was stopped.
    """
    from pkubench.cli.results import in_order
    from pkubench.evaluation.run.execution import InProcess
    from pkubench.evaluation.run.harness import Progress, evaluate

    reports: list[Report] = []
    try:
        with Meter("", quiet=quiet) as meter:
            for number, (pair, source) in enumerate(sources, start=1):
                title = f"{pair.agent} on {short(pair.task.id)}"
                if len(sources) > 1:
                    title = f"[{number}/{len(sources)}] {title}"
                unit = counted_in(pair.task)

                def show(progress: Progress, title: str = title, unit: str = unit) -> None:
                    meter.update(progress.done, progress.total, title=title, unit=unit)

                try:
                    report = evaluate(
                        source,
                        pair.task,
                        episodes=episodes[pair.task.id],
                        seed=seed,
                        out=out,
                        backend=InProcess() if is_at_keyboard(source) else pool,
                        progress=show,
                    )
                except (AgentError, MissingExtra) as error:
                    _leave_out(pair, error, output)
                else:
                    reports.append(report)
                    last = pair.agent, source
    except KeyboardInterrupt:
        kept = "to resume where it stopped" if out else "nothing is kept without --out; again"
        raise Interrupted(f"stopped; {kept}: {this_command()}") from None
    finally:
        pool.close()
    if not reports:
        raise AgentError("none of the agents can act in any of the tasks")
    return in_order(reports), last


def is_at_keyboard(source: AgentSource) -> bool:
    """Return whether an agent reads the keyboard, which worker processes do not have."""
    return getattr(source, "needs_terminal", False) is True


def _next(output: Output, out: Path | None, reports: int, agent: str, source: AgentSource) -> None:
    """Suggest the next command; ``agent`` is how ``source``, the last one scored, was spelled."""
    from pkubench.agents.resolve.acting import split_acting

    if out is not None and split_acting(source.name)[1]:
        output.note(
            "results with settings of acting cannot be submitted: boards take agents as they act "
            "by default"
        )
    if out is None:
        output.next(this_command(add="--out results"))
    elif reports > 1:
        output.next(
            command("compare", out),
            command("plot", out),
            command("leaderboard", "export", out / "site", "--results", out),
        )
    else:
        from pkubench.evaluation.run.harness import folder_name

        again: list[object] = [out, "--rerun", 16]
        if source.name != agent:  # its records do not say where it is
            again = [out / folder_name(source.name), *again[1:], "--agent", agent]
            of = prefixes().get(source.label)
            again += ["--trust"] if of is not None and of.needs_trust else []
        output.next(command("verify", *again), command("plot", out))


def _pairs(words: list[str], agents: str | None, suite: str | None, all_: bool) -> list[Pair]:
    """Return what to evaluate, task by task."""
    if agents is not None:
        names = list(dict.fromkeys(name.strip() for name in agents.split(",") if name.strip()))
        if not names:
            raise ConfigError("--agents names no agent, as in --agents random,happo")
        task_names = words
    elif words:
        names, task_names = words[:1], words[1:]
        check_one_agent(words)
    elif all_ or suite is not None:
        names = [*_untrained(), *(name for name in presets() if shipped_tasks(name))]
        task_names = []
    else:
        raise ConfigError(
            "name an agent and a task, as in `pkubench evaluate random SimpleSpread-v0`, or --all"
        )
    chosen = [task_named(name) for name in task_names]
    if suite is not None:
        chosen += _of_suite(suite)
    chosen = list({task.id: task for task in chosen}.values())
    if all_ and chosen:
        raise ConfigError("--all means every task; leave out the tasks and --suite")
    if chosen and suite is None:
        return [Pair(name, task, True) for task in chosen for name in names]
    if not chosen and not all_:
        return [pair for name in names for pair in _own_task(name)]
    return _fitting(names, chosen or list(tasks()), several=len(names) > 1)


def _of_suite(suite: str) -> list[Task]:
    if suite not in suites():
        raise UnknownName("suite", suite, suites())
    return list(suites()[suite].tasks)


def _own_task(agent: str) -> Iterator[Pair]:
    """Yield the task that a run folder was trained on."""
    for run in trainings(Path(agent)):
        if not run.is_finished:  # resolve_agent says how to resume it
            continue
        task = run.facts.get("task")
        if not isinstance(task, str):
            raise AgentError(f"{run.folder} does not name the run's task")
        yield Pair(agent, make_task(task), True)
        return
    if agent in presets():
        raise ConfigError(f"no task given for {agent}: name one, a --suite, or --all")
    if is_outside(agent) or any(
        short(task.id) == agent.partition("/")[2] or short(task.id) == agent for task in tasks()
    ):
        raise ConfigError(
            f"{agent} is a task; the agent comes first: pkubench evaluate random {agent}"
        )
    from pkubench.agents.resolve.loading import resolve_agent

    resolve_agent(agent)  # gives the best message about the name
    raise ConfigError(f"no task given for {agent}: name one, a --suite, or --all")


def _untrained() -> list[str]:
    """Return the named agents that need no weights."""
    return [name for name, agent in presets().items() if family_of(agent).make is not None]


def _fitting(names: list[str], chosen: list[Task], *, several: bool) -> list[Pair]:
    """Return the pairs of ``--all`` and ``--suite``.

    A named agent is paired with the tasks it has weights for. One that needs no weights is paired,
    if other agents are given, with their tasks, because a table compares. Any other agent is paired
    with all tasks, and left out where it does not fit.
    """
    untrained = [name for name in names if name in _untrained()]
    trained = {name: set(shipped_tasks(name)) for name in names if name in presets()}
    others = [name for name in names if name not in presets()]
    compared = set().union(*(ids for name, ids in trained.items() if name not in untrained))
    for name in untrained:
        everything = {task.id for task in chosen}
        trained[name] = compared if several and compared and not others else everything
    pairs = []
    for task in chosen:
        for name in names:
            if name in others or task.id in trained[name]:
                pairs.append(Pair(name, task, False))
    without = [n for n in trained if n not in untrained and not any(p.agent == n for p in pairs)]
    if without and not pairs:
        raise AgentError(
            f"no weights of {', '.join(without)} are shipped for any of these tasks; "
            f"`pkubench train {without[0]} TASK` makes some"
        )
    return pairs
