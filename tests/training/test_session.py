"""The session around toys: killed anywhere, a run is resumed to the same bits."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pkubench
from pkubench.agents.resolve.saved import saved_run
from pkubench.agents.saved.files import load_saved
from pkubench.agents.saved.runs import check_resumable, has_checkpoint, read_training
from pkubench.errors import ConfigError, WeightsError
from pkubench.training import checkpoints
from pkubench.training.session import train, train_batch
from tests.training import toys as toy_module
from tests.training.toys import Killed, killed_after, toy_task, weights

pytestmark = pytest.mark.usefixtures("toys")
ROOT = Path(__file__).parents[2]
TASK = toy_task()


def run(agent: str, out: Path, steps: int = 100, seed: int = 3, **more: Any) -> list[Any]:
    return list(train(agent, TASK, steps=steps, seed=seed, out=out, **more))


def curve(folder: Path, *names: str) -> list[Any]:
    lines = [json.loads(x) for x in (folder / "training.jsonl").read_text().splitlines()]
    return [[line.get(name) for name in ("steps", *names)] for line in lines]


@pytest.fixture
def every(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a checkpoint after every update."""
    monkeypatch.setattr(checkpoints.Spacing, "is_due", True)


@pytest.mark.usefixtures("every")
@pytest.mark.parametrize(("agent", "cls"), [("toy-recurrent", "Recurrent"), ("toy", "Counting")])
def test_a_run_killed_at_every_iteration_resumes_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent: str, cls: str
) -> None:
    whole = run(agent, tmp_path / "whole")
    learner = getattr(toy_module, cls)
    parts = tmp_path / "parts"
    for kill_at in range(1, len(whole) + 1):
        with killed_after(learner, kill_at):
            run(agent, parts, resume=kill_at > 1)
        random.random(), np.random.random()  # noqa: NPY002 - another process drew otherwise
    rest = run(agent, parts, resume=True)
    assert [r.steps for r in rest] == [whole[-1].steps]
    assert weights(parts) == weights(tmp_path / "whole")
    name = "loss" if agent == "toy-recurrent" else "draw"
    assert curve(parts, name) == curve(tmp_path / "whole", name)
    assert len({draw for _, draw in curve(parts, name)}) == len(whole)


PROGRAM = """
import sys, time
from pathlib import Path
from pkubench.training import checkpoints
from pkubench.training.session import train
from tests.training.toys import Recurrent, register_toys, toy_task

register_toys()
checkpoints.Spacing.is_due = True
iterate = Recurrent.iterate
def slow(self):
    time.sleep(0.05)
    return iterate(self)
Recurrent.iterate = slow
for _ in train("toy-recurrent", toy_task(), steps=600, seed=3, out=Path(sys.argv[1])):
    pass
"""


