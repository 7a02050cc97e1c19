"""SimpleSpread: agents cover landmarks without bumping into each other."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.core.batch import FloatArray
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.particle.base import Body, ParticleEnv, Rules
from pkubench.envs.particle.drawing import AGENT_COLOR, GREY, LANDMARK_COLORS, Disc
from pkubench.errors import ConfigError

AGENT_RADIUS: Final = 0.15
LANDMARK_RADIUS: Final = 0.05
COVERED_AT: Final = 0.1
"""Distance at which a picture shows a landmark as covered (the original's success radius)."""
_SILENT_CHANNELS: Final = 2
"""The original gives every other agent two message channels although nobody can speak."""


class SimpleSpread(ParticleEnv):
    """N agents share out N landmarks: each landmark wants somebody near, nobody wants a collision.

    | part        | type                    | meaning                                            |
    |-------------|-------------------------|----------------------------------------------------|
    | agents      | `agent_0` ... `agent_2` | discs of radius 0.15 that push each other apart    |
    | observation | Box(18) float32         | 6 N numbers, see below                             |
    | action      | Discrete(5)             | nothing, left, right, down, up                     |
    | or          | Box(0, 1, (5,)) float32 | pushes: net push right − left and up − down        |
    | reward      | float64, one an agent   | (1 − `local_ratio`) × shared + `local_ratio` × own |
    | state       | Box(54) float32         | all observations, one after the other              |
    | ends        |                         | never; truncated at 25 steps                       |

    The *shared* part is minus the sum, over the landmarks, of the distance to the nearest agent;
    the *own* part is minus the number of agents this one touches. An observation holds the agent's
    velocity (2) and position (2), every landmark (6) and every other agent (4) relative to itself,
    and the others' message channels (4), which stay 0.

    Positions start uniform in [−1, 1]², at rest. Every agent sees everything, so the difficulty is
    to agree on who goes where. The team return of the literature is the *sum* of the agents'
    rewards: about −79 for random play and −22 for an optimal assignment driven by full pushes
    (`scripted:assignment`), with `local_ratio` 0.5.

    Settings: `num_agents` (N, also the number of landmarks), `local_ratio`, `continuous_actions`,
    and `rules`. `rules="v3"` equals mpe2's `simple_spread_v3` step by step. `rules="v2"` is what
    PettingZoo up to 1.22 did, on which published HARL numbers rest: velocity is integrated before
    position, and an agent counts as colliding with itself, which costs a team of three 37.5 an
    episode.

    Source: Lowe et al., "Multi-Agent Actor-Critic for Mixed Cooperative-Competitive Environments",
    NeurIPS 2017 (cooperative navigation). Versions: v0 first release.
    """

    collide: ClassVar[bool] = True

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        *,
        num_agents: int = 3,
        local_ratio: float = 0.5,
        continuous_actions: bool = False,
        rules: Rules = "v3",
    ) -> None:
        """Make ``num_envs`` environments with ``num_agents`` agents and as many landmarks."""
        if num_agents < 1:
            raise ConfigError(f"num_agents must be at least 1, got {num_agents}")
        if not 0 <= local_ratio <= 1:
            raise ConfigError(f"local_ratio must lie in [0, 1], got {local_ratio}")
        self.local_ratio = local_ratio
        sees = 4 + 2 * num_agents + (2 + _SILENT_CHANNELS) * (num_agents - 1)
        super().__init__(
            [Body(name=f"agent_{i}", radius=AGENT_RADIUS, sees=sees) for i in range(num_agents)],
            num_agents,
            num_envs=num_envs,
            max_episode_steps=max_episode_steps,
            continuous_actions=continuous_actions,
            rules=rules,
        )
        self._offsets: FloatArray = np.zeros((num_agents, num_agents, 2, num_envs))
        self._squares: FloatArray = np.zeros((num_agents, num_agents, 2, num_envs))
        self._squared: FloatArray = np.zeros((num_agents, num_agents, num_envs))
        self._touches: FloatArray = np.zeros((num_agents, num_envs))

    def _reset_goals(self, ids: IntArray) -> None:
        """Nothing is hidden here: the positions say all."""

    def _hear(self, agent: int, message: npt.NDArray[np.float32]) -> None:
        """Nobody speaks here."""

    def _see(self) -> None:
        count = len(self.bodies)
        agents, views = self.positions[:count], self._views
        np.subtract(self.landmarks, agents[:, None], out=self._offsets)
        views[:, 0:2] = self.velocities
        views[:, 2:4] = agents
        views[:, 4 : 4 + 2 * count] = self._offsets.reshape(count, 2 * count, self.num_envs)
        others = views[:, 4 + 2 * count : 2 + 4 * count].reshape(count, count - 1, 2, self.num_envs)
        start = 0
        for index in range(count - 1):
            stop = start + count - 1 - index
            # The gap is first minus second; an agent sees the other relative to itself.
            others[index + 1 :, index] = self._gap[start:stop]
            np.negative(self._gap[start:stop], out=others[index, index:], casting="same_kind")
            start = stop

    def _rewards(self, out: FloatArray) -> None:
        np.multiply(self._offsets, self._offsets, out=self._squares)
        np.add(self._squares[:, :, 0], self._squares[:, :, 1], out=self._squared)
        nearest = np.sqrt(self._squared.min(axis=0))
        # Added up by hand, since NumPy sums eight numbers or more in another order when there is
        # one environment than when there are many.
        uncovered = nearest[0]
        for distance in nearest[1:]:
            uncovered += distance
        touches = self._touches
        # Up to PettingZoo 1.22 an agent counted as colliding with itself.
        touches[:] = 1.0 if self.rules == "v2" else 0.0
        touching = self._distance < self._reach
        start = 0
        for index in range(len(self.bodies) - 1):
            stop = start + len(self.bodies) - 1 - index
            touches[index] += touching[start:stop].sum(axis=0)
            touches[index + 1 :] += touching[start:stop]
            start = stop
        touches *= -self.local_ratio
        touches -= (1 - self.local_ratio) * uncovered
        out[:] = touches.T

    def _discs(self, env_index: int) -> list[Disc]:
        count = len(self.bodies)
        nearest = np.hypot(*self._offsets[..., env_index].transpose(2, 0, 1)).min(axis=0)
        targets = [
            Disc(
                x=x,
                y=y,
                radius=LANDMARK_RADIUS,
                color=LANDMARK_COLORS[1] if nearest[index] < COVERED_AT else GREY,
                is_target=True,
            )
            for index, (x, y) in enumerate(self.landmarks[..., env_index])
        ]
        return targets + [
            Disc(
                x=x,
                y=y,
                radius=AGENT_RADIUS,
                color=AGENT_COLOR,
                label=str(index),
                velocity=(
                    self.velocities[index, 0, env_index],
                    self.velocities[index, 1, env_index],
                ),
            )
            for index, (x, y) in enumerate(self.positions[:count, :, env_index])
        ]
