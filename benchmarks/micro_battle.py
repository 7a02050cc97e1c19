"""MicroBattle steps per processor-second compared with JaxMARL's compiled SMAX, in one run.

``python -m benchmarks.micro_battle`` prints a Markdown table, and exits with 1 if on some map the
best of our batches is slower than the best of JaxMARL's. A step moves one environment, with its
scripted enemies, by one action of every ally, drawn beforehand; observations, masks, global state
and the resets of battles that end are within the measured time, here and there. JaxMARL compiles
with ``jit`` and ``vmap`` and may use all cores; what counts is processor time, of all threads. Each
rate is the best of its rounds, so that other load on the machine favours none. About ten minutes,
most of it compilation, and once some more to install JaxMARL.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import time

import numpy as np

from benchmarks.peers import PeerError, run_peer
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import TrainingSeeds

JAXMARL = ["jaxmarl==0.2.0"]
MAPS = {
    "3m": "MicroBattle3m-v0",
    "2s3z": "MicroBattle2s3z-v0",
    "6h_vs_8z": "MicroBattle6h_vs_8z-v0",
    "smacv2_10_units": "MicroBattleRandom10-v0",
}
"""JaxMARL's names of maps -> our environments."""
BATCHES = (64, 512, 1024)
STEPS = 25
ROUNDS = 2


def rate(name: str, batch: int, seconds: float) -> float:
    """Return the best rate of repeated runs of ``batch`` environments."""
    env = make_batch(name, batch)
    seeds, rng = TrainingSeeds(0, batch), np.random.default_rng(0)
    counts = {agent: env.action_spaces[agent].n for agent in env.agents}  # type: ignore[attr-defined]
    tape = [{a: rng.integers(0, n, batch) for a, n in counts.items()} for _ in range(STEPS)]

    def run() -> None:
        for actions in tape:
            step = env.step(actions)
            env.state()
            over = np.flatnonzero(step.terminated | step.truncated)
            if over.size:
                env.reset(seeds.next(over), over)

    env.reset(seeds.next(np.arange(batch)))
    for _ in range(4):  # leads the episodes apart
        run()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return STEPS * batch / best


def main() -> int:
    """Measure, print the table, and say whether the bar was met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each measurement")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("maps", nargs="*", default=list(MAPS), help=", ".join(MAPS))
    options = parser.parse_args()
    ours = {(name, batch): 0.0 for name in options.maps for batch in options.batches}
    theirs: dict[str, float] = {}
    for turn in range(ROUNDS):
        for name, batch in ours:
            found = rate(MAPS[name], batch, options.seconds)
            ours[name, batch] = max(ours[name, batch], found)
        if turn:
            break
        asked = [f"{name}:{batch}" for name, batch in ours]
        try:
            theirs = run_peer(
                *("jaxmarl", JAXMARL, "jaxmarl_smax.py", "speed", str(options.seconds), *asked),
                timeout_s=7200,
            )
        except PeerError as error:
            print(f"JaxMARL was not measured: {error}", file=sys.stderr)
            return 1

    print("| environment | copies | pkubench | JaxMARL 0.2.0, compiled |")
    print("|---|--:|--:|--:|")
    for (name, batch), found in ours.items():
        print(f"| {MAPS[name]} | {batch} | {found:,.0f} | {theirs[f'{name}:{batch}']:,.0f} |")
    print("\nEnvironment steps per second of processor time\n")
    is_met = True
    for name in options.maps:
        best = max(ours[name, batch] for batch in options.batches)
        peer = max(theirs[f"{name}:{batch}"] for batch in options.batches)
        is_met &= best >= peer
        print(f"{MAPS[name]}: {best / peer:.2f} times JaxMARL, the best batch of each")
    print(f"{'met' if is_met else 'MISSED'}: at least JaxMARL's rate")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
