"""Steps per second of MiniGrid tasks compared with EnvPool and with MiniGrid itself, in one run.

``python -m benchmarks.minigrid`` prints Markdown tables, and exits with 1 if a bar is missed: with
256 environments at least 5 times EnvPool's rate on every task of MT7 (4 times on MultiRoom), with
64 at least twice, with 1,024 at least 8 times on DoorKey-8x8, and one environment no slower than
MiniGrid's. A step moves one environment by an action drawn beforehand. Ours are those of
``gymnasium.make_vec``, with their checks, automatic resets, infos and observations of C-contiguous
uint8, and every episode plays a new level, the one that MiniGrid makes of its seed. EnvPool 1.2.5
(C++, one thread) has the batch that suits it best, its own levels, and a virtual environment of its
own (``benchmarks/peers.py``).

All rates are per second of processor time, all threads together. The contenders take turns; a rate
is the median of its turns, and a ratio the median of the ratios of turns that followed each other,
so that other load on the machine favours none. About three minutes, and some more once to install
EnvPool.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from benchmarks.peers import PeerError, peer_python
from pkubench.envs.adapters.factories import make_vector
from pkubench.envs.core.registry import environments

ENVPOOL = ["envpool==1.2.5"]
PEER_BATCHES = (64, 256, 1024, 4096)
BATCHES = (1, 64, 256, 1024)
TASKS = {
    "DoorKey-6x6-v0": "MiniGridDoorKey6x6-v0",
    "DistShift1-v0": "MiniGridDistShift1-v0",
    "RedBlueDoors-6x6-v0": "MiniGridRedBlueDoors6x6-v0",
    "LavaGapS7-v0": "MiniGridLavaGapS7-v0",
    "MemoryS11-v0": "MiniGridMemoryS11-v0",
    "SimpleCrossingS9N2-v0": "MiniGridSimpleCrossingS9N2-v0",
    "MultiRoom-N2-S4-v0": "MiniGridMultiRoomN2S4-v0",
    "DoorKey-8x8-v0": "minigrid:DoorKey-8x8-v0",
}
"""MiniGrid's name, without ``MiniGrid-`` -> ours."""
MIXED = "MiniGridMT7-v0"
LONG = "DoorKey-8x8-v0"

Rate = Callable[[float], float]
"""From seconds to measure to steps per second of processor time."""


def bar(level: str, num_envs: int) -> float | None:
    """Return how many times EnvPool's rate ours must be, None where there is no bar."""
    if num_envs == 64:
        return 2.0
    if num_envs == 256:
        return 4.0 if level.startswith("MultiRoom") else 5.0
    return 8.0 if num_envs == 1024 and level == LONG else None


