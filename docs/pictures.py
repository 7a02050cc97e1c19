"""Line drawings as SVG, in the color of the text around them: boxes, lines of text, arrows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

CODE = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"
CODE_GLYPH, GLYPH = 0.62, 0.55
"""Width of a monospaced glyph, and a generous one of proportional glyphs, in font sizes."""

Rectangle = tuple[float, float, float, float]
"""x, y, width, height."""


class PictureError(Exception):
    """Two things overlap, or one leaves the picture."""


class Picture:
    """A drawing ``width`` units wide; units are pixels where there is room for all of them."""

    def __init__(self, name: str, width: int, label: str) -> None:
        """Begin an empty drawing; ``label`` says to screen readers what it shows."""
        self.name, self.width, self.label = name, width, label
        self.boxes: list[Rectangle] = []
        self.texts: list[Rectangle] = []
        """What each line of text takes at most."""
        self._parts: list[str] = []

    def box(self, x: float, y: float, width: float, height: float, *, dashed: bool = False) -> None:
        """Draw a rectangle."""
        self.boxes.append((x, y, width, height))
        dash = ' stroke-dasharray="4 4"' if dashed else ""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8"{dash}/>'
        )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 13,
        bold: bool = False,
        code: bool = False,
        centered: bool = False,
        faint: bool = False,
    ) -> None:
        """Write one line; ``y`` is its base line."""
        taken = text_width(words, size, code=code)
        left = x - taken / 2 if centered else x
        self.texts.append((left, y - size, taken, size * 1.25))
        style = f' font-family="{CODE}"' if code else ""
        style += ' font-weight="bold"' if bold else ""
        style += ' text-anchor="middle"' if centered else ""
        style += ' opacity="0.75"' if faint else ""
        self._parts.append(
            f'<text class="ink" x="{x:g}" y="{y:g}" font-size="{size:g}"{style}>'
            f"{escape(words)}</text>"
        )

    def arrow(self, *points: tuple[float, float], dashed: bool = False, head: bool = True) -> None:
        """Draw a line through points, with a head at the last one."""
        path = " L".join(f"{x:g} {y:g}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        tip = ' marker-end="url(#tip-' + self.name + ')"' if head else ""
        self._parts.append(f'<path d="M{path}"{dash}{tip}/>')

    def svg(self, height: float) -> str:
        """Return the drawing, ``height`` units high, to be put into a page.

        Raises:
            PictureError: boxes or lines of text overlap, or leave the picture.
        """
        for kind in (self.boxes, self.texts):
            for x, y, width, tall in kind:
                if x < 0 or y < 0 or x + width > self.width or y + tall > height:
                    raise PictureError(f"{self.name}: {(x, y, width, tall)} leaves the picture")
            if clashes := overlaps(kind):
                raise PictureError(f"{self.name}: these overlap: {clashes}")
        top = (
            f'<svg class="drawing" viewBox="0 0 {self.width} {height:g}" role="img" '
            f'aria-label="{escape(self.label)}" xmlns="http://www.w3.org/2000/svg" '
            'fill="none" stroke="currentColor" stroke-width="1.5">'
        )
        style = "<style>svg.drawing .ink { fill: currentColor; stroke: none; }</style>"
        tip = (
            f'<defs><marker id="tip-{self.name}" viewBox="0 0 10 10" refX="9" refY="5" '
            'markerWidth="8" markerHeight="8" orient="auto">'
            '<path class="ink" d="M0 0 L10 5 L0 10 z"/></marker></defs>'
        )
        return "\n".join([top, style, tip, *self._parts, "</svg>"]) + "\n"


def text_width(words: str, size: float, *, code: bool = False) -> float:
    """Return how wide a line of text is at most."""
    return len(words) * size * (CODE_GLYPH if code else GLYPH)


def overlaps(rectangles: Sequence[Rectangle]) -> list[tuple[int, int]]:
    """Return the pairs, by number, of rectangles that cover some place both."""
    found = []
    for i, (x, y, width, height) in enumerate(rectangles):
        for j, (other_x, other_y, other_width, other_height) in enumerate(rectangles[:i]):
            is_beside = x >= other_x + other_width or other_x >= x + width
            is_below = y >= other_y + other_height or other_y >= y + height
            if not is_beside and not is_below:
                found.append((j, i))
    return found
