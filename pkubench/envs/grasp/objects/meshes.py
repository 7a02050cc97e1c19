"""Objects from files: a user's own meshes, and the random blobs of the PyBullet wheel.

A mesh is cut into convex parts by CoACD (Wei et al. 2022), which is an extra
(``pip install 'pkubench[meshes]'``); the parts are kept in a cache, by the hash of the file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import mujoco
import numpy as np

from pkubench.envs.grasp.objects.model import MAX_PARTS, FloatArray, GraspObject, make_object
from pkubench.errors import DataError, MissingExtra, UnknownName

BLOBS: Final = 1000
"""How many objects the PyBullet wheel has."""
MAX_VERTICES: Final = 64
"""Of a part of a mesh that was cut."""
_COACD_SEED: Final = 0


def mesh_object(
    path: str | Path,
    *,
    max_parts: int = MAX_PARTS,
    threshold: float = 0.05,
    cache: Path | None = None,
) -> GraspObject:
    """Return the object of a mesh file (OBJ, STL), cut into convex parts.

    Args:
        path: The file; its stem becomes the object's name, ``mesh/STEM``.
        max_parts: How many parts, at most.
        threshold: Concavity at which a part is not cut further, in [0.01, 1]; lower is finer.
        cache: Folder that keeps the parts; by default ``pkubench/objects`` in the user's cache.

    Raises:
        DataError: the file cannot be read, or is not a mesh.
        MissingExtra: the parts are not in the cache, and CoACD is not installed.
    """
    source = Path(path)
    try:
        content = source.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the mesh {source}: {error.strerror or error}") from error
    settings = f"{max_parts} {threshold} {MAX_VERTICES} {_COACD_SEED}"
    key = hashlib.sha256(content + settings.encode()).hexdigest()
    kept = (cache_folder() if cache is None else cache) / f"{key}.npz"
    parts = _read_parts(kept)
    if parts is None:
        parts = _decompose(*_read_mesh(source), max_parts, threshold)
        _write_parts(kept, parts)
    return make_object(f"mesh/{source.stem}", parts, max_parts=max_parts)


def cache_folder() -> Path:
    """Return the folder in which convex parts of meshes are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "pkubench" / "objects"


def blob(number: int, folder: str | Path | None = None) -> GraspObject:
    """Return ``blob/NUMBER``, a random object of the PyBullet wheel, which has 1,000.

    They are unlike everything in the families: a test outside the distribution. The wheel is read,
    and not imported; its meshes are convex parts already, mostly 2 to 11.

    Args:
        number: 0 to 999.
        folder: With ``000/000.obj`` and so on; by default that of the installed wheel.

    Raises:
        UnknownName: there is no such number.
        DataError: PyBullet is not installed, the file is damaged, or the object has more than
            ``MAX_PARTS`` parts.
    """
    if not 0 <= number < BLOBS:
        raise UnknownName("blob", str(number), (), f"they are numbered 0 to {BLOBS - 1}")
    name = f"{number:03d}"
    file = (_blob_folder() if folder is None else Path(folder)) / name / f"{name}.obj"
    try:
        text = file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the blob {file}: {error}") from error
    return make_object(f"blob/{number:04d}", _groups(text, file))


def blobs(folder: str | Path | None = None) -> tuple[GraspObject, ...]:
    """Return all blobs of at most ``MAX_PARTS`` convex parts; the others are left out.

    Raises:
        DataError: PyBullet is not installed.
    """
    place = _blob_folder() if folder is None else Path(folder)
    found = []
    for number in range(BLOBS):
        try:
            found.append(blob(number, place))
        except DataError:
            if not (place / f"{number:03d}").is_dir():
                raise
    return tuple(found)


def _blob_folder() -> Path:
    found = importlib.util.find_spec("pybullet_data")
    if found is None or found.origin is None:
        raise DataError("the blobs are in the PyBullet wheel: pip install pybullet")
    return Path(found.origin).parent / "random_urdfs"


def _groups(text: str, file: Path) -> list[FloatArray]:
    """Vertices of each object (``o`` line) of an OBJ file."""
    groups: list[list[list[float]]] = [[]]
    try:
        for line in text.splitlines():
            if line.startswith("o "):
                groups.append([])
            elif line.startswith("v "):
                groups[-1].append([float(word) for word in line.split()[1:4]])
        return [np.array(group) for group in groups if group]
    except ValueError as error:
        raise DataError(f"{file} is damaged: {error}") from error


def _read_mesh(path: Path) -> tuple[FloatArray, Any]:
    """Vertices and triangles of a file, in its own frame; read by MuJoCo."""
    spec = mujoco.MjSpec()
    mesh = spec.add_mesh(name="mesh", file=str(path.resolve()))
    # Taken from the hull, inertia exists for meshes with holes too.
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX
    try:
        model = spec.compile()
    except ValueError as error:
        raise DataError(f"{path} is not a mesh: {str(error).splitlines()[0]}") from error
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, model.mesh_quat[0])
    vertices = model.mesh_vert.astype(np.float64) @ turn.reshape(3, 3).T + model.mesh_pos[0]
    return vertices, model.mesh_face.copy()


def _decompose(
    vertices: FloatArray, faces: Any, max_parts: int, threshold: float
) -> list[FloatArray]:
    try:
        import coacd
    except ModuleNotFoundError as error:
        raise MissingExtra("meshes", "cutting a mesh into convex parts") from error
    coacd.set_log_level("error")
    found = coacd.run_coacd(
        coacd.Mesh(vertices, faces),
        threshold=threshold,
        max_convex_hull=max_parts,
        decimate=True,
        max_ch_vertex=MAX_VERTICES,
        seed=_COACD_SEED,
    )
    return [np.array(points, dtype=np.float64) for points, _ in found]


def _read_parts(path: Path) -> list[FloatArray] | None:
    """Return the parts of a cached file; None if there is none, or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            points, counts = file["points"], file["counts"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    if points.ndim != 2 or points.shape[1] != 3 or counts.sum() != len(points):
        return None
    return np.split(points.astype(np.float64), np.cumsum(counts)[:-1])


def _write_parts(path: Path, parts: list[FloatArray]) -> None:
    """Keep parts for the next time; a cache that cannot be written is none."""
    content = io.BytesIO()
    np.savez(content, points=np.concatenate(parts), counts=[len(part) for part in parts])
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content.getvalue())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
