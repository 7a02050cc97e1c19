"""The cloud of a whole scene: points of the hand and of each environment's object, labeled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pkubench.envs.grasp.clouds.carried import BodyPoints, Float32Array, carry, carry_bodies
from pkubench.envs.grasp.clouds.observation import HAND, OBJECT, labeled_cloud


class SceneCloud:
    """Points that the hand's bodies and the objects carry."""

    def __init__(
        self, hand: BodyPoints, object_body: int, surface: Callable[[int], npt.ArrayLike]
    ) -> None:
        """Prepare the clouds of scenes with one hand.

        Args:
            hand: Points of the hand, see ``body_points``.
            object_body: Number of the object's body in the model.
            surface: From an object's number to points (P, 3) on it, at its scale, in its body's
                frame, in meters; P is the same for all. Asked once for each object.
        """
        self.hand, self.object_body, self._surface = hand, object_body, surface
        self._surfaces: dict[int, Float32Array] = {}

    def of(
        self, positions: npt.ArrayLike, quaternions: npt.ArrayLike, objects: npt.ArrayLike
    ) -> Float32Array:
        """Return the labeled clouds of all environments, (N, M + P, 8): the hand's points first.

        Args:
            positions: Of all bodies, (N, bodies, 3), meters.
            quaternions: Of all bodies, (N, bodies, 4), wxyz.
            objects: Number of each environment's object, (N,).
        """
        places, turns = np.asarray(positions), np.asarray(quaternions)
        numbers = np.asarray(objects).tolist()
        for number in set(numbers) - self._surfaces.keys():
            self._surfaces[number] = np.asarray(self._surface(number), dtype=np.float32)
        grasped = carry(
            np.stack([self._surfaces[number] for number in numbers]),
            places[:, self.object_body],
            turns[:, self.object_body],
        )
        hand = carry_bodies(self.hand, places, turns)
        labels = np.repeat([HAND, OBJECT], [hand.shape[1], grasped.shape[1]])
        return labeled_cloud(np.concatenate([hand, grasped], axis=1), labels)
