"""Dexterous grasping: whether one policy lifts many objects, also those it has not met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pkubench.tasks.claims import unidexgrasp
from pkubench.tasks.split_episodes import AT, SplitEpisodes
from pkubench.tasks.suite import Suite
from pkubench.tasks.task import Metric, Protocol, Task

_NAME = "grasp"
_OF = "success"
_EPISODES = (
    Metric(
        name=_OF,
        higher_is_better=True,
        unit="share of episodes",
        describe="the object was within 5 cm of the goal in any step (the papers' success)",
        interval="wilson",
    ),
    Metric(
        name="success_hold",
        higher_is_better=True,
        unit="share of episodes",
        describe="the object was within 5 cm of the goal in the last 30 steps",
        interval="wilson",
    ),
    Metric(
        name="success_final",
        higher_is_better=True,
        unit="share of episodes",
        describe="the object was within 5 cm of the goal in the last step",
        interval="wilson",
    ),
    Metric(
        name="return",
        higher_is_better=True,
        unit="reward",
        describe="rewards summed over the episode, without discount",
    ),
)
_NOTES = (
    "Success in the simulators of the papers cannot be compared: the physics differs, and so do "
    "the objects. Episode k grasps object k modulo their number, in a pose drawn from its seed."
)
_SMALL = {"train": range(24), "seen_category": range(24, 42), "unseen_category": range(42, 51)}
_FULL = {
    "train": range(0, 3200, 32),
    "seen_category": range(3200, 3341),
    "unseen_category": range(3341, 3441),
}
"""Of the objects to train on, every 32nd is tested."""


def _task(
    name: str,
    title: str,
    splits: Mapping[str, Sequence[int]],
    episodes_per_object: int,
    budget: int,
) -> Task:
    objects = [(number, split) for split, numbers in splits.items() for number in numbers]
    derived = splits if len(splits) > 1 else ()
    return Task(
        id=f"pkubench/Grasp{name}-v0",
        suite=_NAME,
        title=title,
        metrics=(
            *_EPISODES,
            *(
                Metric(
                    name=f"{_OF}{AT}{split}",
                    higher_is_better=True,
                    unit="share of episodes",
                    describe=f"success with the objects of {split}",
                    is_derived=True,
                )
                for split in derived
            ),
        ),
        protocol=Protocol(
            episodes=episodes_per_object * len(objects),
            horizon=200,
            budget={"environment_steps": budget},
            quick_episodes=max(16, len(objects)),
        ),
        scoring=SplitEpisodes(
            "object",
            tuple(number for number, _ in objects),
            tuple(split for _, split in objects),
        ),
        lazy={"no-op": None},
        notes=_NOTES,
    )


SUITE = Suite(
    name=_NAME,
    title="Dexterous grasping",
    summary="whether one hand lifts many objects, known and new",
    tasks=(
        _task("Sphere", "a five-finger hand lifts a ball", {"ball": range(1)}, 64, 2_000_000),
        _task("Small", "a five-finger hand lifts 51 objects", _SMALL, 8, 10_000_000),
        _task("Full", "a five-finger hand lifts 341 objects of 3,441", _FULL, 10, 80_000_000),
    ),
    claims=unidexgrasp.CLAIMS,
    place=90,
    random_factor=1,
)
