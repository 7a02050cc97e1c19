"""Pipelines: agents made by several trainings, each an ordinary run in ``stages/NN-NAME``.

A family's ``plan`` is a pure function: from the context and the results of the finished stages it
returns the stages so far, the finished ones first, and it is called again after each. The pipeline
ends when it adds no stage, and the last stage's agent is the pipeline's. When a run is resumed, a
finished stage is skipped if what it was made from is the same to the byte.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pkubench.agents.components import as_plain
from pkubench.agents.learner import Stage
from pkubench.agents.registry import import_function
from pkubench.agents.saved.files import CONFIG, load_saved, save_agent
from pkubench.agents.saved.runs import begin_training, is_nonempty
from pkubench.errors import ConfigError
from pkubench.training.progress import Progress
from pkubench.training.request import Request, request, sha256_of
from pkubench.training.session import run_request
from pkubench.training.validation import is_exact

STAGES = "stages"


class StageResult(NamedTuple):
    """The result of a finished stage; ``plan`` receives them in the order of the stages."""

    stage: Stage
    folder: Path
    config: dict[str, Any]
    """Its ``config.json``: what validation found, the SHA-256 of its weights, ..."""


def run_pipeline(
    asked: Request, out: Path, *, resume: bool = False
) -> Generator[Progress, None, None]:
    """Train the stages of a pipeline one after another into ``out``; yield their reports.

    Raises:
        ConfigError: ``out`` holds another run; or a plan does not begin with the finished stages.
        PkubenchError: as the session of a stage.
    """
    seed = asked.seeds[0]
    identity = {**asked.identity(seed), "total_steps": asked.total}
    begin_training(out, identity, asked.command(), resume=resume)
    if (out / CONFIG).is_file():
        return
    plan = import_function(str(asked.family.plan))
    results: list[StageResult] = []
    while True:
        stages: Sequence[Stage] = plan(asked.context(seed), tuple(results))
        if [stage.name for stage in stages[: len(results)]] != [r.stage.name for r in results]:
            raise ConfigError(
                f"the plan of {asked.agent} no longer begins with its finished stages "
                f"({', '.join(r.stage.name for r in results)})"
            )
        if len(stages) == len(results):
            break
        stage = stages[len(results)]
        folder = out / STAGES / f"{len(results) + 1:02d}-{stage.name}"
        step = _request(asked, stage, seed)
        for reports in run_request(step, [folder], resume=is_nonempty(folder)):
            yield reports[0]._replace(stage=stage.name)
        results.append(StageResult(stage, folder, load_saved(folder).config))
    _save(asked, out, identity, results)


def _request(asked: Request, stage: Stage, seed: int) -> Request:
    return request(
        stage.agent,
        stage.task,
        {name: _text(value) for name, value in stage.settings.items()},
        steps=stage.total,
        seeds=[seed],
        device=asked.device,
        validation=None if is_exact(stage.task) else asked.validation,
        track=asked.track,
        inputs=dict(stage.inputs),
        env_kwargs=dict(stage.env_kwargs),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _save(
    asked: Request, out: Path, identity: dict[str, Any], results: Sequence[StageResult]
) -> None:
    """Save the last stage's agent as the pipeline's, with what each stage was."""
    if not results:
        raise ConfigError(f"the plan of {asked.agent} has no stages")
    last = load_saved(results[-1].folder)
    stages = [
        {
            "name": result.stage.name,
            "agent": result.stage.agent,
            "task": result.stage.task.id,
            "total_steps": result.stage.total,
            "weights_sha256": sha256_of(result.folder),
            "inputs": result.config.get("inputs", {}),
        }
        for result in results
    ]
    about = {
        **identity,
        "settings": as_plain(asked.config),
        "command": asked.command(),
        "stages": stages,
        "seconds": round(sum(result.config.get("seconds", 0.0) for result in results), 1),
    }
    if asked.family.unit == "environment_steps":
        about["steps"] = sum(result.config.get("steps", 0) for result in results)
    save_agent(out, {**last.config, **about}, last.tensors, last.files)
