"""Goofspiel with few cards: a seat at the table, against a fixed opponent."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pkubench.envs.games.text_seat import TextSeat
from pkubench.errors import ConfigError

Returns = Literal["win_loss", "point_difference"]


class Goofspiel(TextSeat):
    """Goofspiel: prizes go one by one to the higher of two secret bids; each card bids once.

    | part        | type            | meaning                                                  |
    |-------------|-----------------|----------------------------------------------------------|
    | observation | Box(n) float32  | OpenSpiel's information-state tensor: hand, bids, prizes |
    | action      | Discrete(cards) | the card to bid with, counted from 0                     |
    | reward      | float           | at the end, by ``returns``; otherwise 0                  |
    | ends        |                 | after ``cards - 1`` own bids: the last card plays itself |

    Both hold the cards 1 to ``cards``; the prizes ``cards`` to 1 are laid out in this order. Both
    bid at the same time; the higher bid takes the prize, equal bids discard it. Bids stay secret:
    a player observes only who took the prize. Whoever has more points wins: 1, -1, or 0 for a tie
    (``returns="win_loss"``); ``returns="point_difference"`` pays half of the difference, what a
    player is above the mean of both.
    In the tree seat 0 bids first and seat 1 does not see it, which is the same game.

    ``info["action_mask"]`` (int8) marks the cards still held (all ones once the play is over),
    ``info["seat"]`` the learner's seat, drawn for each episode unless fixed. Playing a card that
    is gone loses the most a play can lose, at once (``illegal="error"`` refuses it instead). After
    the end the observation is zero. The opponent is ``uniform`` by default; ``equilibrium``, a
    policy or a population can be given. As a task it is scored exactly, by the exploitability of
    the policies of both seats. The game is symmetric, so its value is 0.

    Versions: v0 first release.
    """

    game: ClassVar[str] = (
        "goofspiel(num_cards={cards},imp_info=True,points_order=descending,returns_type={returns})"
    )

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        *,
        cards: int = 5,
        returns: Returns = "win_loss",
        **table: Any,
    ) -> None:
        """Make ``num_envs`` tables with ``cards`` cards.

        Args:
            num_envs: Number of environments.
            max_episode_steps: None or -1: games end by themselves.
            cards: Cards in each hand, and prizes.
            returns: ``"win_loss"`` or ``"point_difference"``.
            **table: Settings of every game environment: ``opponent``, ``seat``, ``illegal``.
        """
        if cards < 2:
            raise ConfigError(f"cards must be at least 2, got {cards}")
        if returns not in ("win_loss", "point_difference"):
            raise ConfigError(f"returns must be 'win_loss' or 'point_difference', got {returns!r}")
        self.cards = cards
        parameters = {"cards": cards, "returns": returns}
        super().__init__(num_envs, max_episode_steps, parameters=parameters, **table)

    def lines(self, index: int) -> list[str]:
        """Return the own bids and who took which prize; all bids once the play is over."""
        seat = int(self.seat[index])
        bids: tuple[list[int], list[int]] = ([], [])
        for who, action in self.moves(index):
            bids[who].append(action + 1)
        over = self.won(index) is not None
        if over:  # each one's last card played itself
            for own in bids:
                own += set(range(1, self.cards + 1)) - set(own)
        taken = []
        for prize, mine, theirs in zip(
            range(self.cards, 0, -1), bids[seat], bids[1 - seat], strict=False
        ):
            whose = "you" if mine > theirs else "they" if mine < theirs else "nobody"
            taken.append(f"{prize} {whose}")
        hand = [str(card) for card in range(1, self.cards + 1) if card not in bids[seat]]
        return [
            f"Goofspiel, {self.cards} cards",
            f"your hand: {' '.join(hand) or '-'}   the prize: {max(self.cards - len(taken), 0)}",
            f"your bids: {' '.join(map(str, bids[seat])) or '-'}",
            *([f"their bids: {' '.join(map(str, bids[1 - seat]))}"] if over else []),
            f"prizes: {', '.join(taken) or '-'}",
        ]
