"""Battles of unlike units: policy gradients and value decomposition on two maps.

``make results-micro_battle`` trains and scores what has no record yet and writes
``docs/results/micro_battle.md``. It can be stopped and started again. ``--scale`` multiplies every
budget, ``--fresh`` trains again what has a record, and ``--stage plan`` prints what is left to do
and how long it takes.
"""

from __future__ import annotations

from benchmarks.results.micro_battle_page import MAPS, page_of
from benchmarks.results.rows import Row
from benchmarks.results.running import run_stages

STEPS = 1_000_000
AGENTS = ("happo", "mappo", "ippo", "qmix", "vdn")
_RATES = {
    "MicroBattle3m-v0": {"qmix": 1_700.0, "vdn": 1_900.0, "": 12_000.0},
    "MicroBattle2s3z-v0": {"qmix": 1_000.0, "vdn": 1_100.0, "": 8_000.0},
}
"""Map -> agent -> steps of training per core second; "" is all others. Each was measured for some
seconds, on a busy machine, so that a plan is rather too long than too short."""
_START = 20.0
"""Core seconds until a training begins, and of its evaluation."""

ROWS = tuple(
    Row(agent, task, STEPS, 3, ships=1, table="micro_battle") for task in MAPS for agent in AGENTS
)


def seconds(row: Row) -> float:
    """Return the expected core seconds of all runs of a row."""
    rates = _RATES[row.task]
    return row.seeds * (_START + row.steps / rates.get(row.agent, rates[""]))


if __name__ == "__main__":
    run_stages(ROWS, "micro_battle", (__doc__ or "").split("\n")[0], page_of, seconds=seconds)
