"""The composed on-policy learner: rollout + GAE + update rule + constraint + scheme."""

from __future__ import annotations

from pkubench.agents.registry import (
    DELAYED,
    LIMITED,
    OFFICIAL,
    SUGGESTED,
    TEAM,
    AgentFamily,
    Input,
    Preset,
)
from pkubench.agents.requirements import (
    acts_in_box_or_choices,
    all_of,
    holds_cost_limit,
    holds_cost_limits,
    plays_episodes,
    reads_arrays,
    reads_difference_rewards,
)

_LEARNERS = "pkubench.agents.rl.on_policy"
_SEVERAL = ("ppo-lag", "trpo-lag", "rcpo", "pdo", "cppo-pid", "trpo-pid")
"""Agents with a multiplier for each of several limits. FOCOPS has one too, but its projection is
derived for one limit."""
_FITS = {
    "difference": reads_difference_rewards,
    **dict.fromkeys(_SEVERAL, holds_cost_limits),
}

FAMILY = AgentFamily(
    name="on-policy",
    summary="policy-gradient learners on fresh episodes, for teams and single agents",
    kind="on-policy",
    configure=f"{__name__}.presets:preset",
    learner=f"{_LEARNERS}:make_learner",
    load=f"{__name__}.loading:load",
    credit=f"{_LEARNERS}.saved_credit:load_credit",
    acting={"mode": ("mode", "sampled")},
    fits=all_of(plays_episodes, acts_in_box_or_choices, reads_arrays),
    inputs=(
        Input(
            name="start",
            summary="run folder of an agent with the same networks, to begin with what it learned",
        ),
    ),
)


def _preset(name: str, paper: str, suites: tuple[str, ...], summary: str, *tags: str) -> Preset:
    return Preset(
        name=name,
        family=FAMILY.name,
        summary=summary,
        paper=paper,
        suites=suites,
        tags=frozenset(tags),
        place=10 if paper == _HARL else 30,
        fits=_FITS.get(name, holds_cost_limit if LIMITED in tags else all_of()),
    )


_HARL, _OMNISAFE, _OWN = "HARL (JMLR 2024)", "OmniSafe (JMLR 2024)", "composed here"
_GTRXL = "GTrXL (ICML 2020)"
_STAS, _AREL, _TAR2 = "STAS (AAAI 2024)", "AREL (AAMAS 2022)", "TAR2 (2025)"
_TEAMS = ("marl", "diagnostics", "credit")
_SAFE = ("constrained", "diagnostics")
_VALUES = ("alignment",)
"""Suite whose tasks the first agents of each kind train on too."""
_UNCONSTRAINED = (
    ("policy-gradient", "plain surrogate, unconstrained"),
    ("natural-pg", "natural gradient, unconstrained"),
    ("ppo", "clipped surrogate, unconstrained"),
    ("trpo", "trust-region step, unconstrained"),
)
_CONSTRAINED = (
    ("ppo-lag", "PPO with a Lagrange multiplier"),
    ("trpo-lag", "TRPO with a Lagrange multiplier"),
    ("rcpo", "natural gradient with a Lagrange multiplier"),
    ("pdo", "policy gradient with a Lagrange multiplier"),
    ("cppo-pid", "PPO with a PID-controlled multiplier"),
    ("trpo-pid", "TRPO with a PID-controlled multiplier"),
    ("cpo", "trust-region step within the linearized constraint"),
    ("pcpo", "trust-region step, projected onto the constraint set"),
    ("focops", "projection of the optimal nonparametric policy, with a multiplier"),
    ("cup", "PPO on the reward, then a correction for the cost"),
    ("p3o", "PPO with an exact penalty"),
    ("ipo", "PPO with a logarithmic barrier"),
    ("crpo", "TRPO on the reward while the cost allows, else on the cost"),
    ("ppo-saute", "PPO that observes its remaining cost budget"),
    ("ppo-early-terminated", "PPO with training episodes that end above the cost limit"),
    ("trpo-saute", "TRPO that observes its remaining cost budget"),
    ("trpo-early-terminated", "TRPO with training episodes that end above the cost limit"),
)
_FIRST = ("ppo", "ppo-lag")
_CREDIT = (
    ("stas", _STAS, "shares by attention over time and coalitions of agents", (DELAYED, SUGGESTED)),
    ("stas-ml", _STAS, "shares by STAS with coalitions after every layer over time", (DELAYED,)),
    ("arel", _AREL, "a team reward by attention over time and agents", (DELAYED,)),
    ("tar2", _TAR2, "the return times weights of steps and agents", (DELAYED,)),
    ("rudder", "RUDDER (NeurIPS 2019)", "changes of a predicted return", (DELAYED,)),
    ("ircr", "IRCR (NeurIPS 2020)", "the normalized return at every step", (DELAYED,)),
    ("uniform", _OWN, "the return divided evenly among steps and agents", (DELAYED,)),
    ("difference", _OWN, "difference rewards: an oracle that the environment reports", ()),
    ("undecomposed", _OWN, "the return at the last step", (DELAYED, SUGGESTED)),
    ("undecomposed-sil", _OWN, "the return at the last step, with self-imitation", (DELAYED,)),
    ("dense", _OWN, "the rewards that an episodic task withholds, for comparison", (DELAYED,)),
)
_POLICY = {"tar2": "recurrent MAPPO"}
_CREDIT_PAPERS = ("stas", "stas-ml", "arel", "tar2", "rudder", "undecomposed")

