"""Trackers: the curve is cut where a run resumes, and services are called as they want."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pkubench.errors import ConfigError, MissingExtra, UnknownName
from pkubench.training.session import train, train_batch
from pkubench.training.trackers import (
    TRACKERS,
    JSONLines,
    Run,
    TrackerKind,
    check_trackers,
)
from tests.training.toys import toy_task

pytestmark = pytest.mark.usefixtures("toys")


def test_the_curve_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "training.jsonl"
    path.write_text('{"steps": 10, "a": 1}\n{"steps": 20, "a": 2}\n{"steps": 30, "a": 3}\n{"ste')
    log = JSONLines(Run(tmp_path, "n", "g", {}, 20))
    log.log(30, {"a": 4.0})
    log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["steps"], line["a"]) for line in lines] == [(10, 1), (20, 2), (30, 4.0)]
    JSONLines(Run(tmp_path, "n", "g", {}, None)).close()
    assert path.read_text() == ""


class Service(types.ModuleType):
    """What trackio and Weights & Biases have in common."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.calls: list[tuple[str, Any]] = []

    def init(
        self,
        *,
        project: str,
        name: str,
        group: str,
        config: dict[str, Any],
        resume: str,
        id: str | None = None,
    ) -> None:
        assert id is None or self.__name__ == "wandb"  # trackio has no such argument
        self.calls.append(("init", {"project": project, "name": name, "group": group, "id": id}))
        self.calls[-1][1].update(config=config, resume=resume)

    def log(self, figures: dict[str, float], step: int) -> None:
        self.calls.append(("log", (step, figures)))

    def finish(self) -> None:
        self.calls.append(("finish", None))


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_a_service_follows_a_run_that_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    service = Service(name)
    monkeypatch.setitem(sys.modules, name, service)
    how: dict[str, Any] = {"steps": 30, "seed": 4, "out": tmp_path, "track": [name]}
    part = train("toy", toy_task(), **how)
    next(part)
    part.close()
    assert [call for call, _ in service.calls] == ["init", "log", "finish"]
    begun = service.calls[0][1]
    assert begun["project"] == "pkubench"
    assert (begun["name"], begun["group"]) == ("toy-SimpleSpread-v0-seed4", "toy-SimpleSpread-v0")
    assert begun["config"]["settings"]["gamma"] == 0.95
    step, figures = service.calls[1][1]
    assert step == 10 and figures["return"] == 5.0 and "x" not in figures  # NaN is not a metric
    list(train("toy", toy_task(), resume=True, **how))
    again = service.calls[3][1]
    assert again["resume"] == "allow"
    if name == "wandb":  # which finds a run by its id alone
        assert begun["id"] and again["id"] == begun["id"]
    else:
        assert begun["resume"] == "never"
    assert [what[0] for call, what in service.calls if call == "log"] == [10, 20, 30]


def test_a_run_that_starts_afresh_is_another_run_of_weights_and_biases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service("wandb")
    monkeypatch.setitem(sys.modules, "wandb", service)
    for resumed_at in (None, None, 10):
        TRACKERS["wandb"].open(Run(tmp_path, "n", "g", {}, resumed_at)).close()
    first, second, third = (how["id"] for call, how in service.calls if call == "init")
    assert first != second == third


def test_a_tracker_of_ones_own_is_one_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, float]] = []

    class Own:
        def __init__(self, run: Run) -> None:
            self.group = run.group

        def log(self, step: int, figures: Mapping[str, float]) -> None:
            seen.append((step, figures["return"]))

        def close(self) -> None:
            seen.append((-1, 0.0))

    monkeypatch.setitem(TRACKERS, "own", TrackerKind(Own))
    list(train("toy", toy_task(), steps=20, seed=4, out=tmp_path, track=["own"]))
    assert seen == [(10, 5.0), (20, 10.0), (-1, 0.0)]


def test_tensorboard_is_written_only_when_asked_for(tmp_path: Path) -> None:
    for name in ("plain", "board"):
        track = ["tensorboard"] if name == "board" else []
        list(train("toy", toy_task(), steps=30, seed=4, out=tmp_path / name, track=track))
    assert not (tmp_path / "plain" / "tensorboard").exists()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "board" / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("return")] == [(10, 5), (20, 10), (30, 15)]


def test_a_tracker_that_is_not_there_is_named_before_anything_is_written(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(UnknownName, match="no tracker 'wandbb'; did you mean 'wandb'"):
        list(train("toy", toy_task(), steps=30, seed=4, out=out, track=["wandbb"]))
    with pytest.raises(MissingExtra, match=r"pip install .pkubench\[trackers\]"):
        list(train("toy", toy_task(), steps=30, seed=4, out=out, track=["trackio"]))
    with pytest.raises(ConfigError, match="one run at a time"):
        how: dict[str, Any] = {"seeds": [1, 2], "outs": [out, out], "track": ["wandb"]}
        list(train_batch("toy", toy_task(), steps=30, **how))
    check_trackers((), 5)
    assert not out.exists()
