"""Named game learners and their settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pkubench.agents.families.psro.cfr_plus import CFRPlusConfig
from pkubench.agents.families.psro.fictitious_play import XFPConfig
from pkubench.agents.families.psro.settings import PSRO_PRESETS, PSROConfig
from pkubench.errors import UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

Settings = PSROConfig | CFRPlusConfig | XFPConfig
PRESETS: dict[str, Settings] = {
    **PSRO_PRESETS,
    "cfr+": CFRPlusConfig(),
    "cfr": CFRPlusConfig(variant="cfr"),
    "xfp": XFPConfig(),
}


def preset(agent: str, task: Task | None) -> Settings:
    """Return the settings of a game learner, the same on every game.

    Raises:
        UnknownName: no such learner.
    """
    if agent not in PRESETS:
        raise UnknownName("game learner", agent, PRESETS)
    return PRESETS[agent]
