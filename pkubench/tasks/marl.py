"""Cooperative particle worlds: how well a team plays that sees only its members' own views."""

from __future__ import annotations

from pkubench.tasks.task import Metric, Protocol, Task

SUITE = "marl"

_RETURN = Metric(
    name="return",
    higher_is_better=True,
    unit="reward",
    describe="team return: rewards summed over the episode and over all agents",
)
_PROTOCOL = Protocol(episodes=200, horizon=25, training_steps=10_000_000, quick_episodes=50)
_NOTES = (
    "The return is the SUM of all agents' rewards, as HARL reports it; packages that report one "
    "agent's reward or the mean show a smaller number."
)
_SPREAD_NOTES = (
    " Collision rules are those of simple_spread_v3. HARL's published curves used the v2 rules, "
    "where each agent also collided with itself: 37.5 lower an episode."
)
_TITLES = {
    "SimpleSpread": "three agents cover three landmarks without colliding",
    "SimpleReference": "two agents tell each other where to go",
    "SimpleSpeakerListener": "one agent speaks, the other walks",
}


def tasks() -> tuple[Task, ...]:
    """Return the tasks of the suite."""
    return tuple(
        Task(
            id=f"pkubench/{name}{suffix}-v0",
            suite=SUITE,
            title=f"{title} ({'continuous' if suffix else 'discrete'} actions)",
            metrics=(_RETURN,),
            protocol=_PROTOCOL,
            notes=_NOTES + (_SPREAD_NOTES if name == "SimpleSpread" else ""),
        )
        for name, title in _TITLES.items()
        for suffix in ("", "Continuous")
    )
