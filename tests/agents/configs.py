"""On-policy settings for tests, by flat names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pkubench.agents.components import changed, choices, settings_of, slots_of
from pkubench.agents.rl.on_policy.config import OnPolicyConfig


def config_of(**settings: Any) -> OnPolicyConfig:
    """Return the default settings with some changed; those of other components are omitted."""
    return with_changes(OnPolicyConfig(), **settings)


def with_changes(config: OnPolicyConfig, **settings: Any) -> OnPolicyConfig:
    """Return settings with some changed; those of other components are omitted."""
    return changed(config, settings, strict=False)


class Flat:
    """The values of a config by leaf name, with components by the names users choose them by."""

    def __init__(self, config: OnPolicyConfig) -> None:
        self.config = config
        self.values = {name.rpartition(".")[2]: value for name, value, _ in settings_of(config)}

    def __getattr__(self, name: str) -> Any:
        found = self.__dict__.get("values", {})
        return found[name] if name in found else getattr(self.__dict__["config"], name)


def that_fit(config: OnPolicyConfig, settings: Mapping[str, str]) -> dict[str, str]:
    """Return some settings without those of components that config and settings do not choose."""
    slots = {name: settings[name] for name in slots_of(OnPolicyConfig) if name in settings}
    chosen = changed(dataclasses.replace(config, observation_norm=False), slots)
    own = {name.rpartition(".")[2] for name, *_ in settings_of(chosen)}
    others = {
        field.name
        for slot in slots_of(OnPolicyConfig).values()
        for component in choices(slot).values()
        for field in dataclasses.fields(component)  # type: ignore[arg-type]
    }
    return {name: value for name, value in settings.items() if name in own or name not in others}
