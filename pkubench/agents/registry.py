"""Agent families, presets and prefixes: declared next to their code, found without a central table.

A package under ``pkubench.agents.families`` declares ``FAMILY`` and ``PRESETS``, and ``PREFIXES``
where agents are also spelled ``prefix:NAME``; ``pkubench.agents.adapters`` declares other prefixes.
Other packages call ``pkubench.register_family``, or ``pkubench.register_preset`` for an agent of a
family that exists, from a module named by an entry point of the group ``pkubench.agents``.
Declarations neither import torch nor build environments.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pkubench.agents.components import ENTRY_POINTS, changed, tuned_for
from pkubench.errors import ConfigError, UnknownName
from pkubench.plugins import MISSING, load_entry_points, note_registrant, raise_misdeclared

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

WEIGHTS = Path(__file__).parents[1] / "weights"
"""Shipped agents: ``weights/AGENT/TASKNAME/seedN/{config.json, weights.safetensors, ...}``."""
Unit = Literal["environment_steps", "gradient_steps", "iterations"]


OFFICIAL, TEAM, LIMITED, SUGGESTED = "official", "team", "limited", "suggested"
DELAYED = "delayed"
"""Tags of presets."""


def _fits(task: Task) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A file or folder that a family trains from: data, a teacher, initial weights."""

    name: str
    """As in ``--input NAME=PATH``."""
    summary: str
    is_required: bool = False
    read: str | None = None
    """``module:function(text, Task) -> value``: reads what the user named, before anything is
    trained. ``Context.inputs`` has the value, which has a ``sha256``; None: the path."""
    is_own_flag: bool = False
    """Whether the command line has a flag of its name: ``--data X`` is ``--input data=X``."""
    example: str | None = None
    """``module:function(task id) -> str``: what may be named on a task, "" if nothing is known."""

    def example_for(self, task: str) -> str:
        """Return what may be named on a task, or a word in capitals that stands for it."""
        known = import_function(self.example)(task) if self.example else ""
        return known or self.name.upper()

    def spelled(self, given: str) -> list[str]:
        """Return the words of the command line that give it."""
        return (
            [f"--{self.name}", given] if self.is_own_flag else ["--input", f"{self.name}={given}"]
        )


