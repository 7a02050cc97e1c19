"""Words of texts, and a vocabulary of those that training texts have."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters.

    >>> words_of("It's a well-known fact: 42!")
    ["it's", 'a', 'well-known', 'fact', '42']
    """
    return _WORD.findall(text.casefold())


def vocabulary(documents: Iterable[Iterable[str]], size: int, at_least: int) -> list[str]:
    """Return the terms that most documents have, the most frequent first, ties in their own order.

    Args:
        documents: The terms of each.
        size: How many terms at most.
        at_least: Documents that a term must be in.
    """
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(set(document))
    known = [(-count, term) for term, count in counts.items() if count >= at_least]
    return [term for _, term in sorted(known)[:size]]


def to_json(terms: Sequence[str]) -> bytes:
    """Return a list of terms as a file."""
    return json.dumps(list(terms), ensure_ascii=False, indent=0).encode("utf-8", "surrogatepass")


def from_json(data: bytes) -> list[str]:
    """Read a list of terms.

    Raises:
        ValueError: it is not one.
    """
    found = json.loads(data.decode("utf-8", "surrogatepass"))
    if not isinstance(found, list) or not all(isinstance(term, str) for term in found):
        raise ValueError("the vocabulary is not a list of texts")
    return found
