"""One seat of a two-player game against a fixed opponent, stepped as table look-ups.

The whole game tree lies in arrays. All that chance and the opponent may do between two own moves
is one distribution over the next places where the learner acts or the play is over, so a step of
all environments is: look up the child of (history, action), and find one draw an environment in a
table of cumulative probabilities.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.envs.games.game_tables import game_tables
from pkubench.envs.games.opponents import opponents
from pkubench.envs.games.outcomes import Outcomes
from pkubench.envs.games.trees import check_seen, game_tree
from pkubench.errors import ActionError, ConfigError

Seat = Literal["random", 0, 1]


class GameSeat(BatchEnv):
    """Base of the game environments; an environment names its ``game`` and draws its picture.

    ``history`` (int64, one an environment) numbers the environment's place in ``tree.histories``.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 2}
    default_horizon: ClassVar[int | None] = None
    game: ClassVar[str]
    """The game, as :func:`pkubench.envs.games.trees.game_tree` names it; ``{fields}`` in it are
    filled from ``parameters``, and for a registered environment from its settings."""

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        *,
        opponent: Any = "uniform",
        seat: Seat = "random",
        illegal: Literal["lose", "error"] = "lose",
        parameters: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Make ``num_envs`` tables.

        Args:
            num_envs: Number of environments.
            max_episode_steps: None or -1: games end by themselves.
            opponent: ``"uniform"``, ``"equilibrium"``, a policy or a population (one member is
                drawn for each episode); see :func:`pkubench.envs.games.opponents.opponents`.
            seat: The learner's seat: 0, 1, or ``"random"``, drawn for each episode.
            illegal: What an illegal action does: ``"lose"`` ends the play with the worst loss of
                the game and ``info["illegal"]``; ``"error"`` makes ``check_actions`` refuse it.
            parameters: What fills the fields of ``game``; set by the environments that have some.

        Raises:
            MissingExtra: OpenSpiel is not installed.
            GameError: A game that the engine cannot take, or that has nothing to observe.
            ConfigError, UnknownName, PolicyError: A setting that does not fit.
        """
        super().__init__(num_envs, max_episode_steps)
        if seat not in ("random", 0, 1):
            raise ConfigError(f"seat must be 0, 1 or 'random', got {seat!r}")
        if illegal not in ("lose", "error"):
            raise ConfigError(f"illegal must be 'lose' or 'error', got {illegal!r}")
        self.seat_choice, self.illegal = seat, illegal
        name = self.game.format_map(parameters)
        check_seen(name)  # before the tree is built, which takes long
        self.tree = game_tree(name)
        self._outcomes = Outcomes.build(self.tree, opponents(self.tree, opponent))
        self._tables = game_tables(self.tree)
        self._terminal_row = len(self._tables.masks) - 1
        # Tensors are indicators in most games; a game by name may count in them.
        low = min(float(self._tables.tensors.min()), 0.0)
        high = max(float(self._tables.tensors.max()), 1.0)
        size = self._tables.tensors.shape[1]
        self.observation_spaces = {SOLE_AGENT: spaces.Box(low, high, (size,), np.float32)}
        self.action_spaces = {SOLE_AGENT: spaces.Discrete(self.tree.num_actions)}
        self.random = RandomStreams(num_envs)
        self.history: IntArray = np.zeros(num_envs, dtype=np.int64)
        self.seat: IntArray = np.zeros(num_envs, dtype=np.int64)
        self._policy: IntArray = np.zeros(num_envs, dtype=np.int64)
        self._forfeited: BoolArray = np.zeros(num_envs, dtype=np.bool_)
        self._shown: IntArray = np.zeros(num_envs, dtype=np.int64)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self.random.seed(ids, seeds)
        draws = self.random.uniform(ids, 3)
        seat = (draws[:, 0] < 0.5).astype(np.int64)
        if self.seat_choice != "random":
            seat[:] = self.seat_choice
        self.seat[ids] = seat
        self._policy[ids] = self._outcomes.policy(seat, draws[:, 1])
        root = np.zeros(len(ids), dtype=np.int64)
        self.history[ids] = self._outcomes.next(seat, self._policy[ids], root, draws[:, 2])
        self._forfeited[ids] = False
        self._look(ids)

    def _look(self, ids: IntArray) -> None:
        """Note what the environments ``ids`` show now."""
        self._shown[ids] = np.where(
            self._forfeited[ids], self._terminal_row, self._tables.row[self.history[ids]]
        )

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        over = self._tables.is_end[self.history] | self._forfeited
        moving = ~over if active is None else ~over & active
        ids = self._all if moving.all() else np.flatnonzero(moving)
        child = self._tables.child[self.history[ids], actions[SOLE_AGENT][ids]]
        illegal = np.zeros(self.num_envs, dtype=np.bool_)
        if (child < 0).any():
            illegal[ids[child < 0]] = True
            self._forfeited |= illegal
            self._look(ids)
            ids, child = ids[child >= 0], child[child >= 0]
        draws = self.random.uniform(ids, 1)[:, 0]
        self.history[ids] = self._outcomes.next(self.seat[ids], self._policy[ids], child, draws)
        self._look(ids)
        ended = self._tables.is_end[self.history] | self._forfeited
        won = self.tree.histories.utility[self.history]
        rewards = np.where(moving & ended, np.where(self.seat == 0, won, 0.0 - won), 0.0)
        rewards[illegal] = -self.tree.max_utility
        return rewards[:, None], ended, {**self._info(), "illegal": illegal}

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: self._tables.tensors[self._shown]}

    def _info(self) -> Info:
        return {
            "action_mask": self._tables.masks[self._shown],
            "seat": self.seat.copy(),
            "illegal": np.zeros(self.num_envs, dtype=np.bool_),
        }

    def check_actions(
        self, actions: Mapping[str, Any], active: BoolArray | None = None
    ) -> dict[str, Array]:
        """Check as the base does and, with ``illegal="error"``, the rules of the game too."""
        checked = super().check_actions(actions, active)
        if self.illegal == "error":
            mask = self._tables.masks[self._shown].astype(np.bool_)
            looked_at = slice(None) if active is None else active
            legal = np.take_along_axis(mask, checked[SOLE_AGENT][:, None] % mask.shape[1], 1)[:, 0]
            bad = np.flatnonzero(~legal[looked_at])
            if len(bad):
                index = int(self._all[looked_at][bad[0]])
                raise ActionError(
                    f"action {int(checked[SOLE_AGENT][index])} of environment {index} is illegal; "
                    f"info['action_mask'] allows {np.flatnonzero(mask[index]).tolist()}"
                )
        return checked

    def moves(self, index: int = 0) -> list[tuple[int, int]]:
        """Return the play so far as (who moved: 0, 1 or ``CHANCE``; which action)."""
        histories, node = self.tree.histories, int(self.history[index])
        path = []
        while node:
            above = int(histories.parent[node])
            path.append((int(histories.player[above]), int(histories.action[node])))
            node = above
        return path[::-1]

    def won(self, index: int = 0) -> float | None:
        """Return what an environment's seat has won by the rules; None while the game is played."""
        node = int(self.history[index])
        if not self._tables.is_end[node]:
            return None
        utility = float(self.tree.histories.utility[node])
        return utility if self.seat[index] == 0 else 0.0 - utility

    @abstractmethod
    def describe(self, index: int = 0) -> str:
        """Tell an environment's table in words, as the learner's seat sees it."""

    @abstractmethod
    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw one environment's table."""
