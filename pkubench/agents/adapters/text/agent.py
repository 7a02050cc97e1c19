"""The agent around a language model: conversations in, replies out, stored answers first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

from pkubench.agents.adapters.text.store import AnswerStore, key_of
from pkubench.agents.contract import BoolArray, IntArray
from pkubench.envs.core.text_view import PROMPTINGS
from pkubench.errors import ConfigError

ACTING: Mapping[str, tuple[Any, ...]] = {
    "mode": ("text", "logprobs"),
    "temperature": (1.0,),
    "top_p": (1.0,),
    "max_tokens": (256,),
    **PROMPTINGS,
}
"""Settings of acting of a model: value of each, the default first.

``mode=logprobs`` answers a question with the allowed answer of the largest probability, where the
model gives log-probabilities; other replies are generated as in ``mode=text``.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How replies are drawn."""

    mode: str = "text"
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 256

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is outside its domain.
        """
        if not 0.0 <= self.temperature <= 5.0:
            raise ConfigError(f"temperature must lie in [0, 5], got {self.temperature}")
        if not 0.0 < self.top_p <= 1.0:
            raise ConfigError(f"top_p must lie in (0, 1], got {self.top_p}")
        if not 1 <= self.max_tokens <= 1_000_000:
            raise ConfigError(f"max_tokens must be at least 1, got {self.max_tokens}")


class Request(NamedTuple):
    """A conversation whose next reply is asked for."""

    messages: tuple[tuple[str, str], ...]
    """(role, content)."""
    answers: tuple[str, ...]
    """The allowed answers; empty where any text will do."""
    seed: int
    """The agent's seed of the episode."""
    turn: int
    """Replies given in the episode before."""


class Model(Protocol):
    """A language model."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What makes it this model, such as its name and address."""
        ...

    def ask(self, requests: Mapping[str, Request], sampling: Sampling, store: AnswerStore) -> None:
        """Get the replies to requests by key, and put each into the store when it arrives.

        Raises:
            AgentUnavailable: a reply cannot be had now; those that arrived are stored.
        """
        ...


class ModelAgent:
    """Answers in words, as a language model does."""

    converses = True
    waits = True

    def __init__(self, model: Model, store: AnswerStore, acting: Mapping[str, Any]) -> None:
        """Ask ``model``; ``acting`` are settings of ``ACTING``."""
        self.model, self.store = model, store
        self.prompting = {name: acting[name] for name in PROMPTINGS if name in acting}
        rest = {name: value for name, value in acting.items() if name not in PROMPTINGS}
        self.sampling = Sampling(**rest)

    def begin(self, seeds: IntArray) -> IntArray:
        """Return the episodes' seeds: all that is remembered besides the conversations."""
        return seeds

    def act(
        self, observation: Sequence[Any], state: IntArray, active: BoolArray
    ) -> tuple[list[str], IntArray]:
        """Return the replies (episodes,); "" where none is asked for.

        Raises:
            AgentUnavailable: the model does not reply now.
        """
        keys: dict[int, str] = {}
        missing: dict[str, Request] = {}
        for index, messages in enumerate(observation):
            if not active[index] or not messages or messages[-1]["role"] != "user":
                continue
            request = Request(
                tuple((m["role"], m["content"]) for m in messages),
                tuple(messages[-1].get("answers", ())),
                int(state[index]),
                sum(m["role"] == "assistant" for m in messages),
            )
            key = keys[index] = self.key(request)
            if self.store.find(key) is None:
                missing[key] = request
        if missing:
            self.model.ask(missing, self.sampling, self.store)
        replies = [""] * len(observation)
        for index, key in keys.items():
            replies[index] = self.store.find(key) or ""
        return replies, state

    def key(self, request: Request) -> str:
        """Return the key of a request in the store."""
        return key_of(
            model=dict(self.model.identity), sampling=asdict(self.sampling), **request._asdict()
        )
