"""One block of episodes: an environment, an entrant, and a record of each episode."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from pkubench.agents.contract import Array, BoolArray, Entrant, IntArray
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.traits import ACTION_MASK
from pkubench.errors import AgentUnavailable, PkubenchError
from pkubench.evaluation.run.actions import ActionFault
from pkubench.evaluation.run.failures import describe_error, printable
from pkubench.evaluation.run.seats import Seat, checks_of, seats_of
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.scoring import Episode
from pkubench.tasks.task import Task

BLOCK = 16
"""Episodes of a block, each in its own copy of the environment. Fixed, because float results differ
in the last bits between batch sizes."""

_KEPT_METRICS = frozenset({"return", "cost", "length", "success"})
Clock = AbstractContextManager[Any]


TIMEOUT = "timeout: the agent did not answer within its time limit"
OUT_OF_TIME = "timeout: the evaluation did not end within its total time limit"


def ran_late(record: EpisodeRecord) -> bool:
    """Return whether an episode failed by the clock, which another play need not reproduce."""
    return record.failure in (TIMEOUT, OUT_OF_TIME)


class StepLimit(BaseException):
    """An agent's call took too long. Not an Exception, so that the agent does not catch it."""


def run_block(
    env: BatchEnv,
    entrant: Entrant,
    task: Task,
    episodes: Sequence[Episode],
    clock: Clock | None = None,
    steps_taken: Any = None,
) -> Iterator[EpisodeRecord]:
    """Run one episode in each copy of an environment; yield each record as its episode ends.

    Args:
        env: A fresh batch of ``len(episodes)`` environments.
        entrant: Who acts.
        task: Whose metrics are recorded.
        episodes: What to play, one in each environment.
        clock: Entered around each step's calls of the entrant; may raise ``StepLimit``.
        steps_taken: Called with the number of steps taken after each.

    Raises:
        AgentError: the entrant does not fit the environment. Whatever it does wrong while it acts
            is a record with a named failure instead.
        AgentUnavailable: what it acts with does not answer; the episodes under way have no record.
    """
    seats = seats_of(entrant, env)
    yield from _Block(env, seats, task, episodes, clock or nullcontext(), steps_taken).run()


