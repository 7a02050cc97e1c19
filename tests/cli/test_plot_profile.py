"""Which agents and tasks `pkubench plot` puts into one profile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pkubench.cli.plot import profile_scores
from pkubench.errors import RecordError
from pkubench.tasks.registry import make_task

SPREAD, TALK, HOPPER = (
    f"pkubench/{name}-v0" for name in ("SimpleSpread", "SimpleSpeakerListener", "HopperVelocity")
)


def _report(task: str, runs: int, feasible: bool = True) -> Any:
    metric = make_task(task).ranking.name
    each = [SimpleNamespace(metrics={metric: -30.0 + i}) for i in range(runs)]
    return SimpleNamespace(runs=each, score=-30.0 if feasible else None)


def test_agents_are_compared_on_the_tasks_that_all_have_done() -> None:
    found = profile_scores(
        {
            SPREAD: {"happo": _report(SPREAD, 5), "mappo": _report(SPREAD, 3)},
            TALK: {"happo": _report(TALK, 5)},
        },
        False,
    )
    assert {name: (len(rows), len(rows[0])) for name, rows in found.items()} == {
        "happo": (5, 1),
        "mappo": (3, 1),
    }


def test_agents_without_a_common_task_have_no_profile() -> None:
    assert not profile_scores(
        {SPREAD: {"happo": _report(SPREAD, 5)}, TALK: {"mappo": _report(TALK, 5)}}, False
    )


def test_an_agent_over_the_limit_or_with_one_run_has_no_curve() -> None:
    found = profile_scores(
        {
            SPREAD: {"happo": _report(SPREAD, 2), "mappo": _report(SPREAD, 1)},
            HOPPER: {"ppo": _report(HOPPER, 5, feasible=False)},
        },
        False,
    )
    assert set(found) == {"happo"}


def test_no_run_is_dropped_without_a_word() -> None:
    by_task = {
        SPREAD: {"happo": _report(SPREAD, 5)},
        TALK: {"happo": _report(TALK, 2)},
    }
    assert not profile_scores(by_task, False)
    with pytest.raises(RecordError, match=r"happo has other numbers of runs.*SpeakerListener-v0 2"):
        profile_scores(by_task, True)
