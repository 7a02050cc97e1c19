"""Records of another machine: exact where bytes agree, else its kernel, else a test of means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pkubench.agents.loading import AgentSource, resolve_agent
from pkubench.evaluation import machine as machines
from pkubench.evaluation.harness import evaluate
from pkubench.evaluation.records import EPISODES, RUN
from pkubench.evaluation.replay import LEVEL, differ, replay
from pkubench.evaluation.report import RunRecords, read_run, run_folders
from pkubench.tasks.catalogue import make_task
from pkubench.tasks.task import Task

TASK = make_task("SimpleSpread-v0")
HERE = machines.machine()
LIBRARY, _, KERNEL = HERE["blas"].rpartition(" ")
OTHER = "Prescott" if KERNEL != "Prescott" else "Nehalem"
"""A kernel that any x86-64 processor can run, and that is not the one in use."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    evaluate(source(), TASK, out=out, episodes=48, workers=1)
    (found,) = run_folders(next(out.glob("*/*")))
    return found


def source(task: Task = TASK) -> AgentSource:
    return resolve_agent("random", task)


def run_of(folder: Path, *, blas: str | None = None, libc: str = "") -> RunRecords:
    """Return the records as if they had been made on another machine."""
    run = read_run(folder)
    facts = {**HERE, "blas": blas or HERE["blas"], "libc": libc or HERE["libc"]}
    return RunRecords(
        label=run.label,
        settings={**run.settings, "machines": [facts]},
        records=list(run.records),
        digest=run.digest,
    )


def raised(run: RunRecords, factor: float, episodes: range) -> RunRecords:
    """Return the records with some returns multiplied."""
    records = [
        replace(
            record,
            return_=sum(v * factor for v in record.returns.values()),
            returns={k: v * factor for k, v in record.returns.items()},
        )
        if record.episode in episodes
        else record
        for record in run.records
    ]
    return RunRecords(label=run.label, settings=run.settings, records=records, digest="")


ALL = {"run": (0, 16, 32)}


def test_records_name_processor_instruction_sets_kernel_and_library(folder: Path) -> None:
    (facts,) = json.loads((folder / RUN).read_text())["machines"]
    assert facts == HERE
    assert set(facts) == {"processor", "simd", "blas", "libc"} and all(facts.values())
    assert KERNEL and facts["simd"].startswith("X86_V2")
    assert (folder / EPISODES).read_text().count("\n") == 48


def test_the_same_bytes_settle_it_wherever_they_were_made(folder: Path) -> None:
    for run in (run_of(folder), run_of(folder, blas="mkl 9 Elbrus", libc="musl 1")):
        found = replay([run], source(), TASK, ALL)
        assert (found.problem, found.reproduced) == ("", 48)
        assert found.how == "48 of 48 episodes played again are the same bytes"


@pytest.mark.parametrize("episode", [0, 20, 47])
@pytest.mark.parametrize("blas", [None, f"{LIBRARY} {OTHER}"])
def test_one_return_raised_by_half_a_per_cent_is_found(
    folder: Path, episode: int, blas: str | None
) -> None:
    """Under the own kernel, and under another that this processor can run as well."""
    run = raised(run_of(folder, blas=blas), 1.005, range(episode, episode + 1))
    found = replay([run], source(), TASK, ALL)
    assert found.reproduced == 47 and f"run, episode {episode} has return" in found.problem
    assert ("with the recorded kernel" in found.problem) is (blas is not None)


def test_of_a_machine_that_cannot_be_imitated_means_are_compared(folder: Path) -> None:
    there = run_of(folder, libc="musl 1.2")
    few = replay([raised(there, 1.005, range(1))], source(), TASK, ALL)
    assert few.problem == "" and "Welch's test" in few.how and "libc musl 1.2 then" in few.how
    assert [r.return_ for r in few.records["run"]] == [r.return_ for r in there.records]
    many = replay([raised(there, 0.5, range(48))], source(), TASK, ALL)
    assert "run run: mean return" in many.problem and f"level of {LEVEL:g}" in many.problem


def test_records_that_name_no_machine_are_compared_by_their_means(folder: Path) -> None:
    run = run_of(folder)
    settings = {k: v for k, v in run.settings.items() if k != "machines"}
    old = RunRecords(label=run.label, settings=settings, records=run.records, digest="")
    found = replay([raised(old, 1.005, range(1))], source(), TASK, ALL)
    assert found.problem == "" and "do not say on what machine" in found.how


def test_a_kernel_is_imitated_only_where_the_processor_has_what_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def variables(**changed: str) -> dict[str, str]:
        return machines.environment_of([{**HERE, **changed}], HERE)

    assert variables(blas=f"{LIBRARY} {OTHER}")["OPENBLAS_CORETYPE"] == OTHER
    assert variables(blas=f"{LIBRARY} Unheard") == {}
    assert variables(blas=f"mkl 1 {OTHER}") == {}
    assert variables(libc="musl 1") == {}
    assert variables(simd="X86_V2")["NPY_DISABLE_CPU_FEATURES"] == " ".join(
        sorted(set(HERE["simd"].split()) - {"X86_V2"})
    )
    assert variables(simd="X86_V2 X86_V9") == {}
    monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", "AVX512_SPR")  # what is off stays off
    assert variables()["NPY_DISABLE_CPU_FEATURES"] == "AVX512_SPR"
    assert machines.environment_of([HERE, {**HERE, "simd": "X86_V2"}], HERE) == {}


def test_what_a_stranger_writes_as_machine_is_not_taken_for_one() -> None:
    for written in (3, {"blas": "x"}, ["x"], [[1]], None):
        assert machines.machines_of({"machines": written}) == []
    assert machines.differences([{}], HERE)


def seeds() -> Iterator[np.random.Generator]:
    return (np.random.default_rng(k) for k in range(400))


def test_the_test_of_means_has_its_level_and_its_power() -> None:
    false = [differ(r.normal(size=16), r.normal(size=16), 0.05) for r in seeds()]
    assert 0.02 < np.mean(false) < 0.08
    true = [differ(r.normal(size=16), r.normal(2.0, 1.0, size=16), 0.001) for r in seeds()]
    assert np.mean(true) > 0.9


def test_scores_that_do_not_vary_are_compared_by_a_tolerance() -> None:
    assert not differ([2.0], [2.0 + 1e-10], 0.001) and differ([2.0], [2.0 + 1e-7], 0.001)
    assert not differ([5.0] * 16, [5.0] * 16, 0.001) and differ([5.0] * 16, [5.1] * 16, 0.001)
    assert differ([], [1.0], 0.001) and not differ([], [], 0.001)