def test_a_run_that_is_really_killed_resumes_to_the_same_bits(tmp_path: Path) -> None:
    run("toy-recurrent", tmp_path / "whole", 600)
    parts = tmp_path / "parts"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(parts)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not has_checkpoint(parts) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert has_checkpoint(parts) and not (parts / "config.json").exists()
    rest = run("toy-recurrent", parts, 600, resume=True)
    assert 0 < len(rest) < 40
    assert weights(parts) == weights(tmp_path / "whole")


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Let this process die at the n-th change of files from now on; nothing is changed after."""
    left = [10**9]

    def guarded(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return change(*args, **kwargs)

        return changed

    for owner, name in ((Path, "replace"), (Path, "unlink"), (checkpoints.shutil, "rmtree")):
        monkeypatch.setattr(owner, name, guarded(getattr(owner, name)))

    def at(count: int) -> None:
        left[0] = count

    yield at
    left[0] = 10**9


@pytest.mark.usefixtures("every")
@pytest.mark.parametrize("agent", ["toy", "toy-anytime"])
def test_a_kill_between_any_two_changes_of_files_leaves_a_run_that_resumes(
    tmp_path: Path, dying: Callable[[int], None], agent: str
) -> None:
    steps = 30 if agent == "toy" else 3
    run(agent, tmp_path / "whole", steps)
    deaths = 0
    for count in range(1, 200):
        parts = tmp_path / f"parts{count}"
        dying(count)
        try:
            run(agent, parts, steps)
        except Killed:
            deaths += 1
        else:
            break
        finally:
            dying(10**9)
        run(agent, parts, steps, resume=True)
        assert weights(parts) == weights(tmp_path / "whole")
        assert curve(parts, "draw") == curve(tmp_path / "whole", "draw")
        assert not check_resumable(parts) or agent == "toy-anytime"
    assert deaths > 10


@pytest.mark.usefixtures("every")
def test_seeds_side_by_side_killed_between_their_folders_resume_together(
    tmp_path: Path, dying: Callable[[int], None]
) -> None:
    def start(name: str, resume: bool = False) -> list[Any]:
        outs = [tmp_path / name / f"seed{seed}" for seed in (4, 9)]
        how: dict[str, Any] = {"seeds": [4, 9], "outs": outs, "steps": 40, "resume": resume}
        return list(train_batch("toy", TASK, **how))

    assert [len(reports) for reports in start("whole")] == [2] * 4
    torn = 0
    for count in range(2, 30):
        dying(count)
        with pytest.raises(Killed):
            start(f"parts{count}")
        dying(10**9)
        seeds = [tmp_path / f"parts{count}" / f"seed{seed}" for seed in (4, 9)]
        reached = [
            max([0, *(g.facts["iterations"] for g in checkpoints.read_generations(s))])
            for s in seeds
        ]
        torn += reached[0] > reached[1] > 0
        start(f"parts{count}", resume=True)
        for seed in seeds:
            assert weights(seed) == weights(tmp_path / "whole" / seed.name)
    assert torn, "no kill fell between two folders"


def test_runs_that_stopped_apart_are_resumed_one_by_one(tmp_path: Path) -> None:
    outs = [tmp_path / "seed4", tmp_path / "seed9"]
    for out, count in zip(outs, (2, 3), strict=True):
        part = train("toy", TASK, steps=50, seed=int(out.name[4:]), out=out)
        for _ in range(count):
            next(part)
        part.close()
    how: dict[str, Any] = {"seeds": [4, 9], "outs": outs, "steps": 50, "resume": True}
    with pytest.raises(ConfigError, match=r"different iterations \(\[2, 3\]\): resume them one"):
        list(train_batch("toy", TASK, **how))
    run("toy", outs[0], 50, 4, resume=True)
    with pytest.raises(ConfigError, match="some of the runs are finished"):
        list(train_batch("toy", TASK, **how))


def test_closing_a_run_leaves_a_checkpoint_and_finishing_it_none(tmp_path: Path) -> None:
    part = train("toy", TASK, steps=50, seed=0, out=tmp_path)
    next(part)
    part.close()
    assert has_checkpoint(tmp_path)
    found = read_training(tmp_path)
    assert found is not None and not found.is_finished
    assert found.facts["total_steps"] == 50
    assert [r.steps for r in run("toy", tmp_path, 50, 0, resume=True)] == [20, 30, 40, 50]
    assert not (tmp_path / "checkpoint").exists()
    saved = load_saved(tmp_path)
    assert (saved.config["kind"], saved.config["steps"], saved.config["toy"]) == ("toy", 50, True)
    assert (tmp_path / "notes.txt").read_bytes() == b"counted"
    assert saved.files == {"notes.txt": b"counted"}
    assert saved_run(tmp_path, None).hashes.keys() == {
        "config.json",
        "weights.safetensors",
        "notes.txt",
    }
    before = weights(tmp_path)
    assert run("toy", tmp_path, 50, 0, resume=True) == []
    assert weights(tmp_path) == before
    for changes, words in (({"steps": 60}, "total_steps"), ({"seed": 1}, "seed")):
        with pytest.raises(ConfigError, match=f"another {words}"):
            run("toy", tmp_path, **{"steps": 50, "seed": 0, "resume": True, **changes})
    with pytest.raises(ConfigError, match="has a run already"):
        run("toy", tmp_path, 50, 0)


def test_a_run_that_does_not_resume_exactly_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pkubench.training.request._check_device", lambda device: None)
    for device, found in (("cpu", None), ("cuda", "approximate")):
        list(train("toy", TASK, steps=10, seed=0, out=tmp_path / device, device=device))
        assert load_saved(tmp_path / device).config.get("resumes") == found


def test_an_anytime_learner_is_saved_when_stopped_and_its_budget_extends(tmp_path: Path) -> None:
    part = train("toy-anytime", TASK, steps=4, seed=0, out=tmp_path / "a")
    assert next(part).steps == 2  # the first iteration is not a line of the curve
    part.close()
    saved = load_saved(tmp_path / "a").config
    assert (saved["iterations"], saved["total_steps"], saved["ended"]) == (2, 4, "stopped")
    assert [r.steps for r in run("toy-anytime", tmp_path / "a", 6, 0, resume=True)] == [4, 6]
    assert load_saved(tmp_path / "a").config["ended"] == "complete"
    before = (tmp_path / "a" / "config.json").read_bytes()
    assert run("toy-anytime", tmp_path / "a", 5, 0, resume=True) == []
    assert (tmp_path / "a" / "config.json").read_bytes() == before
    *_, last = run("toy-anytime", tmp_path / "a", 20, 0, resume=True)
    assert (last.steps, last.ended, last.is_last) == (7, "at seven", True)
    assert load_saved(tmp_path / "a").config["ended"] == "solved"
    assert len(run("toy-anytime", tmp_path / "b", 20, 0)) == 4
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    (tmp_path / "a" / "checkpoint" / "checkpoint.json").unlink()
    assert run("toy-anytime", tmp_path / "a", 30, 0, resume=True) == []


def test_an_interrupted_iteration_of_an_anytime_learner_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("toy-anytime", tmp_path / "whole", 6, 0)
    iterate = toy_module.Anytime.iterate

    def interrupted(self: Any) -> Any:
        figures = iterate(self)
        if self.counters.iterations == 4:
            raise KeyboardInterrupt
        return figures

    with monkeypatch.context() as patch:
        patch.setattr(toy_module.Anytime, "iterate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run("toy-anytime", tmp_path / "parts", 6, 0)
    assert load_saved(tmp_path / "parts").config["iterations"] == 3
    run("toy-anytime", tmp_path / "parts", 6, 0, resume=True)
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "checkpoint/config.json"])
def test_a_checkpoint_of_an_earlier_release_is_refused_clearly(tmp_path: Path, name: str) -> None:
    part = train("toy", TASK, steps=50, seed=0, out=tmp_path / "run")
    next(part)
    part.close()
    (tmp_path / "run" / "checkpoint" / "checkpoint.json").unlink()
    (tmp_path / "run" / name).write_text("{}")
    with pytest.raises(ConfigError, match=r"those of earlier releases it cannot.*another --out"):
        run("toy", tmp_path / "run", 50, 0, resume=True)


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_a_torn_or_changed_checkpoint_is_named(tmp_path: Path, name: str) -> None:
    part = train("toy", TASK, steps=50, seed=0, out=tmp_path)
    next(part)
    part.close()
    [path] = tmp_path.glob(f"checkpoint/*/{name}")
    data = path.read_bytes()
    for broken in (data[:-3], bytes([data[0] ^ 1]) + data[1:]):
        path.write_bytes(broken)
        with pytest.raises(WeightsError, match=f"{name} is torn or changed.*train from scratch"):
            run("toy", tmp_path, 50, 0, resume=True)
    path.unlink()
    with pytest.raises(WeightsError, match=f"has no {name}"):
        run("toy", tmp_path, 50, 0, resume=True)
    for text, words in (("{", "damaged"), ('{"format": 9}', "reads 1"), ("[]", "damaged")):
        (tmp_path / "checkpoint" / "checkpoint.json").write_text(text)
        with pytest.raises(WeightsError, match=words):
            run("toy", tmp_path, 50, 0, resume=True)


def test_a_state_of_another_shape_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        toy_module.Counting, "state", lambda self: {"weight": np.zeros(2), "counters": {}}
    )
    part = train("toy", TASK, steps=50, seed=0, out=tmp_path)
    next(part)
    part.close()
    with pytest.raises(WeightsError, match=r"cannot be resumed \(another shape\)"):
        run("toy", tmp_path, 50, 0, resume=True)


def test_only_the_newest_checkpoint_stays_and_they_are_spaced_by_what_they_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    spacing = checkpoints.Spacing()
    for at, is_due in ((19.0, False), (20.0, True)):
        now[0] = at
        assert spacing.is_due is is_due
    spacing.wrote(3.0)
    for at, is_due in ((79.0, False), (80.0, True)):
        now[0] = at
        assert spacing.is_due is is_due
    for number in (1, 2, 3):
        checkpoints.write([tmp_path], [{"a": np.arange(number)}], [{"iterations": number}])
        there = sorted(path.name for path in (tmp_path / "checkpoint").iterdir())
        assert there == [f"{number:06d}", "checkpoint.json"]
    [newest] = checkpoints.read_generations(tmp_path)
    assert checkpoints.read(tmp_path, newest)["a"].tolist() == [0, 1, 2]


def test_the_callers_generators_are_left_as_they_were(tmp_path: Path) -> None:
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    expected = np.random.random(), random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    run("toy", tmp_path / "a", 30)
    assert (np.random.random(), random.random()) == expected  # noqa: NPY002
    run("toy", tmp_path / "b", 30)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    run("toy", tmp_path / "c", 30, seed=4)
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


def test_train_from_python_is_the_same_session(tmp_path: Path) -> None:
    seen: list[int] = []
    how: dict[str, Any] = {"steps": 50, "seed": 2, "settings": {"stride": 25}, "validate": 0}
    done = pkubench.train(
        "toy", TASK, out=tmp_path / "a", on_progress=lambda p: seen.append(p.steps), **how
    )
    assert seen == [25, 50]
    assert (done.folder, done.steps, done.figures["return"]) == (tmp_path / "a", 50, 25.0)
    assert run("toy", tmp_path / "b", 50, 2, settings={"stride": "25"})
    assert weights(tmp_path / "a") == weights(tmp_path / "b")

    def stop(progress: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pkubench.train("toy", TASK, out=tmp_path / "c", on_progress=stop, **how)
    again = pkubench.train("toy", TASK, out=tmp_path / "c", resume=True, **how)
    assert again.steps == 50 and weights(tmp_path / "a") == weights(tmp_path / "c")
    with pytest.raises(ConfigError, match="is not empty"):
        pkubench.train("toy", TASK, out=tmp_path / "a", **how)
    assert os.listdir(tmp_path / "a")
