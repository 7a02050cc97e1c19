"""Models behind any server with OpenAI's chat completions, asked many at a time."""

from __future__ import annotations

import asyncio
import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pkubench.agents.adapters.text.agent import Request, Sampling
from pkubench.agents.adapters.text.store import AnswerStore, Caps, Tokens
from pkubench.errors import AgentUnavailable, MissingExtra

if TYPE_CHECKING:
    import httpx

TOP_LOGPROBS: Final = 20
"""How many tokens' log-probabilities are asked for; servers allow no more."""
_MESSAGE_TOKENS: Final = 16
"""At most, of what a chat format adds to a message."""
_MAX_WAIT_S: Final = 60.0


class _Unusable(Exception):
    """A response that another attempt may better; the text says why."""

    def __init__(self, why: str, wait_s: float | None = None, *, is_charged: bool = True) -> None:
        super().__init__(why)
        self.wait_s, self.is_charged = wait_s, is_charged


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A model of a server."""

    model: str
    url: str
    """Up to what is before ``/chat/completions``."""
    api_key: str = field(default="", repr=False)
    connections: int = 8
    """Requests under way at a time, of each process."""
    timeout_s: float = 120.0
    attempts: int = 6
    first_wait_s: float = 0.5
    """Before the second attempt; doubled each time, unless the server says how long."""
    caps: Caps = field(default_factory=Caps)

    @property
    def identity(self) -> Mapping[str, str]:
        """The model's name and the server's address."""
        return {"model": self.model, "url": self.url}

    def ask(self, requests: Mapping[str, Request], sampling: Sampling, store: AnswerStore) -> None:
        """Get replies, ``connections`` at a time; see ``Model``.

        Raises:
            AgentUnavailable: a request was refused, or not answered in any attempt, or the budget
                is spent; all other replies are stored.
            MissingExtra: httpx is not installed.
        """
        try:
            import httpx
        except ImportError:
            raise MissingExtra("llm", "asking a model on a server") from None
        found = asyncio.run(self._ask_all(httpx, requests, sampling, store))
        for problem in found:
            if problem is not None:
                raise problem

    async def _ask_all(
        self, http: Any, requests: Mapping[str, Request], sampling: Sampling, store: AnswerStore
    ) -> list[BaseException | None]:
        free = asyncio.Semaphore(self.connections)
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        limits = http.Limits(max_connections=self.connections)
        async with http.AsyncClient(
            headers=headers, timeout=self.timeout_s, limits=limits, verify=_certificates(self.url)
        ) as client:

            async def one(key: str, request: Request) -> None:
                async with free:
                    await self._answer(client, key, request, sampling, store)

            return await asyncio.gather(
                *(one(key, request) for key, request in requests.items()), return_exceptions=True
            )

    async def _answer(
        self,
        client: httpx.AsyncClient,
        key: str,
        request: Request,
        sampling: Sampling,
        store: AnswerStore,
    ) -> None:
        """Get one reply and store it, with as many attempts as are allowed."""
        body = self.body(request, sampling)
        most = _most(request, int(body["max_tokens"]))
        for attempt in range(1, self.attempts + 1):
            number = store.reserve(self.model, most, self.caps)
            try:
                reply, used = await self._once(client, body, request)
            except _Unusable as problem:
                # A server may charge for a reply that did not arrive whole, and up to the most.
                store.settle(number, most if problem.is_charged else Tokens(0, 0))
                if attempt == self.attempts:
                    raise AgentUnavailable(
                        f"{self.url} did not answer in {self.attempts} attempts ({problem}); the "
                        "same command resumes"
                    ) from problem
                wait = self.first_wait_s * 2.0 ** (attempt - 1)
                await asyncio.sleep(min(problem.wait_s or wait, _MAX_WAIT_S))
                continue
            except AgentUnavailable:
                store.settle(number, Tokens(0, 0))
                raise
            store.keep(key, reply)
            store.settle(number, used or most)
            return

    def body(self, request: Request, sampling: Sampling) -> dict[str, Any]:
        """Return the JSON body of a request."""
        body = {
            "model": self.model,
            "messages": [{"role": role, "content": text} for role, text in request.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            # A seed of its own for every turn, so that one question asked twice is drawn twice.
            "seed": (request.seed + request.turn) % 2**31,
        }
        if _by_probability(request, sampling):
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS, "max_tokens": 1}
        return body

    async def _once(
        self, client: httpx.AsyncClient, body: Mapping[str, Any], request: Request
    ) -> tuple[str, Tokens | None]:
        import httpx

        try:
            response = await client.post(f"{self.url}/chat/completions", json=dict(body))
        except httpx.TimeoutException as error:
            raise _Unusable(f"no response within {self.timeout_s:g} s") from error
        except httpx.HTTPError as error:
            is_sent = not isinstance(error, httpx.ConnectError)
            why = f"{type(error).__name__}: {error}".rstrip(": ")
            raise _Unusable(why, is_charged=is_sent) from error
        status = response.status_code
        if status in (408, 409, 425, 429) or status >= 500:
            wait_s = _retry_after(response.headers)
            raise _Unusable(f"HTTP {status}", wait_s, is_charged=False)
        if status != 200:
            raise AgentUnavailable(
                f"{self.url} refuses requests (HTTP {status}: {_message(response.content)})"
            )
        try:
            found = json.loads(response.content.decode("utf-8"))
            choice = found["choices"][0]
            message = choice["message"]
            text = message.get("content") or message.get("refusal") or ""
            if not isinstance(text, str):
                raise TypeError("its content is not a text")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise _Unusable(f"a response that is not one of chat completions: {error}") from error
        if body.get("logprobs"):
            text = self._most_probable(choice, request) or text
        return text, _used(found.get("usage"))

    def _most_probable(self, choice: Mapping[str, Any], request: Request) -> str | None:
        """Return the allowed answer with the largest probability; None if none has one.

        Raises:
            AgentUnavailable: the server gave no log-probabilities.
        """
        try:
            listed = choice["logprobs"]["content"][0]["top_logprobs"]
            entries = [(str(entry["token"]).strip(), float(entry["logprob"])) for entry in listed]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise AgentUnavailable(
                f"{self.url} gives no log-probabilities, which it may ignore without a word; "
                "leave --act mode=logprobs out"
            ) from error
        weights = dict.fromkeys(request.answers, 0.0)
        for token, log_probability in entries:
            if token in weights:
                weights[token] += math.exp(log_probability)
        best = max(weights, key=lambda answer: weights[answer])
        return best if weights[best] > 0.0 else None


@functools.cache
def _certificates(url: str) -> Any:
    """Return what servers are checked with, which takes long to load; nothing without TLS."""
    import httpx

    return httpx.create_ssl_context() if url.startswith("https") else False


def _by_probability(request: Request, sampling: Sampling) -> bool:
    return sampling.mode == "logprobs" and bool(request.answers)


def _most(request: Request, received: int) -> Tokens:
    """Return the most tokens that a request can take: a token is at least one byte."""
    sent = sum(len(text.encode()) + _MESSAGE_TOKENS for _, text in request.messages)
    return Tokens(sent, received)


def _used(usage: Any) -> Tokens | None:
    """Return the tokens that a server counted; None if it did not say."""
    try:
        return Tokens(int(usage["prompt_tokens"]), int(usage["completion_tokens"]))
    except (KeyError, TypeError, ValueError):
        return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None


def _message(content: bytes) -> str:
    """Return what a server says is wrong, on one line."""
    return " ".join(content.decode("utf-8", "replace").split())[:200]
