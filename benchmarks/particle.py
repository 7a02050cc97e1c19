"""SimpleSpread steps per second compared with mpe2 and JaxMARL, in one run.

``python -m benchmarks.particle`` prints a Markdown table, and exits with 1 if a bar is missed: 100
times mpe2's rate, and no less than JaxMARL's. A step moves one environment of three agents
(discrete actions, drawn beforehand); every 25 steps come the resets, within the measured time, and
all observations are laid out as (environments, 18) float32. Ours runs on one thread; JaxMARL gets
all cores and a virtual environment of its own (see ``benchmarks/peers.py``). Each rate is the best
of its rounds, so that other load on the machine favours none. About two minutes, and once some
minutes more to install JaxMARL; ``--no-jaxmarl`` leaves it out.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from benchmarks.peers import PeerError, run_peer
from pkubench.envs.adapters.factories import make_single, make_vector
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import TrainingSeeds

STEPS = 25
BATCHES = (256, 1024, 4096)
MPE2_BAR = 100.0
JAXMARL = ["jaxmarl==0.2.0"]
JAXMARL_BATCHES = ("64", "256", "1024", "4096", "16384")
ROUNDS = 3

Episode = Callable[[], None]
"""Plays one episode of ``STEPS`` steps in every environment."""


def best_rate(episode: Episode, num_envs: int, seconds: float) -> float:
    """Return the highest number of environment steps per second of all repetitions."""
    episode()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        episode()
        best = min(best, time.perf_counter() - start)
    return STEPS * num_envs / best


def batch_episode(num_envs: int) -> Episode:
    """Our batch, as learners and the evaluation use it."""
    batch_env = make_batch("SimpleSpread-v0", num_envs)
    seeds, ids = TrainingSeeds(0, num_envs), np.arange(num_envs)
    rng = np.random.default_rng(0)
    tape = [{a: rng.integers(0, 5, num_envs) for a in batch_env.agents} for _ in range(STEPS)]

    def episode() -> None:
        batch_env.reset(seeds.next(ids))
        for actions in tape:
            batch_env.step(actions)

    return episode


def vector_episode(num_envs: int) -> Episode:
    """Our batch behind ``gymnasium.make_vec``, which checks actions and resets by itself."""
    env = make_vector("SimpleSpread-v0", num_envs, autoreset_mode="SameStep")
    env.reset(seed=0)
    env.action_space.seed(0)
    tape = [env.action_space.sample() for _ in range(STEPS)]

    def episode() -> None:
        for actions in tape:
            env.step(actions)

    return episode


def single_episode() -> Episode:
    """Our single Gymnasium environment."""
    env = make_single("SimpleSpread-v0")
    env.action_space.seed(0)
    tape = [env.action_space.sample() for _ in range(STEPS)]

    def episode() -> None:
        env.reset()
        for actions in tape:
            env.step(actions)

    return episode


def mpe2_episode() -> Episode:
    """The original's parallel environment."""
    from mpe2 import simple_spread_v3

    env = simple_spread_v3.parallel_env(max_cycles=STEPS)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    tape = [{a: int(rng.integers(5)) for a in env.agents} for _ in range(STEPS)]

    def episode() -> None:
        env.reset()
        for actions in tape:
            env.step(dict(actions))

    return episode


def measure_batch(num_envs: int, seconds: float) -> float:
    """Measure our batch; a function of the module, so that another process can be asked."""
    return best_rate(batch_episode(num_envs), num_envs, seconds)


def two_processes(num_envs: int, seconds: float) -> float:
    """Return the summed rate of two processes at the same time."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(measure_batch, [num_envs] * 2, [0.1] * 2))  # imports are done by now
        return sum(pool.map(measure_batch, [num_envs] * 2, [seconds] * 2))


def main() -> int:
    """Measure, print the table, and say whether the bars were met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement")
    parser.add_argument("--no-jaxmarl", action="store_true", help="leave JaxMARL out")
    options = parser.parse_args()
    seconds = options.seconds

    ours: dict[int, float] = dict.fromkeys(BATCHES, 0.0)
    mpe2 = single = 0.0
    for _ in range(ROUNDS):  # in turns
        mpe2 = max(mpe2, best_rate(mpe2_episode(), 1, seconds))
        single = max(single, best_rate(single_episode(), 1, seconds / 2))
        for num_envs in BATCHES:
            ours[num_envs] = max(ours[num_envs], measure_batch(num_envs, seconds))
    best = max(ours, key=lambda num_envs: ours[num_envs])
    rows = [("mpe2 1.1.1 `simple_spread_v3`, one environment", mpe2)]
    rows.append(("pkubench, `gymnasium.make` adapter, one environment", single))
    rows += [(f"pkubench, batch of {num_envs}, one thread", ours[num_envs]) for num_envs in BATCHES]
    vector = best_rate(vector_episode(best), best, seconds)
    rows.append((f"pkubench, `gymnasium.make_vec` adapter, batch of {best}, one thread", vector))
    rows.append((f"pkubench, two processes of {best}", two_processes(best, seconds)))

    passed = ours[best] >= MPE2_BAR * mpe2
    if not options.no_jaxmarl:
        try:
            rates = run_peer(
                "jaxmarl", JAXMARL, "jaxmarl_spread.py", str(seconds), *JAXMARL_BATCHES
            )
        except PeerError as error:
            print(f"JaxMARL was not measured: {error}", file=sys.stderr)
            return 1
        num_envs, rate = max(rates.items(), key=lambda pair: pair[1])
        rows.append((f"JaxMARL 0.2.0, compiled, {num_envs} environments, all cores", rate))
        passed = passed and ours[best] >= rate

    print("| what | steps/s | times mpe2 |")
    print("|------|--------:|-----------:|")
    for what, rate in rows:
        print(f"| {what} | {rate:,.0f} | {rate / mpe2:,.1f} |")
    print()
    bar = f"at least {MPE2_BAR:g} times mpe2" + ("" if options.no_jaxmarl else ", and JaxMARL")
    print(f"{'met' if passed else 'MISSED'}: {bar}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
