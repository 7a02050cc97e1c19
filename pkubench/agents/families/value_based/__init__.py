"""Value-based learners of teams: VDN, QMIX and HAD3QN."""

from __future__ import annotations

from pkubench.agents.registry import OFFICIAL, TEAM, AgentFamily, Preset
from pkubench.agents.requirements import (
    acts_in_discrete,
    all_of,
    plays_episodes,
    reads_arrays,
    takes_no_deaths,
    takes_no_masks,
)

FAMILY = AgentFamily(
    name="value-based",
    summary="learners of the values of discrete actions, for teams",
    kind="value-based",
    configure=f"{__name__}.presets:preset",
    learner="pkubench.agents.rl.value_based:make_learner",
    load=f"{__name__}.loading:load",
    fits=all_of(plays_episodes, acts_in_discrete, reads_arrays),
)

_VDN, _QMIX, _HARL = "VDN (AAMAS 2018)", "QMIX (ICML 2018)", "HARL (JMLR 2024)"


def _preset(name: str, paper: str, summary: str, *tags: str) -> Preset:
    return Preset(
        name=name,
        family=FAMILY.name,
        summary=summary,
        paper=paper,
        suites=("marl", "diagnostics", "credit"),
        tags=frozenset((TEAM, *tags)),
        place=22,
        fits=all_of(takes_no_masks, takes_no_deaths) if paper == _HARL else all_of(),
    )


PRESETS = (
    _preset("qmix", _QMIX, "utilities of the agents in a monotone mix that the state shapes"),
    _preset("vdn", _VDN, "the value of a joint action is the sum of the agents' utilities"),
    _preset("had3qn", _HARL, "a value for every joint action, which agents follow in sequence"),
    _preset("had3qn-paper", _HARL, "HAD3QN with the official hyperparameters", OFFICIAL),
    *(
        _preset(f"{name}{suffix}", paper, f"{name.upper()} with the numbers of {code}", OFFICIAL)
        for name, paper in (("qmix", _QMIX), ("vdn", _VDN))
        for suffix, code in (("-paper", "PyMARL2"), ("-epymarl-paper", "EPyMARL"))
    ),
)
