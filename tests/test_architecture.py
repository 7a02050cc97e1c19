"""The picture of the house in docs/architecture.md, held against the code."""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from collections.abc import Iterator, Mapping

import pytest

from pkubench.agents.registry import families, presets
from pkubench.envs.core.registry import env_families, environments
from pkubench.tasks.registry import suites
from tests.architecture import (
    MODULES,
    PACKAGE,
    ROOT,
    SOURCES,
    circles,
    functions,
    import_graph,
    module_name,
    references,
    strings,
)

# Room -> what it may import of the other rooms. A name with a dot is one module or subpackage.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "errors": (),
    "files": ("errors",),
    "plugins": ("errors",),
    "envs": ("errors", "plugins"),
    # Recorded episodes know spaces and environments; what a task is, agents tell them.
    "data": ("errors", "files", "envs.core"),
    # Banks are of grid worlds: recorded, replayed and drawn.
    "retrieval": ("errors", "files", "data", "envs"),
    # The statistics are functions of arrays that import nothing else of the house.
    "tasks": ("errors", "plugins", "envs", "agents.contract", "evaluation.statistics"),
    # Agents see environments through the batch contract, games through their exact engine, and
    # grasping through its scripts and the layout of its observations; never a suite or an
    # environment by name. A task is a type to them: see TYPES_ONLY.
    "agents": (
        *("errors", "files", "plugins", "data", "retrieval"),
        *("envs.core", "envs.adapters", "envs.games", "envs.grasp"),
    ),
    # Evaluation knows agents by the contract, never by name.
    "evaluation": ("errors", "files", "plugins", "envs", "tasks", "agents.contract"),
    # A session validates as evaluations play; it knows learners by the contract, and families and
    # presets by the registry.
    "training": (
        *("errors", "files", "plugins", "envs.core", "tasks", "evaluation.run"),
        *(
            "agents.components",
            "agents.learner",
            "agents.registry",
            "agents.saved",
            "agents.suitability",
        ),
    ),
    "leaderboard": (
        "errors",
        "envs",
        "tasks",
        "evaluation",
        "agents.contract",
        "agents.registry",
        "agents.resolve",
        "agents.saved",
        "agents.suitability",
    ),
    "cli": (
        *("errors", "files", "plugins", "envs", "tasks", "agents", "evaluation", "training"),
        "leaderboard",
    ),
}
TYPES_ONLY = {"agents": ("tasks",), "data": ("tasks",)}
"""Room -> rooms that it may import under ``if TYPE_CHECKING``."""

FAMILIES = "pkubench.agents.families"
GENERIC = (
    *("evaluation", "training", "leaderboard", "cli", "tasks", "envs.core", "envs.adapters"),
    *("agents.registry", "agents.requirements", "agents.suitability", "agents.components"),
    "agents.learner",
    *("agents.contract", "agents.settings", "agents.saved", "agents.resolve"),
    *("files", "plugins", "errors"),
)
"""What names no agent, suite, family or environment; of tasks, all but NOT_GENERIC."""
NOT_GENERIC = ("tasks.suites", "tasks.claims")
ALLOWED_NAMES: dict[str, str] = {
    "random": "the zero of every normalised scale is called so, in references and examples",
    "credit": "a verb, and the slot and file of credit models, as well as a suite",
    "difference": "the title of a column, as well as an agent",
    "payoff": "the word of a matrix's entries, as well as the prefix of files of them",
    "matrix": "the mathematical object, as well as a prefix",
    "games": "an extra of pyproject.toml, as well as a suite",
    "marl": "an extra of pyproject.toml, as well as a suite",
    "minigrid": "an extra of pyproject.toml, as well as a prefix",
    "population": "a kind of bundle, as well as a family",
}
"""Strings of generic code that are names of ours and mean something else there -> what."""
ALLOWED_PLACES: dict[tuple[str, str], str] = {
    ("pkubench.evaluation.figures.style", "constrained"): "a layout of matplotlib",
    ("pkubench.cli.export", "openspiel"): "the option, and how such a file is spelt as an agent",
}
"""(Module, string) -> why it is allowed in that module alone."""

