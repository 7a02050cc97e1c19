"""SimpleSpeakerListener: one agent knows the goal and cannot move, the other can only move."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.core.batch import FloatArray
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.particle.base import Body, ParticleEnv, Rules
from pkubench.envs.particle.drawing import GREY, LANDMARK_COLORS, Caption, Disc

CHANNELS: Final = 3
LANDMARKS: Final = 3
AGENT_RADIUS: Final = 0.075
LANDMARK_RADIUS: Final = 0.04
COLORS: Final = np.full((LANDMARKS, 3), 0.15) + 0.5 * np.eye(LANDMARKS)
"""What the speaker sees: 0.65 in the goal's channel, 0.15 in the others."""

_SPEAKER, _LISTENER = 0, 1
_HEARD: Final = slice(8, 11)


class SimpleSpeakerListener(ParticleEnv):
    """A speaker that knows the goal but cannot move leads a listener that moves but knows nothing.

    | part        | type                      | meaning                                       |
    |-------------|---------------------------|-----------------------------------------------|
    | agents      | `speaker_0`, `listener_0` | discs of radius 0.075 that touch nothing      |
    | observation | speaker: Box(3) float32   | colour of the goal                            |
    |             | listener: Box(11) float32 | velocity 2, landmarks (relative) 6, message 3 |
    | action      | speaker: Discrete(3)      | the word it says                              |
    | or          | Box(0, 1, (3,)) float32   | the strength of each channel                  |
    | action      | listener: Discrete(5)     | nothing, left, right, down, up                |
    | or          | Box(0, 1, (5,)) float32   | pushes: net push right − left and up − down   |
    | reward      | float64, the same to both | −(distance from listener to goal)²            |
    | state       | Box(14) float32           | both observations, one after the other        |
    | ends        |                           | never; truncated at 25 steps                  |

    The two agents have different spaces and different jobs: the plainest test that a learner
    handles heterogeneous agents. A message is heard with the observation that follows the step it
    is sent in. Positions start uniform in [−1, 1]², at rest. The team return of the literature is
    the *sum* of both rewards, hence twice the listener's: about −85 for random discrete play.

    Settings: `continuous_actions` and `rules`: `"v3"` equals mpe2's `simple_speaker_listener_v4`
    step by step, `"v2"` integrates velocity before position as PettingZoo up to 1.22 did.

    Source: Lowe et al., "Multi-Agent Actor-Critic for Mixed Cooperative-Competitive Environments",
    NeurIPS 2017 (cooperative communication). Versions: v0 first release.
    """

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        *,
        continuous_actions: bool = False,
        rules: Rules = "v3",
    ) -> None:
        """Make ``num_envs`` environments."""
        super().__init__(
            [
                Body(name="speaker_0", radius=AGENT_RADIUS, sees=3, moves=False, channels=CHANNELS),
                Body(name="listener_0", radius=AGENT_RADIUS, sees=11),
            ],
            LANDMARKS,
            num_envs=num_envs,
            max_episode_steps=max_episode_steps,
            continuous_actions=continuous_actions,
            rules=rules,
        )
        self.goals: IntArray = np.zeros((1, num_envs), dtype=np.int64)
        """Landmark the listener has to reach, (1, num_envs)."""

    def _reset_goals(self, ids: IntArray) -> None:
        self.goals[:, ids] = self.random.integers(ids, 1, LANDMARKS).T
        self._views[_LISTENER, _HEARD, ids] = 0.0

    def _hear(self, agent: int, message: npt.NDArray[np.float32]) -> None:
        self._views[_LISTENER, _HEARD] = message

    def _see(self) -> None:
        listener = self._views[_LISTENER]
        self._views[_SPEAKER, 0:3] = COLORS.T[:, self.goals[0]]
        listener[0:2] = self.velocities[_LISTENER]
        for mark in range(LANDMARKS):
            listener[2 + 2 * mark : 4 + 2 * mark] = self.landmarks[mark] - self.positions[_LISTENER]

    def _rewards(self, out: FloatArray) -> None:
        goal = self.landmarks[self.goals[0], :, self._all].T
        offset = self.positions[_LISTENER] - goal
        out[:] = -(offset[0] * offset[0] + offset[1] * offset[1])[:, None]

    def _discs(self, env_index: int) -> list[Disc]:
        targets = [
            Disc(x=x, y=y, radius=LANDMARK_RADIUS, color=LANDMARK_COLORS[index], is_target=True)
            for index, (x, y) in enumerate(self.landmarks[..., env_index])
        ]
        colors = (GREY, LANDMARK_COLORS[self.goals[0, env_index]])
        return targets + [
            Disc(
                x=x,
                y=y,
                radius=AGENT_RADIUS,
                color=colors[index],
                label="SL"[index],
                velocity=(
                    self.velocities[index, 0, env_index],
                    self.velocities[index, 1, env_index],
                ),
            )
            for index, (x, y) in enumerate(self.positions[:2, :, env_index])
        ]

    def _captions(self, env_index: int) -> list[Caption]:
        heard = self._views[_LISTENER, _HEARD, env_index].tolist()
        return [Caption(text="speaker_0 says", channels=heard)]
