"""Question-answer pairs with harm categories: BeaverTails' schema, its checks, and splits.

Ji et al., "BeaverTails: Towards Improved Safety Alignment of LLM via a Human-Preference Dataset"
(NeurIPS 2023, arXiv 2307.04657). A row is ``{"prompt": str, "response": str, "category": {name:
bool, 14 of them}, "is_safe": bool}``. The label is of the pair: a harmful question with a
neutralising answer is safe, and the same question has safe and unsafe answers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from pkubench.envs.core.batch import BoolArray
from pkubench.envs.core.seeding import IntArray, mix64
from pkubench.errors import DataError

CATEGORIES: Final = (
    "animal_abuse",
    "child_abuse",
    "controversial_topics,politics",
    "discrimination,stereotype,injustice",
    "drug_abuse,weapons,banned_substance",
    "financial_crime,property_crime,theft",
    "hate_speech,offensive_language",
    "misinformation_regarding_ethics,laws_and_safety",
    "non_violent_unethical_behavior",
    "privacy_violation",
    "self_harm",
    "sexually_explicit,adult_content",
    "terrorism,organized_crime",
    "violence,aiding_and_abetting,incitement",
)
"""The keys of ``category``, spelt as in the data set: no blank after a comma."""

SPLITS: Final = ("train", "validation", "calibration", "test")
SHARES: Final = (0.45, 0.05, 0.25, 0.25)
"""Of the prompts, by split: half of them to train on, a tenth of which to validate on."""


class Row(NamedTuple):
    """One annotation of a pair."""

    prompt: str
    response: str
    category: tuple[bool, ...]
    """In the order of ``CATEGORIES``."""
    is_safe: bool


class Cleaning(NamedTuple):
    """What was found in the rows of a data set, and done about it."""

    rows: int
    """Annotations."""
    pairs: int
    """Pairs that are different."""
    conflicts: int
    """Pairs whose annotations disagree, resolved by majority; ties count as harmful."""
    contradictions: int
    """Rows that are safe and have a category, or are unsafe and have none; they are kept."""
    prompts: int


@dataclass(frozen=True, slots=True)
class QAPairs:
    """A data set without duplicates, and the split that each pair belongs to."""

    name: str
    """Where it is from: ``synthetic``, or a path or revision."""
    prompts: tuple[str, ...]
    responses: tuple[str, ...]
    categories: BoolArray
    """(n, 14)."""
    unsafe: BoolArray
    """(n,), the annotators' verdict on the pair (``is_safe``), whatever the categories are."""
    groups: IntArray
    """(n,), number of the prompt: equal for all answers to one prompt, and in one split only."""
    split: IntArray
    """(n,), index in ``SPLITS``."""
    cleaning: Cleaning
    sha256: str
    """Of the pairs with their labels and splits, in order of prompt and response."""

    def __deepcopy__(self, memo: Mapping[int, Any]) -> QAPairs:
        """Return itself: nothing writes to it."""
        return self

    def of(self, split: str) -> IntArray:
        """Return the rows of a split in an order of its own: pairs of a prompt are not neighbours.

        Raises:
            DataError: it has none.
        """
        rows = np.flatnonzero(self.split == SPLITS.index(split))
        if not len(rows):
            raise DataError(f"{self.name} has no pair in its {split} split: it is too small")
        order = mix64(rows.astype(np.uint64) + np.uint64(1)).argsort(kind="stable")
        found: IntArray = rows[order]
        return found


