"""The picture of all families of objects in docs/concepts/grasp-objects.md, cast from the objects.

``python -m docs.object_pictures`` writes it into ``docs/assets/grasp``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from PIL import Image, ImageDraw

from pkubench.envs.grasp.clouds.views import Camera, Viewer
from pkubench.envs.grasp.objects.families import FAMILIES, Family
from pkubench.envs.grasp.objects.model import GraspObject

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "assets" / "grasp"
SIDE, COLUMNS, SMOOTHING = 92, 10, 2
"""Pixels of a picture, pictures in a row, rays along each side of a pixel."""
LABEL = 14
LIGHT = np.array([0.25, -0.45, 0.86])
SEEN, UNSEEN = (0.36, 0.56, 0.72), (0.85, 0.52, 0.30)
"""Colors of families that are trained on, and of those that are not."""


def scene(shown: GraspObject) -> tuple[Any, Any]:
    """Return a MuJoCo model and its data with one object, as it is given."""
    spec = mujoco.MjSpec()
    for number, part in enumerate(shown.parts):
        spec.add_mesh(
            name=f"part {number}", uservert=part.vertices.ravel(), userface=part.faces.ravel()
        )
        kind = mujoco.mjtGeom.mjGEOM_MESH
        spec.worldbody.add_geom(type=kind, meshname=f"part {number}")
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def picture(shown: GraspObject, color: tuple[float, float, float]) -> Image.Image:
    """Return an object as a camera sees it that stands in front and a little above."""
    side = SIDE * SMOOTHING
    middle = (shown.vertices.max(axis=0) + shown.vertices.min(axis=0)) / 2
    camera = Camera((1.9, -2.6, 1.75), (0.0, 0.0, 0.0), 31.0)
    view = Viewer((camera,), side, center=tuple(middle.tolist())).of_data(*scene(shown))
    light = LIGHT / np.linalg.norm(LIGHT)
    shade = 0.55 + 0.45 * (view.normals[0] @ light).clip(-0.6, 1.0)
    pixels = np.ones((side * side, 3))
    is_hit = view.geom[0] >= 0
    pixels[is_hit] = shade[is_hit, None] * np.array(color)
    image = Image.fromarray((255 * pixels.clip(0, 1)).astype(np.uint8).reshape(side, side, 3))
    return image.resize((SIDE, SIDE), Image.Resampling.BOX)


def sheet(families: list[Family]) -> Image.Image:
    """Return one object of each family, with its name below."""
    rows = -(-len(families) // COLUMNS)
    found = Image.new("RGB", (COLUMNS * SIDE, rows * (SIDE + LABEL)), "white")
    pen = ImageDraw.Draw(found)
    for number, family in enumerate(families):
        x, y = number % COLUMNS * SIDE, number // COLUMNS * (SIDE + LABEL)
        color = UNSEEN if family.is_unseen else SEEN
        found.paste(picture(family.make(0), color), (x, y))
        words = family.name.replace("_", " ")
        pen.text((x + SIDE / 2 - pen.textlength(words) / 2, y + SIDE - 2), words, fill="black")
    return found


def write() -> list[Path]:
    """Write the pictures; return their files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    files = []
    for name, is_unseen in (("families", False), ("unseen-families", True)):
        families = [family for family in FAMILIES.values() if family.is_unseen == is_unseen]
        image = sheet(families).quantize(64)
        image.save(FOLDER / f"{name}.png", optimize=True)
        files.append(FOLDER / f"{name}.png")
    return files


if __name__ == "__main__":
    for file in write():
        print(file.relative_to(Path.cwd()))
