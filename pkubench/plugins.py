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
from importlib import metadata

from pkubench.errors import ConfigError

PLUGINS = "PKUBENCH_PLUGINS"
_LOADED: set[str] = set()


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


@functools.cache
def _installed() -> tuple[metadata.EntryPoint, ...]:
    """Return our entry points of all installed packages, whose files are read once: 20 ms."""
    found = (entry for package in metadata.distributions() for entry in package.entry_points)
    return tuple(dict.fromkeys(entry for entry in found if entry.group.startswith("pkubench.")))
