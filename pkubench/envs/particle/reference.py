"""SimpleReference: each of two agents knows where the other one has to go, and must say so."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.core.batch import FloatArray
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.particle.base import Body, ParticleEnv, Rules
from pkubench.envs.particle.drawing import LANDMARK_COLORS, Caption, Disc
from pkubench.errors import ConfigError

CHANNELS: Final = 10
LANDMARKS: Final = 3
RADIUS: Final = 0.05
COLORS: Final = np.full((LANDMARKS, 3), 0.25) + 0.5 * np.eye(LANDMARKS)
"""What an agent sees of its partner's goal: 0.75 in the goal's channel, 0.25 in the others."""

_GOAL: Final = slice(8, 11)
_HEARD: Final = slice(11, 21)


class SimpleReference(ParticleEnv):
    """Two agents, three coloured landmarks; each knows only where the *other* one has to go.

    | part        | type                     | meaning                                             |
    |-------------|--------------------------|-----------------------------------------------------|
    | agents      | `agent_0`, `agent_1`     | discs of radius 0.05 that pass through each other   |
    | observation | Box(21) float32          | see below                                           |
    | action      | Discrete(50)             | move + 5 × word; moves as in SimpleSpread, 10 words |
    | or          | Box(0, 1, (15,)) float32 | five pushes, then the strength of ten channels      |
    | reward      | float64, one an agent    | (1 − `local_ratio`) × shared + `local_ratio` × own  |
    | state       | Box(42) float32          | both observations, one after the other              |
    | ends        |                          | never; truncated at 25 steps                        |

    The *own* part of an agent's reward is minus the distance of its *partner* from the partner's
    goal, so it is paid for being understood; the *shared* part is the mean of both. An observation
    holds the agent's velocity (2), the landmarks relative to itself (6), the colour of its
    partner's goal (3) and its partner's message (10). A message is heard with the observation that
    follows the step it is sent in.

    Positions start uniform in [−1, 1]², at rest; goals are drawn uniformly and may coincide. The
    team return of the literature is the *sum* of both rewards: about −59 for random discrete play.

    Settings: `local_ratio`, `continuous_actions`, and `rules`: `"v3"` equals mpe2's
    `simple_reference_v3` step by step, `"v2"` integrates velocity before position as PettingZoo up
    to 1.22 did.

    Source: Lowe et al., NeurIPS 2017; Mordatch & Abbeel, "Emergence of Grounded Compositional
    Language in Multi-Agent Populations", AAAI 2018. Versions: v0 first release.
    """

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        *,
        local_ratio: float = 0.5,
        continuous_actions: bool = False,
        rules: Rules = "v3",
    ) -> None:
        """Make ``num_envs`` environments."""
        if not 0 <= local_ratio <= 1:
            raise ConfigError(f"local_ratio must lie in [0, 1], got {local_ratio}")
        self.local_ratio = local_ratio
        super().__init__(
            [Body(name=f"agent_{i}", radius=RADIUS, sees=21, channels=CHANNELS) for i in range(2)],
            LANDMARKS,
            num_envs=num_envs,
            max_episode_steps=max_episode_steps,
            continuous_actions=continuous_actions,
            rules=rules,
        )
        self.goals: IntArray = np.zeros((2, num_envs), dtype=np.int64)
        """Landmark that agent ``i`` knows of and its partner has to reach, (2, num_envs)."""

    def _reset_goals(self, ids: IntArray) -> None:
        self.goals[:, ids] = self.random.integers(ids, 2, LANDMARKS).T
        self._views[:, _HEARD, ids] = 0.0

    def _hear(self, agent: int, message: npt.NDArray[np.float32]) -> None:
        self._views[1 - agent, _HEARD] = message

    def _see(self) -> None:
        views = self._views
        views[:, 0:2] = self.velocities
        for index in range(2):
            for mark in range(LANDMARKS):
                views[index, 2 + 2 * mark : 4 + 2 * mark] = (
                    self.landmarks[mark] - self.positions[index]
                )
            views[index, _GOAL] = COLORS.T[:, self.goals[index]]

    def _rewards(self, out: FloatArray) -> None:
        indices = self._all
        own = np.empty((2, self.num_envs))
        for index in range(2):
            goal = self.landmarks[self.goals[index], :, indices].T
            offset = self.positions[1 - index] - goal
            own[index] = -np.sqrt(offset[0] * offset[0] + offset[1] * offset[1])
        shared = (1 - self.local_ratio) * ((own[0] + own[1]) / 2)
        out[:] = (shared + self.local_ratio * own).T

    def _discs(self, env_index: int) -> list[Disc]:
        targets = [
            Disc(x=x, y=y, radius=RADIUS, color=LANDMARK_COLORS[index], is_target=True)
            for index, (x, y) in enumerate(self.landmarks[..., env_index])
        ]
        return (
            targets
            + [
                Disc(
                    x=x,
                    y=y,
                    radius=2 * RADIUS,  # twice the true size: these discs touch nothing
                    color=LANDMARK_COLORS[self.goals[1 - index, env_index]],
                    label=str(index),
                    velocity=(
                        self.velocities[index, 0, env_index],
                        self.velocities[index, 1, env_index],
                    ),
                )
                for index, (x, y) in enumerate(self.positions[:2, :, env_index])
            ]
        )

    def _captions(self, env_index: int) -> list[Caption]:
        return [
            Caption(
                text=f"{name} says", channels=self._views[1 - index, _HEARD, env_index].tolist()
            )
            for index, name in enumerate(self.agents)
        ]
