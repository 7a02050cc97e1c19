"""The settings of each agent, and its learner.

``retrieval-hypernetwork-paper`` is what the released code does. The others share the settings of
``retrieval-hypernetwork`` and differ from it in what their names say; their environments are
a multiple of the tasks, so that every task has the same share of the steps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pkubench.agents.components import changed, tuned_for
from pkubench.agents.families.retrieval.config import RetrievalConfig
from pkubench.agents.families.retrieval.retrievers import (
    AttentionRetriever,
    KernelRetriever,
    NoRetriever,
)
from pkubench.agents.learner import Context, Learner
from pkubench.errors import MissingExtra, UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

_FULL = "retrieval-hypernetwork"
_FIXED = RetrievalConfig()
_PAPER = RetrievalConfig(
    normalise=False,
    truncation="terminal",
    retrieval=AttentionRetriever(
        scale="none", gradient="all", quota=False, centring="rollout", initial="one-task"
    ),
)
PRESETS = {
    _FULL: _FIXED,
    f"{_FULL}-paper": _PAPER,
    f"{_FULL}-no-memory": replace(_FIXED, retrieval=NoRetriever()),
    f"{_FULL}-shuffled": replace(_FIXED, retrieval=AttentionRetriever(shuffled=True)),
    f"{_FULL}-random-keys": replace(_FIXED, retrieval=AttentionRetriever(keys="random")),
    f"{_FULL}-no-hypernetwork": replace(
        _FIXED, task_layer="one-hot", retrieval=AttentionRetriever(projection="static")
    ),
    f"{_FULL}-episodic": replace(_FIXED, retrieval=KernelRetriever()),
    "mt-ppo": replace(_FIXED, task_layer="one-hot", retrieval=NoRetriever()),
    "mt-ppo-heads": replace(_FIXED, task_layer="heads", retrieval=NoRetriever()),
}
_EQUAL_SHARES = {
    "MiniGridMT3": {"num_envs": 15},
    "MiniGridMT5": {"num_envs": 15},
    "MiniGridMT7": {"num_envs": 14},
}
"""Prefix of a task's name -> environments that its tasks divide."""


def preset(agent: str, task: Task | None) -> RetrievalConfig:
    """Return the settings of ``agent`` on ``task``.

    Raises:
        UnknownName: no such preset.
    """
    if agent not in PRESETS:
        raise UnknownName("preset of an agent of many grid worlds", agent, PRESETS)
    config = PRESETS[agent]
    if task is None or config is _PAPER:
        return config
    return changed(config, tuned_for(_EQUAL_SHARES, task.id))


def make_learner(context: Context) -> Learner:
    """Make one training run; torch is imported here, not before.

    Raises:
        MissingExtra: torch is not installed.
        ConfigError: the settings do not fit the task.
    """
    try:
        import torch  # noqa: F401 - looked for, so that the error names the extra
    except ModuleNotFoundError as error:
        raise MissingExtra("agents", "training") from error
    from pkubench.agents.families.retrieval.training import RetrievalTraining

    return RetrievalTraining(context)
