"""Docstrings of environments as Markdown: examples become code, and split table rows one row."""

from __future__ import annotations

import re
from collections.abc import Iterator

_RULE = re.compile(r"\|[\s:|-]+\|")


def as_markdown(docstring: str) -> str:
    """Return a cleaned docstring (``inspect.getdoc``) as the Markdown of a page."""
    return "\n".join(_without_continuations(_with_code(docstring.splitlines())))


def _with_code(lines: list[str]) -> Iterator[str]:
    """Put fences around interactive examples, which Markdown takes for nested quotations."""
    is_code = False
    for line in lines:
        if line.startswith(">>> ") and not is_code:
            yield "```pycon"
            is_code = True
        elif not line.strip() and is_code:
            yield "```"
            is_code = False
        yield line
    if is_code:
        yield "```"


def _without_continuations(lines: Iterator[str]) -> Iterator[str]:
    """Join the rows of a table that continue the cells above: their first cell is empty."""
    row: list[str] | None = None
    for line in lines:
        is_row = line.startswith("|") and line.endswith("|") and len(line) > 1
        cells = [cell.strip() for cell in line[1:-1].split("|")] if is_row else []
        if row is not None and cells and not cells[0] and len(cells) == len(row):
            row = [" ".join(filter(None, pair)) for pair in zip(row, cells, strict=True)]
            continue
        if row is not None:
            yield _written(row)
            row = None
        if is_row and not _RULE.fullmatch(line):
            row = cells
        else:
            yield line
    if row is not None:
        yield _written(row)


def _written(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
