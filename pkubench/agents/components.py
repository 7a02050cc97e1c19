"""Components: the exchangeable parts of a learner, each with its own settings.

A slot is a base class (an update rule, a constraint, a credit model, an encoder); a component is a
frozen subclass dataclass of it, registered under the name that users set. A learner's config has
one field per slot, and the component in it carries the settings that only it reads, so that a
setting without effect does not exist::

    class UpdateRule(Component, slot="update", package="pkubench.agents.rl.update_rules"): ...

    @register("ppo-clip")
    @dataclass(frozen=True, slots=True, kw_only=True)
    class PPOClip(UpdateRule):
        clip: float = 0.2

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        update: UpdateRule = PPOClip()

``update=ppo-clip`` chooses, ``update.clip=0.1`` sets, and so does ``clip=0.1`` where one chosen
component has a setting of that name. Modules of components do not import torch: a formula is
written with the methods of its tensors.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
import typing
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from pkubench.agents.settings import fitted, read_value
from pkubench.errors import ConfigError, PkubenchWarning, UnknownName
from pkubench.plugins import MISSING, is_own, load_entry_points, note_registrant

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

ConfigT = TypeVar("ConfigT")
ComponentT = TypeVar("ComponentT", bound="Component")

ENTRY_POINTS = "pkubench.agents"
"""Group of the entry points by which other packages bring components (and families)."""
REMOVED_SETTINGS = {
    "checkpoint_steps": "checkpoints are spaced by the time they take to write",
}
"""Settings of earlier releases, ignored where a saved run has them, and why they were removed."""


class Component:
    """Base of all components; a direct subclass is a slot, and its subclasses fill it."""

    slot: ClassVar[str]
    """Name of the field in a config."""
    package: ClassVar[str]
    """The package (or module) with this project's components of the slot."""
    name: ClassVar[str]
    """The value that users set the slot to."""
    registered: ClassVar[dict[str, type[Component]]]
    """Name -> class of the components imported so far."""
    former_names: ClassVar[dict[str, str]]
    """Name in an earlier release -> name; read for one release, with a notice."""

    def needs(self, config: Any) -> str:
        """Return in words what this component requires of ``config`` and lacks, or ""."""
        return ""

    def fits(self, task: Task) -> str:
        """Return why this component cannot train on a task, as a clause ("it ..."), or ""."""
        return ""

    def unused(self, config: Any) -> Mapping[str, str]:
        """Return the component's settings without effect in ``config``, and what they require."""
        return {}

    def __init_subclass__(cls, *, slot: str = "", package: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if slot:
            cls.slot, cls.package = slot, package
            cls.registered, cls.former_names = {}, {}


def register(name: str, *, formerly: str = "") -> Callable[[type[ComponentT]], type[ComponentT]]:
    """Register a component under the name users choose it by; a decorator of its class.

    ``formerly`` is its name in an earlier release, which is still accepted.

    Raises:
        ConfigError: the slot has another component of the name, or the class is not a frozen
            dataclass below a slot, or lacks a method of it.
    """

    def enter(cls: type[ComponentT]) -> type[ComponentT]:
        if not dataclasses.is_dataclass(cls) or not hasattr(cls, "registered"):
            raise ConfigError(f"{cls.__name__} must be a frozen dataclass below a component slot")
        if missing := ", ".join(sorted(getattr(cls, "__abstractmethods__", ()))):
            raise ConfigError(f"{cls.__name__} lacks the methods of its slot: {missing}")
        if not is_own(cls.__module__):
            note_registrant()
            _import_all(cls.package)  # so that a name taken is an error of the newcomer
        other = cls.registered.get(name)
        if other is not None and (other.__module__, other.__qualname__) != (
            cls.__module__,
            cls.__qualname__,
        ):
            raise ConfigError(
                f"{cls.slot}={name} is {other.__module__}.{other.__qualname__} already; "
                "choose another name"
            )
        cls.name = name
        cls.registered[name] = cls
        if formerly:
            cls.former_names[formerly] = name
        return cls

    return enter


def choices(slot: type[Component]) -> Mapping[str, type[Component]]:
    """Return the components of a slot by name, those of installed packages included."""
    _import_all(slot.package)
    load_entry_points(ENTRY_POINTS)
    return slot.registered


@functools.cache
def _import_all(package: str) -> None:
    module = importlib.import_module(package)
    for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
        importlib.import_module(f"{package}.{found.name}")


class Setting(NamedTuple):
    """One setting of a config or of a component chosen in it."""

    name: str
    """As shown and saved: ``gamma``, ``update``, ``update.clip``."""
    value: Any
    owner: type[Any]
    """The dataclass with the field; its source documents it."""


def settings_of(config: Any) -> Iterator[Setting]:
    """Yield the settings of a config in order, each component's own after the slot."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not isinstance(value, Component):
            yield Setting(field.name, value, type(config))
            continue
        yield Setting(field.name, value.name, type(config))
        for own in dataclasses.fields(value):  # type: ignore[arg-type]
            yield Setting(f"{field.name}.{own.name}", getattr(value, own.name), type(value))


def as_plain(config: Any) -> dict[str, Any]:
    """Return a config as JSON values: ``{"gamma": 0.99, "update": "ppo-clip", ...}``."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value, _ in settings_of(config)
    }


