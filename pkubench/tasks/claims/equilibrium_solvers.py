"""What the papers of later equilibrium solvers claim of exploitability on game trees."""

from __future__ import annotations

from pkubench.tasks.claim import Claim, Unit, pairs

_TREES = tuple(
    f"pkubench/{name}-v0" for name in ("KuhnPoker", "LeducPoker", "LiarsDice5", "Goofspiel5")
)
_SCORES_IN_FIGURES = "Curves of exploitability on small games with exact responses; no tables."
_UNITS: tuple[tuple[Unit, str], ...] = (
    ("iterations", "at equal iterations"),
    ("episodes", "at equal episodes"),
    ("seconds", "at equal seconds of learning"),
)
_EPISODES = (
    "Responses are exact here and learned by reinforcement in most of the paper's experiments; "
    "each policy added counts for 20,000 episodes. "
)


def _claim(name: str, paper: str, who: str, agent: str, other: str, unit: Unit, at: str) -> Claim:
    return Claim(
        name=f"{name}-{unit}",
        paper=paper,
        text=f"{who}, {at}.",
        pairs=pairs([(agent, other)], _TREES),
        equal=unit,
        metric="exploitability",
        over_tasks=False,
        published=_SCORES_IN_FIGURES,
        note=_EPISODES,
    )


CLAIMS = tuple(
    _claim(*names, unit, at)
    for names in (
        (
            "anytime-psro",
            "Anytime PSRO",
            "Anytime PSRO has a lower exploitability than PSRO",
            "anytime-psro",
            "psro",
        ),
        (
            "sp-psro",
            "SP-PSRO",
            "Adding policies of self-play lowers the exploitability of Anytime PSRO",
            "sp-psro",
            "anytime-psro",
        ),
        (
            "xdo",
            "XDO",
            "XDO, which mixes actions and not whole policies, has a lower exploitability than PSRO",
            "xdo",
            "psro",
        ),
    )
    for unit, at in _UNITS
)
