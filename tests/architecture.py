"""Reads the package as text: imports, strings, sizes. The rules are in ``test_architecture.py``."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "pkubench"
MODULES = sorted(PACKAGE.rglob("*.py"))
DOTTED_NAME = re.compile(r"pkubench(\.[A-Za-z_]\w*)+(:\w+)?")


class Reference(NamedTuple):
    """A name of the package that a module refers to."""

    line: int
    target: str
    """As a dotted name."""
    is_typing: bool
    """Under ``if TYPE_CHECKING``, so that nothing is imported when the program runs."""
    is_top: bool
    """When the module itself is imported; not inside a function, and not a string."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PARTS = {path.stem for path in PACKAGE.iterdir()}
"""What lies directly in the package."""


SOURCES = {module_name(path): path.read_text(encoding="utf-8") for path in MODULES}
PACKAGES = {module_name(path) for path in MODULES if path.name == "__init__.py"}


@functools.cache
def references(source: str, text: str) -> tuple[Reference, ...]:
    """Every name of the package that a module refers to, strings such as ``pkubench.x:f`` too."""
    return tuple(_references(source, text))


def _references(source: str, text: str) -> Iterator[Reference]:
    is_package = source in PACKAGES
    tree = ast.parse(text)
    typing = set(_below(node for node in ast.walk(tree) if _is_typing_block(node)))
    functions = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    inner = set(_below(node for node in ast.walk(tree) if isinstance(node, functions)))
    for node in ast.walk(tree):
        for line, target, is_string in _names(node, source, is_package):
            is_top = node not in inner and not is_string
            yield Reference(line, target, node in typing, is_top)


def _names(node: ast.AST, source: str, is_package: bool) -> Iterator[tuple[int, str, bool]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield node.lineno, alias.name, False
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            package = source.split(".") if is_package else source.split(".")[:-1]
            package = package[: len(package) - node.level + 1]
            base = ".".join([*package, base] if base else package)
        for alias in node.names:
            yield node.lineno, f"{base}.{alias.name}", False
    elif (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and DOTTED_NAME.fullmatch(node.value)
        and node.value.split(".")[1].partition(":")[0] in PARTS
    ):
        yield node.lineno, node.value.partition(":")[0], True


def _is_typing_block(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _below(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for node in nodes:
        yield from ast.walk(node)


def strings(text: str) -> Iterator[tuple[int, str]]:
    """Every string constant of a module but its docstrings, parts of f-strings included."""
    tree = ast.parse(text)
    docs = {
        id(statement.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        for statement in node.body
        if isinstance(statement, ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def functions(text: str) -> Iterator[tuple[str, int]]:
    """Every function of a module with its length in lines, decorators and docstring included."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            yield node.name, (node.end_lineno or first) - first + 1


def import_graph(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Module -> modules that it imports when it is imported itself."""
    graph: dict[str, set[str]] = {}
    for source, text in sources.items():
        graph[source] = set()
        for reference in references(source, text):
            if reference.is_typing or not reference.is_top:
                continue
            parent = reference.target.rpartition(".")[0]
            found = reference.target if reference.target in sources else parent
            if found in sources and found != source:
                graph[source].add(found)
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in order:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], order[target])
        if low[node] == order[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found
