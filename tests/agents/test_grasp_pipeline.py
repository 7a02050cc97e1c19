"""Stages of grasping: their order and budgets, what they take from geometry, and who acts where."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pkubench.agents.components import changed
from pkubench.agents.families.grasp.pipeline import plan
from pkubench.agents.families.specialists.loading import RoutedAgent
from pkubench.agents.families.specialists.tasks import read_tasks
from pkubench.agents.families.specialists.training import SpecialistsTraining
from pkubench.agents.learner import Context
from pkubench.agents.registry import preset
from pkubench.agents.resolve.saved import load_folder
from pkubench.agents.saved.files import load_saved
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.envs.core.registry import make_batch
from pkubench.errors import ConfigError
from pkubench.tasks.registry import make_task
from pkubench.training.session import train

TASK = make_task("GraspSmall-v0")
FEW = {"splits": "train", "objects": 3}
STAGES = (
    *("01-geometry", "02-level1", "03-level2", "04-generalist", "05-specialists1"),
    "06-distilled1",
)
PPO = {
    **{"num_envs": "2", "rollout_steps": "4", "hidden": "[8]", "minibatches": "1"},
    **{"observation_norm": "false", "action_map": "clip", "layer_norm": "false"},
    **{"activation": "relu", "init": "orthogonal", "value_norm": "true"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A generalist that hardly trained, and geometry."""
    folder = tmp_path_factory.mktemp("runs")
    how: dict[str, Any] = {"env_kwargs": FEW, "seed": 0}
    list(train("ppo", TASK, out=folder / "general", steps=8, settings=PPO, **how))
    settings = {"points": "32", "clusters": "2", "levels": "[1]"}
    out = folder / "geometry"
    list(train("task-geometry", TASK, out=out, steps=3, settings=settings, **how))
    return folder / "general", out


