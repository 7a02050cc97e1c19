"""Settings of acting in an agent's spelling: ``happo+mode=sampled`` samples where it took the mode.

They belong to the spelling because they belong to the result: records, folders and tables name the
agent with them. A family declares which it has (``AgentFamily.acting``).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pkubench.agents.registry import prefixes
from pkubench.agents.resolve.saved import family_in, load_folder
from pkubench.agents.resolve.sources import AgentRun, AgentSource
from pkubench.agents.settings import fitted, read_value
from pkubench.errors import AgentError, ConfigError, UnknownName

_SPELLING = re.compile(r"(?P<agent>.+?)(?P<acting>(?:\+[a-z]\w*=[^+=]+)+)")


def split_acting(spelling: str) -> tuple[str, dict[str, str]]:
    """Return an agent's spelling without its settings of acting, and these.

    >>> split_acting("cfr+")
    ('cfr+', {})
    >>> split_acting("runs/my-run+mode=sampled")
    ('runs/my-run', {'mode': 'sampled'})
    """
    found = _SPELLING.fullmatch(spelling)
    if found is None or Path(spelling).exists():
        return spelling, {}
    pairs = (pair.partition("=") for pair in found["acting"][1:].split("+"))
    return found["agent"], {name: value for name, _, value in pairs}


def with_acting(spelling: str, acting: Mapping[str, str]) -> str:
    """Return an agent's spelling with settings of acting added, or replaced."""
    agent, before = split_acting(spelling)
    return agent + "".join(f"+{name}={value}" for name, value in {**before, **acting}.items())


def acting_as(source: AgentSource, acting: Mapping[str, str]) -> AgentSource:
    """Return an agent that acts with other settings than the defaults of its family or prefix.

    Raises:
        AgentError: nothing says how else it could act.
        UnknownName: its family or prefix has no such setting.
        ConfigError: the value is none of the setting's.
    """
    prefix = prefixes().get(source.label)
    if prefix is not None and prefix.acting:
        chosen = _checked(f"{prefix.prefix}: agents", prefix.acting, acting)
        runs = tuple(
            dataclasses.replace(run, arguments=(*run.arguments[:-1], run.arguments[-1] | chosen))
            for run in source.runs
        )
    else:
        runs = tuple(_run_as(source.name, run, acting) for run in source.runs)
    return dataclasses.replace(source, name=with_acting(source.name, acting), runs=runs)


def _run_as(name: str, run: AgentRun, acting: Mapping[str, str]) -> AgentRun:
    if run.function is not load_folder:
        raise AgentError(f"{name} is not a saved agent, and so has no settings of acting (--act)")
    folder, task = run.arguments
    family = family_in(folder)
    chosen = _checked(f"the family {family.name!r}", family.acting, acting)
    return dataclasses.replace(run, arguments=(folder, task, chosen))


def _checked(
    whose: str, known: Mapping[str, tuple[Any, ...]], acting: Mapping[str, str]
) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for name, text in acting.items():
        if name not in known:
            hint = "" if known else f"{whose} has none"
            raise UnknownName("setting of acting", name, known, hint)
        values = known[name]
        if values[0] is None:
            chosen[name] = fitted(name, read_value(text), values[1])
        elif isinstance(values[0], str):
            if text not in values:
                listed = ", ".join(map(repr, values))
                raise ConfigError(f"{name} must be one of {listed}, got {text!r}")
            chosen[name] = text
        else:
            chosen[name] = fitted(name, read_value(text), type(values[0]))
    return chosen
