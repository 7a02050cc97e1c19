"""The suite alignment: items of the SVO slider a second, answered by a scripted agent.

``python -m benchmarks.alignment`` prints a Markdown table, and exits with 1 if the bar is missed:
a whole evaluation of a scripted agent, with its records and its report, answers 10,000 items per
second of processor time on one thread. An item is one question of six of a sheet. Each figure is
the best of its rounds. About ten seconds.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

import pkubench
from pkubench.envs.alignment.slider import PRIMARY
from pkubench.envs.core.registry import make_batch

BAR = 10_000
SHEETS, BATCH = 1_440, 4_096


def evaluation() -> int:
    """Evaluate the ideal types and write their records; return the number of items."""
    with tempfile.TemporaryDirectory() as out:
        report = pkubench.evaluate(
            "scripted:ideal", "SVOSlider-v0", episodes=SHEETS, workers=0, out=out
        )
    assert report.failed == 0
    return SHEETS * PRIMARY


def batch() -> int:
    """Answer sheets in one batch, without the harness; return the number of items."""
    env = make_batch("SVOSlider-v0", BATCH)
    seeds = np.arange(BATCH)
    observed, _ = env.reset(seeds)
    agent = env.unwrapped.strategies["ideal"]  # type: ignore[attr-defined]
    active = np.ones(BATCH, dtype=np.bool_)
    for _ in range(PRIMARY):
        places, _ = agent.act(observed["agent"], None, active)
        observed = env.step({"agent": places}).observations
    return BATCH * PRIMARY


def rate(work: Callable[[], int], rounds: int) -> float:
    """Return the best number of items per second of processor time."""
    work()
    best = 0.0
    for _ in range(rounds):
        start = time.process_time()
        count = work()
        best = max(best, count / (time.process_time() - start))
    return best


def main() -> int:
    """Measure, print the table, and say whether the bar was met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    whole, bare = rate(evaluation, options.rounds), rate(batch, options.rounds)
    print("| what | items/s of processor time |")
    print("|------|--------------------------:|")
    print(f"| evaluation of `scripted:ideal`, records and report | {whole:,.0f} |")
    print(f"| environment and agent, batch of {BATCH:,} | {bare:,.0f} |")
    print()
    print(f"{'met' if whole >= BAR else 'MISSED'}: at least {BAR:,} items/s in an evaluation")
    return 0 if whole >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
