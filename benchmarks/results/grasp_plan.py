"""How long the rows of ``docs/results/grasp.md`` take: expected core seconds of each run.

Rates were measured for some seconds each on one core of a machine that was busy with other work, so
that a plan is rather too long than too short.
"""

from __future__ import annotations

from benchmarks.results.rows import Row, config_of
from pkubench.agents.families.grasp.presets import PipelineConfig
from pkubench.tasks.registry import make_task

_RATES = {
    "demograsp": 8_000.0,
    "ppo": 3_800.0,
    "grasp-specialists": 3_500.0,
    "dagger-value": 2_000.0,
}
"""Agent -> steps of the environment per core second, on many objects."""
_VISION = 500.0
"""Of a student that sees a cloud of 256 points."""
_SPHERE = {"ppo": 4_600.0, "demograsp": 12_000.0, "dagger-value": 1_400.0}
_SEARCH, _GEOMETRY = 15.0, 200.0
"""Core seconds of the search for a demonstration, and of the autoencoder."""
_PLAYING = 4_000.0
"""Steps of an evaluation or validation per core second."""
_VALIDATION = 20 * 8 * 200
"""Steps of a training's validation; stages of pipelines have none."""
_AGENT_OF = {
    "demonstration": "demograsp",
    "clone": "dagger-value",
    "generalist": "ppo",
    "specialists": "grasp-specialists",
    "distillation": "dagger-value",
}
"""Kind of stage -> the agent that it trains."""


def seconds(row: Row) -> float:
    """Return the expected core seconds of all runs of a row: training, validation, evaluation."""
    played = row.num_episodes * (make_task(row.task).protocol.horizon or 0) / _PLAYING
    return row.seeds * (sum(stages(row).values()) + played)


def stages(row: Row) -> dict[str, float]:
    """Return the expected core seconds of a run's stages, or of its only one."""
    rates = {**_RATES, **(_SPHERE if "Sphere" in row.task else {})}
    config, validation = config_of(row.agent, row.task, dict(row.changes)), _VALIDATION / _PLAYING
    if not isinstance(config, PipelineConfig):
        rate = _VISION if "observation" in row.task else rates[row.agent]
        search = _SEARCH if row.agent == "demograsp" else 0.0
        return {row.agent: search + row.steps / rate + validation}
    found = {
        kind: share * row.steps / rates[_AGENT_OF[kind]]
        for kind, share in config.shares(has_vision=False).items()
        if share
    }
    if config.warm_start == "demonstration":
        found["demonstration"] = found.get("demonstration", 0.0) + _SEARCH
    return found | ({"geometry": _GEOMETRY} if config.rounds else {})