DATA = Input(
    name="data",
    summary="recorded episodes in Minari's format, by id or path",
    is_required=True,
    read="pkubench.data.sources:episodes_for",
    is_own_flag=True,
    example="pkubench.data.cards:example_for",
)
"""The input of families that learn from data: ``context.inputs["data"]`` is the task's
:class:`pkubench.data.episodes.Episodes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFamily:
    """What a group of agents has in common: how they are trained, saved and loaded.

    Functions are named as ``module:function`` and imported when called.
    """

    name: str
    summary: str
    kind: str = ""
    """``config["kind"]`` of its saved agents; "" where nothing is saved."""
    unit: Unit = "environment_steps"
    """The unit of budgets."""
    configure: str | None = None
    """``module:function(preset's name, Task | None) -> config``: a frozen dataclass, tuned for the
    task; with None, before a task changes it."""
    learner: str | None = None
    """``module:function(Context) -> Learner``; None for agents that are not trained."""
    batch: str | None = None
    """``module:function(Sequence[Context]) -> BatchLearner``: several seeds trained in a batch."""
    plan: str | None = None
    """``module:function(Context, results) -> Sequence[Stage]``: a pipeline instead of a learner.
    Pure, and called again after every stage with the results of the finished ones."""
    load: str | None = None
    """``module:function(SavedAgent, Task | None, acting) -> Entrant``."""
    make: str | None = None
    """``module:function(preset's name, Task) -> Entrant``, for agents without weights."""
    bound: str | None = None
    """``module:function(Entrant, game, plays, seed) -> ResponseBound``: a lower bound of
    exploitability, learned from plays, where the exact value cannot be computed."""
    credit: str | None = None
    """``module:function(run folder, Task) -> RecordedCredit``: what a saved agent was trained with,
    called with a ``Recording`` for each agent's shares."""
    fits: Callable[[Task], str] = _fits
    """Why the family cannot train on a task; "" where it can. Reads the task and the traits of its
    environment, see ``pkubench.agents.requirements``."""
    acting: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Acting settings -> values, the default first: ``{"mode": ("mode", "sampled")}``; or a default
    that any value of its type replaces, ``{"beam": (32,)}``; or None and that type, where the saved
    agent has the default: ``{"target_return": (None, float)}``."""
    inputs: tuple[Input, ...] = ()
    extra: str | None = "agents"
    """The optional dependency set that training and loading need."""

    @property
    def is_trained(self) -> bool:
        """Whether its agents are trained."""
        return self.learner is not None or self.plan is not None

    def acting_with(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all acting settings: ``given``, and the defaults of the others."""
        return {name: values[0] for name, values in self.acting.items()} | dict(given)

    @property
    def package(self) -> str:
        """The top-level package that declares it."""
        functions = (self.learner, self.plan, self.make, self.load, self.configure)
        return next((name for name in functions if name), "").partition(":")[0].partition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A named agent: a family with settings, tuned for some tasks."""

    name: str
    family: str
    summary: str
    base: str = ""
    """The preset whose settings it starts from; "": those that its family has for its name."""
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Settings that replace these, such as ``{"credit": "blend", "credit.own": 0.8}``."""
    tuned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    """Prefix of a task's name -> settings that replace those; longer prefixes win."""
    paper: str = "-"
    suites: tuple[str, ...] = ()
    """Suites that it is meant for; empty: every suite."""
    fits: Callable[[Task], str] = _fits
    """Why this agent cannot train on a task that its family can train on; "" where it can."""
    tags: frozenset[str] = frozenset()
    """``official``: its settings are the official ones of its paper; ``team``: a learner of teams;
    ``limited``: it holds a cost limit; ``delayed``: it is meant for tasks of every suite whose
    rewards are delayed, too; ``suggested``: one to try first where it fits."""
    place: int = 100
    """Sort key in lists: lower first, ties in order of declaration."""

    def config(self, task: Task | None = None) -> Any:
        """Return its config, tuned for ``task``; None for an agent that is not trained.

        Raises:
            UnknownName, ConfigError: its family does not have one of its settings, or not with this
                value.
            UnknownName, MissingExtra: the config depends on the task's environment, which cannot be
                made.
        """
        configure = family_of(self).configure
        if configure is None:
            return None
        if self.base:
            config = preset(self.base).config(task)
        else:
            config = import_function(configure)(self.name, task)
        changes = {**self.settings, **({} if task is None else tuned_for(self.tuned, task.id))}
        return changed(config, changes, defaults=limits_of(task)) if changes else config

    @property
    def is_official(self) -> bool:
        """Whether its settings are the official ones of its paper."""
        return OFFICIAL in self.tags


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPrefix:
    """A way to spell agents, ``PREFIX:...``, declared next to the code that reads them."""

    prefix: str
    summary: str
    resolve: str
    """``module:function(text after the colon, Task | None, trust) -> AgentSource``."""
    runtimes: tuple[str, ...] = ()
    """Distributions that such agents run with: records contain their versions."""
    needs_trust: bool = False
    """Whether reading one can run code in a file."""
    bundle: Literal["named", "onnx", "external"] = "external"
    """How a board re-runs one: by its name, as code of an installed package; from its ONNX graphs;
    or not."""
    files: tuple[str, ...] = ()
    """Suffixes of its files, and names of files that mark a folder of them."""
    noun: str = ""
    """Description of such a file, with its article."""
    acting: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, hash=False)
    """Acting settings -> values, the default first, as a family's; their load function then takes a
    mapping of them as its last argument."""
    names: str = ""
    """``module:function(Task) -> what may follow the colon there``, where that can be listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectAdapter:
    """Objects of another library that are accepted as agents."""

    classes: tuple[str, ...]
    """``module.Class`` of any of their base classes; matched without importing anything."""
    adapt: str
    """``module:function(object, task id) -> Entrant``."""
    noun: str
    """Description of them, for messages."""


_FAMILIES: dict[str, AgentFamily] = {}
_PRESETS: dict[str, Preset] = {}
_PREFIXES: dict[str, AgentPrefix] = {}
_ADAPTERS: list[ObjectAdapter] = []


def register_family(family: AgentFamily, presets: Iterable[Preset] = ()) -> None:
    """Make a family and presets known to every verb. Repeated calls have no effect.

    Raises:
        ConfigError: another family or preset has one of the names, another family saves agents of
            its kind, or a preset is of another family.
        UnknownName: a preset starts from one that does not exist.
    """
    note_registrant()
    _register_declared()
    _add(family, tuple(presets))


def register_preset(preset: Preset) -> None:
    """Make an agent of a registered family known to every verb. Repeated calls have no effect.

    Raises:
        ConfigError: another agent has its name, or it starts from one of another family.
        UnknownName: there is no such family, or no such preset to start from.
    """
    note_registrant()
    if preset.family not in families():
        raise UnknownName("agent family", preset.family, families())
    _add(families()[preset.family], (preset,))


def _add(family: AgentFamily, presets: tuple[Preset, ...]) -> None:
    if _FAMILIES.get(family.name, family) != family:
        raise ConfigError(f"another agent family {family.name!r} is registered already")
    for other in _FAMILIES.values():
        if family.kind and other.kind == family.kind and other.name != family.name:
            raise ConfigError(
                f"the agent family {other.name!r} saves agents of kind {family.kind!r} already"
            )
    for preset in presets:
        if preset.family != family.name:
            raise ConfigError(f"preset {preset.name!r} is of the family {preset.family!r}")
        if _PRESETS.get(preset.name, preset) != preset:
            raise ConfigError(f"another agent {preset.name!r} is registered already")
        if not preset.base:
            continue
        if preset.base not in _PRESETS:
            raise UnknownName(f"agent for {preset.name!r} to start from", preset.base, _PRESETS)
        if _PRESETS[preset.base].family != family.name:
            raise ConfigError(
                f"preset {preset.name!r} starts from {preset.base!r}, which is of the family "
                f"{_PRESETS[preset.base].family!r}"
            )
    _FAMILIES[family.name] = family
    _PRESETS.update({preset.name: preset for preset in presets})
    _sorted_presets.cache_clear()


def register_prefix(prefix: AgentPrefix) -> None:
    """Make a spelling of agents known to every verb. Repeated calls have no effect.

    Raises:
        ConfigError: another one has the prefix.
    """
    note_registrant()
    if _PREFIXES.setdefault(prefix.prefix, prefix) != prefix:
        raise ConfigError(f"another prefix {prefix.prefix!r} is registered already")


def families() -> Mapping[str, AgentFamily]:
    """Return every family by name."""
    _load()
    return _FAMILIES


def presets() -> Mapping[str, Preset]:
    """Return every named agent, in the order of lists."""
    _load()
    return _sorted_presets()


def prefixes() -> Mapping[str, AgentPrefix]:
    """Return the prefixes of agents' spellings."""
    _load()
    return _PREFIXES


def object_adapters() -> Sequence[ObjectAdapter]:
    """Return the adapters of other libraries' objects."""
    _load()
    return _ADAPTERS


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
        raise UnknownName("kind of saved agent", kind, (), MISSING)
    return by_kind[kind]


def limits_of(task: Task | None) -> dict[str, Any]:
    """Return the settings that a component takes from the task when it is chosen."""
    limit = None if task is None else task.cost_limit
    return {} if limit is None else {"cost_limit": limit}


def import_function(path: str) -> Any:
    """Import the object named ``module:name``.

    Raises:
        ConfigError: a plug-in names one that does not exist.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise_misdeclared(path, error)
        raise


@functools.cache
def _register_declared() -> None:
    package = importlib.import_module("pkubench.agents.families")
    names = [f"{package.__name__}.{found.name}" for found in pkgutil.iter_modules(package.__path__)]
    for name in (*names, "pkubench.agents.adapters"):
        module = importlib.import_module(name)
        if hasattr(module, "FAMILY"):
            _add(module.FAMILY, module.PRESETS)
        for prefix in getattr(module, "PREFIXES", ()):
            register_prefix(prefix)
        _ADAPTERS.extend(getattr(module, "OBJECTS", ()))


def _load() -> None:
    _register_declared()
    load_entry_points(ENTRY_POINTS)


@functools.cache
def _sorted_presets() -> Mapping[str, Preset]:
    return dict(sorted(_PRESETS.items(), key=lambda item: item[1].place))
