"""SpeedLimit: how fast to drive where going too fast costs its square."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.diagnostics.drawing import draw_road
from pkubench.envs.seeding import IntArray
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    from pkubench.envs.diagnostics.constrained_mdp import ConstrainedMDP

THRUST: Final = 0.25
"""Change of speed of a step at full action."""
FREE_SPEED: Final = 0.5
"""Speed up to which driving costs nothing."""
COST_LIMIT: Final = 4.5
BEST_SPEED: Final = 0.75
"""Speed the best feasible policy holds."""


class SpeedLimit(BatchEnv):
    """A car is paid for the way it makes; what it drives above a speed limit costs its square.

    | part        | type                     | meaning                                          |
    |-------------|--------------------------|--------------------------------------------------|
    | observation | Box(0, 1, (1,)) float32  | speed v                                          |
    | action      | Box(-1, 1, (1,)) float32 | a: the speed becomes v' = v + a / 4, in [0, 1]   |
    | reward      | float64                  | v', the way made in the step                     |
    | cost        | float64 in [0, 1]        | 4 max(0, v' − 1/2)²                              |
    | ends        |                          | never; truncated after 20 steps                  |

    An episode starts at rest, and nothing is left to chance. Actions beyond the bounds are clipped.
    `info`: `cost`.

    **The optimum.** Full thrust gives the speeds 1/4, 1/2, 3/4, 1, 1, ...: return 18.5, cost 17.25.
    Keeping to the limit gives 1/4, 1/2, 1/2, ...: return 9.75, cost 0. With the cost limit
    d = 4.5 the best is to drive up to 3/4 and stay there: return 1/4 + 1/2 + 18 · 3/4 = **14.25** at
    a cost of 18 · 1/4 = 4.5. Proof: weigh cost with λ = **0.5**. A step at speed v' then counts
    v' − 2 max(0, v' − 1/2)², which rises up to v' = 3/4 and falls after it. No speed is above 1/4
    after the first step or above 1/2 after the second, so no episode counts more than the one that
    drives 1/4, 1/2, 3/4, 3/4, ..., whatever draws lots: E[return] − λ E[cost] ≤ 14.25 − λ d. Where
    E[cost] ≤ d, E[return] ≤ 14.25.

    **What it shows.** Cost is strictly convex above the limit and the return is linear, so the
    optimum needs no lots: deterministic learners (DDPG, TD3) can reach it, and an evaluation of the
    mode loses nothing. It lies on the constraint: a learner that plays safe leaves return behind, one
    whose multiplier lags swings around 4.5.

    `scripted:optimum` plays the best feasible policy. `speed_table` is the world on a grid of
    speeds that the optimum lies on, and `tests/envs/test_constrained_worlds.py` solves it as a
    linear program.

    Source: ours; the speed limit is the constraint of Safety-Gymnasium's Velocity tasks (Ji et al.,
    NeurIPS 2023). Versions: v0 first release.
    """

    default_horizon: ClassVar[int | None] = 20

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        """Make ``num_envs`` lanes."""
        super().__init__(num_envs, max_episode_steps)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(0.0, 1.0, (1,), np.float32)}
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
        lanes = self._all if active is None else np.flatnonzero(active)
        thrust = np.clip(actions[SOLE_AGENT][lanes, 0].astype(np.float64), -1.0, 1.0)
        self._speed[lanes] = next_speed(self._speed[lanes], thrust)
        cost = speeding_cost(self._speed)
        self._sums[:, lanes] += np.stack([self._speed, cost])[:, lanes]
        is_over = np.zeros(self.num_envs, dtype=np.bool_)
        return self._speed[:, None].copy(), is_over, {"cost": cost}

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: self._speed[:, None].astype(np.float32)}

    def render(self, lane: int = 0) -> npt.NDArray[np.uint8]:
        """Draw the lane's road and its speed beside the limit: (320, 480, 3) uint8."""
        way, cost = (float(total) for total in self._sums[:, lane])
        told = f"step {int(self.elapsed[lane])}, way {way:.2f}, cost {cost:.2f}"
        return draw_road(f"SpeedLimit   ({told})", float(self._speed[lane]), FREE_SPEED, way)

    @staticmethod
    def choose_optimally(observation: Array, lots: FloatArray) -> Array:
        """Return what the best feasible policy does: steer to ``BEST_SPEED`` and stay there.

        Args:
            observation: (episodes, 1) float32.
            lots: (episodes,) uniform numbers in [0, 1); this policy draws nothing from them.

        Returns:
            Actions (episodes, 1) float32.
        """
        action: Array = np.clip((BEST_SPEED - observation) / THRUST, -1.0, 1.0).astype(np.float32)
        return action


def next_speed(speed: FloatArray, thrust: FloatArray) -> FloatArray:
    """Return the speed after a step; ``thrust`` in [-1, 1]."""
    moved: FloatArray = np.clip(speed + THRUST * thrust, 0.0, 1.0)
    return moved


def speeding_cost(speed: FloatArray) -> FloatArray:
    """Return 4 max(0, v - 1/2)^2, which is 1 at full speed."""
    cost: FloatArray = 4.0 * np.maximum(speed - FREE_SPEED, 0.0) ** 2
    return cost


def speed_table(parts: int, horizon: int = 20) -> ConstrainedMDP:
    """Return the world on a grid of speeds, with the actions that lead from point to point.

    State k is the speed k / (4 ``parts``), action j the thrust (j - ``parts``) / ``parts``. Every
    policy of the table is one of the world, so the table's optimum is at most the world's.

    Args:
        parts: grid points a full thrust passes.
        horizon: steps of an episode.

    Raises:
        ConfigError: parts is below 1.
    """
    from pkubench.envs.diagnostics.constrained_mdp import ConstrainedMDP

    if parts < 1:
        raise ConfigError(f"parts must be at least 1, got {parts}")
    count = round(parts / THRUST) + 1
    speeds: FloatArray = np.arange(count) * THRUST / parts
    thrusts = np.arange(-parts, parts + 1) / parts
    moved = next_speed(speeds[:, None], thrusts)
    transitions = np.eye(count)[np.rint(moved * parts / THRUST).astype(np.int64)]
    return ConstrainedMDP(moved, speeding_cost(moved), transitions, np.eye(count)[0], horizon)
