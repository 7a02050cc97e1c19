"""Teams that are paid at the end of an episode: which step, and which agent, earned it?"""

from __future__ import annotations

from dataclasses import replace

from pkubench.tasks.claims import stas
from pkubench.tasks.suite import Suite
from pkubench.tasks.task import Metric, Protocol, Task

_NAME = "credit"

_RETURN = Metric(
    name="return",
    higher_is_better=True,
    unit="reward",
    describe="team return: rewards summed over the episode and over all agents",
)
_NOTES = (
    "Rewards are paid at the end of an episode. The team's reward counts once: each of n agents "
    "receives 1/n of it."
)
_GRID = Protocol(
    episodes=200, horizon=40, budget={"environment_steps": 4_096_000}, quick_episodes=50
)
"""The budgets are those of STAS's repository: 2,000 and 1,000 updates of 2,048 steps."""
_PARTICLES = Protocol(
    episodes=200, horizon=25, budget={"environment_steps": 2_048_000}, quick_episodes=50
)
_SUCCESS = Metric(
    name="success",
    higher_is_better=True,
    unit="episodes",
    describe="episodes in which the treasure is taken",
    interval="wilson",
)
_COVERED = Metric(
    name="covered",
    higher_is_better=True,
    unit="landmarks",
    describe="share of the landmarks with an agent within 0.1 at the end",
)
_CONTACTS = Metric(
    name="contacts",
    higher_is_better=True,
    unit="pairs",
    describe="predators and prey that touch, counted at every step",
)
_DISTANCE = Metric(
    name="distance",
    higher_is_better=False,
    unit="length",
    describe="from the ball to the target at the end",
)


def _tasks() -> tuple[Task, ...]:
    return (
        Task(
            id="pkubench/AliceAndBob-v0",
            suite=_NAME,
            title="two agents free each other, and a treasure pays both",
            metrics=(_RETURN, _SUCCESS),
            protocol=_GRID,
            reference="scripted:optimum",
            is_reference_optimal=True,
            lazy={"pacing": None},
            notes=(
                f"{_NOTES} STAS's repository adds up both agents' copies, so that its curves reach "
                "200. The start is always the same: at its mode a policy plays one episode."
            ),
        ),
        *(
            _particles(f"Navigation{n}", f"{word} agents cover {word} landmarks", _COVERED)
            for n, word in ((3, "three"), (6, "six"), (15, "fifteen"))
        ),
        *(
            _with_own_prey(
                _particles(f"PredatorPrey{n}", f"{word} predators catch faster prey", _CONTACTS)
            )
            for n, word in ((3, "three"), (6, "six"))
        ),
        _particles("CooperativePush3", "three agents push a ball to a target", _DISTANCE),
    )


_CONTROLLERS = {
    "Navigation": "scripted:assignment",
    "PredatorPrey": "scripted:chase",
    "CooperativePush": "scripted:push",
}


def _particles(name: str, title: str, metric: Metric) -> Task:
    return Task(
        id=f"pkubench/{name}-v0",
        suite=_NAME,
        title=title,
        metrics=(_RETURN, metric),
        protocol=_PARTICLES,
        reference=_CONTROLLERS[name.rstrip("0123456789")],
        lazy={"no-op": None},
        notes=_NOTES,
    )


def _with_own_prey(task: Task) -> Task:
    notes = " The prey follows a rule of ours: returns are not comparable with the paper's."
    return replace(task, notes=task.notes + notes)


SUITE = Suite(
    name=_NAME,
    title="Delayed team rewards",
    summary="which step, and which agent, earned what is paid at the end",
    tasks=_tasks(),
    claims=stas.CLAIMS,
    place=50,
)