def with_settings(
    config: ConfigT, settings: Mapping[str, str], defaults: Mapping[str, Any] = MappingProxyType({})
) -> ConfigT:
    """Return a copy of a config with settings changed from text values.

    Values are read as JSON where they parse (``0.1``, ``true``, ``[64, 64]``, ``null``) and as
    plain text otherwise, then checked against the field's type. ``defaults``: see :func:`changed`.

    Raises:
        UnknownName: no such setting, or no such component.
        ConfigError: the value is of another type or outside the field's domain; the setting is of
            a component that is not chosen, or of several that are.
    """
    changes = {name: read_value(text) for name, text in settings.items()}
    return changed(config, changes, defaults=defaults)


def changed(
    config: ConfigT,
    changes: Mapping[str, Any],
    *,
    strict: bool = True,
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> ConfigT:
    """Return a copy of a config with settings replaced by name.

    Components are chosen first, whatever the order. A newly chosen one keeps the values of
    settings that it shares by name with the one before, such as ``cost_limit``.

    Args:
        config: a frozen dataclass with components in its slots.
        changes: setting -> value, or component (by name or as an object).
        strict: False ignores settings of components that are not chosen, as tables of numbers
            tuned for several agents need.
        defaults: setting -> value where a newly chosen component has it and the one before does
            not: what its settings take from the task.

    Raises:
        UnknownName, ConfigError: as :func:`with_settings`.
    """
    assert dataclasses.is_dataclass(config) and not isinstance(config, type)
    slots = slots_of(type(config))
    hints = typing.get_type_hints(type(config))
    fields: dict[str, Any] = {
        name: _chosen(slots[name], value, getattr(config, name), defaults)
        for name, value in changes.items()
        if name in slots
    }
    parts = {slot: fields.get(slot, getattr(config, slot)) for slot in slots}
    inner: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        if name in slots:
            continue
        if name in hints:
            fields[name] = fitted(name, value, hints[name])
            continue
        if name in REMOVED_SETTINGS:
            if strict:
                raise ConfigError(f"{name} is no longer a setting: {REMOVED_SETTINGS[name]}")
            continue
        found = _owner(name, parts, slots, hints, strict=strict)
        if found is not None:
            slot, leaf = found
            hint = typing.get_type_hints(type(parts[slot]))[leaf]
            inner.setdefault(slot, {})[leaf] = fitted(name, value, hint)
    for slot, values in inner.items():
        fields[slot] = dataclasses.replace(parts[slot], **values)
    return dataclasses.replace(config, **fields)


def matches(config: Any, saved: Mapping[str, Any]) -> bool:
    """Return whether the settings saved by a run are those of ``config``.

    They may be of an earlier release, with flat names: such a name refers to all chosen components
    that have it. Settings of components that are not chosen are ignored, and so are settings that
    are newer than the run.
    """
    now = [setting.name for setting in settings_of(config)]
    changes: dict[str, Any] = {}
    for name, value in saved.items():
        owners = [known for known in now if known.rpartition(".")[2] == name]
        changes |= dict.fromkeys(owners or [name], value)
    try:
        return bool(changed(config, changes, strict=False) == config)
    except (ConfigError, UnknownName):
        return False


def check_needs(config: Any) -> None:
    """Check that the components of a config are compatible, for its ``__post_init__``.

    Raises:
        ConfigError: one requires something that another one, or the config, does not have.
    """
    cls: Any = type(config)
    for slot in slots_of(cls):
        part: Component = getattr(config, slot)
        wanted = part.needs(config)
        if wanted:
            raise ConfigError(f"{slot}={part.name} needs {wanted}")


def check_fits(config: Any, task: Task) -> None:
    """Check that the components of a config can train on a task.

    Raises:
        ConfigError: one cannot.
    """
    cls: Any = type(config)
    for slot in slots_of(cls) if hasattr(cls, "__dataclass_fields__") else ():
        part: Component = getattr(config, slot)
        if why := part.fits(task):
            raise ConfigError(f"{slot}={part.name} does not train on {task.id}: {why}")


def unused_settings(config: Any, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield those of ``names`` that have no effect in ``config``, and what they would require.

    A config reports its own unused settings, and each component its own, by a method ``unused``.
    """
    found = dict(config.unused()) if hasattr(config, "unused") else {}
    cls: Any = type(config)
    for slot in slots_of(cls) if hasattr(cls, "__dataclass_fields__") else ():
        for leaf, wanted in getattr(config, slot).unused(config).items():
            found[leaf] = found[f"{slot}.{leaf}"] = wanted
    for name in names:
        if name in found:
            yield name, found[name]


@functools.cache
def slots_of(config: type[Any]) -> Mapping[str, type[Component]]:
    """Return the slots among the fields of a config class, by field name."""
    hints = typing.get_type_hints(config)
    return {
        field.name: hints[field.name]
        for field in dataclasses.fields(config)
        if isinstance(hints[field.name], type) and issubclass(hints[field.name], Component)
    }


def tuned_for(table: Mapping[str, Mapping[str, Any]], task_id: str) -> dict[str, Any]:
    """Return the settings that a table has for a task.

    Args:
        table: prefix of a task's name -> settings; longer prefixes win.
        task_id: ``namespace/Name-vN``.
    """
    name = task_id.rpartition("/")[2]
    changes: dict[str, Any] = {}
    for start in sorted(table, key=len):
        if name.startswith(start):
            changes |= table[start]
    return changes


def _chosen(
    slot: type[Component], value: Any, before: Component, defaults: Mapping[str, Any]
) -> Component:
    if isinstance(value, slot):
        return value
    known = choices(slot)
    if value in slot.former_names:
        former, value = value, slot.former_names[value]
        warnings.warn(
            f"{slot.slot}={former} is now called {slot.slot}={value}; the old name will be removed",
            PkubenchWarning,
            stacklevel=4,
        )
    if not isinstance(value, str) or value not in known:
        unknown = UnknownName(slot.slot, str(value), known)
        raise (
            unknown
            if unknown.nearest
            else UnknownName(
                slot.slot, str(value), (), f"known: {', '.join(sorted(known))}; {MISSING}"
            )
        )
    cls: Any = known[value]
    if type(before) is cls:
        return before
    own, others = ({f.name for f in dataclasses.fields(of)} for of in (cls, before))  # type: ignore[arg-type]
    kept = {name: getattr(before, name) for name in own & others}
    component: Component = cls(**{name: defaults[name] for name in own & set(defaults)} | kept)
    return component


def _owner(
    name: str,
    parts: Mapping[str, Component],
    slots: Mapping[str, type[Component]],
    own: Iterable[str],
    *,
    strict: bool,
) -> tuple[str, str] | None:
    """Return the slot and the field that a setting names; None for one to pass over.

    ``own`` are the settings of the config itself, for the hint.
    """
    prefix, dot, leaf = name.rpartition(".")
    wanted = {prefix: parts[prefix]} if dot and prefix in parts else {} if dot else parts
    having = [slot for slot, part in wanted.items() if leaf in _fields_of(type(part))]
    if len(having) == 1:
        return having[0], leaf
    if having:
        options = " or ".join(f"{slot}.{leaf}" for slot in having)
        raise ConfigError(f"setting {name!r} is ambiguous: write {options}")
    elsewhere = {
        (slot, other): leaf
        for slot, base in slots.items()
        if not dot or slot == prefix
        for other, cls in choices(base).items()
        if leaf in _fields_of(cls)
    }
    if elsewhere:
        if not strict:
            return None
        of = " or ".join(f"{slot}={other}" for slot, other in elsewhere)
        now = " and ".join(
            f"{slot}={parts[slot].name}" for slot in dict.fromkeys(slot for slot, _ in elsewhere)
        )
        raise ConfigError(f"{name} has no effect here: it is a setting of {of}, and this is {now}")
    if wanted and dot:
        own = ", ".join(f"{prefix}.{field}" for field in _fields_of(type(parts[prefix])))
        raise ConfigError(
            f"{prefix}={parts[prefix].name} has no setting {name!r}; it has {own or 'none'}"
        )
    known = [f"{slot}.{field}" for slot, part in parts.items() for field in _fields_of(type(part))]
    raise UnknownName("setting", name, [*own, *known, *(k.rpartition(".")[2] for k in known)])


def _fields_of(cls: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))
