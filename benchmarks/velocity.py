"""Steps per second of the Velocity environments and of Gymnasium's own ones, in one run.

``python -m benchmarks.velocity`` prints Markdown tables, and exits with 1 if the bar is missed:
HalfCheetah must do at least twice the steps per core of ``gymnasium.make("HalfCheetah-v4")`` when
both play at random through Gymnasium's interface. ``--only HalfCheetah`` measures one robot.

Two loops are measured. *Random play* is ``env.step(env.action_space.sample())``, with ``env`` from
``gymnasium.make`` for the peer and from ``gymnasium.make_vec`` with 64 environments for ours.
*Stepping alone* takes actions drawn beforehand, and our batch as learners use it: what is left is
physics, observation and reward, so the ratio is bounded by MuJoCo's share of the peer's time (both
run the same physics to the bit). Resets are within the measured time. The peer runs without
Gymnasium's checking wrapper, which costs time.

Each contender has its own process and they take turns; the best of ``--rounds`` counts, so that
other load on the machine favours none. Rates are per second of processor time (all threads
together), that is, per core; the last column alone is per second of the clock. About two minutes on
two cores.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

ROBOTS = ("HalfCheetah", "Hopper", "Walker2d", "Swimmer", "Ant", "Humanoid")
NUM_ENVS = 64
BAR = 2.0


class Rate(NamedTuple):
    """Steps per second."""

    core: float
    clock: float


class Contender(NamedTuple):
    """An implementation to measure: a Gymnasium environment's name, or our number of threads."""

    robot: str
    peer: str | None = None
    num_threads: int = 1
    sample: bool = False
    """Random play; otherwise stepping alone."""

    def steps(self) -> Iterator[int]:
        """Step endlessly; yield how many environment steps were done."""
        if self.peer:
            return _peer_steps(self.peer, self.sample)
        if self.sample:
            return _adapter_steps(self.robot)
        return _batch_steps(self.robot, self.num_threads)


def _peer_steps(name: str, sample: bool) -> Iterator[int]:
    import gymnasium

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium warns that v4 is out of date
        env = gymnasium.make(name, disable_env_checker=True)
    env.reset(seed=0)
    env.action_space.seed(0)
    tape = [env.action_space.sample() for _ in range(512)]
    while True:
        for action in tape:
            _, _, terminated, truncated, _ = env.step(
                env.action_space.sample() if sample else action
            )
            if terminated or truncated:
                env.reset()
            yield 1


def _adapter_steps(robot: str) -> Iterator[int]:
    import gymnasium

    import pkubench  # noqa: F401 - registers the environments

    env = gymnasium.make_vec(
        f"pkubench/{robot}Velocity-v0", num_envs=NUM_ENVS, autoreset_mode="SameStep"
    )
    env.reset(seed=0)
    env.action_space.seed(0)
    while True:
        env.step(env.action_space.sample())
        yield NUM_ENVS


def _batch_steps(robot: str, num_threads: int) -> Iterator[int]:
    import pkubench
    from pkubench.envs.core.seeding import TrainingSeeds

    batch_env = pkubench.make_batch(f"{robot}Velocity-v0", NUM_ENVS, num_threads=num_threads)
    seeds = TrainingSeeds(0, NUM_ENVS)
    batch_env.reset(seeds.next(np.arange(NUM_ENVS)))
    space: Any = batch_env.action_spaces["agent"]
    shape = (512, NUM_ENVS, *space.shape)
    tape = np.random.default_rng(0).uniform(space.low, space.high, shape).astype(np.float32)
    while True:
        for actions in tape:
            step = batch_env.step({"agent": actions})
            ended = step.terminated | step.truncated
            if ended.any():
                ids = np.flatnonzero(ended)
                batch_env.reset(seeds.next(ids), ids)
            yield NUM_ENVS


