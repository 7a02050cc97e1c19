"""Pictures of grids: MiniGrid's tiles, to the pixel."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.minigrid import cells, view
from pkubench.envs.minigrid.engines import Scene

Picture = npt.NDArray[np.uint8]
_Bools = npt.NDArray[np.bool_]

TILE: Final = 32
_FINE: Final = 3
"""Each pixel is the mean of so many in both directions."""
_RGB: Final = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (112, 39, 195),
    (255, 255, 0),
    (100, 100, 100),
)
_BLACK: Final = (0, 0, 0)
_LIGHTER: Final = 0.30
"""How much of white is mixed into what the agent sees."""


class _Canvas:
    """One tile, painted in coordinates from 0 to 1."""

    def __init__(self) -> None:
        side = TILE * _FINE
        self.pixels: Picture = np.zeros((side, side, 3), dtype=np.uint8)
        places = (np.arange(side) + 0.5) / side
        self.x, self.y = places[None, :], places[:, None]

    def fill(self, where: _Bools, color: Sequence[float] | npt.NDArray[np.float64]) -> None:
        """Paint the points of a mask."""
        self.pixels[np.broadcast_to(where, self.pixels.shape[:2])] = np.asarray(color).astype(
            np.uint8
        )

    def rectangle(
        self,
        left: float,
        right: float,
        top: float,
        bottom: float,
        color: Sequence[float] | npt.NDArray[np.float64],
    ) -> None:
        """Paint a rectangle."""
        inside = (self.x >= left) & (self.x <= right) & (self.y >= top) & (self.y <= bottom)
        self.fill(inside, color)

    def disc(self, x: float, y: float, radius: float, color: Sequence[float]) -> None:
        """Paint a disc."""
        dx, dy = self.x - x, self.y - y
        self.fill(dx * dx + dy * dy <= radius * radius, color)

    def line(self, x0: float, y0: float, x1: float, y1: float, radius: float) -> None:
        """Paint a black line, rounded at its ends within its bounding box."""
        start = np.array([x0, y0], dtype=np.float32)
        along = np.array([x1, y1], dtype=np.float32) - start
        length = np.linalg.norm(along)
        along = along / length
        points = np.stack(np.broadcast_arrays(self.x, self.y), axis=-1)
        reach = np.clip((points - start) @ along, 0, length)
        nearest = start + reach[..., None] * along
        near = np.linalg.norm(points - nearest, axis=-1) <= radius
        near &= (self.x >= min(x0, x1) - radius) & (self.x <= max(x0, x1) + radius)
        near &= (self.y >= min(y0, y1) - radius) & (self.y <= max(y0, y1) + radius)
        self.fill(near, _BLACK)

    def agent(self, direction: int) -> None:
        """Paint the agent: a red triangle that points ahead."""
        angle = 0.5 * np.pi * direction
        x, y = self.x - 0.5, self.y - 0.5
        turned_x = 0.5 + x * np.cos(-angle) - y * np.sin(-angle)
        turned_y = 0.5 + y * np.cos(-angle) + x * np.sin(-angle)
        corners = [
            np.array(corner, dtype=np.float32)
            for corner in ((0.12, 0.19), (0.87, 0.50), (0.12, 0.81))
        ]
        v0, v1 = corners[2] - corners[0], corners[1] - corners[0]
        v2 = np.stack(np.broadcast_arrays(turned_x, turned_y), axis=-1) - corners[0]
        dot00, dot01, dot11 = np.dot(v0, v0), np.dot(v0, v1), np.dot(v1, v1)
        dot02, dot12 = v2 @ v0, v2 @ v1
        scale = 1 / (dot00 * dot11 - dot01 * dot01)
        u, v = (dot11 * dot02 - dot01 * dot12) * scale, (dot00 * dot12 - dot01 * dot02) * scale
        self.fill((u >= 0) & (v >= 0) & (u + v < 1), _RGB[0])


@functools.cache
def tile(code: int, direction: int | None, is_seen: bool) -> Picture:
    """Return the picture of a cell, (32, 32, 3) uint8.

    Args:
        code: of the cell.
        direction: of the agent on it, None if it is elsewhere.
        is_seen: whether the agent sees it.
    """
    canvas = _Canvas()
    canvas.rectangle(0, 0.031, 0, 1, _RGB[5])
    canvas.rectangle(0, 1, 0, 0.031, _RGB[5])
    _paint_object(canvas, cells.CELLS[code])
    if direction is not None:
        canvas.agent(direction)
    pixels = canvas.pixels
    if is_seen:
        lighter = pixels + _LIGHTER * (np.full(3, 255, dtype=np.uint8) - pixels)
        pixels = lighter.clip(0, 255).astype(np.uint8)
    fine = pixels.reshape(TILE, _FINE, TILE, _FINE, 3)
    picture: Picture = fine.mean(axis=3).mean(axis=1).astype(np.uint8)
    picture.setflags(write=False)
    return picture


def _paint_object(canvas: _Canvas, cell: cells.Cell) -> None:
    color = _RGB[cell.color]
    if cell.kind in ("wall", "goal"):
        canvas.rectangle(0, 1, 0, 1, color)
    elif cell.kind == "lava":
        canvas.rectangle(0, 1, 0, 1, (255, 128, 0))
        for wave in range(3):
            low, high = 0.3 + 0.2 * wave, 0.4 + 0.2 * wave
            for left, (start, end) in enumerate(((low, high), (high, low)) * 2):
                x = (0.1, 0.3, 0.5, 0.7, 0.9)
                canvas.line(x[left], start, x[left + 1], end, 0.03)
    elif cell.kind == "key":
        canvas.rectangle(0.50, 0.63, 0.31, 0.88, color)
        canvas.rectangle(0.38, 0.50, 0.59, 0.66, color)
        canvas.rectangle(0.38, 0.50, 0.81, 0.88, color)
        canvas.disc(0.56, 0.28, 0.190, color)
        canvas.disc(0.56, 0.28, 0.064, _BLACK)
    elif cell.kind == "ball":
        canvas.disc(0.5, 0.5, 0.31, color)
    elif cell.kind == "door":
        _paint_door(canvas, cell)


def _paint_door(canvas: _Canvas, cell: cells.Cell) -> None:
    color = _RGB[cell.color]
    if cell.state == 0:
        canvas.rectangle(0.88, 1.00, 0.00, 1.00, color)
        canvas.rectangle(0.92, 0.96, 0.04, 0.96, _BLACK)
        return
    canvas.rectangle(0.00, 1.00, 0.00, 1.00, color)
    if cell.state == 2:
        canvas.rectangle(0.06, 0.94, 0.06, 0.94, 0.45 * np.array(color))
        canvas.rectangle(0.52, 0.75, 0.50, 0.56, color)
        return
    canvas.rectangle(0.04, 0.96, 0.04, 0.96, _BLACK)
    canvas.rectangle(0.08, 0.92, 0.08, 0.92, color)
    canvas.rectangle(0.12, 0.88, 0.12, 0.88, _BLACK)
    canvas.disc(0.75, 0.50, 0.08, color)


def draw_scene(scene: Scene, border: int) -> Picture:
    """Return the picture of a whole grid, with what the agent sees lighter: (32 h, 32 w, 3)."""
    height, width = scene.grid.shape
    seen = _seen(scene, border)
    rows = []
    for y in range(height):
        tiles = []
        for x in range(width):
            is_here = (x, y) == (scene.x, scene.y)
            direction = scene.direction if is_here else None
            tiles.append(tile(int(scene.grid[y, x]), direction, bool(seen[y, x])))
        rows.append(np.concatenate(tiles, axis=1))
    return np.concatenate(rows, axis=0)


def _seen(scene: Scene, border: int) -> _Bools:
    """Return which cells of the grid the agent sees, (height, width)."""
    height, width = scene.grid.shape
    pad = view.PADDING
    padded = view.padded(scene.grid, border)
    wide = padded.shape[1]
    agent = (scene.y + pad) * wide + scene.x + pad
    places = agent + view.offsets(wide)[scene.direction]
    views = np.maximum(padded.reshape(-1)[places][None], cells.EMPTY)
    view.shade(views, np.full(1, scene.carried, dtype=np.uint8))
    is_seen = np.zeros(padded.size, dtype=np.bool_)
    is_seen[places] = views[0] != cells.UNSEEN
    return is_seen.reshape(padded.shape)[pad : pad + height, pad : pad + width]
