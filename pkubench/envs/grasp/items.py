"""What a scene can hold: an object at a scale, with the poses in which it rests on the table."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from pkubench.envs.core.batch import FloatArray
from pkubench.envs.grasp.rotations import rotate
from pkubench.envs.grasp.scene import ScaledPart

if TYPE_CHECKING:
    from pkubench.envs.grasp.objects.model import GraspObject

_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


class RestingPoses(NamedTuple):
    """Poses in which an object rests on a table, up to its yaw."""

    quaternion: FloatArray
    """(P, 4), w first: from the object's frame to the world's."""
    height: FloatArray
    """(P,): of the object's origin above the table, in m."""
    top: FloatArray
    """(P,): of its highest point above the table, in m."""
    chance: FloatArray
    """(P,): the share of drops that end in the pose or one before it; the last is 1."""


class Item(Protocol):
    """An object at a scale."""

    @property
    def name(self) -> str:
        """Object and scale, ``mug/0007@0.08``."""
        ...

    @property
    def family(self) -> str:
        """What kind of object it is."""
        ...

    @property
    def scale(self) -> float:
        """Distance of its farthest point from its center of mass, in m."""
        ...

    @property
    def poses(self) -> RestingPoses:
        """How it can rest."""
        ...

    def surface(self, count: int) -> FloatArray:
        """Return points of its surface in its own frame, (count, 3) in m, always the same."""
        ...


@dataclass(frozen=True)
class Ball:
    """A ball, as MuJoCo's sphere."""

    radius: float
    """In m."""

    family = "ball"

    @property
    def name(self) -> str:
        """``ball@0.05``."""
        return f"ball@{self.radius:g}"

    @property
    def scale(self) -> float:
        """Its radius."""
        return self.radius

    @functools.cached_property
    def poses(self) -> RestingPoses:
        """The only one: all others are alike."""
        upright = np.array([[1.0, 0.0, 0.0, 0.0]])
        radius = np.array([self.radius])
        return RestingPoses(upright, radius, 2.0 * radius, np.ones(1))

    def surface(self, count: int) -> FloatArray:
        """Return points of a Fibonacci lattice, (count, 3) in m."""
        place = np.arange(count) + 0.5
        z = 1.0 - 2.0 * place / count
        across, angle = np.sqrt(1.0 - z * z), _GOLDEN_ANGLE * place
        points: FloatArray = self.radius * np.stack(
            (across * np.cos(angle), across * np.sin(angle), z), axis=1
        )
        return points


@dataclass(frozen=True, eq=False)
class Solid:
    """An object of convex parts at a scale."""

    object: GraspObject
    scale: float
    """In m."""

    @property
    def name(self) -> str:
        """``mug/0007@0.08``."""
        return f"{self.object.name}@{self.scale:g}"

    @property
    def family(self) -> str:
        """Family of the object."""
        return self.object.family

    @property
    def parts(self) -> list[ScaledPart]:
        """Its parts at this scale."""
        return [ScaledPart(self.scale * part.vertices, part.faces) for part in self.object.parts]

    @functools.cached_property
    def poses(self) -> RestingPoses:
        """The object's stable poses."""
        from pkubench.envs.grasp.objects.stable import stable_poses

        found = stable_poses(self.object, self.scale)
        vertices = self.scale * self.object.vertices
        above = rotate(found.quaternion[:, None], vertices)[..., 2].max(axis=1)
        chance = np.cumsum(found.probability)
        chance[-1] = 1.0
        return RestingPoses(found.quaternion, found.height, found.height + above, chance)

    def surface(self, count: int) -> FloatArray:
        """Return points sampled on its surface, (count, 3) in m."""
        from pkubench.envs.grasp.objects.surface import surface_points

        points: FloatArray = self.scale * surface_points(self.object, count, 0)[0]
        return points
