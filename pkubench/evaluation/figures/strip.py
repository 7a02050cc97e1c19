"""A strip of credit under the frames of a film: one row an agent, one column a step."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pkubench.agents.contract import FloatArray
from pkubench.envs.core.recording import Recording
from pkubench.errors import MissingExtra

Picture = npt.NDArray[np.uint8]

_PAPER: Final = (255, 255, 255)
_INK: Final = (34, 34, 34)
_AHEAD: Final = np.uint8(228)
"""Steps that are not played yet."""
_NEGATIVE: Final = np.array([178.0, 24.0, 43.0])
_NEUTRAL: Final = np.array([247.0, 247.0, 247.0])
_POSITIVE: Final = np.array([33.0, 102.0, 172.0])
_ROW, _LINE, _EDGE = 22, 18, 6
"""Heights of an agent's row and of a line of text, and the margin, in pixels."""
_TEXT: Final = 13
_LETTER: Final = 8
"""Width of a letter at most."""


def coloured(shares: FloatArray, limit: float) -> Picture:
    """Return numbers as colours, (..., 3): from red at -limit over white at 0 to blue at limit."""
    share = (shares / limit)[..., None]
    ends = np.where(share < 0.0, _NEGATIVE, _POSITIVE)
    found: Picture = np.rint(_NEUTRAL + np.abs(share) * (ends - _NEUTRAL)).astype(np.uint8)
    return found


class CreditStrip:
    """The credit of one episode, drawn up to any of its steps."""

    def __init__(self, recording: Recording, shares: FloatArray) -> None:
        """Take the first episode of a recording and its credit (T, N, agents)."""
        self.length = int(recording.lengths[0])
        self.agents = recording.agents
        self.shares = shares[: self.length, 0].T
        self.events = {name: of[: self.length, 0] for name, of in recording.events.items()}
        self.total = float(recording.returns[0])
        self.limit = float(np.abs(self.shares).max()) or 1.0
        """The credit of saturated colours."""
        self._colours = coloured(self.shares, self.limit)
        self._words_width = _EDGE + _LETTER * max(map(len, self.agents)) + _EDGE

    def under(self, frame: Picture, step: int) -> Picture:
        """Return a frame with the strip below it, after ``step`` steps (0 at the start).

        Raises:
            MissingExtra: Pillow is not installed.
        """
        return np.concatenate([frame, self._drawn(frame.shape[1], step)])

    def _drawn(self, width: int, step: int) -> Picture:
        try:
            from PIL import Image, ImageDraw
        except ModuleNotFoundError as error:
            raise MissingExtra("plots", "drawing credit") from error
        rows = _ROW * len(self.agents)
        image = Image.new("RGB", (width, _EDGE + 2 * _LINE + rows + _EDGE), _PAPER)
        left, top = self._words_width, _EDGE + _LINE
        cells = np.where(np.arange(self.length)[:, None] < step, self._colours, _AHEAD)
        wide = max(width - left - _EDGE, 1)
        image.paste(
            Image.fromarray(cells).resize((wide, rows), Image.Resampling.NEAREST), (left, top)
        )
        pen = ImageDraw.Draw(image)
        self._write(pen, step, top, rows)
        for row in range(1, len(self.agents)):
            y = top + row * _ROW
            pen.line((left, y, left + wide - 1, y), fill=_PAPER)
        if step:
            edges = [left + round(k * wide / self.length) for k in (step - 1, step)]
            box = (edges[0] - 1, top - 1, max(edges[1], edges[0] + 2), top + rows)
            pen.rectangle(box, outline=_INK, width=2)
        return np.asarray(image, dtype=np.uint8)

    def _write(self, pen: Any, step: int, top: int, rows: int) -> None:
        """Write the agents' names, what the step is credited with, and what happened in it."""
        so_far = float(self.shares[:, :step].sum())
        head = f"credit so far {so_far:.2f}, return {self.total:.4g}"
        _put(pen, (_EDGE, _EDGE + _LINE / 2), f"step {step} of {self.length}: {head}")
        for row, agent in enumerate(self.agents):
            _put(pen, (_EDGE, top + (row + 0.5) * _ROW), agent)
        below = (_EDGE, top + rows + _LINE / 2 + 1)
        happened = [
            f"{agent} {name}"
            for name, of in self.events.items()
            for agent, is_so in zip(self.agents, of[step - 1], strict=True)
            if step and is_so
        ]
        scale = f"credit from {-self.limit:.2g} (red) to {self.limit:.2g} (blue)"
        _put(pen, below, "; ".join(happened) or scale)


def _put(pen: Any, place: tuple[float, float], text: str) -> None:
    pen.text(place, text, fill=_INK, anchor="lm", font_size=_TEXT)
