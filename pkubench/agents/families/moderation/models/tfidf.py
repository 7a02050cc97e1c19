"""TF-IDF and a linear model: counts of words and word pairs, weighted by how rare they are."""

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

VOCABULARY, WEIGHTS = "vocabulary.json", "inverse-frequencies.f8"


@register("tfidf")
@dataclass(frozen=True, slots=True, kw_only=True)
class TfidfModel(TextModel):
    """A linear model of term frequency x inverse document frequency, rows of length 1.

    Terms of a prompt and of a response are apart. The frequency is 1 + ln(count), the inverse
    document frequency ln((1 + n) / (1 + documents)) + 1, as in scikit-learn.
    """

    terms: int = 20_000
    """Of the vocabulary at most, those in most documents."""
    min_documents: int = 5
    """Training pairs that a term must be in."""
    longest: int = 2
    """Words of a term at most."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, at_least_one=("terms", "min_documents", "longest"))

    def fit(self, texts: Texts, encoder: EncoderFolder | None) -> Reader:
        """Return the reader with the vocabulary of the training pairs."""
        if encoder is not None:
            raise ConfigError("the input encoder has no effect here: it is of model=embedding")
        documents = [terms_of(pair, self.longest) for pair in texts]
        known = vocabulary(documents, self.terms, self.min_documents)
        place = {term: k for k, term in enumerate(known)}
        counts = np.zeros(len(known))
        for document in documents:
            counts[[place[term] for term in set(document) if term in place]] += 1
        inverse = np.log((1.0 + len(documents)) / (1.0 + counts)) + 1.0
        return TfidfReader(known, inverse, self.longest)

    def restore(self, saved: Saved) -> Reader:
        """Return the reader that was saved."""
        known = from_json(saved.files[VOCABULARY])
        inverse = np.frombuffer(saved.files[WEIGHTS], dtype="<f8")
        if len(known) != len(inverse) or not np.isfinite(inverse).all():
            raise ValueError(f"{len(known)} terms and {len(inverse)} weights")
        return TfidfReader(known, inverse, int(saved.described["longest"]))

    def network(self, reader: Reader, labels: int, generator: torch.Generator) -> torch.nn.Module:
        """Return the linear model, all weights 0."""
        from pkubench.agents.families.moderation.networks import WeightedTerms

        assert isinstance(reader, TfidfReader)
        return WeightedTerms(len(reader.terms), labels)


def terms_of(texts: Sequence[str], longest: int) -> list[str]:
    """Return the terms of a pair, with the number of the text before each.

    >>> terms_of(["a b", "b"], 2)
    ['0 a', '0 b', '0 a b', '1 b']
    """
    found = []
    for number, text in enumerate(texts):
        words = words_of(text)
        for length in range(1, longest + 1):
            found += [
                " ".join((str(number), *words[k : k + length]))
                for k in range(len(words) - length + 1)
            ]
    return found


class TfidfReader:
    """Places of terms in the vocabulary, from 1 on, and their weights."""

    def __init__(self, terms: Sequence[str], inverse: Array, longest: int) -> None:
        """Weigh ``terms`` by ``inverse`` document frequencies (terms,)."""
        self.terms, self.inverse, self.longest = list(terms), inverse, longest
        self._place = {term: k for k, term in enumerate(terms)}

    def __call__(self, texts: Texts) -> tuple[Array, ...]:
        """Return places (n, k) int64, 0 where there is none, and weights (n, k) float32."""
        places, weights = [], []
        for pair in texts:
            known = [self._place[t] for t in terms_of(pair, self.longest) if t in self._place]
            of, counts = np.unique(np.array(known, dtype=np.int64), return_counts=True)
            weight = (1.0 + np.log(counts)) * self.inverse[of]
            places.append(of + 1)
            weights.append(weight / max(float(np.sqrt((weight**2).sum())), 1e-12))
        return padded(places, np.int64), padded(weights, np.float32)

    def files(self) -> Mapping[str, bytes]:
        """Return the vocabulary and its weights."""
        return {
            VOCABULARY: to_json(self.terms),
            WEIGHTS: self.inverse.astype("<f8").tobytes(),
        }

    def described(self) -> Mapping[str, Any]:
        """Return how long terms are."""
        return {"longest": self.longest}
