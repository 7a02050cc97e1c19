"""Episodes that are played on arrays or in words, whichever the agent speaks; one record for both.

An agent that answers in words (``pkubench.agents.contract.TextAgent``) is asked through a
``TextView`` of the environment, which counts the replies that are no answers and keeps what was
said. Every other agent acts on arrays, as in ``Episodes``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pkubench.agents.contract import Agent, Entrant, Population, Team, converses
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.registry import env_class, resolve
from pkubench.envs.core.text_view import TextView, has_text_form, prompting
from pkubench.errors import AgentError
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.scoring import Episode, Episodes, Tools
from pkubench.tasks.task import Metric, Task

UNANSWERED = Metric(
    name="unanswered",
    higher_is_better=False,
    unit="questions",
    describe="share of questions without an answer after two more tries; one was drawn uniformly",
    is_derived=True,
)
RETRIES = Metric(
    name="retries",
    higher_is_better=False,
    unit="replies",
    describe="replies to a question that were no answer, so that it was asked again, per question",
    is_derived=True,
)


def is_asked_in_words(task: Task) -> bool:
    """Return whether agents that answer in words can play a task.

    Not every environment of a :class:`Conversation` has a form in words.
    """
    return isinstance(task.scoring, Conversation) and has_text_form(env_class(resolve(task.id)))


@dataclass(frozen=True, slots=True)
class Conversation(Episodes):
    """Plays episodes with agents that act on arrays or answer in words.

    A subclass says what is planned, who sits where, and what a finished episode adds to its record.
    """

    name: ClassVar[str] = "conversation"
    summary: ClassVar[str] = "playing episodes, on arrays or in words"

    def seating(
        self, entrant: Entrant, env: BatchEnv, task: Task, episode: Episode
    ) -> Mapping[str, Any]:
        """Return who plays each agent of the environment, by agent id.

        Raises:
            AgentError: the entrant cannot play this.
        """
        if isinstance(entrant, Population):
            raise AgentError(f"a population plays games, not {task.id}")
        if isinstance(entrant, Team):
            missing = [agent for agent in env.agents if agent not in entrant.members]
            if missing:
                raise AgentError(f"the team has no member for {', '.join(missing)}")
            return {agent: entrant.members[agent] for agent in env.agents}
        if len(env.agents) == 1 and isinstance(entrant, Agent):
            return {env.agents[0]: entrant}
        raise AgentError(f"{type(entrant).__name__} cannot play {task.id}")

    def part(self, episode: Episode) -> Any:
        """Return what episodes have in common that are played side by side."""
        return None

    def finished(
        self, record: EpisodeRecord, env: BatchEnv, index: int, episode: Episode
    ) -> tuple[Mapping[str, float], Mapping[str, Any]]:
        """Return what a finished episode adds to its record's metrics, and to its transcript.

        Args:
            record: Of the episode.
            env: The environment that it was played in, at its end.
            index: Its index in the environment.
            episode: As it was planned.
        """
        return {}, {}

    def run(
        self, entrant: Entrant, task: Task, episodes: Sequence[Episode], tools: Tools
    ) -> Iterator[EpisodeRecord]:
        """Play the episodes; those with the same players side by side."""
        parts: dict[Any, list[Episode]] = {}
        for episode in episodes:
            parts.setdefault(self.part(episode), []).append(episode)
        for together in parts.values():
            is_single = any(getattr(m, "one_at_a_time", False) is True for m in _members(entrant))
            size = 1 if is_single else len(together)
            for first in range(0, len(together), size):
                yield from self._played(entrant, task, together[first : first + size], tools)

    def _played(
        self, entrant: Entrant, task: Task, episodes: Sequence[Episode], tools: Tools
    ) -> Iterator[EpisodeRecord]:
        env = tools.make_env(len(episodes))
        inner = env.unwrapped
        try:
            members = self.seating(entrant, env, task, episodes[0])
            env, view = with_words(env, members)
            players = Team(members) if len(members) > 1 else next(iter(members.values()))
            place = {episode.number: index for index, episode in enumerate(episodes)}
            for record in tools.play(env, players, task, episodes):
                index = place[record.episode]
                said = {} if view is None else view.transcript(index)
                if record.failure is not None:
                    yield dataclasses.replace(record, transcript=said)
                    continue
                metrics, chosen = self.finished(record, inner, index, episodes[index])
                counted = _counted(view, index)
                yield dataclasses.replace(
                    record,
                    metrics={**record.metrics, **metrics, **counted},
                    transcript={**chosen, **said},
                )
        finally:
            env.close()


def with_words(env: BatchEnv, members: Mapping[str, Any]) -> tuple[BatchEnv, TextView | None]:
    """Return the environment as its players see it, and its view in words if some need one.

    Raises:
        AgentError: players want to be prompted in different ways.
        ConfigError: the environment has no form in words, or there is no such prompting.
    """
    speakers = [agent for agent, member in members.items() if converses(member)]
    if not speakers:
        return env, None
    hows = {prompting(getattr(members[agent], "prompting", {})) for agent in speakers}
    if len(hows) > 1:
        raise AgentError("agents that answer in words must be prompted alike in one episode")
    view = TextView(env, speakers, hows.pop())
    return view, view


def _members(entrant: Entrant) -> Sequence[Any]:
    return list(entrant.members.values()) if isinstance(entrant, Team) else [entrant]


def _counted(view: TextView | None, index: int) -> dict[str, float]:
    if view is None:
        return {UNANSWERED.name: 0.0, RETRIES.name: 0.0}
    counts = view.counts(index)
    questions = max(counts["questions"], 1)
    return {
        UNANSWERED.name: counts["unanswered"] / questions,
        RETRIES.name: counts["retries"] / questions,
    }
