"""PointGoal1 and the original Safety-Gymnasium, which runs in its own virtual environment.

``python -m benchmarks.safety`` prints a Markdown table, and exits with 1 if a bar is missed: over
whole episodes of 1,000 steps with their resets, our batch on two threads does at least 20 times
the steps of one original environment and 10 times those of its own vector environment with two
processes, and at least 1,000 times its resets. All on random actions drawn beforehand, by the
clock; the contenders take turns and the best episode of each counts. A Python 3.10 is needed
(``PKUBENCH_PYTHON``). Three minutes on two free cores; ``--task CarGoal1`` measures another task.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import time

import numpy as np

from benchmarks.peers import SAFETY_GYMNASIUM, PeerError, run_peer
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import TrainingSeeds

NUM_ENVS = 256
THREADS = 2
BARS = {"single": 20.0, "vector": 10.0, "resets": 1000.0}
NAMES = {
    "single": "steps, one original environment",
    "vector": "steps, its vector environment, two processes",
    "resets": "resets, one original environment",
}


class Ours:
    """Our batch, ready to play whole episodes."""

    def __init__(self, task: str, num_envs: int) -> None:
        self.env = make_batch(f"{task}-v0", num_envs, num_threads=THREADS)
        self.indices = np.arange(num_envs)
        self.seeds = TrainingSeeds(0, num_envs)
        space = self.env.action_spaces["agent"]
        rng = np.random.default_rng(0)
        low, high = space.low, space.high  # type: ignore[attr-defined]
        self.tape = rng.uniform(low, high, (64, num_envs, *space.shape)).astype(np.float32)  # type: ignore[misc]
        self.reset()

    def reset(self) -> int:
        """Reset every environment; return how many."""
        self.env.reset(self.seeds.next(self.indices))
        return len(self.indices)

    def episode(self) -> int:
        """Play an episode in every environment, its reset included; return the number of steps."""
        count = 0
        while True:
            step = self.env.step({"agent": self.tape[count % len(self.tape)]})
            count += 1
            ended = step.terminated | step.truncated
            if ended.all():
                self.reset()
                return count * len(self.indices)
            if ended.any():  # an episode that found no place for its goal
                early = np.flatnonzero(ended)
                self.env.reset(self.seeds.next(early), early)


def ours(contender: Ours, rounds: int) -> dict[str, float]:
    """Return the best rates of our batch."""
    best = {"steps": 0.0, "resets": 0.0}
    for _ in range(rounds):
        for what, play in (("steps", contender.episode), ("resets", contender.reset)):
            start = time.perf_counter()
            done = play()
            best[what] = max(best[what], done / (time.perf_counter() - start))
    return best


def main() -> int:
    """Measure in turns, print the table, say whether the bars are met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--task", default="PointGoal1")
    parser.add_argument("--num-envs", type=int, default=NUM_ENVS)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    contender = Ours(options.task, options.num_envs)
    mine = {"steps": 0.0, "resets": 0.0}
    peer = dict.fromkeys(NAMES, 0.0)
    try:
        for _ in range(options.rounds):
            for what, rate in ours(contender, 1).items():
                mine[what] = max(mine[what], rate)
            rates = run_peer(
                *SAFETY_GYMNASIUM[:2],
                "safety_gymnasium_peer.py",
                options.task,
                "1",
                version=SAFETY_GYMNASIUM[2],
            )
            for what in peer:
                peer[what] = max(peer[what], rates[what])
    except PeerError as error:
        print(f"Safety-Gymnasium was not measured: {error}", file=sys.stderr)
        return 1

    print(
        f"{options.task}, ours: a batch of {options.num_envs} on {THREADS} threads; "
        "per second of wall-clock time\n"
    )
    print("| what | safety-gymnasium 1.0.0 | ours | ratio | bar |")
    print("|------|------:|------:|------:|------:|")
    passed = True
    for what, name in NAMES.items():
        rate = mine["resets" if what == "resets" else "steps"]
        ratio = rate / peer[what]
        passed = passed and ratio >= BARS[what]
        print(f"| {name} | {peer[what]:,.1f} | {rate:,.0f} | {ratio:,.1f} | {BARS[what]:,.0f} |")
    print()
    print("met: every bar" if passed else "MISSED: a bar")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
