"""Controllers of particles: to a place, after prey, and behind a ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pkubench.agents.contract import Array, BoolArray, FloatArray, IntArray
from pkubench.errors import AgentError


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """Gains of a controller towards a landmark at ``offset``, moving at ``velocity``."""

    lookahead: float = 0.25
    """Discrete actions: seconds of present motion that are subtracted from the offset; then the
    agent pushes along the axis with the larger remainder. Braking and damping together stop a body
    in about that time."""
    deadband: float = 0.03
    """Discrete actions: offsets below this are ignored."""
    proportional: float = 20.0
    """Continuous actions: push = clip(proportional × offset − derivative × velocity, −1, 1)."""
    derivative: float = 6.0

    def move(self, offset: FloatArray, velocity: FloatArray) -> IntArray:
        """Return moves (episodes,): 0 nothing, 1 left, 2 right, 3 down, 4 up."""
        error = offset - self.lookahead * velocity
        axis = np.abs(error).argmax(axis=1)
        worst = error[np.arange(len(error)), axis]
        return np.where(np.abs(worst) < self.deadband, 0, 1 + 2 * axis + (worst > 0))

    def push(self, offset: FloatArray, velocity: FloatArray) -> npt.NDArray[np.float32]:
        """Return pushes (episodes, 5): nothing, left, right, down, up, each in [0, 1]."""
        push = self.proportional * offset - self.derivative * velocity
        action = np.zeros((len(push), 5), dtype=np.float32)
        action[:, [1, 3]] = np.clip(-push, 0.0, 1.0)
        action[:, [2, 4]] = np.clip(push, 0.0, 1.0)
        return action


DEFAULT_GAINS: Final = Gains()


@dataclass(frozen=True, slots=True)
class ChaseAgent:
    """Moves to where the nearest prey will be, in PredatorPrey."""

    prey: int
    """Number of prey; an observation ends with their places and velocities."""
    lead: float = 0.3
    """Seconds ahead for which the prey's present velocity is extrapolated."""
    gains: Gains = Gains(lookahead=0.0)

    def begin(self, seeds: IntArray) -> None:
        """Return None: no state, and no randomness."""

    def act(self, observation: Array, state: None, active: BoolArray) -> tuple[Array, None]:
        """Return moves (episodes,) from observations (episodes, 16 or 28)."""
        seen = observation.astype(np.float64)
        if seen.shape[1] <= 4 + 4 * self.prey:
            raise AgentError(f"scripted:chase cannot read {seen.shape[1]} observed numbers")
        places = seen[:, -4 * self.prey : -2 * self.prey].reshape(-1, self.prey, 2)
        velocities = seen[:, -2 * self.prey :].reshape(-1, self.prey, 2)
        distance = places[..., 0] ** 2 + places[..., 1] ** 2
        rows, nearest = np.arange(len(seen)), distance.argmin(axis=1)
        target = places[rows, nearest] + self.lead * velocities[rows, nearest]
        return self.gains.move(target, seen[:, 0:2]), None


@dataclass(frozen=True, slots=True)
class PushAgent:
    """Goes behind the ball, seen from the target, and pushes it there, in CooperativePush."""

    reach: float = 0.16
    """Distance of the centres of an agent and the ball that touch."""
    aligned: float = 0.06
    """Distance from the line through ball and target, within which it pushes."""
    detour: float = 0.22
    """Distance at which it goes round the ball."""
    gains: Gains = Gains(lookahead=0.1, deadband=0.0)

    def begin(self, seeds: IntArray) -> None:
        """Return None: no state, and no randomness."""

    def act(self, observation: Array, state: None, active: BoolArray) -> tuple[Array, None]:
        """Return moves (episodes,) from observations (episodes, 12)."""
        if observation.shape[1] != 12:
            raise AgentError(f"scripted:push observes 12 numbers, got {observation.shape[1]}")
        seen = observation.astype(np.float64)
        velocity, ball, target = seen[:, 0:2], seen[:, 4:6], seen[:, 6:8]
        way = target - ball
        length = np.maximum(np.sqrt(way[:, 0] ** 2 + way[:, 1] ** 2), 1e-9)[:, None]
        ahead = way / length
        across = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
        # Where it is, seen from the ball.
        along = -(ball[:, 0] * ahead[:, 0] + ball[:, 1] * ahead[:, 1])
        aside = -(ball[:, 0] * across[:, 0] + ball[:, 1] * across[:, 1])
        is_behind = along < -0.05
        is_aligned = (along < -self.reach / 2) & (np.abs(aside) < self.aligned)
        side = np.where(aside > 0, 1.0, -1.0)[:, None]
        goal = ball + self.detour * side * across - 0.05 * ahead
        goal = np.where(is_behind[:, None], ball - (self.reach + 0.04) * ahead, goal)
        return self.gains.move(np.where(is_aligned[:, None], ball, goal), velocity), None
