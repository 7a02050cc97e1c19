"""Environments solved on paper: whether an algorithm does what its theory says."""

from __future__ import annotations

from collections.abc import Iterator

from pkubench.envs.diagnostics import risky_corridor, speed_limit
from pkubench.tasks.claims import harl, hasac
from pkubench.tasks.suite import Suite
from pkubench.tasks.task import Metric, Protocol, Task

_NAME = "diagnostics"

_RETURN = Metric(
    name="return",
    higher_is_better=True,
    unit="payoff",
    describe="team return: the payoff of the joint action, the sum of all agents' rewards",
)
_PROTOCOL = Protocol(
    episodes=200, horizon=None, budget={"environment_steps": 100_000}, quick_episodes=50
)
_NOTES = (
    "Each agent's reward is the payoff divided by the number of agents, so their SUM is the "
    "payoff, once. Saved policies are evaluated at their mode; the expected return of a "
    "stochastic policy is computed exactly by `pkubench.envs.diagnostics.equilibria`."
)
_TITLES = {
    "Climbing": "the best joint action lies among the worst",
    "Penalty": "two good joint actions, and a penalty of 100 for mixing them",
    "SharingGap": "half of the team does the opposite of the other half",
    "SignGame": "the reward is the product of two numbers",
    "TwoStepGame": "a safe game, or a better one in which both have to cooperate",
}


_CONSTRAINED_NOTES = (
    "The optimum has a cost equal to the limit, so an agent that plays it is within the limit only "
    "on average: read the violation with its interval. Saved policies are evaluated at their mode"
)
_DRAWN = (
    ", and the optimum here is randomized: the expected return of a stochastic policy is computed "
    "exactly by `pkubench.envs.diagnostics.constrained_mdp`."
)


def _tasks() -> tuple[Task, ...]:
    return (*_games(), *_constrained())


def _games() -> Iterator[Task]:
    for name, title in _TITLES.items():
        yield Task(
            id=f"pkubench/{name}-v0",
            suite=_NAME,
            title=title,
            metrics=(_RETURN,),
            protocol=_PROTOCOL,
            is_reference_optimal=True,
            notes=_NOTES,
        )


def _constrained() -> Iterator[Task]:
    for name, title, limit, horizon, unit, counted, notes in (
        (
            "RiskyCorridor",
            "risky short cuts, and a limit on falls",
            risky_corridor.COST_LIMIT,
            50,
            "10 per fall",
            "10 for each fall in the episode",
            _CONSTRAINED_NOTES + _DRAWN,
        ),
        (
            "SpeedLimit",
            "as far as a limit on speeding allows",
            speed_limit.COST_LIMIT,
            20,
            "squared excess speed",
            "4 max(0, v - 1/2)^2 summed over the episode",
            _CONSTRAINED_NOTES + ", where the optimum here is as well.",
        ),
    ):
        rewards = Metric(
            name="return",
            higher_is_better=True,
            unit="reward",
            describe="rewards summed over the episode, without discount",
        )
        cost = Metric(name="cost", higher_is_better=False, unit=unit, describe=counted)
        yield Task(
            id=f"pkubench/{name}-v0",
            suite=_NAME,
            title=title,
            metrics=(rewards, cost),
            protocol=Protocol(
                episodes=200,
                horizon=horizon,
                budget={"environment_steps": 200_000},
                quick_episodes=50,
            ),
            cost_limit=limit,
            notes=notes,
        )


SUITE = Suite(
    name=_NAME,
    title="Environments solved on paper",
    summary="what an algorithm does compared with what its theory claims",
    tasks=_tasks(),
    claims=harl.ROLES + hasac.EQUILIBRIA,
    place=40,
    reference="scripted:optimum",
)
