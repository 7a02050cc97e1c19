"""Agents from user code: objects, and results of ``module:factory``."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, cast

from pkubench.agents.contract import (
    Agent,
    CentralisedTeam,
    Entrant,
    Population,
    StochasticPolicy,
    Team,
)
from pkubench.agents.registry import ObjectAdapter, import_function, object_adapters
from pkubench.errors import AgentError

ACCEPTED = "an Agent (begin and act), a Team, a CentralisedTeam, a Population"
"""Kinds of entrants, for messages; in addition to those of ``object_adapters``."""


def load_code(spelling: str, task_id: str | None) -> Entrant:
    """Import ``package.module:factory`` and call it, with the task's id if it takes an argument.

    Raises:
        AgentError: there is no such factory, or it does not return an entrant.
    """
    module_name, _, path = spelling.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in path.split("."):
        if not hasattr(found, part):
            raise AgentError(f"agent {spelling!r}: {module_name} has no {path!r}")
        found = getattr(found, part)
    if _is_entrant(found) or _adapter_of(found) is not None or not callable(found):
        return checked_entrant(found, spelling, task_id)
    return checked_entrant(_call(found, spelling, task_id), spelling, task_id)


def checked_entrant(value: Any, origin: str, task_id: str | None) -> Entrant:
    """Return ``value`` as something the harness can score.

    Args:
        value: Anything.
        origin: Its origin, for messages.
        task_id: The task to act in, for objects of other libraries that are adapted to it.

    Raises:
        AgentError: it is not an entrant, or does not fit the task.
    """
    adapter = _adapter_of(value)
    if adapter is not None:
        if task_id is None:
            raise AgentError(f"{origin} is {adapter.noun}; name the task")
        entrant: Entrant = import_function(adapter.adapt)(value, task_id)
        return entrant
    if _is_entrant(value):
        return cast(Entrant, value)
    what = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
    others = "".join(f", or {adapter.noun}" for adapter in object_adapters())
    raise AgentError(f"{origin} is not an agent ({what}); pkubench scores {ACCEPTED}{others}")


def _is_entrant(value: Any) -> bool:
    # Classes have the methods of their instances, but are not instances.
    kinds = Team | Population | CentralisedTeam | Agent | StochasticPolicy
    return not isinstance(value, type) and isinstance(value, kinds) and _adapter_of(value) is None


def _adapter_of(value: Any) -> ObjectAdapter | None:
    """Return the adapter of an object of another library, without importing anything."""
    parents = type(value).__mro__
    names = {f"{parent.__module__}.{parent.__qualname__}" for parent in parents}
    adapters = (a for a in object_adapters() if not names.isdisjoint(a.classes))
    return next(adapters, None)


def _call(factory: Callable[..., Any], spelling: str, task_id: str | None) -> Any:
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):  # built-in callables have no signature
        return factory()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in positional if p.default is p.empty]
    if len(needed) > 1:
        raise AgentError(f"agent {spelling!r}: its factory may take one argument, the task's id")
    if not positional:
        return factory()
    if task_id is None:
        if needed:
            raise AgentError(f"agent {spelling!r} depends on the task; name one")
        return factory()
    return factory(task_id)
