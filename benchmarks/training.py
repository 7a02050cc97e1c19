"""HAPPO and HATRPO training compared with bare stepping of mpe2's SimpleSpread, in one run.

``python -m benchmarks.training`` prints a Markdown table and exits with 1 if a bar is missed: with
the paper's networks (three actors and a critic of 128-128) HAPPO (five passes over 4,000 steps)
trains at least 5 times, and HATRPO (ten conjugate-gradient steps, the Fisher matrix of every third
state) at least 4 times as many environment steps per second as mpe2 merely steps with random
actions. The official shape takes the Fisher matrix of all states. Everything of training counts:
acting, stepping, advantages, updates, logs. mpe2 is a Python loop and can use one core; training is
measured with one and with two torch threads. Contenders take turns and the best round counts for
each.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.particle import best_rate, mpe2_episode
from pkubench.tasks.registry import make_task
from pkubench.training.session import train

BARS = {"HAPPO, 160 x 25 steps, 2 threads": 5.0, "HATRPO, 160 x 25 steps, 2 threads": 4.0}
CONTENDERS = (
    ("HAPPO, 160 x 25 steps, 1 thread", "happo", 1),
    ("HAPPO, 160 x 25 steps, 2 threads", "happo", 2),
    ("HAPPO, official shape 20 x 200, 2 threads", "happo-paper", 2),
    ("MAPPO, 160 x 25 steps, 2 threads", "mappo", 2),
    ("HATRPO, 160 x 25 steps, 1 thread", "hatrpo", 1),
    ("HATRPO, 160 x 25 steps, 2 threads", "hatrpo", 2),
    ("HATRPO, official shape 20 x 200, 2 threads", "hatrpo-paper", 2),
    ("HAA2C, 160 x 25 steps, 2 threads", "haa2c", 2),
)


def training_rate(agent: str, threads: int, updates: int) -> float:
    """Return environment steps per second over ``updates`` updates after one to warm up."""
    with tempfile.TemporaryDirectory() as folder:
        run = train(
            agent,
            make_task("SimpleSpread-v0"),
            steps=4000 * (updates + 1),
            seed=0,
            settings={"threads": str(threads)},
            out=Path(folder),
        )
        first = next(run)
        started = time.perf_counter()
        last = first
        for _ in range(updates):
            last = next(run)
        seconds = time.perf_counter() - started
        run.close()
    return (last.steps - first.steps) / seconds


def main() -> int:
    """Measure, print the table, and say whether the bars were met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=15, help="of 4,000 steps, each turn")
    options = parser.parse_args()
    peer = 0.0
    ours = {name: 0.0 for name, _, _ in CONTENDERS}
    for _ in range(options.rounds):
        peer = max(peer, best_rate(mpe2_episode(), 1, 2.0))
        for name, agent, threads in CONTENDERS:
            ours[name] = max(ours[name], training_rate(agent, threads, options.updates))
    print("| what | environment steps/s | times mpe2's bare stepping |")
    print("|------|--------------------:|---------------------------:|")
    print(f"| mpe2 1.1.1 `simple_spread_v3`, random actions, no learning | {peer:,.0f} | 1.0 |")
    for name, rate in ours.items():
        print(f"| {name} | {rate:,.0f} | {rate / peer:.1f} |")
    passed = True
    for name, bar in BARS.items():
        met = ours[name] >= bar * peer
        passed = passed and met
        print(f"\n{'met' if met else 'MISSED'}: {name} at least {bar:g} times mpe2's bare stepping")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
