"""The command line as a function, and a learner small enough to train to its end in a test."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pkubench.agents import registry
from pkubench.agents.learner import Context
from pkubench.agents.registry import AgentFamily, Preset
from pkubench.cli.main import main
from pkubench.tasks.task import Task
from tests.training.toys import Counting


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
made: list[Mapping[str, Any]] = []
"""What learners were made from, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyConfig:
    """Settings of ``tiny``."""

    gamma: float = 0.95
    stride: int = 10


CONFIG = TinyConfig()


class Tiny(Counting):
    """Counts its budget off in strides."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        gamma = context.settings.gamma
        made.append({"steps": context.total, "seed": context.seed, "gamma": gamma})

    def iterate(self) -> Mapping[str, float]:
        return {**super().iterate(), "steps_per_second": 1000.0}


class TinyBatch:
    """Several of them side by side."""

    def __init__(self, contexts: Sequence[Context]) -> None:
        self.members = [Tiny(context) for context in contexts]

    def iterate(self) -> Sequence[Mapping[str, float]]:
        return [member.iterate() for member in self.members]


FAMILY = AgentFamily(
    name="tiny",
    summary="counts",
    kind="tiny",
    learner="tests.cli.conftest:Tiny",
    batch="tests.cli.conftest:TinyBatch",
    configure="tests.cli.conftest:configure",
    extra=None,
)
PRESET = Preset(
    name="tiny",
    family="tiny",
    summary="counts",
    suites=("marl",),
)


def configure(name: str, task: Task | None) -> Any:
    """Return the config of ``tiny``, the same on every task."""
    return CONFIG


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Mapping[str, Any]]]:
    """Register the agent ``tiny``; give the list of what its learners are made from."""
    registry.presets()
    monkeypatch.setitem(registry._FAMILIES, "tiny", FAMILY)
    monkeypatch.setitem(registry._PRESETS, "tiny", PRESET)
    registry._sorted_presets.cache_clear()
    made.clear()
    yield made
    monkeypatch.undo()
    registry._sorted_presets.cache_clear()


def register_tiny() -> None:
    """Register the agent ``tiny`` for a process that ends with its test."""
    registry.register_family(FAMILY, [PRESET])


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print as into a pipe: workers of pytest-xdist have a width in their environment."""
    monkeypatch.delenv("COLUMNS", raising=False)
