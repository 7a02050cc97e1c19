"""The manifest of a bundle: its fields, its encoding, and its checks."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pkubench.errors import BundleError
from pkubench.leaderboard.submissions.archive import CODE, Digest
from pkubench.leaderboard.submissions.archive import MANIFEST as MANIFEST

SCHEMA = 2
"""Version of the bundle format."""
STORED_SCHEMAS = (1, SCHEMA)
"""Versions that a board may hold. Bundles of version 1, without a ``binding``, were accepted when
that was the format; new files of it are no longer accepted."""
MAX_RUNS = 100
"""Runs of a task; intervals are computed by resampling them."""
KINDS = ("named", "saved", "onnx", "population", "code", "external")
"""How a board can run it again: by its name, from saved weights, from an ONNX graph, from a file of
game policies, from its code in a sandbox; or not."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_LARGEST = 2**63 - 1
_LONGEST_NUMBER = 400  # digits; Python refuses more than 4300 with an error of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """One run (training seed) of one task."""

    name: str
    episodes: str
    """Member that holds the episode lines."""
    info: str
    """Member that holds ``run.json``."""
    weights: tuple[str, ...]
    """Members of the saved agent, ``config.json`` among them; empty when none is submitted."""
    training: Mapping[str, Any]
    """Training ``command``, ``seed``, ``steps`` as the saved agent's config has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEntry:
    """One task."""

    task: str
    report: str
    """Member that holds ``report.json``."""
    runs: tuple[RunEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle says about itself."""

    name: str
    """The agent's name on the board."""
    agent: str
    """The spelling under which it was evaluated."""
    kind: str
    """One of :data:`KINDS`."""
    license: str
    authors: tuple[str, ...]
    description: str
    code_url: str | None
    versions: Mapping[str, str]
    tasks: tuple[TaskEntry, ...]
    members: Mapping[str, Digest]
    code: tuple[str, ...] = ()
    """Members of the agent's code, for a sandbox; empty for agents that are data."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document that :func:`parse_manifest` reads."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "agent": self.agent,
            "kind": self.kind,
            "license": self.license,
            "authors": list(self.authors),
            "description": self.description,
            "code_url": self.code_url,
            "versions": dict(sorted(self.versions.items())),
            "tasks": [
                {
                    "task": task.task,
                    "report": task.report,
                    "runs": [
                        {
                            "name": run.name,
                            "episodes": run.episodes,
                            "info": run.info,
                            "weights": list(run.weights),
                            "training": dict(run.training),
                        }
                        for run in task.runs
                    ],
                }
                for task in self.tasks
            ],
            "members": {
                name: {"sha256": digest.sha256, "bytes": digest.size}
                for name, digest in sorted(self.members.items())
            },
            **({"code": list(self.code)} if self.code else {}),
            "binding": self.binding(),
        }

    def binding(self) -> str:
        """Return the SHA-256 that binds together the name and each run's weights and lines.

        It changes if records, weights or the name are combined from different bundles.
        """
        runs = [
            [task.task, run.name, *(self.members[m].sha256 for m in (run.episodes, *run.weights))]
            for task in self.tasks
            for run in task.runs
        ]
        code = [[[name, self.members[name].sha256] for name in self.code]] if self.code else []
        return hashlib.sha256(encode([self.name, self.agent, runs, *code])).hexdigest()

    def referenced(self) -> list[str]:
        """Return the members that code, tasks and runs name, in their order."""
        found = [*self.code]
        for task in self.tasks:
            found.append(task.report)
            for run in task.runs:
                found += [run.episodes, run.info, *run.weights]
        return found


def encode(document: Any) -> bytes:
    """Return canonical JSON, equal for equal values, so that its hash can identify it."""
    return (json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode()


def decode(data: bytes, what: str) -> Any:
    """Read untrusted JSON: no NaN, no overlong numbers, no deep nesting.

    Raises:
        BundleError: it is not JSON, or too deep.
    """
    try:
        return json.loads(
            data.decode(), parse_constant=_no_constant, parse_int=_whole, parse_float=float
        )
    except RecursionError:
        raise BundleError(f"{what} is nested too deeply") from None
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are both ValueErrors
        raise BundleError(f"{what} is not valid JSON: {error}") from error


def parse_manifest(document: Any, *, schemas: Collection[int] = (SCHEMA,)) -> Manifest:
    """Check a manifest against the schema.

    Args:
        document: the JSON document.
        schemas: the versions of the format that are accepted.

    Raises:
        BundleError: the first thing that is wrong, with its place.
    """
    top = _Reader(document, MANIFEST)
    schema = top.get("schema", int)
    if schema not in schemas:
        raise BundleError(
            f"{MANIFEST} has schema {schema}; this release reads {SCHEMA}. "
            "Make the bundle again with this release"
        )
    manifest = Manifest(
        name=check_text(top.get("name", str), "name", 80),
        agent=check_text(top.get("agent", str), "agent", 300),
        kind=top.one_of("kind", KINDS),
        license=check_text(top.get("license", str), "license", 80),
        authors=tuple(
            check_text(author, "authors", 200) for author in top.items("authors", str, 200)
        ),
        description=check_text(top.get("description", str), "description", 4000, empty=True),
        code_url=check_url(top.optional("code_url", str)),
        versions={
            check_text(key, "versions", 80): check_text(_expect(value, str, "versions"), key, 200)
            for key, value in top.mapping("versions").items()
        },
        tasks=tuple(_task(item) for item in top.readers("tasks", 500)),
        members={
            name: _digest(_Reader(value, f"{MANIFEST} members.{name}"))
            for name, value in top.mapping("members").items()
        },
        code=tuple(top.items("code", str, 1000)) if "code" in top.value else (),
    )
    if not manifest.tasks:
        raise BundleError(f"{MANIFEST} names no task; a bundle holds the records of at least one")
    _check_code(manifest)
    _check_unique([task.task for task in manifest.tasks], "task")
    for task in manifest.tasks:
        _check_unique([run.name for run in task.runs], f"run of {task.task}")
    # Each belongs to one run: a small file could be read ten thousand times otherwise.
    _check_unique(manifest.referenced(), "member")
    missing = sorted({*manifest.referenced()} - manifest.members.keys())
    if missing:
        raise BundleError(f"{MANIFEST} names {missing[0]} but gives no hash for it")
    if schema > 1 and top.get("binding", str) != manifest.binding():
        raise BundleError(
            f"{MANIFEST} was changed: its 'binding' is not that of this name, these records and "
            "these weights; make the bundle again with `pkubench bundle`"
        )
    return manifest


def _check_code(manifest: Manifest) -> None:
    if (manifest.kind == "code") != bool(manifest.code):
        raise BundleError(f"{MANIFEST}: an agent of the kind 'code' has code, and no other has any")
    outside = [name for name in manifest.code if not name.startswith(CODE)]
    if outside:
        raise BundleError(f"{MANIFEST} calls {outside[0]} code; code is below {CODE}")
    if manifest.code and not has_module(manifest.agent, manifest.code):
        raise BundleError(f"{MANIFEST}: the module of {manifest.agent} is not in its code")


def has_module(agent: str, members: Collection[str]) -> bool:
    """Return whether members of a bundle include the module of ``module:factory``."""
    module, colon, _ = agent.partition(":")
    path = CODE + module.replace(".", "/")
    return bool(colon) and any(name in members for name in (f"{path}.py", f"{path}/__init__.py"))


def check_text(value: str, what: str, longest: int, *, empty: bool = False) -> str:
    """Return a text that may be shown, or raise an error that says why not.

    Raises:
        BundleError: empty, too long, or with control or direction-changing characters.
    """
    if not empty and not value.strip():
        raise BundleError(f"{what} is empty; give one")
    if len(value) > longest:
        raise BundleError(f"{what} has {len(value)} characters; at most {longest} are accepted")
    if _CONTROL.search(value):
        raise BundleError(f"{what} {value[:60]!r} has control characters; take them out")
    return value


def check_url(url: str | None) -> str | None:
    """Return a link to a web page, or raise an error.

    Raises:
        BundleError: it is not an http or https address.
    """
    if url is None:
        return None
    check_text(url, "code_url", 500)
    try:
        parts = urlsplit(url)
        acceptable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        acceptable = False
    if not acceptable or any(c.isspace() for c in url):
        raise BundleError(f"code_url {url[:80]!r} is not a web address; it starts with https://")
    return url


def _task(reader: _Reader) -> TaskEntry:
    runs = tuple(_run(run) for run in reader.readers("runs", MAX_RUNS))
    if not runs:
        raise BundleError(f"{reader.where} has no run")
    return TaskEntry(
        task=check_text(reader.get("task", str), "task", 200),
        report=reader.get("report", str),
        runs=runs,
    )


def _run(reader: _Reader) -> RunEntry:
    training = reader.mapping("training")
    for key in ("seed", "steps"):
        if training.get(key) is not None:
            value = _expect(training[key], int, f"{reader.where}.training.{key}")
            if abs(value) > _LARGEST:
                raise BundleError(f"{reader.where}.training.{key} does not fit 64 bits")
    if training.get("command") is not None:
        command = _expect(training["command"], str, f"{reader.where}.training.command")
        check_text(command, "training command", 2000)
    return RunEntry(
        name=check_text(reader.get("name", str), "run name", 120),
        episodes=reader.get("episodes", str),
        info=reader.get("info", str),
        weights=tuple(reader.items("weights", str, 64)),
        training=training,
    )


def _digest(reader: _Reader) -> Digest:
    digest = Digest(reader.get("sha256", str), reader.get("bytes", int))
    if not _SHA256.fullmatch(digest.sha256) or digest.size < 0:
        raise BundleError(f"{reader.where} is not a SHA-256 in hexadecimal and a size")
    return digest


def _check_unique(names: list[str], what: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BundleError(f"{MANIFEST} has the {what} {twice[0]!r} twice")


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _whole(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _expect(value: Any, kind: type, where: str) -> Any:
    # bool is an int to Python, not to JSON.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BundleError(f"{where} must be {_JSON_NAMES[kind]}, got {type(value).__name__}")
    return value


_JSON_NAMES: dict[type, str] = {
    str: "a text",
    int: "a whole number",
    dict: "an object",
    list: "a list",
}


class _Reader:
    """Reads the fields of one JSON object; errors name the place."""

    def __init__(self, value: Any, where: str) -> None:
        self.where = where
        self.value: dict[str, Any] = _expect(value, dict, where)

    def get(self, key: str, kind: type) -> Any:
        if key not in self.value:
            raise BundleError(f"{self.where} has no {key!r}")
        return _expect(self.value[key], kind, f"{self.where}.{key}")

    def optional(self, key: str, kind: type) -> Any:
        return None if self.value.get(key) is None else self.get(key, kind)

    def one_of(self, key: str, known: tuple[str, ...]) -> str:
        value: str = self.get(key, str)
        if value not in known:
            raise BundleError(f"{self.where}.{key} is {value[:40]!r}; known: {', '.join(known)}")
        return value

    def mapping(self, key: str) -> dict[str, Any]:
        value: dict[str, Any] = self.get(key, dict)
        return value

    def items(self, key: str, kind: type, most: int) -> list[Any]:
        values = self.get(key, list)
        if len(values) > most:
            raise BundleError(f"{self.where}.{key} has {len(values)} items; at most {most}")
        return [_expect(value, kind, f"{self.where}.{key}[{i}]") for i, value in enumerate(values)]

    def readers(self, key: str, most: int) -> list[_Reader]:
        return [
            _Reader(value, f"{self.where}.{key}[{i}]")
            for i, value in enumerate(self.items(key, dict, most))
        ]
