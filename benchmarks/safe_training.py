"""PPO-Lag's training speed and OmniSafe 0.5.0's, which runs in its own virtual environment.

``python -m benchmarks.safe_training`` prints a Markdown table, and exits with 1 if the bar is
missed: with OmniSafe's networks, 20,000 steps per update and 40 passes over them in 313 minibatches
for the actor and each of two critics, PPO-Lag trains at least 15 times as many environment steps
per second. No early stop, so that the number of optimiser steps is the same for both; ours is what
``pkubench train`` runs, acting, stepping, advantages, updates and logs included. The contenders
take turns and the best epoch of each counts, by the clock. The table also has the rates per second
of processor time, which depend less on other load. A Python 3.10 is needed (``PKUBENCH_PYTHON``).
Five minutes on two free cores, nearly all of them OmniSafe's.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.peers import OMNISAFE, PeerError, run_peer
from pkubench.tasks.registry import make_task
from pkubench.training.session import train

BAR = 15.0
STEPS, PASSES, BATCH = 20_000, 40, 64
MINIBATCHES = -(-STEPS // BATCH)
NAMES = {"steps": "by the clock", "cpu_steps": "by processor time"}


def ours(task: str, updates: int) -> dict[str, float]:
    """Return environment steps per second of the best of several updates, after a warm-up."""
    settings = {"target_kl": "1e9", "minibatches": str(MINIBATCHES)}
    best = dict.fromkeys(NAMES, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        run = train(
            "ppo-lag-paper",
            make_task(f"{task}-v0"),
            steps=STEPS * (updates + 1),
            seed=0,
            settings=settings,
            out=Path(folder),
        )
        last = next(run)
        for _ in range(updates):
            clock, spent = time.perf_counter(), time.process_time()
            progress = next(run)
            done = progress.steps - last.steps
            last = progress
            best["steps"] = max(best["steps"], done / (time.perf_counter() - clock))
            best["cpu_steps"] = max(best["cpu_steps"], done / (time.process_time() - spent))
        run.close()
    return best


def main() -> int:
    """Measure in turns, print the table, say whether the bar is met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--task", default="PointGoal1")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--updates", type=int, default=3, help="of ours, each round")
    parser.add_argument("--epochs", type=int, default=2, help="of OmniSafe's, each round")
    parser.add_argument("--environments", type=int, default=1, help="OmniSafe's processes")
    options = parser.parse_args()
    mine, peer = dict.fromkeys(NAMES, 0.0), dict.fromkeys(NAMES, 0.0)
    shape = (STEPS, PASSES, BATCH, options.environments, options.epochs)
    try:
        for _ in range(options.rounds):
            rates = run_peer(
                *OMNISAFE[:2],
                "omnisafe_peer.py",
                options.task,
                *map(str, shape),
                timeout_s=3600,
                version=OMNISAFE[2],
            )
            rates = ours(options.task, options.updates)
            for what in NAMES:
                peer[what] = max(peer[what], rates[what])
                mine[what] = max(mine[what], rates[what])
    except PeerError as error:
        print(f"OmniSafe was not measured: {error}", file=sys.stderr)
        return 1

    print(f"PPO-Lag on {options.task}: environment steps per second of training\n")
    print("| measured | OmniSafe 0.5.0 | ours | ratio | bar |")
    print("|------|------:|------:|------:|------:|")
    for what, name in NAMES.items():
        bar = f"{BAR:g}" if what == "steps" else ""
        ratio = mine[what] / peer[what]
        print(f"| {name} | {peer[what]:,.1f} | {mine[what]:,.1f} | {ratio:.1f} | {bar} |")
    passed = mine["steps"] >= BAR * peer["steps"]
    print(f"\n{'met' if passed else 'MISSED'}: at least {BAR:g} times OmniSafe's steps")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