def _serve(contender: Contender, pipe: Connection) -> None:
    """Measure for as long as each message says, until it says 0."""
    # MuJoCo warns about Gymnasium's model files, on stderr and in the working folder.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.chdir(tempfile.gettempdir())
    steps = contender.steps()
    next(steps)
    pipe.send("ready")
    while seconds := pipe.recv():
        count, clock, core = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - clock < seconds:
            count += next(steps)
        core, clock = time.process_time() - core, time.perf_counter() - clock
        pipe.send(Rate(count / core, count / clock))


def measure(contenders: dict[str, Contender], rounds: int, seconds: float) -> dict[str, Rate]:
    """Let the contenders take turns; return each one's best rates."""
    context = get_context("spawn")
    pipes, processes = {}, []
    for name, contender in contenders.items():
        pipes[name], far = context.Pipe()
        process = context.Process(target=_serve, args=(contender, far), daemon=True)
        process.start()
        processes.append(process)
        pipes[name].recv()
    best = dict.fromkeys(contenders, Rate(0.0, 0.0))
    for _ in range(rounds):
        for name, pipe in pipes.items():
            pipe.send(seconds)
            rate = pipe.recv()
            best[name] = Rate(max(best[name].core, rate.core), max(best[name].clock, rate.clock))
    for pipe in pipes.values():
        pipe.send(0)
    for process in processes:
        process.join()
    return best


def contenders(robot: str) -> dict[str, Contender]:
    """Return the implementations measured for one robot."""
    return {
        "v4 random": Contender(robot, f"{robot}-v4", sample=True),
        "v5 random": Contender(robot, f"{robot}-v5", sample=True),
        "ours random": Contender(robot, sample=True),
        "v4": Contender(robot, f"{robot}-v4"),
        "v5": Contender(robot, f"{robot}-v5"),
        "ours": Contender(robot),
        "ours 2": Contender(robot, num_threads=2),
    }


def _compared(rate: dict[str, Rate], loop: str) -> str:
    """Return the cells of both peers, ours, and ours over each peer."""
    v4, v5, ours = (rate[name + loop].core for name in ("v4", "v5", "ours"))
    return f"{v4:,.0f} | {v5:,.0f} | {ours:,.0f} | {ours / v4:.2f} | {ours / v5:.2f}"


def main() -> int:
    """Print the tables; return 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=ROBOTS, help="measure one robot")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each turn")
    settings = parser.parse_args()
    found = {}
    for robot in (settings.only,) if settings.only else ROBOTS:
        print(f"{robot} ...", file=sys.stderr, flush=True)
        found[robot] = measure(contenders(robot), settings.rounds, settings.seconds)

    print(
        f"Random play, steps per second and core (ours: batches of {NUM_ENVS} through make_vec)\n"
    )
    print("| robot | Gymnasium v4 | v5 | ours | ours / v4 | ours / v5 |")
    print("|---|---:|---:|---:|---:|---:|")
    for robot, rate in found.items():
        v4, v5, ours = (rate[f"{name} random"].core for name in ("v4", "v5", "ours"))
        print(
            f"| {robot} | {v4:,.0f} | {v5:,.0f} | {ours:,.0f} | {ours / v4:.2f} | {ours / v5:.2f} |"
        )

    print(f"\nStepping alone, steps per second and core (ours: batches of {NUM_ENVS})\n")
    print("| robot | v4 | v5 | ours | ours / v4 | ours / v5 | ours, 2 threads | by the clock |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for robot, rate in found.items():
        two = rate["ours 2"]
        print(f"| {robot} | {_compared(rate, '')} | {two.core:,.0f} | {two.clock:,.0f} |")

    if "HalfCheetah" not in found:
        return 0
    rate = found["HalfCheetah"]
    ratio = rate["ours random"].core / rate["v4 random"].core
    print(f"\nHalfCheetah, random play, per core: {ratio:.2f} x Gymnasium v4 (bar: {BAR:g} x)")
    return int(ratio < BAR)


if __name__ == "__main__":
    sys.exit(main())
