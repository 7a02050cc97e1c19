"""DAgger with a value loss: what is imitated, on which steps, and what a student leaves to PPO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.agents.registry import preset
from pkubench.agents.saved.files import load_extra, load_saved
from pkubench.errors import ConfigError
from pkubench.tasks.registry import make_task
from pkubench.training.session import train

TASK = make_task("GraspSphere-v0")
DEMO = {"num_envs": "8", "demo_envs": "16", "demo_rounds": "3", "demo_share": "0.1"}
STUDENT = {"num_envs": "4", "hidden": "[16]", "updates": "20", "batch_size": "64"}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teacher") / "run"
    list(train("demograsp", TASK, seed=2, out=out, steps=1, settings=DEMO))
    return out


def student(out: Path, teacher: Path, steps: int = 1600, **more: Any) -> list[Any]:
    settings = {**STUDENT, **more.pop("settings", {})}
    inputs = {"teacher": teacher}
    return list(
        train(
            "dagger-value",
            TASK,
            seed=1,
            out=out,
            steps=steps,
            settings=settings,
            inputs=inputs,
            **more,
        )
    )


def test_a_student_imitates_on_its_own_steps_and_resumes_to_the_same_bytes(
    teacher: Path, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    reports = student(whole, teacher)
    shares = [report.metrics["teacher_share"] for report in reports]
    assert shares == pytest.approx([1.0, 0.7])
    losses = [report.metrics["imitation_loss"] for report in reports]
    assert losses[1] < losses[0]
    # In the first rollout the teacher acts in every environment, so no error is the student's own.
    assert "imitation_error" not in reports[0].metrics and "imitation_error" in reports[1].metrics
    running = train(
        "dagger-value",
        TASK,
        seed=1,
        out=parts,
        steps=1600,
        settings=STUDENT,
        inputs={"teacher": teacher},
    )
    next(running)
    running.close()
    student(parts, teacher, resume=True)
    first, second = load_saved(whole), load_saved(parts)
    assert first.config["weights_sha256"] == second.config["weights_sha256"]
    # PPO begins with the student's actor, deviation and critics.
    after = tmp_path / "ppo"
    ppo = {
        "num_envs": "4",
        "rollout_steps": "4",
        "hidden": "[16]",
        "activation": "relu",
        "init": "orthogonal",
        "observation_norm": "false",
        "action_map": "clip",
        "minibatches": "1",
        "epochs": "1",
        "critic_epochs": "1",
        "actor_lr": "1e-12",
    }
    list(train("ppo", TASK, seed=0, out=after, steps=16, settings=ppo, inputs={"start": whole}))
    begun = load_saved(after).tensors
    for name, tensor in first.tensors.items():
        assert begun[name] == pytest.approx(tensor, abs=1e-6)
    assert begun["agent.log_std"] == pytest.approx(np.full(24, np.log(0.06)), abs=1e-5)
    assert load_extra(after, "critics").keys() == load_extra(whole, "critics").keys()


def test_settings_that_students_do_not_have_are_refused() -> None:
    for name, value in (
        ("observation_norm", True),
        ("rollout_steps", 8),
        ("rollout", "steps"),
        ("teacher_share", 1.5),
        ("memory", 0),
    ):
        from pkubench.agents.components import changed

        with pytest.raises(ConfigError):
            changed(preset("dagger-value").config(TASK), {name: value})
    with pytest.raises(ConfigError, match="needs the input 'teacher'"):
        list(train("dagger-value", TASK, seed=0, out=Path("x"), steps=1))
