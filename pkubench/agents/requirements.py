"""Why an agent cannot train on a task, read from the task and its environment's traits.

Families and presets name these functions as ``fits``. Each returns a reason as a clause about the
agent ("it ..."), or "" where there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pkubench.envs.core.delayed_reward import DELAY, EPISODE
from pkubench.envs.core.registry import VARIANT, traits
from pkubench.envs.core.traits import Traits
from pkubench.errors import MissingExtra

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

ACTIONS = ("box", "discrete")


def all_of(*requirements: Callable[[Task], str]) -> Callable[[Task], str]:
    """Combine several requirements: the first reason against the task counts."""

    def fits(task: Task) -> str:
        return next((reason for needs in requirements if (reason := needs(task))), "")

    return fits


def plays_episodes(task: Task) -> str:
    """Require scores from played episodes, not computed ones."""
    if task.scoring.is_played:
        return ""
    return f"it learns from episodes, and scores here come from {task.scoring.summary}"


def acts_in_box_or_discrete(task: Task) -> str:
    """Require action spaces of a Gaussian or a categorical distribution."""
    return _acts_in(task, *ACTIONS)


def acts_in_box_or_choices(task: Task) -> str:
    """Require action spaces of a Gaussian, or of one categorical distribution or more."""
    return _acts_in(task, *ACTIONS, "multidiscrete")


def _acts_in(task: Task, *kinds: str) -> str:
    known = _known(task)
    if known is None or set(known.action.split("+")) <= set(kinds):
        return ""
    *most, last = kinds
    named = f"{', '.join(most)} and {last}" if most else last
    return f"it acts in {named} spaces, and here actions are {known.action}"


def acts_in_discrete(task: Task) -> str:
    """Require action spaces of a choice among a few."""
    return _acts_in(task, "discrete")


def reads_arrays(task: Task) -> str:
    """Require observations that are numbers, not texts."""
    known = _known(task)
    if known is None or not known.has_labelled_texts:
        return ""
    return "it reads numbers, and here observations are texts"


def takes_no_masks(task: Task) -> str:
    """Require every action to be legal."""
    known = _known(task)
    if known is None or not known.has_action_masks:
        return ""
    return "it does not support action masks, and here not every action is legal"


def takes_no_deaths(task: Task) -> str:
    """Require agents that act until their episode ends."""
    known = _known(task)
    if known is None or not known.has_deaths:
        return ""
    return "it does not support agents that die before their team, and here they do"


def are_agents_alike(task: Task) -> str:
    """Require a team whose agents have the same spaces."""
    known = _known(task)
    if known is not None and (known.num_agents < 2 or not known.are_agents_alike):
        return "it takes teams of agents with equal spaces, and this has none"
    return ""


def plays_zero_sum_games(task: Task) -> str:
    """Require a two-player zero-sum game that is scored exactly."""
    known = _known(task)
    if known is not None and known.is_zero_sum_game and not task.scoring.is_played:
        return ""
    return "it solves two-player zero-sum games, and this is not scored as one"


def holds_cost_limits(task: Task) -> str:
    """Require a cost limit or several."""
    return "" if task.cost_limit is not None else "it needs a cost limit, and this task has none"


def holds_cost_limit(task: Task) -> str:
    """Require one cost limit."""
    count = len(task.cost_limits)
    several = f"it holds one cost limit, and this task has {count}" if count > 1 else ""
    return holds_cost_limits(task) or several


def reads_dense_rewards(task: Task) -> str:
    """Require rewards that are paid late, with those of each step in the infos."""
    known = _known(task)
    if known is None or known.is_delayed:
        return ""
    return (
        "it reads the reward of each step where rewards are paid late, and here they are not: add "
        f"{VARIANT}{DELAY}={EPISODE} to the task's name"
    )


def reads_difference_rewards(task: Task) -> str:
    """Require an environment that can report difference rewards."""
    known = _known(task)
    if known is None or known.has_difference_rewards:
        return ""
    return "it reads difference rewards, which this environment does not report"


def writes_language(task: Task) -> str:
    """Require an environment whose actions are words of a language with exact scores."""
    known = _known(task)
    if known is None or known.has_language:
        return ""
    return "it writes responses in a language, and this has none"


def is_delayed(task: Task) -> bool:
    """Return whether a task's rewards are paid late; False where that is not known here."""
    known = _known(task)
    return known is not None and known.is_delayed


def num_agents(task: Task) -> int:
    """Return the number of agents in a task's environment; 1 where that is not known here."""
    known = _known(task)
    return 1 if known is None else known.num_agents


def _known(task: Task) -> Traits | None:
    """Return a task's traits; None where they require the environment and it cannot be made."""
    try:
        return traits(task.id, **task.env_kwargs)
    except MissingExtra:
        return None
