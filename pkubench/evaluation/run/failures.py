"""Why something failed, in words that are safe to print: one line, bounded, printable."""

from __future__ import annotations

import re

LONGEST = 400
"""Characters of a reason."""
_LONGEST_ERROR = 200
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")


def printable(text: str) -> str:
    r"""Return text on one line; escape codes, lone surrogates and the like are spelled out.

    What an agent says reaches terminals, JSON and pages.

    >>> printable("red: \x1b[31m") == "red: \\x1b[31m"
    True
    """
    shown = text[:LONGEST]  # first, since spelling out a gigabyte takes its time
    if not shown.isprintable():
        shown = "".join(
            c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown
        )
    return shown[:LONGEST]


def describe_error(error: BaseException) -> str:
    """Return an error's type and first line, the same in every process.

    The text is an agent's own code, so it may fail or hang: ask for it under the agent's clock.
    """
    try:
        text = str.__str__(str(error)).strip()
        first_line = (text.splitlines() or [""])[0][:LONGEST]
    except (Exception, SystemExit):
        first_line = ""
    text = _ADDRESS.sub("0x...", f"{type(error).__name__}: {first_line}".removesuffix(": "))
    return printable(text)[:_LONGEST_ERROR]
