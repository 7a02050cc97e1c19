"""HeterogeneousCarriers: three carriers that face one another steady a load that swings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.envs.linear_quadratic.riccati import (
    LinearTeam,
    best_shared_gains,
    exact_return,
    optimal_gains,
)
from pkubench.envs.particle.drawing import AGENT_COLOR, GREY, LANDMARK_COLORS, Disc, draw_scene

PLACES: Final = ((1.0, 0.0), (0.0, 1.0), (-0.8, -0.6))
"""Where the carriers hold the load, in metres from its centre; each faces the centre."""
STRENGTHS: Final = (1.0, 0.5, 1.5)
"""Acceleration of the load in m/s^2 by a full push of each carrier; sideways also in rad/s^2."""
DT: Final = 0.4
"""Seconds a step."""
STIFFNESS: Final = 1.5
"""Pull back to the rest position, per s^2: the load hangs from a cable."""
DAMPING: Final = 1.0
"""Per s."""
REACH: Final = 0.2
"""Start positions (m, rad) are uniform within plus and minus this."""
GUST: Final = 0.18
"""A gust changes each velocity by plus or minus this (m/s, rad/s)."""
STATE_WEIGHT: Final = 10.0
ACTION_WEIGHT: Final = 0.1

_DRAWN: Final = 0.55
"""Metres are drawn this much smaller, so that the carriers stay in view."""
_ARROW: Final = 0.6
"""Length of an acceleration of 1 m/s^2, before the scene shortens arrows to a third."""


def _pushes() -> FloatArray:
    """Return the accelerations (agents, 3, 2) in x, y and angle by a push forward and to the left.

    Forward is -p for a carrier at p, left of that is (p_y, -p_x), and the torque of a force f is
    p_x f_y - p_y f_x: 0 forward, and -1 to the left because |p| = 1.
    """
    return np.array(
        [
            [[-x * strength, y * strength], [-y * strength, -x * strength], [0.0, -strength]]
            for (x, y), strength in zip(PLACES, STRENGTHS, strict=True)
        ]
    )


PUSHES: Final = _pushes()
_EFFECTS: Final = [
    [(i, d, float(PUSHES[i, axis, d])) for i, d in np.argwhere(PUSHES[:, axis]).tolist()]
    for axis in range(3)
]
"""Axis -> the carriers and directions that accelerate it, each with its acceleration."""


class HeterogeneousCarriers(BatchEnv):
    """Three carriers of unlike strength, each facing the load from another side, hold it still.

    | part        | type                         | meaning                                         |
    |-------------|------------------------------|-------------------------------------------------|
    | agents      | `agent_0` ... `agent_2`      | carriers at (1, 0), (0, 1), (−0.8, −0.6) m      |
    | observation | Box(6) float32               | the load's x, y, angle and their velocities     |
    | action      | Box(-1, 1, (2,)) float32     | push forward, to the load's centre, and left    |
    | reward      | float64, one an agent        | a third of −10 (x² + y² + angle²) − 0.1 Σ ‖uᵢ‖² |
    | state       | Box(6) float32               | as an observation                               |
    | ends        |                              | never; truncated at 50 steps (20 s)             |

    A load hangs from a cable and swings about its rest position 0; gusts push it in every step. A
    full push accelerates it by 1, 0.5 and 1.5 m/s²: forward along the carrier's view, to the left
    across it, and a push to the left also turns the load clockwise by as many rad/s². The model is
    the one for small displacements: forces act at fixed places. With the sum a of all accelerations
    and a gust w, one step of 0.4 s is v ← v + 0.4 (a − 1.5 p − v) + w, then p ← p + 0.4 v, for the
    positions p = (x, y, angle) and their velocities v. Rewards are of the positions after the step.
    Start positions are uniform in [−0.2, 0.2], at rest; each number of a gust is −0.18 or 0.18,
    with equal probabilities. Actions beyond the bounds are clipped.

    **What it shows.** The price of sharing a policy among heterogeneous agents, over many steps of
    dynamics. All agents observe the same and their spaces are equal, so that they *can* share a
    policy (MAPPO and MASAC do). But what is forward to one is backward or sideways to another, and
    agents that share a policy and do not know who they are all do the same. The problem is
    linear-quadratic, and two Riccati recursions solve it exactly, for separate policies and for
    the best shared policy *of any form* without memory
    (`pkubench.envs.linear_quadratic.riccati` has the proof). Both stay within the bounds of the
    actions in every possible episode (largest actions 0.85 and 0.90). Expected team returns, the
    sum over agents:

    | policy                               | return   | of the optimum's gain over no-op |
    |--------------------------------------|----------|----------------------------------|
    | uniform random actions               | −295.89  |                                  |
    | no-op                                | −42.59   | 0                                |
    | best shared (`scripted:best-shared`) | −26.02   | 0.501                            |
    | optimum (`scripted:optimum`)         | −9.48    | 1                                |

    The policies of the last two rows count steps, which observations do not show. This is worth
    next to nothing: playing the first step's gains throughout, they lose less than 0.02.

    Actions must be chosen jointly. An agent's best push depends on what the others push, and
    exact best responses at the first step approach the optimum when agents respond in turn (the
    error shrinks by a factor of 0.67 per sweep) and move away from it when all respond at once (it
    grows by a factor of 1.12).

    Setting: `observe_id` appends the agent's index, one-hot, to its observation (Box(9)), as in
    `HeterogeneousCarriersId-v0`. A shared policy can then be a different one for each agent, and
    sharing costs nothing in principle.

    Source: ours. Kuba et al., "Trust Region Policy Optimisation in Multi-Agent Reinforcement
    Learning", ICLR 2022, show the price of sharing in a matrix game (here `SharingGap-v0`).
    Versions: v0 first release.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 5}
    default_horizon: ClassVar[int | None] = 50

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        *,
        observe_id: bool = False,
    ) -> None:
        """Make ``num_envs`` environments."""
        super().__init__(num_envs, max_episode_steps)
        count = len(PLACES)
        self.observe_id = bool(observe_id)
        self.agents = tuple(f"agent_{i}" for i in range(count))
        length = 6 + count * self.observe_id
        self.observation_spaces = {
            a: spaces.Box(-np.inf, np.inf, (length,), np.float32) for a in self.agents
        }
        self.action_spaces = {a: spaces.Box(-1.0, 1.0, (2,), np.float32) for a in self.agents}
        self.state_space = spaces.Box(-np.inf, np.inf, (6,), np.float32)
        self.random = RandomStreams(num_envs)
        self.positions: FloatArray = np.zeros((3, num_envs))
        """x and y in m, the angle in rad. May be written to, like the velocities."""
        self.velocities: FloatArray = np.zeros((3, num_envs))
        self._actions: FloatArray = np.zeros((count, 2, num_envs))
        """The last pushes, for the picture."""

    @cached_property
    def team(self) -> LinearTeam:
        """The environment as a linear-quadratic problem of its horizon.

        The states are positions and velocities.
        """
        unit, none = np.eye(3), np.zeros((3, 3))
        faster = np.hstack([-DT * STIFFNESS * unit, (1 - DT * DAMPING) * unit])
        return LinearTeam(
            dynamics=np.vstack([np.hstack([unit, none]) + DT * faster, faster]),
            inputs=np.concatenate([DT * DT * PUSHES, DT * PUSHES], axis=1),
            disturbance=np.vstack([DT * unit, unit]),
            state_cost=np.diag([STATE_WEIGHT] * 3 + [0.0] * 3),
            action_cost=np.stack([ACTION_WEIGHT * np.eye(2)] * self.num_agents),
            horizon=self.max_episode_steps or 50,
            start_reach=np.array([REACH] * 3 + [0.0] * 3),
            disturbance_size=np.full(3, GUST),
        )

    @property
    def exact_returns(self) -> dict[str, float]:
        """Expected team returns: ``random``, ``no-op``, ``best-shared`` and ``optimum``."""
        optimum, shared = self._gains(shared=False), self._gains(shared=True)
        nothing = np.zeros_like(optimum)
        return {
            "random": exact_return(self.team, nothing, action_variance=1 / 3),
            "no-op": exact_return(self.team, nothing),
            "best-shared": exact_return(self.team, shared),
            "optimum": exact_return(self.team, optimum),
        }

    def linear_policies(self, shared: bool = False) -> dict[str, FloatArray]:
        """Return the optimum, or the best shared policy: agent id -> (horizon, 2, observation).

        In step t the agent's action is the t-th matrix times its observation. Agents that observe
        who they are can share the optimum.
        """
        gains = self._gains(shared)
        padding = ((0, 0), (0, 0), (0, self.num_agents * self.observe_id))
        return {
            agent: np.pad(-gains[:, 2 * i : 2 * i + 2], padding)
            for i, agent in enumerate(self.agents)
        }

    def _gains(self, shared: bool) -> FloatArray:
        """Return the gains of a policy, (horizon, 6, 6): the joint action is minus them times x."""
        solve = best_shared_gains if shared and not self.observe_id else optimal_gains
        return solve(self.team)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self.random.seed(ids, seeds)
        self.positions[:, ids] = self.random.uniform(ids, 3, -REACH, REACH).T
        self.velocities[:, ids] = 0.0
        self._actions[:, :, ids] = 0.0

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        is_positive = self.random.uniform(self._all, 3).T < 0.5
        gust = np.where(is_positive, GUST, -GUST)
        for index, agent in enumerate(self.agents):
            np.clip(actions[agent].T, -1.0, 1.0, out=self._actions[index])
        # Sums are written out: matrix products round differently with the size of the batch.
        effort = np.zeros(self.num_envs)
        for push in self._actions.reshape(-1, self.num_envs):
            effort += push * push
        distance = np.zeros(self.num_envs)
        for axis in range(3):
            position, velocity = self.positions[axis], self.velocities[axis]
            force = -STIFFNESS * position
            force -= DAMPING * velocity
            for index, direction, acceleration in _EFFECTS[axis]:
                force += acceleration * self._actions[index, direction]
            force *= DT
            velocity += force
            velocity += gust[axis]
            position += DT * velocity
            distance += position * position
        rewards = (STATE_WEIGHT * distance + ACTION_WEIGHT * effort) / -self.num_agents
        is_over = np.zeros(self.num_envs, dtype=np.bool_)
        return np.repeat(rewards[:, None], self.num_agents, axis=1), is_over, {}

    def state(self) -> npt.NDArray[np.float32]:
        """Return positions and velocities, (num_envs, 6)."""
        state: npt.NDArray[np.float32] = np.concatenate([self.positions, self.velocities]).T.astype(
            np.float32, order="C"
        )
        return state

    def _observe(self) -> dict[str, Array]:
        state = self.state()
        if not self.observe_id:
            return {agent: state.copy() for agent in self.agents}
        found: dict[str, Array] = {}
        for index, agent in enumerate(self.agents):
            found[agent] = np.zeros((self.num_envs, 6 + self.num_agents), dtype=np.float32)
            found[agent][:, :6] = state
            found[agent][:, 6 + index] = 1.0
        return found

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw an environment from above: (480, 480, 3) uint8.

        The target is the load's rest position; the carriers' lines are their pushes.
        """
        x, y, angle = self.positions[:, index]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        discs = [
            Disc(x=0.0, y=0.0, radius=0.06, color=LANDMARK_COLORS[0], is_target=True),
            Disc(x=_DRAWN * x, y=_DRAWN * y, radius=0.7 * _DRAWN, color=GREY),
            Disc(x=0.0, y=0.0, radius=0.02, color=LANDMARK_COLORS[0], is_target=True),
        ]
        for carrier, place in enumerate(PLACES):
            at = _DRAWN * (np.array([x, y]) + turn @ np.array(place))
            push = PUSHES[carrier, :2] @ self._actions[carrier, :, index]
            discs.append(
                Disc(
                    x=float(at[0]),
                    y=float(at[1]),
                    radius=0.06 + 0.05 * STRENGTHS[carrier],
                    color=AGENT_COLOR,
                    label=str(carrier),
                    velocity=(float(_ARROW * push[0]), float(_ARROW * push[1])),
                )
            )
        return draw_scene(discs)
