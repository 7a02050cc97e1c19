"""Credit assignment where a team is paid at the end: against batch size, team size and task.

``make results-credit`` trains and scores what has no record yet and writes
``docs/results/credit.md``: about four hours on two cores. It can be stopped and started again.
``--scale`` multiplies every budget, ``--fresh`` trains again what has a record.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from benchmarks.results.credit_page import ALICE, LANES, STANDARDISED, name_at, page_of
from benchmarks.results.rows import Row
from benchmarks.results.running import run_stages

STEPS = 1_700_000
"""On AliceAndBob."""
EPISODES = 50
"""Of each of the last ten evaluations."""
MINIBATCH = 1_024
"""Agent-steps of a minibatch, at every number of lanes."""
MAIN = ("stas", "arel", "tar2", "uniform", "undecomposed")
METHODS = (*MAIN, "undecomposed-sil")
LARGE = ("stas", "undecomposed")
PARTICLE_STEPS = 500_000
"""A quarter of the paper's, so that the whole table is a matter of hours."""


def _row(agent: str, task: str, steps: int, seeds: int, ships: int = 1) -> Row:
    return Row(agent, task, steps, seeds, ships, table="credit", sampled=EPISODES)


def _changed(agent: str, label: str, seeds: int, **changes: float) -> Row:
    """Return a row on AliceAndBob with other settings than the preset's."""
    texts = tuple((name, str(value)) for name, value in changes.items())
    return replace(_row(agent, ALICE, STEPS, seeds, ships=0), label=label, changes=texts)


def _sizes(lanes: int) -> dict[str, float]:
    """Return the settings of updates of so many lanes of 40 steps; none are the preset's."""
    if lanes == LANES[0]:
        return {}
    return {"num_envs": lanes, "minibatches": lanes * 40 * 2 // MINIBATCH}


def _with_lanes(agent: str, lanes: int) -> Row:
    """Return the row of an agent on AliceAndBob whose updates have so many lanes."""
    if lanes == LANES[0]:
        # policies of the others succeed when they sample, seldom at their mode
        return _row(agent, ALICE, STEPS, 5, ships=int(agent.startswith("undecomposed")))
    return _changed(agent, name_at(agent, lanes), 5, **_sizes(lanes))


def _standardised(agent: str, lanes: int) -> Row:
    """Return the same, with advantages divided by their deviation alone."""
    label = f"{name_at(agent, lanes)}{STANDARDISED}"
    return _changed(agent, label, 3, advantage_epsilon=1e-5, **_sizes(lanes))


def _rows(
    task: str, agents: Iterable[str], steps: int, seeds: int, ships: int = 1
) -> tuple[Row, ...]:
    return tuple(_row(agent, task, steps, seeds, ships) for agent in agents)


ROWS = (
    *(_with_lanes(agent, lanes) for lanes in LANES for agent in METHODS),
    *(_standardised(agent, LANES[0]) for agent in METHODS),
    *(_standardised(agent, 512) for agent in ("stas", "undecomposed")),
    *_rows("Navigation3-v0", MAIN, PARTICLE_STEPS, 5),
    *_rows("Navigation3-v0", ("undecomposed-sil", "dense"), PARTICLE_STEPS, 5, ships=0),
    # four of the five end below doing nothing
    *_rows("Navigation6-v0", MAIN, PARTICLE_STEPS, 3, ships=0),
    *_rows("PredatorPrey3-v0", MAIN, PARTICLE_STEPS, 3),
    *_rows("PredatorPrey3-v0", ("dense",), PARTICLE_STEPS, 3, ships=0),
    *_rows("Navigation15-v0", LARGE, 1_000_000, 3),
)

if __name__ == "__main__":
    run_stages(ROWS, "credit", (__doc__ or "").split("\n")[0], page_of)