class _Block:
    def __init__(
        self,
        env: BatchEnv,
        seats: Sequence[Seat],
        task: Task,
        episodes: Sequence[Episode],
        clock: Clock,
        steps_taken: Any,
    ) -> None:
        self.env, self.seats, self.episodes = env, seats, episodes
        self.clock, self.steps_taken = clock, steps_taken
        self.seeds: IntArray = np.array([e.seed for e in episodes], dtype=np.int64)
        self.agent_seeds: IntArray = np.array([e.agent_seed for e in episodes], dtype=np.int64)
        num_envs = len(episodes)
        self.active: BoolArray = np.ones(num_envs, dtype=np.bool_)
        self.returns = np.zeros((num_envs, env.num_agents))
        self.costs = np.zeros(num_envs)
        names = {metric.name for metric in task.metrics}
        self.has_cost, self.has_success = "cost" in names, "success" in names
        self.observers = [seat for seat in seats if seat.is_observer]
        self.extra = [
            m.name for m in task.metrics if m.name not in _KEPT_METRICS and not m.is_derived
        ]
        self.checks = checks_of(env)
        self.length = 0
        self.alive = num_envs
        # Masks are rare; whether an environment has any is known from its first info.
        self.masks: dict[str, Array | None] = dict.fromkeys(env.agents)
        self.is_masked = False

    def run(self) -> Iterator[EpisodeRecord]:
        observations, info = self.env.reset(self.seeds, None, self._options())
        self.is_masked = any(key.startswith(ACTION_MASK) for key in info)
        name = ""
        try:
            with self.clock:
                for seat in self.seats:
                    name = seat.name
                    seat.begin(self.agent_seeds)
        except AgentUnavailable:
            raise
        except (Exception, SystemExit, StepLimit) as error:
            yield from self._fail_all(self._reason(name, error))
            return
        num_envs = len(self.episodes)
        while self.alive:
            try:
                actions, faults = self._actions(observations, info)
            except ActionFault as fault:
                yield from self._fail_all(str(fault))
                return
            if faults:
                for i, reason in sorted(faults.items()):
                    yield self._failed(i, reason)
                    self._end(i)
                if not self.alive:
                    return
            everyone = self.alive == num_envs
            step = self.env.step(actions, None if everyone else self.active.copy())
            self.length += 1
            if self.steps_taken is not None:
                self.steps_taken(self.length)
            observations, info = step.observations, step.info
            if everyone:
                self.returns += step.rewards
                if self.has_cost:
                    self.costs += info["cost"]
            else:  # what is returned for finished episodes means nothing
                self.returns[self.active] += step.rewards[self.active]
                if self.has_cost:
                    self.costs[self.active] += info["cost"][self.active]
            # For 16 flags Python is quicker than NumPy.
            if True in step.terminated.tolist() or True in step.truncated.tolist():
                ended = step.terminated | step.truncated
                for i in np.flatnonzero(ended & self.active).tolist():
                    yield self._finished(i, info)
                    self._end(i)
            if self.observers and self.alive:
                try:
                    self._report(step.rewards, info["cost"] if self.has_cost else None)
                except ActionFault as fault:
                    yield from self._fail_all(str(fault))
                    return

    def _options(self) -> dict[str, Any]:
        """Return the options of the planned episodes, one value for each of them."""
        names = {name for episode in self.episodes for name in episode.options}
        default = {name: of.default for name, of in self.env.episode_options.items()}
        return {
            name: [episode.options.get(name, default.get(name)) for episode in self.episodes]
            for name in names
        }

    def _actions(
        self, observations: Mapping[str, Any], info: Mapping[str, Any]
    ) -> tuple[dict[str, Array], dict[int, str]]:
        if self.is_masked:
            views = (view for seat in self.seats for view in seat.views)
            self.masks = {view.agent: view.mask(info) for view in views}
        answers: dict[str, Any] = {}
        name = ""
        try:
            with self.clock:
                for seat in self.seats:
                    name = seat.name
                    seat.act(observations, self.masks, self.active, answers)
                    for view in seat.views:  # runs code of the answer, so under its clock
                        answers[view.agent] = self.checks[view.agent].to_array(answers[view.agent])
        except (ActionFault, AgentUnavailable):
            raise
        except (Exception, SystemExit, StepLimit) as error:
            raise ActionFault(self._reason(name, error)) from error
        actions: dict[str, Array] = {}
        faults: dict[int, str] = {}
        for agent, check in self.checks.items():
            actions[agent], wrong = check(answers[agent], self.active, self.masks[agent])
            if wrong:
                faults = {**wrong, **faults}
        return actions, faults

    def _report(self, rewards: Array, cost: Array | None) -> None:
        """Report what the step brought to the agents that observe it."""
        name = ""
        try:
            with self.clock:
                for seat in self.observers:
                    name = seat.name
                    seat.observe(rewards, cost)
        except (Exception, SystemExit, StepLimit) as error:
            raise ActionFault(self._reason(name, error)) from error

    def _reason(self, name: str, error: BaseException) -> str:
        """Describe an error; its text comes from the agent's code, so under the clock."""
        if isinstance(error, StepLimit):
            return TIMEOUT
        try:
            with self.clock:
                return failure_reason(name, error)
        except StepLimit:
            return f"agent-error: {name}: {type(error).__name__}"

    def _end(self, i: int) -> None:
        self.active[i] = False
        self.alive -= 1

    def _fail_all(self, reason: str) -> Iterator[EpisodeRecord]:
        for i in np.flatnonzero(self.active).tolist():
            yield self._failed(i, reason)
            self._end(i)

    def _failed(self, i: int, reason: str) -> EpisodeRecord:
        return failed_record(self.episodes[i], self.length, reason)

    def _finished(self, i: int, info: Mapping[str, Any]) -> EpisodeRecord:
        returns = self.returns[i].tolist()
        if not all(map(math.isfinite, returns)):
            raise PkubenchError(
                f"the environment gave a reward that is not finite (seed {self.episodes[i].seed})"
            )
        return EpisodeRecord(
            episode=self.episodes[i].number,
            seed=self.episodes[i].seed,
            return_=math.fsum(returns),
            returns=dict(zip(self.env.agents, returns, strict=True)),
            cost=float(self.costs[i]) if self.has_cost else None,
            length=self.length,
            success=bool(info["success"][i]) if self.has_success else None,
            metrics={name: float(info[name][i]) for name in self.extra},
            options=self.episodes[i].options,
            group=self.episodes[i].group,
        )


def failure_reason(name: str, error: BaseException) -> str:
    """Return why ``name`` failed, on one line and the same in every process."""
    if isinstance(error, StepLimit):
        return TIMEOUT
    return f"agent-error: {name}: {describe_error(error)}"


def failed_record(episode: Episode, length: int, reason: str) -> EpisodeRecord:
    """Return the record of an episode that the agent did not finish."""
    return EpisodeRecord(
        episode=episode.number,
        seed=episode.seed,
        return_=None,
        length=length,
        options=episode.options,
        group=episode.group,
        failure=printable(reason),
    )
