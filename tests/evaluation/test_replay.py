"""Records of another machine: exact where bytes agree, else its kernel, else a test of means."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pkubench.agents.resolve.loading import resolve_agent
from pkubench.agents.resolve.sources import AgentSource
from pkubench.evaluation.report import RunRecords, read_run, run_folders
from pkubench.evaluation.run import machine as machines
from pkubench.evaluation.run import replay as replay_module
from pkubench.evaluation.run.episodes import TIMEOUT, failed_record
from pkubench.evaluation.run.harness import evaluate
from pkubench.evaluation.run.replay import LEVEL, differ, disagreement, replay
from pkubench.evaluation.run.workers import WorkerError
from pkubench.tasks.records import EPISODES, RUN, EpisodeRecord
from pkubench.tasks.registry import make_task
from pkubench.tasks.scoring import Episode
from pkubench.tasks.task import Task

ROOT = Path(__file__).parents[2]
TASK = make_task("SimpleSpread-v0")
HERE = machines.machine()
LIBRARY, _, KERNEL = HERE["blas"].rpartition(" ")
OTHER = "Nehalem" if KERNEL != "Nehalem" else "Sandybridge"
"""A kernel that any processor of these days can run, and that is not the one in use."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    evaluate(source(), TASK, out=out, episodes=48, workers=0)
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
        found = replay([run], source(), TASK, ALL, workers=0)
        assert (found.problem, found.reproduced) == ("", 48)
        assert found.how == "48 of 48 episodes played again came out as the same bytes"


@pytest.mark.parametrize(
    ("blas", "episode"),
    [
        (None, 0),
        pytest.param(None, 20, marks=pytest.mark.slow),
        pytest.param(None, 47, marks=pytest.mark.slow),
        pytest.param(f"{LIBRARY} {OTHER}", 0, marks=pytest.mark.slow),
        (f"{LIBRARY} {OTHER}", 20),
        pytest.param(f"{LIBRARY} {OTHER}", 47, marks=pytest.mark.slow),
    ],
)
def test_one_return_raised_by_half_a_per_cent_is_found(
    folder: Path, episode: int, blas: str | None
) -> None:
    """Under the own kernel, and under another that this processor can run as well."""
    run = raised(run_of(folder, blas=blas), 1.005, range(episode, episode + 1))
    found = replay([run], source(), TASK, ALL)
    assert found.reproduced == 47 and f"run, episode {episode} has return" in found.problem
    assert ("with the recorded kernel" in found.problem) is (blas is not None)


def test_records_of_another_kernel_agree_once_that_kernel_is_used(tmp_path: Path) -> None:
    """Of a network that acts in float32: many blocks differ here, and none there."""
    spelled = "tests.evaluation.actors:single"
    task = make_task("SpeedLimit-v0")
    script = f"import pkubench; pkubench.evaluate({spelled!r}, {task.id!r}, episodes=48, out='out')"
    there = {**os.environ, "OPENBLAS_CORETYPE": OTHER, "PYTHONPATH": str(ROOT)}
    there.pop("OPENBLAS_L2_SIZE", None)
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=there, check=True)
    (folder,) = run_folders(next((tmp_path / "out").glob("*/*")))
    run = read_run(folder)
    found = replay([run], resolve_agent(spelled, task), task, ALL)
    assert (found.problem, found.reproduced) == ("", 48)
    assert re.search(r"[1-9]\d* of them with the recorded kernel", found.how), found.how


def test_other_mathematical_functions_are_another_c_library() -> None:
    """glibc has variants by processor; physics would differ, and the kernel cannot mend it."""
    script = "from pkubench.evaluation.run.machine import machine; print(machine()['libc'])"
    tunables = "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX"
    printed = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": str(ROOT), **extra},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for extra in ({}, {"GLIBC_TUNABLES": tunables})
    ]
    assert printed[0] == HERE["libc"]
    if "X86_V3" in HERE["simd"] and HERE["libc"].startswith("glibc"):
        assert printed[0] != printed[1]