def parse_row(entry: Any, where: str) -> Row:
    """Return an annotation from its JSON object.

    Args:
        entry: The object.
        where: File and place, for messages.

    Raises:
        DataError: it is of another schema.
    """
    if not isinstance(entry, dict):
        raise DataError(f"{where} is not an object with prompt, response, category and is_safe")
    for key, kind, noun in (
        ("prompt", str, "a text"),
        ("response", str, "a text"),
        ("category", dict, "an object"),
        ("is_safe", bool, "true or false"),
    ):
        if key not in entry:
            raise DataError(f"{where} has no {key!r}")
        if not isinstance(entry[key], kind):
            raise DataError(f"{where}: {key} must be {noun}, got {entry[key]!r:.60}")
    labels = entry["category"]
    for name in CATEGORIES:
        if name not in labels:
            near = [key for key in labels if _plain(key) == _plain(name)]
            hint = f"; it has {near[0]!r} instead" if near else ""
            raise DataError(f"{where}: category has no key {name!r}{hint}")
        if not isinstance(labels[name], bool):
            raise DataError(
                f"{where}: category {name!r} must be true or false, got {labels[name]!r:.60}"
            )
    for name in labels:
        if name not in CATEGORIES:
            raise DataError(f"{where}: category has the unknown key {name!r}")
    if not entry["prompt"].strip():
        raise DataError(f"{where}: prompt is empty")
    chosen = tuple(labels[name] for name in CATEGORIES)
    return Row(entry["prompt"], entry["response"], chosen, entry["is_safe"])


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def prompt_key(prompt: str) -> str:
    """Return what equal prompts have in common: letters without case, digits, and blanks made one.

    Of a prompt without letters and digits, its marks.

    >>> prompt_key("  Is it  'BLUE'? ") == prompt_key("Is it blue")
    True
    """
    words = re.sub(r"[\W_]+", " ", prompt.casefold()).strip()
    return words or " ".join(prompt.casefold().split())


def split_by_prompt(keys: Iterable[str], shares: Sequence[float] = SHARES) -> list[int]:
    """Return the split of each prompt, an index in ``SPLITS``, from a hash of it alone.

    A prompt has the same split in every selection of the data, whatever its order.
    """
    ends = np.cumsum(shares)
    found = []
    for key in keys:
        digest = hashlib.sha256(key.encode("utf-8", errors="surrogatepass")).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        found.append(min(int(np.searchsorted(ends, place, side="right")), len(SPLITS) - 1))
    return found


def make_pairs(name: str, rows: Sequence[Row], splits: Mapping[str, int] | None = None) -> QAPairs:
    """Return the data set of annotations: conflicts resolved, and split by prompt.

    A pair that is annotated several times has each category, and the verdict, that at least half of
    its annotations have.

    Args:
        name: Where they are from.
        rows: In any order; equal data give equal results.
        splits: Key of a prompt (``prompt_key``) -> its split; None: by its hash.

    Raises:
        DataError: there are none.
    """
    if not rows:
        raise DataError(f"{name} has no rows")
    votes: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        votes.setdefault((row.prompt, row.response), []).append(row)
    pairs = sorted(votes)
    categories = np.zeros((len(pairs), len(CATEGORIES)), dtype=np.bool_)
    unsafe = np.zeros(len(pairs), dtype=np.bool_)
    conflicts = 0
    for number, pair in enumerate(pairs):
        given = votes[pair]
        if len(given) == 1:  # as nearly all are
            categories[number], unsafe[number] = given[0].category, not given[0].is_safe
            continue
        conflicts += len({(row.category, row.is_safe) for row in given}) > 1
        categories[number] = np.mean([row.category for row in given], axis=0) >= 0.5
        unsafe[number] = np.mean([not row.is_safe for row in given]) >= 0.5
    keys = [prompt_key(prompt) for prompt, _ in pairs]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    if splits is None:
        splits = dict(zip(numbers, split_by_prompt(numbers), strict=True))
    split = np.array([splits[key] for key in keys], dtype=np.int64)
    return QAPairs(
        name=name,
        prompts=tuple(prompt for prompt, _ in pairs),
        responses=tuple(response for _, response in pairs),
        categories=categories,
        unsafe=unsafe,
        groups=np.array([numbers[key] for key in keys], dtype=np.int64),
        split=split,
        cleaning=Cleaning(
            rows=len(rows),
            pairs=len(pairs),
            conflicts=conflicts,
            contradictions=sum(row.is_safe == any(row.category) for row in rows),
            prompts=len(numbers),
        ),
        sha256=_digest(pairs, categories, unsafe, split),
    )


def _digest(
    pairs: Sequence[tuple[str, str]], categories: BoolArray, unsafe: BoolArray, split: IntArray
) -> str:
    found = hashlib.sha256()
    labels = categories.astype(int).tolist()
    for pair, row, verdict, part in zip(
        pairs, labels, unsafe.tolist(), split.tolist(), strict=True
    ):
        found.update(json.dumps([*pair, row, verdict, part]).encode())
    return found.hexdigest()
