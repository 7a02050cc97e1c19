"""What runs inside a sandbox: it loads one agent and answers frames until the pipe is closed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from pkubench.agents.contract import (
    Agent,
    CentralisedTeam,
    Entrant,
    MaskedObservation,
    Observer,
    Outcome,
    Team,
)
from pkubench.envs.core.generators import seed_generators
from pkubench.leaderboard.sandbox.frames import (
    Array,
    Frame,
    FrameError,
    Kind,
    pack,
    read,
    text_part,
)

_LONGEST_REASON = 500


def main() -> None:
    """Take the pipe away from prints, and serve; ``argv[1]`` is the folder of submitted files."""
    requests, replies = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):  # what an agent prints must not look like an answer
        os.dup2(nowhere, number)
    # At the end: what is submitted must not stand for a module of Python or of this package.
    sys.path.append(sys.argv[1])
    host = _Host()

    def take(size: int) -> bytes:
        parts = []
        while size:
            part = os.read(requests, min(size, 1 << 20))
            if not part:
                raise SystemExit(0)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    while True:
        frame = read(take)
        try:
            data = memoryview(pack(Kind.DONE, host.answer(frame), frame.seat))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"[:_LONGEST_REASON]
            data = memoryview(pack(Kind.FAILED, [text_part(reason)], frame.seat))
        while data:
            data = data[os.write(replies, data) :]


class _Host:
    """Holds the agent and the states of its seats."""

    def __init__(self) -> None:
        self._actors: list[Any] = []
        self._ids: list[str] = []
        self._states: dict[int, Any] = {}
        self._is_joint = False

    def answer(self, frame: Frame) -> list[Array]:
        """Return the parts of the answer to a frame."""
        if frame.kind is Kind.LOAD:
            return [text_part(json.dumps(self._load(json.loads(frame.text))))]
        actor, seat = self._actors[frame.seat], frame.seat
        if frame.kind is Kind.BEGIN:
            self._states[seat] = actor.begin(frame.parts[0])
            return []
        if frame.kind is Kind.OBSERVE:
            reward, *cost = frame.parts
            outcome = Outcome(reward, cost[0] if cost else None)
            self._states[seat] = actor.observe(outcome, self._states[seat])
            return []
        return self._act(actor, seat, frame.parts)

    def _load(self, what: Mapping[str, Any]) -> dict[str, Any]:
        from pkubench.agents.resolve.loading import resolve_agent
        from pkubench.evaluation.run.execution import load_seeded
        from pkubench.tasks.registry import make_task

        # As the harness does it for an agent in its own process.
        run = resolve_agent(what["agent"], make_task(what["task"])).runs[0]
        entrant: Entrant = load_seeded(run)
        seed_generators(int(what.get("seed", 0)))
        self._ids, self._states, self._is_joint = [], {}, False
        if isinstance(entrant, Team):
            self._ids, self._actors = list(entrant.members), list(entrant.members.values())
            kind = "team"
        elif isinstance(entrant, CentralisedTeam) and entrant.centralised is True:
            self._actors, kind, self._is_joint = [entrant], "joint", True
        elif isinstance(entrant, Agent):
            self._ids, self._actors, kind = ["agent"], [entrant], "agent"
        else:
            name = type(entrant).__name__
            raise FrameError(f"{name} cannot act in a sandbox; an Agent or a Team can")
        observers = [isinstance(actor, Observer) for actor in self._actors]
        return {"kind": kind, "ids": self._ids, "observers": observers}

    def _act(self, actor: Any, seat: int, parts: tuple[Array, ...]) -> list[Array]:
        ids = []
        if self._is_joint:
            ids, parts = json.loads(parts[0].tobytes()), parts[1:]
        active, masked, *rest = parts
        views: list[Any] = []
        for has_mask in masked.tolist():
            observation = rest.pop(0)
            views.append(MaskedObservation(observation, rest.pop(0)) if has_mask else observation)
        shown = dict(zip(ids, views, strict=True)) if self._is_joint else views[0]
        answer = actor.act(shown, self._states[seat], active)
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise FrameError(f"act must return (actions, state), got {type(answer).__name__}")
        actions, self._states[seat] = answer
        if self._is_joint:
            return [np.asarray(actions[name]) for name in ids]
        return [np.asarray(actions)]


if __name__ == "__main__":
    main()
