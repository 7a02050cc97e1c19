"""The physics the particle environments share: damped point masses that push, collide and talk.

Facts and constants from the multi-agent particle environments (Lowe et al., "Multi-Agent
Actor-Critic for Mixed Cooperative-Competitive Environments", NeurIPS 2017) as released in
mpe2 1.1.1. Environments lie on the last axis of every array inside, so that one NumPy call works on
a contiguous row of them; float64 throughout, float32 only in what agents see.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.envs.particle.drawing import Caption, Disc, draw_scene
from pkubench.errors import ConfigError

Rules = Literal["v3", "v2"]

DT: Final = 0.1
"""Seconds a step."""
VELOCITY_KEPT: Final = 0.75
"""What damping 0.25 leaves of a velocity after each step."""
SENSITIVITY: Final = 5.0
"""Force of a full push (the mass is 1)."""
CONTACT_FORCE: Final = 100.0
CONTACT_MARGIN: Final = 1e-3
"""Width of the soft contact: the overlap is margin * log(1 + exp((reach - distance) / margin))."""
CONTACT_RANGE: Final = 110 * CONTACT_MARGIN
"""Gap between two discs beyond which their contact force is left out.

There the force changes a velocity by less than 100 * 1e-3 * exp(-110) * 0.1 < 2e-50 a step. The
smallest positive float32 is 1.4e-45, so no observed velocity can differ, and a position absorbs
the change unless it is itself below 1e-33.
"""
MOVES: Final = 5
"""Nothing, left, right, down, up."""

_PUSH: Final = SENSITIVITY * DT * np.array([[0.0, -1, 1, 0, 0], [0, 0, 0, -1, 1]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """One agent of a particle environment."""

    name: str
    radius: float
    sees: int
    """Length of its observation."""
    moves: bool = True
    channels: int = 0
    """Length of the message it sends each step; 0 for a silent agent."""

    def action_space(self, continuous: bool) -> spaces.Space[Any]:
        """Return Box(0, 1) of one number a move and channel, or Discrete over their product."""
        if continuous:
            return spaces.Box(0.0, 1.0, (MOVES * self.moves + self.channels,), np.float32)
        return spaces.Discrete((MOVES if self.moves else 1) * max(self.channels, 1))


class ParticleEnv(BatchEnv):
    """Base of the particle environments: the state, the moves and the picture.

    An environment says in ``_see`` what its agents observe (rows of ``_views``) and in ``_rewards``
    what they earn. ``positions`` (entities, 2, num_envs; agents first, then landmarks) and
    ``velocities`` (agents, 2, num_envs) may be written to; call ``refresh`` afterwards.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}
    default_horizon: ClassVar[int | None] = 25
    collide: ClassVar[bool] = False
    """Whether agents push each other away."""

    def __init__(
        self,
        bodies: Sequence[Body],
        num_landmarks: int,
        *,
        num_envs: int,
        max_episode_steps: int | None,
        continuous_actions: bool,
        rules: Rules,
    ) -> None:
        """Allocate the state of all environments; ``reset`` fills it."""
        super().__init__(num_envs, max_episode_steps)
        if rules not in ("v3", "v2"):
            raise ConfigError(f"rules must be 'v3' (mpe2) or 'v2' (PettingZoo <= 1.22): {rules!r}")
        self.rules: Rules = rules
        self.continuous_actions = bool(continuous_actions)
        self.bodies = tuple(bodies)
        self.agents = tuple(body.name for body in bodies)
        self.action_spaces = {b.name: b.action_space(self.continuous_actions) for b in bodies}
        self.observation_spaces = {
            b.name: spaces.Box(-np.inf, np.inf, (b.sees,), np.float32) for b in bodies
        }
        total = sum(b.sees for b in bodies)
        self.state_space = spaces.Box(-np.inf, np.inf, (total,), np.float32)

        count, pairs = len(bodies), len(bodies) * (len(bodies) - 1) // 2
        self.num_landmarks = num_landmarks
        self.random = RandomStreams(num_envs)
        self.positions: FloatArray = np.zeros((count + num_landmarks, 2, num_envs))
        self.velocities: FloatArray = np.zeros((count, 2, num_envs))
        self._push: FloatArray = np.zeros((count, 2, num_envs))
        self._views: npt.NDArray[np.float32] = np.zeros(
            (count, max(b.sees for b in bodies), num_envs), dtype=np.float32
        )
        first, second = np.triu_indices(count, 1)
        self._first, self._second = first.astype(np.int64), second.astype(np.int64)
        self._reach: FloatArray = np.array(
            [a.radius + b.radius for a, b in combinations(bodies, 2)]
        ).reshape(-1, 1)
        shape = (pairs, 2, num_envs) if self.collide else (0, 2, num_envs)
        self._gap: FloatArray = np.zeros(shape)
        self._gap_squared: FloatArray = np.zeros(shape)
        self._distance: FloatArray = np.zeros((shape[0], num_envs))
        # Which of the moves each discrete action means; a message is the quotient by MOVES.
        self._push_tables = [np.tile(_PUSH, max(b.channels, 1)) for b in bodies]

    @property
    def landmarks(self) -> FloatArray:
        """Positions of the landmarks, a view (num_landmarks, 2, num_envs)."""
        return self.positions[len(self.bodies) :]

    def refresh(self) -> None:
        """Recompute what follows from the positions; call it after writing to them."""
        if self.collide:
            self._measure_pairs()
        self._see()

    @abstractmethod
    def _see(self) -> None:
        """Write what each agent observes into ``_views``, (agents, length, num_envs)."""

    @abstractmethod
    def _hear(self, agent: int, message: npt.NDArray[np.float32]) -> None:
        """Write the message (channels, num_envs) of ``agent`` into the views of its hearers."""

    @abstractmethod
    def _rewards(self, out: FloatArray) -> None:
        """Write the rewards of the present positions into ``out``, (num_envs, agents)."""

    @abstractmethod
    def _reset_goals(self, ids: IntArray) -> None:
        """Draw what an episode has besides positions, and silence the channels."""

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self.random.seed(ids, seeds)
        entities = len(self.positions)
        places = self.random.uniform(ids, 2 * entities, -1.0, 1.0)
        self.positions[:, :, ids] = places.T.reshape(entities, 2, len(ids))
        self.velocities[:, :, ids] = 0.0
        self._reset_goals(ids)
        self.refresh()

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        for index in range(len(self.bodies)):
            self._read_action(index, actions[self.bodies[index].name])
        if self.collide:
            self._push_apart()
        self._integrate()
        self.refresh()
        rewards = np.empty((self.num_envs, len(self.bodies)))
        self._rewards(rewards)
        return rewards, np.zeros(self.num_envs, dtype=np.bool_), {}

    def _read_action(self, index: int, action: Array) -> None:
        """Turn an action into a push (change of velocity) and a message."""
        body, push = self.bodies[index], self._push[index]
        if not self.continuous_actions:
            if body.moves:
                table = self._push_tables[index]
                # Environments that are not active may hold anything: "clip" keeps those harmless
                # too.
                np.take(table[0], action, out=push[0], mode="clip")
                np.take(table[1], action, out=push[1], mode="clip")
            if body.channels:
                said = action // MOVES if body.moves else action
                self._hear(index, (np.arange(body.channels)[:, None] == said).astype(np.float32))
            return
        action = np.clip(action, 0.0, 1.0).T
        if body.moves:
            push[0] = action[2] - action[1]
            push[1] = action[4] - action[3]
            push *= SENSITIVITY * DT
            action = action[MOVES:]
        if body.channels:
            self._hear(index, action)

    def _integrate(self) -> None:
        """Advance positions and velocities by one step (v3: position first; v2: velocity first)."""
        moving = self.positions[: len(self.bodies)]
        if self.rules == "v2":
            self.velocities *= VELOCITY_KEPT
            self.velocities += self._push
            moving += np.multiply(self.velocities, DT, out=self._push)
        else:
            moving += self.velocities * DT
            self.velocities *= VELOCITY_KEPT
            self.velocities += self._push

    def _measure_pairs(self) -> None:
        """Compute offset and distance of every pair of agents."""
        start = 0
        for index in range(len(self.bodies) - 1):
            stop = start + len(self.bodies) - 1 - index
            np.subtract(
                self.positions[index],
                self.positions[index + 1 : len(self.bodies)],
                out=self._gap[start:stop],
            )
            start = stop
        np.multiply(self._gap, self._gap, out=self._gap_squared)
        np.add(self._gap_squared[:, 0], self._gap_squared[:, 1], out=self._distance)
        np.sqrt(self._distance, out=self._distance)

    def _push_apart(self) -> None:
        """Add the contact forces of the pairs that are near enough to feel one."""
        near = np.flatnonzero(self._distance < self._reach + CONTACT_RANGE)
        if not near.size:
            return
        pair, env_index = np.divmod(near, self.num_envs)
        # Two discs at the very same point have no direction to part in; the original divides 0 by 0
        distance = np.maximum(self._distance[pair, env_index], np.finfo(np.float64).tiny)
        overlap = np.logaddexp(0.0, (self._reach[pair, 0] - distance) / CONTACT_MARGIN)
        strength = CONTACT_FORCE * CONTACT_MARGIN * DT * overlap / distance
        push = self._push.reshape(-1)
        for axis in range(2):
            change = strength * self._gap[pair, axis, env_index]
            offset = axis * self.num_envs + env_index
            np.add.at(push, self._first[pair] * (2 * self.num_envs) + offset, change)
            np.subtract.at(push, self._second[pair] * (2 * self.num_envs) + offset, change)

    def _observe(self) -> dict[str, Array]:
        return {
            body.name: np.array(self._views[index, : body.sees].T, order="C")
            for index, body in enumerate(self.bodies)
        }

    def render(self, env_index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw one environment: (480, 480, 3) uint8, the plane seen from above."""
        return draw_scene(self._discs(env_index), self._captions(env_index))

    @abstractmethod
    def _discs(self, env_index: int) -> list[Disc]:
        """Return what is to be drawn, from back to front."""

    def _captions(self, env_index: int) -> list[Caption]:
        """Return the messages to be shown."""
        return []
