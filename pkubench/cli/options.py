"""Flags that mean the same in every verb, and completion of names."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer

from pkubench.envs.core.registry import env_families, family_of
from pkubench.envs.core.seeding import MAX_SEED, check_seed
from pkubench.errors import ConfigError, UnknownName


def verb_app() -> typer.Typer:
    """Return the application of one verb; its docstring is Markdown."""
    return typer.Typer(add_completion=False, rich_markup_mode="markdown")


MAX_SEEDS = 1000
"""Of one command."""
BACKENDS = ("local", "ray")
BackendName = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="local|ray",
        help="Where it runs: processes of this machine, or a running Ray cluster.",
    ),
]


def check_backend(name: str) -> str:
    """Return the name of a backend.

    Raises:
        UnknownName: there is none of it.
    """
    if name not in BACKENDS:
        raise UnknownName("backend", name, BACKENDS)
    return name


def complete_tasks(incomplete: str) -> list[str]:
    """Return the task names with this beginning, for the shell's completion."""
    from pkubench.tasks.registry import tasks

    short = [task.id.partition("/")[2] for task in tasks()]
    return [name for name in short if name.lower().startswith(incomplete.lower())]


def complete_agents(incomplete: str) -> list[str]:
    """Return the agent names with this beginning, for the shell's completion."""
    from pkubench.agents.registry import presets

    return [name for name in presets() if name.startswith(incomplete)]


def set_max_histories(count: int | None) -> None:
    """Apply ``--max-histories`` to this process and its workers."""
    if count is not None:
        from pkubench.envs.games.histories import allow_histories

        allow_histories(count)


def acting_of(act: list[str] | None, stochastic: bool) -> dict[str, str]:
    """Return what ``--act`` and ``--stochastic`` say, by setting.

    Raises:
        ConfigError: a pair is not NAME=VALUE, or a setting is given twice.
    """
    pairs = [*(act or []), *(["mode=sampled"] if stochastic else [])]
    acting: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not (sign and name and value) or "+" in pair:
            raise ConfigError(f"--act {pair!r} is not NAME=VALUE, as in --act mode=sampled")
        if name in acting:
            raise ConfigError(f"--act {name} is given twice")
        acting[name] = value
    return acting


def name_with_costs(
    name: str, keys: list[str] | None, limits: list[str] | None, missing: str
) -> str:
    """Return the name of a task with what ``--cost-key`` and its companions add to it.

    Raises:
        ConfigError: the task has the costs that it has, or the flags do not fit together.
    """
    if not keys:
        if limits or missing != "error":
            flag = "--cost-limit" if limits else "--cost-missing"
            raise ConfigError(f"{flag} goes with --cost-key, which names the cost")
        return name
    family = family_of(name)
    if family is None or family.with_costs is None:
        able = [f"{p}:ID" for p, each in env_families().items() if each.with_costs is not None]
        raise ConfigError(
            f"--cost-key names costs in the infos of {' and '.join(able)}; {name} has those that "
            "it has: leave --cost-key out"
        )
    from pkubench.agents.registry import import_function

    add: Callable[..., str] = import_function(family.with_costs)
    return add(name, keys, limits or [], missing)


def with_costs(
    words: list[str] | None, is_agent_first: bool, flags: tuple[Any, Any, str]
) -> list[str]:
    """Return words that name an agent, if ``is_agent_first``, and tasks, with the tasks' costs.

    Raises:
        ConfigError: as :func:`name_with_costs`.
    """
    first = 1 if is_agent_first else 0
    agent, names = (words or [])[:first], (words or [])[first:]
    if not names:
        name_with_costs("the task of a run folder", *flags)
    return [*agent, *(name_with_costs(name, *flags) for name in names)]


def seeds_of(text: str) -> list[int]:
    """Return the seeds that ``--seeds`` names.

    Raises:
        ConfigError: it is not a list such as ``0-4`` or ``1,5,7``, or is too long.
    """
    """Read ``0-4`` or ``0,2,7-9``."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None:
            raise ConfigError(f"--seeds {text!r} is not a list of seeds like 0-4 or 1,5,7")
        low = int(match[1])
        high = low if match[2] is None else int(match[2])
        check_seed(high)
        if high - low >= MAX_SEEDS:
            raise ConfigError(f"--seeds {part} are more than {MAX_SEEDS:,} seeds")
        seeds.extend(range(low, high + 1))
    if not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(f"--seeds {text!r} names no seed, or the same seed twice")
    return seeds


def count(flag: str, low: int, meaning: str) -> Any:
    """Return the option of a whole number of at least ``low``: ``100000`` or ``1e5``."""

    def read(text: str) -> int:
        try:
            value = Decimal(str(text))
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or value != value.to_integral_value():
            raise typer.BadParameter(f"{text!r} is not a whole number such as 100000 or 1e5")
        if not low <= value <= MAX_SEED:
            raise typer.BadParameter(f"{text} does not lie in {low}..2**63 - 1")
        return int(value)

    return typer.Option(flag, metavar="N", parser=read, help=meaning)


CostKey = Annotated[
    list[str] | None,
    typer.Option(
        "--cost-key",
        metavar="KEY[:LIMIT]",
        help="gym:ID only: an entry of the infos that is a cost (a.b looks inside of a; -KEY turns "
        "the sign; 'terminated' costs 1 at a terminal state); may be repeated.",
    ),
]
CostLimit = Annotated[
    list[str] | None,
    typer.Option(
        "--cost-limit",
        metavar="LIMIT",
        help="Limit on the mean of an episode's summed cost, one for each --cost-key in order; "
        "default: 25.",
    ),
]
CostMissing = Annotated[
    str,
    typer.Option(
        "--cost-missing",
        metavar="error|zero",
        help="What a step is that does not report a cost.",
    ),
]
Act = Annotated[
    list[str] | None,
    typer.Option(
        "--act",
        metavar="NAME=VALUE",
        help="A setting of acting (mode=sampled samples from the policy); may be repeated. It is "
        "part of the agent's name in records.",
    ),
]
AgentName = Annotated[
    str,
    typer.Argument(
        metavar="AGENT",
        help="random, a name of `pkubench list`, a run folder, module:factory, onnx:FILE, "
        "sb3:FILE, scripted:NAME.",
        autocompletion=complete_agents,
    ),
]
OwnTaskName = Annotated[
    str | None,
    typer.Argument(
        metavar="[TASK]",
        help="The task; that of the run folder if left.",
        autocompletion=complete_tasks,
    ),
]
SEED = count("--seed", 0, "Seed of everything random.")
Seed = Annotated[int, SEED]
Episodes = Annotated[
    int | None,
    count("--episodes", 1, "Episodes of each run; default: the task's own number."),
]
Workers = Annotated[int, count("--workers", 1, "Processes. Results are the same for any number.")]
MaxHistories = Annotated[
    int | None,
    count(
        "--max-histories",
        1,
        "Games: the largest tree that is built, 2,000,000 histories by default; a million take "
        "about 0.6 GB (PKUBENCH_MAX_HISTORIES=N does the same, in every verb).",
    ),
]
Out = Annotated[Path | None, typer.Option("--out", metavar="PATH", help="Where to write.")]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout and nothing else there.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no hints.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Load files that can run code (sb3: zips hold pickles).")
]
