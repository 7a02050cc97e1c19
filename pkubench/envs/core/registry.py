"""The catalogue of worlds: names, where their code is, and what must be installed for it.

Nothing heavy is imported here: a world's module is imported when the world is made.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pkubench.envs.core.batch import BatchEnv
from pkubench.errors import ConfigError, MissingExtra, SupersededWarning, UnknownName

NAMESPACE = "pkubench"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldSpec:
    """One registered world."""

    id: str
    """Full environment id, ``pkubench/Name-vN``."""
    entry_point: str
    """``module:Class`` of the BatchEnv."""
    horizon: int | None
    """Time limit in steps."""
    extra: str | None = None
    """The optional dependency set (pyproject extra) the world needs."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Constructor settings that make this id."""
    supersedes: str | None = None
    """The id of the version before, which stands for this one now."""


WORLDS: dict[str, WorldSpec] = {}
SUPERSEDED: dict[str, str] = {}
"""Id of an earlier version -> the id that stands for it now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldFamily:
    """Worlds that are too many to list: ``prefix:...`` names one, if there is such a game."""

    prefix: str
    entry_point: str
    """``module:Class`` of the BatchEnv, which takes the whole name as the setting ``game``."""
    extra: str | None = None


FAMILIES: dict[str, WorldFamily] = {}
"""Prefix -> its family; see :func:`resolve`."""


def register_world(spec: WorldSpec) -> None:
    """Add a world to the catalogue and to Gymnasium's registry. Again, it changes nothing.

    Raises:
        ConfigError: another world has the id.
    """
    import gymnasium

    if WORLDS.get(spec.id) == spec:
        return
    if spec.id in WORLDS:
        raise ConfigError(
            f"another environment {spec.id!r} is registered already; use a new name or -vN"
        )
    WORLDS[spec.id] = spec
    ids = [spec.id]
    if spec.supersedes is not None:
        SUPERSEDED[spec.supersedes] = spec.id
        ids.append(spec.supersedes)
    for name in ids:  # Gymnasium itself says of an earlier version that it is out of date
        gymnasium.register(
            id=name,
            entry_point="pkubench.envs.adapters.factories:make_single",
            vector_entry_point="pkubench.envs.adapters.factories:make_vector",
            max_episode_steps=spec.horizon,
            kwargs={"env_id": spec.id, **spec.kwargs},
        )


def superseded_by(name: str) -> str | None:
    """Return the id that stands for an earlier version now; None for any other name."""
    return SUPERSEDED.get(name if "/" in name else f"{NAMESPACE}/{name}")


def current_id(name: str) -> str:
    """Return the full id of a name; of an earlier version, the one that stands for it now.

    Warns:
        SupersededWarning: ``name`` is an earlier version.
    """
    full = name if "/" in name else f"{NAMESPACE}/{name}"
    current = superseded_by(full)
    if current is None:
        return full
    short, now = (part.rpartition("/")[2] for part in (full, current))
    warnings.warn(
        f"{short} is {now} now: its episodes start a little differently, so that scores of the "
        "two are not of the same episodes",
        SupersededWarning,
        stacklevel=2,
    )
    return current


def family_of(name: str) -> WorldFamily | None:
    """Return the family that a name such as ``openspiel:tic_tac_toe`` belongs to, if any."""
    prefix, colon, _ = name.partition(":")
    return FAMILIES.get(prefix) if colon else None


def resolve(name: str) -> WorldSpec:
    """Return the spec of a world by full id, by the name without the namespace, or of a family.

    A world of another package may be named ``module:namespace/Name-v0``, as Gymnasium spells it.
    Its module must be imported: unlike there, it is not imported here, since names also come from
    files.

    >>> resolve("openspiel:tic_tac_toe").kwargs["game"]
    'openspiel:tic_tac_toe'

    Raises:
        UnknownName: no such world; the message names the nearest one. Whether a family has the
            game is found out when it is made.
    """
    family = family_of(name)
    if family is not None:
        return WorldSpec(
            id=name,
            entry_point=family.entry_point,
            horizon=None,
            extra=family.extra,
            kwargs={"game": name},
        )
    module, colon, own = name.rpartition(":")
    full = current_id(own)
    if full not in WORLDS:
        hint = f"no module {module!r} that registers it is imported" if colon else ""
        raise UnknownName("environment", name, WORLDS, hint or "`pkubench list` shows all")
    return WORLDS[full]


def world_class(spec: WorldSpec) -> type[BatchEnv]:
    """Import the class of a world.

    Raises:
        MissingExtra: its optional dependencies are not installed.
    """
    module_name, _, class_name = spec.entry_point.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if spec.extra is None or (error.name or "").startswith("pkubench"):
            raise
        raise MissingExtra(spec.extra, f"environment {spec.id}") from error
    cls: type[BatchEnv] = getattr(module, class_name)
    return cls


def make_batch(name: str, num_envs: int = 1, **kwargs: Any) -> BatchEnv:
    """Make ``num_envs`` lanes of a world by name; ``kwargs`` override the id's settings.

    Raises:
        MissingExtra: the world's dependencies are not installed.
        UnknownName: no such world, or a setting that the world does not have.
    """
    spec = resolve(name)
    cls = world_class(spec)
    settings = {**spec.kwargs, **kwargs}
    try:
        return cls(num_envs=num_envs, **settings)
    except TypeError as error:
        known = _settings_of(cls)
        unknown = [name for name in kwargs if name not in known]
        if not unknown or "unexpected keyword" not in str(error):
            raise
        raise UnknownName(f"setting of {spec.id}", unknown[0], known) from error


def _settings_of(cls: type[BatchEnv]) -> set[str]:
    """Return the keywords of a world's constructor, and of those that it passes them on to."""
    return {
        parameter.name
        for base in cls.__mro__
        for parameter in inspect.signature(base).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    } - {"num_envs"}
