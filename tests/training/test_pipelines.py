"""Pipelines: a toy of two stages, killed in each, ends with the same bytes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import pkubench
from pkubench.agents.saved.files import load_saved
from pkubench.errors import ConfigError
from pkubench.training.session import train
from tests.training import toys as toy_module
from tests.training.toys import toy_task, weights

pytestmark = pytest.mark.usefixtures("toys")
ROOT = Path(__file__).parents[2]
TASK = toy_task()
FIRST, SECOND = Path("stages/01-first"), Path("stages/02-second")


def run(out: Path, resume: bool = False, **more: Any) -> list[Any]:
    return list(train("toy-plan", TASK, steps=60, seed=3, out=out, resume=resume, **more))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    with toy_module.registered():
        reports = run(out)
    assert [(r.stage, r.steps) for r in reports] == [
        *(("first", n) for n in (10, 20, 30, 40)),
        *(("second", n) for n in (10, 20, 30, 40, 50, 60)),
    ]
    return out


def test_stages_are_ordinary_runs_and_the_last_agent_is_the_pipelines(whole: Path) -> None:
    first, second, last = (load_saved(whole / p) for p in (FIRST, SECOND, Path()))
    assert (first.config["agent"], second.config["agent"]) == ("toy", "toy-from")
    assert second.config["inputs"] == {"start": first.config["weights_sha256"]}
    assert second.config["settings"]["gamma"] == 0.5
    assert weights(whole) == weights(whole / SECOND)
    assert last.tensors["weight"][0] > first.tensors["weight"][0]
    assert (last.config["agent"], last.config["kind"]) == ("toy-plan", "toy-from")
    assert [stage["name"] for stage in last.config["stages"]] == ["first", "second"]
    assert last.config["stages"][1]["inputs"] == second.config["inputs"]
    assert (whole / "notes.txt").read_bytes() == b"counted"


PROGRAM = """
import sys, time
from pathlib import Path
from pkubench.training import checkpoints
from pkubench.training.session import train
from tests.training.toys import register_toys, toy_task

register_toys()
checkpoints.Spacing.is_due = True
out, stage, resume = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "resume"
for report in train("toy-plan", toy_task(), steps=60, seed=3, out=out, resume=resume):
    if report.stage == stage and report.steps == 20:
        print("here", flush=True)
        time.sleep(600)
"""


def test_a_pipeline_killed_in_each_stage_resumes_to_the_same_bytes(
    tmp_path: Path, whole: Path
) -> None:
    out = tmp_path / "parts"
    for stage, resume in (("first", "no"), ("second", "resume")):
        words = [sys.executable, "-c", PROGRAM, str(out), stage, resume]
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "here\n"
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        assert not (out / "config.json").exists()
    finished = (out / FIRST / "weights.safetensors").stat().st_mtime_ns
    time.sleep(0.01)
    rest = run(out, resume=True)
    assert [(r.stage, r.steps) for r in rest] == [("second", n) for n in (30, 40, 50, 60)]
    for part in (FIRST, SECOND, Path()):
        assert weights(out / part) == weights(whole / part)
    assert (out / FIRST / "weights.safetensors").stat().st_mtime_ns == finished
    assert run(out, resume=True) == []


def test_a_stage_is_not_resumed_from_other_inputs_or_another_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = train("toy-plan", TASK, steps=60, seed=3, out=tmp_path)
    while next(part).stage == "first":
        pass
    part.close()
    with monkeypatch.context() as patch:
        plan = toy_module.plan_two
        patch.setattr(toy_module, "plan_two", lambda c, r: [plan(c, r)[-1]])
        with pytest.raises(ConfigError, match=r"no longer begins with its finished stages \(first"):
            run(tmp_path, resume=True)
    other = load_saved(tmp_path / FIRST)
    from pkubench.agents.saved.files import save_agent

    save_agent(tmp_path / FIRST, other.config, {"weight": other.tensors["weight"] + 1})
    with pytest.raises(ConfigError, match="other settings: start="):
        run(tmp_path, resume=True)


def test_a_pipeline_trains_from_python_and_is_one_run(tmp_path: Path) -> None:
    done = pkubench.train("toy-plan", TASK, steps=60, seed=3, out=tmp_path / "a", validate=0)
    assert load_saved(done.folder).config["total_steps"] == 60
    facts = json.loads((tmp_path / "a" / "training.json").read_text())
    assert facts["command"].startswith("pkubench train toy-plan ")
    with pytest.raises(ConfigError, match="another seed"):
        list(train("toy-plan", TASK, steps=60, seed=4, out=tmp_path / "a", resume=True))
    with pytest.raises(
        ConfigError, match=r"toy-from needs the input 'start' \(--input start=PATH\): weights"
    ):
        list(train("toy-from", TASK, steps=60, seed=4, out=tmp_path / "b"))