PRESETS = (
    _preset(
        "happo",
        _HARL,
        (*_TEAMS, "constrained", *_VALUES),
        "sequential update with the running ratio product",
        TEAM,
        SUGGESTED,
    ),
    *(
        _preset(
            name, _HARL, (*_TEAMS, *(_VALUES if name in ("mappo", "ippo") else ())), summary, TEAM
        )
        for name, summary in (
            ("mappo", "one shared policy, simultaneous update"),
            ("ippo", "independent policies, simultaneous update"),
            ("hatrpo", "sequential trust-region steps in the true KL"),
            ("haa2c", "sequential update of the plain surrogate"),
            ("happo-simultaneous", "HAPPO without the sequential update"),
            ("hatrpo-simultaneous", "HATRPO without the sequential update"),
            ("haa2c-simultaneous", "HAA2C without the sequential update"),
        )
    ),
    *(
        _preset(
            f"{name}-paper",
            _HARL,
            ("marl",),
            f"{name.upper()} with the official hyperparameters",
            TEAM,
            OFFICIAL,
        )
        for name in ("happo", "mappo", "hatrpo", "haa2c")
    ),
    *(
        _preset(
            f"{name}{suffix}",
            _OMNISAFE,
            (
                *_SAFE,
                *(_VALUES if f"{name}{suffix}" in _FIRST else ()),
                *(("grasp",) if f"{name}{suffix}" == "ppo" else ()),
            ),
            f"{summary}{note}",
            *tags,
            *more,
        )
        for methods, tags in ((_UNCONSTRAINED, ()), (_CONSTRAINED, (LIMITED,)))
        for name, summary in methods
        for suffix, note, more in (
            ("", "", (SUGGESTED,) if name in _FIRST else ()),
            ("-paper", "; official hyperparameters", (OFFICIAL,)),
        )
    ),
    *(
        _preset(
            f"{name}-gru",
            _HARL,
            (*_TEAMS, "sequence"),
            f"{name.upper()} with a recurrent memory, trained on chunks",
            TEAM,
        )
        for name in ("happo", "mappo")
    ),
    _preset("gru-ppo", "-", ("sequence", "diagnostics"), "PPO with a recurrent memory"),
    _preset("gtrxl-ppo", _GTRXL, ("sequence", "diagnostics"), "PPO with a gated transformer"),
    _preset(
        "happo-lag",
        _OWN,
        ("constrained",),
        "HAPPO with a Lagrange multiplier",
        TEAM,
        LIMITED,
        SUGGESTED,
    ),
    *(
        _preset(name, paper, ("credit",), f"IPPO on {summary}", TEAM, *tags)
        for name, paper, summary, tags in _CREDIT
    ),
    *(
        _preset(
            f"{name}-paper",
            paper,
            ("credit",),
            f"{_POLICY.get(name, 'IPPO')} on {summary}; official hyperparameters",
            TEAM,
            DELAYED,
            OFFICIAL,
        )
        for name, paper, summary, _ in _CREDIT
        if name in _CREDIT_PAPERS
    ),
)
