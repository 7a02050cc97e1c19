"""Environments by name: the declaration of each, where its code is, what it needs.

The sibling packages declare ``ENVS``, a tuple of :class:`EnvSpec` (and ``ENV_FAMILIES``, of
environments that are named and not listed). Other packages call ``pkubench.register_environment``,
from a module that an entry point of the group ``pkubench.environments`` names. An environment's own
module is imported when it is made.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.delayed_reward import DELAY, delayed, read_delay
from pkubench.envs.core.traits import Traits, traits_of
from pkubench.errors import ConfigError, MissingExtra, SupersededWarning, UnknownName
from pkubench.plugins import MISSING, load_entry_points, note_registrant, raise_misdeclared

NAMESPACE = "pkubench"
ENTRY_POINTS = "pkubench.environments"
"""Group of the entry points by which other packages add environments."""
VARIANT = "+"
"""Begins what a name changes of an environment: ``HopperVelocity-v0+delay=20``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvSpec:
    """One registered environment."""

    id: str
    """Full environment id, ``pkubench/Name-vN``."""
    entry_point: str
    """``module:Class`` of the BatchEnv."""
    horizon: int | None
    """Time limit in steps."""
    traits: Traits | None = None
    """What agents need to know about it before it is made; None: found out by making it."""
    extra: str | None = None
    """The optional dependency set (pyproject extra) it needs."""
    engines: tuple[str, ...] = ()
    """Distributions that compute its dynamics: records contain their versions."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Constructor settings that make this id."""
    supersedes: str | None = None
    """The id of the previous version, which now resolves to this one."""
    variants: str | None = None
    """``module:function(setting, text) -> (kwargs, horizon)``: what a name may change besides the
    delay, as in ``Name-v0+corridor=100``; raises ConfigError for anything else."""
    variant_of: EnvSpec | None = None
    """Of a variant, which is named and not registered: the environment that it changes."""

    @property
    def registered(self) -> EnvSpec:
        """The environment that this is a variant of; itself if it is none."""
        return self if self.variant_of is None else self.variant_of.registered


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvFamily:
    """Environments that are too many to list: ``prefix:...`` names one, if there is such a game."""

    prefix: str
    entry_point: str
    """``module:Class`` of the BatchEnv, which takes the whole name as the setting ``game``."""
    traits: Traits | None = None
    extra: str | None = None
    engines: tuple[str, ...] = ()
    with_costs: str | None = None
    """``module:function(name, keys, limits, missing) -> name``: how entries of the infos are made
    costs (``--cost-key``); None: its environments have the costs that they have."""


_ID = re.compile(r"[\w.-]+/[\w.-]+-v\d+")
_SPECS: dict[str, EnvSpec] = {}
_FAMILIES: dict[str, EnvFamily] = {}
_SUPERSEDED: dict[str, str] = {}
"""Id of an earlier version -> the current id that replaces it."""


def environments() -> Mapping[str, EnvSpec]:
    """Return every registered environment by id."""
    load_entry_points(ENTRY_POINTS)
    return _SPECS


def env_families() -> Mapping[str, EnvFamily]:
    """Return the families of environments that are named and not listed, by prefix."""
    load_entry_points(ENTRY_POINTS)
    return _FAMILIES


def superseded() -> Mapping[str, str]:
    """Return the ids of earlier versions, each with the current id that replaces it."""
    load_entry_points(ENTRY_POINTS)
    return _SUPERSEDED


def register_environment(spec: EnvSpec) -> None:
    """Make an environment known here and to Gymnasium. Again, it changes nothing.

    Raises:
        ConfigError: another environment has the id, or it is not spelled as ids are.
    """
    import gymnasium

    note_registrant()
    if _SPECS.get(spec.id) == spec:
        return
    if not _ID.fullmatch(spec.id):
        raise ConfigError(
            f"environment id {spec.id!r} must be namespace/Name-vN, such as 'mine/Maze-v0'"
        )
    if spec.id in _SPECS:
        raise ConfigError(
            f"another environment {spec.id!r} is registered already; use a new name or -vN"
        )
    _SPECS[spec.id] = spec
    ids = [spec.id]
    if spec.supersedes is not None:
        _SUPERSEDED[spec.supersedes] = spec.id
        ids.append(spec.supersedes)
    for name in ids:  # Gymnasium itself warns that an earlier version is out of date
        gymnasium.register(
            id=name,
            entry_point="pkubench.envs.adapters.factories:make_single",
            vector_entry_point="pkubench.envs.adapters.factories:make_vector",
            max_episode_steps=spec.horizon,
            kwargs={"env_id": spec.id, **spec.kwargs},
        )


