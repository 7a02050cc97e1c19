"""``inspect:PROVIDER/MODEL``: any model that inspect-ai knows, as an agent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pkubench.agents.adapters.text.agent import ModelAgent, Request, Sampling
from pkubench.agents.adapters.text.loading import store
from pkubench.agents.adapters.text.store import AnswerStore
from pkubench.agents.resolve.sources import AgentRun, AgentSource
from pkubench.errors import AgentError, AgentUnavailable, ConfigError, MissingExtra

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


class InspectModel:
    """A model of inspect-ai, which brings its own connections, retries and limits."""

    def __init__(self, name: str) -> None:
        """Find the model by its name in inspect-ai, such as ``openai/gpt-4o``.

        Raises:
            MissingExtra: inspect-ai is not installed.
            AgentError: it knows no such model, or needs something for it that is not there.
        """
        try:
            from inspect_ai import model as inspect_models
        except ImportError:
            raise MissingExtra("inspect", "models of inspect-ai") from None
        self._models: Any = inspect_models
        self.identity: Mapping[str, str] = {"inspect": name}
        self._loop = asyncio.new_event_loop()  # one, because clients belong to the loop they met
        try:
            self._model: Any = inspect_models.get_model(name)
        except Exception as error:  # every provider raises its own
            raise AgentError(f"inspect:{name} cannot be used: {_in_a_line(error)}") from error

    def ask(self, requests: Mapping[str, Request], sampling: Sampling, store: AnswerStore) -> None:
        """Get the replies to requests side by side; see ``Model``."""
        failures = self._loop.run_until_complete(self._all(requests, sampling, store))
        if failures:
            name = self.identity["inspect"]
            raise AgentUnavailable(f"inspect:{name} does not answer: {_in_a_line(failures[0])}")

    async def _all(
        self, requests: Mapping[str, Request], sampling: Sampling, store: AnswerStore
    ) -> list[BaseException]:
        async def one(key: str, request: Request) -> None:
            config = self._models.GenerateConfig(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
                seed=(request.seed + request.turn) % 2**31,
            )
            output = await self._model.generate(self._messages(request), config=config)
            if output.error:  # a reply that is kept for ever must be one
                raise OSError(output.error)
            store.keep(key, str(output.completion))

        found = await asyncio.gather(
            *(one(key, request) for key, request in requests.items()), return_exceptions=True
        )
        return [outcome for outcome in found if isinstance(outcome, BaseException)]

    def _messages(self, request: Request) -> list[Any]:
        kinds = {
            "system": self._models.ChatMessageSystem,
            "user": self._models.ChatMessageUser,
            "assistant": self._models.ChatMessageAssistant,
        }
        return [kinds[role](content=text) for role, text in request.messages]


def resolve(text: str, task: Task | None, trust: bool) -> AgentSource:
    """Return the source of ``inspect:PROVIDER/MODEL``; nothing is asked yet.

    Raises:
        AgentError: it is not spelled so.
        MissingExtra: inspect-ai is not installed.
    """
    from importlib.util import find_spec

    provider, _, model = text.partition("/")
    if not provider or not model:
        raise AgentError(
            f"inspect:{text!s:.100} must be inspect:PROVIDER/MODEL, such as inspect:openai/gpt-4o"
        )
    if find_spec("inspect_ai") is None:
        raise MissingExtra("inspect", "models of inspect-ai")
    return AgentSource(f"inspect:{text}", "inspect", (AgentRun("run", load, (text, {})),))


def load(name: str, acting: Mapping[str, Any]) -> ModelAgent:
    """Return the agent of a model.

    Raises:
        ConfigError: answers are to be chosen by log-probabilities.
        AgentError, MissingExtra: as :class:`InspectModel`.
    """
    if acting.get("mode") == "logprobs":
        raise ConfigError("models of inspect-ai reply in text here: use mode=text")
    return ModelAgent(InspectModel(name), store(), acting)


def _in_a_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
