"""Two-player zero-sum games: scored exactly, by what a perfect opponent would win."""

from __future__ import annotations

from pkubench.tasks.claims import equilibrium_solvers, psd_psro
from pkubench.tasks.exact import Exact
from pkubench.tasks.suite import Suite
from pkubench.tasks.task import Metric, Protocol, Task

_NAME = "games"

_PROTOCOL = Protocol(episodes=1, horizon=None, quick_episodes=1)
_NOTES = (
    "Computed on the whole {}, so there is no sampling error: one record per run. "
    "Exploitability here is NashConv / 2; some papers use the word for NashConv itself."
)
_NAMED = {
    "openspiel": "a two-player zero-sum game of OpenSpiel, by its name",
    "matrix": "a game in normal form, by its name",
    "payoff": "a payoff matrix of your own",
    "alphastar": "the payoff table of the AlphaStar league, from your copy of it",
}
"""Prefix -> what games with this prefix are."""
_CHIPS, _POINTS = "chips per game", "points per game (1 won, -1 lost)"
_GAMES = {
    "KuhnPoker": ("three cards, one bet", _CHIPS),
    "LeducPoker": ("six cards, two rounds of betting", _CHIPS),
    "LiarsDice4": ("one die each of four sides, bids on both", _POINTS),
    "LiarsDice5": ("one die each of five sides, bids on both", _POINTS),
    "LiarsDice6": ("one die each of six sides, bids on both", _POINTS),
    "Goofspiel4": ("four secret bids for four prizes", _POINTS),
    "Goofspiel5": ("five secret bids for five prizes", _POINTS),
}
"""Name -> what it is, and the unit of its payoffs."""


def _tasks() -> tuple[Task, ...]:
    return tuple(
        _task(f"pkubench/{name}-v0", title, unit) for name, (title, unit) in _GAMES.items()
    )


def _task_by_name(name: str) -> Task:
    """Return the task of a game that is named and not listed: ``openspiel:tic_tac_toe``.

    It is scored like the listed ones; it has no reference scores and no place on a leaderboard. The
    name is not checked here: whether there is such a game, and whether the engine supports it, is
    found out when it is used (``docs/concepts/games.md`` says which ones it supports).
    """
    prefix = name.partition(":")[0]
    what = "tree" if prefix == "openspiel" else "table"
    return _task(name, _NAMED[prefix], "payoff per game", what)


def _task(name: str, title: str, unit: str, what: str = "tree") -> Task:
    return Task(
        id=name,
        suite=_NAME,
        title=title,
        metrics=(
            Metric(
                name="exploitability",
                higher_is_better=False,
                unit=unit,
                describe="half the NashConv: mean gain of a best response over both seats",
                interval="exact",
            ),
            Metric(
                name="nash_conv",
                higher_is_better=False,
                unit=unit,
                describe=(
                    "sum over seats of what a best response gains against the other seat's strategy"
                ),
                interval="exact",
            ),
            Metric(
                name="population_exploitability",
                higher_is_better=False,
                unit=unit,
                describe=(
                    "what a population's policies lose to best responses however they are mixed, "
                    "summed over seats; for a single policy the NashConv"
                ),
                interval="exact",
            ),
        ),
        protocol=_PROTOCOL,
        scoring=Exact(),
        is_reference_optimal=True,
        notes=_NOTES.format(f"game {what}" if what == "tree" else what),
    )


SUITE = Suite(
    name=_NAME,
    title="Two-player zero-sum games",
    summary="scored exactly, by what a perfect opponent would win",
    tasks=_tasks(),
    claims=(*psd_psro.CLAIMS, *equilibrium_solvers.CLAIMS),
    place=30,
    reference="scripted:equilibrium",
    reference_score=0.0,
    random_factor=1,
    by_name=dict.fromkeys(_NAMED, _task_by_name),
)
