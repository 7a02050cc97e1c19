"""The blocks of README.md and the tutorials run as they are written, page by page, in order.

A block without a mark runs here, each page in an empty folder. The line before a block may say
otherwise, in a comment that readers of the page do not see:

    <!-- slow -->            seconds or more, or needs a shell: runs with ``make test-slow``
    <!-- not run: WHY -->    an illustration

A block of Python with a title is written to the file of that name; where the repository has a file
of that name, the block is an excerpt of it, and the whole file is written. Commands after an
``export`` of variables run in a process of their own. Sessions (pycon) are doctests.

Evaluations play in the process of their command here; with ``make test-slow`` the same blocks run
in a shell, with workers.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from pkubench.cli.main import main
from tests.conftest import play_in_process

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "docs/index.md", *sorted(ROOT.glob("docs/tutorials/*.md"))]
FENCE = re.compile(
    r"(?:^<!-- (?P<mark>.*) -->\n)?^``` ?(?P<info>\S.*)\n(?P<text>(?:.*\n)*?)^```$", re.M
)
MARK = re.compile(r"slow|not run: \S.*")


class Block(NamedTuple):
    """A fenced block of a page."""

    kind: str
    """``bash``, ``python``, ``pycon`` or ``text``."""
    title: str
    """Of a file to write."""
    mark: str
    """``slow``, ``not run: WHY``, or nothing."""
    text: str


def blocks(page: Path) -> list[Block]:
    found = []
    for match in FENCE.finditer(page.read_text(encoding="utf-8")):
        info, mark = match["info"], match["mark"] or ""
        kind = re.sub(r"[{}.]", " ", info.partition("title=")[0]).strip()
        title = re.search(r'title="(.*?)"', info)
        assert not mark or MARK.fullmatch(mark), f"{page.name}: what does <!-- {mark} --> mean?"
        text = re.sub(r'--8<-- "(.*)"\n', lambda m: (ROOT / m[1]).read_text(), match["text"])
        found.append(Block(kind, title[1] if title else "", mark, text))
    return found


def write(block: Block, folder: Path) -> None:
    path, text = folder / block.title, block.text
    path.parent.mkdir(parents=True, exist_ok=True)
    if (ROOT / block.title).is_file():
        whole = (ROOT / block.title).read_text(encoding="utf-8")
        assert text in whole, f"not an excerpt of {block.title}:\n{text}"
        text = whole
    path.write_text(text, encoding="utf-8")


def commands(block: Block) -> list[list[str]]:
    """The words of each command; a block that needs a shell for more has to be marked slow."""
    lines = block.text.replace("\\\n", " ").splitlines()
    found = [words for line in lines if (words := shlex.split(line, comments=True))]
    for words in found:
        assert words[0] in ("pkubench", "export"), words
        assert not {"|", ">", "&&", ";"} & set(words), words
    return found


RUN = """
import json, shlex, sys
import pytest
from pkubench.cli.main import main
from tests.conftest import play_in_process
play_in_process(pytest.MonkeyPatch())
for words in json.loads(sys.argv[1]):
    code = main(words)
    assert code == 0, f"{shlex.join(words)}: exit code {code}"
"""


def run_elsewhere(lines: list[list[str]], variables: Mapping[str, str], folder: Path) -> None:
    """Run commands in a process of their own, where modules may register what they bring."""
    paths = os.pathsep.join([variables.get("PYTHONPATH", ""), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(lines)],
        cwd=folder,
        env={**os.environ, **variables, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


def exported(lines: list[list[str]]) -> dict[str, str]:
    """The variables that ``export`` lines set."""
    pairs = [word.partition("=") for words in lines if words[0] == "export" for word in words[1:]]
    return {name: value for name, _, value in pairs}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_runs_as_it_is_written(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    play_in_process(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    variables: dict[str, str] = {}
    later: list[list[str]] = []  # in one process: importing torch takes longer than the commands
    for block in blocks(page):
        if block.kind == "python" and not block.mark:
            write(block, tmp_path)
        elif block.kind == "bash" and not block.mark:
            found = commands(block)
            assert not (variables and exported(found)), "one export per page"
            variables |= exported(found)
            for words in (words[1:] for words in found if words[0] == "pkubench"):
                if variables:
                    later.append(words)
                    continue
                assert main(words) == 0, f"{shlex.join(words)}: {capfd.readouterr().err}"
    if later:
        run_elsewhere(later, variables, tmp_path)
    for name in set(sys.modules) - before:  # those of the page's own files, which another may name
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_runs_in_a_shell_slow_blocks_too(page: Path, tmp_path: Path) -> None:
    shims, folder = tmp_path / "bin", tmp_path / "empty"
    shims.mkdir()
    folder.mkdir()
    for name, call in {"pkubench": "-m pkubench", "python": ""}.items():
        found = f'PYTHONPATH="$PYTHONPATH":{shlex.quote(str(ROOT))}'
        run = f'{found} exec {shlex.quote(sys.executable)} {call} "$@"'
        (shims / name).write_text(f"#!/bin/sh\n{run}\n")
        (shims / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{shims}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    for block in blocks(page):
        if block.mark.startswith("not run"):
            continue
        if block.kind == "python":
            write(block, folder)
        elif block.kind == "bash":
            shell = ["bash", "-euo", "pipefail", "-c", block.text]
            environment |= exported([line.split() for line in block.text.splitlines() if line])
            done = subprocess.run(
                shell, cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{block.text}\n{done.stderr}"
            assert "Traceback" not in done.stderr


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    for page in PAGES:
        found = blocks(page)
        fences = len(re.findall(r"^ *```", page.read_text(encoding="utf-8"), re.M))
        assert fences == 2 * len(found), f"{page.name} has a fence that is not read"
        for block in found:
            assert block.kind in ("bash", "python", "pycon", "text"), (page.name, block.kind)
            assert block.title or block.kind != "python", f"{page.name}: name the file of {block}"
    tutorials = [page for page in PAGES if page.parent.name == "tutorials"]
    assert all(any(b.kind == "bash" and not b.mark for b in blocks(page)) for page in tutorials)


def test_marks_and_files_are_read_as_the_convention_says(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "a\n```bash\npkubench list \\\n    --json  # all\n```\n<!-- slow -->\n```bash\nls\n```\n\n"
        '<!-- not run: why -->\n```bash\nrm\n```\n``` { .python title="a/b.py" }\nx = 1\n```\n'
    )
    plain, slow, never, file = blocks(page)
    assert commands(plain) == [["pkubench", "list", "--json"]]
    assert (slow.mark, never.mark, file.kind, file.title) == (
        "slow",
        "not run: why",
        "python",
        "a/b.py",
    )
    write(file, tmp_path)
    assert (tmp_path / "a" / "b.py").read_text() == "x = 1\n"
    assert exported(commands(plain._replace(text="export A=1 B=x\npkubench list\n"))) == {
        "A": "1",
        "B": "x",
    }
    for line in ("ls", "pkubench list | cat"):
        with pytest.raises(AssertionError):
            commands(plain._replace(text=line))
    excerpt = Block("python", "examples/__init__.py", "", "no line of it\n")
    with pytest.raises(AssertionError, match="not an excerpt"):
        write(excerpt, tmp_path)
    page.write_text("<!-- skip -->\n```bash\nls\n```\n")
    with pytest.raises(AssertionError, match="what does"):
        blocks(page)
