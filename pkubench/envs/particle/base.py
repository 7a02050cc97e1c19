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
"""Force of a full push, unless a body says otherwise."""
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

_DIRECTIONS: Final = np.array([[0.0, -1, 1, 0, 0], [0, 0, 0, -1, 1]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """One agent of a particle environment, or what moves there without being an agent."""

    name: str
    radius: float
    sees: int
    """Length of its observation."""
    moves: bool = True
    channels: int = 0
    """Length of the message it sends each step; 0 for a silent agent."""
    force: float = SENSITIVITY
    """Of a full push."""
    mass: float = 1.0
    max_speed: float | None = None

    def action_space(self, continuous: bool) -> spaces.Space[Any]:
        """Return Box(0, 1) of one number a move and channel, or Discrete over their product."""
        if continuous:
            return spaces.Box(0.0, 1.0, (MOVES * self.moves + self.channels,), np.float32)
        return spaces.Discrete((MOVES if self.moves else 1) * max(self.channels, 1))


class ParticleEnv(BatchEnv):
    """Base of the particle environments: the state, the moves and the picture.

    An environment says in ``_see`` what its agents observe (rows of ``_views``) and in ``_rewards``
    what they earn. ``positions`` (entities, 2, num_envs; bodies first, then landmarks) and
    ``velocities`` (bodies, 2, num_envs) may be written to; call ``refresh`` afterwards. ``bodies``
    are the agents, and after them what else moves (``_push_others`` says how).
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}
    default_horizon: ClassVar[int | None] = 25
    no_op_action: ClassVar[int] = 0
    """The discrete action that does nothing (says the first word, where an agent must speak)."""
    collide: ClassVar[bool] = False
    """Whether bodies push each other away."""

    def __init__(
        self,
        bodies: Sequence[Body],
        num_landmarks: int,
        *,
        num_envs: int,
        max_episode_steps: int | None,
        continuous_actions: bool,
        rules: Rules,
        others: Sequence[Body] = (),
        obstacle_radii: Sequence[float] = (),
    ) -> None:
        """Allocate the state of all environments; ``reset`` fills it.

        ``bodies`` are the agents and ``others`` what moves besides them. The first landmarks are
        obstacles, which bodies cannot pass, if they have radii.
        """
        super().__init__(num_envs, max_episode_steps)
        if rules not in ("v3", "v2"):
            raise ConfigError(f"rules must be 'v3' (mpe2) or 'v2' (PettingZoo <= 1.22): {rules!r}")
        self.rules: Rules = rules
        self.continuous_actions = bool(continuous_actions)
        self.agents = tuple(body.name for body in bodies)
        self.action_spaces = {b.name: b.action_space(self.continuous_actions) for b in bodies}
        self.observation_spaces = {
            b.name: spaces.Box(-np.inf, np.inf, (b.sees,), np.float32) for b in bodies
        }
        total = sum(b.sees for b in bodies)
        self.state_space = spaces.Box(-np.inf, np.inf, (total,), np.float32)

        self.bodies = (*bodies, *others)
        count = len(self.bodies)
        self.num_landmarks = num_landmarks
        self.random = RandomStreams(num_envs)
        self.positions: FloatArray = np.zeros((count + num_landmarks, 2, num_envs))
        self.velocities: FloatArray = np.zeros((count, 2, num_envs))
        self._views: npt.NDArray[np.float32] = np.zeros(
            (len(bodies), max(b.sees for b in bodies), num_envs), dtype=np.float32
        )
        # Which of the moves each discrete action means; a message is the quotient by MOVES.
        self._push_tables = [
            np.tile(b.force * DT / b.mass * _DIRECTIONS, max(b.channels, 1)) for b in self.bodies
        ]
        self._limited = [(i, b.max_speed) for i, b in enumerate(self.bodies) if b.max_speed]
        self._allocate_pairs([body.radius for body in self.bodies], obstacle_radii)

    def _allocate_pairs(self, radii: Sequence[float], obstacle_radii: Sequence[float]) -> None:
        """Allocate what is computed of each pair of a body with a later body or an obstacle."""
        count, colliders = len(radii), len(radii) + len(obstacle_radii)
        pairs = [pair for pair in combinations(range(colliders), 2) if pair[0] < count]
        every = [*radii, *obstacle_radii]
        self._colliders = colliders
        self._first, self._second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        self._reach: FloatArray = np.array([every[a] + every[b] for a, b in pairs]).reshape(-1, 1)
        shape = (len(pairs) if self.collide else 0, 2, self.num_envs)
        self._gap: FloatArray = np.zeros(shape)
        self._gap_squared: FloatArray = np.zeros(shape)
        self._distance: FloatArray = np.zeros((shape[0], self.num_envs))
        # Obstacles have rows too: what pushes them is added there, divided by an infinite mass.
        self._pushes: FloatArray = np.zeros((colliders, 2, self.num_envs))
        masses = [body.mass for body in self.bodies] + [np.inf] * len(obstacle_radii)
        self._inverse_mass: FloatArray = 1.0 / np.array(masses)

    @property
    def landmarks(self) -> FloatArray:
        """Positions of the landmarks, a view (num_landmarks, 2, num_envs)."""
        return self.positions[len(self.bodies) :]

    @property
    def _push(self) -> FloatArray:
        """Changes of the bodies' velocities, a view (bodies, 2, num_envs)."""
        return self._pushes[: len(self.bodies)]

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
        self._move(actions)
        self.refresh()
        rewards = np.empty((self.num_envs, self.num_agents))
        self._rewards(rewards)
        return rewards, np.zeros(self.num_envs, dtype=np.bool_), self._info()

    def _move(self, actions: Mapping[str, Array]) -> None:
        """Advance positions and velocities by one step; ``refresh`` is still to be called."""
        for index, agent in enumerate(self.agents):
            self._read_action(index, actions[agent])
        self._push_others()
        if self.collide:
            self._push_apart()
        self._integrate()

    def _push_others(self) -> None:
        """Write the pushes of the bodies that are not agents; without an engine they have none."""
        self._push[self.num_agents :] = 0.0

    def _read_action(self, index: int, action: Array) -> None:
        """Turn an action into a push (change of velocity) and a message."""
        body, push = self.bodies[index], self._pushes[index]
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
            push *= body.force * DT / body.mass
            action = action[MOVES:]
        if body.channels:
            self._hear(index, action)

    def _integrate(self) -> None:
        """Advance positions and velocities by one step (v3: position first; v2: velocity first)."""
        moving = self.positions[: len(self.bodies)]
        if self.rules == "v2":
            self.velocities *= VELOCITY_KEPT
            self.velocities += self._push
            self._limit_speeds()
            moving += np.multiply(self.velocities, DT, out=self._push)
        else:
            moving += self.velocities * DT
            self.velocities *= VELOCITY_KEPT
            self.velocities += self._push
            self._limit_speeds()

    def _limit_speeds(self) -> None:
        for index, limit in self._limited:
            x, y = self.velocities[index]
            speed = np.sqrt(x * x + y * y)
            too_fast = speed > limit
            if too_fast.any():
                for part in (x, y):
                    part[too_fast] = part[too_fast] / speed[too_fast] * limit

    def _measure_pairs(self) -> None:
        """Compute offset and distance of every pair of bodies, and of bodies and obstacles."""
        start = 0
        for index in range(min(len(self.bodies), self._colliders - 1)):
            stop = start + self._colliders - 1 - index
            np.subtract(
                self.positions[index],
                self.positions[index + 1 : self._colliders],
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
        push = self._pushes.reshape(-1)
        first, second = self._first[pair], self._second[pair]
        for axis in range(2):
            change = strength * self._gap[pair, axis, env_index]
            offset = axis * self.num_envs + env_index
            by_first, by_second = (change * self._inverse_mass[body] for body in (first, second))
            np.add.at(push, first * (2 * self.num_envs) + offset, by_first)
            np.subtract.at(push, second * (2 * self.num_envs) + offset, by_second)

    def _observe(self) -> dict[str, Array]:
        return {
            agent: np.array(self._views[index, : self.bodies[index].sees].T, order="C")
            for index, agent in enumerate(self.agents)
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
