"""The stages of the pipelines: which trainings there are, from what, in which order.

GiGSL (UniDexGrasp++, Wan et al. 2023, Algorithm 1) with a demonstration before it::

    demonstration -> clone -> geometry -> level by level -> generalist
      -> (specialists by PPO -> distilled into the generalist) x rounds -> student that sees a cloud

Each is an ordinary run in ``stages/NN-NAME``, made from the folders of those before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pkubench.agents.families.grasp.presets import OF_PPO, PipelineConfig
from pkubench.agents.learner import Context, Stage
from pkubench.agents.registry import preset

DEMONSTRATION, CLONE, GEOMETRY, GENERALIST = "demonstration", "clone", "geometry", "generalist"
SPECIALISTS, DISTILLED, VISION = "specialists", "distilled", "vision"
"""Names of stages; the rounds are numbered from 1."""
TASKS = "tasks"
"""Of the environment: the pairs of object and pose that seeds draw from."""
_OBSERVATION, _POINTS, _ALL_POINTS = "observation", "points", 1024


def plan(context: Context, results: Sequence[Any]) -> list[Stage]:
    """Return the finished stages, and the next."""
    done = {result.stage.name: result for result in results}
    stages: list[Stage] = []
    for stage in _stages(context, done):
        stages.append(stage)
        if stage.name not in done:
            break
    return stages


def _stages(context: Context, done: Mapping[str, Any]) -> Iterator[Stage]:
    """Yield the stages in order; what follows a stage is asked for when it is done."""
    config: PipelineConfig = context.settings
    name, variant = _variant(context.task.id)
    sees = _OBSERVATION in variant
    task = replace(context.task, id=name) if sees else context.task
    shares = config.shares(sees)

    def folder(of: str) -> Path:
        return Path(done[of].folder)

    def steps(kind: str, parts: float = 1.0) -> int:
        return max(1, round(shares[kind] * parts * context.total))

    def stage(of: str, agent: str, total: int, settings: Any, **inputs: Path) -> Stage:
        return Stage(
            name=of,
            agent=agent,
            task=task,
            total=total,
            settings=settings,
            env_kwargs=context.env_kwargs,
            inputs=inputs,
        )

    student = {
        **config.network(),
        "num_envs": config.student_envs,
        "updates": config.student_updates,
    }
    last: dict[str, Path] = {}
    if config.warm_start == "demonstration":
        yield stage(DEMONSTRATION, "demograsp", steps(DEMONSTRATION), {})
        # what a script does depends on the time, which is seen where the script itself acts
        settings = {**student, "teacher_share": 0.9, "teacher_decay": 1.0, "actor_lr": 1e-3}
        inputs = {"teacher": folder(DEMONSTRATION)}
        yield stage(CLONE, "dagger-value", steps(CLONE), settings, **inputs)
        last = {"start": folder(CLONE)}
    levels: list[list[list[int]]] = []
    if config.rounds or config.curriculum != "none":
        groups = {} if config.clusters is None else {"clusters": config.clusters}
        total = config.geometry_steps or preset("task-geometry").config(task).gradient_steps
        yield stage(GEOMETRY, "task-geometry", total, groups)
        levels = _levels(config.curriculum, done[GEOMETRY].config)
    policy = {**OF_PPO, **config.policy()}
    first = {**policy, "critic_warmup": config.critic_warmup if last else 0}
    for level, pairs in enumerate(levels, 1):
        own, how = f"level{level}", first if level == 1 else policy
        part = stage(own, "ppo", steps(GENERALIST, config.level), how, **last)
        yield replace(part, env_kwargs={**part.env_kwargs, TASKS: pairs})
        last = {"start": folder(own)}
    rest = 1.0 - config.level * len(levels)
    how = policy if levels else first
    yield stage(GENERALIST, "ppo", steps(GENERALIST, rest), how, **last)
    newest = GENERALIST
    for number in range(1, config.rounds + 1):
        own, distilled = f"{SPECIALISTS}{number}", f"{DISTILLED}{number}"
        settings = {**config.policy(), "partition": config.partition}
        inputs = {"start": folder(newest), "geometry": folder(GEOMETRY)}
        total = steps(SPECIALISTS, 1.0 / config.rounds)
        yield stage(own, "grasp-specialists", total, settings, **inputs)
        total = steps("distillation", 1.0 / config.rounds)
        # the generalist knows enough to act itself from the first rollout on
        settings = {**student, "teacher_share": 0.0}
        inputs = {"start": folder(newest), "teacher": folder(own)}
        yield stage(distilled, "dagger-value", total, settings, **inputs)
        newest = distilled
    if sees:
        # the specialists of the last round teach; without rounds, the generalist
        teacher = folder(f"{SPECIALISTS}{config.rounds}" if config.rounds else newest)
        settings = _vision(config, int(variant.get(_POINTS, _ALL_POINTS)))
        part = stage(VISION, "dagger-value", steps(VISION), settings, teacher=teacher)
        yield replace(part, task=context.task)


def _variant(task_id: str) -> tuple[str, dict[str, str]]:
    """Return a task's name without what is said of its observation, and that."""
    name, *parts = task_id.split("+")
    settings = dict(part.split("=", 1) for part in parts)
    seen = {key: settings.pop(key) for key in (_OBSERVATION, _POINTS) if key in settings}
    return "+".join((name, *(f"{key}={value}" for key, value in settings.items()))), seen


def _levels(curriculum: str, found: Mapping[str, Any]) -> list[list[list[int]]]:
    """Return the pairs of object and pose of each level but the last, which has all."""
    if curriculum == "none":
        return []
    levels = found["levels" if curriculum == "geometry" else "category_levels"]
    return [[found["tasks"][k] for k in level] for level in levels[:-1]]


def _vision(config: PipelineConfig, points: int) -> dict[str, Any]:
    """Return the settings of the student that sees a cloud."""
    return {
        **config.network(),
        "encoder": "scene-cloud",
        "points": points,
        "point_hidden": list(config.point_hidden),
        "cloud_hidden": [config.point_hidden[-1]],
        "num_envs": config.vision_envs,
        "updates": config.vision_updates,
        "batch_size": 256,
        "kept": 4,
    }
