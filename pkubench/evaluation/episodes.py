"""One block of episodes: a world, an entrant, and a record of each episode."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from pkubench.agents.agent import Array, BoolArray, Entrant, IntArray
from pkubench.envs.batch import BatchEnv
from pkubench.errors import PkubenchError
from pkubench.evaluation.actions import ActionFault
from pkubench.evaluation.records import EpisodeRecord
from pkubench.evaluation.seats import Seat, checks_of, seats_of
from pkubench.tasks.task import Task

BLOCK = 16
"""Lanes of a block. Fixed, because float results differ in the last bits between batch sizes."""

_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
_KEPT_METRICS = frozenset({"return", "cost", "length", "success"})
Clock = AbstractContextManager[Any]


TIMEOUT = "timeout: the agent did not answer within its time limit"


class StepLimit(BaseException):
    """An agent's call took longer than it may. No Exception, lest the agent catch it."""


def run_block(
    world: BatchEnv,
    entrant: Entrant,
    task: Task,
    first: int,
    seeds: IntArray,
    clock: Clock | None = None,
    steps_taken: Any = None,
) -> Iterator[EpisodeRecord]:
    """Run one episode in each lane and yield each record as its episode ends.

    Args:
        world: A fresh world of ``len(seeds)`` lanes.
        entrant: Who acts.
        task: Whose metrics are recorded.
        first: Number of the first episode.
        seeds: int64 (lanes,), the episodes' seeds.
        clock: Entered around every call of the entrant; may raise ``StepLimit``.
        steps_taken: Called with the number of steps taken after each.

    Raises:
        AgentError: the entrant does not fit the world. Whatever it does wrong while it acts is a
            record with a named failure instead.
    """
    seats = seats_of(entrant, world)
    yield from _Block(world, seats, task, first, seeds, clock or nullcontext(), steps_taken).run()


class _Block:
    def __init__(
        self,
        world: BatchEnv,
        seats: Sequence[Seat],
        task: Task,
        first: int,
        seeds: IntArray,
        clock: Clock,
        steps_taken: Any,
    ) -> None:
        self.world, self.seats, self.first, self.seeds = world, seats, first, seeds
        self.clock, self.steps_taken = clock, steps_taken
        lanes = len(seeds)
        self.active: BoolArray = np.ones(lanes, dtype=np.bool_)
        self.returns = np.zeros((lanes, world.num_agents))
        self.costs = np.zeros(lanes)
        names = {metric.name for metric in task.metrics}
        self.has_cost, self.has_success = "cost" in names, "success" in names
        self.extra = [m.name for m in task.metrics if m.name not in _KEPT_METRICS]
        self.checks = checks_of(world)
        self.length = 0

    def run(self) -> Iterator[EpisodeRecord]:
        observations, info = self.world.reset(self.seeds)
        try:
            with self.clock:
                for seat in self.seats:
                    seat.begin(self.seeds)
        except (Exception, SystemExit, StepLimit) as error:
            yield from self._fail_all(failure_reason(seat.name, error))
            return
        while self.active.any():
            try:
                actions, faults = self._actions(observations, info)
            except ActionFault as fault:
                yield from self._fail_all(str(fault))
                return
            for lane, reason in sorted(faults.items()):
                yield self._failed(lane, reason)
                self.active[lane] = False
            if faults and not self.active.any():
                return
            step = self.world.step(actions, None if self.active.all() else self.active.copy())
            self.length += 1
            if self.steps_taken is not None:
                self.steps_taken(self.length)
            observations, info = step.observations, step.info
            self.returns[self.active] += step.rewards[self.active]
            if self.has_cost:
                self.costs[self.active] += info["cost"][self.active]
            ended = self.active & (step.terminated | step.truncated)
            if ended.any():
                for lane in np.flatnonzero(ended).tolist():
                    yield self._finished(lane, info)
                self.active &= ~ended

    def _actions(
        self, observations: Mapping[str, Any], info: Mapping[str, Any]
    ) -> tuple[dict[str, Array], dict[int, str]]:
        actions: dict[str, Array] = {}
        faults: dict[int, str] = {}
        masks = {view.agent: view.mask(info) for seat in self.seats for view in seat.views}
        for seat in self.seats:
            try:
                with self.clock:
                    answers = seat.act(observations, masks, self.active)
            except ActionFault:
                raise
            except (Exception, SystemExit, StepLimit) as error:
                raise ActionFault(failure_reason(seat.name, error)) from error
            for view in seat.views:
                agent = view.agent
                actions[agent], wrong = self.checks[agent](
                    answers[agent], self.active, masks[agent]
                )
                for lane, reason in wrong.items():
                    faults.setdefault(lane, reason)
        return actions, faults

    def _fail_all(self, reason: str) -> Iterator[EpisodeRecord]:
        for lane in np.flatnonzero(self.active).tolist():
            yield self._failed(lane, reason)
        self.active[:] = False

    def _failed(self, lane: int, reason: str) -> EpisodeRecord:
        return failed_record(self.first + lane, int(self.seeds[lane]), self.length, reason)

    def _finished(self, lane: int, info: Mapping[str, Any]) -> EpisodeRecord:
        returns = [float(value) for value in self.returns[lane]]
        total = math.fsum(returns)
        if not math.isfinite(total):
            raise PkubenchError(
                f"the world gave a reward that is not finite (seed {int(self.seeds[lane])})"
            )
        return EpisodeRecord(
            episode=self.first + lane,
            seed=int(self.seeds[lane]),
            return_=total,
            returns=dict(zip(self.world.agents, returns, strict=True)),
            cost=float(self.costs[lane]) if self.has_cost else None,
            length=self.length,
            success=bool(info["success"][lane]) if self.has_success else None,
            metrics={name: float(info[name][lane]) for name in self.extra},
        )


def failure_reason(name: str, error: BaseException) -> str:
    """Return why ``name`` failed, on one line and the same in every process."""
    if isinstance(error, StepLimit):
        return TIMEOUT
    first_line = (str(error).strip().splitlines() or [""])[0]
    text = _ADDRESS.sub("0x...", f"{type(error).__name__}: {first_line}".removesuffix(": "))
    return f"agent-error: {name}: {text[:200]}"


def failed_record(episode: int, seed: int, length: int, reason: str) -> EpisodeRecord:
    """Return the record of an episode that the agent did not finish."""
    return EpisodeRecord(episode=episode, seed=seed, return_=None, length=length, failure=reason)
