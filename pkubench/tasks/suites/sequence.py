"""Tasks that show what memory, credit over long spans and learning from data can and cannot do."""

from __future__ import annotations

from pkubench.envs.memory.graph_path import STARTS
from pkubench.tasks.balanced import BalancedEpisodes
from pkubench.tasks.claims import sequence_models
from pkubench.tasks.scoring import Episodes, Scoring
from pkubench.tasks.suite import Suite
from pkubench.tasks.task import Metric, Protocol, Task

_NAME = "sequence"

_RETURN = Metric(
    name="return",
    higher_is_better=True,
    unit="reward",
    describe="rewards summed over the episode, without discount",
)
_EXPECTED = Metric(
    name="expected_return",
    higher_is_better=True,
    unit="reward",
    describe="the return, with the lottery's prize replaced by its mean",
)
_SUCCESS = Metric(
    name="success",
    higher_is_better=True,
    unit="episodes",
    describe="episodes that reach their goal",
    interval="wilson",
)
_BOTH_GOALS = BalancedEpisodes("goal", (1, -1))
_ALL_STARTS = BalancedEpisodes("start", STARTS)


def _task(
    name: str,
    title: str,
    *,
    horizon: int,
    metrics: tuple[Metric, ...] = (_RETURN, _SUCCESS),
    episodes: int = 200,
    quick: int = 50,
    steps: int = 1_000_000,
    scoring: Scoring | None = None,
    lazy: str,
    notes: str,
) -> Task:
    return Task(
        id=f"pkubench/{name}-v0",
        suite=_NAME,
        title=title,
        metrics=metrics,
        is_reference_optimal=True,
        protocol=Protocol(
            episodes=episodes,
            horizon=horizon,
            budget={"environment_steps": steps},
            quick_episodes=quick,
        ),
        scoring=Episodes() if scoring is None else scoring,
        lazy={lazy: None},
        notes=notes,
    )


_OFFLINE = (
    " The budget is of environment steps: agents that learn from data alone count gradient steps, "
    "which are not limited."
)
_MAZE = (
    "Each episode is played with both signs, so that an agent that forgets the sign and turns "
    "earns exactly 1/2. Name the length of the corridor as in {}-v0+corridor=100; the optimum and "
    "the floor are the same for all lengths, and random play, which falls to -1 as they grow, is "
    "stated for 10."
)


def _tasks() -> tuple[Task, ...]:
    return (
        _task(
            "KeyToDoor",
            "a key opens a door, twelve steps among apples later",
            horizon=28,
            lazy="without-key",
            notes=f"Whether the key is held is not observed.{_OFFLINE}",
        ),
        _task(
            "KeyToDoorLong",
            "a key opens a door, thirty steps among apples later",
            horizon=60,
            steps=2_000_000,
            lazy="without-key",
            notes=f"Whether the key is held is not observed.{_OFFLINE}",
        ),
        _task(
            "TMazePassive",
            "a sign at the start says where to turn at the end",
            horizon=11,
            scoring=_BOTH_GOALS,
            lazy="memoryless",
            notes=_MAZE.format("TMazePassive"),
        ),
        _task(
            "TMazeActive",
            "a sign that must be looked up says where to turn at the end",
            horizon=13,
            scoring=_BOTH_GOALS,
            lazy="memoryless",
            notes=_MAZE.format("TMazeActive"),
        ),
        _task(
            "LuckyArm",
            "a sure prize at one end, a larger and rare one at the other",
            horizon=20,
            metrics=(_EXPECTED, _RETURN),
            steps=100_000,
            lazy="lucky",
            notes=(
                "The draw of the lottery is scored by its mean, so that the score of an agent "
                f"without chance is exact.{_OFFLINE}"
            ),
        ),
        _task(
            "Stitching",
            "the best way lies in two halves in different episodes of the data",
            horizon=2,
            metrics=(_RETURN,),
            steps=100_000,
            lazy="safe",
            notes=(
                "Nothing is random: at its mode a policy always plays the same. The task is meant "
                f"for agents that learn from its data set.{_OFFLINE}"
            ),
        ),
        _task(
            "GraphPath",
            "the shortest way through a graph, from random walks",
            horizon=10,
            episodes=10 * len(STARTS),
            quick=2 * len(STARTS),
            steps=200_000,
            scoring=_ALL_STARTS,
            lazy="staying",
            notes=f"Every first node is played equally often.{_OFFLINE}",
        ),
    )


SUITE = Suite(
    name=_NAME,
    title="Memory and sequences",
    summary="what was seen long ago, what pays much later, and what data alone can teach",
    tasks=_tasks(),
    claims=sequence_models.CLAIMS,
    place=60,
    reference="scripted:optimum",
)
