"""Grid worlds: whether past experience that is looked up helps an agent of many tasks."""

from __future__ import annotations

from pkubench.tasks.claims import retrieval
from pkubench.tasks.scoring import CycledEpisodes, Episodes
from pkubench.tasks.suite import Suite
from pkubench.tasks.task import Metric, Protocol, Task

_NAME = "retrieval"
_METRICS = (
    Metric(
        name="return",
        higher_is_better=True,
        unit="reward",
        describe="1 - 0.9 t / T on success in step t of at most T, otherwise 0",
    ),
    Metric(
        name="success",
        higher_is_better=True,
        unit="share of episodes",
        describe="whether the mission was fulfilled",
        interval="wilson",
    ),
)
_STEPS_PER_TASK = 200_000
_EPISODES_PER_TASK = 100
_MULTITASK = {"MT3": 3, "MT5": 5, "MT7": 7}
_MEMBERS = {
    "DoorKey6x6": ("a key, a locked door, and the goal behind it", 360),
    "DistShift1": ("past strips of lava to the goal", 252),
    "RedBlueDoors6x6": ("open the red door, then the blue one", 720),
    "LavaGapS7": ("through a gap in the lava to the goal", 196),
    "MemoryS11": ("go to the object that was seen at the start", 605),
    "SimpleCrossingS9N2": ("through the openings of two walls to the goal", 324),
    "MultiRoomN2S4": ("from one small room into the next", 40),
}
"""Name -> what is to be done, and the time limit."""
_NOTES = (
    "Levels, observations and rewards are those of MiniGrid 3.2.0. The reference is what the "
    "shortest ways pay, found by search, on average over the levels of 10,000 evaluation seeds; an "
    "agent that does not see the whole level cannot always reach it."
)
_MULTITASK_NOTES = (
    " Episode k plays task k modulo {}, so that each has equally many. The return is the mean over "
    "tasks, whose time limits differ."
)


def _multitask(name: str, count: int) -> Task:
    return Task(
        id=f"pkubench/MiniGrid{name}-v0",
        suite=_NAME,
        title=f"{count} MiniGrid tasks for one agent",
        metrics=_METRICS,
        protocol=Protocol(
            episodes=_EPISODES_PER_TASK * count,
            horizon=720,
            budget={"environment_steps": _STEPS_PER_TASK * count},
            quick_episodes=10 * count,
        ),
        scoring=CycledEpisodes("task", tuple(range(count))),
        lazy={"no-op": None},
        notes=_NOTES + _MULTITASK_NOTES.format(count),
    )


def _member(name: str, title: str, horizon: int) -> Task:
    return Task(
        id=f"pkubench/MiniGrid{name}-v0",
        suite=_NAME,
        title=title,
        metrics=_METRICS,
        protocol=Protocol(
            episodes=200,
            horizon=horizon,
            budget={"environment_steps": _STEPS_PER_TASK},
            quick_episodes=20,
        ),
        lazy={"no-op": None},
        notes=_NOTES,
    )


def _named(name: str) -> Task:
    """Return the task of a level of MiniGrid or BabyAI by its name: ``minigrid:Empty-5x5-v0``.

    Several names with commas between them are a multitask environment of these levels. It has no
    reference scores and no place on a leaderboard. Whether there are such levels is found out when
    they are used. Time limits are the levels' own.
    """
    count = name.count(",") + 1
    if count == 1:
        title = "a level of MiniGrid or BabyAI, by its name"
        notes = "Observations do not have the mission, which differs by episode in many levels."
    else:
        title = f"{count} MiniGrid tasks for one agent, by their names"
        notes = _MULTITASK_NOTES.format(count).strip()
    return Task(
        id=name,
        suite=_NAME,
        title=title,
        metrics=_METRICS,
        protocol=Protocol(
            episodes=_EPISODES_PER_TASK * count, horizon=None, quick_episodes=20 * count
        ),
        scoring=Episodes() if count == 1 else CycledEpisodes("task", tuple(range(count))),
        notes=notes,
    )


SUITE = Suite(
    name=_NAME,
    title="Grid worlds of many tasks",
    summary="whether looking up past experience helps",
    tasks=(
        *(_multitask(name, count) for name, count in _MULTITASK.items()),
        *(_member(name, title, horizon) for name, (title, horizon) in _MEMBERS.items()),
    ),
    place=70,
    random_factor=50,
    by_name={"minigrid": _named},
    claims=retrieval.CLAIMS,
)
