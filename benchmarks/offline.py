"""Offline data: the rate at which data sets are made, and read again.

``python -m benchmarks.offline`` prints a Markdown table, and exits with 1 if playing, recording and
writing a data set makes fewer than 20,000 steps per second of processor time, on one thread; where
the environment alone is little faster (a robot's physics, which ``benchmarks.offline_data`` gives
all cores), if it makes fewer than 0.6 times as many as the environment alone. Steps of a team count
once for each agent: Minari's format has arrays of their own for each, and HDF5's time goes by the
number of arrays, about 100 us each, whatever their size. Agents are those of
that command: random play, the optimum of KeyToDoor with random actions in between, a trained policy
on HopperVelocity and a trained team on SimpleSpread. For comparison, Minari's own
``create_dataset_from_buffers`` on the same episodes. About a minute.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import contextlib
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.offline_data import NUM_ENVS, Maker, Plan
from benchmarks.offline_scripted import NoisyAgent
from pkubench.agents.contract import Entrant
from pkubench.agents.families.scripted.policies import scripted_agent
from pkubench.agents.registry import WEIGHTS, family_of, import_function, preset
from pkubench.agents.saved.files import load_saved
from pkubench.data import minari_files
from pkubench.data.episodes import Episodes, each
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import TrainingSeeds

BAR, SHARE = 20_000, 0.6
"""Steps per second of processor time; of the environment's own where that is slower."""


def noisy(maker: Maker) -> Entrant:
    """Return the optimum with every second action random."""
    optimum = scripted_agent("optimum", maker.task.id)
    return NoisyAgent(optimum, maker.random_entrant(), 0.5)


def trained(agent: str) -> Callable[[Maker], Entrant]:
    """Return what loads the shipped agent of a task, with sampled actions."""

    def load(maker: Maker) -> Entrant:
        folder = WEIGHTS / agent / maker.plan.task / "seed0"
        family = family_of(preset(agent))
        function = import_function(str(family.load))
        return function(load_saved(folder), maker.task, family.acting_with({"mode": "sampled"}))

    return load


SETS: tuple[tuple[str, str, Callable[[Maker], Entrant], int], ...] = (
    ("KeyToDoor-v0", "random", Maker.random_entrant, 56_000),
    ("KeyToDoor-v0", "half optimal", noisy, 56_000),
    ("HopperVelocity-v0", "random", Maker.random_entrant, 50_000),
    ("HopperVelocity-v0", "ppo", trained("ppo"), 100_000),
    ("SimpleSpread-v0", "happo", trained("happo"), 100_000),
)
"""Task, who acts, how it is made, and steps of the set."""


def main() -> int:
    """Print the table; return 1 if a rate is below the bar."""
    argparse.ArgumentParser(description=str(__doc__).partition("\n")[0]).parse_args()
    rows, is_missed = [], False
    with tempfile.TemporaryDirectory() as folder:
        for task, who, make, steps in SETS:
            maker = Maker(Plan(task), Path(folder), Path(folder))
            entrant = make(maker)
            maker.play(entrant, "warm", 1, steps=1)
            began = time.process_time()
            episodes = maker.play(entrant, f"bench/{task}-v0", 0, steps=steps)
            played = time.process_time()
            write(episodes, maker, Path(folder))
            written = time.process_time()
            minari_files.read(str(Path(folder) / episodes.name))
            read = time.process_time()
            alone = environment_alone(maker)
            rate = episodes.num_steps / (written - began)
            agents = max(len(episodes.agents), 1)
            is_missed |= agents * rate < (BAR if alone > BAR / SHARE else SHARE * alone)
            rates = [rate, alone] + [
                episodes.num_steps / seconds
                for seconds in (
                    played - began,
                    written - played,
                    own_writer(episodes, maker, Path(folder)),
                    read - written,
                )
            ]
            figures = [f"{r:,.0f}" if r else "-" for r in rates]
            rows.append((task, who, f"{episodes.num_steps:,}", *figures))
    columns = (
        *("task", "agent", "steps", "made per s", "environment alone", "played and recorded"),
        *("written", "written by Minari", "read"),
    )
    for row in (columns, ("---",) * len(columns), *rows):
        print(f"| {' | '.join(row)} |")
    print(
        f"\nbar: {BAR:,} steps of an agent made per second of processor time, or {SHARE:g} of the "
        "environment's"
    )
    return int(is_missed)


def environment_alone(maker: Maker) -> float:
    """Return the steps per second of processor time of the environment, without an agent."""
    env = make_batch(maker.task.id, NUM_ENVS)
    seeds = TrainingSeeds(1, NUM_ENVS)
    env.reset(seeds.next(np.arange(NUM_ENVS)))
    actions = {
        agent: np.stack([space.sample() for _ in range(NUM_ENVS)])
        for agent, space in env.action_spaces.items()
    }
    began = time.process_time()
    for _ in range(100):
        step = env.step(actions)
        ended = np.flatnonzero(step.terminated | step.truncated)
        if len(ended):
            env.reset(seeds.next(ended), ended)
    rate = 100 * NUM_ENVS / (time.process_time() - began)
    env.close()
    return rate


def write(episodes: Episodes, maker: Maker, folder: Path) -> None:
    """Write a data set as the command does."""
    with _spaces(maker) as (seen, action):
        minari_files.write(episodes, seen, action, card={}, below=folder)


def own_writer(episodes: Episodes, maker: Maker, folder: Path) -> float:
    """Return the processor seconds of Minari's own writer; infinite for a team.

    It writes the first 500 episodes, and the time is scaled to all.
    """
    if episodes.agents:
        return float("inf")
    import minari
    from minari.data_collector import EpisodeBuffer

    part = episodes.select(np.arange(min(500, len(episodes))))
    buffers = []
    for number, rows in each(part):
        ends = np.zeros((2, rows.stop - rows.start), dtype=np.bool_)
        ends[0 if part.terminated[number] else 1, -1] = True
        final = part.final_observations[number : number + 1]
        buffers.append(
            EpisodeBuffer(
                observations=np.concatenate([part.observations[rows], final]),
                actions=part.actions[rows],
                rewards=part.rewards[rows],
                terminations=ends[0],
                truncations=ends[1],
            )
        )
    os.environ[minari_files.ROOT_VARIABLE] = str(folder / "minari")
    with _spaces(maker) as (seen, action), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began = time.process_time()
        minari.create_dataset_from_buffers(
            f"bench/{maker.plan.task}-{time.time_ns()}-v0",
            buffers,
            observation_space=seen,
            action_space=action,
        )
    return (time.process_time() - began) * episodes.num_steps / part.num_steps


@contextlib.contextmanager
def _spaces(maker: Maker) -> Iterator[tuple[Any, Any]]:
    env = make_batch(maker.task.id, 1)
    agent = env.agents[0]
    yield env.observation_spaces[agent], env.action_spaces[agent]
    env.close()


if __name__ == "__main__":
    sys.exit(main())
