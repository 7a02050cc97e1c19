"""The state observation of UniDexGrasp++: 300 numbers for the ShadowHand, by named slices.

Orders and factors are those of the released code (``compute_full_state``). Where a hand has other
numbers of joints, fingertips or actuators the slices keep their order and change their lengths.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

CODE_SIZE: Final = 64
"""Numbers of an object's geometry code."""
GRASP_SIZE: Final = 29
"""Numbers that UniDexGrasp has about the grasp to reach; zeros in UniDexGrasp++ and here."""
LIMIT: Final = 5.0
"""Observations are clipped to plus or minus this."""
VELOCITY_SCALE: Final = 0.2
FORCE_SCALE: Final = 10.0
CODE_SCALE: Final = 0.1
TIP_STATE: Final = 13
"""Position 3, quaternion 4, velocity 3, angular velocity 3 of a fingertip."""
TIP_FORCE: Final = 6


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each quantity is in an observation.

    >>> layout = Layout.of(joints=22, fingertips=5, actuators=18)
    >>> layout.object_position, layout.code, layout.size
    (slice(191, 194, None), slice(236, 300, None), 300)
    """

    joint_position: slice
    """Angles, by their limits to [-1, 1]."""
    joint_velocity: slice
    """0.2 rad/s."""
    joint_force: slice
    """10 x the actuators' torque in N m, in the last physics step."""
    fingertips: slice
    """Of each: position (m), quaternion (x, y, z, w), velocity (m/s), angular velocity (rad/s)."""
    fingertip_force: slice
    """10 x force (N) and torque (N m) on each, in its frame, in the last physics step."""
    palm: slice
    """Position of the palm's center in m."""
    hand_rotation: slice
    """Roll, pitch, yaw of the root in rad."""
    action: slice
    """The previous action."""
    object_position: slice
    """In m."""
    object_quaternion: slice
    """x, y, z, w."""
    object_velocity: slice
    """In m/s."""
    object_spin: slice
    """0.2 x angular velocity in rad/s, in the world's axes."""
    goal: slice
    """From the object to the goal, in m."""
    grasp: slice
    """Zeros."""
    code: slice
    """0.1 x the geometry code."""

    @classmethod
    def of(cls, joints: int, fingertips: int, actuators: int) -> Layout:
        """Return the slices of a hand."""
        sizes = (
            *(joints, joints, joints, TIP_STATE * fingertips, TIP_FORCE * fingertips),
            *(3, 3, 6 + actuators, 3, 4, 3, 3, 3, GRASP_SIZE, CODE_SIZE),
        )
        return cls(*_consecutive(sizes))

    @property
    def size(self) -> int:
        """Length of an observation."""
        stop: int = self.code.stop
        return stop

    @property
    def proprioception(self) -> slice:
        """What a hand knows of itself: everything before the object."""
        return slice(0, self.object_position.start)


def _consecutive(sizes: tuple[int, ...]) -> Iterator[slice]:
    first = 0
    for size in sizes:
        yield slice(first, first + size)
        first += size
