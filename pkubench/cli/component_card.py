"""The card of a component of learners: its settings in each slot that has one of its name."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from pkubench.agents.components import Component, choices, slots_of
from pkubench.agents.registry import Preset, presets
from pkubench.cli.names import handful
from pkubench.cli.output import Column, Output, prose
from pkubench.cli.presets import meanings


def show_components(output: Output, name: str, parts: Mapping[str, type[Component]]) -> None:
    """Show the settings of the components of a name, one for each slot that has it."""
    if output.json:
        described = {slot: _default_settings(part) for slot, part in parts.items()}
        output.document({"name": name, "components": described})
        return
    columns = (
        Column("setting", style="bold"),
        Column("default", right=True),
        Column("meaning", rank=1, wraps=True),
    )
    for slot, part in parts.items():
        docs = meanings(part)
        rows = [
            (f"{slot}.{key}", json.dumps(value), docs.get(key, ""))
            for key, value in _default_settings(part).items()
        ]
        summary = (inspect.getdoc(part) or "").partition("\n\n")[0]
        output.show(Text(f"{slot}={name}", style="bold"), prose(" ".join(summary.split())), "")
        if rows:
            output.show(output.table("Settings (--set KEY=VALUE)", columns, rows), "")
        users = [a.name for a in presets().values() if slot in _slots_of_agent(a)]
        output.show(f"Chosen by --set {slot}={name} in: {handful(users)}, ...", "")


def _slots_of_agent(agent: Preset) -> Mapping[str, type[Component]]:
    """Return the slots of an agent's settings; none where they have no components."""
    config = agent.config()
    cls: Any = type(config)
    return slots_of(cls) if dataclasses.is_dataclass(config) else {}


def components_called(name: str) -> dict[str, type[Component]]:
    """Return the components of a name by the slot that they fill, in any agent's settings."""
    slots = {
        slot: of for agent in presets().values() for slot, of in _slots_of_agent(agent).items()
    }
    return {slot: choices(of)[name] for slot, of in slots.items() if name in choices(of)}


def _default_settings(component: type[Component]) -> dict[str, Any]:
    """Return a component's settings with their defaults; None where a task gives the value."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(component):  # type: ignore[arg-type]
        value = field.default if field.default is not dataclasses.MISSING else None
        if field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        found[field.name] = value
    return found
