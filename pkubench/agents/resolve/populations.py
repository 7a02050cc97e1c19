"""Population files as agents (``pkubench.agents.saved.population_file`` reads them)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pkubench.agents.contract import Entrant, Population
from pkubench.agents.resolve.sources import AgentRun, AgentSource, file_hash
from pkubench.errors import AgentError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


def population_source(path: Path, task: Task | None) -> AgentSource:
    """Return the agent in a population file.

    Raises:
        AgentError: there is no such file, or no task is given.
    """
    if not path.is_file():
        raise AgentError(f"there is no population file {str(path)!r}")
    if task is None:
        raise AgentError(f"agent {str(path)!r} depends on the task; name one")
    hashes = {path.name: file_hash(path)}
    run = AgentRun("run", load_population_file, (path.absolute(), task), hashes)
    return AgentSource(path.stem, "population", (run,))


def load_population_file(path: Path, task: Task) -> Population:
    """Return the population of a file.

    Raises:
        AgentError: the file is damaged, or does not fit the task's game.
    """
    from pkubench.agents.saved.population_file import read_population

    return read_population(path, task)


def load_unbuilt(source: AgentSource, game: str) -> Entrant:
    """Return an agent's first run, for plays of a game without building its tree.

    Raises:
        AgentError: it cannot be loaded.
    """
    run = source.runs[0]
    if source.label != "population":
        return run.load()
    from pkubench.agents.saved.population_file import read_unbuilt_population

    return read_unbuilt_population(run.arguments[0], game)
