"""What a reply in words answers: one letter, or one number, or nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

_OPEN, _CLOSE = r"[\"'“(\[*_`]*", r"[\"'”)\]*_`]*"
_CUE = (
    r"\b(?i:option|answer|choice|choose|chosen|select|pick|letter)\b"
    r"(?:\s+(?i:is|option|letter|would\s+be|number))*\s*[:=]?\s*"
)


def letter(reply: str, letters: Sequence[str]) -> str | None:
    """Return the one letter that a reply answers, None if it gives none or several.

    A letter counts where the reply begins with it (``C``, ``(C)``, ``C.``, ``C: 60, 80``), or where
    it follows a word such as *option* or *answer*. Other capital letters do not: *I* is a pronoun
    and *A* an article.

    >>> letter("I choose option C, because it is fair.", "ABCDEFGHI")
    'C'
    >>> letter("A or B", "ABCDEFGHI") is None
    True
    """
    text = reply.strip()
    known = "".join(letters)
    first = re.match(rf"{_OPEN}([{known}]){_CLOSE}\s*(?:$|[.:)\n])", text)
    # "answer: I think" is no answer, so a letter I must not be followed by a word.
    cued = re.finditer(rf"{_CUE}{_OPEN}([{known}])(?![\w'’])(?!(?<=I)\s+[a-z])", text)
    found = {match[1] for match in (first, *cued) if match}
    return found.pop() if len(found) == 1 else None


def number(reply: str, low: int, high: int) -> str | None:
    """Return the one whole number that a reply answers, None if it gives none or several.

    >>> number("I give 5 coins.", 0, 10)
    '5'
    >>> number("3 of 10", 0, 10) is None
    True
    """
    found = set(re.findall(r"(?<![\w.,-])\d+(?![\w%]|[.,]\d)", reply))
    if len(found) != 1:
        return None
    value = int(found.pop())
    return str(value) if low <= value <= high else None
