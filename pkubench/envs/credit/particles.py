"""What the particle environments of the suite share: rules, starts, and difference rewards.

Constants are those of ``pkubench.envs.particle.base``; a push changes the velocity before the
position, as in its rules "v2".
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.core.batch import Array, BoolArray, FloatArray, Info
from pkubench.envs.core.difference_reward import DIFFERENCE_REWARD
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.envs.particle.base import Body, ParticleEnv
from pkubench.envs.particle.drawing import Color, Disc

FAR: Final = 1e30
"""Where an agent is put that is not there: both coordinates.

Nothing touches it, and what it adds to the drive of prey, 1e-60, is lost in rounding.
"""


class ImprovedParticleEnv(ParticleEnv):
    """Base of the suite's particle environments: discrete moves, no messages, places of its own."""

    def __init__(
        self,
        bodies: Sequence[Body],
        num_landmarks: int,
        *,
        num_envs: int,
        max_episode_steps: int | None,
        difference_rewards: bool,
        others: Sequence[Body] = (),
        obstacle_radii: Sequence[float] = (),
    ) -> None:
        """Allocate the state of all environments; see ``ParticleEnv``.

        With ``difference_rewards`` each step is also played without each of the agents.
        """
        self.difference_rewards = bool(difference_rewards)
        super().__init__(
            bodies,
            num_landmarks,
            num_envs=num_envs,
            max_episode_steps=max_episode_steps,
            continuous_actions=False,
            rules="v2",
            others=others,
            obstacle_radii=obstacle_radii,
        )

    @abstractmethod
    def _place(self, ids: IntArray) -> FloatArray:
        """Return where bodies and landmarks start, (entities, 2, len(ids))."""

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self.random.seed(ids, seeds)
        self.positions[:, :, ids] = self._place(ids)
        self.velocities[:, :, ids] = 0.0
        self._reset_goals(ids)
        self.refresh()

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        without = self._played_without_each(actions) if self.difference_rewards else None
        rewards, terminated, info = super()._step(actions, active)
        if without is not None:
            info[DIFFERENCE_REWARD] = np.ascontiguousarray((self._team_reward() - without).T)
        return rewards, terminated, info

    def _played_without_each(self, actions: Mapping[str, Array]) -> FloatArray:
        """Return what the team would earn if an agent were not there, (agents, num_envs)."""
        positions, velocities = self.positions.copy(), self.velocities.copy()
        found = np.empty((self.num_agents, self.num_envs))
        for index in range(self.num_agents):
            self.positions[index] = FAR
            self._measure_pairs()
            self._move(actions)
            self._measure_pairs()
            found[index] = self._team_reward(index)
            self.positions[:], self.velocities[:] = positions, velocities
        self._measure_pairs()
        return found

    def _rewards(self, out: FloatArray) -> None:
        out[:] = (self._team_reward() / self.num_agents)[:, None]

    @abstractmethod
    def _team_reward(self, absent: int | None = None) -> FloatArray:
        """Return the team's reward of the present positions, (num_envs,).

        Args:
            absent: an agent that earns nothing, and has been put at ``FAR``.
        """

    def _info(self) -> Info:
        info = self._report()
        if self.difference_rewards:
            info[DIFFERENCE_REWARD] = np.zeros((self.num_envs, self.num_agents))
        return info

    @abstractmethod
    def _report(self) -> Info:
        """Return the environment's own infos."""

    def _uniform_places(self, ids: IntArray, count: int, half_width: float) -> FloatArray:
        """Return places in [-half_width, half_width]^2, (count, 2, len(ids))."""
        places = self.random.uniform(ids, 2 * count, -half_width, half_width)
        return places.T.reshape(count, 2, len(ids))

    def _reset_goals(self, ids: IntArray) -> None:
        """Nothing is hidden here: the positions say all."""

    def _hear(self, agent: int, message: npt.NDArray[np.float32]) -> None:
        """Nobody speaks here."""

    def _body_disc(self, body: int, env_index: int, color: Color, label: str = "") -> Disc:
        """Return a body with its velocity, to be drawn."""
        x, y = self.positions[body, :, env_index].tolist()
        velocity_x, velocity_y = self.velocities[body, :, env_index].tolist()
        radius = self.bodies[body].radius
        return Disc(
            x=x, y=y, radius=radius, color=color, label=label, velocity=(velocity_x, velocity_y)
        )


def scatter(
    random: RandomStreams,
    ids: IntArray,
    count: int,
    half_width: float,
    spacing: float,
    around: FloatArray | None = None,
) -> FloatArray:
    """Draw places one after another, each uniform until it is far enough from those before it.

    Args:
        random: each environment's stream: an episode does not depend on the others of its batch.
        ids: the environments.
        count: places of each.
        half_width: they lie in [-half_width, half_width]^2.
        spacing: least distance.
        around: (n, 2, len(ids)), places that are taken already.

    Returns:
        (count, 2, len(ids)).
    """
    taken = np.zeros((0, 2, len(ids))) if around is None else around
    for _ in range(count):
        place = np.zeros((1, 2, len(ids)))
        missing = np.arange(len(ids))
        while len(missing):
            drawn = random.uniform(ids[missing], 2, -half_width, half_width).T
            place[0][:, missing] = drawn
            offsets = taken[:, :, missing] - drawn
            squared = offsets[:, 0] * offsets[:, 0] + offsets[:, 1] * offsets[:, 1]
            missing = missing[(squared < spacing * spacing).any(axis=0)]
        taken = np.concatenate([taken, place])
    return taken[len(taken) - count :]
