"""Which agents and tasks `pkubench plot` puts into one profile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pkubench.cli.plot import profile_scores
from pkubench.cli.results import excluded_lines
from pkubench.tasks.registry import make_task

SPREAD, TALK, HOPPER = (
    f"pkubench/{name}-v0" for name in ("SimpleSpread", "SimpleSpeakerListener", "HopperVelocity")
)


def _report(task: str, runs: int, feasible: bool = True) -> Any:
    metric = make_task(task).ranking.name
    each = [SimpleNamespace(label=f"seed{i}", metrics={metric: -30.0 + i}) for i in range(runs)]
    return SimpleNamespace(runs=each, feasible=feasible, failed=0, seed=0)


def test_agents_are_compared_on_the_tasks_that_all_have_done() -> None:
    found = profile_scores(
        {
            SPREAD: {"happo": _report(SPREAD, 5), "mappo": _report(SPREAD, 3)},
            TALK: {"happo": _report(TALK, 5)},
        }
    ).matrices
    assert {name: matrix.scores.shape for name, matrix in found.items()} == {
        "happo": (5, 1),
        "mappo": (3, 1),
    }


def test_agents_without_a_common_task_have_no_profile() -> None:
    assert not profile_scores(
        {SPREAD: {"happo": _report(SPREAD, 5)}, TALK: {"mappo": _report(TALK, 5)}}
    ).matrices


def test_an_agent_over_the_limit_or_with_one_run_has_no_curve() -> None:
    found = profile_scores(
        {
            SPREAD: {"happo": _report(SPREAD, 2), "mappo": _report(SPREAD, 1)},
            HOPPER: {"ppo": _report(HOPPER, 5, feasible=False)},
        }
    )
    assert set(found.matrices) == {"happo"}


def test_no_run_is_dropped_without_a_word() -> None:
    by_task = {
        SPREAD: {"happo": _report(SPREAD, 5)},
        TALK: {"happo": _report(TALK, 2)},
    }
    found = profile_scores(by_task)
    assert found.matrices["happo"].scores.shape == (2, 2)
    assert excluded_lines(found) == [
        "Not in the normalized scores: happo on SimpleSpread-v0 (counted with the first 2 of 5 "
        "runs)."
    ]
