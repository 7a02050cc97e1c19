"""Steps per second of Multi-Agent MuJoCo and of Gymnasium-Robotics' version, in one run.

``python -m benchmarks.multi_mujoco`` prints Markdown tables, and exits with 1 if a bar is missed:
HalfCheetah 2x3 and Ant 4x2 must do at least three times the steps per core of
``mamujoco_v1.parallel_env``, in each of the two loops below. ``--only Ant`` measures one robot.

Both step through the same states and show their agents the same numbers (``agent_obsk=1``, the
original's default). *Random play* samples every agent's action from its space and steps: the peer
one copy, as its interface has it, ours 64 environments of ``gymnasium.make_vec``. *Stepping alone*
takes actions drawn beforehand, and our batch as learners use it: what is left is physics,
observations and reward, so the ratio is bounded by MuJoCo's share of the peer's time. Our default,
the whole state standardised as in HARL, is measured as well. Resets are within the measured time.
The peer runs without Gymnasium's checking wrapper, which costs time.

Turns, best rounds and processor time are those of ``benchmarks.velocity``. About two minutes.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks.velocity import NUM_ENVS, Rate, measure

FACTORIZATIONS = {
    "HalfCheetah": "2x3",
    "Ant": "4x2",
    "Hopper": "3x1",
    "Walker2d": "2x3",
    "Swimmer": "2x1",
    "Humanoid": "9p8",
}
BARRED = ("HalfCheetah", "Ant")
BAR = 3.0
OBSK = 1


class Contender(NamedTuple):
    """An implementation to measure."""

    robot: str
    kind: str
    """``peer``, or one of ours: ``batch`` or ``adapter``."""
    sample: bool = False
    """Random play; otherwise stepping alone."""
    agent_obsk: int | None = OBSK

    def steps(self) -> Iterator[int]:
        """Step endlessly; yield how many environment steps were done."""
        if self.kind == "peer":
            return _peer_steps(self.robot, self.sample)
        if self.kind == "adapter":
            return _adapter_steps(self.robot, self.agent_obsk)
        return _batch_steps(self.robot, self.agent_obsk)


def _name(robot: str) -> str:
    return f"pkubench/Multi{robot}{FACTORIZATIONS[robot]}-v0"


def _peer_steps(robot: str, sample: bool) -> Iterator[int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from gymnasium_robotics import mamujoco_v1

        conf = FACTORIZATIONS[robot].replace("p", "|")
        env = mamujoco_v1.parallel_env(robot, conf, agent_obsk=OBSK, disable_env_checker=True)
    env.reset(seed=0)
    spaces = {agent: env.action_space(agent) for agent in env.possible_agents}
    for place, space in enumerate(spaces.values()):
        space.seed(place)
    tape = [{agent: space.sample() for agent, space in spaces.items()} for _ in range(512)]
    while True:
        for given in tape:
            if sample:
                given = {agent: space.sample() for agent, space in spaces.items()}
            env.step(given)
            if not env.agents:
                env.reset()
            yield 1


def _adapter_steps(robot: str, agent_obsk: int | None) -> Iterator[int]:
    import gymnasium

    import pkubench  # noqa: F401 - registers the environments

    env = gymnasium.make_vec(
        _name(robot), num_envs=NUM_ENVS, autoreset_mode="SameStep", agent_obsk=agent_obsk
    )
    env.reset(seed=0)
    env.action_space.seed(0)
    while True:
        env.step(env.action_space.sample())
        yield NUM_ENVS


def _batch_steps(robot: str, agent_obsk: int | None) -> Iterator[int]:
    import pkubench
    from pkubench.envs.core.seeding import TrainingSeeds

    batch_env = pkubench.make_batch(_name(robot), NUM_ENVS, agent_obsk=agent_obsk)
    seeds = TrainingSeeds(0, NUM_ENVS)
    batch_env.reset(seeds.next(np.arange(NUM_ENVS)))
    random = np.random.default_rng(0)
    boxes: dict[str, Any] = dict(batch_env.action_spaces)
    tape = [
        {
            agent: random.uniform(box.low, box.high, (NUM_ENVS, *box.shape)).astype(np.float32)
            for agent, box in boxes.items()
        }
        for _ in range(512)
    ]
    while True:
        for given in tape:
            step = batch_env.step(given)
            ended = step.terminated | step.truncated
            if ended.any():
                ids = np.flatnonzero(ended)
                batch_env.reset(seeds.next(ids), ids)
            yield NUM_ENVS


def contenders(robot: str) -> dict[str, Contender]:
    """Return the implementations measured for one robot."""
    return {
        "peer random": Contender(robot, "peer", sample=True),
        "ours random": Contender(robot, "adapter", sample=True),
        "peer": Contender(robot, "peer"),
        "ours": Contender(robot, "batch"),
        "ours whole": Contender(robot, "batch", agent_obsk=None),
    }


def _row(robot: str, rate: dict[str, Rate], suffix: str) -> str:
    peer, ours = rate[f"peer{suffix}"].core, rate[f"ours{suffix}"].core
    return f"| {robot} {FACTORIZATIONS[robot]} | {peer:,.0f} | {ours:,.0f} | {ours / peer:.2f} |"


def _judge(robot: str, rate: dict[str, Rate], loop: str, suffix: str) -> int:
    """Compare one loop with the bar; return 1 if it is missed."""
    ratio = rate[f"ours{suffix}"].core / rate[f"peer{suffix}"].core
    verdict = "met" if ratio >= BAR else "MISSED"
    print(f"{robot}, {loop}, per core: {ratio:.2f} x the peer (bar: {BAR:g} x): {verdict}")
    return int(ratio < BAR)


def main() -> int:
    """Print the tables; return 1 if a bar is missed in either loop."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=tuple(FACTORIZATIONS), help="measure one robot")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each turn")
    settings = parser.parse_args()
    found = {}
    for robot in (settings.only,) if settings.only else FACTORIZATIONS:
        print(f"{robot} ...", file=sys.stderr, flush=True)
        found[robot] = measure(contenders(robot), settings.rounds, settings.seconds)

    print(
        f"Random play, steps per second and core (ours: batches of {NUM_ENVS} through make_vec)\n"
    )
    print("| robot | Gymnasium-Robotics | ours | ratio |\n|---|---:|---:|---:|")
    for robot, rate in found.items():
        print(_row(robot, rate, " random"))
    print(f"\nStepping alone, steps per second and core (ours: batches of {NUM_ENVS})\n")
    print("| robot | Gymnasium-Robotics | ours | ratio | ours, HARL's mode |")
    print("|---|---:|---:|---:|---:|")
    for robot, rate in found.items():
        print(f"{_row(robot, rate, '')} {rate['ours whole'].core:,.0f} |")
    print()
    missed = 0
    for robot in found:
        if robot in BARRED:
            missed |= _judge(robot, found[robot], "random play", " random")
            missed |= _judge(robot, found[robot], "stepping alone", "")
    return missed


if __name__ == "__main__":
    sys.exit(main())
