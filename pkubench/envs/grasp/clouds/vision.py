"""Observations of a vision policy: proprioception and the cloud of the scene in one row of numbers.

The cloud is carried by the bodies or seen by five cameras. Nothing else in the row says where the
object is, except for the kind that reproduces the leak of the released code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.grasp.clouds.carried import Float32Array, body_points
from pkubench.envs.grasp.clouds.observation import (
    POINTS,
    VisionLayout,
    label_channels,
    label_of_geoms,
)
from pkubench.envs.grasp.clouds.scene_cloud import SceneCloud
from pkubench.envs.grasp.clouds.views import Viewer, is_kept
from pkubench.envs.grasp.items import Item
from pkubench.envs.grasp.observations import LIMIT
from pkubench.envs.grasp.settings import whole
from pkubench.errors import ConfigError, UnknownName

IntArray = npt.NDArray[np.int64]

STATE, CLOUD, VIEWS, OFFICIAL_LEAK = "state", "cloud", "views", "official-leak"
KINDS: Final = (STATE, CLOUD, VIEWS, OFFICIAL_LEAK)
"""What an environment shows: the state, with the object's pose; proprioception and points carried
by hand and object; proprioception and what five cameras see; the second and the leak."""
CARRIED: Final = (CLOUD, OFFICIAL_LEAK)
"""Those whose points are carried, so that they can be those of another object."""
_SEED: Final = 0


def points_of(kind: str, points: int | None) -> int:
    """Return how many points a kind of observation has; 0 for the state.

    Raises:
        UnknownName: there is no such kind.
        ConfigError: ``points`` is not a number from 2 to 65,536, or the kind has no points.
    """
    if kind not in KINDS:
        raise UnknownName("observation", str(kind), KINDS)
    if kind == STATE:
        if points is not None:
            raise ConfigError(
                f"points={points} has no effect with observation={STATE}: choose {CLOUD} or {VIEWS}"
            )
        return 0
    return POINTS if points is None else whole("points", points, 2, 65_536)


class Vision:
    """Makes the observations of a kind other than the state."""

    def __init__(
        self,
        kind: str,
        points: int,
        model: Any,
        parts: tuple[IntArray, IntArray, int],
        items: Sequence[Item],
        sizes: tuple[int, int],
    ) -> None:
        """Prepare clouds and cameras.

        Args:
            kind: One of ``KINDS`` but the state.
            points: Of a cloud.
            model: The ``mujoco.MjModel`` of the scene.
            parts: The geoms of the hand, those of the object, and the object's body.
            items: The objects.
            sizes: Numbers of proprioception, and joints of the hand.

        Raises:
            DataError: a geom of the hand has a shape that points are not drawn on.
        """
        hand, grasped, body = parts
        own, joints = sizes
        self.kind = kind
        self.layout = VisionLayout.of(own, points, 7 + joints if kind == OFFICIAL_LEAK else 0)
        self._cloud: SceneCloud | None = None
        if kind == VIEWS:
            self._viewer = Viewer()
            self._labels = label_of_geoms(model.ngeom, hand, grasped)
            rays = len(self._viewer.origins)
            # One order for all: what is seen then depends on the state alone.
            self._order = np.random.default_rng(_SEED).permutation(rays)
        else:
            on_hand = body_points(model, hand, points // 2, _SEED)
            self._cloud = SceneCloud(on_hand, body, items, points - points // 2)

    def prepare(self, objects: IntArray) -> None:
        """Sample what is shown of objects, by number, that were not shown before."""
        if self._cloud is not None:
            self._cloud.prepare(objects)

    def observe(
        self,
        proprioception: npt.ArrayLike,
        leak: npt.ArrayLike | None,
        batch: Any,
        bodies: tuple[npt.ArrayLike, npt.ArrayLike],
        objects: IntArray,
    ) -> Float32Array:
        """Return the observations, (num_envs, layout.size).

        Args:
            proprioception: (num_envs, n).
            leak: ``official_leak``, (num_envs, m), where the kind has it; else None.
            batch: The ``mujoco.batch.Batch`` that cameras look at.
            bodies: Positions (num_envs, bodies, 3) in m and quaternions (num_envs, bodies, 4).
            objects: Number of the object whose surface is shown, (num_envs,).
        """
        layout = self.layout
        found = np.empty((len(objects), layout.size), dtype=np.float32)
        found[:, layout.proprioception] = proprioception
        if leak is not None:
            found[:, layout.leak] = np.clip(leak, -LIMIT, LIMIT)
        cloud = layout.clouds(found)
        if self._cloud is None:
            self._see(batch, cloud)
        else:
            self._cloud.write(cloud, *bodies, objects)
            np.clip(cloud[..., :3], -LIMIT, LIMIT, out=cloud[..., :3])
        return found

    def _see(self, batch: Any, cloud: Float32Array) -> None:
        """Write what the cameras see; where they see too little, points are there several times."""
        view = self._viewer.of_batch(batch)
        labels = self._labels[view.geom]
        kept = is_kept(view)[:, self._order]
        count = kept.sum(axis=1, keepdims=True)
        # The places of the kept rays, in the order of rays, then the others.
        ranked = np.argsort(~kept, axis=1, kind="stable")
        wanted = np.arange(cloud.shape[1]) % np.maximum(count, 1)
        rays = self._order[np.take_along_axis(ranked, wanted, axis=1)]
        cloud[..., :3] = np.take_along_axis(view.points, rays[..., None], axis=1)
        cloud[..., 3:] = label_channels(np.take_along_axis(labels, rays, axis=1))
        cloud[count[:, 0] == 0] = 0.0
