"""``openai-api:MODEL@URL``, ``hf:FOLDER`` and ``human:NAME``, and the variables that they read.

| variable | meaning |
|---|---|
| `PKUBENCH_LLM_CACHE` | folder of stored answers and of the ledger; `~/.cache/pkubench/llm` |
| `PKUBENCH_LLM_API_KEY`, `OPENAI_API_KEY` | sent to the server; never stored |
| `PKUBENCH_LLM_CONNECTIONS` | requests under way at a time, of each worker; 8 |
| `PKUBENCH_LLM_TIMEOUT_S`, `PKUBENCH_LLM_ATTEMPTS` | of one request; 120 seconds, 6 attempts |
| `PKUBENCH_LLM_MAX_TOKENS`, `PKUBENCH_LLM_MAX_COST` | caps on all requests in the ledger; none |
| `PKUBENCH_LLM_PRICE_SENT`, `PKUBENCH_LLM_PRICE_RECEIVED` | of a million tokens; 0 |

They are not settings of acting: none changes what an agent is, so a stopped evaluation resumes with
other ones.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pkubench.agents.adapters.text.agent import ModelAgent
from pkubench.agents.adapters.text.endpoint import Endpoint
from pkubench.agents.adapters.text.keyboard import KeyboardAgent
from pkubench.agents.adapters.text.store import AnswerStore, Caps
from pkubench.agents.resolve.sources import AgentRun, AgentSource, file_hash
from pkubench.errors import AgentError, ConfigError, MissingExtra

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

N = TypeVar("N", int, float)
_ENDPOINT = re.compile(r"(?P<model>.+)@(?P<url>https?://.+)")
_NAME = re.compile(r"[\w.-]+")
_MODEL_FILES = ("*.safetensors", "*.json", "*.jinja")


def resolve_endpoint(text: str, task: Task | None, trust: bool) -> AgentSource:
    """Return the source of ``openai-api:MODEL@URL``; nothing is asked yet.

    Raises:
        AgentError: it is not spelled so.
        MissingExtra: httpx is not installed.
    """
    from importlib.util import find_spec

    found = _ENDPOINT.fullmatch(text)
    if found is None:
        raise AgentError(
            f"openai-api:{text!s:.100} must be openai-api:MODEL@URL, such as "
            "openai-api:my-model@http://127.0.0.1:8000/v1"
        )
    if find_spec("httpx") is None:
        raise MissingExtra("llm", "asking a model on a server")
    arguments: tuple[Any, ...] = (found["model"], found["url"].rstrip("/"), {})
    return AgentSource(
        f"openai-api:{text}", "openai-api", (AgentRun("run", load_endpoint, arguments),)
    )


def load_endpoint(model: str, url: str, acting: Mapping[str, Any]) -> ModelAgent:
    """Return the agent of a model on a server.

    Raises:
        ConfigError: a variable has a value that it cannot have.
    """
    caps = Caps(
        tokens=_variable("MAX_TOKENS", int, None),
        cost=_variable("MAX_COST", float, None),
        price_sent=_variable("PRICE_SENT", float, 0.0) or 0.0,
        price_received=_variable("PRICE_RECEIVED", float, 0.0) or 0.0,
    )
    if caps.cost is not None and not (caps.price_sent or caps.price_received):
        raise ConfigError(
            "PKUBENCH_LLM_MAX_COST needs prices: set PKUBENCH_LLM_PRICE_SENT and "
            "PKUBENCH_LLM_PRICE_RECEIVED, of a million tokens"
        )
    key = os.environ.get("PKUBENCH_LLM_API_KEY") or os.environ.get("OPENAI_API_KEY", "")
    endpoint = Endpoint(
        model=model,
        url=url,
        api_key=key,
        connections=max(_variable("CONNECTIONS", int, 8) or 8, 1),
        timeout_s=_variable("TIMEOUT_S", float, 120.0) or 120.0,
        attempts=max(_variable("ATTEMPTS", int, 6) or 6, 1),
        caps=caps,
    )
    return ModelAgent(endpoint, store(), acting)


def resolve_local(text: str, task: Task | None, trust: bool) -> AgentSource:
    """Return the source of ``hf:FOLDER``, with the hashes of the model's files.

    Raises:
        AgentError: there is no such folder.
    """
    folder = Path(text)
    if not (folder / "config.json").is_file():
        raise AgentError(f"hf:{text} is not the folder of a model: it has no config.json")
    paths = sorted(path for pattern in _MODEL_FILES for path in folder.glob(pattern))
    hashes = {path.name: file_hash(path) for path in paths}
    run = AgentRun("run", load_local, (folder.absolute(), dict(hashes), {}), hashes)
    return AgentSource(f"hf:{folder.resolve().name}", "hf", (run,))


def load_local(folder: Path, hashes: Mapping[str, str], acting: Mapping[str, Any]) -> ModelAgent:
    """Return the agent of a model in a folder.

    Raises:
        MissingExtra: transformers is not installed.
        AgentError: it is not a chat model.
    """
    from pkubench.agents.adapters.text.local_model import LocalModel
    from pkubench.agents.adapters.text.store import key_of

    return ModelAgent(LocalModel(folder, key_of(**hashes)), store(), acting)


def resolve_person(text: str, task: Task | None, trust: bool) -> AgentSource:
    """Return the source of ``human:NAME``.

    Raises:
        AgentError: the name is not a word.
    """
    if not _NAME.fullmatch(text):
        raise AgentError(f"human:{text!s:.60} must be a name, such as human:ada")
    run = AgentRun("run", load_person)
    return AgentSource(f"human:{text}", "human", (run,), needs_terminal=True)


def load_person() -> KeyboardAgent:
    """Return the agent that reads the keyboard."""
    return KeyboardAgent()


def store() -> AnswerStore:
    """Return the store of answers of this machine."""
    folder = os.environ.get("PKUBENCH_LLM_CACHE", "")
    return AnswerStore(Path(folder) if folder else Path.home() / ".cache" / "pkubench" / "llm")


def _variable(name: str, kind: Callable[[str], N], default: N | None) -> N | None:
    """Return a number from the environment.

    Raises:
        ConfigError: it is not a number of at least 0.
    """
    full = f"PKUBENCH_LLM_{name}"
    text = os.environ.get(full, "")
    if not text:
        return default
    try:
        value = kind(text)
    except ValueError:
        value = kind("-1")
    if not value >= 0:
        raise ConfigError(f"{full} must be a number of at least 0, got {text!r}")
    return value
