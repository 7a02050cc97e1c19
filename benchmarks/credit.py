"""The suite credit: AliceAndBob compared with a plain loop, navigation with mpe2, in one run.

``python -m benchmarks.credit`` prints a Markdown table, and exits with 1 if a bar is missed: 300
times the rate of AliceAndBob's rules as a plain Python loop, and 100 times that of mpe2's
``simple_spread_v3`` with six agents. A step moves one environment, by actions that were drawn
beforehand; resets are within the measured time. Rates are per second of processor time, on one
thread, each the best of its rounds, which take turns, so that other load on the machine favours
none. Ours pay at the end of the episode, as they are registered, and report what each step earned.
About half a minute.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np

from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import TrainingSeeds
from pkubench.envs.credit.alice_and_bob_table import MAP

GRID, PARTICLES = 40, 25
"""Steps of an episode."""
LOOP_BAR, MPE2_BAR = 300.0, 100.0
ROUNDS = 3
BATCHES = (1024, 4096, 16384)

Episode = Callable[[], None]
"""Plays one episode in every environment."""


class PlainAliceAndBob:
    """The rules of AliceAndBob on lists, one environment at a time."""

    WAYS = ((0, 1), (0, -1), (-1, 0), (1, 0))
    KEYS, DOORS, GOAL = ([3, 5], [5, 1]), ((4, 2), (4, 6)), [7, 7]

    def reset(self) -> list[list[float]]:
        """Start an episode; return both agents' observations."""
        codes = {"#": 1, "a": 1, "b": 1, "k": 2, "K": 3, "A": 5, "B": 6, "T": 7, ".": 0}
        self.grid = [[codes[cell] for cell in row] for row in MAP]
        self.agents = [[1, 1], [1, 7]]
        self.keys = [True, True]
        self.events = [0, 0]
        return self.observe()

    def step(self, actions: tuple[int, int]) -> tuple[list[list[float]], float, bool]:
        """Return both agents' observations, the team's reward and whether the episode ended."""
        reward, grid = 0.0, self.grid
        self.events = [0, 0]
        for i, action in enumerate(actions):
            (row, column), (down, right) = self.agents[i], self.WAYS[action]
            if grid[row + down][column + right] == 1:
                self.events[i] = -1
                reward -= 0.1
                continue
            grid[row][column] = 0
            grid[row + down][column + right] = 5 + i
            self.agents[i] = [row + down, column + right]
        for i, agent in enumerate(self.agents):
            for k, key in enumerate(self.KEYS):
                if agent == key and self.keys[k]:
                    self.keys[k] = False
                    grid[self.DOORS[k][0]][self.DOORS[k][1]] = 0
                    self.events[i] = 2 + k
        is_over = self.GOAL in self.agents and not any(self.in_room(a) for a in self.agents)
        if is_over:
            reward += 100.0
            self.events[0 if self.agents[0] == self.GOAL else 1] = 7
        return self.observe(), reward, is_over

    def in_room(self, place: list[int]) -> bool:
        """Say whether a place is in one of the upper rooms."""
        return place[0] < 4

    def observe(self) -> list[list[float]]:
        """Return what both agents observe, 19 numbers each."""
        views: list[list[float]] = []
        for i, (row, column) in enumerate(self.agents):
            other = self.agents[1 - i]
            view: list[float] = []
            for line in self.grid[row - 1 : row + 2]:
                view += line[column - 1 : column + 2]
            view += [row, column, row - other[0], column - other[1]]
            for is_there, key in zip(self.keys, self.KEYS, strict=True):
                view += [row - key[0], column - key[1]] if is_there else [0, 0]
            view += [int(self.in_room([row, column])), self.events[i]]
            views.append(view)
        return views


def loop_episode(as_arrays: bool = True) -> Episode:
    """Play a plain loop, with observations as an environment gives them, or as lists."""
    env, rng = PlainAliceAndBob(), np.random.default_rng(0)
    tape = [tuple(pair) for pair in rng.integers(0, 4, (GRID, 2)).tolist()]

    def episode() -> None:
        env.reset()
        for actions in tape:
            views, _, is_over = env.step(actions)
            if as_arrays:
                views = [np.array(view, dtype=np.float32) for view in views]
            if is_over:
                env.reset()

    return episode


def mpe2_episode() -> Episode:
    """Play the original's parallel environment with six agents."""
    from mpe2 import simple_spread_v3

    env = simple_spread_v3.parallel_env(N=6, max_cycles=PARTICLES)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    tape = [{a: int(rng.integers(5)) for a in env.agents} for _ in range(PARTICLES)]

    def episode() -> None:
        env.reset()
        for actions in tape:
            env.step(dict(actions))

    return episode


def batch_episode(name: str, num_envs: int) -> Episode:
    """Play one of our batches."""
    env = make_batch(name, num_envs)
    seeds, ids, rng = TrainingSeeds(0, num_envs), np.arange(num_envs), np.random.default_rng(0)
    sizes = {agent: int(space.n) for agent, space in env.action_spaces.items()}  # type: ignore[attr-defined]
    steps = env.max_episode_steps or 0
    tape = [{a: rng.integers(0, n, num_envs) for a, n in sizes.items()} for _ in range(steps)]

    def episode() -> None:
        env.reset(seeds.next(ids))
        for actions in tape:
            env.step(actions)

    return episode


def best_time(episode: Episode, seconds: float) -> float:
    """Return the least processor time of an episode, in seconds."""
    episode()
    best, end = float("inf"), time.process_time() + seconds
    while time.process_time() < end:
        start = time.process_time()
        episode()
        best = min(best, time.process_time() - start)
    return best


def main() -> int:
    """Measure, print the table, and say whether the bars were met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement")
    options = parser.parse_args()
    sides = [
        ("AliceAndBob-v0", "rules as a plain Python loop", loop_episode(), GRID, LOOP_BAR),
        ("Navigation6-v0", "mpe2 `simple_spread_v3`, N = 6", mpe2_episode(), PARTICLES, MPE2_BAR),
    ]
    print("| environment | what | steps/s of processor time | times the peer |")
    print("|-------------|------|--------------------------:|---------------:|")
    missed = []
    for name, what, peer, steps, bar in sides:
        ours = {count: batch_episode(name, count) for count in BATCHES}
        theirs, found = 0.0, dict.fromkeys(BATCHES, 0.0)
        for _ in range(ROUNDS):  # in turns
            theirs = max(theirs, steps / best_time(peer, options.seconds))
            for count, episode in ours.items():
                rate = steps * count / best_time(episode, options.seconds)
                found[count] = max(found[count], rate)
        print(f"| {name} | {what} | {theirs:,.0f} | 1 |")
        if name == "AliceAndBob-v0":
            rate = steps / best_time(loop_episode(as_arrays=False), options.seconds)
            print(
                f"| {name} | the same, observations as lists | {rate:,.0f} | {rate / theirs:.1f} |"
            )
        for count, rate in found.items():
            print(f"| {name} | pkubench, batch of {count} | {rate:,.0f} | {rate / theirs:,.0f} |")
        if max(found.values()) < bar * theirs:
            missed.append(f"{name} at least {bar:g} times")
    print()
    print(f"MISSED: {', '.join(missed)}" if missed else "met: at least 300 and 100 times the peers")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