def register_env_family(family: EnvFamily) -> None:
    """Make a family of named environments known. Again, it changes nothing.

    Raises:
        ConfigError: another family has the prefix.
    """
    note_registrant()
    if _FAMILIES.setdefault(family.prefix, family) != family:
        raise ConfigError(f"another family {family.prefix!r} is registered already")


@functools.cache
def register_declared() -> None:
    """Register what the packages of ``pkubench.envs`` declare; done on ``import pkubench``."""
    package = importlib.import_module("pkubench.envs")
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{found.name}")
        for spec in getattr(module, "ENVS", ()):
            register_environment(spec)
        for family in getattr(module, "ENV_FAMILIES", ()):
            register_env_family(family)


def superseded_by(name: str) -> str | None:
    """Return the current id that replaces an earlier version; None for any other name."""
    return superseded().get(name if "/" in name else f"{NAMESPACE}/{name}")


def current_id(name: str) -> str:
    """Return the full id of a name; for an earlier version, the current id that replaces it.

    Warns:
        SupersededWarning: ``name`` is an earlier version.
    """
    full = name if "/" in name else f"{NAMESPACE}/{name}"
    current = superseded_by(full)
    if current is None:
        return full
    short, now = (part.rpartition("/")[2] for part in (full, current))
    warnings.warn(
        f"{short} is {now} now: its episodes start slightly differently, so that scores of the "
        "two are not comparable episode by episode",
        SupersededWarning,
        stacklevel=2,
    )
    return current


def family_of(name: str) -> EnvFamily | None:
    """Return the family that a name such as ``openspiel:tic_tac_toe`` belongs to, if any."""
    prefix, colon, _ = name.partition(":")
    return env_families().get(prefix) if colon else None


def resolve(name: str) -> EnvSpec:
    """Return the spec of an environment by full id, by its name alone, or of a family.

    An environment of another package may be named ``module:namespace/Name-v0``, as Gymnasium
    spells it. Its module must be imported: unlike there, it is not imported here, since names also
    come from files.

    ``Name-v0+delay=20`` names a variant: the environment with this setting.

    >>> resolve("openspiel:tic_tac_toe").kwargs["game"]
    'openspiel:tic_tac_toe'
    >>> resolve("SimpleSpread-v0+delay=episode").kwargs["delay"]
    'episode'

    Raises:
        UnknownName: no such environment; the message names the nearest one. Whether a family has
            the game is found out when it is made.
        ConfigError: a value that a variant cannot have, or two values.
    """
    base, plus, change = name.rpartition(VARIANT)
    if plus:
        return _variant(resolve(base), change)
    family = family_of(name)
    if family is not None:
        return EnvSpec(
            id=name,
            entry_point=family.entry_point,
            horizon=None,
            traits=family.traits,
            extra=family.extra,
            engines=family.engines,
            kwargs={"game": name},
        )
    module, colon, own = name.rpartition(":")
    full, known = current_id(own), environments()
    if full not in known:
        if colon:
            hint = f"no module {module!r} that registers it is imported"
            raise UnknownName("environment", name, known, hint)
        raise unknown_id("environment", name, known)
    return known[full]


def _variant(spec: EnvSpec, change: str) -> EnvSpec:
    setting, _, value = change.partition("=")
    horizon, traits = spec.horizon, spec.traits
    if f"{VARIANT}{setting}=" in spec.id:
        raise ConfigError(f"{spec.id}{VARIANT}{change} sets {setting} twice")
    if setting == DELAY:
        changes: dict[str, Any] = {DELAY: read_delay(value)}
        traits = None if traits is None else replace(traits, is_delayed=True)
    elif spec.variants is not None:
        module, _, function = spec.variants.partition(":")
        changes, horizon = getattr(importlib.import_module(module), function)(setting, value)
    else:
        known = f"variants are {VARIANT}{DELAY}=20 and {VARIANT}{DELAY}=episode"
        raise UnknownName(f"variant of {spec.id}", setting, [DELAY], known)
    return replace(
        spec,
        id=f"{spec.id}{VARIANT}{setting}={changes[setting]}",
        horizon=horizon,
        traits=traits,
        kwargs={**spec.kwargs, **changes},
        supersedes=None,
        variant_of=spec,
    )


