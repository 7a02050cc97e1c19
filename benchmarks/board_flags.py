"""Are honest trainings flagged? Every shipped agent is tried as if it were submitted.

``python -m benchmarks.board_flags`` plays each agent that is shipped with weights on its tasks, and
applies what a board applies to a submission: runs that are copies of each other, weights that
another agent has, a mean above a known optimum, runs that play alike up to rounding, curves much
faster than the reference's. It prints what was flagged, and how far the closest agent was from
being flagged, and exits with 1 if one was. Weights that are the same to the bit are named apart:
two rules that did the same updates from the same seed are one training to a board. ``--episodes``
of each run are played (4: as few as the test of runs that play alike needs); ``--tasks`` chooses
some.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pkubench.agents.registry import presets
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.cli.names import shipped_seeds, shipped_tasks, short
from pkubench.evaluation.run.execution import InProcess
from pkubench.evaluation.run.planned import play_planned
from pkubench.leaderboard.submissions.copies import SHARE, Arrays, arrays_of, share_of_close
from pkubench.leaderboard.submissions.plausible import (
    FASTER,
    Curves,
    curves_of,
    half_way,
    implausible,
    log_steps,
    shipped_curves,
)
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.registry import make_task
from pkubench.tasks.task import Task

Played = Mapping[str, Sequence[EpisodeRecord]]


class Shipped(NamedTuple):
    """An agent's weights for a task."""

    agent: str
    task: Task
    folders: list[Path]

    @property
    def name(self) -> str:
        """Agent and task in words."""
        return f"{self.agent} on {short(self.task.id)}"

    def curves(self) -> Curves:
        """Return the training curves of its runs."""
        files = [folder / "training.jsonl" for folder in self.folders]
        return curves_of(file.read_bytes() for file in files if file.is_file())

    def play(self, episodes: int) -> Played:
        """Play the first episodes of the public set with each run."""
        source, scoring = resolve_agent(self.agent, self.task), self.task.scoring
        planned = scoring.plan(self.task, 0, min(episodes, self.task.protocol.episodes))
        return play_planned(source, self.task, planned, backend=InProcess())

    def networks(self) -> dict[str, Arrays]:
        """Return the tensors of each run."""
        return {folder.name: arrays_of(folder, self.task) for folder in self.folders}


class Pair(NamedTuple):
    """Two runs of a task."""

    share: float
    """Of the weights that are close."""
    is_same: bool
    """To the bit."""
    who: str


def every(tasks: Sequence[str]) -> Iterator[Shipped]:
    """Yield what is shipped for some tasks; for all, if none are named."""
    wanted = {make_task(name).id for name in tasks}
    for agent in presets():
        for name in shipped_tasks(agent):
            if not wanted or name in wanted:
                yield Shipped(agent, make_task(name), shipped_seeds(agent, name))


def times_earlier(one: Shipped) -> float:
    """Return how many times earlier than the reference's own its curves are half way; 0 if none."""
    middle = half_way(one.task)
    if middle is None:
        return 0.0
    own, known = (
        log_steps(one.task, middle, side) for side in (one.curves(), shipped_curves(one.task))
    )
    return 10.0 ** float(np.mean(known) - np.mean(own)) if own and known else 0.0


def closest(group: Iterable[Shipped]) -> Iterator[Pair]:
    """Yield each two runs of a task."""
    runs = [
        (f"{one.agent} {run}", arrays) for one in group for run, arrays in one.networks().items()
    ]
    for (first, a), (second, b) in combinations(runs, 2):
        is_same = len(a) == len(b) and all(map(np.array_equal, a, b))
        yield Pair(share_of_close(a, b), is_same, f"{first} and {second}")


def main() -> int:
    """Try all of them, and print what was flagged."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--tasks", nargs="*", default=[], metavar="TASK")
    given = parser.parse_args()
    shipped, flagged = list(every(given.tasks)), []
    fastest, groups = (0.0, ""), defaultdict[str, list[Shipped]](list)
    for one in shipped:
        groups[one.task.id].append(one)
        fastest = max(fastest, (times_earlier(one), one.name))
        doubt = implausible(one.task, one.play(given.episodes), one.curves())
        flagged += [f"{one.name}: {doubt}"] if doubt else []
        print(f"{one.name}: {doubt or 'plausible'}", file=sys.stderr, flush=True)
    pairs = [
        pair._replace(who=f"{pair.who} on {short(task)}")
        for task, group in groups.items()
        for pair in closest(group)
    ]
    same, other = ([p for p in pairs if p.is_same is wanted] for wanted in (True, False))
    flagged += [f"{p.who}: {p.share:.0%} of weights close" for p in other if p.share >= SHARE]
    runs = sum(len(one.folders) for one in shipped)
    print(f"{len(shipped)} shipped entries with {runs} runs")
    print(
        f"earliest half way to the reference: {fastest[1] or 'none'}, {fastest[0]:.3g} times as "
        f"early as the reference's own curves ({FASTER:g} is flagged)"
    )
    if other:
        most = max(other)
        print(
            f"most alike of {len(other)} pairs of runs: {most.who}, {most.share:.2%} of the "
            f"weights close ({SHARE:.0%} is flagged)"
        )
    print("the same weights to the bit: " + ("; ".join(p.who for p in same) or "none"))
    print("flagged besides: " + ("; ".join(flagged) or "none"))
    return int(bool(flagged))


if __name__ == "__main__":
    sys.exit(main())
