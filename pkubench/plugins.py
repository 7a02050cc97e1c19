"""Plugins: environments, suites and agents of other packages.

Installed ones are found by their entry points. Modules that are not installed are named, separated
by commas, in the environment variable ``PKUBENCH_PLUGINS``, which worker processes inherit.

The object behind an entry point registers what it adds when it is imported, or it is a function
without parameters that does so::

    [project.entry-points."pkubench.environments"]
    mine = "my_package.environments"
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import traceback
from importlib import metadata

from pkubench.errors import ConfigError

PLUGINS = "PKUBENCH_PLUGINS"
GROUPS = tuple(f"pkubench.{of}" for of in ("environments", "suites", "agents"))
"""The groups of entry points."""
_LOADED: set[str] = set()
_REGISTRANTS: dict[str, bool] = {}
"""Module of another package that registered something -> whether importing it does so."""
MISSING = f"install the package that registers it, or name its module in {PLUGINS}"
"""Hint about a name that is not of this package."""


def load_entry_points(group: str) -> None:
    """Import everything that installed packages declare in ``group``, once per process.

    Raises:
        ConfigError: one cannot be imported or registers something impossible; the message names
            its package.
    """
    if group in _LOADED:
        return
    _LOADED.add(group)  # set before loading: the plugins may look up what is registered
    for module in filter(None, map(str.strip, os.environ.get(PLUGINS, "").split(","))):
        try:
            importlib.import_module(module)
        except Exception as error:
            _LOADED.discard(group)
            raise ConfigError(
                f"{PLUGINS} names the module {module!r}, which cannot be imported "
                f"({type(error).__name__}: {error}); correct it, or add its folder to PYTHONPATH"
            ) from error
    for entry in _installed():
        if entry.group != group:
            continue
        try:
            found = entry.load()
            if callable(found):
                found()
        except Exception as error:
            _LOADED.discard(group)
            package = entry.dist.name if entry.dist is not None else entry.name
            raise ConfigError(
                f"the installed package {package!r} has the entry point {entry.value!r} of "
                f"{group}, which cannot be loaded ({type(error).__name__}: {error}); fix or "
                "uninstall it"
            ) from error


def load_all() -> None:
    """Import all plug-ins now, in a process whose later calls are timed.

    Raises:
        ConfigError: as :func:`load_entry_points`.
    """
    for group in GROUPS:
        load_entry_points(group)


def note_registrant() -> None:
    """Note the module that calls the caller of this function, to register something.

    Modules of this package are not noted. What one registers in a function that it does not call
    itself is not registered when another process imports it.
    """
    frame = sys._getframe(2)
    module = frame.f_globals
    name = str(module.get("__name__", ""))
    if is_own(name):
        return
    is_import = False
    while frame is not None and not is_import:
        is_import = frame.f_globals is module and frame.f_code.co_name == "<module>"
        frame = frame.f_back  # type: ignore[assignment]
    _REGISTRANTS[name] = _REGISTRANTS.get(name, False) or is_import


def registrants() -> list[str]:
    """Return the modules of other packages that have registered something."""
    return list(_REGISTRANTS)


def for_workers() -> str:
    """Return ``PKUBENCH_PLUGINS`` of worker processes: this one's, and what was imported here."""
    given = [name.strip() for name in os.environ.get(PLUGINS, "").split(",")]
    here = [name for name, is_import in _REGISTRANTS.items() if is_import and name != "__main__"]
    return ",".join(dict.fromkeys(name for name in (*given, *here) if name))


def culprit(error: BaseException) -> str:
    """Return which module of a plug-in raised an error, with the line; "" if none took part."""
    packages = {_top(name) for name in _REGISTRANTS} - {"__main__"}
    for frame, line in reversed([*traceback.walk_tb(error.__traceback__)]):
        name = str(frame.f_globals.get("__name__", ""))
        if _top(name) in packages:
            return f"{name} (line {line})"
    return ""


def raise_misdeclared(path: str, error: ImportError | AttributeError) -> None:
    """Raise the error about ``module:name`` of a plug-in that does not exist, if that is the error.

    Raises:
        ConfigError: it is.
    """
    module, _, name = path.partition(":")
    missing = error.name or ""
    is_missing = module == missing or module.startswith(f"{missing}.")
    is_without = isinstance(error, AttributeError) and missing == name
    if not is_own(module) and missing and (is_missing or is_without):
        raise ConfigError(
            f"the package {_top(module)!r} declares {path!r}, which does not exist ({error}); fix "
            "or uninstall it"
        ) from error


def is_own(module: str) -> bool:
    """Return whether a module is of this package."""
    return _top(module) == _top(__name__)


def _top(module: str) -> str:
    return module.partition(".")[0]


@functools.cache
def _installed() -> tuple[metadata.EntryPoint, ...]:
    """Return our entry points of all installed packages, whose files are read once: 20 ms."""
    found = (entry for package in metadata.distributions() for entry in package.entry_points)
    return tuple(dict.fromkeys(entry for entry in found if entry.group.startswith("pkubench.")))
