"""Environment pages: what a docstring says survives the way to Markdown and HTML."""

from __future__ import annotations

import importlib.util
import inspect
import re
from html import unescape
from pathlib import Path

import pytest
from markdown import markdown

import pkubench
from pkubench.envs.core.registry import env_class, environments, resolve
from tests.envs.tape import SHIPPED

_PATH = Path(__file__).parents[1] / "docs" / "docstring_pages.py"
_SPEC = importlib.util.spec_from_file_location("docstring_pages", _PATH)
assert _SPEC is not None and _SPEC.loader is not None
pages = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(pages)

_GENERATOR = (_PATH.parent / "gen_pages.py").read_text(encoding="utf-8")
_REFERENCE = re.search(r"^REFERENCE = \((.*?)^\)", _GENERATOR, re.S | re.M)
assert _REFERENCE is not None

CLASSES = {environments()[name].entry_point: name for name in SHIPPED}


def html(text: str) -> str:
    return markdown(text, extensions=["tables", "fenced_code"])


def test_an_example_is_one_block_of_code() -> None:
    text = "Try:\n\n>>> 1 + 1\n2\n>>> 2\n2\n\nEnd.\n\n>>> 3\n3"
    assert pages.as_markdown(text) == (
        "Try:\n\n```pycon\n>>> 1 + 1\n2\n>>> 2\n2\n```\n\nEnd.\n\n```pycon\n>>> 3\n3\n```"
    )


def test_a_continued_row_is_one_row() -> None:
    text = (
        "| part | type | meaning |\n|------|:-----|---------|\n| cost | 0, 1 | 1 on a     |\n"
        "|      |      | hazard or  |\n|      |      | a vase     |\n| ends |      | at 9       |\n"
        "\nEnd."
    )
    assert pages.as_markdown(text).splitlines() == [
        "| part | type | meaning |",
        "|------|:-----|---------|",
        "| cost | 0, 1 | 1 on a hazard or a vase |",
        "| ends |  | at 9 |",
        "",
        "End.",
    ]


@pytest.mark.parametrize("name", CLASSES.values(), ids=CLASSES)
def test_no_page_has_quotations_or_rows_without_a_name(name: str) -> None:
    text = inspect.getdoc(env_class(resolve(name))) or ""
    page = html(pages.as_markdown(text))
    assert "<blockquote>" not in page
    assert not re.search(r"<tr>\s*<td></td>", page)
    assert page.count("<table>") == len(re.findall(r"^\|[\s:|-]+\|$", text, re.MULTILINE)) >= 1
    examples = re.findall(r"(?:^|\n\n)>>> ", text)
    assert page.count("<pre><code") == len(examples)
    words = re.findall(r"\w+", re.sub(r"[|`*_>-]", " ", text))
    plain = unescape(re.sub(r"<[^>]+>", " ", page))
    shown = re.findall(r"\w+", re.sub(r"[|`*_>-]", " ", plain))
    assert sorted(shown) == sorted(words), "no word of the docstring is lost"


def test_the_page_of_public_names_has_all_of_them() -> None:
    page = (_PATH.parent / "python-api.md").read_text(encoding="utf-8")
    missing = [n for n in pkubench.__all__ if not re.search(rf"`pkubench\.{n}\b", page)]
    assert not missing
    for name in re.findall(r"`@?(pkubench(?:\.\w+)+)", page):
        module, _, attribute = name.rpartition(".")
        found = importlib.import_module(module)
        assert hasattr(found, attribute) or importlib.util.find_spec(name), name


def test_every_reference_page_that_is_linked_is_generated() -> None:
    generated = set(re.findall(r'"(pkubench[\w.]*)"', _REFERENCE[1]))
    for page in _PATH.parent.rglob("*.md"):
        for name in re.findall(r"reference/([\w.]+)\.md", page.read_text(encoding="utf-8")):
            assert name in generated, f"{page.name} links {name}"
    assert all(importlib.util.find_spec(name) for name in generated)
