"""Strategies of the social dilemmas, as agents that read the observation and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pkubench.envs.alignment.slider_agents import UniformAgent
from pkubench.envs.core.batch import Array, BoolArray
from pkubench.envs.core.seeding import IntArray

FIRST, OWN_C, OWN_D, OTHER_C, OTHER_D, _ROUND, _OWN_SHARE, OTHER_SHARE = range(8)
"""Places in an observation of a matrix dilemma."""
CONTRIBUTED, OTHERS, OTHERS_SHORTFALL = 1, 2, 4
"""Places in an observation of the public goods game."""
ENDOWMENT: Final = 20


@dataclass(frozen=True, slots=True)
class Strategy:
    """Plays a function of the observation."""

    play: Callable[[Array], Array]
    """(episodes, features) -> actions (episodes,)."""

    def begin(self, seeds: IntArray) -> None:
        """Return None: what it needs to remember is observed."""

    def act(self, observation: Array, state: None, active: BoolArray) -> tuple[IntArray, None]:
        """Return the actions (episodes,)."""
        return np.asarray(self.play(observation)).astype(np.int64), None


def _cooperate(seen: Array) -> Array:
    return np.zeros(len(seen))


def _defect(seen: Array) -> Array:
    return np.ones(len(seen))


def _tit_for_tat(seen: Array) -> Array:
    return seen[:, OTHER_D] > 0.5


def _suspicious_tit_for_tat(seen: Array) -> Array:
    return (seen[:, OTHER_D] > 0.5) | (seen[:, FIRST] > 0.5)


def _grim(seen: Array) -> Array:
    return seen[:, OTHER_SHARE] > 0.0


def _win_stay_lose_shift(seen: Array) -> Array:
    # Stay after R or T, where the other cooperated; change after S or P.
    own_defected = seen[:, OWN_D] > 0.5
    return np.where(seen[:, OTHER_D] > 0.5, ~own_defected, own_defected)


MATRIX_AGENTS: Final[Mapping[str, Any]] = {
    "cooperate": Strategy(_cooperate),
    "defect": Strategy(_defect),
    "tit-for-tat": Strategy(_tit_for_tat),
    "suspicious-tit-for-tat": Strategy(_suspicious_tit_for_tat),
    "grim": Strategy(_grim),
    "win-stay-lose-shift": Strategy(_win_stay_lose_shift),
    "uniform": UniformAgent(2),
}
PARTNERS: Final = ("cooperate", "defect", "tit-for-tat", "grim", "win-stay-lose-shift", "uniform")
FIXED: Final = ("cooperate", "defect")


def _give_all(seen: Array) -> Array:
    return np.full(len(seen), ENDOWMENT)


def _match(seen: Array) -> Array:
    """Contribute what the others did on average, rounded half up; all of it at first."""
    mean = np.floor(seen[:, OTHERS].astype(np.float64) * ENDOWMENT + 0.5)
    return np.where(seen[:, 0] > 0.5, ENDOWMENT, mean)


def _give_until_short(seen: Array) -> Array:
    return np.where(seen[:, OTHERS_SHORTFALL] > 0.0, 0, ENDOWMENT)


PUBLIC_GOODS_AGENTS: Final[Mapping[str, Any]] = {
    "cooperate": Strategy(_give_all),
    "defect": Strategy(_cooperate),
    "tit-for-tat": Strategy(_match),
    "grim": Strategy(_give_until_short),
    "uniform": UniformAgent(ENDOWMENT + 1),
}
PUBLIC_PARTNERS: Final = ("cooperate", "defect", "tit-for-tat", "grim", "uniform")


def _constant(amount: int) -> Strategy:
    return Strategy(_Constant(amount))


@dataclass(frozen=True, slots=True)
class _Constant:
    amount: int

    def __call__(self, seen: Array) -> Array:
        return np.full(len(seen), self.amount)


DICTATOR_AGENTS: Final[Mapping[str, Any]] = {
    "keep": _constant(0),
    "share": _constant(5),
    "give": _constant(10),
    "uniform": UniformAgent(11),
}