def unknown_id(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """Return the error about an id that is not among the known ones.

    One of another namespace is compared with none of ours: its package is not loaded. Of a variant
    (``Name-v0+delay=20``) the same variant of the nearest id is suggested.
    """
    base, plus, change = name.partition(VARIANT)
    if plus:
        near = unknown_id(kind, base, known).nearest
        return UnknownName(
            kind, name, [f"{near}{plus}{change}"] if near else known, "`pkubench list` shows all"
        )
    space = name.rpartition("/")[0]
    if space == NAMESPACE or not _ID.fullmatch(name):
        return UnknownName(kind, name, known, "`pkubench list` shows all")
    own = [other for other in known if other.startswith(f"{space}/")]
    return UnknownName(kind, name, own, "" if own else MISSING)


def traits(name: str, **kwargs: Any) -> Traits:
    """Return the traits of an environment: those declared, unless settings may change them.

    Args:
        name: As :func:`resolve`.
        kwargs: Settings in addition to those of the id. With any, or where no traits are declared,
            the environment is made to find out.

    Raises:
        UnknownName, MissingExtra: As :func:`make_batch`.
    """
    spec = resolve(name)
    if spec.traits is not None and not kwargs:
        return spec.traits
    env = make_batch(name, 1, **kwargs)
    try:
        return traits_of(env)
    finally:
        env.close()


def env_class(spec: EnvSpec) -> type[BatchEnv]:
    """Import the class of an environment.

    Raises:
        MissingExtra: its optional dependencies are not installed.
    """
    module_name, _, class_name = spec.entry_point.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise_misdeclared(spec.entry_point, error)
        if spec.extra is None or (error.name or "").startswith("pkubench"):
            raise
        raise MissingExtra(spec.extra, f"environment {spec.id}") from error
    try:
        cls: type[BatchEnv] = getattr(module, class_name)
    except AttributeError as error:
        raise_misdeclared(spec.entry_point, error)
        raise
    return cls


def make_batch(name: str, num_envs: int = 1, **kwargs: Any) -> BatchEnv:
    """Make ``num_envs`` copies of an environment by name; ``kwargs`` override the id's settings.

    Every environment has the setting ``delay``, unless its constructor takes one of this name:
    ``"episode"`` pays all rewards at the end of an episode, and k every k steps
    (``pkubench.envs.core.delayed_reward``); None pays them at once.

    >>> make_batch("SimpleSpread-v0", delay="episode").unwrapped
    <pkubench.envs.particle.spread.SimpleSpread object at ...>

    Raises:
        MissingExtra: its dependencies are not installed.
        UnknownName: no such environment, or a setting that it does not have.
        ConfigError: a setting has a value that it cannot have.
    """
    spec = resolve(name)
    cls = env_class(spec)
    settings = {**spec.kwargs, **kwargs}
    delay = None
    if DELAY in settings and DELAY not in _settings_of(cls):
        delay = settings.pop(DELAY)
    try:
        return delayed(cls(num_envs=num_envs, **settings), delay)
    except TypeError as error:
        known = _settings_of(cls) | {DELAY}
        unknown = [name for name in kwargs if name not in known]
        if not unknown or "unexpected keyword" not in str(error):
            raise
        raise UnknownName(f"setting of {spec.id}", unknown[0], known) from error


def _settings_of(cls: type[BatchEnv]) -> set[str]:
    """Return the keywords of an environment's constructor and of those it passes them on to."""
    found: set[str] = set()
    for base in cls.__mro__:
        parameters = inspect.signature(base).parameters.values()
        found |= {
            parameter.name
            for parameter in parameters
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        }
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found - {"num_envs"}
