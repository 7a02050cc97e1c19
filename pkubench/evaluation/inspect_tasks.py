"""Our tasks in inspect-ai: ``inspect eval pkubench/svo --model PROVIDER/MODEL``.

Found by the entry point ``pkubench`` of the group ``inspect_ai``. Every task that can be answered
in words is there: a sample is an episode, which is played by the same code as in ``pkubench
evaluate`` with inspect's model as the agent, and metrics are computed by the task's own scoring
from the episodes' records. ``-T episodes=45`` plays fewer, ``-T goal=none`` prompts in another way.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio.from_thread
import anyio.to_thread
from inspect_ai import Task as InspectTask
from inspect_ai import task as inspect_task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    get_model,
)
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from pkubench import __version__
from pkubench.agents.contract import BoolArray, IntArray
from pkubench.envs.core.registry import resolve
from pkubench.envs.core.text_view import prompting
from pkubench.errors import AgentUnavailable, ConfigError
from pkubench.evaluation.inspect_scores import score_of
from pkubench.evaluation.run.execution import Job, Limits, run_job
from pkubench.evaluation.run.sources import as_source
from pkubench.tasks.conversation import is_asked_in_words
from pkubench.tasks.records import EpisodeRecord, parse_record
from pkubench.tasks.registry import make_task, tasks
from pkubench.tasks.scoring import Episode
from pkubench.tasks.task import Task

Ask = Callable[[Sequence[Mapping[str, str]], int], str]
"""Messages, and a seed -> a reply."""
RECORD = "record"
"""Entry of a sample's store, and of its score's metadata: the line of its episode's record."""
_MESSAGES: Mapping[str, Any] = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}


class AskingAgent:
    """A text agent whose replies come from a function."""

    converses = True
    waits = True

    def __init__(self, ask: Ask, how: Mapping[str, str]) -> None:
        """Reply with ``ask``; be prompted as ``how`` says."""
        self.ask, self.prompting = ask, dict(how)

    def begin(self, seeds: IntArray) -> IntArray:
        """Return the episodes' seeds."""
        return seeds

    def act(
        self, observation: Sequence[Any], state: IntArray, active: BoolArray
    ) -> tuple[list[str], IntArray]:
        """Return replies; "" where none is asked for."""
        found = []
        for talk, seed, is_active in zip(observation, state.tolist(), active, strict=True):
            is_asked = bool(is_active) and bool(talk) and talk[-1]["role"] == "user"
            turn = sum(message["role"] == "assistant" for message in talk)
            found.append(self.ask(talk, (seed + turn) % 2**31) if is_asked else "")
        return found, state


def play_episode(task: Task, episode: Episode, agent: Any) -> EpisodeRecord:
    """Play one episode in this thread; return its record."""
    run = as_source(agent, "inspect").runs[0]
    job = Job(0, task, resolve(task.id), run, "inspect", (episode,), Limits(None, None))
    (record,) = run_job(job, agent)
    return record


@solver  # type: ignore[untyped-decorator]
def play(task_id: str, how: Mapping[str, str]) -> Solver:
    """Play the sample's episode with the model that is evaluated."""
    task = make_task(task_id)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        if state.epoch > 1:
            raise ConfigError("an episode is played once (epochs=1): use -T episodes for more")
        model = get_model()

        async def reply(messages: Sequence[Mapping[str, str]], seed: int) -> str:
            state.output = await model.generate(
                [_MESSAGES[m["role"]](content=m["content"]) for m in messages],
                config=GenerateConfig(seed=seed),
            )
            if state.output.error:
                raise OSError(state.output.error)
            return str(state.output.completion)

        def ask(messages: Sequence[Mapping[str, str]], seed: int) -> str:
            try:
                return anyio.from_thread.run(reply, messages, seed)
            except Exception as error:  # an outage is the sample's error, no failed episode
                raise AgentUnavailable(f"{model} does not answer: {error}") from error

        episode = Episode(number=int(state.sample_id), **state.metadata["episode"])
        record = await anyio.to_thread.run_sync(
            functools.partial(play_episode, task, episode, AskingAgent(ask, how))
        )
        state.messages = _said(record)
        state.store.set(RECORD, record.line(task))
        state.completed = True
        return state

    return solve


def _said(record: EpisodeRecord) -> list[ChatMessage]:
    """Return what was said in an episode, agent after agent."""
    return [
        _MESSAGES[message["role"]](content=message["content"])
        for of in record.transcript.values()
        if isinstance(of, list)
        for message in of
        if isinstance(message, dict)
    ]


@metric  # type: ignore[untyped-decorator]
def task_metrics(task_id: str) -> Metric:
    """Compute every metric of the task from the records of all samples."""
    task = make_task(task_id)

    def figures(scores: list[SampleScore]) -> dict[str, float]:
        lines = [str((of.score.metadata or {})[RECORD]) for of in scores]
        records = [parse_record(line, "a sample's record") for line in lines]
        found = task.scoring.summarise([sorted(records, key=lambda r: r.episode)], task)
        return {name: of.mean for name, of in found.items() if of.mean is not None}

    return figures


@scorer(metrics=[])  # type: ignore[untyped-decorator]
def episode_record(task_id: str) -> Scorer:
    """Score a sample by its episode's record."""
    task = make_task(task_id)

    async def score(state: TaskState, target: Target) -> Score:
        record = parse_record(str(state.store.get(RECORD)), f"sample {state.sample_id}")
        found = score_of(record, task)
        del found["id"]
        return Score(**found)

    return score


def make_inspect_task(
    task_id: str, episodes: int | None, seed: int, how: Mapping[str, str]
) -> InspectTask:
    """Return a task of ours as one of inspect-ai.

    Raises:
        ConfigError: there is no such way of prompting.
    """
    task = make_task(task_id)
    prompting(how)
    planned = task.scoring.plan(task, seed, episodes or task.protocol.episodes)
    samples = [
        Sample(
            input=f"{task.title}: episode {episode.number}",
            id=episode.number,
            metadata={
                "episode": {
                    "seed": episode.seed,
                    "agent_seed": episode.agent_seed,
                    "options": dict(episode.options),
                    "group": episode.group,
                }
            },
        )
        for episode in planned
    ]
    return InspectTask(
        dataset=MemoryDataset(samples, name=task_id),
        solver=play(task_id, dict(how)),
        scorer=episode_record(task_id),
        metrics=[task_metrics(task_id)],
        metadata={"pkubench": __version__},
    )


def inspect_name(task: Task) -> str:
    """Return the name of a task in inspect-ai, after ``pkubench/``."""
    if task.short_name:
        return task.short_name
    name = re.sub(r"-v\d+$", "", task.id.rpartition("/")[2])
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _declare(task: Task) -> None:
    def made(
        episodes: int | None = None,
        seed: int = 0,
        goal: str = "asked",
        definition: str = "elicited",
        role: str = "user",
    ) -> InspectTask:
        how = {"goal": goal, "definition": definition, "role": role}
        return make_inspect_task(task.id, episodes, seed, how)

    made.__doc__ = task.title
    inspect_task(name=inspect_name(task))(made)


for _task in tasks():
    if is_asked_in_words(_task):
        _declare(_task)
