"""Settings of population learners in few words."""

from __future__ import annotations

from typing import Any

from pkubench.agents.components import changed
from pkubench.agents.families.psro.settings import PSROConfig


def psro(**changes: Any) -> PSROConfig:
    """Return the default settings with changes, of components too."""
    return changed(PSROConfig(), changes)


def adjusted(config: PSROConfig, **changes: Any) -> PSROConfig:
    """Return settings with changes, ignoring those of components that are not chosen."""
    return changed(config, changes, strict=False)
