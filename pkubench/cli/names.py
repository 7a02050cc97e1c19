"""Names as users type them, and the weights that are shipped under them."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from pkubench.agents import registry
from pkubench.agents.registry import prefixes, presets
from pkubench.agents.saved.runs import training_folders, trainings
from pkubench.envs.core.registry import NAMESPACE, current_id, superseded_by
from pkubench.envs.core.registry import family_of as env_family_of
from pkubench.errors import AgentError, ConfigError, PkubenchError
from pkubench.tasks.outside import is_outside
from pkubench.tasks.registry import make_task, tasks
from pkubench.tasks.task import Task


def short(task_id: str) -> str:
    """Return an id without the namespace: ``pkubench/KuhnPoker-v0`` -> ``KuhnPoker-v0``."""
    return task_id.removeprefix(f"{NAMESPACE}/")


def command(verb: str, *words: object) -> str:
    """Return a command of pkubench as it is typed in a shell, quoted where it must be."""
    return shlex.join(["pkubench", verb, *(present(str(word)) for word in words)])


def present(word: str) -> str:
    """Return the present name of an earlier version of a task; any other word as it is."""
    current = superseded_by(word)
    return word if current is None else short(current)


def present_with_notice(name: str) -> str:
    """Return the same as :func:`present`, and warn that scores of the two differ.

    Warns:
        SupersededWarning: ``name`` is an earlier version.
    """
    if superseded_by(name) is not None:
        current_id(name)
    return present(name)


def as_text(argument: str) -> str:
    """Return an argument decoded as UTF-8, also if the locale is C."""
    return os.fsencode(argument).decode(errors="replace")


def task_named(name: str) -> Task:
    """Return the task that a user has typed; a module in its name may be in this folder.

    Names in records are not looked up here: nothing is imported from a folder of results.

    Raises:
        UnknownName, ConfigError: as ``make_task``.
    """
    if is_outside(name):
        look_here()
    return make_task(name)


def own_task(agent: str, verb: str) -> Task:
    """Return the task that a run folder was trained on, for a ``verb`` that was given none.

    Raises:
        AgentError: It is not a run folder.
        ConfigError: It is a task.
    """
    from pkubench.agents.resolve.acting import split_acting

    folder = Path(split_acting(agent)[0])
    if folder.name != str(folder) and ":" not in agent and not folder.exists():
        raise AgentError(f"there is no run folder {agent}")
    for run in trainings(folder):
        if isinstance(run.facts.get("task"), str):
            return task_named(str(run.facts["task"]))
    if f"{NAMESPACE}/{short(agent)}" in {task.id for task in tasks()}:
        raise ConfigError(
            f"{agent} is a task; the agent comes first: pkubench {verb} AGENT {agent}"
        )
    raise AgentError(f"no task given for {agent}: name one, as in `pkubench {verb} {agent} TASK`")


def look_here() -> None:
    """Import modules from this folder too, as ``python -m`` does and installed commands do not."""
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)


def counted_in(task: Task) -> str:
    """Return what an evaluation counts: episodes, and nothing where scores are computed."""
    return f"{task.scoring.unit}s" if task.scoring.is_played else ""


def handful(names: Iterable[str]) -> str:
    """Return the first few of many names, for an error that says where to find all of them."""
    return ", ".join(islice(names, 5))


def spelling(folder: Path) -> str:
    """Return a spelling of a run folder that cannot be mistaken for a named agent."""
    return f"./{folder}" if str(folder) in presets() else str(folder)


def check_apart(agents: Iterable[tuple[str, str, str]]) -> None:
    """Refuse two agents of one name on one task: their scores could not be told apart.

    Args:
        agents: for each its spelling, the name of its records, and the task's id.

    Raises:
        ConfigError: two have the same name.
    """
    seen: dict[tuple[str, str], str] = {}
    for spelled, name, task in agents:
        first = seen.setdefault((name, task), spelled)
        if first != spelled:
            raise ConfigError(
                f"{first} and {spelled} are both called {name}; rename one of the folders, or "
                "evaluate each with an --out of its own"
            )


def check_one_agent(words: Sequence[str]) -> None:
    """Check that the words of ``AGENT TASK...`` name one agent.

    Raises:
        ConfigError: they name several, and how that is written.
    """
    first, *rest = words
    more = [word for word in rest if _is_agent(word)]
    if not more and len(rest) > 1:  # the first of them may be a misspelled agent
        more = [rest[0]] if not _is_task(rest[0]) and _is_task(rest[-1]) else []
    is_list = "," in first and ":" not in first and not Path(first).exists()
    if more or is_list:
        several = [word for word in rest if word not in more]
        what = "" if is_list or _is_agent(more[0]) else f"{more[0]} is no task; "
        listed = shlex.join(["--agents", ",".join([first, *more]), *several])
        raise ConfigError(f"{what}several agents are named by {listed}")


def _is_agent(word: str) -> bool:
    if env_family_of(word) is not None:  # a prefix may be one of games as well
        return False
    prefix, colon, _ = word.partition(":")
    is_named = word.partition("@")[0] in presets() or (bool(colon) and prefix in prefixes())
    return is_named or bool(training_folders(Path(word)))


def _is_task(word: str) -> bool:
    try:
        return is_outside(word) or bool(make_task(word))
    except PkubenchError:
        return False


def shipped_seeds(agent: str, task: str) -> list[Path]:
    """Return the folders of an agent's shipped weights for a task, one per training seed."""
    return sorted(
        folder
        for folder in (registry.WEIGHTS / agent / short(task)).glob("seed*")
        if (folder / "config.json").is_file()
    )


def shipped_tasks(agent: str) -> list[str]:
    """Return the ids of the tasks for which weights of an agent are shipped."""
    folder = registry.WEIGHTS / agent
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    return [f"{NAMESPACE}/{name}" for name in names if shipped_seeds(agent, name)]
