"""TwoStepGame: what a sum of utilities cannot represent, and a monotone mix can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.diagnostics.drawing import draw_payoffs

START, SAFE, RISKY, OVER = range(4)
"""Stages: the choice of a game, the game 2A, the game 2B, the end."""
PAYOFFS: Final[FloatArray] = np.array(
    [[[0.0, 0.0], [0.0, 0.0]], [[7.0, 7.0], [7.0, 7.0]], [[0.0, 1.0], [1.0, 8.0]]]
)
"""Of the joint actions of each stage but the last, (stage, agent 0's action, agent 1's)."""
PAYOFFS.flags.writeable = False


class TwoStepGame(BatchEnv):
    """Agent 0 chooses between a safe game and a better one in which both have to cooperate.

    | part        | type                    | meaning                                          |
    |-------------|-------------------------|--------------------------------------------------|
    | agents      | `agent_0`, `agent_1`    | act at the same time                             |
    | observation | Box(0, 1, (4,)) float32 | the stage, one-hot: first step, 2A, 2B, over     |
    | action      | Discrete(2)             | first step: agent 0 chooses 2A or 2B; then a row |
    |             |                         | or column of the game                            |
    | reward      | float64, one an agent   | half the payoff; the team return is the payoff   |
    | state       | Box(0, 1, (4,)) float32 | the stage                                        |
    | ends        |                         | after two steps; no time limit                   |

    The first step pays nothing. The second pays 7 whatever is done in 2A, and in 2B

    | payoff | 0 | 1 |
    |--------|---|---|
    | 0      | 0 | 1 |
    | 1      | 1 | 8 |

    **What it shows.** A value that is a sum of the agents' utilities (VDN) cannot be the payoffs of
    2B. Of all joint actions equally often, its best fit is [[−1.5, 2.5], [2.5, 6.5]], so that it
    expects at most 6.5 there and chooses 2A: the team return is 7. A monotone mix that depends on
    the state (QMIX) represents both games and chooses 2B: 8. With a discount of 0.99 the values of
    the first step are 6.93 and 6.435 for VDN, 6.93 and 7.92 for QMIX.

    Uniform play gets (7 + 2.5) / 2 = 4.75 on average, the optimum (`scripted:optimum`) 8.

    Source: Rashid et al., "QMIX: Monotonic Value Function Factorisation for Deep Multi-Agent
    Reinforcement Learning", ICML 2018, section 5. Versions: v0 first release.
    """

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        """Make ``num_envs`` environments."""
        super().__init__(num_envs, max_episode_steps)
        self.agents = ("agent_0", "agent_1")
        seen = spaces.Box(0.0, 1.0, (OVER + 1,), np.float32)
        self.observation_spaces = dict.fromkeys(self.agents, seen)
        self.action_spaces = {agent: spaces.Discrete(2) for agent in self.agents}
        self.state_space = seen
        self._stage: IntArray = np.zeros(num_envs, dtype=np.int64)
        self._game: IntArray = np.full(num_envs, SAFE, dtype=np.int64)
        """The game that was last played or is to be played next."""
        self._choices: IntArray = np.zeros((num_envs, 2), dtype=np.int64)

    @property
    def optimal_actions(self) -> dict[str, Array]:
        """Agent 0 chooses 2B, and there both cooperate: always 1."""
        return {agent: np.asarray(1, dtype=np.int64) for agent in self.agents}

    def state(self) -> npt.NDArray[np.float32]:
        """Return the stage, one-hot, (num_envs, 4)."""
        return np.eye(OVER + 1, dtype=np.float32)[self._stage]

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._stage[ids], self._game[ids], self._choices[ids] = START, SAFE, 0

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        at = self._all if active is None else np.flatnonzero(active)
        chosen = np.stack([actions[agent][at] for agent in self.agents], 1)
        stage, payoff = self._stage[at], np.zeros(self.num_envs)
        payoff[at] = PAYOFFS[np.minimum(stage, RISKY), chosen[:, 0], chosen[:, 1]]
        is_start = stage == START
        self._game[at] = np.where(is_start, SAFE + chosen[:, 0], self._game[at])
        self._choices[at] = np.where(is_start[:, None], self._choices[at], chosen)
        self._stage[at] = np.where(is_start, self._game[at], OVER)
        is_over: BoolArray = self._stage == OVER
        return np.repeat(payoff[:, None] / 2, 2, axis=1), is_over, {}

    def _observe(self) -> dict[str, Array]:
        return {agent: self.state() for agent in self.agents}

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw the payoffs of an environment's second game: (320, 480, 3) uint8."""
        stage, game = int(self._stage[index]), int(self._game[index])
        name = "first step" if stage == START else ("2A", "2B")[game - SAFE]
        first, second = (int(choice) for choice in self._choices[index])
        chosen = (first, second) if stage == OVER else None
        return draw_payoffs(
            f"TwoStepGame, {name}", PAYOFFS[START if stage == START else game], chosen
        )
