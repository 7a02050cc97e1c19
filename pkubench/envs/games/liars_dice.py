"""Liar's dice with one die each: a seat at the table, against a fixed opponent."""

from __future__ import annotations

from typing import Any, ClassVar

from pkubench.envs.games.histories import CHANCE
from pkubench.envs.games.text_seat import TextSeat
from pkubench.errors import ConfigError


class LiarsDice(TextSeat):
    """Liar's dice: one hidden die each, ever higher bids on both, until one calls the other a liar.

    | part        | type                     | meaning                                        |
    |-------------|--------------------------|------------------------------------------------|
    | observation | Box(3 sides + 3) float32 | OpenSpiel's information-state tensor           |
    | action      | Discrete(2 sides + 1)    | bids in rising order, the last action "liar"   |
    | reward      | float                    | 1 won, -1 lost, at the end; otherwise 0        |
    | ends        |                          | somebody says "liar"; no time limit            |

    Action ``k`` bids ``1 + k // sides`` dice of the face ``1 + k % sides``. The observation holds
    the seat, the own die, and every bid so far with the call of "liar".

    A bid says how many of the two dice show a face. The highest face is wild: it counts as every
    face. Each bid must be higher than the last (more dice, or as many of a higher face). Who says
    "liar" wins if the last bid is false and loses if it is true. Who holds the turn after the
    highest bid can only say "liar"; nobody can before the first bid.

    ``info["action_mask"]`` (int8) marks legal actions (all ones once the play is over),
    ``info["seat"]`` the learner's seat, drawn for each episode unless fixed. An illegal action
    loses 1 at once (``illegal="error"`` refuses it instead). After the end the observation is
    zero. The opponent is ``uniform`` by default; ``equilibrium``, a policy or a population can be
    given. As a task it is scored exactly, by the exploitability of the policies of both seats.

    | environment | information states a seat | value of the first seat |
    |-------------|---------------------------|-------------------------|
    | LiarsDice4  | 512                       | 0.0625                  |
    | LiarsDice5  | 2,560                     | 0.008                   |
    | LiarsDice6  | 12,288                    | -0.0271                 |

    Versions: v0 first release.
    """

    game: ClassVar[str] = "liars_dice(dice_sides={sides})"

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        *,
        sides: int = 5,
        **table: Any,
    ) -> None:
        """Make ``num_envs`` tables with dice of ``sides`` faces.

        Args:
            num_envs: Number of environments.
            max_episode_steps: None or -1: games end by themselves.
            sides: Faces of a die; the tree grows fourfold and more with each.
            **table: Settings of every game environment: ``opponent``, ``seat``, ``illegal``.
        """
        if sides < 2:
            raise ConfigError(f"sides must be at least 2, got {sides}")
        self.sides = sides
        super().__init__(num_envs, max_episode_steps, parameters={"sides": sides}, **table)

    def lines(self, index: int) -> list[str]:
        """Return the own die and all bids; the other die once a bid is called."""
        seat = int(self.seat[index])
        dice, bids = [], []
        for who, action in self.moves(index):
            if who == CHANCE:
                dice.append(str(action + 1))
                continue
            said = "liar!"
            if action < 2 * self.sides:
                said = f"{1 + action // self.sides} x {1 + action % self.sides}"
            bids.append(f"{'you' if who == seat else 'they'} {said}")
        other = "?" if self.won(index) is None else dice[1 - seat]
        return [
            f"Liar's dice, {self.sides} sides ({self.sides} is wild)",
            f"your die: {dice[seat]}   their die: {other}",
            f"bids: {', '.join(bids) or '-'}",
        ]
