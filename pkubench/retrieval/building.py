"""Building banks: episodes of each source by each behaviour, the same bytes for the same plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from pkubench.data.episodes import EpisodesBuilder
from pkubench.envs.core.batch import SOLE_AGENT, BoolArray, FloatArray
from pkubench.envs.core.seeding import IntArray, RandomStreams, agent_seeds
from pkubench.envs.minigrid import cells
from pkubench.envs.minigrid.catalogue import MT7
from pkubench.envs.minigrid.grid_world import GridWorld
from pkubench.errors import ConfigError
from pkubench.retrieval.bank import (
    BEHAVIOURS,
    GAMMA,
    RANDOM,
    SEARCH_EPSILON,
    Images,
    MemoryBank,
)

EPSILON: Final = 0.5
"""Share of random actions of ``search-epsilon``."""
EPISODES: Final = 200
"""Episodes of each behaviour on each source."""
BANK_SEEDS: Final = range(0, 10_000)
QUERY_SEEDS: Final = range(1_000_000, 1_000_200)
"""Levels of banks, and of the states that are looked up in them: disjoint. Evaluations play seeds
of neither (``evaluation_seeds``); trainings draw theirs from 2**31 numbers."""


class Source(NamedTuple):
    """A level family that a bank has episodes of."""

    level: str
    """MiniGrid's name, without ``MiniGrid-``."""
    task: int
    """The index that the agent's tasks have it by."""


class Split(NamedTuple):
    """What a bank is of, and what is learned with it."""

    targets: tuple[str, ...]
    """The agent's tasks, in order."""
    sources: tuple[Source, ...]


_LARGER: Final = ("DoorKey-8x8-v0", "LavaGapS7-v0", "MemoryS11-v0", "SimpleCrossingS11N5-v0")
SPLITS: Final[dict[str, Split]] = {
    "mt7": Split(MT7, tuple(Source(level, task) for task, level in enumerate(MT7))),
    "size-shift": Split(
        _LARGER,
        (
            Source("DoorKey-5x5-v0", 0),
            Source("DoorKey-6x6-v0", 0),
            Source("LavaGapS5-v0", 1),
            Source("MemoryS7-v0", 2),
            Source("SimpleCrossingS9N1-v0", 3),
            Source("SimpleCrossingS9N2-v0", 3),
        ),
    ),
    # no target has a source of its kind; each still has entries under its name
    "unrelated": Split(
        _LARGER,
        (
            Source("MultiRoom-N2-S4-v0", 0),
            Source("RedBlueDoors-6x6-v0", 1),
            Source("MultiRoom-N2-S4-v0", 2),
            Source("RedBlueDoors-6x6-v0", 3),
        ),
    ),
}


def build(
    sources: Sequence[Source],
    episodes: int = EPISODES,
    *,
    behaviours: Sequence[str] = BEHAVIOURS,
    among: range = BANK_SEEDS,
    gamma: float = GAMMA,
    name: str = "",
) -> MemoryBank:
    """Return a bank with ``episodes`` episodes of each behaviour on each source.

    The behaviours play different levels, and so do two sources of one level family.

    Args:
        sources: What is played.
        episodes: Of each behaviour on each source.
        behaviours: Who acts.
        among: The seeds of levels, used from the first on.
        gamma: Discount of the returns to go.
        name: What to call it in messages.

    Raises:
        ConfigError: not enough seeds, no episodes, or an unknown behaviour.
    """
    unknown = [of for of in behaviours if of not in BEHAVIOURS]
    if unknown or not behaviours or not sources:
        raise ConfigError(f"a bank needs sources, and behaviours among {', '.join(BEHAVIOURS)}")
    if episodes < 1:
        raise ConfigError(f"a bank has at least one episode of each behaviour, got {episodes}")
    levels = tuple(dict.fromkeys(source.level for source in sources))
    parts, used = [], dict.fromkeys(levels, 0)
    for source in sources:
        for behaviour in behaviours:
            first = used[source.level]
            used[source.level] = first + episodes
            if first + episodes > len(among):
                raise ConfigError(
                    f"{source.level} takes more seeds than the {len(among):,} from {among.start:,}"
                )
            seeds = np.array(among[first : first + episodes], dtype=np.int64)
            played = play(source.level, behaviour, seeds)
            parts.append((source, behaviour, seeds, played))
    counts = [len(seeds) for _, _, seeds, _ in parts]
    builder = EpisodesBuilder(name=name)
    for *_, played in parts:
        for episode in played.episodes:
            builder.add(*episode)
    return MemoryBank(
        episodes=builder.build(),
        directions=np.concatenate([played.directions for *_, played in parts]),
        truncated=np.concatenate([played.truncated for *_, played in parts]),
        level=np.repeat([levels.index(source.level) for source, *_ in parts], counts),
        task=np.repeat([source.task for source, *_ in parts], counts),
        seeds=np.concatenate([seeds for _, _, seeds, _ in parts]),
        behaviour=np.repeat([BEHAVIOURS.index(behaviour) for _, behaviour, *_ in parts], counts),
        levels=levels,
        gamma=gamma,
    )