class EnvPool:
    """EnvPool's process."""

    def __init__(self) -> None:
        """Start it.

        Raises:
            PeerError: it could not be installed.
        """
        script = str(Path(__file__).with_name("envpool_peer.py"))
        self._process = subprocess.Popen(
            [str(peer_python("envpool", ENVPOOL)), script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def rate(self, level: str, num_envs: int, seconds: float) -> float:
        """Return steps per second of processor time.

        Raises:
            PeerError: the process has ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        request = {"level": level, "num_envs": num_envs, "seconds": seconds}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise PeerError("EnvPool's process has ended")
        return float(json.loads(answer))

    def at_its_best(self, level: str, seconds: float) -> Rate:
        """Return the rate of the batch that is fastest on a level."""
        best = max(PEER_BATCHES, key=lambda n: self.rate(level, n, seconds))
        return lambda seconds: self.rate(level, best, seconds)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def ours(name: str, num_envs: int) -> Rate:
    """Return the rate of our environments."""
    full = f"pkubench/{name}"
    if full in environments():
        env: Any = gymnasium.make_vec(full, num_envs=num_envs)
    else:
        env = make_vector(name, num_envs)
    observation, _ = env.reset(seed=0)
    assert observation.dtype == np.uint8 and observation.flags.c_contiguous
    tape = np.random.default_rng(0).integers(0, 7, (64, num_envs))
    for _ in range(16):  # until environments are in the middle of their episodes
        for actions in tape:
            env.step(actions)

    def rate(seconds: float) -> float:
        count, start = 0, time.process_time()
        while (spent := time.process_time() - start) < seconds:
            for actions in tape:
                env.step(actions)
            count += tape.size
        return count / spent

    return rate


def original(level: str) -> Rate:
    """Return the rate of MiniGrid's environment, with its resets and without Gymnasium's checks."""
    import minigrid  # noqa: F401 - registers its environments

    env = gymnasium.make(f"MiniGrid-{level}", disable_env_checker=True)
    env.reset(seed=0)
    tape = np.random.default_rng(0).integers(0, 7, 64).tolist()

    def rate(seconds: float) -> float:
        count, start = 0, time.process_time()
        while (spent := time.process_time() - start) < seconds:
            for action in tape:
                _, _, terminated, truncated, _ = env.step(action)
                if terminated or truncated:
                    env.reset()
            count += len(tape)
        return count / spent

    return rate


def paired(
    first: Rate, others: dict[int, Rate], rounds: int, seconds: float
) -> tuple[float, dict[int, tuple[float, float]]]:
    """Let contenders take turns; return the first's rate, and others' rates and ratios to it."""
    rates: dict[int, list[float]] = {key: [] for key in others}
    base = []
    for _ in range(rounds):
        base.append(first(seconds))
        for key, rate in others.items():
            rates[key].append(rate(seconds))
    found = {
        key: (
            statistics.median(own),
            statistics.median(a / b for a, b in zip(own, base, strict=True)),
        )
        for key, own in rates.items()
    }
    return statistics.median(base), found


def main() -> int:
    """Measure, print the tables, and say which bars are missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.15, help="of processor time, each turn")
    parser.add_argument("--only", choices=TASKS, help="one level")
    settings = parser.parse_args()
    rounds, seconds = settings.rounds, settings.seconds
    levels = [settings.only] if settings.only else list(TASKS)
    missed = []
    try:
        envpool = EnvPool()
    except PeerError as error:
        print(f"EnvPool: {error}", file=sys.stderr)
        return 1

    print("Thousands of steps per second of processor time, and times EnvPool's rate\n")
    print("| level | EnvPool | " + " | ".join(f"ours, {n}" for n in BATCHES[1:]) + " |")
    print("|---|---:|" + "---:|" * len(BATCHES[1:]))
    for level in levels:
        peer = envpool.at_its_best(level, seconds)
        contenders = {n: ours(TASKS[level], n) for n in BATCHES[1:]}
        base, found = paired(peer, contenders, rounds, seconds)
        cells = [f"{rate / 1e3:,.0f} ({ratio:.1f}x)" for rate, ratio in found.values()]
        print(f"| {level} | {base / 1e3:,.0f} | {' | '.join(cells)} |", flush=True)
        for num_envs, (_, ratio) in found.items():
            wanted = bar(level, num_envs)
            if wanted is not None and ratio < wanted:
                missed.append(f"{level} with {num_envs}: {ratio:.1f}x EnvPool, wanted {wanted:g}x")
    envpool.close()

    print("\nOne environment, thousands of steps per second of processor time\n")
    print("| level | MiniGrid | ours | ours / MiniGrid |\n|---|---:|---:|---:|")
    for level in levels:
        base, found = paired(original(level), {1: ours(TASKS[level], 1)}, rounds, seconds)
        rate, ratio = found[1]
        print(f"| {level} | {base / 1e3:.1f} | {rate / 1e3:.1f} | {ratio:.2f} |", flush=True)
        if ratio < 1.0:
            missed.append(f"{level}, one environment: {ratio:.2f} of MiniGrid's rate")

    if settings.only is None:
        rates = [f"{ours(MIXED, n)(4 * seconds) / 1e3:,.0f} ({n})" for n in BATCHES]
        print(f"\n{MIXED}, seven tasks in one batch: {', '.join(rates)}")
    print(f"\nMISSED: {'; '.join(missed)}" if missed else "\nevery bar is met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
