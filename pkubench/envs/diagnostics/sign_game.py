"""SignGame: r = a1 a2, where agents that step at the same time can make each other worse."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import Array, FloatArray
from pkubench.envs.diagnostics.cooperative_game import CooperativeGame
from pkubench.envs.diagnostics.drawing import draw_plane


class SignGame(CooperativeGame):
    """Two agents choose a number each and are paid the product: equal signs win.

    | part        | type                    | meaning                                          |
    |-------------|-------------------------|--------------------------------------------------|
    | agents      | `agent_0`, `agent_1`    | choose a1 and a2 at the same time                |
    | observation | Box(0, 1, (2,)) float32 | the stage, one-hot: to be played, over           |
    | action      | Box(-1, 1, (1,)) float32 | the number; beyond the bounds it is clipped     |
    | reward      | float64, one an agent   | a1 a2 / 2; the team return is the payoff a1 a2   |
    | state       | Box(0, 1, (2,)) float32 | the stage                                        |
    | ends        |                         | after one step; no time limit                    |

    **What it shows.** The smallest differentiable game in which simultaneous improvement fails.
    From a1 > 0 > a2 each agent improves by moving to the other's sign. If both move at once they
    pass each other: trust-region steps of length 0.75 from (0.25, −0.25) lead to (−0.5, 0.5), and
    the payoff falls from −0.0625 to −0.25. If the second agent sees where the first one went, it
    stays with it: (−0.5, −1), payoff 0.5. In general a simultaneous gradient step of size η from
    (x, −y) lowers the payoff whenever η > x/y + y/x, while sequential steps raise it by
    η (a2² + a1'²) for **every** η > 0, because the payoff is linear in each agent's action.
    `sequential_step` and `simultaneous_step` are these steps.

    Uniform play gets 0 on average, the optimum (`scripted:optimum`) 1: both agents at 1 or at −1.

    Source: Zhong et al., "Heterogeneous-Agent Reinforcement Learning", JMLR 25(32), 2024 (the
    payoff and the idea); the bound and the numbers are ours. Versions: v0 first release.
    """

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        """Make ``num_envs`` environments."""
        box = spaces.Box(-1.0, 1.0, (1,), np.float32)
        super().__init__(num_envs, max_episode_steps, [box, box])

    @property
    def optimal_actions(self) -> dict[str, Array]:
        """Both agents play 1."""
        return {agent: np.ones(1, dtype=np.float32) for agent in self.agents}

    def _payoffs(self, choices: Array) -> FloatArray:
        chosen = np.clip(choices[:, :, 0].astype(np.float64), -1.0, 1.0)
        product: FloatArray = chosen[:, 0] * chosen[:, 1]
        return product

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw the plane of joint actions with the environment's: (320, 480, 3) uint8."""
        first, second = np.clip(self._choices[index, :, 0].astype(np.float64), -1.0, 1.0)
        chosen = (float(first), float(second)) if self._is_over[index] else None
        return draw_plane("SignGame: payoff a1 a2", chosen)


def simultaneous_step(actions: FloatArray, size: float, *, trust_region: bool) -> FloatArray:
    """Move both actions, each along the gradient at the other's *old* action.

    Args:
        actions: (2,) float64, a1 and a2, anywhere in the plane.
        size: the gradient's coefficient; with ``trust_region`` the length of each agent's step.
        trust_region: whether an agent's step has a fixed length, as with a KL ball.
    """
    first, second = actions
    return np.array(
        [first + _move(second, size, trust_region), second + _move(first, size, trust_region)]
    )


def sequential_step(actions: FloatArray, size: float, *, trust_region: bool) -> FloatArray:
    """Move a1, then a2 along the gradient at the *new* a1; arguments as above."""
    first, second = actions
    first = first + _move(second, size, trust_region)
    return np.array([first, second + _move(first, size, trust_region)])


def _move(gradient: float, size: float, trust_region: bool) -> float:
    return size * float(np.sign(gradient) if trust_region else gradient)
