"""The command line as a function, and a trainer small enough to run to its end in a test."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pkubench.agents import registry
from pkubench.agents.registry import AgentFamily, Preset
from pkubench.agents.training import Progress
from pkubench.cli.main import main
from pkubench.tasks.task import Task


@dataclass
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Command:
    """Runs ``pkubench ...`` in this process, in a folder of its own."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *words: str) -> Said:
        self._capfd.readouterr()
        code = main([str(word) for word in words])
        out, err = self._capfd.readouterr()
        return Said(code, out, err)


@pytest.fixture
def pkubench(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PKUBENCH_DEBUG", raising=False)
    return Command(capfd)


STEPS = 40
calls: list[Mapping[str, Any]] = []


def tiny_trainer(
    agent: str,
    task: Task,
    *,
    steps: int | None,
    seed: int,
    settings: Mapping[str, str],
    out: Path,
    resume: bool = False,
    device: str = "cpu",
) -> Iterator[Progress]:
    """Count to ``steps`` in tens; the checkpoint is the count."""
    calls.append({"steps": steps, "seed": seed, "settings": settings, "resume": resume})
    checkpoint = out / "checkpoint.json"
    count = json.loads(checkpoint.read_text()) if resume and checkpoint.exists() else 0
    out.mkdir(parents=True, exist_ok=True)
    total = steps or STEPS
    try:
        while count < total:
            count += 10
            yield Progress(count, total, {"return": count / 2, "steps_per_second": 1000.0})
    finally:
        checkpoint.write_text(json.dumps(count))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Mapping[str, Any]]]:
    """Register the agent ``tiny``; give the list of its trainer's calls."""
    registry.presets()
    family = AgentFamily(name="tiny", summary="", learner="tests.cli.conftest:tiny_trainer")
    tiny = Preset(name="tiny", family="tiny", suites=("marl",), summary="counts")
    monkeypatch.setitem(registry._FAMILIES, "tiny", family)
    monkeypatch.setitem(registry._PRESETS, "tiny", tiny)
    registry._sorted_presets.cache_clear()
    monkeypatch.setattr("pkubench.cli.train.import_function", lambda path: tiny_trainer)
    calls.clear()
    yield calls
    monkeypatch.undo()
    registry._sorted_presets.cache_clear()


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print as into a pipe: workers of pytest-xdist have a width in their environment."""
    monkeypatch.delenv("COLUMNS", raising=False)
