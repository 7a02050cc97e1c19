"""DAgger with a value loss: what is imitated, whose returns are learned, what is left to PPO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.components import changed, unused_settings
from pkubench.agents.learner import Context
from pkubench.agents.registry import preset
from pkubench.agents.resolve.saved import load_folder
from pkubench.agents.rl.on_policy.critic import CriticStack
from pkubench.agents.rl.on_policy.distillation import StudentTraining, imitation_loss
from pkubench.agents.rl.rollout import Collector, Rollout
from pkubench.agents.saved.files import load_extra, load_saved
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.errors import ConfigError
from pkubench.tasks.registry import make_task
from pkubench.training.session import train
from tests.agents.toy_envs import SharingEnv, SpeedEnv, task_of

STUDENT = {"num_envs": "8", "hidden": "[16]", "updates": "40", "batch_size": "64"}
TEACHER = {
    **{"num_envs": "8", "rollout_steps": "8", "hidden": "[8]", "minibatches": "2"},
    **{"observation_norm": "false", "action_map": "clip"},
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teacher") / "run"
    list(train("ppo", task_of(SpeedEnv), seed=2, out=out, steps=64, settings=TEACHER))
    return out


def student(out: Path, teacher: Path, iterations: int = 4, **more: Any) -> list[Any]:
    settings = {**STUDENT, **more.pop("settings", {})}
    inputs = {"teacher": teacher, **more.pop("inputs", {})}
    task = more.pop("task", task_of(SpeedEnv))
    found = []
    for report in train(
        "dagger-value",
        task,
        seed=1,
        out=out,
        steps=10_000,
        settings=settings,
        inputs=inputs,
        **more,
    ):
        found.append(report)
        if len(found) == iterations:
            break
    return found


def student_training(teacher: Path, **settings: Any) -> StudentTraining:
    task = task_of(SpeedEnv)
    config = changed(
        preset("dagger-value").config(task),
        {"num_envs": 6, "hidden": (16,), "updates": 3, "batch_size": 32, **settings},
    )
    return StudentTraining(
        Context(
            agent="dagger-value",
            task=task,
            settings=config,
            seed=1,
            total=10_000,
            inputs={"teacher": teacher},
        )
    )


def test_the_loss_by_hand() -> None:
    means = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    wanted = torch.tensor([[0.0, 2.0], [1.0, -1.0]])
    assert imitation_loss(means, wanted).item() == pytest.approx((1 + 0 + 1 + 1) / 4)


def test_what_is_imitated_is_the_teachers_action_at_every_step_that_was_met(teacher: Path) -> None:
    training = student_training(teacher, teacher_decay=0.5)
    acts = load_folder(teacher, task_of(SpeedEnv))
    for share in (1.0, 0.5, 0.25):
        figures = training.iterate()
        assert figures["teacher_share"] == share
        seen, wanted = training.memory[-1]
        expected, _ = acts.act(seen, acts.begin(np.arange(len(seen))), np.ones(len(seen), bool))
        np.testing.assert_allclose(wanted, expected, atol=1e-6)
    assert len(training.memory) == 3
    before = {k: v.clone() for k, v in training.actor.net.state_dict().items()}
    # The loss of a step of the optimiser, with the network as it was, in double precision.
    generator = np.random.default_rng(0)
    generator.bit_generator.state = training.random.bit_generator.state
    rows = [np.concatenate(column) for column in zip(*training.memory, strict=True)]
    chosen = generator.integers(len(rows[0]), size=32)
    net = training.actor.net.double()
    means = net(torch.from_numpy(rows[0][chosen].astype(np.float64))).detach().numpy()
    expected = float(((means - rows[1][chosen]) ** 2).mean())
    net.float().load_state_dict(before)
    training.config = changed(training.config, {"updates": 1})
    assert training._imitate() == pytest.approx(expected, rel=1e-5)
    training.close()


def test_the_critic_learns_the_students_own_discounted_returns(
    teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollouts: list[Rollout] = []
    fits: list[Any] = []
    collect, fit = Collector.collect, CriticStack.fit

    def collected(self: Collector, *args: Any, **more: Any) -> Rollout:
        rollouts.append(collect(self, *args, **more))
        return rollouts[-1]

    def fitted(self: CriticStack, states: Any, raw: Any, targets: Any, *more: Any) -> Any:
        ahead = self.members[0].values(rollouts[-1].next_states, "cpu")
        fits.append((raw[0], targets[0], more[1], ahead))
        return fit(self, states, raw, targets, *more)

    monkeypatch.setattr(Collector, "collect", collected)
    monkeypatch.setattr(CriticStack, "fit", fitted)
    training = student_training(teacher, teacher_decay=0.5, value_norm=False)
    first = training.iterate()
    assert not fits and "value_loss" not in first  # the teacher acted everywhere
    training.iterate()
    training.close()
    (raw, targets, usable, ahead), data = fits[0], rollouts[-1]
    own = data.valid.copy()
    own[:, :3] = False  # half of six environments were the teacher's
    np.testing.assert_array_equal(usable.reshape(own.shape), own)
    values, found = (x.reshape(own.shape).astype(np.float64) for x in (raw, targets))
    gamma, lam = 0.98, 0.95
    for env in range(3, 6):
        trace = 0.0
        for step in reversed(np.flatnonzero(own[:, env])):
            is_last = data.terminated[step, env] or data.truncated[step, env]
            following = ahead[step, env] if is_last else values[step + 1, env]
            if data.terminated[step, env]:
                following = 0.0
            delta = data.rewards[step, env, 0] + gamma * following - values[step, env]
            trace = delta + gamma * lam * (0.0 if is_last else trace)
            assert found[step, env] == pytest.approx(trace + values[step, env], abs=1e-5)


def test_a_student_comes_to_do_what_its_teacher_does_and_resumes_to_the_same_bytes(
    teacher: Path, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    budget = {"steps": 400}

    def run(out: Path, **more: Any) -> list[Any]:
        return list(
            train(
                "dagger-value",
                task_of(SpeedEnv),
                seed=1,
                out=out,
                settings=STUDENT,
                inputs={"teacher": teacher},
                **budget,
                **more,
            )
        )

    reports = run(whole)
    errors = [report.metrics.get("imitation_error", np.nan) for report in reports]
    assert np.isnan(errors[0])  # no step of the first rollout was the student's own
    assert errors[-1] < 0.1 * reports[0].metrics["imitation_loss"]
    assert len(student(parts, teacher, 2)) == 2
    parts = tmp_path / "again"
    running = train(
        "dagger-value",
        task_of(SpeedEnv),
        seed=1,
        out=parts,
        settings=STUDENT,
        inputs={"teacher": teacher},
        **budget,
    )
    next(running), next(running)
    running.close()
    run(parts, resume=True)
    first, second = load_saved(whole), load_saved(parts)
    for name, tensor in first.tensors.items():
        np.testing.assert_array_equal(second.tensors[name], tensor)
    # PPO begins with the student's actor, deviation and critics; so does a student.
    ppo = {**TEACHER, "hidden": "[16]", "activation": "relu", "init": "orthogonal"}
    ppo |= {"actor_lr": "1e-12", "critic_lr": "1e-12"}
    after = tmp_path / "ppo"
    task, inputs = task_of(SpeedEnv), {"start": whole}
    list(train("ppo", task, seed=0, out=after, steps=64, settings=ppo, inputs=inputs))
    begun = load_saved(after).tensors
    for name, tensor in first.tensors.items():
        assert begun[name] == pytest.approx(tensor, abs=1e-6)
    assert begun["agent.log_std"] == pytest.approx(np.full(1, np.log(0.06)), abs=1e-5)
    assert load_extra(after, "critics").keys() == load_extra(whole, "critics").keys()


def test_a_policy_that_sees_a_cloud_learns_from_one_that_is_shown_the_state(tmp_path: Path) -> None:
    knows, shown = make_task("GraspSphere-v0"), "GraspSphere-v0+observation=cloud+points=16"
    quick = {**TEACHER, "num_envs": "2", "rollout_steps": "2", "minibatches": "1"}
    list(train("ppo", knows, seed=0, out=tmp_path / "knows", steps=4, settings=quick))
    cloud = {"encoder": "scene-cloud", "points": "16", "point_hidden": "[8]", "cloud_hidden": "[8]"}
    small = {
        "num_envs": "2",
        "minibatches": "1",
        "hidden": "[16]",
        "updates": "2",
        "batch_size": "8",
    }
    out, inputs = tmp_path / "sees", {"teacher": tmp_path / "knows"}
    task = make_task(shown)
    settings = {**small, **cloud}
    list(train("dagger-value", task, seed=0, out=out, steps=1, settings=settings, inputs=inputs))
    assert load_saved(out).tensors["agent.encoder.points.linears.0.weight"].shape == (8, 14)
    config = changed(preset("dagger-value").config(task), {k: _value(v) for k, v in small.items()})
    context = Context(
        agent="dagger-value",
        task=task,
        settings=changed(config, {k: _value(v) for k, v in cloud.items()}),
        seed=0,
        total=1,
        inputs=inputs,
    )
    training = StudentTraining(context)
    try:
        assert training.reads_state
        training.env.reset([5, 6])
        training._teacher_state = training.teacher.begin(np.arange(2))
        training._behave(training.env.reset([5, 6])[0], {})
        state = training.env.state()
        teacher: Any = load_folder(tmp_path / "knows", knows)
        expected, _ = teacher.act(state, teacher.begin(np.arange(2)), np.ones(2, bool))
        assert state.shape == (2, 300)
        np.testing.assert_array_equal(training._wanted[-1], expected)
    finally:
        training.close()


def _value(text: str) -> Any:
    import json

    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return text
    return tuple(found) if isinstance(found, list) else found


def test_what_students_cannot_do_is_refused(teacher: Path, tmp_path: Path) -> None:
    for name, value in (
        ("observation_norm", True),
        ("rollout_steps", 8),
        ("rollout", "steps"),
        ("teacher_share", 1.5),
        ("kept", 0),
    ):
        with pytest.raises(ConfigError):
            changed(preset("dagger-value").config(task_of(SpeedEnv)), {name: value})
    config = preset("dagger-value").config(task_of(SpeedEnv))
    wanted = "a learner that takes policy gradients, such as ppo"
    assert dict(unused_settings(config, ["clip", "gamma"])) == {"clip": wanted}
    with pytest.raises(ConfigError, match="needs the input 'teacher'"):
        list(train("dagger-value", task_of(SpeedEnv), seed=0, out=tmp_path / "x", steps=1))
    with pytest.raises(ConfigError, match="several"):
        student(tmp_path / "y", teacher, task=task_of(SharingEnv))
    with pytest.raises(ConfigError, match="with other actions"):
        student(tmp_path / "z", teacher, task=make_task("GraspSphere-v0"))
    assert SOLE_AGENT in load_saved(teacher).config["members"]
