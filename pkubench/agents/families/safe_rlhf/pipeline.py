"""The stages of the pipelines: which models are trained, from what, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pkubench.agents.families.safe_rlhf.presets import (
    PipelineConfig,
    PPOPipeline,
    PreferencePipeline,
    SACPOPipeline,
    ShapingPipeline,
)
from pkubench.agents.learner import Context, Stage
from pkubench.errors import ConfigError

REFERENCE, REWARD, COST, HELPFUL, POLICY = "reference", "reward", "cost", "helpful", "policy"
"""Names of stages."""
MODEL = "model"
"""The input that the first stage starts from, if there is one."""


def plan(context: Context, results: Sequence[Any]) -> list[Stage]:
    """Return the stages whose inputs are there: the finished ones, and the next.

    An input ``reference``, ``reward`` or ``cost`` takes the place of the stage of its name.

    Raises:
        ConfigError: a score model is given that is not used; or both a reference and a model to
            make one from are given.
    """
    given = {name: Path(path) for name, path in context.inputs.items()}
    if {MODEL, REFERENCE} <= set(given):
        raise ConfigError("give the input 'model' or 'reference', not both: each is the start")
    if context.settings.scores == "true" and (unused := {REWARD, COST} & set(given)):
        raise ConfigError(
            f"the input {min(unused)!r} has no effect here; used only with scores=learned"
        )
    folders = given | {result.stage.name: Path(result.folder) for result in results}
    found = []
    for stage, needed in _stages(context, folders):
        if stage.name in given:
            continue
        if not all(name in folders for name in needed):
            break
        found.append(stage)
    return found


def _stages(context: Context, folders: dict[str, Path]) -> Iterator[tuple[Stage, tuple[str, ...]]]:
    """Yield every stage with the names of those whose results it is made from."""
    config: PipelineConfig = context.settings

    held_out = {"held_out": list(config.held_out)} if config.held_out else {}

    def stage(
        name: str, agent: str, total: int, settings: dict[str, Any], *needs: str
    ) -> tuple[Stage, tuple[str, ...]]:
        # a stage that tunes one of an earlier name is referenced to that
        inputs = {_INPUTS.get(need, need): folders[need] for need in needs if need in folders}
        return (
            Stage(
                name=name,
                agent=agent,
                task=context.task,
                total=total,
                settings=settings | held_out,
                inputs=inputs,
                env_kwargs=context.env_kwargs,
            ),
            needs,
        )

    first = (MODEL,) if MODEL in folders else ()
    yield stage(REFERENCE, "sft", config.sft_iterations, {}, *first)
    is_learned = config.scores == "learned"
    scores: tuple[str, ...] = (REWARD, COST) if is_learned else ()
    for name in scores:
        yield stage(name, f"{name}-model", config.model_iterations, {}, REFERENCE)
    shared: dict[str, Any] = {"batch_size": config.batch_size, "beta": config.beta}
    if isinstance(config, PPOPipeline):
        settings = {"method": config.method, **shared}
        if isinstance(config, ShapingPipeline):
            settings["kappa"] = config.kappa
        yield stage(POLICY, "token-ppo", context.total, settings, REFERENCE, *scores)
    elif isinstance(config, PreferencePipeline):
        settings = {"method": config.loss, **shared}
        is_first = isinstance(config, SACPOPipeline)
        name = HELPFUL if is_first else POLICY
        yield stage(name, "preference-tuning", context.total, settings, REFERENCE, *scores)
    if isinstance(config, SACPOPipeline):
        settings = settings | {"labels": "safe", "beta": config.beta / config.multiplier}
        yield stage(POLICY, "preference-tuning", context.total, settings, HELPFUL, *scores)


_INPUTS = {HELPFUL: REFERENCE}
"""Stage -> the input that its result is to later ones, where the name is another."""
