"""Reading BeaverTails, from files or from a pinned revision; other data never take its place.

The data are under CC BY-NC 4.0: none are in this package, and published results on them are not for
commercial use.
"""

from __future__ import annotations

import functools
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pkubench.envs.alignment.qa_pairs import (
    SPLITS,
    QAPairs,
    Row,
    make_pairs,
    parse_row,
    prompt_key,
    split_by_prompt,
)
from pkubench.envs.alignment.synthetic_pairs import SYNTHETIC, synthetic_pairs
from pkubench.errors import ConfigError, DataError, MissingExtra, UnknownName, counted

REPOSITORY: Final = "PKU-Alignment/BeaverTails"
REVISION: Final = "8401fe609d288129cc684a9b3be6a93e41cfe678"
"""The last commit of the data (2023-10-17)."""
SUBSETS: Final = ("30k", "330k")
SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".json", ".json.gz")
WAYS: Final = (
    "give a file or a folder of BeaverTails' schema, hf:30k or hf:330k (needs a network, or files "
    f"downloaded before), or {SYNTHETIC}"
)
PROMPT, FILES = "prompt", "files"
"""How data are split: all files together by a hash of the prompt; or the files whose name up to
the first dot is ``test`` are the test split, and the prompts of those called ``train`` are divided
among the others."""
_TRAIN, _TEST = "train", "test"


@functools.lru_cache(maxsize=2)
def load_pairs(source: str, split: str = PROMPT) -> QAPairs:
    """Return a data set.

    Args:
        source: ``synthetic``; the path of a file (one JSON object a line, or a list of them; may be
            gzipped) or of a folder of such files; or ``hf:30k``, ``hf:330k``, with
            ``@REVISION`` for another commit than ``REVISION``.
        split: ``prompt`` or ``files``.

    Raises:
        DataError: there are no such data, they are damaged or of another schema; or, with
            ``split="files"``, a prompt is in both files, or a file is called neither ``train`` nor
            ``test``.
        ConfigError, UnknownName: no such split, subset or revision.
        MissingExtra: the hub's client is not installed.
    """
    if split not in (PROMPT, FILES):
        raise UnknownName("way to split the data", split, (PROMPT, FILES))
    if source == SYNTHETIC:
        return synthetic_pairs()
    name, files = source, _files(source)
    rows = {path: list(read_rows(path)) for path in files}
    every = [row for of in rows.values() for row in of]
    if split == PROMPT:
        return make_pairs(name, every)
    strange = [path.name for path in files if _stem(path) not in _BOTH]
    if strange:
        raise DataError(
            f"split={FILES} reads files called train and test, and {strange[0]} in {name} is "
            f"neither: rename or remove it, or use split={PROMPT}"
        )
    parts = {part: [r for p, of in rows.items() if _stem(p) == part for r in of] for part in _BOTH}
    for part, of in parts.items():
        if not of:
            raise DataError(f"{name} has no rows in a file called {part}: use split={PROMPT}")
    return make_pairs(name, every, _by_file(name, parts[_TRAIN], parts[_TEST]))


_BOTH: Final = (_TRAIN, _TEST)


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]


def _by_file(name: str, train: Sequence[Row], test: Sequence[Row]) -> dict[str, int]:
    tested = {prompt_key(row.prompt): row.prompt for row in test}
    trained = dict.fromkeys(prompt_key(row.prompt) for row in train)
    both = [key for key in trained if key in tested]
    if both:
        raise DataError(
            f"{name} has {counted(len(both), 'prompt')} in both its train and its test file, such "
            f"as {tested[both[0]]!r:.60}: use split={PROMPT}, which keeps them apart"
        )
    others = (0.6, 0.1, 0.3, 0.0)  # of training, validation and calibration
    found = dict(zip(trained, split_by_prompt(trained, others), strict=True))
    found.update(dict.fromkeys(tested, SPLITS.index("test")))
    return found


def _files(source: str) -> list[Path]:
    if source.startswith("hf:"):
        return [hub_file(source, part) for part in _BOTH]
    path = Path(source).expanduser()
    if path.is_file():
        if not path.name.endswith(SUFFIXES):
            raise DataError(f"{path} is none of {', '.join(SUFFIXES)}")
        return [path]
    if not path.is_dir():
        raise DataError(f"there are no question-answer pairs at {source!r}: {WAYS}")
    found = sorted(p for p in path.iterdir() if p.is_file() and p.name.endswith(SUFFIXES))
    if not found:
        raise DataError(f"{path} has no file ending in {', '.join(SUFFIXES)}")
    return found


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file.

    Raises:
        DataError: it cannot be read, is not text or JSON, is empty or of another schema.
    """
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.name.endswith(".gz") else data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {path}: {why}") from error
    if not text.strip():
        raise DataError(f"{path} is empty")
    if ".jsonl" in path.name:
        entries = ((f"{path}:{n}", line) for n, line in enumerate(text.split("\n"), 1))
        for where, line in entries:
            if line.strip():
                yield parse_row(_parsed(line, where), where)
        return
    found = _parsed(text, str(path))
    if not isinstance(found, list) or not found:
        raise DataError(f"{path} is not a list of rows; one object a line belongs in a .jsonl file")
    for number, entry in enumerate(found):
        yield parse_row(entry, f"{path}, row {number}")


def _parsed(text: str, where: str) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers too long, brackets too deep
        raise DataError(f"{where} is not JSON: {error}") from error
    return found


def hub_file(source: str, part: str) -> Path:
    """Return the file of one part of a subset on the hub, downloaded if it is not in the cache.

    Args:
        source: ``hf:SUBSET`` or ``hf:SUBSET@REVISION``.
        part: ``train`` or ``test``.

    Raises:
        ConfigError, UnknownName: no such subset, or a revision that is not a whole commit hash.
        MissingExtra: the hub's client is not installed.
        DataError: it cannot be had.
    """
    subset, at, revision = source.removeprefix("hf:").partition("@")
    if subset not in SUBSETS:
        raise UnknownName("subset of BeaverTails", subset, SUBSETS)
    if at and not re.fullmatch("[0-9a-f]{40}", revision):
        raise ConfigError(
            f"a revision is a commit of 40 hexadecimal digits, such as {REVISION}; a branch or tag "
            f"can change: got {revision!r}"
        )
    try:
        from huggingface_hub import hf_hub_download
    except ModuleNotFoundError as error:
        raise MissingExtra("llm", f"reading {source}") from error
    try:
        found = hf_hub_download(
            REPOSITORY,
            f"round0/{subset}/{part}.jsonl.gz",
            repo_type="dataset",
            revision=revision or REVISION,
        )
    except Exception as error:  # the client raises many types: no network, no file, no access
        why = " ".join(str(error).split())
        raise DataError(f"{source} cannot be downloaded ({why:.150}): {WAYS}") from error
    return Path(found)
