"""Credit assignment where a team is paid at the end: against batch size, team size and task.

``make results-credit`` trains and scores what has no record yet and writes
``docs/results/credit.md``. It takes hours; it can be stopped and started again at any time.
``--scale`` multiplies every budget, ``--fresh`` trains again what has a record.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.results.credit_page import ALICE, LANES, page_of
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


def _row(agent: str, task: str, steps: int, seeds: int, ships: int = 1) -> Row:
    return Row(agent, task, steps, seeds, ships, table="credit", sampled=EPISODES)


def _with_lanes(agent: str, lanes: int) -> Row:
    """Return the row of an agent on AliceAndBob whose updates have so many lanes of 40 steps."""
    if lanes == LANES[0]:  # the preset's
        return _row(agent, ALICE, STEPS, 5)
    changes = {"num_envs": lanes, "minibatches": lanes * 40 * 2 // MINIBATCH}
    return Row(
        agent,
        ALICE,
        STEPS,
        5,
        ships=0,
        label=f"{agent}-{lanes}",
        table="credit",
        changes=tuple((name, str(value)) for name, value in changes.items()),
        sampled=EPISODES,
    )


def _rows(task: str, agents: Iterable[str], steps: int, seeds: int) -> tuple[Row, ...]:
    return tuple(_row(agent, task, steps, seeds) for agent in agents)


ROWS = (
    *(_with_lanes(agent, lanes) for lanes in LANES for agent in METHODS),
    *_rows("Navigation3-v0", (*METHODS, "dense"), PARTICLE_STEPS, 5),
    *_rows("Navigation6-v0", MAIN, PARTICLE_STEPS, 3),
    *_rows("PredatorPrey3-v0", (*MAIN, "dense"), PARTICLE_STEPS, 3),
    *_rows("Navigation15-v0", LARGE, 1_000_000, 3),
)

if __name__ == "__main__":
    run_stages(ROWS, "credit", (__doc__ or "").split("\n")[0], page_of)
