"""What cameras see of a scene: points where rays first meet a surface, without a renderer.

The five cameras are those of UniDexGrasp++ (Wan et al. 2023): one above the table and one on each
side, all looking at a point 5 cm above its center. Rays are MuJoCo's, so that a view is the same
with and without a graphics driver.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import mujoco
import numpy as np
import numpy.typing as npt

from pkubench.envs.grasp.clouds.carried import Float32Array, FloatArray
from pkubench.errors import ConfigError

IntArray = npt.NDArray[np.int32]

DEPTH_LIMIT_M: Final = 1.2
"""Points farther from their camera are dropped."""
CROP_M: Final = ((-1.0, 1.0), (-1.0, 1.0), (0.01, 0.7))
"""x, y and z of the points that are kept, above the center of the table's top. z leaves the top
itself out."""
FOV_DEG: Final = 60.0


@dataclass(frozen=True, slots=True)
class Camera:
    """A square pinhole camera."""

    position: tuple[float, float, float]
    """Meters, from the center of the table's top."""
    target: tuple[float, float, float] = (0.0, 0.0, 0.05)
    """The point in the middle of its picture."""
    fov_deg: float = FOV_DEG
    """Angle between the left and the right edge of the picture."""


CAMERAS: Final = (
    Camera((0.0, 0.0, 0.55)),
    Camera((0.5, 0.0, 0.05)),
    Camera((-0.5, 0.0, 0.05)),
    Camera((0.0, 0.5, 0.05)),
    Camera((0.0, -0.5, 0.05)),
)


@dataclass(frozen=True, eq=False)
class View:
    """Where the rays of all cameras end, in N environments."""

    points: Float32Array
    """(N, R, 3), meters, in the world's frame; the camera's own place for a ray that meets
    nothing."""
    geom: IntArray
    """(N, R): number of the geom in the model, -1 for nothing."""
    normals: Float32Array
    """(N, R, 3): of the surface there, toward the outside of the geom."""
    distance: Float32Array
    """(N, R), meters from the camera; -1 for nothing."""


def camera_rays(camera: Camera, side: int) -> FloatArray:
    """Return the unit directions of a camera's pixels, (side^2, 3), row by row from above.

    Raises:
        ConfigError: ``side`` is not positive, or the camera stands on its target.
    """
    if side < 1:
        raise ConfigError(f"a picture has 1 pixel a side or more, not {side}")
    forward = np.array(camera.target) - np.array(camera.position)
    size = np.linalg.norm(forward)
    if size == 0.0:
        raise ConfigError(f"the camera at {camera.position} looks at its own place")
    forward /= size
    up = np.array([0.0, 0.0, 1.0]) if abs(forward[2]) < 0.99 else np.array([0.0, 1.0, 0.0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    place = np.tan(np.radians(camera.fov_deg) / 2) * (2 * (np.arange(side) + 0.5) / side - 1)
    across, above = np.meshgrid(place, -place)
    rays = forward + across.reshape(-1, 1) * right + above.reshape(-1, 1) * up
    unit: FloatArray = rays / np.linalg.norm(rays, axis=1)[:, None]
    return unit


class Viewer:
    """The rays of some cameras, and what they meet."""

    def __init__(
        self,
        cameras: tuple[Camera, ...] = CAMERAS,
        side: int = 32,
        center: tuple[float, float, float] = (0.0, 0.0, 0.6),
        groups: tuple[int, ...] | None = None,
    ) -> None:
        """Prepare the rays.

        Args:
            cameras: The cameras.
            side: Pixels a side of each picture.
            center: The center of the table's top in the world, meters.
            groups: Geom groups that are seen; None: all.

        Raises:
            ConfigError: ``side`` is not positive.
        """
        self.directions = np.concatenate([camera_rays(camera, side) for camera in cameras])
        places = np.array([camera.position for camera in cameras]) + np.array(center)
        self.origins: FloatArray = np.repeat(places, side * side, axis=0)
        self._groups = None
        if groups is not None:
            self._groups = np.zeros(mujoco.mjNGROUP, dtype=np.uint8)
            self._groups[list(groups)] = 1

    def of_batch(self, batch: Any, ids: npt.ArrayLike | None = None) -> View:
        """Return what is seen in the simulations of a ``mujoco.batch.Batch``, or in some."""
        distance, geom, normals = batch.ray(
            self.origins, self.directions, geomgroup=self._groups, ids=ids, normal=True
        )
        return self._view(distance, geom, normals)

    def of_data(self, model: Any, data: Any) -> View:
        """Return what is seen in one simulation whose positions are computed (N = 1).

        Raises:
            ConfigError: The model is of a ``GraspBatch``. ``mj_multiRay`` sorts rays by bounding
                volumes of bodies, which were compiled for other shapes than a slot holds now.
        """
        if model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_MIDPHASE:
            raise ConfigError("the objects of this model are in slots; view it with of_batch")
        rays = len(self.origins)
        distance, geom = np.empty(rays), np.empty(rays, dtype=np.int32)
        normals = np.empty((rays, 3))
        # mj_multiRay takes one origin: rays of one camera at a time.
        starts = np.flatnonzero(np.any(np.diff(self.origins, axis=0) != 0, axis=1)) + 1
        for part in np.split(np.arange(rays), starts):
            found, place, normal = (
                np.empty(len(part)),
                np.empty(len(part), np.int32),
                np.empty(3 * len(part)),
            )
            mujoco.mj_multiRay(
                *(model, data, self.origins[part[0]], self.directions[part].ravel()),
                *(self._groups, 1, -1, place, found, normal, len(part), mujoco.mjMAXVAL),
            )
            distance[part], geom[part], normals[part] = found, place, normal.reshape(-1, 3)
        return self._view(distance[None], geom[None], normals[None])

    def _view(self, distance: FloatArray, geom: IntArray, normals: FloatArray) -> View:
        ends = self.origins + np.maximum(distance, 0.0)[..., None] * self.directions
        return View(
            ends.astype(np.float32),
            geom,
            normals.astype(np.float32),
            distance.astype(np.float32),
        )


def is_kept(
    view: View, center: tuple[float, float, float] = (0.0, 0.0, 0.6)
) -> npt.NDArray[np.bool_]:
    """Return which points of a view are part of the cloud, (N, R).

    Those that met something within ``DEPTH_LIMIT_M``, above the table's top and within ``CROP_M``.
    """
    above = view.points - np.array(center, dtype=np.float32)
    kept = (view.geom >= 0) & (view.distance < DEPTH_LIMIT_M)
    for axis, (low, high) in enumerate(CROP_M):
        kept &= (above[..., axis] > low) & (above[..., axis] < high)
    return kept
