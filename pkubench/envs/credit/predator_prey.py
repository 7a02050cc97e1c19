"""PredatorPrey: slow predators have to surround faster prey, which flees by a fixed rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from pkubench.envs.core.batch import FloatArray, Info
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.credit.particles import ImprovedParticleEnv
from pkubench.envs.particle.base import Body
from pkubench.envs.particle.drawing import AGENT_COLOR, GREY, LANDMARK_COLORS, Disc
from pkubench.errors import ConfigError

OBSTACLE_RADIUS: Final = 0.2
CONTACT_REWARD: Final = 10.0
DISTANCE_WEIGHT: Final = 0.1
OBSTACLE_WEIGHT: Final = 0.3
"""Of an obstacle in what drives the prey away, where a predator has 1."""
EDGE_WEIGHT: Final = 20.0
EDGE: Final = 0.8
"""Share of the half-width beyond which the edge drives the prey back."""
CALM: Final = 0.01
"""The prey rests where what drives it is weaker."""


@dataclass(frozen=True, slots=True)
class Hunt:
    """What differs between the sizes of the original."""

    prey: int
    obstacles: int
    half_width: float


HUNTS: Final = {3: Hunt(1, 2, 1.0), 6: Hunt(2, 3, 1.5)}
"""Number of predators -> the rest."""


class PredatorPrey(ImprovedParticleEnv):
    """Predators share the reward for touching prey that is faster than they are.

    | part        | type                    | meaning                                             |
    |-------------|-------------------------|-----------------------------------------------------|
    | agents      | `predator_0` ...        | 3 or 6 discs of radius 0.075 and speed up to 1.0    |
    | observation | Box(16) or Box(28)      | see below                                           |
    | action      | Discrete(5)             | nothing, left, right, down, up                      |
    | reward      | float64, 1/N each       | team: 10 for each predator and prey that touch,     |
    |             |                         | −0.1 Σ distance of predators to their nearest prey; |
    |             |                         | paid when the episode ends                          |
    | state       | Box(N × observation)    | all observations, one after the other               |
    | ends        |                         | never; truncated at 25 steps                        |

    The last agents are `predator_2` and `predator_5`. With 3 predators there are one prey and two
    obstacles (radius 0.2) in [−1, 1]², with 6 two prey and three obstacles in [−1.5, 1.5]²;
    obstacles start 0.1 inside the edge. Prey has radius 0.05 and speed up to 1.3. All discs push
    each other away, and obstacles do not move. Nothing stops a body at the edge.

    An observation has the agent's velocity (2) and position (2), then relative to it the
    obstacles, the other predators and the prey, and the prey's velocities.

    **The prey** is ours: the original's are networks, stored as pickles that need the old code, and
    numbers here are not comparable with the paper's. With d the distance, it is driven by
    Σ (x − x_predator) / d³ + 0.3 Σ (x − x_obstacle) / d³, and, beyond 0.8 of the half-width w on
    each axis, by −20 sign(x) (|x| − 0.8 w). It pushes along the axis with the larger component, and
    rests where the whole is below 0.01.

    As registered, the environment pays at the end of an episode only (`delay="episode"`);
    `info["dense_reward"]` has what each step earned, for scoring, and `delay=None` pays it at once.
    `info["touching"]`, bool (N,), says which predators touch prey, and `info["contacts"]` counts
    pairs that touch, summed over the episode. Team returns of uniform random actions (20,000
    episodes), of doing nothing, and of chasing the nearest prey (`scripted:chase`; 2,000 episodes):

    | N | random | no-op | chase |
    |---|--------|-------|-------|
    | 3 | −10.4  | −10.2 | −4.4  |
    | 6 | −22.6  | −22.4 | −8.8  |

    With the setting `difference_rewards`, `info["difference_reward"]` has for each agent the team's
    reward of the step less what it would have been had the agent not been there: the step is played
    without it, so that prey does not flee from it either (Wolpert and Tumer 2001).

    Setting: `num_agents`, the number of predators. The team's reward counts once, as the original
    does with 6 predators; with 3 it pays the whole to each.

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
        difference_rewards: bool = False,
    ) -> None:
        """Make ``num_envs`` environments with ``num_agents`` predators."""
        if num_agents not in HUNTS:
            raise ConfigError(f"num_agents must be one of {list(HUNTS)}, got {num_agents}")
        self.hunt = HUNTS[num_agents]
        sees = 4 + 2 * (self.hunt.obstacles + num_agents - 1 + 2 * self.hunt.prey)
        super().__init__(
            [
                Body(name=f"predator_{i}", radius=0.075, sees=sees, force=3.0, max_speed=1.0)
                for i in range(num_agents)
            ],
            self.hunt.obstacles,
            num_envs=num_envs,
            max_episode_steps=max_episode_steps,
            difference_rewards=difference_rewards,
            others=[
                Body(name=f"prey_{i}", radius=0.05, sees=0, force=4.0, max_speed=1.3)
                for i in range(self.hunt.prey)
            ],
            obstacle_radii=[OBSTACLE_RADIUS] * self.hunt.obstacles,
        )
        pairs = zip(self._first.tolist(), self._second.tolist(), strict=True)
        found = {pair: number for number, pair in enumerate(pairs)}
        prey = range(num_agents, num_agents + self.hunt.prey)
        self._catches = np.array([[found[i, j] for j in prey] for i in range(num_agents)])
        """The pairs of each predator with each prey, (predators, prey)."""
        self._contacts: IntArray = np.zeros(num_envs, dtype=np.int64)

    def _place(self, ids: IntArray) -> FloatArray:
        bodies = self._uniform_places(ids, len(self.bodies), self.hunt.half_width)
        inside = self.hunt.half_width - 0.1
        return np.concatenate([bodies, self._uniform_places(ids, self.hunt.obstacles, inside)])

    def _reset_goals(self, ids: IntArray) -> None:
        self._contacts[ids] = 0

    def _push_others(self) -> None:
        predators = self.positions[: self.num_agents]
        edge = EDGE * self.hunt.half_width
        for index in range(self.num_agents, len(self.bodies)):
            place = self.positions[index]
            drive = -EDGE_WEIGHT * np.sign(place) * np.maximum(np.abs(place) - edge, 0.0)
            for sources, weight in ((predators, 1.0), (self.landmarks, OBSTACLE_WEIGHT)):
                for source in sources:  # added up in one order, whatever the batch
                    away = place - source
                    squared = away[0] * away[0] + away[1] * away[1]
                    cubed = np.maximum(squared * np.sqrt(squared), np.finfo(np.float64).tiny)
                    drive += weight * away / cubed
            is_along_y = np.abs(drive[1]) > np.abs(drive[0])
            strongest = np.where(is_along_y, drive[1], drive[0])
            move = 1 + 2 * is_along_y + (strongest > 0)
            squared = drive[0] * drive[0] + drive[1] * drive[1]
            move = np.where(squared < CALM * CALM, 0, move)
            np.take(self._push_tables[index], move, axis=1, out=self._pushes[index], mode="clip")

    def _see(self) -> None:
        count, views, bodies = self.num_agents, self._views, len(self.bodies)
        agents = self.positions[:count]
        views[:, 0:2] = self.velocities[:count]
        views[:, 2:4] = agents
        column = 4
        for obstacle in self.landmarks:
            views[:, column : column + 2] = obstacle - agents
            column += 2
        for index in range(count):
            others = [k for k in range(bodies) if k != index]
            for place, other in enumerate(others):
                start = column + 2 * place
                views[index, start : start + 2] = self.positions[other] - agents[index]
        views[:, column + 2 * (bodies - 1) :] = self.velocities[count:].reshape(-1, self.num_envs)

    def _rewards(self, out: FloatArray) -> None:
        super()._rewards(out)
        self._contacts += self._touches().sum(axis=(0, 1))

    def _team_reward(self, absent: int | None = None) -> FloatArray:
        nearest = self._distance[self._catches].min(axis=1)
        total = np.zeros(self.num_envs)
        for predator, distance in enumerate(nearest):
            if predator != absent:
                total += distance
        total *= -DISTANCE_WEIGHT
        total += CONTACT_REWARD * self._touches().sum(axis=(0, 1))
        return total

    def _touches(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Return which predators touch which prey, (predators, prey, num_envs)."""
        touches: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
        touches = self._distance[self._catches] < self._reach[self._catches]
        return touches

    def _report(self) -> Info:
        touching = np.ascontiguousarray(self._touches().any(axis=1).T)
        return {"touching": touching, "contacts": self._contacts.copy()}

    def _discs(self, env_index: int) -> list[Disc]:
        obstacles = [
            Disc(x=x, y=y, radius=OBSTACLE_RADIUS, color=GREY)
            for x, y in self.landmarks[..., env_index].tolist()
        ]
        return obstacles + [
            self._body_disc(index, env_index, AGENT_COLOR)
            if index < self.num_agents
            else self._body_disc(index, env_index, LANDMARK_COLORS[1])
            for index in range(len(self.bodies))
        ]
