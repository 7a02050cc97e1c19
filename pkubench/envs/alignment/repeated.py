"""What the social dilemmas share: a number of rounds, and the history of everybody's choices."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info, Option
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.envs.core.text_view import Opening, Prompting
from pkubench.envs.games.table_picture import draw_text
from pkubench.errors import ConfigError

ROUNDS = 10


class RepeatedGame(BatchEnv):
    """Players choose at the same time, in each of a number of rounds that they know.

    Settings: `rounds`, 10; 1 is the game played once.
    """

    players: ClassVar[int] = 2
    title: ClassVar[str]
    templates: ClassVar[Mapping[str, str]]
    strategies: ClassVar[Mapping[str, Any]]
    """Scripted agents by name."""
    partners: ClassVar[tuple[str, ...]]
    """Strategies that an evaluation plays against."""
    fixed_partners: ClassVar[tuple[str, ...]] = ()
    """Those that do not react: choices beside them reveal preferences and no expectations."""
    episode_options: ClassVar[Mapping[str, Option]] = MappingProxyType(
        {"labels": Option(2, spaces.Discrete(3), "names of the actions: as is, swapped, or drawn")}
    )

    def __init__(
        self,
        num_envs: int,
        max_episode_steps: int | None,
        rounds: int,
        actions: int,
        features: int,
    ) -> None:
        """Make ``num_envs`` environments with ``actions`` choices and ``features`` observed."""
        super().__init__(num_envs, max_episode_steps)
        if rounds < 1:
            raise ConfigError(f"rounds must be at least 1, got {rounds}")
        self.rounds = int(rounds)
        self.agents = tuple(f"player_{i}" for i in range(self.players))
        seen = spaces.Box(0.0, 1.0, (features,), np.float32)
        self.observation_spaces = dict.fromkeys(self.agents, seen)
        self.action_spaces = {a: spaces.Discrete(actions) for a in self.agents}
        self._random = RandomStreams(num_envs)
        self.played: IntArray = np.zeros(num_envs, dtype=np.int64)
        """(num_envs,), rounds played."""
        self.history: IntArray = np.zeros((num_envs, self.rounds, self.players), dtype=np.int64)
        """(num_envs, rounds, players), the choices of the rounds played."""
        self.is_swapped: BoolArray = np.zeros(num_envs, dtype=np.bool_)
        """(num_envs,), whether the second action is called A."""

    @abstractmethod
    def payoffs(self, choices: IntArray) -> FloatArray:
        """Return the payoffs (..., players) of joint choices (..., players)."""

    @abstractmethod
    def cooperation(self, choices: IntArray) -> FloatArray:
        """Return how much each choice cooperates, in [0, 1], of the same shape."""

    @abstractmethod
    def _features(self) -> FloatArray:
        """Return what players observe, (num_envs, players, features)."""

    def shares(self) -> FloatArray:
        """Return each player's mean cooperation in the rounds played, (num_envs, players)."""
        is_played = np.arange(self.rounds)[None, :, None] < self.played[:, None, None]
        total = (self.cooperation(self.history) * is_played).sum(axis=1)
        found: FloatArray = total / np.maximum(self.played, 1)[:, None]
        return found

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._random.seed(ids, seeds)
        drawn = self._random.integers(ids, 1, 2)[:, 0]
        labels = self.options["labels"][ids]
        self.is_swapped[ids] = np.where(labels == 2, drawn, labels) == 1
        self.played[ids] = 0
        self.history[ids] = 0

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        playing = self.played < self.rounds
        if active is not None:
            playing &= active
        ids = np.flatnonzero(playing)
        joint = np.stack([np.asarray(actions[agent])[ids] for agent in self.agents], axis=1)
        self.history[ids, self.played[ids]] = joint
        self.played[ids] += 1
        rewards = np.zeros((self.num_envs, self.players))
        rewards[ids] = self.payoffs(joint.astype(np.int64))
        return rewards, self.played >= self.rounds, self._info()

    def _last(self) -> IntArray:
        """Return the choices of the last round played, (num_envs, players); 0 before the first."""
        rows = np.arange(self.num_envs)
        return self.history[rows, np.maximum(self.played - 1, 0)]

    def _observe(self) -> dict[str, Array]:
        seen = self._features().astype(np.float32)
        return {agent: seen[:, player].copy() for player, agent in enumerate(self.agents)}

    def _info(self) -> Info:
        return {"cooperation": self.shares()}

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw the rounds played: (320, 480, 3) uint8."""
        played = int(self.played[index])
        lines = [f"{self.title}: {played} of {self.rounds} rounds played"]
        for number, choices in enumerate(self.history[index, :played].tolist(), start=1):
            paid = self.payoffs(np.array(choices))
            shown = ", ".join(
                f"{self.named(choice)} ({paid[player]:g})" for player, choice in enumerate(choices)
            )
            lines.append(f"{number}: {shown}")
        return draw_text("\n".join(lines))

    def named(self, choice: int) -> str:
        """Return a choice in words, for pictures."""
        return str(choice)

    # The form in words

    @abstractmethod
    def rules(self, index: int) -> str:
        """Return the rules in words."""

    @abstractmethod
    def outcome(self, player: int, index: int) -> str:
        """Return the last round in words, as a player saw it."""

    def opening(self, agent: str, index: int, how: Prompting) -> list[Opening]:
        """Return the rules (see ``TextForm``); no reply is asked for, and no value assigned."""
        return [Opening(self.rules(index))]

    def question(self, agent: str, index: int, replies: Mapping[str, str]) -> str:
        """Return the question of the present round, after what the last one brought."""
        played = int(self.played[index])
        player = self.agents.index(agent)
        before = f"{self.outcome(player, index)} " if played else ""
        asked = self.templates["ask"].format(number=played + 1, count=self.rounds)
        return before + asked

    def reminder(self, agent: str, index: int) -> str:
        """Return the reminder sent after a reply that cannot be parsed."""
        return self.templates["remind"]
