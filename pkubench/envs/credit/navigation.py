"""Cooperative navigation: agents that push each other share out as many landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np

from pkubench.envs.core.batch import Array, FloatArray, Info
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.credit.particles import ImprovedParticleEnv, scatter
from pkubench.envs.particle.base import Body
from pkubench.envs.particle.drawing import AGENT_COLOR, GREY, LANDMARK_COLORS, Disc
from pkubench.errors import ConfigError

Reward = Literal["normalised", "repo"]

AGENT_RADIUS: Final = 0.15
LANDMARK_RADIUS: Final = 0.05
COVERED_AT: Final = 0.1
"""Distance at which a landmark counts as covered (the original's, in its statistics)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What differs between the sizes of the original."""

    half_width: float
    """Positions start in a square of twice this."""
    spacing: float
    """Landmarks are at least this far apart."""
    landmarks_seen: int
    others_seen: int
    by_distance: bool
    """Whether the nearest are seen, nearest first; else landmarks in their order and the other
    agents from left to right."""


LAYOUTS: Final = {
    3: Layout(3.0, 0.675, 3, 2, by_distance=True),
    6: Layout(1.5, 0.0, 6, 5, by_distance=False),
    15: Layout(2.2, 0.675, 6, 5, by_distance=True),
}
"""Number of agents, and of landmarks -> the rest."""


class Navigation(ImprovedParticleEnv):
    """N agents share out N landmarks without colliding, for one common reward.

    | part        | type                   | meaning                                               |
    |-------------|------------------------|-------------------------------------------------------|
    | agents      | `agent_0` ...          | 3, 6 or 15 discs of radius 0.15 that push each other  |
    | observation | Box(14) or Box(26)     | see below                                             |
    | action      | Discrete(5)            | nothing, left, right, down, up                        |
    | reward      | float64, 1/N each      | team: −Σ distance to the nearest agent − collisions;  |
    |             |                        | paid when the episode ends                            |
    | state       | Box(N × observation)   | all observations, one after the other                 |
    | ends        |                        | never; truncated at 25 steps                          |

    The last agents are `agent_2`, `agent_5` and `agent_14`. The sum is over landmarks, and two
    agents that touch count as two collisions, one of each with the other.

    | N  | start in     | landmarks     | an agent sees                                          |
    |----|--------------|---------------|--------------------------------------------------------|
    | 3  | [−3, 3]²     | 0.675 apart   | the landmarks and the other agents, the nearest first  |
    | 6  | [−1.5, 1.5]² | anywhere      | the landmarks, and the other agents from left to right |
    | 15 | [−2.2, 2.2]² | 0.675 apart   | the 6 nearest landmarks and the 5 nearest agents       |

    An observation has the agent's velocity (2) and position (2), then landmarks and agents relative
    to it, the nearest first for N = 3 and 15. Rules are those of "improved" particle environments:
    a push changes the velocity before the position.

    As registered, the environment pays at the end of an episode only (`delay="episode"`);
    `info["dense_reward"]` has what each step earned, for scoring, and `delay=None` pays it at once.
    `info["covered"]` is the share of landmarks with an agent within 0.1. Team returns of uniform
    random actions (20,000 episodes), of doing nothing, which is better, and of the assignment with
    the least total distance (`scripted:assignment`; 2,000 episodes):

    | N  | random | no-op  | assignment |
    |----|--------|--------|------------|
    | 3  | −145.9 | −145.1 | −68.8      |
    | 6  | −109.4 | −99.8  | −36.2      |
    | 15 | −256.6 | −232.1 | −96.6      |

    With 15 agents each assigns only what it sees.

    With the setting `difference_rewards`, `info["difference_reward"]` has for each agent the team's
    reward of the step less what it would have been had the agent not been there: the step is played
    without it, so that it is near no landmark and pushes nobody (Wolpert and Tumer 2001).

    Settings: `num_agents`. `reward="repo"` is what the original code pays for N = 6, where each
    agent's reward has all distances, and its collision with itself, and the six are added up: six
    times the distances, the collisions, and 6. For other N it changes nothing. `repo_sorting`
    orders, for N = 15, as the original code does, which subtracts the agent's position twice: the
    "nearest" are those with the smallest |x − 2 x_agent|.

    Departures: the original draws landmarks from a complete Poisson-disc sample; here each is drawn
    uniformly until it is far enough from those before it. The team's reward counts once, and each
    agent is paid 1/N of it; the original code pays the whole to one agent, or each its own share.

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
        num_agents: int = 3,
        reward: Reward = "normalised",
        repo_sorting: bool = False,
        difference_rewards: bool = False,
    ) -> None:
        """Make ``num_envs`` environments with ``num_agents`` agents and as many landmarks."""
        if num_agents not in LAYOUTS:
            raise ConfigError(f"num_agents must be one of {list(LAYOUTS)}, got {num_agents}")
        if reward not in ("normalised", "repo"):
            raise ConfigError(f"reward must be 'normalised' or 'repo', got {reward!r}")
        self.reward: Reward = reward
        self.repo_sorting = bool(repo_sorting)
        self.layout = LAYOUTS[num_agents]
        sees = 4 + 2 * (self.layout.landmarks_seen + self.layout.others_seen)
        super().__init__(
            [Body(name=f"agent_{i}", radius=AGENT_RADIUS, sees=sees) for i in range(num_agents)],
            num_agents,
            num_envs=num_envs,
            max_episode_steps=max_episode_steps,
            difference_rewards=difference_rewards,
        )
        self._to_landmarks: FloatArray = np.zeros((num_agents, num_agents, 2, num_envs))
        self._to_landmarks_squared: FloatArray = np.zeros((num_agents, num_agents, num_envs))
        self._to_others: FloatArray = np.zeros((num_agents, num_agents - 1, 2, num_envs))
        self._nearest: FloatArray = np.zeros((num_agents, num_envs))
        """Distance of each landmark to its nearest agent."""

    def _place(self, ids: IntArray) -> FloatArray:
        count, layout = self.num_agents, self.layout
        agents = self._uniform_places(ids, count, layout.half_width)
        if not layout.spacing:
            return np.concatenate([agents, self._uniform_places(ids, count, layout.half_width)])
        marks = scatter(self.random, ids, count, layout.half_width, layout.spacing)
        return np.concatenate([agents, marks])

    def _measure_pairs(self) -> None:
        super()._measure_pairs()
        agents = self.positions[: self.num_agents]
        np.subtract(self.landmarks, agents[:, None], out=self._to_landmarks)
        self._to_landmarks_squared = _squared(self._to_landmarks)
        self._nearest = np.sqrt(self._to_landmarks_squared.min(axis=0))

    def _see(self) -> None:
        count, layout = self.num_agents, self.layout
        agents, views = self.positions[:count], self._views
        others, start = self._to_others, 0
        for index in range(count - 1):
            stop = start + count - 1 - index
            # The gap is first minus second; an agent sees the other relative to itself.
            others[index + 1 :, index] = self._gap[start:stop]
            np.negative(self._gap[start:stop], out=others[index, index:])
            start = stop
        views[:, 0:2] = self.velocities
        views[:, 2:4] = agents
        split = 4 + 2 * layout.landmarks_seen
        if not layout.by_distance:
            views[:, 4:split] = self._to_landmarks.reshape(count, 2 * count, self.num_envs)
            views[:, split:] = _first(others, others[:, :, 0], layout.others_seen)
            return
        keys, other_keys = self._to_landmarks_squared, _squared(others)
        if self.repo_sorting and count == 15:
            own = agents[:, None]
            keys, other_keys = _squared(self._to_landmarks - own), _squared(others - own)
        views[:, 4:split] = _first(self._to_landmarks, keys, layout.landmarks_seen)
        views[:, split:] = _first(others, other_keys, layout.others_seen)

    def _team_reward(self, absent: int | None = None) -> FloatArray:
        # Added up by hand: NumPy sums eight numbers or more in another order when there is one
        # environment than when there are many.
        total: FloatArray = self._nearest[0].copy()
        for distance in self._nearest[1:]:
            total += distance
        touching = (self._distance < self._reach).sum(axis=0)
        if self.reward == "repo" and self.num_agents == 6:
            total *= 6
            total += 6
        total += 2 * touching
        return np.negative(total, out=total)

    def _report(self) -> Info:
        covered: Array = (self._nearest < COVERED_AT).sum(axis=0) / self.num_agents
        return {"covered": covered}

    def _discs(self, env_index: int) -> list[Disc]:
        near = self._nearest[:, env_index] < COVERED_AT
        targets = [
            Disc(
                x=x,
                y=y,
                radius=LANDMARK_RADIUS,
                color=LANDMARK_COLORS[1] if near[index] else GREY,
                is_target=True,
            )
            for index, (x, y) in enumerate(self.landmarks[..., env_index])
        ]
        return targets + [
            self._body_disc(index, env_index, AGENT_COLOR, str(index))
            for index in range(self.num_agents)
        ]


def _squared(offsets: FloatArray) -> FloatArray:
    """Return squared lengths (..., num_envs) of offsets (..., 2, num_envs)."""
    x, y = offsets[..., 0, :], offsets[..., 1, :]
    squared: FloatArray = x * x
    squared += y * y
    return squared


def _first(offsets: FloatArray, keys: FloatArray, count: int) -> FloatArray:
    """Return the ``count`` offsets with the smallest keys, in their order.

    Args:
        offsets: (agents, entities, 2, num_envs), contiguous.
        keys: (agents, entities, num_envs).
        count: how many.

    Returns:
        (agents, 2 count, num_envs).
    """
    agents, entities, _, num_envs = offsets.shape
    # Sorting along the last, contiguous axis takes half of the time.
    order = np.argsort(keys.transpose(0, 2, 1).copy(), axis=2)[:, :, :count]
    row = np.arange(agents)[:, None, None] * entities + order.transpose(0, 2, 1)
    place = row * (2 * num_envs) + np.arange(num_envs)
    found = np.empty((agents, count, 2, num_envs))
    flat = offsets.reshape(-1)
    for axis in range(2):
        found[:, :, axis] = flat.take(place + axis * num_envs)
    return found.reshape(agents, 2 * count, num_envs)
