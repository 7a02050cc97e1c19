"""What the harness needs of an agent: a name, and runs that can be loaded in any process."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from pkubench.agents.contract import Entrant
from pkubench.errors import AgentError


class RunSource(Protocol):
    """One trained run (one training seed) of an agent. Picklable, so that processes can load it."""

    @property
    def label(self) -> str:
        """Folder name of the run's records, e.g. ``seed1``."""
        ...

    @property
    def hashes(self) -> Mapping[str, str]:
        """File name -> SHA-256 of what is loaded."""
        ...

    @property
    def reusable(self) -> bool:
        """Whether one loaded entrant may serve many blocks.

        False loads it afresh for each block of episodes, so that what code from outside remembers
        between calls cannot make results depend on the number of workers.
        """
        ...

    def load(self) -> Entrant:
        """Return the entrant."""
        ...


@runtime_checkable
class AgentSource(Protocol):
    """An agent by name, with all its runs."""

    @property
    def name(self) -> str:
        """Name of the agent on boards and in folders."""
        ...

    @property
    def label(self) -> str:
        """Where it comes from: ``registered``, ``saved``, ``code``, ``onnx``, ``sb3``..."""
        ...

    @property
    def runtimes(self) -> Sequence[str]:
        """The distributions that it acts with: records name their versions."""
        ...

    @property
    def runs(self) -> Sequence[RunSource]:
        """Its runs: training seeds, the sample of every interval."""
        ...


@dataclass(frozen=True)
class PickledRun:
    """An object handed to ``evaluate``, ready to be sent to another process."""

    payload: bytes = field(repr=False)
    label: str = "run"
    hashes: Mapping[str, str] = field(default_factory=dict)
    reusable: bool = False

    def load(self) -> Entrant:
        """Return a fresh copy of the object."""
        entrant: Entrant = pickle.loads(self.payload)
        return entrant


@dataclass(frozen=True)
class LiveRun:
    """An object that exists in this process only (a closure, a class of the running script)."""

    entrant: Entrant = field(repr=False)
    label: str = "run"
    hashes: Mapping[str, str] = field(default_factory=dict)
    reusable: bool = False

    def load(self) -> Entrant:
        """Return a copy of the object, or itself if it cannot be copied."""
        try:
            return copy.deepcopy(self.entrant)
        except Exception:  # whatever it holds (a lock, a handle) cannot be copied: share it
            return self.entrant


@dataclass(frozen=True)
class ObjectSource:
    """An entrant handed to ``evaluate`` as an object."""

    name: str
    runs: tuple[PickledRun | LiveRun, ...]
    label: str = "object"
    runtimes: tuple[str, ...] = ()

    @property
    def is_portable(self) -> bool:
        """Whether another process can load it."""
        return all(isinstance(run, PickledRun) for run in self.runs)


def object_source(entrant: Entrant, name: str | None = None) -> ObjectSource:
    """Wrap an entrant given as an object."""
    name = name or type(entrant).__name__
    try:
        payload = pickle.dumps(entrant)
    except Exception:  # pickle raises whatever the object's own hooks raise
        return ObjectSource(name, (LiveRun(entrant),))
    # What a script defines cannot be imported elsewhere under the name __main__.
    if b"__main__" in payload or b"<locals>" in payload:
        return ObjectSource(name, (LiveRun(entrant),))
    return ObjectSource(name, (PickledRun(payload),))


def as_source(agent: Entrant | AgentSource, name: str | None = None) -> AgentSource:
    """Return the source of an agent given as a source or as an object.

    Raises:
        AgentError: it is neither; a spelling must be resolved first.
    """
    if isinstance(agent, str):
        raise AgentError(
            f"the harness scores agents, not spellings: use pkubench.evaluate({agent!r}, ...)"
        )
    if isinstance(agent, AgentSource):
        if not agent.runs:
            raise AgentError(f"agent {agent.name!r} has no run to evaluate")
        return agent
    return object_source(agent, name)
