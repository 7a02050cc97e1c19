"""Climbing and Penalty: two matrix games in which coordination is hard to find by trial."""

from __future__ import annotations

from abc import abstractmethod
from typing import Final

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import Array, FloatArray
from pkubench.envs.diagnostics.cooperative_game import CooperativeGame
from pkubench.envs.diagnostics.drawing import draw_payoffs
from pkubench.errors import ConfigError

CLIMBING: Final[FloatArray] = np.array([[11.0, -30.0, 0.0], [-30.0, 7.0, 6.0], [0.0, 0.0, 5.0]])
"""Payoffs of the climbing game, (agent 0's action, agent 1's)."""
CLIMBING.flags.writeable = False


def penalty(k: float) -> FloatArray:
    """Return the payoffs of the penalty game, (3, 3): agent 0's action, agent 1's."""
    return np.array([[10.0, 0.0, k], [0.0, 2.0, 0.0], [k, 0.0, 10.0]])


class _MatrixGame(CooperativeGame):
    """Two agents choose a row and a column, and both get half of what stands there."""

    def __init__(self, num_envs: int, max_episode_steps: int | None, payoffs: FloatArray) -> None:
        """Make ``num_envs`` environments of the game with these payoffs, (rows, columns)."""
        super().__init__(num_envs, max_episode_steps, [spaces.Discrete(n) for n in payoffs.shape])
        self.payoffs = payoffs
        """(agent 0's actions, agent 1's actions) float64."""

    @property
    @abstractmethod
    def title(self) -> str:
        """The game's name on its picture."""

    @property
    def optimal_actions(self) -> dict[str, Array]:
        """The joint action with the largest payoff, the first one if several have it."""
        best = np.unravel_index(int(self.payoffs.argmax()), self.payoffs.shape)
        return {a: np.asarray(i, dtype=np.int64) for a, i in zip(self.agents, best, strict=True)}

    def _payoffs(self, choices: Array) -> FloatArray:
        paid: FloatArray = self.payoffs[choices[:, 0], choices[:, 1]]
        return paid

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw the payoff table with the environment's joint action: (320, 480, 3) uint8."""
        chosen = (int(self._choices[index, 0]), int(self._choices[index, 1]))
        return draw_payoffs(self.title, self.payoffs, chosen if self._is_over[index] else None)


class Climbing(_MatrixGame):
    """The climbing game: the best joint action is surrounded by the worst ones.

    | part        | type                   | meaning                                           |
    |-------------|------------------------|---------------------------------------------------|
    | agents      | `agent_0`, `agent_1`   | choose a row and a column at the same time        |
    | observation | Box(0, 1, (2,)) float32 | the stage, one-hot: to be played, over           |
    | action      | Discrete(3)            | row of `agent_0`, column of `agent_1`             |
    | reward      | float64, one an agent  | half the payoff; the team return is the payoff    |
    | state       | Box(0, 1, (2,)) float32 | the stage                                        |
    | ends        |                        | after one step; no time limit                     |

    | payoff | 0   | 1   | 2  |
    |--------|-----|-----|----|
    | 0      | 11  | −30 | 0  |
    | 1      | −30 | 7   | 6  |
    | 2      | 0   | 0   | 5  |

    **What it shows.** No agent alone can leave (1, 1), which pays 7: it is a Nash equilibrium, and
    so is (0, 0), which pays 11. As long as the other explores, action 0 costs 30 every so often,
    so learners climb from 5 by way of 6 to 7 and stay there. Maximum-entropy learning at a fixed
    temperature α ends at a quantal response equilibrium, a pair of policies each of which is the
    softmax of its expected payoffs over α: from uniform play the expected return is 6.7002 at α = 1
    and −1.6361 at α = 20. Lowering α from 100 to 0.05 ends at 7, **not** at 11: convergence to an
    equilibrium does not promise the best one. `pkubench.envs.diagnostics.equilibria` computes all
    this exactly.

    Uniform play gets −31/9 = −3.44 on average, the optimum (`scripted:optimum`) 11.

    Source: Claus & Boutilier, "The Dynamics of Reinforcement Learning in Cooperative Multiagent
    Systems", AAAI 1998. Versions: v0 first release.
    """

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        """Make ``num_envs`` environments."""
        super().__init__(num_envs, max_episode_steps, CLIMBING)

    @property
    def title(self) -> str:
        """The game's name on its picture."""
        return "Climbing"


class Penalty(_MatrixGame):
    """The penalty game: two equally good joint actions, and a fine for mixing them up.

    | part        | type                   | meaning                                           |
    |-------------|------------------------|---------------------------------------------------|
    | agents      | `agent_0`, `agent_1`   | choose a row and a column at the same time        |
    | observation | Box(0, 1, (2,)) float32 | the stage, one-hot: to be played, over           |
    | action      | Discrete(3)            | row of `agent_0`, column of `agent_1`             |
    | reward      | float64, one an agent  | half the payoff; the team return is the payoff    |
    | state       | Box(0, 1, (2,)) float32 | the stage                                        |
    | ends        |                        | after one step; no time limit                     |

    | payoff | 0   | 1   | 2   |
    |--------|-----|-----|-----|
    | 0      | 10  | 0   | `k` |
    | 1      | 0   | 2   | 0   |
    | 2      | `k` | 0   | 10  |

    Settings: `k`, at most 0, is −100 here; the literature varies it.

    **What it shows.** Why agents are updated one after another. Let each agent in turn answer the
    other's *present* policy with the softmax of its expected payoffs over α: the soft objective
    E[r] + α (entropies) never falls, and with k = −100 it converges from uniform play for α = 1
    (expected return 1.5741) and α = 5 (0.5999). Let both answer the other's *previous* policy
    instead: for the same α the policies jump back and forth for ever, and the soft objective falls
    by 1.47 and 5.45 in one step. That is the difference between HASAC's sequential update and a
    simultaneous one, without any sampling or approximation in the way.

    The safe (1, 1) pays 2 and is an equilibrium as well; at α = 0.1 play stays there.

    Uniform play gets (22 + 2 `k`) / 9 = −19.78 on average, the optimum (`scripted:optimum`) 10.

    Source: Claus & Boutilier, "The Dynamics of Reinforcement Learning in Cooperative Multiagent
    Systems", AAAI 1998. Versions: v0 first release.
    """

    def __init__(
        self, num_envs: int = 1, max_episode_steps: int | None = -1, *, k: float = -100.0
    ) -> None:
        """Make ``num_envs`` environments of the game with penalty ``k``."""
        if not (np.isfinite(k) and k <= 0):
            raise ConfigError(f"k must be a finite penalty of at most 0, got {k}")
        self.k = float(k)
        super().__init__(num_envs, max_episode_steps, penalty(k))

    @property
    def title(self) -> str:
        """The game's name on its picture."""
        return f"Penalty, k = {self.k:g}"