class Played(NamedTuple):
    """Episodes of one behaviour on one level family, one after the other."""

    episodes: list[tuple[Images, IntArray, FloatArray, bool]]
    """Images (L + 1, 7, 7, 3), actions (L,), rewards (L,), and whether it terminated."""
    directions: IntArray
    """(sum of L,)."""
    truncated: BoolArray
    """(episodes,)."""


def play(level: str, behaviour: str, seeds: IntArray) -> Played:
    """Play one episode of each seed.

    Args:
        level: MiniGrid's name, without ``MiniGrid-``.
        behaviour: one of ``BEHAVIOURS``.
        seeds: (n,) of levels; the actions draw from hashes of them.
    """
    count = len(seeds)
    env = GridWorld(count, -1, (level,), False)
    limit = int(env.max_episode_steps or 0)
    seen, info = env.reset(seeds)
    images = np.zeros((count, limit + 1, *seen[SOLE_AGENT].shape[1:]), dtype=np.uint8)
    directions, actions = (np.zeros((count, limit), dtype=np.int64) for _ in range(2))
    rewards, lengths = np.zeros((count, limit)), np.zeros(count, dtype=np.int64)
    terminated, truncated = (np.zeros(count, dtype=np.bool_) for _ in range(2))
    images[:, 0] = seen[SOLE_AGENT]
    draws = RandomStreams.started(agent_seeds(seeds, behaviour))
    active = np.ones(count, dtype=np.bool_)
    for time in range(limit):
        directions[:, time] = info["direction"]
        actions[:, time] = choose(behaviour, env, draws)
        step = env.step({SOLE_AGENT: actions[:, time]}, active.copy())
        rewards[:, time], info = step.rewards[:, 0], step.info
        images[:, time + 1] = step.observations[SOLE_AGENT]
        lengths += active
        ends = active & (step.terminated | step.truncated)
        terminated[ends], truncated[ends] = step.terminated[ends], step.truncated[ends]
        active &= ~ends
        if not active.any():
            break
    each = list(enumerate(lengths.tolist()))
    return Played(
        [
            (images[i, : n + 1], actions[i, :n], rewards[i, :n], bool(terminated[i]))
            for i, n in each
        ],
        np.concatenate([directions[i, :n] for i, n in each]),
        truncated,
    )


def choose(behaviour: str, env: GridWorld, draws: RandomStreams) -> IntArray:
    """Return the actions of a behaviour in the present states, (num_envs,).

    Among equally short ways the search draws one. Each state takes the same number of draws,
    whatever it is, so that an episode does not depend on the others.
    """
    everyone = np.arange(env.num_envs)
    drawn = draws.uniform(everyone, 2 + cells.ACTIONS)
    random: IntArray = (drawn[:, 1] * cells.ACTIONS).astype(np.int64)
    if behaviour == RANDOM:
        return random
    left = env.steps_after()
    best: IntArray = np.where(left == left.min(axis=1, keepdims=True), drawn[:, 2:], -1.0).argmax(
        axis=1
    )
    if behaviour != SEARCH_EPSILON:
        return best
    return np.where(drawn[:, 0] < EPSILON, random, best)
