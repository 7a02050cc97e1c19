"""Games solved on paper: whether an algorithm does what its theory says."""

from __future__ import annotations

from pkubench.tasks.task import Metric, Protocol, Task

SUITE = "diagnostics"

_RETURN = Metric(
    name="return",
    higher_is_better=True,
    unit="payoff",
    describe="team return: the payoff of the joint action, the sum of all agents' rewards",
)
_PROTOCOL = Protocol(episodes=200, horizon=None, training_steps=100_000, quick_episodes=50)
_NOTES = (
    "Each agent's reward is the payoff divided by the number of agents, so their SUM is the "
    "payoff, once. Saved policies are evaluated at their mode; what a stochastic policy earns on "
    "average is computed exactly by `pkubench.envs.diagnostics.equilibria`."
)
_TITLES = {
    "Climbing": "the best joint action lies among the worst",
    "Penalty": "two good joint actions, and a fine of 100 for mixing them up",
    "SharingGap": "half of the team does the opposite of the other half",
    "SignGame": "two numbers are paid their product",
}


def tasks() -> tuple[Task, ...]:
    """Return the tasks of the suite."""
    return tuple(
        Task(
            id=f"pkubench/{name}-v0",
            suite=SUITE,
            title=title,
            metrics=(_RETURN,),
            protocol=_PROTOCOL,
            notes=_NOTES,
        )
        for name, title in _TITLES.items()
    )
