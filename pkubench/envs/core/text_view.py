"""TextView: an environment whose agents read questions and answer in words.

An environment that can be asked in words implements :class:`TextForm`. The view holds one
conversation for each agent that answers in words and each episode, reads replies, asks again where
a reply is no answer, and steps the environment where all agents have answered. Agents that act on
arrays may play beside them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.errors import ConfigError

MAX_REPLY: Final = 100_000
"""Letters of a reply that are read; the rest is cut off."""
RETRIES: Final = 2
"""How often a question is asked again whose reply is no answer."""
_OWN_STREAM: Final = 0x74657874
"""Added to an episode's seed for answers that are drawn, so that they are not the environment's
numbers."""


class Prompting(NamedTuple):
    """How an agent is prompted, where the environment's wording leaves a choice."""

    goal: str = "asked"
    """``asked``: the agent states its goal in a sentence before the questions, and each question
    repeats it; ``none``: it does not."""
    definition: str = "elicited"
    """``elicited``: the agent says itself what a value means; ``given``: it is told."""
    role: str = "user"
    """Which role assigns the value: ``user`` or ``system``."""


PROMPTINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "goal": ("asked", "none"),
    "definition": ("elicited", "given"),
    "role": ("user", "system"),
}
"""The values of each choice of :class:`Prompting`, the default first."""


def prompting(given: Mapping[str, str]) -> Prompting:
    """Return a way of prompting; choices that are not given have their defaults.

    Raises:
        ConfigError: a choice or a value that does not exist.
    """
    for name, value in given.items():
        if name not in PROMPTINGS or value not in PROMPTINGS[name]:
            known = ", ".join(f"{key}: {' or '.join(of)}" for key, of in PROMPTINGS.items())
            raise ConfigError(f"there is no prompting {name}={value!r}; choices are {known}")
    return Prompting(**given)


class Opening(NamedTuple):
    """A message before the first question."""

    content: str
    role: str = "user"
    asks: str = ""
    """Name of the reply that it asks for, by which questions can quote it; "": no reply."""


@runtime_checkable
class TextForm(Protocol):
    """What an environment adds so that its agents can be asked in words.

    Its steps must leave environments that are not ``active`` exactly as they are. It may also have
    ``action_of(agent, answer)``, the action that an answer stands for (without it, the answer's
    place among the answers), and ``are_questions_separate`` (True: each question begins a new
    conversation, after the opening).
    """

    @property
    def templates(self) -> Mapping[str, str]:
        """Every text that it writes, with ``id``, the name and version of the wording."""
        ...

    def opening(self, agent: str, index: int, how: Prompting) -> Sequence[Opening]:
        """Return what an agent is told and asked before the first question of its episode."""
        ...

    def question(self, agent: str, index: int, replies: Mapping[str, str]) -> str:
        """Return the present question, which may quote replies of the opening."""
        ...

    def answers(self, agent: str, index: int) -> Sequence[str]:
        """Return the answers that the present question allows, one for each action, in order.

        Of a MultiDiscrete space the last number changes fastest.
        """
        ...

    def parse(self, agent: str, index: int, reply: str) -> str | None:
        """Return the answer that a reply gives; None if it gives none, or several."""
        ...

    def reminder(self, agent: str, index: int) -> str:
        """Return what is said to an agent whose reply was no answer."""
        ...


def has_text_form(kind: type[BatchEnv]) -> bool:
    """Return whether environments of a class can be asked in words, without making one."""
    names = ("templates", "opening", "question", "answers", "parse", "reminder")
    return all(hasattr(kind, name) for name in names)


def template_name(form: TextForm) -> str:
    """Return the wording's name and the start of a hash of its texts, such as ``slider-1 5d0c...``.

    Scores of text agents are comparable within one wording only.
    """
    texts = dict(form.templates)
    digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()
    return f"{texts['id']} {digest[:12]}"


