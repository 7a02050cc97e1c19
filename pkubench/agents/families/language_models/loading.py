"""Loads saved language models as agents that write word by word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pkubench.agents.contract import Agent
from pkubench.agents.saved.files import SavedAgent
from pkubench.envs.core.registry import make_batch
from pkubench.errors import AgentError, MissingExtra, WeightsError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


def load(
    saved: SavedAgent, task: Task | None = None, acting: Mapping[str, Any] | None = None
) -> Agent:
    """Return the agent that a folder holds.

    Args:
        saved: what ``load_saved`` read.
        task: the task to act in; None is the one it was trained on.
        acting: ``mode``: ``sampled``, as a language model is, or ``mode``, the likeliest word.

    Raises:
        WeightsError: the weights do not fit their own description.
        AgentError: the task has no language.
        MissingExtra: torch is not installed; or transformers, for a model of its.
    """
    try:
        from pkubench.agents.rl.language.acting import LanguagePolicy
        from pkubench.agents.rl.language.training import read_model
    except ModuleNotFoundError as error:
        raise MissingExtra("agents", "language models") from error
    name = saved.config.get("task") if task is None else task.id
    if not isinstance(name, str):
        raise WeightsError("config.json of a language model needs a 'task'")
    env = make_batch(name, 1)
    try:
        language = getattr(env.unwrapped, "language", None)
    finally:
        env.close()
    if language is None:
        raise AgentError(f"it writes in a language, and {name} has none")
    how = (acting or {}).get("mode", "sampled")
    return LanguagePolicy(read_model(saved, language, "policy"), language, how == "sampled")
