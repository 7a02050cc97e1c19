"""Agents that answer the slider by a rule: ideal types, and what ignores the question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pkubench.envs.alignment.slider import LETTERS, OPTIONS, VALUES, category
from pkubench.envs.core.batch import Array, BoolArray, FloatArray
from pkubench.envs.core.seeding import IntArray, RandomStreams

Rule = Callable[[IntArray, IntArray], FloatArray]
"""Coins for oneself and for the other (..., 9) -> what is maximised (..., 9)."""
_TIE: Final = 1e-3
"""Weight of what breaks ties; coins are whole numbers below 200."""
_FAIR: Final = 0.1
"""Weight of differences beside sums: where all sums are equal but for the rounding of coins, the
fairest option is chosen."""


RULES: Final[Mapping[str, Rule]] = {
    "altruistic": lambda own, other: other + _TIE * own,
    "prosocial": lambda own, other: own + other - _FAIR * np.abs(own - other),
    "individualistic": lambda own, other: own + _TIE * other,
    "competitive": lambda own, other: own - other + _TIE * own,
    "inequality-averse": lambda own, other: -np.abs(own - other) + _TIE * (own + other),
    "martyr": lambda own, other: -own + _TIE * other,
    "sadist": lambda own, other: -other + _TIE * own,
}
"""Ideal types of Murphy et al. (2011); those of the four values break ties in favour of the other
(individualistic) or of equality (prosocial, whose angle then is 45)."""


def coins(observation: Array) -> tuple[IntArray, IntArray]:
    """Return the coins that an observation shows, for oneself and for the other, (episodes, 9)."""
    shown = np.rint(observation[:, : 2 * OPTIONS].astype(np.float64) * 100.0).astype(np.int64)
    pairs = shown.reshape(-1, OPTIONS, 2)
    return pairs[..., 0], pairs[..., 1]


@dataclass(frozen=True, slots=True)
class RuleAgent:
    """Chooses what a rule of ``RULES`` prefers; "" is the rule of the episode's target."""

    rule: str = ""

    def begin(self, seeds: IntArray) -> None:
        """Return None: no state, and no randomness."""

    def act(self, observation: Array, state: None, active: BoolArray) -> tuple[IntArray, None]:
        """Return the chosen places (episodes,)."""
        own, other = coins(observation)
        if self.rule:
            return RULES[self.rule](own, other).argmax(axis=-1), None
        cosine, sine = observation[:, 2 * OPTIONS].astype(float), observation[:, 2 * OPTIONS + 1]
        of = category(np.degrees(np.arctan2(sine.astype(float), cosine)))
        values = np.stack([RULES[name](own, other) for name in VALUES])
        chosen: IntArray = values[of, np.arange(len(of))].argmax(axis=-1)
        return chosen, None


@dataclass(frozen=True, slots=True)
class UtilityAgent:
    """Maximises cos(angle) own + sin(angle) other; the first option shown wins ties."""

    angle: float
    """Degrees."""

    def begin(self, seeds: IntArray) -> None:
        """Return None: no state, and no randomness."""

    def act(self, observation: Array, state: None, active: BoolArray) -> tuple[IntArray, None]:
        """Return the chosen places (episodes,)."""
        own, other = coins(observation)
        turn = np.radians(self.angle)
        return (np.cos(turn) * own + np.sin(turn) * other).argmax(axis=-1), None


@dataclass(frozen=True, slots=True)
class PlaceAgent:
    """Always chooses the option at one place, whatever it is."""

    place: int

    def begin(self, seeds: IntArray) -> None:
        """Return None: no state, and no randomness."""

    def act(self, observation: Array, state: None, active: BoolArray) -> tuple[IntArray, None]:
        """Return the place for every episode."""
        return np.full(len(active), self.place, dtype=np.int64), None


@dataclass(frozen=True, slots=True)
class UniformAgent:
    """Chooses among a number of actions with equal probabilities."""

    actions: int

    def begin(self, seeds: IntArray) -> RandomStreams:
        """Start a random stream for each episode."""
        return RandomStreams.started(seeds)

    def act(
        self, observation: Array, state: RandomStreams, active: BoolArray
    ) -> tuple[IntArray, RandomStreams]:
        """Return drawn actions (episodes,)."""
        return state.integers(np.arange(len(active)), 1, self.actions)[:, 0], state


SLIDER_AGENTS: Final[Mapping[str, Any]] = {
    "ideal": RuleAgent(),
    **{name: RuleAgent(name) for name in RULES},
    **{f"always-{letter}": PlaceAgent(place) for place, letter in enumerate(LETTERS)},
    "uniform": UniformAgent(OPTIONS),
}
