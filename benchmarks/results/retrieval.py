"""Grid worlds of seven tasks: whether a memory that corrects the critic helps.

``make results-retrieval`` trains and scores what has no record yet and writes
``docs/results/retrieval.md``. It can be stopped and started again. ``--scale`` multiplies every
budget, ``--fresh`` trains again what has a record. A run takes about eight minutes of one core, and
there are 55.
"""

from __future__ import annotations

from benchmarks.results.retrieval_page import page_of
from benchmarks.results.rows import Row
from benchmarks.results.running import run_stages

TASK, STEPS = "MiniGridMT7-v0", 1_400_000
"""200,000 steps a task."""
EPISODES = 35
"""Of each of 20 validations, five a task."""
FULL = "retrieval-hypernetwork"
MAIN = (FULL, f"{FULL}-shuffled", f"{FULL}-no-memory", "mt-ppo")
OTHERS = (
    *(f"{FULL}-{name}" for name in ("paper", "random-keys", "no-hypernetwork", "episodic")),
    "mt-ppo-heads",
)


def _row(agent: str, seeds: int, ships: int) -> Row:
    return Row(agent, TASK, STEPS, seeds, ships, table="retrieval", sampled=EPISODES)


ROWS = (*(_row(agent, 10, 1) for agent in MAIN), *(_row(agent, 3, 1) for agent in OTHERS))

if __name__ == "__main__":
    run_stages(ROWS, "retrieval", (__doc__ or "").split("\n")[0], page_of)
