"""The cloud of a whole scene: points of the hand and of each environment's object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pkubench.envs.grasp.clouds.carried import (
    BodyPoints,
    Float32Array,
    body_poses,
    write_carried,
    write_carried_bodies,
)
from pkubench.envs.grasp.clouds.observation import HAND, OBJECT, label_channels
from pkubench.envs.grasp.items import Item

IntArray = npt.NDArray[np.int64]


class SceneCloud:
    """Points that the hand's bodies and the objects carry."""

    def __init__(
        self,
        hand: BodyPoints,
        object_body: int,
        items: Sequence[Item],
        points: int,
    ) -> None:
        """Prepare the clouds of scenes with one hand.

        Args:
            hand: Points of the hand, M, see ``body_points``.
            object_body: Number of the object's body in the model.
            items: The objects; each is asked once for points on its surface.
            points: How many each object has, P.
        """
        self.hand, self.object_body, self._items = hand, object_body, items
        self.points = len(hand.points) + points
        # Only the rows of objects that were met are ever touched.
        self._surfaces: Float32Array = np.empty((len(items), 3, points), dtype=np.float32)
        self._is_known = np.zeros(len(items), dtype=np.bool_)
        labels = np.repeat([HAND, OBJECT], [len(hand.points), points])
        self._channels = label_channels(labels)

    def prepare(self, objects: IntArray) -> None:
        """Sample the surfaces of objects that are new, by number."""
        for number in np.unique(objects[~self._is_known[objects]]).tolist():
            self._surfaces[number] = self._items[number].surface(self._surfaces.shape[2]).T
            self._is_known[number] = True

    def write(
        self,
        out: Float32Array,
        positions: npt.ArrayLike,
        quaternions: npt.ArrayLike,
        objects: IntArray,
    ) -> None:
        """Write the labeled clouds of all environments, the hand's points first.

        Args:
            out: (N, M + P, ``CHANNELS``).
            positions: Of all bodies, (N, bodies, 3), meters.
            quaternions: Of all bodies, (N, bodies, 4), wxyz.
            objects: Number of each environment's object, (N,), which ``prepare`` was called with.
        """
        places, turns = np.asarray(positions), np.asarray(quaternions)
        hand = len(self.hand.points)
        write_carried_bodies(out[:, :hand, :3], self.hand, places, turns)
        place, turn = body_poses(places[:, self.object_body], turns[:, self.object_body])
        local = np.moveaxis(self._surfaces[objects], 1, 0)
        write_carried(out[:, hand:, :3], local, place[..., None], turn[..., None])
        out[..., 3:] = self._channels

    def of(
        self, positions: npt.ArrayLike, quaternions: npt.ArrayLike, objects: npt.ArrayLike
    ) -> Float32Array:
        """Return what ``write`` writes, (N, M + P, ``CHANNELS``), of any objects."""
        numbers = np.asarray(objects, dtype=np.int64)
        self.prepare(numbers)
        out = np.empty((len(numbers), self.points, 3 + self._channels.shape[1]), dtype=np.float32)
        self.write(out, positions, quaternions, numbers)
        return out
