"""Agents in a sandbox as the harness scores them: each call is a frame to one warm process.

Memory stays inside: the harness's ``state`` is None. One process serves all episodes, in which code
is loaded and generators are seeded again for each block, as the harness does it in its own
processes. One that was ended is started again with the next block, whose episodes then have their
own chance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pkubench.agents.contract import (
    BoolArray,
    Entrant,
    IntArray,
    MaskedObservation,
    Outcome,
    State,
    Team,
)
from pkubench.envs.core.generators import last_seeding
from pkubench.leaderboard.sandbox.bubblewrap import SandboxLimits
from pkubench.leaderboard.sandbox.frames import Array, Kind, text_part
from pkubench.leaderboard.sandbox.process import SandboxError, SandboxProcess


@dataclass(frozen=True)
class SandboxRun:
    """One run of a submitted agent, which another process can load (``RunSource``)."""

    label: str
    folder: Path
    """The submitted files."""
    agent: str
    """Spelling inside, where the files are below ``/agent``: ``module:factory`` or
    ``onnx:/agent/policy.onnx``."""
    task: str
    """Id of the task."""
    limits: SandboxLimits = field(default_factory=SandboxLimits)
    hashes: Mapping[str, str] = field(default_factory=dict)
    is_code: bool = True
    """Whether it is loaded again for each block, since what it keeps must not reach the next."""
    reusable: bool = True
    """The process is; code is loaded again in it."""

    def load(self) -> Entrant:
        """Start the sandbox and return agents whose calls go to it.

        Raises:
            RefusedError: there is no bubblewrap here.
            SandboxError: the agent cannot be loaded.
        """
        host = _Host(self)
        members = {
            name: (_ObservingMember if observes else _Member)(host, seat)
            for seat, (name, observes) in enumerate(
                zip(host.description["ids"], host.description["observers"], strict=False)
            )
        }
        kind = host.description["kind"]
        if kind == "team":
            return Team(members)
        if kind == "joint":
            return _Joint(host)
        return next(iter(members.values()))


@dataclass(frozen=True)
class SandboxSource:
    """A submitted agent with its runs (``AgentSource``)."""

    name: str
    runs: tuple[SandboxRun, ...]
    label: str = "sandbox"
    runtimes: tuple[str, ...] = ()


class _Host:
    """The process of a run; started again where it was ended."""

    def __init__(self, run: SandboxRun) -> None:
        self.run, self._seeding = run, last_seeding()
        self._process = SandboxProcess(run.folder, run.limits)
        self._load()

    def _load(self) -> None:
        run, process = self.run, self._process
        what = {"agent": run.agent, "task": run.task, "seed": self._seeding[1]}
        try:
            answer = process.ask(Kind.LOAD, [text_part(json.dumps(what))], time_s=run.limits.load_s)
            found = json.loads(answer.text)
            kind, ids = found["kind"], [str(name) for name in found["ids"]]
            observers = [bool(value) for value in found["observers"]]
        except SandboxError:
            process.kill()
            raise
        except (ValueError, KeyError, TypeError, IndexError) as error:
            process.kill()
            raise SandboxError(f"sandbox: malformed frame: {error!r:.200}") from error
        self.description = {"kind": kind, "ids": ids, "observers": observers}

    def begin(self, seat: int, seeds: IntArray) -> None:
        is_new_block = self._seeding != last_seeding()
        self._seeding = last_seeding()
        if not self._process.is_running:
            self._process = SandboxProcess(self.run.folder, self.run.limits)
            self._load()
        elif is_new_block and self.run.is_code:
            self._load()
        self._process.ask(Kind.BEGIN, [seeds], seat)

    def ask(self, kind: Kind, parts: list[Array], seat: int) -> tuple[Array, ...]:
        return self._process.ask(kind, parts, seat).parts


class _Member:
    """An Agent whose calls go to a seat of the sandbox."""

    def __init__(self, host: _Host, seat: int) -> None:
        self._host, self._seat = host, seat

    def begin(self, seeds: IntArray) -> State:
        self._host.begin(self._seat, seeds)

    def act(self, observation: Any, state: State, active: BoolArray) -> tuple[Any, State]:
        parts = _acting(active, [observation])
        return _only(self._host.ask(Kind.ACT, parts, self._seat), 1)[0], None


class _ObservingMember(_Member):
    """One that observes what each step brought."""

    def observe(self, outcome: Outcome, state: State) -> State:
        parts = [outcome.reward, *([] if outcome.cost is None else [outcome.cost])]
        self._host.ask(Kind.OBSERVE, parts, self._seat)


class _Joint:
    """A CentralisedTeam in the sandbox."""

    centralised = True

    def __init__(self, host: _Host) -> None:
        self._host = host

    def begin(self, seeds: IntArray) -> State:
        self._host.begin(0, seeds)

    def act(
        self, observations: Mapping[str, Any], state: State, active: BoolArray
    ) -> tuple[Mapping[str, Any], State]:
        ids, views = list(observations), list(observations.values())
        parts = [text_part(json.dumps(ids)), *_acting(active, views)]
        answers = _only(self._host.ask(Kind.ACT, parts, 0), len(ids))
        return dict(zip(ids, answers, strict=True)), None


def _acting(active: BoolArray, views: list[Any]) -> list[Array]:
    parts: list[Array] = [active, np.array([isinstance(v, MaskedObservation) for v in views])]
    for view in views:
        parts += view if isinstance(view, MaskedObservation) else [np.asarray(view)]
    return parts


def _only(parts: tuple[Array, ...], number: int) -> tuple[Array, ...]:
    if len(parts) != number:
        raise SandboxError(
            f"sandbox: malformed frame: {len(parts)} arrays of actions, not {number}"
        )
    return parts
