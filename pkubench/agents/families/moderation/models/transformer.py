"""A small transformer over the words of both texts, which every word can attend to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pkubench.agents.components import register
from pkubench.agents.families.moderation.models.base import (
    Array,
    Reader,
    Saved,
    TextModel,
    Texts,
    padded,
)
from pkubench.agents.families.moderation.words import from_json, to_json, vocabulary, words_of
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from pkubench.agents.families.moderation.encoders import EncoderFolder

VOCABULARY = "vocabulary.json"
PADDING, UNKNOWN, END = 0, 1, 2
SPECIAL = 3
"""Tokens before the first word: padding, an unknown word, the end of a text."""


@register("transformer")
@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerModel(TextModel):
    """Blocks of attention in both directions; the last token of the pair is read."""

    width: int = 64
    layers: int = 2
    heads: int = 4
    words: int = 8000
    """Of the vocabulary at most, those in most training pairs."""
    min_documents: int = 2
    """Training pairs that a word must be in."""
    text_words: int = 128
    """First words of each text that are read."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(
            self,
            at_least_one=("width", "layers", "heads", "words", "min_documents", "text_words"),
        )
        if self.width % self.heads:
            raise ConfigError(f"heads must divide width={self.width}, got {self.heads}")

    def fit(self, texts: Texts, encoder: EncoderFolder | None) -> Reader:
        """Return the reader with the vocabulary of the training pairs."""
        if encoder is not None:
            raise ConfigError("the input encoder has no effect here: it is of model=embedding")
        documents = ([word for text in pair for word in words_of(text)] for pair in texts)
        known = vocabulary(documents, self.words, self.min_documents)
        return WordReader(known, self.text_words, len(texts[0]))

    def restore(self, saved: Saved) -> Reader:
        """Return the reader that was saved."""
        longest, texts = int(saved.described["text_words"]), int(saved.described["texts"])
        if not 1 <= longest <= 10_000 or texts not in (1, 2):
            raise ValueError(f"{texts} texts of {longest} words")
        return WordReader(from_json(saved.files[VOCABULARY]), longest, texts)

    def network(self, reader: Reader, labels: int, generator: torch.Generator) -> torch.nn.Module:
        """Return the transformer."""
        from pkubench.agents.families.moderation.networks import PairTransformer

        assert isinstance(reader, WordReader)
        return PairTransformer(
            tokens=len(reader.words) + SPECIAL,
            positions=reader.text_words + 1,
            labels=labels,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            generator=generator,
        )


class WordReader:
    """Numbers of words, the texts one after another, each followed by ``END``."""

    def __init__(self, words: Sequence[str], text_words: int, texts: int) -> None:
        """Know ``words``, of at most ``text_words`` words of each of ``texts`` texts."""
        self.words, self.text_words, self.texts = list(words), text_words, texts
        self._number = {word: k + SPECIAL for k, word in enumerate(words)}

    def __call__(self, texts: Texts) -> tuple[Array, ...]:
        """Return tokens, positions in their text and numbers of the text, each (n, k) int64."""
        tokens, positions, parts = [], [], []
        for pair in texts:
            numbers = [
                [*(self._number.get(w, UNKNOWN) for w in words_of(text)[: self.text_words]), END]
                for text in pair
            ]
            tokens.append([number for of in numbers for number in of])
            positions.append([k for of in numbers for k in range(len(of))])
            parts.append([number for number, of in enumerate(numbers) for _ in of])
        return tuple(padded(of, np.int64) for of in (tokens, positions, parts))

    def files(self) -> Mapping[str, bytes]:
        """Return the vocabulary."""
        return {VOCABULARY: to_json(self.words)}

    def described(self) -> Mapping[str, Any]:
        """Return how much of a text is read, and how many texts."""
        return {"text_words": self.text_words, "texts": self.texts}
