"""SpeedLimit: how fast to drive where going too fast costs its square."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.diagnostics.drawing import draw_road
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    from pkubench.envs.diagnostics.constrained_mdp import ConstrainedMDP

TOP_SPEED: Final = 1.5
"""Speed that full throttle tends to."""
FREE_SPEED: Final = 0.5
"""Speed up to which driving costs nothing."""
COST_LIMIT: Final = 5.0
BEST_SPEED: Final = 0.75
"""Speed the best feasible policy holds."""


class SpeedLimit(BatchEnv):
    """A car is paid for its way less the drag; what it drives above a speed limit costs its square.

    | part        | type                         | meaning                                      |
    |-------------|------------------------------|----------------------------------------------|
    | observation | Box(-1.5, 1.5, (1,)) float32 | speed v                                      |
    | action      | Box(-1, 1, (1,)) float32     | throttle a: next speed v' = (v + 1.5 a) / 2  |
    | reward      | float64                      | 2 v' − v'²                                   |
    | cost        | float64 in [0, 4]            | 4 max(0, v' − 1/2)²                          |
    | ends        |                              | never; truncated after 20 steps              |

    An episode starts at rest, and nothing is left to chance. Actions beyond the bounds are clipped.
    `info`: `cost`.

    **The optimum.** Without a limit the best speed is 1: 3/4 after the first step at full throttle,
    then 1, a return of 19.9375 at a cost of 19.25. Keeping to the speed limit of 1/2 earns 15 at no
    cost. With the cost limit d = 5 the best is to hold 3/4 from the first step on (a = 1, then
    a = 1/2): a return of 20 · 15/16 = **18.75** at a cost of 20 · 1/4 = 5. Proof: weigh cost with
    λ = **1/4**. A step at speed v' then counts 2 v' − v'² − max(0, v' − 1/2)², a strictly concave
    function whose slope 2 − 2 v' − 2 (v' − 1/2) is 0 at v' = 3/4. So no episode counts more than
    one at 3/4 throughout, whatever draws lots: E[return] − λ E[cost] ≤ 18.75 − λ d, and where
    E[cost] ≤ d, E[return] ≤ 18.75.

    **What it shows.** Return is strictly concave and cost convex, so the optimum needs no lots:
    deterministic learners (DDPG, TD3) can reach it, and an evaluation of the mode loses nothing.
    For every multiplier there is one best speed, so a multiplier and a policy that follow each
    other settle. The optimum lies on the constraint: a learner that plays safe leaves return
    behind, one whose multiplier lags swings around 5. Noise costs as well, because cost is convex:
    a stochastic policy that keeps the limit in training drives slower than its mode could.

    `scripted:optimum` plays the best feasible policy. `speed_table` is the environment on a grid of
    speeds that the optimum lies on, and `tests/envs/test_constrained_environments.py` solves it as
    a linear program.

    Source: ours; the speed limit is the constraint of Safety-Gymnasium's Velocity tasks (Ji et al.,
    NeurIPS 2023). Versions: v0 first release.
    """

    default_horizon: ClassVar[int | None] = 20

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        """Make ``num_envs`` environments."""
        super().__init__(num_envs, max_episode_steps)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(-TOP_SPEED, TOP_SPEED, (1,), np.float32)}
        self.action_spaces = {SOLE_AGENT: spaces.Box(-1.0, 1.0, (1,), np.float32)}
        self._speed: FloatArray = np.zeros(num_envs)
        self._sums: FloatArray = np.zeros((2, num_envs))
        """Way made and cost so far, for the picture."""

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._speed[ids] = 0.0
        self._sums[:, ids] = 0.0

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        indices = self._all if active is None else np.flatnonzero(active)
        action = np.clip(actions[SOLE_AGENT][indices, 0].astype(np.float64), -1.0, 1.0)
        self._speed[indices] = (self._speed[indices] + TOP_SPEED * action) / 2.0
        cost = speeding_cost(self._speed)
        self._sums[:, indices] += np.stack([self._speed, cost])[:, indices]
        is_over = np.zeros(self.num_envs, dtype=np.bool_)
        return driving_reward(self._speed)[:, None], is_over, {"cost": cost}

    def _info(self) -> Info:
        return {"cost": np.zeros(self.num_envs)}

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: self._speed[:, None].astype(np.float32)}

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw the environment's road and its speed beside the limit: (320, 480, 3) uint8."""
        way, cost = (float(total) for total in self._sums[:, index])
        counts = f"step {int(self.elapsed[index])}, way {way:.2f}, cost {cost:.2f}"
        speed = float(self._speed[index])
        return draw_road(f"SpeedLimit   ({counts})", speed, FREE_SPEED, TOP_SPEED, way)

    @staticmethod
    def choose_optimally(observation: Array, lots: FloatArray) -> Array:
        """Return what the best feasible policy does: steer to ``BEST_SPEED`` and stay there.

        Args:
            observation: (episodes, 1) float32.
            lots: (episodes,) uniform numbers in [0, 1); this policy draws nothing from them.

        Returns:
            Actions (episodes, 1) float32.
        """
        action: Array = np.clip(action_to(BEST_SPEED, observation), -1.0, 1.0).astype(np.float32)
        return action


