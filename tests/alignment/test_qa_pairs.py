"""Question-answer pairs: the schema, damaged files, conflicts, splits, and synthetic pairs."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.envs.alignment import beavertails
from pkubench.envs.alignment.beavertails import REVISION, hub_file, load_pairs
from pkubench.envs.alignment.qa_pairs import (
    CATEGORIES,
    SPLITS,
    Row,
    make_pairs,
    prompt_key,
    split_by_prompt,
)
from pkubench.envs.alignment.synthetic_pairs import (
    NOISE,
    TAGS,
    has_tag,
    judge,
    synthetic_pairs,
    synthetic_rows,
    tags_named,
)
from pkubench.errors import ConfigError, DataError, MissingExtra, UnknownName
from pkubench.evaluation.statistics.detection import auroc


def entry(prompt: str, response: str = "No.", *labels: int, safe: bool | None = None) -> Any:
    return {
        "prompt": prompt,
        "response": response,
        "category": {name: place in labels for place, name in enumerate(CATEGORIES)},
        "is_safe": not labels if safe is None else safe,
    }


def write(path: Path, entries: list[Any]) -> str:
    text = "\n".join(json.dumps(e) for e in entries) + "\n"
    data = text.encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.name.endswith(".gz") else data)
    return str(path)


def without(given: Any, key: str) -> Any:
    return {name: value for name, value in given.items() if name != key}


def relabelled(old: str, new: str | None, value: Any = False) -> Any:
    found = entry("Is it?")
    labels = without(found["category"], old)
    return {**found, "category": labels if new is None else {**labels, new: value}}


def test_the_fourteen_categories() -> None:
    assert len(CATEGORIES) == 14 == len(set(CATEGORIES)) == len(TAGS)
    assert CATEGORIES[4] == "drug_abuse,weapons,banned_substance"
    assert list(CATEGORIES) == sorted(CATEGORIES)
    assert not any(", " in name or ",_" in name for name in CATEGORIES)


DRUGS = CATEGORIES[4]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (without(entry("a"), "prompt"), "a.jsonl:2 has no 'prompt'"),
        (without(entry("a"), "is_safe"), "a.jsonl:2 has no 'is_safe'"),
        ({**entry("a"), "is_safe": 1}, "a.jsonl:2: is_safe must be true or false, got 1"),
        ({**entry("a"), "response": None}, "a.jsonl:2: response must be a text, got None"),
        ({**entry("a"), "category": ["theft"]}, "a.jsonl:2: category must be an object"),
        ({**entry("a"), "prompt": "  "}, "a.jsonl:2: prompt is empty"),
        (relabelled(DRUGS, None), f"a.jsonl:2: category has no key '{DRUGS}'"),
        (
            relabelled(DRUGS, "drug_abuse,_weapons,_banned_substance"),
            f"no key '{DRUGS}'; it has 'drug_abuse,_weapons,_banned_substance' instead",
        ),
        (relabelled(DRUGS, DRUGS, "yes"), f"category '{DRUGS}' must be true or false, got 'yes'"),
        (
            {**entry("a"), "category": {**entry("a")["category"], "spam": False}},
            "a.jsonl:2: category has the unknown key 'spam'",
        ),
        ([1], "a.jsonl:2 is not an object with prompt, response, category and is_safe"),
    ],
)
def test_another_schema_is_one_clear_line(tmp_path: Path, wrong: Any, message: str) -> None:
    source = write(tmp_path / "a.jsonl", [entry("fine"), wrong])
    with pytest.raises(DataError) as error:
        load_pairs(source)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b"", "a.jsonl is empty"),
        ("a.jsonl", b" \n\n", "a.jsonl is empty"),
        ("a.jsonl", b'{"prompt": "\xff"}', "is not UTF-8 text: byte 12 is 0xff"),
        ("a.jsonl", b'{"prompt": "a"', "a.jsonl:1 is not JSON"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl:1 is not JSON"),
        ("a.jsonl.gz", b"plain", "cannot read"),
        ("a.jsonl.gz", gzip.compress(b"{}" * 99, mtime=0)[:-9], "cannot read"),
        ("a.json", b"{}", "a.json is not a list of rows"),
        ("a.json", b"[]", "a.json is not a list of rows"),
        ("a.csv", b"prompt,response", "a.csv is none of .jsonl"),
    ],
)
def test_a_damaged_file_is_one_clear_line(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as error:
        load_pairs(str(tmp_path / name))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_what_is_not_there_is_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there are no question-answer pairs at .*hf:30k"):
        load_pairs(str(tmp_path / "beavertails"))
    with pytest.raises(DataError, match="has no file ending in"):
        load_pairs(str(tmp_path))
    with pytest.raises(UnknownName, match="way to split the data 'rows'"):
        load_pairs("synthetic", "rows")


def test_revisions_are_pinned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys
    import types

    asked: list[Any] = []

    def download(repository: str, name: str, **how: Any) -> str:
        asked.append((repository, name, how))
        if "330k" in name:
            raise OSError("no\nnetwork")
        part = name.rpartition("/")[2].partition(".")[0]
        return write(tmp_path / f"{part}.jsonl.gz", [entry(f"{part} {k}") for k in range(40)])

    client = types.ModuleType("huggingface_hub")
    client.hf_hub_download = download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", client)
    found = load_pairs("hf:30k", "files")
    assert found.cleaning.pairs == 80 and set(found.split.tolist()) == {0, 1, 2, 3}
    assert asked[0] == (
        "PKU-Alignment/BeaverTails",
        "round0/30k/train.jsonl.gz",
        {"repo_type": "dataset", "revision": "8401fe609d288129cc684a9b3be6a93e41cfe678"},
    )
    other = "0" * 40
    hub_file(f"hf:30k@{other}", "test")
    assert asked[-1][2]["revision"] == other != REVISION
    with pytest.raises(ConfigError, match="a commit of 40 hexadecimal digits"):
        hub_file("hf:30k@main", "test")
    with pytest.raises(UnknownName, match="subset of BeaverTails '300k'; did you mean"):
        hub_file("hf:300k", "test")
    with pytest.raises(DataError, match=r"cannot be downloaded \(no network\): give a file"):
        load_pairs("hf:330k")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match="llm"):
        hub_file("hf:30k", "test")


def test_conflicts_are_counted_and_resolved_by_majority() -> None:
    first, second, neither = (tuple(k == at for k in range(14)) for at in (0, 1, 99))
    rows = [
        Row("p", "three", first, False), Row("p", "three", first, False),
        Row("p", "three", neither, True),
        Row("p", "tie", second, False), Row("p", "tie", neither, True),
        Row("p", "same", neither, True), Row("p", "same", neither, True),
        Row("p", "scattered", first, False), Row("p", "scattered", second, False),
        Row("p", "scattered", neither, False),
        Row("q", "odd", first, True),
    ]  # fmt: skip
    found = make_pairs("rows", rows)
    assert found.cleaning == (11, 5, 3, 2, 2)
    of = {response: k for k, response in enumerate(found.responses)}
    unsafe = {name: bool(found.unsafe[k]) for name, k in of.items()}
    assert unsafe == {
        "three": True, "tie": True, "same": False, "scattered": True, "odd": False,
    }  # fmt: skip
    labels = {name: np.flatnonzero(found.categories[k]).tolist() for name, k in of.items()}
    assert labels == {"three": [0], "tie": [1], "same": [], "scattered": [], "odd": [0]}
    assert make_pairs("other", rows[::-1]).sha256 == found.sha256
    assert make_pairs("other", rows[1:]).sha256 == found.sha256  # one of two votes is a majority
    assert make_pairs("other", rows[2:]).sha256 != found.sha256


def test_a_prompt_is_in_one_split_whatever_its_spelling() -> None:
    prompts = [f"What about {k}?" for k in range(4000)]
    rows = [Row(p, r, (False,) * 14, True) for p in prompts for r in ("a", "b")]
    rows += [Row(f"  {p.upper()}", "c", (False,) * 14, True) for p in prompts[:50]]
    found = make_pairs("rows", rows)
    split_of: dict[str, set[int]] = {}
    for prompt, split in zip(found.prompts, found.split.tolist(), strict=True):
        split_of.setdefault(prompt_key(prompt), set()).add(split)
    assert all(len(of) == 1 for of in split_of.values()) and len(split_of) == 4000
    assert found.cleaning.prompts == 4000
    counts = Counter(split for of in split_of.values() for split in of)
    shares = [counts[k] / 4000 for k in range(4)]
    np.testing.assert_allclose(shares, [0.45, 0.05, 0.25, 0.25], atol=0.02)
    # by its words alone: the same among others
    assert split_by_prompt(["what about 7"]) == [int(found.split[found.prompts.index(prompts[7])])]


def test_files_as_splits(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [entry(f"train {k}") for k in range(400)])
    write(tmp_path / "test.jsonl.gz", [entry(f"test {k}") for k in range(30)])
    found = load_pairs(str(tmp_path), "files")
    is_test = found.split == SPLITS.index("test")
    assert {p.split()[0] for p, t in zip(found.prompts, is_test, strict=True) if t} == {"test"}
    shares = np.bincount(found.split[~is_test], minlength=4) / 400
    np.testing.assert_allclose(shares, [0.6, 0.1, 0.3, 0.0], atol=0.08)
    assert load_pairs(str(tmp_path)).sha256 != found.sha256


def test_a_prompt_in_both_files_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [entry("One?"), entry("Two?")])
    write(tmp_path / "test.jsonl", [entry("three?"), entry("two? ")])
    with pytest.raises(DataError, match=r"1 prompt in both its train and its test file.*split=pro"):
        load_pairs(str(tmp_path), "files")
    assert load_pairs(str(tmp_path)).cleaning.prompts == 3
    (tmp_path / "test.jsonl").unlink()
    with pytest.raises(DataError, match="no rows in a file called test"):
        beavertails.load_pairs.__wrapped__(str(tmp_path), "files")


@pytest.mark.parametrize("other", ["latest.jsonl", "train_vs_test.jsonl", "validation.jsonl"])
def test_files_of_other_names_are_refused_and_named(tmp_path: Path, other: str) -> None:
    write(tmp_path / "train.jsonl", [entry(f"train {k}") for k in range(40)])
    write(tmp_path / "test.jsonl", [entry("test")])
    write(tmp_path / other, [entry("of neither")])
    with pytest.raises(DataError, match=rf"train and test, and {other} in .* is neither"):
        load_pairs(str(tmp_path), "files")


def test_prompts_that_differ_in_marks_and_case_are_one() -> None:
    texts = ("How do I do it?", "how do I do it", '"How do I, do it."', "How do I do_it ?!")
    assert len({prompt_key(text) for text in texts}) == 1
    assert len({prompt_key(text) for text in ("???", "!!", "a", "a b", "ab", "a 1")}) == 6
    rows = [Row(text, "r", (False,) * 14, True) for text in texts]
    found = make_pairs("one", rows)
    assert found.cleaning.prompts == 1 and len(set(found.split.tolist())) == 1


def test_the_grammar_has_so_many_questions() -> None:
    for prompts in (19, 100_001):
        with pytest.raises(ConfigError, match=f"from 20 to 100000, got {prompts}"):
            synthetic_pairs(0, prompts)


def test_a_split_without_pairs_is_refused() -> None:
    with pytest.raises(DataError, match="no pair in its"):
        found = make_pairs("one", [Row("p", "r", (False,) * 14, True)])
        [found.of(split) for split in SPLITS]
    with pytest.raises(DataError, match="nothing has no rows"):
        make_pairs("nothing", [])


# The synthetic pairs


def by_prompt() -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row, prompt in enumerate(synthetic_pairs().prompts):
        found.setdefault(prompt, []).append(row)
    return found


def test_sizes_and_balance() -> None:
    found = synthetic_pairs()
    assert found.cleaning == (12_000, 12_000, 0, 0, 3000)
    assert np.bincount(found.split).tolist() == [5400, 600, 3000, 3000]
    groups = by_prompt()
    assert all(len(rows) == 4 and found.unsafe[rows].sum() == 2 for rows in groups.values())
    assert all(len(set(found.split[rows])) == 1 for rows in groups.values())
    assert (found.categories.any(axis=1) == found.unsafe).all()
    per_category = found.categories.sum(axis=0)
    assert per_category.min() > 400 and 1 < found.categories[found.unsafe].sum(axis=1).mean() < 1.3
    assert (~found.unsafe[found.of("calibration")]).sum() * 0.01 >= 10


def test_the_prompt_alone_says_nothing() -> None:
    found = synthetic_pairs()
    for split in SPLITS:
        rows = found.of(split)
        scores = np.array([zlib.crc32(prompt.encode()) % 997 for prompt in found.prompts])[rows]
        assert auroc(scores.astype(float), found.unsafe[rows]) == 0.5


def test_keywords_alone_say_too_little() -> None:
    found = synthetic_pairs()
    assert 0.65 < auroc(np.array([has_tag(r) for r in found.responses]) * 1.0, found.unsafe) < 0.8
    words: dict[str, list[int]] = {}
    for row, response in enumerate(found.responses):
        for word in set(response.lower().replace(".", " ").replace(",", " ").split()):
            words.setdefault(word, []).append(row)
    best = max(
        abs(found.unsafe[rows].sum() - (~found.unsafe[rows]).sum()) / 6000
        for rows in words.values()
    )
    assert 0.5 + best / 2 < 0.8


def test_what_names_the_box_is_decided_by_both_texts() -> None:
    found = synthetic_pairs()
    boxed = np.array([" box" in response for response in found.responses])
    assert 0.38 < boxed.mean() < 0.42
    assert abs(found.unsafe[boxed].mean() - 0.5) < 0.02
    # the same answer is safe to one question and unsafe to another
    verdicts: dict[str, set[bool]] = {}
    for row in np.flatnonzero(boxed):
        verdicts.setdefault(found.responses[row], set()).add(bool(found.unsafe[row]))
    repeated = [len(of) for of in verdicts.values()]
    assert np.mean(repeated) > 1.2


def test_the_rule_reads_every_label_but_the_noise_from_the_texts() -> None:
    found = synthetic_pairs()
    judged = [judge(*texts) for texts in zip(found.prompts, found.responses, strict=True)]
    is_unsafe = np.array([bool(categories) for categories in judged])
    is_noise = is_unsafe != found.unsafe
    assert is_noise.mean() == pytest.approx(NOISE, abs=0.006)
    # one safe and one unsafe answer of a question change their verdicts, or none
    for rows in by_prompt().values():
        assert sorted(found.unsafe[rows][is_noise[rows]]) in ([], [False, True])
        assert is_unsafe[rows].sum() == 2
    assert auroc(is_unsafe * 1.0, found.unsafe) == pytest.approx(1.0 - is_noise.mean())
    # noise in every split, and independent of how an answer is worded
    for split in SPLITS:
        assert 0.02 < is_noise[found.of(split)].mean() < 0.08
    boxed = np.array([" box" in response for response in found.responses])
    assert abs(is_noise[boxed].mean() - is_noise[~boxed].mean()) < 0.02
    for row in np.flatnonzero(found.unsafe & ~is_noise)[::7]:
        assert judged[row] == tuple(np.flatnonzero(found.categories[row]).tolist())
    assert judge("Is it blue?", "Open the left box.") == ()
    assert tags_named("The self-harm theft vorn.") == (5, 10)


def test_synthetic_pairs_are_the_same_everywhere() -> None:
    assert synthetic_pairs().sha256[:16] == "e5cdc01e83d62b36"
    rows, questions = synthetic_rows(3, 20)
    assert len(rows) == 80 and len({q.text for q in questions}) == 20
    assert synthetic_rows(3, 30)[1][:20] == questions
    assert synthetic_rows(4, 20)[1] != questions
