"""Physics steps per second of grasping compared with EnvPool's HandManipulateBlock, in one run.

``python -m benchmarks.grasp`` prints a Markdown table, and exits with 1 if a bar is missed: with
objects of 1, 4 and 16 convex parts at least 0.64, 0.46 and 0.32 of the physics steps that EnvPool
1.2.5 (C++, one thread, its own virtual environment) does with the same hand and a block; with one
part at least 2.5 times its simulated seconds; observation and reward at most 12 % more than the
physics alone; and on a second thread at least 90 % of the steps per second of processor time.

A step of ours is 1/120 s with the contact settings under which grasps hold, EnvPool's 2 ms. Ours
play scripts that reach for the object, close the hand on it and lift, different ones in each of 256
environments: most of the steps have hand and object in contact. Their actions were recorded before
and are played again from the same starts; every measured time has resets. *Physics alone* sets the
same controls and forces and takes the same physics steps: what computes observation and reward,
where everything is after the last of them included, comes on top of it.

All rates are per second of processor time; the contenders take turns, a rate is the median of its
turns and a ratio the median of the ratios of turns that followed each other, so that other load on
the machine favors none. Two minutes, and some more once to install EnvPool.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import PeerError, peer_python
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.envs.grasp.environments import load_split
from pkubench.envs.grasp.grasp_batch import GraspBatch
from pkubench.envs.grasp.items import Solid
from pkubench.envs.grasp.open_loop import ScriptAgent
from pkubench.envs.grasp.scene import SUBSTEPS, TIMESTEP_S
from pkubench.envs.grasp.search import EPISODE_STEPS, first_scripts

ENVPOOL = ["envpool==1.2.5"]
PEER_TIMESTEP_S = 0.002
NUM_ENVS = 256
SCALE_M = 0.08
BARS = {1: 0.64, 4: 0.46, 16: 0.32}
SECONDS_BAR, OVERHEAD_BAR, THREAD_BAR = 2.5, 0.12, 0.9


class EnvPool:
    """EnvPool's process."""

    def __init__(self) -> None:
        """Start it.

        Raises:
            PeerError: it could not be installed.
        """
        script = str(Path(__file__).with_name("envpool_hand_peer.py"))
        self._process = subprocess.Popen(
            [str(peer_python("envpool", ENVPOOL)), script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def rate(self, seconds: float) -> float:
        """Return physics steps per second of processor time.

        Raises:
            PeerError: the process has ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        print(seconds, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise PeerError("EnvPool's process has ended")
        return float(answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Ours:
    """A batch with recorded actions."""

    def __init__(self, item: Solid, threads: int = 1) -> None:
        self.env = GraspBatch([item], NUM_ENVS, num_threads=threads)
        self.seeds = np.arange(NUM_ENVS)
        observations, _ = self.env.reset(self.seeds)
        agent = ScriptAgent(first_scripts(self.env, np.random.default_rng(0)))
        state, active = agent.begin(self.seeds), np.ones(NUM_ENVS, dtype=np.bool_)
        self.tape: list[Any] = []
        self.inputs: list[tuple[Any, Any]] = []
        for _ in range(EPISODE_STEPS):
            action, state = agent.act(observations[SOLE_AGENT], state, active)
            observations = self.env.step({SOLE_AGENT: action}).observations
            self.tape.append(action)
            wrench = self.env.batch.xfrc_applied
            self.inputs.append((self.env.ctrl.copy(), wrench.copy()))

    def play(self, seconds: float) -> float:
        """Return physics steps per second of the environment."""
        count, start = 0, time.process_time()
        while (spent := time.process_time() - start) < seconds:
            self.env.reset(self.seeds)
            for action in self.tape:
                self.env.step({SOLE_AGENT: action})
            count += len(self.tape) * NUM_ENVS * SUBSTEPS
        return count / spent

    def simulate(self, seconds: float) -> float:
        """Return those of the physics alone."""
        count, start = 0, time.process_time()
        while (spent := time.process_time() - start) < seconds:
            self.env.reset(self.seeds)
            for ctrl, wrench in self.inputs:
                self.env.ctrl[:], self.env.batch.bind("xfrc_applied")[:] = ctrl, wrench
                self.env.batch.step(nstep=SUBSTEPS)
            count += len(self.inputs) * NUM_ENVS * SUBSTEPS
        return count / spent


def item_of(parts: int) -> Solid:
    """Return the first object to train on that has this many parts."""
    for item in load_split("train", is_small=False):
        if len(item.object.parts) == parts:
            return Solid(item.object, SCALE_M)
    raise ValueError(f"no object has {parts} parts")


def main() -> int:
    """Measure, print the table, and say which bars are missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of processor time, each turn")
    settings = parser.parse_args()
    try:
        envpool = EnvPool()
        missed = compare(envpool, settings.rounds, settings.seconds)
        envpool.close()
        missed += compare_threads(settings.rounds, settings.seconds)
    except PeerError as error:
        print(f"EnvPool: {error}", file=sys.stderr)
        return 1
    print(f"\nMISSED: {'; '.join(missed)}" if missed else "\nevery bar is met")
    return 1 if missed else 0


def compare(envpool: EnvPool, rounds: int, seconds: float) -> list[str]:
    """Let the contenders take turns, print a row for each object; return what is missed."""
    missed = []
    print("Physics steps per second of processor time\n")
    print("| parts | object | EnvPool | ours | of EnvPool's | simulated seconds | physics alone |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for parts, bar in BARS.items():
        item = item_of(parts)
        ours = Ours(item)
        turns = [
            (envpool.rate(seconds), ours.play(seconds), ours.simulate(seconds))
            for _ in range(rounds)
        ]
        peer, rate, alone = (statistics.median(column) for column in zip(*turns, strict=True))
        ratio = statistics.median(b / a for a, b, _ in turns)
        overhead = statistics.median(c / b - 1.0 for _, b, c in turns)
        simulated = ratio * TIMESTEP_S / PEER_TIMESTEP_S
        print(
            f"| {parts} | {item.object.name} | {peer:,.0f} | {rate:,.0f} | {ratio:.2f} "
            f"| {simulated:.1f}x | {alone:,.0f} ({overhead:+.0%}) |",
            flush=True,
        )
        if ratio < bar:
            missed.append(f"{parts} parts: {ratio:.2f} of EnvPool's steps, wanted {bar:g}")
        if parts == 1 and simulated < SECONDS_BAR:
            missed.append(f"{simulated:.1f}x EnvPool's simulated seconds, wanted {SECONDS_BAR:g}x")
        if overhead > OVERHEAD_BAR:
            missed.append(f"{parts} parts: {overhead:.0%} for observation and reward, wanted 12 %")
    return missed


def compare_threads(rounds: int, seconds: float) -> list[str]:
    """Let one thread and two take turns and print a row; return what is missed.

    What a second thread gains by the clock is as its share of the processor time only where the
    machine has nothing else to do, so that no bar is on it.
    """
    one, two = (Ours(item_of(1), threads) for threads in (1, 2))
    turns = []
    for _ in range(rounds):
        turn = []
        for ours in (one, two):
            start = time.perf_counter(), time.process_time()
            rate = ours.play(seconds)
            wall, spent = time.perf_counter() - start[0], time.process_time() - start[1]
            turn.append((rate, rate * spent / wall))
        turns.append(turn)
    kept = statistics.median(b[0] / a[0] for a, b in turns)
    gained = statistics.median(b[1] / a[1] for a, b in turns)
    load = os.getloadavg()[0]
    print(
        f"\nA second thread: {kept:.2f} of the steps per second of processor time, {gained:.2f} "
        f"times those per second of the clock (1 part; load of the machine {load:.1f})",
        flush=True,
    )
    return [] if kept >= THREAD_BAR else [f"two threads: {kept:.2f} of one's, wanted {THREAD_BAR}"]


if __name__ == "__main__":
    sys.exit(main())
