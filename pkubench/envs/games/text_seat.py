"""A seat at a game that is shown as lines of text, and the environment of any game at all."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pkubench.envs.games.seat import GameSeat
from pkubench.envs.games.table_picture import draw_text, result_words


class TextSeat(GameSeat):
    """Base of the environments whose picture is their description."""

    @abstractmethod
    def lines(self, index: int) -> list[str]:
        """Return what an environment's seat sees, line by line, without the result."""

    def describe(self, index: int = 0) -> str:
        """Tell an environment's play in words, as the learner's seat sees it."""
        result = result_words(self.won(index), bool(self._forfeited[index]))
        return "\n".join([*self.lines(index), *([result] if result else [])])

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw one environment's description: (320, 480, 3) uint8."""
        return draw_text(self.describe(index))


class AnyGame(TextSeat):
    """A seat at a game by its name: a matrix, or an OpenSpiel game that the exact engine takes.

    | part        | type              | meaning                                                 |
    |-------------|-------------------|---------------------------------------------------------|
    | observation | Box(n) float32    | the game's information-state tensor, or the position    |
    | action      | Discrete(actions) | numbered as OpenSpiel does; rows or columns of a matrix |
    | reward      | float             | the payoff at the end, otherwise 0                      |
    | ends        |                   | when the game ends; no time limit                       |

    It has no id of its own: ``make_batch("openspiel:liars_dice(dice_sides=3)")``, and the
    same spelling names the task in every verb. The engine takes games of OpenSpiel for two,
    zero-sum, turn-based or simultaneous, with enumerable chance, information-state strings, perfect
    recall and at most 2,000,000 histories; a seat also needs information-state tensors, or perfect
    information (then the observation is the position). Settings are those of the poker
    environments.
    """

    game: ClassVar[str] = "{game}"

    def __init__(
        self, num_envs: int = 1, max_episode_steps: int | None = -1, *, game: str, **table: Any
    ) -> None:
        """Make ``num_envs`` tables of ``game``; ``table`` are the settings of every game."""
        super().__init__(num_envs, max_episode_steps, parameters={"game": game}, **table)

    def lines(self, index: int) -> list[str]:
        """Return the game's own text of the learner's information state."""
        node, seat = int(self.history[index]), int(self.seat[index])
        who = f"{self.tree.name}: you are player {seat}"
        if self.won(index) is not None or self._forfeited[index]:
            return [who, "the play is over"]
        state = self.tree.histories.states[seat].texts[self.tree.histories.state[node]]
        return [who, *state.splitlines()]
