"""The return of the best feasible policy of a constrained environment, for tests of learners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pkubench.envs.diagnostics.constrained_mdp import (
    ConstrainedMDP,
    Evaluation,
    Solution,
    evaluate,
    solve,
)
from pkubench.envs.diagnostics.risky_corridor import GOAL, RiskyCorridor
from pkubench.envs.diagnostics.speed_limit import speed_table
from pkubench.tasks.registry import make_task


def model_of(name: str) -> ConstrainedMDP:
    """Return the table of ``RiskyCorridor-v0``, or the grid of ``SpeedLimit-v0``."""
    return {"RiskyCorridor-v0": RiskyCorridor().model, "SpeedLimit-v0": speed_table(8)}[name]


def optimum(name: str) -> Solution:
    """Return the linear program's optimum within the task's cost limit."""
    limit = make_task(name).cost_limit
    assert limit is not None
    return solve(model_of(name), limit)


def exact(policy: Any) -> Evaluation:
    """Return what a saved policy gets in RiskyCorridor when it draws its actions, exactly.

    Args:
        policy: as ``load_agent`` returns it, with ``action_probabilities``.
    """
    policy.stochastic = True
    cells = np.eye(GOAL + 1, dtype=np.float32)
    chances = policy.action_probabilities(cells, np.ones((GOAL + 1, 3), np.int8))
    return evaluate(RiskyCorridor().model, chances)


def late(run: Sequence[Any], metric: str, share: float = 0.25) -> float:
    """Return a metric's mean over the last ``share`` of a training's reports."""
    reports = run[-max(1, round(share * len(run))) :]
    return float(np.mean([report.metrics[metric] for report in reports]))