def test_of_several_comparisons_each_has_a_part_of_the_level() -> None:
    """Two samples whose p-value lies between the level and its fiftieth part."""
    rng = np.random.default_rng(0)
    then = rng.normal(size=40)
    now = then + next(
        d for d in np.linspace(0, 2, 2001) if stats.ttest_ind(then, then + d).pvalue < LEVEL
    )
    records = [record(k, value) for k, value in enumerate(then)]
    played = {("run0", k): record(k, value) for k, value in enumerate(now)}

    def run(label: str) -> RunRecords:
        return RunRecords(label=label, settings={}, records=records, digest="")

    assert differ(list(then), list(now), LEVEL)
    assert (
        disagreement([run("run0"), *(run(f"run{k}") for k in range(1, 2))], twice(played), TASK)
        == ""
    )


def record(episode: int, value: float) -> EpisodeRecord:
    return EpisodeRecord(episode=episode, seed=0, return_=value, returns={"a": value}, length=1)


def twice(
    played: dict[tuple[str, int], EpisodeRecord],
) -> dict[tuple[str, int], EpisodeRecord]:
    return {**played, **{("run1", k): record for (_, k), record in played.items()}}


def test_an_episode_that_failed_by_the_clock_is_left_aside(folder: Path) -> None:
    run = run_of(folder)
    late = [
        failed_record(Episode(number=r.episode, seed=r.seed, agent_seed=r.seed), 3, TIMEOUT)
        if r.episode == 3
        else r
        for r in run.records
    ]
    slow = RunRecords(label=run.label, settings=run.settings, records=late, digest="")
    found = replay([slow], source(), TASK, ALL, workers=0)
    assert found.problem == "" and "1 episode that failed by the clock left aside" in found.how


@pytest.mark.parametrize(
    "reason",
    [
        "crashed: the agent's process was ended by SIGTERM",
        "agent-error: agent_0: SandboxError: sandbox: ended by SIGKILL",
    ],
)
def test_a_process_that_was_ended_from_outside_contradicts_nothing(
    folder: Path, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, play = run_of(folder), replay_module._play

    def killed(*arguments: Any) -> Any:
        played = play(*arguments)
        key = min(played)
        return played | {key: replace(played[key], failure=reason)}

    monkeypatch.setattr(replay_module, "_play", killed)
    with pytest.raises(WorkerError, match=r"ended from outside.*ended by SIG(TERM|KILL)"):
        replay([run], source(), TASK, ALL, workers=0)


def test_of_a_machine_that_cannot_be_imitated_means_are_compared(folder: Path) -> None:
    there = run_of(folder, libc="musl 1.2")
    few = replay([raised(there, 1.005, range(1))], source(), TASK, ALL, workers=0)
    assert few.problem == "" and "Welch's test" in few.how and "libc musl 1.2 then" in few.how
    assert [r.return_ for r in few.records["run"]] == [r.return_ for r in there.records]
    many = replay([raised(there, 0.5, range(48))], source(), TASK, ALL, workers=0)
    assert "run run: mean return" in many.problem and f"level of {LEVEL:g}" in many.problem


def test_records_that_name_no_machine_are_compared_by_their_means(folder: Path) -> None:
    run = run_of(folder)
    settings = {k: v for k, v in run.settings.items() if k != "machines"}
    old = RunRecords(label=run.label, settings=settings, records=run.records, digest="")
    found = replay([raised(old, 1.005, range(1))], source(), TASK, ALL, workers=0)
    assert found.problem == "" and "do not say on what machine" in found.how


def test_a_kernel_is_imitated_only_where_the_processor_has_what_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def variables(**changed: str) -> dict[str, str]:
        return machines.environment_of([{**HERE, **changed}], HERE)

    monkeypatch.delenv("NPY_DISABLE_CPU_FEATURES", raising=False)
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
    two = [{**HERE, "simd": "X86_V2"}, {**HERE, "simd": "X86_V2 X86_V3"}]
    assert machines.environment_of(two, HERE) == {}


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
    assert not differ([5.0] * 16, [5.0] * 16, 0.001) and differ([5.0] * 16, [5.1] * 16, 0.001)
    assert differ([], [1.0], 0.001) and not differ([], [], 0.001)
    assert not differ([1.0], [2.0], 0.001)  # one episode each of a task that is sampled


@pytest.mark.parametrize("scale", [1.0 - 1e-7, 1.0 + 1e-7])
def test_exact_scores_are_held_to_a_tolerance(scale: float) -> None:
    assert differ([0.5], [0.5 * scale], 0.001, is_exact=True)
    assert not differ([0.5], [0.5 + (scale - 1.0) * 1e-4], 0.001, is_exact=True)
