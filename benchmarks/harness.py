"""What the evaluation harness costs compared with the environment and the policy, in one run.

``python -m benchmarks.harness`` prints a Markdown table, and exits with 1 if the bar is missed: the
harness adds less than 15 % to the time of environment and policy. The bare loop does the minimum:
reset, act, step, add up the rewards of 16 environments. The harness does that and copies every
observation, checks every action, masks finished episodes, catches faults, watches the clock, and
writes one line per episode. Both run in turns on one thread; each figure is the minimal processor
time of all turns, so that other load on the machine favours neither. The start of worker processes,
half a second per evaluation, is not included. About half a minute.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from pkubench.agents.contract import Agent, Entrant, Team
from pkubench.agents.families.scripted.random import random_entrant
from pkubench.agents.nn.fast.policy import Layers, NetworkPolicy, NetworkSettings
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import evaluation_seeds
from pkubench.evaluation.run.episodes import BLOCK, run_block
from pkubench.evaluation.run.worker import SharedClock
from pkubench.evaluation.run.workers import SLOTS
from pkubench.tasks.registry import make_task
from pkubench.tasks.task import Task

BAR = 0.15
HIDDEN = (128, 128)
"""Hidden layers of the network policies, with LayerNorm: those of HARL's particle agents."""


class Case(NamedTuple):
    """One row of the table."""

    task: str
    policy: str
    steps: int
    """Steps of a block that are measured."""


CASES = (
    Case("SimpleSpread-v0", "network", 25),
    Case("SimpleSpread-v0", "random", 25),
    Case("SimpleReferenceContinuous-v0", "network", 25),
    Case("HalfCheetahVelocity-v0", "network", 100),
    Case("HopperVelocity-v0", "random", 100),
)


def network_entrant(env: BatchEnv) -> Agent | Team:
    """Return networks of random weights, of the size that the suite's agents have."""
    rng = np.random.default_rng(0)

    def policy(agent: str) -> NetworkPolicy:
        space = env.action_spaces[agent]
        inputs = int(np.prod(env.observation_spaces[agent].shape or (1,)))
        is_box = isinstance(space, spaces.Box)
        outputs = int(np.prod(space.shape)) if is_box else int(space.n)  # type: ignore[attr-defined, arg-type]
        sizes = (inputs, *HIDDEN, outputs)
        linears = tuple(
            (rng.normal(size=(a, b)).astype("f") / a, np.zeros(b, "f")) for a, b in pairwise(sizes)
        )
        norms = tuple((np.ones(a, "f"), np.zeros(a, "f")) for a in sizes[:-1])
        settings = NetworkSettings(space, None, "clip", None, None)
        return NetworkPolicy(Layers(linears, norms, "relu"), settings)

    members = {agent: policy(agent) for agent in env.agents}
    return Team(members) if len(members) > 1 else members[env.agents[0]]


def bare(env: BatchEnv, entrant: Entrant, seeds: np.ndarray[Any, Any]) -> float:
    """Play a block without the harness; return the mean return."""
    members: Mapping[str, Any]
    members = entrant.members if isinstance(entrant, Team) else {env.agents[0]: entrant}
    active = np.ones(len(seeds), np.bool_)
    observations, _ = env.reset(seeds)
    states = {agent: member.begin(seeds) for agent, member in members.items()}
    returns = np.zeros((len(seeds), env.num_agents))
    while active.any():
        actions = {}
        for agent, member in members.items():
            actions[agent], states[agent] = member.act(observations[agent], states[agent], active)
        step = env.step(actions, None if active.all() else active)
        observations = step.observations
        returns += step.rewards * active[:, None]
        active = active & ~(step.terminated | step.truncated)
    return float(returns.sum(axis=1).mean())


def harnessed(env: BatchEnv, entrant: Entrant, task: Task) -> float:
    """Play a block as a worker process does, to the line of each record."""
    clock = SharedClock(memoryview(bytearray(8 * SLOTS)).cast("d"))
    episodes = task.scoring.plan(task, 0, BLOCK)
    records = list(run_block(env, entrant, task, episodes, clock, clock.steps_taken))
    lines = [record.line(task) for record in records]
    assert len(lines) == BLOCK and all(record.failure is None for record in records)
    return float(np.mean([record.return_ for record in records]))  # type: ignore[arg-type]


def processor_time(play: Callable[[], float]) -> float:
    """Return the processor time of one call, which waiting for other programs does not change."""
    start = time.process_time()
    play()
    return time.process_time() - start


def measure(case: Case, seconds: float) -> tuple[float, float]:
    """Return seconds per block, bare and with the harness."""
    task = make_task(case.task)
    seeds = evaluation_seeds(0, BLOCK)
    env = make_batch(case.task, BLOCK, max_episode_steps=case.steps)
    entrant = network_entrant(env) if case.policy == "network" else random_entrant(env)
    times = [float("inf"), float("inf")]
    plays: list[Callable[[], float]] = [
        lambda: bare(env, entrant, seeds),
        lambda: harnessed(env, entrant, task),
    ]
    for play in plays:
        play()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:  # in turns
        for which, play in enumerate(plays):
            times[which] = min(times[which], processor_time(play))
    env.close()
    return times[0], times[1]


def main() -> int:
    """Measure, print the table, and say whether the bar was met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each row")
    options = parser.parse_args()
    print("| task | policy | environment + policy, us per step of 16 | with harness | overhead |")
    print("|------|--------|------:|------:|------:|")
    worst = 0.0
    for case in CASES:
        alone, inside = measure(case, options.seconds)
        overhead = inside / alone - 1.0
        worst = max(worst, overhead)
        micro = [1e6 * t / case.steps for t in (alone, inside)]
        print(
            f"| {case.task} | {case.policy} | {micro[0]:,.0f} | {micro[1]:,.0f} | {overhead:.1%} |"
        )
    print()
    passed = worst < BAR
    print(f"{'met' if passed else 'MISSED'}: the harness adds less than {BAR:.0%}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
