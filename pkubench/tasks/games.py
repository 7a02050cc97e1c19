"""Two-player zero-sum games: scored exactly, by what a perfect opponent would win."""

from __future__ import annotations

from pkubench.tasks.task import Metric, Protocol, Task

SUITE = "games"

_METRICS = (
    Metric(
        name="exploitability",
        higher_is_better=False,
        unit="chips a game",
        describe="half the NashConv: mean gain of a best response over both seats",
        interval="exact",
    ),
    Metric(
        name="nash_conv",
        higher_is_better=False,
        unit="chips a game",
        describe="sum over seats of what a best response gains against the other seat's strategy",
        interval="exact",
    ),
)
_PROTOCOL = Protocol(episodes=1, horizon=None, training_steps=1_000_000, quick_episodes=1)
_TITLES = {
    "KuhnPoker": "three cards, one bet",
    "LeducPoker": "six cards, two rounds of betting",
}


def tasks() -> tuple[Task, ...]:
    """Return the tasks of the suite."""
    return tuple(
        Task(
            id=f"pkubench/{name}-v0",
            suite=SUITE,
            title=title,
            metrics=_METRICS,
            protocol=_PROTOCOL,
            kind="population",
            notes=(
                "Computed on the whole game tree, so there is no sampling error: one record a "
                "run. Exploitability here is NashConv / 2; some papers call NashConv itself so."
            ),
        )
        for name, title in _TITLES.items()
    )
