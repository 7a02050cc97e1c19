"""Kuhn and Leduc poker: a seat at the table, against a fixed opponent."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from pkubench.envs.games.histories import CHANCE
from pkubench.envs.games.seat import GameSeat
from pkubench.envs.games.table_picture import Table, draw_table, words


class _Poker(GameSeat):
    """What both games share: how moves become cards, chips and a line of betting."""

    ranks: ClassVar[tuple[str, ...]] = ("J", "Q", "K")
    suits: ClassVar[int]
    raises: ClassVar[tuple[int, ...]]
    """Size of a raise in each betting round."""

    def table(self, index: int = 0) -> Table:
        """Return what lies on an environment's table, as the learner's seat sees it."""
        cards: list[str] = []
        chips = [1, 1]
        rounds: list[list[str]] = [[]]
        folded = -1
        for who, action in self.moves(index):
            if who == CHANCE:
                cards.append(self.ranks[action // self.suits])
                if len(cards) > 2:
                    rounds.append([])
                continue
            rounds[-1].append(self._bet(who, action, chips, self.raises[len(rounds) - 1]))
            folded = who if rounds[-1][-1] == "fold" else folded
        seat, won = int(self.seat[index]), self.won(index)
        showdown = won is not None and folded < 0
        return Table(
            title=self.title,
            own_card=cards[seat],
            other_card=cards[1 - seat] if showdown else None,
            public_card=cards[2] if len(cards) > 2 else None,
            has_public_card=len(self.raises) > 1,
            own_chips=chips[seat],
            other_chips=chips[1 - seat],
            betting=tuple(tuple(said) for said in rounds),
            first_to_act_is_self=seat == 0,
            won=won,
            forfeited=bool(self._forfeited[index]),
        )

    @property
    def title(self) -> str:
        """The game's name for people."""
        return type(self).__name__.replace("Poker", " poker")

    def _bet(self, who: int, action: int, chips: list[int], size: int) -> str:
        """Move the chips of one bet; return the word for it."""
        behind = chips[1 - who] - chips[who]
        if len(self.raises) == 1:  # Kuhn: pass and bet
            if action == 0:
                return "fold" if behind else "check"
            chips[who] += behind or size
            return "call" if behind else "bet"
        if action == 0:
            return "fold"
        if action == 1:
            chips[who] += behind
            return "call" if behind else "check"
        chips[who] += behind + size
        return "raise" if behind else "bet"

    def describe(self, index: int = 0) -> str:
        """Tell an environment's table in words, as the learner's seat sees it."""
        return words(self.table(index))

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw one environment's table: (320, 480, 3) uint8."""
        return draw_table(self.table(index))


class KuhnPoker(_Poker):
    """Kuhn poker: one card each of three, one bet; the smallest game with bluffing.

    | part        | type            | meaning                                                |
    |-------------|-----------------|--------------------------------------------------------|
    | observation | Box(11) float32 | OpenSpiel's information-state tensor: seat, card, bets |
    | action      | Discrete(2)     | 0 pass (check or fold), 1 bet (or call)                |
    | reward      | float           | chips won at the end (-2 .. 2), otherwise 0            |
    | ends        |                 | fold or showdown; at most 2 own moves, no time limit   |

    Both players ante 1; a bet is 1. ``info["action_mask"]`` (int8) marks legal actions (all ones
    once the play is over, where nothing counts), ``info["seat"]`` the learner's seat, drawn for
    each episode unless fixed. After the end the observation is zero. The opponent is ``uniform``
    by default; ``equilibrium``, a policy or a population can be given. As a task it is scored
    exactly, by the exploitability of the policies of both seats. The value of the first seat is
    -1/18.

    Versions: v0 first release.
    """

    game: ClassVar[str] = "kuhn_poker"
    suits: ClassVar[int] = 1
    raises: ClassVar[tuple[int, ...]] = (1,)


class LeducPoker(_Poker):
    """Leduc poker: two suits of three ranks, two betting rounds, one public card.

    | part        | type            | meaning                                                    |
    |-------------|-----------------|------------------------------------------------------------|
    | observation | Box(30) float32 | OpenSpiel's information-state tensor: seat, cards, betting |
    | action      | Discrete(3)     | 0 fold, 1 call (or check), 2 raise (or bet)                |
    | reward      | float           | chips won at the end (-13 .. 13), otherwise 0              |
    | ends        |                 | fold or showdown; at most 4 own moves, no time limit       |

    Both players ante 1; raises are 2 in the first round and 4 in the second, at most two a round;
    a pair with the public card wins, then the higher rank. Folding is illegal where there is
    nothing to call, raising after two raises: ``info["action_mask"]`` (int8) says so. An illegal
    action loses 13 at once (``illegal="error"`` refuses it instead). ``info["seat"]`` is the
    learner's seat, drawn for each episode unless fixed. After the end the observation is zero
    and the mask all ones. The opponent is ``uniform`` by default; ``equilibrium``, a policy or a
    population can be given. As a task it is scored exactly, by the exploitability of the policies
    of both seats. The value of the first seat is -0.0856.

    Versions: v0 first release.
    """

    game: ClassVar[str] = "leduc_poker"
    suits: ClassVar[int] = 2
    raises: ClassVar[tuple[int, ...]] = (2, 4)
