"""Named game learners and their settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pkubench.agents.families.psro.anytime import AnytimeConfig
from pkubench.agents.families.psro.cfr_plus import CFRPlusConfig
from pkubench.agents.families.psro.fictitious_play import XFPConfig
from pkubench.agents.families.psro.mmd import MMDConfig
from pkubench.agents.families.psro.sampled_settings import DeepCFRConfig, NFSPConfig
from pkubench.agents.families.psro.settings import PSRO_PRESETS, PSROConfig
from pkubench.agents.families.psro.xdo import XDOConfig
from pkubench.errors import UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

Settings = (
    PSROConfig
    | AnytimeConfig
    | XDOConfig
    | CFRPlusConfig
    | XFPConfig
    | MMDConfig
    | NFSPConfig
    | DeepCFRConfig
)
PRESETS: dict[str, Settings] = {
    **PSRO_PRESETS,
    "cfr+": CFRPlusConfig(),
    "cfr": CFRPlusConfig(variant="cfr"),
    "xfp": XFPConfig(),
    "anytime-psro": AnytimeConfig(),
    "sp-psro": AnytimeConfig(self_play_steps=50),
    "xdo": XDOConfig(),
    "xdo-exact": XDOConfig(solver="linear-program"),
    "nfsp": NFSPConfig(),
    "deep-cfr": DeepCFRConfig(),
    "mmd": MMDConfig(),
    "mmd-magnet": MMDConfig(schedule="magnet", alpha=1.0, eta=0.1, beta=0.05, iterations=3000),
    "mmd-qre": MMDConfig(schedule="fixed", alpha=0.1, eta=0.01, iterations=5000),
}


def preset(agent: str, task: Task | None) -> Settings:
    """Return the settings of a game learner, the same on every game.

    Raises:
        UnknownName: no such learner.
    """
    if agent not in PRESETS:
        raise UnknownName("game learner", agent, PRESETS)
    return PRESETS[agent]
