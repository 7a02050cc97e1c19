"""Environments whose episodes are labelled pairs of texts, and how a pair becomes an observation.

Such an environment shows a pair as bytes, from which an agent reads the texts again, and hands out
the labelled pairs of its training split to agents that learn from them (:class:`LabelledTexts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pkubench.envs.core.batch import BoolArray

Bytes = npt.NDArray[np.uint8]

PROMPT_BYTES: Final = 512
RESPONSE_BYTES: Final = 1536
"""Bytes of UTF-8 that an observation has of each text; the rest of a longer one is cut off."""


class LabelledTexts(NamedTuple):
    """n pairs of a prompt and its response, with labels."""

    prompts: tuple[str, ...]
    responses: tuple[str, ...]
    labels: BoolArray
    """(n, labels), any number of which may hold of a pair."""
    names: tuple[str, ...]
    """Of the labels."""
    sha256: str
    """Of the data set that they are from, all splits together."""


@runtime_checkable
class ShowsLabelledTexts(Protocol):
    """An environment that hands out its training data, cut to what an observation shows of them."""

    def labelled_texts(self) -> LabelledTexts:
        """Return the pairs of the training split."""
        ...


def to_bytes(text: str, size: int) -> bytes:
    """Return the first bytes of a text in UTF-8, at most ``size``, and no part of a letter.

    >>> to_bytes("naïve", 3)
    b'na'
    """
    return text.encode("utf-8", errors="replace")[:size].decode("utf-8", "ignore").encode("utf-8")


def cut(text: str, size: int) -> str:
    """Return what an observation shows of a text, of at most ``size`` bytes.

    >>> cut("naïve", 4)
    'naï'
    """
    return to_bytes(text, size).decode("utf-8").replace("\0", "")


def to_observations(prompts: Sequence[str], responses: Sequence[str]) -> Bytes:
    """Return pairs as uint8 (n, PROMPT_BYTES + RESPONSE_BYTES), zeros after each text."""
    found = np.zeros((len(prompts), PROMPT_BYTES + RESPONSE_BYTES), dtype=np.uint8)
    for row, prompt, response in zip(found, prompts, responses, strict=True):
        for first, size, text in (
            (0, PROMPT_BYTES, prompt),
            (PROMPT_BYTES, RESPONSE_BYTES, response),
        ):
            data = np.frombuffer(to_bytes(text.replace("\0", ""), size), dtype=np.uint8)
            row[first : first + len(data)] = data
    return found


def to_texts(observations: Bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the prompts and the responses that observations (n, ...) show.

    >>> to_texts(to_observations(["Is it blue?"], ["Yes."]))
    (('Is it blue?',), ('Yes.',))
    """
    parts = [
        tuple(
            row.tobytes().rstrip(b"\0").decode("utf-8", errors="replace")
            for row in np.ascontiguousarray(half)
        )
        for half in (observations[:, :PROMPT_BYTES], observations[:, PROMPT_BYTES:])
    ]
    return parts[0], parts[1]
