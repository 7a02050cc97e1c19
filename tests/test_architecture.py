"""The picture of the house in docs/architecture.md, held against the code."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "pkubench"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 500

# Room -> what it may import of the other rooms. A name with a dot is one module or subpackage.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "errors": (),
    "files": ("errors",),
    "envs": ("errors",),
    "tasks": ("errors", "envs"),
    # Learners see a task by its contract, environments through the batch contract, and games
    # through their exact engine; never a suite or an environment by name.
    "agents": (
        "errors",
        "files",
        "tasks.task",
        "envs.core",
        "envs.adapters",
        "envs.games",
    ),
    # Evaluation knows agents by the contract, never by name.
    "evaluation": ("errors", "files", "envs", "tasks", "agents.contract"),
    # A session validates as evaluations play; it knows learners by the contract, and families and
    # presets by the registry.
    "training": (
        "errors",
        "files",
        "envs.core",
        "tasks",
        "evaluation.run",
        "agents.components",
        "agents.learner",
        "agents.registry",
        "agents.saved",
    ),
    "leaderboard": (
        "errors",
        "envs",
        "tasks",
        "evaluation",
        "agents.contract",
        "agents.resolve.loading",
    ),
    "cli": ("errors", "envs", "tasks", "agents", "evaluation", "training", "leaderboard"),
}

FORBIDDEN = re.compile(
    r"NotImplementedError|\bTODO\b|\bFIXME\b|\bXXX\b|\bfor now\b|\bplaceholder|\bsimplified\b",
    re.IGNORECASE,
)
DOTTED_NAME = re.compile(r"pkubench(\.[A-Za-z_]\w*)+(:\w+)?")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    """The room a dotted name lies in; empty for the package itself and its ``__main__``."""
    return [*name.split("."), ""][1].replace("__main__", "")


def imported_names(tree: ast.AST, name: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Every pkubench name a module refers to: any import anywhere, and names given as strings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if is_package else name.split(".")[:-1]
                package = package[: len(package) - node.level + 1]
                base = ".".join([*package, base] if base else package)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and DOTTED_NAME.fullmatch(node.value)
            and room(node.value.partition(":")[0]) in MAY_IMPORT
        ):
            yield node.lineno, node.value.partition(":")[0]


def is_allowed(source: str, target: str) -> bool:
    """Whether the module ``source`` may refer to ``target``, both as dotted names."""
    if not target.startswith("pkubench."):
        return target != "pkubench" or room(source) in ("", "cli")
    inner = target.removeprefix("pkubench.")
    if room(source) == "" or room(target) == room(source):
        return True
    if room(target) not in MAY_IMPORT:  # a name of the package itself, such as __version__
        return inner == "__version__" or room(source) == "cli"
    return any(
        inner == allowed or inner.startswith(f"{allowed}.")
        for allowed in MAY_IMPORT.get(room(source), ())
    )


def wrong_imports(source: str, text: str, is_package: bool = False) -> list[str]:
    return [
        f"{source}:{line} imports {target}"
        for line, target in imported_names(ast.parse(text), source, is_package)
        if not is_allowed(source, target)
    ]


def test_imports_point_one_way() -> None:
    wrong = [
        fault
        for path in MODULES
        for fault in wrong_imports(
            module_name(path), path.read_text(encoding="utf-8"), path.name == "__init__.py"
        )
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("pkubench.envs.x", "from pkubench.tasks.task import Task"),
        ("pkubench.envs.x", "def f():\n    import pkubench.agents.contract"),
        ("pkubench.tasks.x", "from pkubench import evaluate"),
        ("pkubench.tasks.x", "import pkubench"),
        ("pkubench.evaluation.x", "from pkubench.agents.resolve.loading import load_agent"),
        ("pkubench.evaluation.x", "import_module('pkubench.agents.families.on_policy.harl')"),
        ("pkubench.evaluation.x.y", "from ...agents import happo"),
        ("pkubench.agents.x", "from pkubench.envs.particle.spread import SimpleSpread"),
        ("pkubench.agents.x", "from pkubench.tasks.registry import make_task"),
        ("pkubench.errors", "from pkubench.envs import batch"),
        ("pkubench.training.x", "from pkubench.agents.rl.on_policy import make_learner"),
        ("pkubench.training.x", "from pkubench.agents.families.psro import FAMILY"),
        ("pkubench.evaluation.x", "from pkubench.training.session import train"),
        ("pkubench.leaderboard.x", "from pkubench.cli.main import run"),
    ],
)
def test_an_import_against_the_stream_is_seen(source: str, text: str) -> None:
    assert wrong_imports(source, text)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("pkubench.evaluation.x", "from pkubench.agents.contract import Agent"),
        ("pkubench.evaluation.x.y", "from ..metrics import mean"),
        ("pkubench.agents.x", "from pkubench.envs.games.tree import GameTree"),
        ("pkubench.leaderboard.x", "from pkubench import __version__"),
        ("pkubench.cli.x", "from pkubench.leaderboard.board.store import Store"),
        ("pkubench.envs.x", "import numpy as np"),
        ("pkubench.envs.x", "hint = 'pkubench.parallel_env'"),
    ],
)
def test_an_import_with_the_stream_is_let_through(source: str, text: str) -> None:
    assert not wrong_imports(source, text)


def test_every_room_of_the_house_is_in_the_picture() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    loose = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert rooms | loose == MAY_IMPORT.keys()
    picture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    missing = [name for name in sorted(rooms) if f"pkubench/{name}/" not in picture]
    assert not missing, f"docs/architecture.md does not show {missing}"


def test_one_module_knows_how_a_file_is_written_whole() -> None:
    writers = [module_name(p) for p in MODULES if "fsync" in p.read_text(encoding="utf-8")]
    # Episode lines are appended, so the store of records makes its own file durable.
    assert writers == ["pkubench.evaluation.run.storage", "pkubench.files"]


def test_no_module_is_longer_than_one_reading() -> None:
    lengths = {module_name(p): len(p.read_text(encoding="utf-8").splitlines()) for p in MODULES}
    long = {name: lines for name, lines in lengths.items() if lines > MAX_LINES}
    assert not long, f"over {MAX_LINES} lines, so each holds a second thing: {long}"


def test_no_word_of_unfinished_work_is_in_the_package() -> None:
    found = [
        f"{module_name(path)}:{number}: {line.strip()}"
        for path in MODULES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if FORBIDDEN.search(line)
    ]
    assert not found, "\n".join(found)


def extras_named(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The extras that MissingExtra(...) calls and ``extra=`` arguments name literally."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        called = node.func.id if isinstance(node.func, ast.Name) else called
        values = [keyword.value for keyword in node.keywords if keyword.arg == "extra"]
        if called == "MissingExtra":
            values += node.args[:1]
        for value in values:
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.lineno, value.value


def test_every_extra_that_code_asks_for_is_in_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = project["optional-dependencies"].keys()
    named = [
        (f"{module_name(path)}:{line}", extra)
        for path in MODULES
        for line, extra in extras_named(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert named, "no module names an extra, so this test looks in the wrong place"
    unknown = [f"{place} asks for {extra!r}" for place, extra in named if extra not in known]
    assert not unknown, "\n".join(unknown)


def test_the_command_line_knows_the_extras_of_pyproject() -> None:
    from pkubench.cli.extras import EXTRAS

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert EXTRAS.keys() == project["optional-dependencies"].keys() - {"all", "dev"}


def test_constraints_pin_every_direct_dependency_at_or_above_its_lower_bound() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pins = {
        canonicalize_name(requirement.name): str(requirement.specifier).removeprefix("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
        for requirement in [Requirement(line)]
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    chosen = Requirement(extras["all"][0]).extras
    wanted = [*project["dependencies"], *extras["dev"]]
    wanted += [line for name in chosen for line in extras[name]]
    for requirement in map(Requirement, wanted):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"constraints.txt does not pin {requirement.name}"
        assert requirement.specifier.contains(pin), f"{requirement} does not admit {pin}"
