"""The interface of a moderator's model: from texts to arrays, and from arrays to logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pkubench.agents.components import Component

if TYPE_CHECKING:
    import torch

    from pkubench.agents.families.moderation.encoders import EncoderFolder

Array = npt.NDArray[Any]
Texts = Sequence[Sequence[str]]
"""The texts of each pair that the model sees: the prompt, the response, or both."""


class Reader(Protocol):
    """Turns texts into what a network takes."""

    def __call__(self, texts: Texts) -> tuple[Array, ...]:
        """Return arrays (n, ...)."""
        ...

    def files(self) -> Mapping[str, bytes]:
        """Return what is saved beside the weights, by name."""
        ...

    def described(self) -> Mapping[str, Any]:
        """Return what ``config.json`` says of it, as JSON values."""
        ...


class Saved(NamedTuple):
    """What a reader is made from again."""

    described: Mapping[str, Any]
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextModel(Component, ABC, slot="model", package="pkubench.agents.families.moderation.models"):
    """A model of pairs of texts. The component holds settings and imports no torch."""

    @abstractmethod
    def fit(self, texts: Texts, encoder: EncoderFolder | None) -> Reader:
        """Return the reader of a training set.

        Args:
            texts: Of the training pairs.
            encoder: The folder that the user named, if any.

        Raises:
            ConfigError: a folder is needed, or has no use.
        """

    @abstractmethod
    def restore(self, saved: Saved) -> Reader:
        """Return the reader that was saved.

        Raises:
            KeyError, TypeError, ValueError: it is incomplete.
            AgentError: what it reads with is not there.
        """

    @abstractmethod
    def network(self, reader: Reader, labels: int, generator: torch.Generator) -> torch.nn.Module:
        """Return the network from the reader's arrays to logits (n, labels)."""


def padded(rows: Sequence[Any], dtype: Any) -> Array:
    """Return rows of different lengths as one array, zeros at their ends; at least one column."""
    found = np.zeros((len(rows), max(map(len, rows), default=1) or 1), dtype=dtype)
    for target, row in zip(found, rows, strict=True):
        target[: len(row)] = row
    return found
