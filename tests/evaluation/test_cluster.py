"""A Ray cluster plays the same episodes and trains the same weights, whoever is killed."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from pkubench.agents.resolve.loading import resolve_agent
from pkubench.cli import cluster as training_cluster
from pkubench.cli.main import main
from pkubench.errors import AgentError, ConfigError, MissingExtra
from pkubench.evaluation.run import cluster
from pkubench.evaluation.run.execution import InProcess, Job
from pkubench.evaluation.run.harness import Progress, evaluate
from pkubench.evaluation.run.workers import WorkerError
from pkubench.tasks.registry import make_task

TASK = "SimpleSpread-v0"


class Loopback:
    """Ray's calls, answered in this process: what a node would do, without a cluster."""

    class exceptions:
        class RayError(Exception):
            """A worker that was lost."""

    def __init__(self, lost: int = 0) -> None:
        self.lost, self.asked = lost, 0

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def remote(self, **_: Any) -> Any:
        class Bound:
            def __init__(self, function: Any) -> None:
                self.remote = lambda *arguments: (function, arguments)

        return Bound

    def wait(self, references: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        return references[-1:], references[:-1]  # the latest first: results come in any order

    def get(self, reference: Any) -> Any:
        self.asked += 1
        if self.asked <= self.lost:
            raise self.exceptions.RayError("The node died.\nmore")
        return reference[0](*reference[1])

    def cancel(self, reference: Any, force: bool) -> None: ...

    def shutdown(self) -> None: ...


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Loopback:
    ray = Loopback()
    monkeypatch.setattr(cluster, "connect", lambda: (ray, True))
    monkeypatch.setattr(cluster, "_pool", InProcess)
    return ray


def lines_of(folder: Path) -> bytes:
    (path,) = folder.rglob("episodes.jsonl")
    return path.read_bytes()


def test_blocks_that_come_back_in_any_order_leave_the_same_bytes(
    loopback: Loopback, tmp_path: Path
) -> None:
    task = make_task(TASK)
    agent = resolve_agent("random", task)
    evaluate(agent, task, episodes=90, workers=0, out=tmp_path / "plain")
    evaluate(agent, task, episodes=90, backend=cluster.RayBackend(), out=tmp_path / "ray")
    assert loopback.asked == 6  # blocks of 16
    assert lines_of(tmp_path / "plain") == lines_of(tmp_path / "ray")
    loopback.lost = loopback.asked + 1
    with pytest.raises(WorkerError, match="lost 4 times on the cluster: The node died"):
        evaluate(agent, task, episodes=16, backend=cluster.RayBackend())


def test_an_error_of_a_node_is_raised_as_its_own_class(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def map(self, jobs: list[Job]) -> Iterator[Any]:
            raise AgentError("agent 'x' could not be loaded")

    monkeypatch.setattr(cluster, "_pool", Broken)
    task = make_task(TASK)
    with pytest.raises(AgentError, match="could not be loaded"):
        evaluate(resolve_agent("random", task), task, episodes=4, backend=cluster.RayBackend())


def test_a_block_whose_process_was_killed_is_played_again_on_its_node(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[Job] = []

    class Killed(InProcess):
        def map(self, jobs: Any) -> Iterator[Any]:
            for result in super().map(jobs):
                played.append(result.job)
                if len(played) == 1:
                    reason = "crashed: the agent's process was ended by SIGKILL"
                    records = [
                        replace(r, return_=None, returns={}, failure=reason) for r in result.records
                    ]
                    result = result._replace(records=records)
                yield result

    monkeypatch.setattr(cluster, "_pool", Killed)
    task = make_task(TASK)
    report = evaluate(resolve_agent("random", task), task, episodes=4, backend=cluster.RayBackend())
    assert report.failed == 0 and len(played) == 2


def test_without_ray_or_a_cluster_one_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "random", TASK, "--backend", "slurm"]) == 2
    assert "ray" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pkubench\[cluster\]"):
        cluster.connect()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at RAY_ADDRESS=127.0.0.1:1"),
        ("ray://127.0.0.1:1", "no Ray cluster answers"),
        ("127.0.0.1:99999", "no Ray cluster answers"),
        ("head", "RAY_ADDRESS=head is not HOST:PORT"),
        ("local", "RAY_ADDRESS=local is not HOST:PORT"),  # it would start a cluster
    ],
)
def test_a_wrong_address_is_said_before_ray_says_pages_about_it(address: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        cluster._check_reachable(address)


def test_each_seed_gets_its_own_command_and_a_begun_one_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    class Done:
        returncode, stderr = 0, ""

    monkeypatch.setattr(
        training_cluster.subprocess, "run", lambda words, **_: asked.append(words) or Done()
    )
    out = tmp_path / "seed3"
    words = training_cluster.seed_words(["happo", TASK, "--seeds=3-4", "--backend", "ray"])
    assert words == ["happo", TASK]
    assert training_cluster.run_seed([*words, "--seed", "3", "--out", str(out)]) == ""
    out.mkdir()
    (out / "training.json").write_text("{}")
    training_cluster.run_seed([*words, "--seed", "3", "--out", str(out)])
    tails = [words[3:] for words in asked]
    assert tails[0] == ["train", "happo", TASK, "--seed", "3", "--out", str(out), "--quiet"]
    assert tails[1] == [*tails[0][:-1], "--resume", "--quiet"]
    Done.returncode = -9
    with pytest.raises(RuntimeError, match="SIGKILL"):  # so that Ray starts it again
        training_cluster.run_seed([*words, "--out", str(out)])
    Done.returncode, Done.stderr = 2, "Traceback\nerror: no such agent\n"
    assert training_cluster.run_seed([*words, "--out", str(out)]) == "error: no such agent"


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_a_cluster_gives_the_same_bytes_though_a_worker_is_killed(
    two_workers: Any, tmp_path: Path
) -> None:
    task = make_task(TASK)
    agent = resolve_agent("random", task)
    evaluate(agent, task, episodes=640, workers=1, out=tmp_path / "plain")
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        if progress.done < 64 or killed:
            return
        for process in psutil.process_iter(["cmdline"]):
            if any("ray::_play" in word for word in process.info["cmdline"] or ()):
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)
                return

    backend = cluster.RayBackend()
    evaluate(agent, task, episodes=640, backend=backend, out=tmp_path / "ray", progress=kill)
    assert killed
    assert lines_of(tmp_path / "plain") == lines_of(tmp_path / "ray")


@pytest.mark.slow
def test_seeds_that_a_cluster_trains_are_those_of_the_plain_command(
    two_workers: Any, tmp_path: Path
) -> None:
    words = ["train", "happo", TASK, "--seeds", "0-1", "--steps", "4000", "--validate", "0"]
    assert main([*words, "--out", str(tmp_path / "plain"), "--quiet"]) == 0
    stop = threading.Event()

    def kill_one() -> None:
        while not stop.is_set():
            for process in psutil.process_iter(["cmdline"]):
                if any("ray::run_seed" in word for word in process.info["cmdline"] or ()):
                    time.sleep(1.0)
                    os.kill(process.pid, signal.SIGKILL)
                    return
            time.sleep(0.05)

    thread = threading.Thread(target=kill_one)
    thread.start()
    try:
        assert main([*words, "--out", str(tmp_path / "ray"), "--backend", "ray", "--quiet"]) == 0
    finally:
        stop.set()
        thread.join()
    for seed in ("seed0", "seed1"):
        plain, ray = (tmp_path / who / seed / "weights.safetensors" for who in ("plain", "ray"))
        assert plain.read_bytes() == ray.read_bytes()
