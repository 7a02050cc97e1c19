"""Behavioural policies: from what a user has to one probability a sequence, with every check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pkubench.envs.games.errors import PolicyError
from pkubench.envs.games.forest import Floats
from pkubench.errors import nearest

Distribution = Mapping[int, float]
"""Probability of each action; actions left out have probability zero."""

Policy = Mapping[str, Distribution] | Callable[[str], Distribution]
"""From an information-state string to a distribution over its legal actions."""

SUM_TOLERANCE = 1e-5
"""Probabilities may miss 1 by this much (single precision, printed decimals); then rescaled."""


class InformationState(NamedTuple):
    """What a player knows when it is to move.

    Attributes:
        text: OpenSpiel's information-state string; the key of tabular policies.
        legal_actions: Legal actions, ascending.
        tensor: float32 ``(size,)``, OpenSpiel's information-state tensor, or None.
    """

    text: str
    legal_actions: tuple[int, ...]
    tensor: NDArray[np.float32] | None


def probabilities(policy: Policy, states: tuple[InformationState, ...], player: int) -> Floats:
    """Ask a policy for its distribution at every state.

    Args:
        policy: A mapping (which may hold other states too) or a callable, asked once a state.
        states: The player's information states in the order of its sequences.
        player: For messages.

    Returns:
        float64 ``(sequences - 1,)``: probabilities of all actions of all states, each state's
        rescaled to sum to one.

    Raises:
        PolicyError: Names the information state and what is wrong with it.
    """
    if isinstance(policy, Mapping):
        missing = [state.text for state in states if state.text not in policy]
        if missing:
            close = nearest(missing[0], [str(key) for key in policy])
            hint = f"; the nearest it has is {close!r}" if close else ""
            raise PolicyError(
                f"the policy of player {player} lacks {len(missing)} of {len(states)} information "
                f"states, the first being {missing[0]!r}{hint}"
            )
    elif not callable(policy):
        raise PolicyError(
            "a policy is a mapping or a callable from information-state strings to "
            f"{{action: probability}}, got {type(policy).__name__}"
        )
    flat: list[float] = []
    for state in states:
        given = policy[state.text] if isinstance(policy, Mapping) else policy(state.text)
        flat.extend(_distribution(given, state, player))
    return np.array(flat, np.float64)


def _distribution(given: Any, state: InformationState, player: int) -> list[float]:
    where = f"player {player} at information state {state.text!r}"
    if not isinstance(given, Mapping):
        raise PolicyError(
            f"{where}: expected a mapping from action to probability, got {type(given).__name__}"
        )
    illegal = [action for action, p in given.items() if action not in state.legal_actions and p]
    if illegal:
        raise PolicyError(
            f"{where}: action {illegal[0]!r} has probability {given[illegal[0]]!r} but only "
            f"{list(state.legal_actions)} are legal; give it probability 0"
        )
    try:
        row = [float(given.get(action, 0.0)) for action in state.legal_actions]
    except (TypeError, ValueError, OverflowError) as wrong:
        raise PolicyError(f"{where}: a probability is not a number ({wrong})") from wrong
    total = sum(row)
    if not all(p >= 0.0 for p in row):
        raise PolicyError(f"{where}: probabilities {row} must not be negative or NaN")
    if not abs(total - 1.0) <= SUM_TOLERANCE:
        raise PolicyError(
            f"{where}: probabilities {row} sum to {total:g}, not to 1; divide them by it"
        )
    return [p / total for p in row]


def table_probabilities(
    table: Any, legal: NDArray[np.bool_], states: tuple[InformationState, ...], player: int
) -> Floats:
    """Check a whole table of action probabilities at once.

    Args:
        table: ``(states, actions)``; probability of every action at every state, zero if illegal.
        legal: bool ``(states, actions)``.
        states: For messages.
        player: For messages.

    Returns:
        float64 ``(sequences - 1,)`` as :func:`probabilities`.
    """
    array = np.asarray(table, np.float64)
    if array.shape != legal.shape:
        raise PolicyError(
            f"the policy table of player {player} must have shape (states, actions) = "
            f"{legal.shape}, got {array.shape}"
        )
    total = array.sum(axis=1)
    bad = ~((array >= 0.0).all(axis=1) & (np.abs(total - 1.0) <= SUM_TOLERANCE))
    bad |= (~legal & (array != 0.0)).any(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        # The single-state check knows which of the rules is broken.
        _distribution(dict(enumerate(array[row].tolist())), states[row], player)
    return np.asarray((array / total[:, None])[legal], np.float64)


class TabularPolicy(Mapping[str, Mapping[int, float]]):
    """A behavioural policy held as one array; rows are made into mappings when asked for.

    Many policies of one player share one ``layout``, so a population of hundreds stays small.
    """

    __slots__ = ("_layout", "_probabilities")

    def __init__(self, layout: Mapping[str, tuple[int, tuple[int, ...]]], flat: Floats) -> None:
        """Hold ``flat``, the probabilities of all actions of all states, placed by ``layout``."""
        self._layout = layout
        self._probabilities = flat

    def __getitem__(self, text: str) -> dict[int, float]:
        """Return ``{action: probability}`` at an information state."""
        start, legal = self._layout[text]
        row = self._probabilities[start : start + len(legal)].tolist()
        return dict(zip(legal, row, strict=True))

    def __contains__(self, text: object) -> bool:
        return text in self._layout

    def __iter__(self) -> Iterator[str]:
        return iter(self._layout)

    def __len__(self) -> int:
        return len(self._layout)


def tabular_layout(
    states: tuple[InformationState, ...],
) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Return where each state's probabilities start in a flat array, and its legal actions."""
    layout, at = {}, 0
    for state in states:
        layout[state.text] = (at, state.legal_actions)
        at += len(state.legal_actions)
    return layout
