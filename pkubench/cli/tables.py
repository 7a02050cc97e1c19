"""Tables that fit the terminal: cells are folded, then columns dropped; the last resort is a list.

Essential columns (the name of a metric, its interval, n) have rank 0 and are always shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich import box
from rich.cells import cell_len, chop_cells
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

GAP = 3
"""Cells between two columns of a table."""
PROSE_WIDTH, NAME_WIDTH = 30, 20
"""Prose and names are folded to so many cells before any column is dropped, ..."""
MIN_PROSE, MIN_NAME, MAX_PART = 16, 8, 10
"""... and to so many to keep the columns that must stay; parts of a name up to MAX_PART cells are
not broken for it."""
_WORDS = re.compile(r"\s*(?:to\s+)?\S+")
"""Where prose and numbers may be folded; an interval before its "to", as in ``-1.5|to 2.5``."""
_PARTS = re.compile(r"\s*(?:[A-Z]*[^\sA-Z_./:@,-]+[_./:@,-]*|[A-Z]+[_./:@,-]*|[_./:@,-]+)")
"""Where a name may be folded: ``Half|Cheetah|Velocity-|v0``, ``onnx:|runs/|policy.|onnx``."""


class Column(NamedTuple):
    """One column of a table."""

    title: str
    right: bool = False
    """Numbers are aligned right, and folded between words only."""
    rank: int = 0
    """In a narrow terminal, columns of the highest rank are dropped first; rank 0 never is."""
    style: str = ""
    wraps: bool = False
    """Prose, folded between words; a column that is neither this nor a number holds names."""

    @property
    def parts(self) -> re.Pattern[str]:
        """Pattern of the parts of a cell that are not broken over lines."""
        return _WORDS if self.right or self.wraps else _PARTS

    def widths(self, cells: Sequence[str]) -> tuple[int, int, int]:
        """Return three widths: unfolded, folded before other columns are dropped, and minimal."""
        lines = [line for cell in cells for line in cell.split("\n")]
        full = max(map(cell_len, [self.title, *lines]))
        title = max(map(cell_len, self.title.split()), default=1)
        part, word = (
            max(
                (cell_len(found.strip()) for line in lines for found in parts.findall(line)),
                default=0,
            )
            for parts in (self.parts, _WORDS)
        )
        if self.right:
            return full, full, max(title, word)
        if self.wraps:
            return full, min(full, max(title, PROSE_WIDTH)), max(title, min(word, MIN_PROSE))
        least = min(word, max(MIN_NAME, min(part, MAX_PART)))
        return full, min(full, max(title, NAME_WIDTH)), max(title, least)


def fitted(
    title: str, columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int
) -> RenderableType:
    """Return a table of at most ``width`` cells.

    Tried in this order: no change; names and prose folded; columns of a rank above 0 dropped; the
    remaining ones folded further, with smaller gaps; each row as a list of all its values.
    """
    cells = [[row[i].plain for row in rows] for i in range(len(columns))]
    sizes = [column.widths(cells[i]) for i, column in enumerate(columns)]
    kept = list(range(len(columns)))
    while sum(sizes[i][1] + GAP for i in kept) - GAP > width:
        worst = max(kept, key=lambda i: (columns[i].rank, i))
        if columns[worst].rank == 0:
            break
        kept.remove(worst)
    for gap in (GAP, GAP - 1):
        available = width - gap * (len(kept) - 1)
        widths = _shrunk([sizes[i] for i in kept], available)
        if sum(widths) <= available:
            break
    else:
        return _list(title, columns, rows, width)
    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, gap - 2),
        show_edge=False,
        header_style="dim",
    )
    for i, size in zip(kept, widths, strict=True):
        column = columns[i]
        table.add_column(
            _folded(column.title, size, _WORDS),
            justify="right" if column.right else "left",
            style=column.style or None,
            no_wrap=True,
        )
    for row in rows:
        table.add_row(
            *(
                Text(_folded(row[i].plain, size, columns[i].parts), style=row[i].style)
                for i, size in zip(kept, widths, strict=True)
            )
        )
    return table


def _shrunk(sizes: Sequence[tuple[int, int, int]], width: int) -> list[int]:
    """Return the widths of columns that fit in ``width``, or their minimal widths if none do.

    The widest is made narrower first: prose and names down to their folded width, then all.
    """
    widths = [full for full, _, _ in sizes]
    for bounds in ([soft for _, soft, _ in sizes], [least for _, _, least in sizes]):
        while sum(widths) > width:
            wide = [i for i in range(len(widths)) if widths[i] > bounds[i]]
            if not wide:
                break
            widths[max(wide, key=lambda i: widths[i] - bounds[i])] -= 1
    return widths


def _folded(text: str, width: int, parts: re.Pattern[str]) -> str:
    """Return a text in lines of at most ``width`` cells, broken between parts where it can be."""
    return "\n".join(line for given in text.split("\n") for line in _lines(given, width, parts))


def _lines(text: str, width: int, parts: re.Pattern[str]) -> Iterator[str]:
    if cell_len(text) <= width:
        yield text
        return
    line = ""
    for part in parts.findall(text):
        if cell_len(line + part) <= width:
            line += part
            continue
        if line:
            yield line
        *whole, line = chop_cells(part.lstrip(), width)
        yield from whole
    yield line


def _list(
    title: str, columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int
) -> RenderableType:
    """Return each row as its first cell and, below it, the others with the names of theirs."""
    lines: list[Text] = [Text(title, style="bold")] if title else []
    head = ""
    for row in rows:
        head = row[0].plain or head  # a name is printed only once per table
        lines.append(Text(head, style=columns[0].style, overflow="fold"))
        pairs = [
            Text.assemble((f"{column.title} " if column.title else "", "dim"), cell)
            for column, cell in zip(columns[1:], row[1:], strict=True)
            if cell.plain
        ]
        line = Text("  ")
        for pair in pairs:
            if len(line) > 2 and line.cell_len + GAP + pair.cell_len > width:
                lines.append(line)
                line = Text("  ")
            line = Text.assemble(line, " " * GAP if len(line) > 2 else "", pair, overflow="fold")
        lines.append(line)
    return Group(*lines)
