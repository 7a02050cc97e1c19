"""Agent families and presets: declared beside their code, found without a central table.

A package under ``pkubench.agents.families`` declares ``FAMILY`` and ``PRESETS``; so does any module
that an installed package names by an entry point of the group ``pkubench.agents``, or that calls
``pkubench.register_family``. Declarations import no torch and build no environment.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pkubench.agents.components import changed, load_entry_points
from pkubench.errors import ConfigError, UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

WEIGHTS = Path(__file__).parents[1] / "weights"
"""Shipped agents: ``weights/AGENT/TASKNAME/seedN/{config.json, weights.safetensors, ...}``."""
Unit = Literal["environment_steps", "gradient_steps", "iterations"]


def _fits(task: Task) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A file or folder that a family trains from: data, a teacher, initial weights."""

    name: str
    """As in ``--input NAME=PATH``."""
    summary: str
    is_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFamily:
    """What a group of agents shares: how they are trained, saved, loaded and told what to do.

    Functions are named ``module:function`` and imported when they are called.
    """

    name: str
    summary: str
    kind: str = ""
    """``config["kind"]`` of its saved agents; "" where nothing is saved."""
    unit: Unit = "environment_steps"
    """What budgets count."""
    learner: str | None = None
    """``module:function(Context) -> Learner``; None for agents that are not trained."""
    batch: str | None = None
    """``module:function(Sequence[Context]) -> BatchLearner``: several seeds side by side."""
    plan: str | None = None
    """``module:function(Context, results) -> Sequence[Stage]``: a pipeline in place of a learner.

    Pure, and called again after every stage with what the finished ones left.
    """
    load: str | None = None
    """``module:function(SavedAgent, Task | None, acting) -> Entrant``."""
    fits: Callable[[Task], str] = _fits
    """Why the family has nothing to do with a task; "" where it fits. Reads traits only."""
    settings: str | None = None
    """``module:class`` of the presets' config."""
    acting: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Settings of acting -> values, the default first: ``{"mode": ("mode", "sampled")}``."""
    inputs: tuple[Input, ...] = ()
    extra: str | None = "agents"
    """The optional dependency set that training and loading need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A named agent: a family with settings, tuned for some tasks."""

    name: str
    family: str
    summary: str
    paper: str = "-"
    suites: tuple[str, ...] = ()
    """Suites whose tasks it is meant for."""
    settings: str | None = None
    """``module:NAME`` of a config, or of a mapping from preset to config; None: not trained."""
    tuned: str | None = None
    """``module:function(preset, task) -> Mapping`` of settings changed for a task."""
    fits: Callable[[Task], str] = _fits
    """Why this agent does not train on a task of its suites; "" where it does."""
    tags: frozenset[str] = frozenset()

    def config(self, task: Task | None = None) -> Any:
        """Return its config, as it is tuned for ``task``; None for an agent that is not trained."""
        if self.settings is None:
            return None
        config = import_function(self.settings)
        if isinstance(config, Mapping):
            config = config[self.name]
        if task is None or self.tuned is None:
            return config
        return changed(config, import_function(self.tuned)(self.name, task), strict=False)


_FAMILIES: dict[str, AgentFamily] = {}
_PRESETS: dict[str, Preset] = {}


def register_family(family: AgentFamily, presets: Iterable[Preset] = ()) -> None:
    """Make a family and presets known to every verb. Again, it changes nothing.

    Raises:
        ConfigError: another family or preset has one of the names, or a preset is of another
            family.
    """
    known = _FAMILIES.get(family.name, family)
    if known != family:
        raise ConfigError(f"another agent family {family.name!r} is registered already")
    presets = tuple(presets)
    for preset in presets:
        if preset.family != family.name:
            raise ConfigError(f"preset {preset.name!r} is of the family {preset.family!r}")
        if _PRESETS.get(preset.name, preset) != preset:
            raise ConfigError(f"another agent {preset.name!r} is registered already")
    _FAMILIES[family.name] = family
    _PRESETS.update({preset.name: preset for preset in presets})


def families() -> Mapping[str, AgentFamily]:
    """Return every family by name."""
    _load()
    return _FAMILIES


def presets() -> Mapping[str, Preset]:
    """Return every named agent."""
    _load()
    return _PRESETS


def preset(name: str) -> Preset:
    """Return a named agent.

    Raises:
        UnknownName: no such agent; the message names the nearest one.
    """
    if name not in presets():
        raise UnknownName("agent", name, presets(), "`pkubench list` shows all")
    return presets()[name]


def family_of(agent: Preset) -> AgentFamily:
    """Return the family of a preset."""
    return families()[agent.family]


def family_of_kind(kind: str) -> AgentFamily:
    """Return the family that loads saved agents of a ``kind``.

    Raises:
        UnknownName: no family saves such agents.
    """
    by_kind = {family.kind: family for family in families().values() if family.kind}
    if kind not in by_kind:
        raise UnknownName("kind of saved agent", kind, by_kind)
    return by_kind[kind]


def import_function(path: str) -> Any:
    """Return the object behind ``module:name``."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


@functools.cache
def _load() -> None:
    package = importlib.import_module("pkubench.agents.families")
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{found.name}")
        register_family(module.FAMILY, module.PRESETS)
    load_entry_points()