def test_seeds_draw_from_the_named_tasks_as_often_as_from_all() -> None:
    env: Any = make_batch("GraspSmall-v0", 400, **FEW, tasks=[[0, 0], [0, 1], [2, 0]])
    try:
        _, info = env.reset(range(400))
        items = env.items
        chance = [np.diff(item.poses.chance, prepend=0.0) for item in items]
        weights = np.array([chance[0][0], chance[0][1], chance[2][0]])
        share = (info["object"] == 2).mean()
        assert share == pytest.approx(weights[2] / weights.sum(), abs=0.08)
        assert set(info["object"].tolist()) <= {0, 2}
        # The height of the goal says which pose it is: 0.2 m above where the object rests.
        rest = env.goal[:, 2] - 0.6 - 0.2
        allowed = [items[0].poses.height[:2], items[2].poses.height[:1]]
        for number, height in zip(info["object"].tolist(), rest, strict=True):
            assert np.abs(allowed[number // 2] - height).min() < 1e-9
        _, info = env.reset([0, 1], np.array([0, 1]), {"object": [1, 1]})
        assert info["object"][:2].tolist() == [1, 1]  # an option goes before
    finally:
        env.close()
    for wrong in ([], [[0]], [[9, 0]], [[0, 999]], "all", [[0.5, 1]]):
        with pytest.raises(ConfigError, match="task"):
            make_batch("GraspSmall-v0", 1, **FEW, tasks=wrong)


def test_geometry_names_every_object_in_every_pose(runs: tuple[Path, Path]) -> None:
    saved = load_saved(runs[1])
    env: Any = make_batch("GraspSmall-v0", 1, **FEW)
    try:
        every = [[k, p] for k, item in enumerate(env.items) for p in range(len(item.poses.chance))]
        assert saved.config["tasks"] == every
        codes = [env.code(k) for k, _ in every]
        np.testing.assert_allclose(saved.tensors["object_codes"], codes, rtol=1e-6)
    finally:
        env.close()
    levels = saved.config["levels"]
    assert [len(level) for level in levels] == [1, len(every)]
    assert set(saved.config["labels"]) == {0, 1}
    assert saved.tensors["features"].shape == (len(every), 64)
    with pytest.raises(ConfigError, match="not a run of task-geometry"):
        read_tasks(runs[0])


class Constant:
    """Acts by its own number, and remembers the seeds of its episodes."""

    def __init__(self, number: int) -> None:
        self.number = number

    def begin(self, seeds: Any) -> Any:
        return tuple(seeds)

    def act(self, observation: Any, state: Any, active: Any) -> Any:
        assert len(observation) == len(state) == len(active)
        return np.full((len(observation), 24), self.number, np.float32), state


def test_the_specialist_of_a_task_acts_whatever_the_yaw(runs: tuple[Path, Path]) -> None:
    known = read_tasks(runs[1])
    labels = np.arange(len(known.pairs)) % 3  # neighbors belong to different ones
    agent = RoutedAgent([Constant(k) for k in range(3)], labels, (known.codes, known.up))
    count = len(known.pairs)
    env = make_batch("GraspSmall-v0", 2 * count, **FEW)
    try:
        pairs = np.array(known.pairs * 2)
        options = {"object": pairs[:, 0], "pose": pairs[:, 1]}
        seen = env.reset(range(2 * count), options=options)[0][SOLE_AGENT]
        state = agent.begin(np.arange(2 * count))
        actions, state = agent.act(seen, state, np.ones(2 * count, bool))
        assert actions[:, 0].tolist() == [*labels, *labels]
        # Later observations change nothing: the choice is made at the first.
        again, _ = agent.act(seen[::-1], state, np.ones(2 * count, bool))
        np.testing.assert_array_equal(again, actions)
    finally:
        env.close()


def specialists(runs: tuple[Path, Path], **settings: Any) -> SpecialistsTraining:
    small = {"num_envs": 2, "rollout_steps": 4, "hidden": (8,), "minibatches": 1}
    config = changed(preset("grasp-specialists").config(TASK), {**small, **settings})
    inputs = {"start": runs[0], "geometry": runs[1]}
    return SpecialistsTraining(
        Context(
            agent="grasp-specialists",
            task=TASK,
            settings=config,
            seed=3,
            total=40,
            inputs=inputs,
            env_kwargs=FEW,
        )
    )


def test_specialists_train_on_their_own_tasks_from_the_same_start(runs: tuple[Path, Path]) -> None:
    training = specialists(runs)
    start = load_saved(runs[0]).tensors
    first = training.export().tensors
    for name, tensor in start.items():
        for k in range(2):
            np.testing.assert_array_equal(first[f"{k}.{name}"], tensor)
    labels = np.array(load_saved(runs[1]).config["labels"])
    pairs = np.array(load_saved(runs[1]).config["tasks"])
    numbers = []
    while training.counters.environment_steps < 40:
        group = {tuple(pair) for pair in pairs[labels == len(training.kept)].tolist()}
        assert {tuple(pair) for pair in training.current.env.unwrapped._tasks._pairs.tolist()} == (  # type: ignore[attr-defined]
            group
        )
        numbers.append(training.iterate()["specialist"])
    assert numbers == [0.0, 0.0, 0.0, 1.0, 1.0]  # 20 steps each, by eights
    last = training.export().tensors
    moved = [
        max(float(np.abs(last[f"{k}.{name}"] - of).max()) for name, of in start.items())
        for k in range(2)
    ]
    assert min(moved) > 0.0
    training.close()
    control = specialists(runs, partition="random", partition_seed=5)
    assert sorted(np.bincount(control.labels)) == sorted(np.bincount(labels))
    control.close()


def test_specialists_resume_and_act(runs: tuple[Path, Path], tmp_path: Path) -> None:
    settings = {"num_envs": "2", "rollout_steps": "4", "hidden": "[8]", "minibatches": "1"}
    inputs = {"start": runs[0], "geometry": runs[1]}
    how: dict[str, Any] = {"seed": 3, "steps": 40, "settings": settings, "inputs": inputs}
    how["env_kwargs"] = FEW
    list(train("grasp-specialists", TASK, out=tmp_path / "whole", **how))
    running = train("grasp-specialists", TASK, out=tmp_path / "parts", **how)
    for _ in range(4):  # into the second specialist
        next(running)
    running.close()
    list(train("grasp-specialists", TASK, out=tmp_path / "parts", resume=True, **how))
    whole, parts = (load_saved(tmp_path / name) for name in ("whole", "parts"))
    for name, tensor in whole.tensors.items():
        np.testing.assert_array_equal(parts.tensors[name], tensor)
    agent: Any = load_folder(tmp_path / "whole", TASK)
    assert isinstance(agent, RoutedAgent) and len(agent.members) == 2


def planned(task: str, total: int, agent: str = "unidexgrasp", **settings: Any) -> list[Any]:
    """Return all stages, as if each had been trained."""
    config = changed(preset(agent).config(make_task(task)), settings)
    context = Context(agent=agent, task=make_task(task), settings=config, seed=0, total=total)
    found = {"tasks": [[0, 0], [0, 1], [1, 0]], "levels": [[1], [0, 1], [0, 1, 2]]}
    found["category_levels"] = [[0], [0, 1, 2]]
    results: list[Any] = []
    while len(stages := plan(context, results)) > len(results):
        assert [s.name for s in stages[:-1]] == [r.stage.name for r in results]
        folder = Path("stages") / stages[-1].name
        results.append(SimpleNamespace(stage=stages[-1], folder=folder, config=found))
    return [result.stage for result in results]


def test_the_plan_is_gigsl_and_its_steps_are_the_budget() -> None:
    stages = planned("GraspSmall-v0", 1_000_000, rounds=2)
    names = [stage.name for stage in stages]
    assert names == [
        *("demonstration", "clone", "geometry", "level1", "level2", "generalist"),
        *("specialists1", "distilled1", "specialists2", "distilled2"),
    ]
    steps = sum(stage.total for stage in stages if stage.name != "geometry")
    assert steps == pytest.approx(1_000_000, abs=10)
    by_name = {stage.name: stage for stage in stages}
    assert by_name["level1"].env_kwargs == {"tasks": [[0, 1]]}
    assert by_name["level2"].env_kwargs == {"tasks": [[0, 0], [0, 1]]}
    assert by_name["generalist"].env_kwargs == {}
    starts = {name: str(by_name[name].inputs.get("start", "")) for name in names}
    assert starts["level1"] == "stages/clone" and starts["generalist"] == "stages/level2"
    assert starts["specialists1"] == "stages/generalist" == starts["distilled1"]
    assert starts["specialists2"] == "stages/distilled1" == starts["distilled2"]
    assert str(by_name["distilled2"].inputs["teacher"]) == "stages/specialists2"
    # Only PPO that begins with the clone waits for its critic.
    waits = [name for name in names if by_name[name].settings.get("critic_warmup")]
    assert waits == ["level1"]


def test_controls_spheres_and_clouds_have_the_stages_they_need() -> None:
    gsl = planned("GraspSmall-v0", 1000, "gsl")
    assert [stage.name for stage in gsl] == [
        *("demonstration", "clone", "geometry", "generalist", "specialists1", "distilled1")
    ]
    assert gsl[4].settings["partition"] == "random"
    assert [stage.name for stage in planned("GraspSphere-v0", 1000)] == [
        *("demonstration", "clone", "generalist")
    ]
    sees = planned("GraspSmall-v0+observation=cloud+points=64", 1000)
    assert sees[-1].name == "vision" and sees[-1].settings["points"] == 64
    assert str(sees[-1].inputs["teacher"]) == "stages/specialists1"
    assert {stage.task.id for stage in sees[:-1]} == {"pkubench/GraspSmall-v0"}
    assert "+observation=cloud" in sees[-1].task.id
    alone = planned("GraspSmall-v0", 1000, warm_start="none", curriculum="none", rounds=0)
    assert [stage.name for stage in alone] == ["generalist"]
    assert alone[0].inputs == {} and alone[0].total == 1000


def test_a_pipeline_runs_through_and_resumes_at_its_stage(tmp_path: Path) -> None:
    settings = {
        **{"warm_start": "none", "geometry_steps": "2", "clusters": "2", "hidden": "[8]"},
        **{"num_envs": "4", "rollout_steps": "4", "student_envs": "4", "student_updates": "2"},
    }
    out = tmp_path / "run"
    how: dict[str, Any] = {"seed": 0, "steps": 200, "settings": settings, "env_kwargs": FEW}
    running = train("unidexgrasp", TASK, out=out, **how)
    seen = []
    for report in running:
        seen.append(report.stage)
        if report.stage == "specialists1":
            break
    running.close()
    before = load_saved(out / "stages/01-geometry").config["weights_sha256"]
    seen += [report.stage for report in train("unidexgrasp", TASK, out=out, resume=True, **how)]
    assert list(dict.fromkeys(seen)) == [
        *("geometry", "level1", "level2", "generalist", "specialists1", "distilled1")
    ]
    saved = load_saved(out)
    assert [stage["name"] for stage in saved.config["stages"]] == list(dict.fromkeys(seen))
    assert load_saved(out / "stages/01-geometry").config["weights_sha256"] == before
    assert saved.config["stages"][0]["weights_sha256"] == before
    last = load_saved(out / "stages/06-distilled1")
    for name, tensor in last.tensors.items():
        np.testing.assert_array_equal(saved.tensors[name], tensor)
    # Steps are those of all stages: each ends with the update in which its share is spent.
    steps = [load_saved(out / "stages" / name).config.get("steps", 0) for name in STAGES]
    assert saved.config["steps"] == sum(steps) >= 200
    assert load_folder(out, TASK) is not None