MAX_LINES, MAX_FUNCTION = 400, 80
OVERSIZED: dict[str, str] = {
    "pkubench.cli.train:train": "its arguments are the command's options, each with its help",
}
"""Module, or ``module:function``, over the limit -> why it still is."""

FORBIDDEN = re.compile(
    r"NotImplementedError|\bTODO\b|\bFIXME\b|\bXXX\b|\bfor now\b|\bplaceholder|\bsimplified\b",
    re.IGNORECASE,
)


def room(name: str) -> str:
    """The room a dotted name lies in; empty for the package itself and its ``__main__``."""
    return [*name.split("."), ""][1].replace("__main__", "")


def lies_in(name: str, places: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of some places of the package, or below one."""
    inner = name.removeprefix("pkubench.")
    return any(inner == place or inner.startswith(f"{place}.") for place in places)


def is_allowed(source: str, target: str, *, is_typing: bool = False) -> bool:
    """Whether the module ``source`` may refer to ``target``, both as dotted names."""
    if not target.startswith("pkubench."):
        return target != "pkubench" or room(source) in ("", "cli")
    inner = target.removeprefix("pkubench.")
    if room(source) == "" or room(target) == room(source):
        return True
    if room(target) not in MAY_IMPORT:  # a name of the package itself, such as __version__
        return inner == "__version__" or room(source) == "cli"
    places = MAY_IMPORT.get(room(source), ())
    return lies_in(target, places + (TYPES_ONLY.get(room(source), ()) if is_typing else ()))


def wrong_imports(source: str, text: str) -> list[str]:
    return [
        f"{source}:{line} imports {target}"
        for line, target, is_typing, _ in references(source, text)
        if not is_allowed(source, target, is_typing=is_typing)
    ]


def wrong_families(source: str, text: str) -> list[str]:
    """Where a module refers to a family that is not its own: families are found by declaration."""
    own = ".".join(source.split(".")[:4]) if source.startswith(f"{FAMILIES}.") else None
    if room(source) == "":
        return []
    return [
        f"{source}:{line} refers to {target}"
        for line, target, *_ in references(source, text)
        if target.startswith(f"{FAMILIES}.") and ".".join(target.split(".")[:4]) != own
    ]


@functools.cache
def names() -> frozenset[str]:
    """Every name of an agent, a suite, a family or an environment that the package declares."""
    ids = [spec.id for spec in environments().values() if spec.id.startswith("pkubench/")]
    own = [preset.name for preset in presets().values() if preset.family in shipped_families()]
    games = [family.prefix for family in env_families().values()]
    short = [name.partition("/")[2] for name in ids]
    return frozenset([*ids, *short, *own, *games, *suites(), *shipped_families()])


@functools.cache
def shipped_families() -> frozenset[str]:
    return frozenset(
        name for name, of in families().items() if str(of.learner or of.make).startswith("pkubench")
    )


def beginnings() -> Iterator[str]:
    """How ids begin, as a test of a prefix would have them: ``Multi``, ``/Multi``, ``Point``."""
    for spec in environments().values():
        for word in re.findall(r"[A-Z][a-z]+", spec.id.partition("/")[2])[:1]:
            if len(word) > 3:
                yield from (word, f"/{word}", f"pkubench/{word}")


def wrong_names(source: str, text: str) -> list[str]:
    """Strings of a generic module that name an agent, a suite, a family or an environment."""
    if not lies_in(source, GENERIC) or lies_in(source, NOT_GENERIC):
        return []
    known = names() | set(beginnings())
    prefixes = {f"{family.prefix}:" for family in env_families().values()}
    return [
        f"{source}:{line} names {text!r}"
        for line, text in strings(text)
        if (text in known or text in prefixes)
        and text not in ALLOWED_NAMES
        and (source, text) not in ALLOWED_PLACES
    ]


def oversized(sources: Mapping[str, str]) -> dict[str, int]:
    """Modules and functions over the limits, with their lines."""
    found = {}
    for name, text in sources.items():
        lines = len(text.splitlines())
        if lines > MAX_LINES:
            found[name] = lines
        found |= {f"{name}:{f}": n for f, n in functions(text) if n > MAX_FUNCTION}
    return found


def test_imports_point_one_way() -> None:
    wrong = [fault for name, text in SOURCES.items() for fault in wrong_imports(name, text)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("pkubench.envs.x", "from pkubench.tasks.task import Task"),
        ("pkubench.envs.x", "def f():\n    import pkubench.agents.contract"),
        ("pkubench.tasks.x", "from pkubench import evaluate"),
        ("pkubench.tasks.x", "import pkubench"),
        ("pkubench.tasks.x", "from pkubench.evaluation.report import Report"),
        ("pkubench.evaluation.x", "from pkubench.agents.resolve.loading import load_agent"),
        ("pkubench.evaluation.x", "import_module('pkubench.agents.families.on_policy.harl')"),
        ("pkubench.evaluation.x", "hint = 'pkubench.leaderboard.board.store:Board'"),
        ("pkubench.evaluation.x.y", "from ...agents import happo"),
        ("pkubench.agents.x", "from pkubench.envs.particle.spread import SimpleSpread"),
        ("pkubench.agents.x", "from pkubench.tasks.registry import make_task"),
        ("pkubench.agents.x", "from pkubench.tasks.task import Task"),
        ("pkubench.errors", "from pkubench.envs import batch"),
        ("pkubench.training.x", "from pkubench.agents.rl.on_policy import make_learner"),
        ("pkubench.training.x", "from pkubench.agents.families.psro import FAMILY"),
        ("pkubench.evaluation.x", "from pkubench.training.session import train"),
        ("pkubench.leaderboard.x", "from pkubench.cli.main import run"),
        ("pkubench.leaderboard.x", "from pkubench.agents.nn.actor import Actor"),
    ],
)
def test_an_import_against_the_stream_is_seen(source: str, text: str) -> None:
    assert wrong_imports(source, text)


TYPING = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("pkubench.evaluation.x", "from pkubench.agents.contract import Agent"),
        ("pkubench.evaluation.x.y", "from ..metrics import mean"),
        ("pkubench.agents.x", "from pkubench.envs.games.tree import GameTree"),
        ("pkubench.agents.x", f"{TYPING}from pkubench.tasks.task import Task"),
        ("pkubench.tasks.x", "from pkubench.evaluation.statistics import mean_interval"),
        ("pkubench.leaderboard.x", "from pkubench import __version__"),
        ("pkubench.cli.x", "from pkubench.leaderboard.board.store import Store"),
        ("pkubench.envs.x", "import numpy as np"),
    ],
)
def test_an_import_with_the_stream_is_let_through(source: str, text: str) -> None:
    assert not wrong_imports(source, text)


def test_every_room_of_the_house_is_in_the_picture() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    loose = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert rooms | loose <= MAY_IMPORT.keys()
    picture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    missing = [name for name in sorted(rooms) if f"pkubench/{name}/" not in picture]
    assert not missing, f"docs/architecture.md does not show {missing}"


def test_families_never_meet_and_nothing_else_names_one() -> None:
    wrong = [fault for name, text in SOURCES.items() for fault in wrong_families(name, text)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (f"{FAMILIES}.on_policy.x", f"from {FAMILIES}.off_policy.presets import preset"),
        (f"{FAMILIES}.on_policy", f"learner = '{FAMILIES}.psro:make_learner'"),
        ("pkubench.agents.rl.x", f"from {FAMILIES}.psro.population import load_population"),
        ("pkubench.agents.nn.x", f"def f():\n    import {FAMILIES}.scripted.random"),
        ("pkubench.agents.resolve.x", f"loaders = {{'x': '{FAMILIES}.psro.loading:load'}}"),
        ("pkubench.cli.x", f"from {FAMILIES}.psro.response_bound import response_bound"),
    ],
)
def test_a_family_out_of_place_is_seen(source: str, text: str) -> None:
    assert wrong_families(source, text)


def test_a_family_may_refer_to_itself_and_to_shared_learners() -> None:
    text = f"from {FAMILIES}.psro.population import load\nlearner = 'pkubench.agents.rl.x:make'"
    assert not wrong_families(f"{FAMILIES}.psro.training", text)


def test_generic_code_names_no_agent_suite_family_or_environment() -> None:
    wrong = [fault for name, text in SOURCES.items() for fault in wrong_names(name, text)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "first = 'happo'",
        "is_limited = task.suite == 'constrained'",
        "kind = 'on-policy'",
        "if '/Multi' in task.id: ...",
        "name.startswith('Point')",
        "x = 'KuhnPoker-v0'",
        "x = 'pkubench/SimpleSpread-v0'",
        "name.removeprefix('openspiel:')",
        "f'{x}ppo-lag'",
    ],
)
def test_a_name_in_generic_code_is_seen(text: str) -> None:
    for source in ("pkubench.cli.x", "pkubench.tasks.x", "pkubench.agents.resolve.x"):
        assert wrong_names(source, text)


def test_names_are_let_through_where_they_belong() -> None:
    assert not wrong_names("pkubench.tasks.suites.x", "NAME = 'constrained'")
    assert not wrong_names(f"{FAMILIES}.on_policy", "first = 'happo'")
    assert not wrong_names("pkubench.cli.x", "def f():\n    'happo'")  # a docstring
    assert not wrong_names("pkubench.cli.x", "command('evaluate', 'random')")


def test_no_module_imports_itself_through_others() -> None:
    assert not circles(import_graph(SOURCES))


def test_a_circle_is_seen_and_a_late_or_typing_import_is_none() -> None:
    a, b, c = (f"pkubench.{name}" for name in "abc")
    round_about = {
        a: "from pkubench.b import f",
        b: "import pkubench.c",
        c: "from pkubench import a",
    }
    assert circles(import_graph(round_about)) == [[a, b, c]]
    late = {**round_about, c: "def f():\n    from pkubench import a"}
    typing = {**round_about, c: f"{TYPING}from pkubench import a"}
    assert not circles(import_graph(late)) and not circles(import_graph(typing))


def test_one_module_knows_how_a_file_is_written_whole() -> None:
    writers = [module_name(p) for p in MODULES if "fsync" in p.read_text(encoding="utf-8")]
    # Episode lines are appended, so the store of records makes its own file durable.
    assert writers == ["pkubench.evaluation.run.storage", "pkubench.files"]


def test_every_module_and_function_is_read_in_one_go() -> None:
    found = oversized(SOURCES)
    new = {name: lines for name, lines in found.items() if name not in OVERSIZED}
    assert not new, f"over {MAX_LINES} lines, or a function over {MAX_FUNCTION}: {new}"
    done = sorted(OVERSIZED.keys() - found.keys())
    assert not done, f"within the limits now, so take them off the list: {done}"


def test_a_long_module_and_a_long_function_are_seen() -> None:
    body = "\n".join(["def f():", *["    x = 1"] * MAX_FUNCTION])
    assert oversized({"a": body}) == {"a:f": MAX_FUNCTION + 1}
    assert oversized({"a": "x = 1\n" * (MAX_LINES + 1)}) == {"a": MAX_LINES + 1}
    assert not oversized({"a": "x = 1\n" * MAX_LINES + "\n".join(body.splitlines()[:-1])[:0]})


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
