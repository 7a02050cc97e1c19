"""What ``pkubench train`` prints in addition to figures: notes before, a card after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pkubench.agents.components import unused_settings
from pkubench.agents.registry import TEAM, preset
from pkubench.agents.requirements import num_agents
from pkubench.cli.names import short
from pkubench.cli.output import facts, number
from pkubench.errors import counted
from pkubench.tasks.task import Task
from pkubench.training.request import Request, constraint_name
from pkubench.training.validation import is_exact


def notes(asked: Request, steps: int | None, runs: int) -> Iterator[str]:
    """Yield notes on what is allowed but rarely intended.

    Args:
        asked: The requested training.
        steps: The user's ``--steps``.
        runs: How many seeds are trained.
    """
    task, config, changes = asked.task, asked.config, asked.settings
    if asked.family.unit == "iterations":
        if runs > 1 and not getattr(config, "is_random", True):
            yield f"note: {asked.agent} is deterministic: these {runs} runs will be the same"
        if steps is not None and "iterations" in changes:
            yield f"note: --steps {steps} sets the number of iterations and overrides --set"
    at_once = getattr(config, "batch_steps", getattr(config, "interval_steps", 1))
    if steps is not None and steps < at_once:
        stride = counted(f"{at_once:,}", "step")
        yield f"note: it trains {stride} at a time, so --steps {steps} trains as many"
    for name, wanted in unused_settings(config, changes):
        yield f"note: {name} has no effect here; used only with {wanted}"
    if task.cost_limit is not None:
        limit = number(task.cost_limit)
        held = changes.get("cost_limit", limit)
        if held != limit and _is_limit(held):
            yield (
                f"note: training uses a cost limit of {held}; {short(task.id)} scores, "
                f"and counts the cost of training, at its own limit of {limit}"
            )
        if constraint_name(config) == "none":
            yield (
                f"note: {asked.agent} is unconstrained: it ignores the cost, which "
                f"{short(task.id)} limits to {limit}"
            )
    if TEAM in preset(asked.agent).tags and num_agents(task) == 1:
        yield f"note: {short(task.id)} has one agent, but {asked.agent} is a multi-agent learner"


def _is_limit(text: str) -> bool:
    """Return whether a text is a limit that training accepts; others are refused elsewhere."""
    try:
        return float(text) >= 0.0
    except ValueError:
        return False


def no_episode(task: Task, steps: int | None) -> str:
    """Return why a finished training has no return to show."""
    horizon = task.protocol.horizon
    return (
        f"note: no episode ended in {number(steps)} steps, so no return was measured: the steps "
        "are shared by num_envs copies of the environment, and an episode lasts up to "
        f"{horizon:,} steps in each; train longer, or with fewer copies"
    )


def has_return(task: Task, metrics: Mapping[str, float]) -> bool:
    """Return whether a training measured its task's return or score."""
    return is_exact(task) or metrics.get("return") is not None


def shown(metrics: Mapping[str, float]) -> dict[str, float]:
    """Choose the numbers to show in the progress bar."""
    wanted = {
        "return": "return",
        "cost": "cost",
        "exploitability": "exploitability",
        "nash_conv": "NashConv",
        "steps_per_second": "steps/s",
    }
    return {label: metrics[name] for name, label in wanted.items() if name in metrics}


_SPENT = {"seconds": "seconds of learning", "scoring_seconds": "seconds of scoring"}
"""Labels on a card of the parts of ``seconds``, which is the time of the whole command."""


def card(run: Mapping[str, Any], unit: str) -> Any:
    """Return the card of a finished run."""
    values = {
        _SPENT.get(name, name): number(value)
        for name, value in run["metrics"].items()
        if name.replace("_", " ") != f"{unit}s"  # the budget, which has its line
    }
    return facts(
        [
            ("agent", run["agent"]),
            ("task", run["task"]),
            ("seed", str(run["seed"])),
            (f"{unit}s", number(run["steps"])),
            ("seconds", f"{run['seconds']:.1f}"),
            *((name, value) for name, value in values.items()),
            ("saved in", run["out"]),
        ]
    )
