"""SharingGap: what a team loses when its members must share one policy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import Array, FloatArray
from pkubench.envs.diagnostics.cooperative_game import CooperativeGame
from pkubench.envs.diagnostics.drawing import draw_choices
from pkubench.errors import ConfigError

MAX_AGENTS = 16
"""Larger teams have too many joint actions to be solved exactly."""


class SharingGap(CooperativeGame):
    """Half of the team must do the opposite of the other half; a shared policy cannot.

    | part        | type                    | meaning                                        |
    |-------------|-------------------------|------------------------------------------------|
    | agents      | `agent_0` ... `agent_3` | two halves: the first two and the last two     |
    | observation | Box(0, 1, (2,)) float32 | the stage, one-hot: to be played, over         |
    | action      | Discrete(2)             | 0 or 1                                         |
    | reward      | float64, one an agent   | a quarter of the payoff                        |
    | state       | Box(0, 1, (2,)) float32 | the stage                                      |
    | ends        |                         | after one step; no time limit                  |

    The payoff, which is also the team return, is 1 if the first half plays 0 and the second half 1,
    or the other way round, and 0 otherwise.

    Settings: `num_agents` n, even, from 2 to 16; 4 here.

    **What it shows.** The price of parameter sharing. All agents see the same, so under a shared
    policy each plays 1 independently with the same probability θ, and the expected payoff is
    2 θⁿᐟ² (1 − θ)ⁿᐟ². Because θ (1 − θ) ≤ 1/4, the best a shared policy can get is 2 · 2⁻ⁿ, at
    θ = 1/2: 0.125 for four agents, falling exponentially with the team. Separate policies get 1.
    MAPPO shares parameters, HAPPO does not. The mode of a shared policy, which is what an
    evaluation plays, always gets 0.

    Uniform play gets 2 · 2⁻ⁿ, the optimum (`scripted:optimum`) 1.

    Source: Kuba et al., "Trust Region Policy Optimisation in Multi-Agent Reinforcement Learning",
    ICLR 2022; Zhong et al., "Heterogeneous-Agent Reinforcement Learning", JMLR 25(32), 2024.
    Versions: v0 first release.
    """

    def __init__(
        self, num_envs: int = 1, max_episode_steps: int | None = -1, *, num_agents: int = 4
    ) -> None:
        """Make ``num_envs`` environments of the game for ``num_agents`` agents."""
        if num_agents % 2 or not 2 <= num_agents <= MAX_AGENTS:
            raise ConfigError(
                f"num_agents must be an even number from 2 to {MAX_AGENTS}, got {num_agents}"
            )
        super().__init__(
            num_envs, max_episode_steps, [spaces.Discrete(2) for _ in range(num_agents)]
        )
        self._goal = np.repeat(np.array([0, 1], dtype=np.int64), num_agents // 2)

    @property
    def payoffs(self) -> FloatArray:
        """The payoff of every joint action, (2, ..., 2) float64 with one axis an agent."""
        table: FloatArray = np.zeros((2,) * self.num_agents)
        table[tuple(self._goal)] = table[tuple(1 - self._goal)] = 1.0
        return table

    @property
    def optimal_actions(self) -> dict[str, Array]:
        """The first half plays 0, the second half 1."""
        return {a: np.asarray(goal) for a, goal in zip(self.agents, self._goal, strict=True)}

    def _payoffs(self, choices: Array) -> FloatArray:
        is_goal = choices == self._goal
        paid: FloatArray = (is_goal.all(axis=1) | ~is_goal.any(axis=1)).astype(np.float64)
        return paid

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw what the agents of an environment chose: (320, 480, 3) uint8."""
        payoff = float(self._payoffs(self._choices[index : index + 1])[0])
        chosen = [int(choice) for choice in self._choices[index]]
        return draw_choices(
            "SharingGap: one half 0, the other half 1",
            chosen if self._is_over[index] else None,
            self.num_agents,
            payoff,
        )


def shared_policy_value(theta: float | FloatArray, num_agents: int) -> FloatArray:
    """Return the expected payoff when every agent plays 1 with probability ``theta``.

    2 θⁿᐟ² (1 − θ)ⁿᐟ²: n/2 agents play 1 and n/2 play 0, in two ways.
    """
    half = num_agents // 2
    theta = np.asarray(theta, dtype=np.float64)
    value: FloatArray = 2.0 * theta**half * (1.0 - theta) ** half
    return value


def best_shared_value(num_agents: int) -> float:
    """Return the largest expected payoff of a shared policy, 2 · 2⁻ⁿ, reached at θ = 1/2."""
    return float(2.0 * 2.0**-num_agents)