class TextView(BatchEnv):
    """The words of an environment for some of its agents.

    An observation is a conversation, a list of ``{"role", "content"}``; the last message is the
    user's where a reply is asked for, and has the allowed ``answers`` if it is a question. Where
    the last message is the assistant's, nothing is asked and the reply is not read (other agents
    have not answered yet). A question is asked again at most ``RETRIES`` times; then an answer is
    drawn uniformly from the episode's own stream, which is what no answer is worth, and counted.
    """

    def __init__(self, inner: BatchEnv, speakers: Sequence[str], how: Prompting) -> None:
        """View ``inner``, in which the agents ``speakers`` answer in words.

        Raises:
            ConfigError: the environment has no form in words.
        """
        if not isinstance(inner.unwrapped, TextForm):
            raise ConfigError(f"{type(inner.unwrapped).__name__} cannot be asked in words")
        self.episode_options = dict(inner.episode_options)  # type: ignore[misc]  # of another class
        super().__init__(inner.num_envs, None)
        self.inner, self.speakers, self.how = inner, tuple(speakers), how
        self.form: TextForm = inner.unwrapped
        self._is_separate = getattr(self.form, "are_questions_separate", False) is True
        self.agents = inner.agents
        words = spaces.Text(MAX_REPLY, min_length=0)
        seen, acted = dict(inner.observation_spaces), dict(inner.action_spaces)
        for agent in self.speakers:
            seen[agent], acted[agent] = spaces.Sequence(words), words
        self.observation_spaces, self.action_spaces = seen, acted
        self._draws = RandomStreams(inner.num_envs)
        self._talks = [{agent: _Talk() for agent in self.speakers} for _ in range(inner.num_envs)]
        self._seen: dict[str, Array] = {}
        self._started: Info = {}

    @property
    def unwrapped(self) -> BatchEnv:
        """The environment that is asked about."""
        return self.inner.unwrapped

    def transcript(self, index: int) -> dict[str, Any]:
        """Return what was said in an environment's present episode, as JSON values.

        Returns:
            ``template``: the wording's name; and for each agent that answers in words its messages.
        """
        return {"template": template_name(self.form)} | {
            agent: [{"role": m["role"], "content": m["content"]} for m in talk.said()]
            for agent, talk in self._talks[index].items()
        }

    def counts(self, index: int) -> dict[str, int]:
        """Return how many questions an episode asked, how many without an answer, and retries."""
        talks = self._talks[index].values()
        return {
            "questions": sum(talk.questions for talk in talks),
            "unanswered": sum(talk.unanswered for talk in talks),
            "retries": sum(talk.retries for talk in talks),
        }

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        options = {name: values[ids] for name, values in self.options.items()}
        self._seen, self._started = self.inner.reset(seeds, ids, options)
        self._draws.seed(ids, seeds ^ _OWN_STREAM)
        for index in ids.tolist():
            for agent in self.speakers:
                opening = self.form.opening(agent, index, self.how)
                self._talks[index][agent] = _Talk(opening)
                self._go_on(index, agent)

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        ready = np.zeros(self.num_envs, dtype=np.bool_)
        indices = self._all if active is None else np.flatnonzero(active)
        for index in indices.tolist():
            for agent in self.speakers:
                self._read(index, agent, actions[agent][index])
            ready[index] = all(t.action is not None for t in self._talks[index].values())
        chosen = {agent: np.asarray(actions[agent]) for agent in self.agents}
        for agent in self.speakers:
            space = self.inner.action_spaces[agent]
            given = np.zeros((self.num_envs, *(space.shape or ())), dtype=space.dtype)
            for index in np.flatnonzero(ready).tolist():
                given[index] = _numbered(space, self._talks[index][agent].action)
            chosen[agent] = given
        step = self.inner.step(chosen, ready)
        self._seen = step.observations
        over = (step.terminated | step.truncated) & ready
        for index in np.flatnonzero(ready).tolist():
            for agent in self.speakers:
                self._talks[index][agent].action = None
                if not over[index]:
                    self._go_on(index, agent)
        return np.where(ready[:, None], step.rewards, 0.0), over, step.info

    def _read(self, index: int, agent: str, reply: str) -> None:
        """Read a reply; where it is no answer, ask again or draw one."""
        talk = self._talks[index][agent]
        if talk.action is not None:
            return
        reply = str(reply)[:MAX_REPLY]
        talk.say("assistant", reply)
        if talk.asked:  # a reply of the opening
            talk.replies[talk.asked] = " ".join(reply.split())
            self._go_on(index, agent)
            return
        answers = list(self.form.answers(agent, index))
        answer = self.form.parse(agent, index, reply)
        if answer is not None:
            talk.action = self._action(agent, answers, answer)
        elif talk.attempts < RETRIES:
            talk.attempts += 1
            talk.retries += 1
            talk.say("user", self.form.reminder(agent, index), answers)
        else:
            talk.unanswered += 1
            ids = np.array([index], dtype=np.int64)
            drawn = answers[int(self._draws.integers(ids, 1, len(answers))[0, 0])]
            talk.action = self._action(agent, answers, drawn)

    def _action(self, agent: str, answers: list[str], answer: str) -> Any:
        """Return the action that an answer stands for."""
        to_action = getattr(self.form, "action_of", None)
        return answers.index(answer) if to_action is None else to_action(agent, answer)

    def _go_on(self, index: int, agent: str) -> None:
        """Say what comes next, up to the next message that asks for a reply."""
        talk = self._talks[index][agent]
        talk.asked = ""
        while talk.ahead:
            message = talk.ahead.pop(0)
            talk.say(message.role, message.content)
            if message.asks:
                talk.asked = message.asks
                return
        if self._is_separate:
            talk.restart()
        question = self.form.question(agent, index, talk.replies)
        talk.questions += 1
        talk.attempts = 0
        talk.say("user", question, list(self.form.answers(agent, index)))

    def _observe(self) -> dict[str, Array]:
        seen = dict(self._seen)
        for agent in self.speakers:
            talks = np.empty(self.num_envs, dtype=object)
            for index in range(self.num_envs):
                talks[index] = self._talks[index][agent].messages
            seen[agent] = talks
        return seen

    def _info(self) -> Info:
        return self._started

    def state(self) -> Array:
        """Return the inner environment's state."""
        return self.inner.state()

    def close(self) -> None:
        """Close the inner environment."""
        self.inner.close()

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw the inner environment."""
        return self.inner.render(index)


def _numbered(space: spaces.Space[Any], number: int | None) -> Any:
    """Return the action of a number in a Discrete or MultiDiscrete space, the last axis fastest."""
    if isinstance(space, spaces.MultiDiscrete):
        return np.unravel_index(int(number or 0), tuple(space.nvec))
    return number


class _Talk:
    """The conversation with one agent in one episode."""

    def __init__(self, opening: Sequence[Opening] = ()) -> None:
        self.ahead = list(opening)
        self.messages: list[dict[str, Any]] = []
        self.replies: dict[str, str] = {}
        self.asked = ""
        """Name of the reply of the opening that is awaited."""
        self.action: Any = None
        """The action of its answer, until all agents have one."""
        self._opening: list[dict[str, Any]] | None = None
        """Messages that each question follows, where questions are separate."""
        self._past: list[dict[str, Any]] = []
        """Messages about earlier questions, where questions are separate."""
        self.attempts = self.questions = self.unanswered = self.retries = 0

    def restart(self) -> None:
        """Begin a new conversation after the opening."""
        if self._opening is None:
            self._opening = [dict(message) for message in self.messages]
            return
        self._past += self.messages[len(self._opening) :] if self._past else self.messages
        self.messages = [dict(message) for message in self._opening]

    def said(self) -> list[dict[str, Any]]:
        """Return every message of the episode, those of the opening once."""
        return [*self._past, *self.messages[len(self._opening or ()) if self._past else 0 :]]

    def say(self, role: str, content: str, answers: list[str] | None = None) -> None:
        """Add a message; one of the same role as the last continues it, as chat formats ask for."""
        for message in self.messages:
            message.pop("answers", None)
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"] += f"\n\n{content}"
        else:
            self.messages.append({"role": role, "content": content})
        if answers is not None:
            self.messages[-1]["answers"] = answers
