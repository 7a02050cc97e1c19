"""The composed off-policy learner: replay + rule {DDPG, TD3, SAC} + scheme."""

from __future__ import annotations

from pkubench.agents.registry import LIMITED, OFFICIAL, TEAM, AgentFamily, Preset
from pkubench.agents.requirements import (
    acts_in_box_or_discrete,
    all_of,
    holds_cost_limit,
    plays_episodes,
    takes_no_deaths,
    takes_no_masks,
)

_LEARNERS = "pkubench.agents.rl.off_policy"

FAMILY = AgentFamily(
    name="off-policy",
    summary="actor-critic learners with a replay buffer, for teams and single agents",
    kind="off-policy",
    configure=f"{__name__}.presets:preset",
    learner=f"{_LEARNERS}:make_learner",
    batch=f"{_LEARNERS}:make_batch",
    load=f"{__name__}.loading:load",
    acting={"mode": ("mode", "sampled")},
    fits=all_of(plays_episodes, acts_in_box_or_discrete, takes_no_masks, takes_no_deaths),
)


def _preset(name: str, paper: str, suites: tuple[str, ...], summary: str, *tags: str) -> Preset:
    return Preset(
        name=name,
        family=FAMILY.name,
        summary=summary,
        paper=paper,
        suites=suites,
        tags=frozenset(tags),
        place=20 if TEAM in tags else 40,
        fits=holds_cost_limit if LIMITED in tags else all_of(),
    )


_HARL, _HASAC = "HARL (JMLR 2024)", "HASAC (ICLR 2024)"
_OMNISAFE, _OWN = "OmniSafe (JMLR 2024)", "composed here"
_TEAMS, _SAFE = ("marl", "diagnostics"), ("constrained", "diagnostics")

PRESETS = (
    _preset("hasac", _HASAC, (*_TEAMS, "constrained"), "sequential soft actor-critic", TEAM),
    *(
        _preset(name, paper, _TEAMS, summary, TEAM)
        for name, paper, summary in (
            ("hatd3", _HARL, "sequential TD3"),
            ("haddpg", _HARL, "sequential DDPG"),
            ("masac", _HASAC, "soft actor-critic, one shared policy, simultaneous update"),
            ("matd3", _HARL, "TD3 given the others' replayed actions"),
            ("maddpg", _HARL, "DDPG given the others' replayed actions"),
            ("hasac-simultaneous", _HASAC, "HASAC without the sequential update"),
            ("hatd3-simultaneous", _HARL, "HATD3 without the sequential update"),
            ("haddpg-simultaneous", _HARL, "HADDPG without the sequential update"),
        )
    ),
    *(
        _preset(name, _OWN, ("constrained",), summary, TEAM, LIMITED)
        for name, summary in (
            ("hasac-lag", "HASAC with a Lagrange multiplier"),
            ("hatd3-lag", "HATD3 with a Lagrange multiplier"),
        )
    ),
    *(
        _preset(f"{name}-paper", paper, ("marl",), summary, TEAM, OFFICIAL)
        for name, paper, summary in (
            ("hasac", _HASAC, "HASAC with the official hyperparameters"),
            ("hatd3", _HARL, "HATD3 with the official hyperparameters"),
            ("haddpg", _HARL, "HADDPG with the official hyperparameters"),
            ("masac", _HASAC, "MASAC with HASAC's hyperparameters"),
            ("matd3", _HARL, "MATD3 with HATD3's hyperparameters"),
            ("maddpg", _HARL, "MADDPG with HADDPG's hyperparameters"),
        )
    ),
    *(
        _preset(f"{rule}{suffix}{end}", _OMNISAFE, _SAFE, f"{summary}, {held}{last}", *tags, *more)
        for rule, summary in (
            ("ddpg", "deterministic policy gradient"),
            ("td3", "twin critics, delayed updates, target smoothing"),
            ("sac", "soft actor-critic"),
        )
        for suffix, held, tags in (
            ("", "unconstrained", ()),
            ("-lag", "with a Lagrange multiplier", (LIMITED,)),
            ("-pid", "with a PID-controlled multiplier", (LIMITED,)),
        )
        for end, last, more in (("", "", ()), ("-paper", "; official hyperparameters", (OFFICIAL,)))
    ),
)
