"""CooperativePush: three agents push a heavy ball to a target."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from pkubench.envs.core.batch import FloatArray, Info
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.credit.particles import ImprovedParticleEnv, scatter
from pkubench.envs.particle.base import Body
from pkubench.envs.particle.drawing import AGENT_COLOR, GREY, LANDMARK_COLORS, Disc

AGENTS: Final = 3
AGENT_RADIUS: Final = 0.06
BALL_RADIUS: Final = 0.1
BALL_MASS: Final = 2.0
TARGET_RADIUS: Final = 0.05
LEAST_WAY: Final = 0.8
"""Distance that the ball has to go, at least."""


class CooperativePush(ImprovedParticleEnv):
    """Three agents push a ball of twice their mass to a target, for one common reward.

    | part        | type                      | meaning                                            |
    |-------------|---------------------------|----------------------------------------------------|
    | agents      | `agent_0` ... `agent_2`   | discs of radius 0.06 that push each other          |
    | observation | Box(12) float32           | see below                                          |
    | action      | Discrete(5)               | nothing, left, right, down, up                     |
    | reward      | float64, a third each     | team: −2 × distance of ball and target, −0.1 × its |
    |             |                           | distance to the nearest agent, 0.1 for each agent  |
    |             |                           | that touches it; paid when the episode ends        |
    | state       | Box(36) float32           | all observations, one after the other              |
    | ends        |                           | never; truncated at 25 steps                       |

    Agents start in [−1, 1]², ball (radius 0.1, mass 2) and target in [−0.8, 0.8]² at a distance
    of at least 0.8. Nothing touches the target. An observation has the agent's velocity (2) and
    position (2), then relative to it the ball, the target and the two other agents.

    As registered, the environment pays at the end of an episode only (`delay="episode"`);
    `info["dense_reward"]` has what each step earned, for scoring, and `delay=None` pays it at once.
    `info["distance"]` is that of ball and target. Team returns of uniform random actions (20,000
    episodes), of doing nothing, and of pushing from behind the ball (`scripted:push`; 2,000
    episodes):

    | random | no-op | push  |
    |--------|-------|-------|
    | −57.8  | −57.3 | −46.3 |

    With the setting `difference_rewards`, `info["difference_reward"]` has for each agent the team's
    reward of the step less what it would have been had the agent not been there: the step is played
    without it, so that it does not push the ball (Wolpert and Tumer 2001). What the ball still
    gains from a push in later steps is not counted.

    Source: Liu, Yeh and Schwing, "PIC: Permutation Invariant Critic for Multi-Agent Deep
    Reinforcement Learning", CoRL 2019, whose environments STAS (Chen et al., AAAI 2024) uses.
    Versions: v0 first release.
    """

    collide: ClassVar[bool] = True

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        *,
        difference_rewards: bool = False,
    ) -> None:
        """Make ``num_envs`` environments."""
        super().__init__(
            [Body(name=f"agent_{i}", radius=AGENT_RADIUS, sees=12) for i in range(AGENTS)],
            1,
            num_envs=num_envs,
            max_episode_steps=max_episode_steps,
            difference_rewards=difference_rewards,
            others=[Body(name="ball", radius=BALL_RADIUS, sees=0, mass=BALL_MASS)],
        )
        pairs = zip(self._first.tolist(), self._second.tolist(), strict=True)
        self._kicks = [k for k, (_, second) in enumerate(pairs) if second == AGENTS]
        """The pairs of each agent with the ball."""
        self._way: FloatArray = np.zeros(num_envs)
        """Distance of ball and target."""

    def _place(self, ids: IntArray) -> FloatArray:
        agents = self._uniform_places(ids, AGENTS, 1.0)
        ball = self._uniform_places(ids, 1, 0.8)
        return np.concatenate([agents, ball, scatter(self.random, ids, 1, 0.8, LEAST_WAY, ball)])

    def _measure_pairs(self) -> None:
        super()._measure_pairs()
        way = self.landmarks[0] - self.positions[AGENTS]
        self._way = np.sqrt(way[0] * way[0] + way[1] * way[1])

    def _see(self) -> None:
        agents, views = self.positions[:AGENTS], self._views
        ball, target = self.positions[AGENTS], self.landmarks[0]
        views[:, 0:2] = self.velocities[:AGENTS]
        views[:, 2:4] = agents
        views[:, 4:6] = ball - agents
        views[:, 6:8] = target - agents
        for index in range(AGENTS):
            for place, other in enumerate(k for k in range(AGENTS) if k != index):
                start = 8 + 2 * place
                views[index, start : start + 2] = agents[other] - agents[index]

    def _team_reward(self, absent: int | None = None) -> FloatArray:
        gaps = self._distance[self._kicks]
        touching = (gaps < AGENT_RADIUS + BALL_RADIUS).sum(axis=0)
        total: FloatArray = 0.1 * touching - 2.0 * self._way - 0.1 * gaps.min(axis=0)
        return total

    def _report(self) -> Info:
        return {"distance": self._way.copy()}

    def _discs(self, env_index: int) -> list[Disc]:
        x, y = self.landmarks[0, :, env_index].tolist()
        target = Disc(x=x, y=y, radius=TARGET_RADIUS, color=LANDMARK_COLORS[1], is_target=True)
        agents = [self._body_disc(i, env_index, AGENT_COLOR, str(i)) for i in range(AGENTS)]
        return [target, self._body_disc(AGENTS, env_index, GREY), *agents]