def action_to(wanted: float | FloatArray, speed: Array) -> Array:
    """Return the throttle that leads from ``speed`` to the speed ``wanted`` in one step."""
    action: Array = (2.0 * wanted - speed) / TOP_SPEED
    return action


def driving_reward(speed: FloatArray) -> FloatArray:
    """Return 2 v - v^2: the way made less the drag."""
    reward: FloatArray = 2.0 * speed - speed**2
    return reward


def speeding_cost(speed: FloatArray) -> FloatArray:
    """Return 4 max(0, v - 1/2)^2, which is 1 at the speed that is best without a limit."""
    cost: FloatArray = 4.0 * np.maximum(speed - FREE_SPEED, 0.0) ** 2
    return cost


def gaussian_value(
    policy: Callable[[FloatArray], tuple[FloatArray, FloatArray]],
    horizon: int = 20,
    speeds: int = 1101,
    throttles: int = 401,
) -> tuple[float, float]:
    """Return expected return and cost of a Gaussian policy, to about four digits.

    By dynamic programming over a grid of speeds and, for every speed, of the throttle, whose
    probability beyond the bounds is that of the bounds, as the environment clips it.

    Args:
        policy: from speeds (n,) to mean and deviation of the throttle, (n,) each, before clipping.
        horizon: steps of an episode.
        speeds: points of the grid of speeds.
        throttles: points of the grid of throttles.
    """
    grid = np.linspace(-TOP_SPEED, TOP_SPEED, speeds)
    actions = np.linspace(-1.0, 1.0, throttles)
    mean, deviation = (array[:, None] for array in policy(grid))
    edges = np.concatenate([[-np.inf], (actions[1:] + actions[:-1]) / 2.0, [np.inf]])
    from scipy.special import ndtr  # its import takes longer than that of all tasks

    chances = np.diff(ndtr((edges - mean) / deviation), axis=1)
    reached = (grid[:, None] + TOP_SPEED * actions) / 2.0
    found = []
    for gained in (driving_reward(reached), speeding_cost(reached)):
        value = np.zeros(speeds)
        for _ in range(horizon):
            value = (chances * (gained + np.interp(reached, grid, value))).sum(axis=1)
        found.append(float(np.interp(0.0, grid, value)))
    return found[0], found[1]


def speed_table(parts: int, horizon: int = 20) -> ConstrainedMDP:
    """Return the environment on the speeds 0, 1/``parts``, ..., 5/4.

    Action j leads to the speed j / ``parts``, or to the one nearest to it that the throttle can
    reach. Every policy of the table is one of the environment, so its optimum is at most the
    environment's.

    Args:
        parts: points of the grid up to speed 1, a multiple of 4, so that the optimum is on it.
        horizon: steps of an episode.

    Raises:
        ConfigError: parts is not a positive multiple of 4.
    """
    from pkubench.envs.diagnostics.constrained_mdp import ConstrainedMDP

    if parts < 4 or parts % 4:
        raise ConfigError(f"parts must be a positive multiple of 4, got {parts}")
    points = np.arange(5 * parts // 4 + 1)
    half = points[:, None] / 2
    furthest = TOP_SPEED / 2 * parts
    reached = np.clip(points, np.ceil(half - furthest), np.floor(half + furthest)).astype(np.int64)
    moved: FloatArray = reached / parts
    unit: FloatArray = np.eye(len(points))
    return ConstrainedMDP(
        driving_reward(moved), speeding_cost(moved), unit[reached], unit[0], horizon
    )
