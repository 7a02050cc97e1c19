"""Claims of "Heterogeneous-Agent Reinforcement Learning" (Zhong et al., JMLR 25, 2024)."""

from __future__ import annotations

from pkubench.tasks.claim import Claim, pairs

_PAPER = "HARL"
_BUDGET = {"": 10_000_000.0}

SPREAD, TALK, REFERENCE = (
    f"pkubench/Simple{name}Continuous-v0" for name in ("Spread", "SpeakerListener", "Reference")
)
PARTICLE = (SPREAD, TALK, REFERENCE)
DISCRETE = tuple(f"pkubench/Simple{name}-v0" for name in ("Spread", "SpeakerListener", "Reference"))
ROBOTS = tuple(
    f"pkubench/Multi{name}"
    for name in ("HalfCheetah2x3-v1", "Hopper3x1-v0", "Walker2d2x3-v0", "Ant4x2-v1")
)
_ALIKE = (SPREAD, REFERENCE)
"""Where agents have the same spaces, so that an actor can be shared."""

CLAIMS = (
    Claim(
        name="happo-over-mappo",
        paper=_PAPER,
        text="HAPPO earns a higher return than MAPPO.",
        pairs=pairs([("happo", "mappo")], (*PARTICLE, *DISCRETE, *ROBOTS)),
        budget=_BUDGET,
        published=(
            "Curves of 10 M steps. HAPPO is above MAPPO on continuous SimpleSpread and discrete "
            "SimpleSpeakerListener, level with it on most other tasks, and below it on discrete "
            "SimpleSpread; on robots it is higher or level."
        ),
        note=(
            "Two things differ: HAPPO has one actor per agent and sequential updates, MAPPO one "
            "shared actor and simultaneous ones. Where the agents' spaces differ "
            "(SpeakerListener) MAPPO shares nothing, and only the sequence is compared."
        ),
        ablation="sequential-over-simultaneous",
    ),
    Claim(
        name="sequential-over-simultaneous",
        paper=_PAPER,
        text="Sequential updates earn a higher return than simultaneous ones, all else equal.",
        pairs=pairs(
            [(name, f"{name}-simultaneous") for name in ("happo", "hatd3", "hasac")], _ALIKE
        ),
        budget=_BUDGET,
        published=(
            "A theorem: sequential updates cannot lower the exact return, simultaneous ones can. "
            "Comparisons of learners change the sharing of actors too."
        ),
        note="The two agents of a pair differ only in the order of the updates.",
    ),
    Claim(
        name="separate-over-shared-alike",
        paper=_PAPER,
        text=(
            "Separate actors earn a higher return than a shared one even where roles are alike "
            "(a control: the paper does not claim it)."
        ),
        pairs=pairs([("happo-simultaneous", "mappo"), ("hasac-simultaneous", "masac")], _ALIKE),
        budget=_BUDGET,
        published=(
            "None for tasks on which the agents are alike: the paper's argument is about agents "
            "whose best policies differ."
        ),
        note="Both agents of a pair update simultaneously; MAPPO and MASAC share one actor.",
        ablation="separate-over-shared-roles",
    ),
    Claim(
        name="current-over-replayed",
        paper=_PAPER,
        text=(
            "Showing the critic the others' current, already updated actions earns a higher "
            "return than showing it replayed ones."
        ),
        pairs=pairs([("hatd3", "matd3"), ("haddpg", "maddpg")], PARTICLE),
        budget={"": 5_000_000.0},
        published=(
            "Curves of 5 M steps on particle environments and 10 M on robots: HATD3 and HADDPG "
            "are above MATD3 and MADDPG on most robots, level on most particle environments."
        ),
        note=(
            "As in the official code, MATD3 and MADDPG show the critic the replayed actions of "
            "the other agents and keep no sequence: two differences at once."
        ),
    ),
)
"""On the cooperative environments."""

ROLES = (
    Claim(
        name="separate-over-shared-roles",
        paper=_PAPER,
        text="Separate actors earn a higher return than a shared one, where roles differ.",
        pairs=pairs(
            [("happo-simultaneous", "mappo"), ("hasac-simultaneous", "masac")],
            ["pkubench/HeterogeneousCarriers-v0"],
        )
        + pairs([("happo-simultaneous", "mappo")], ["pkubench/SharingGap-v0"]),
        published=(
            "Proposition 1 (after Kuba et al. 2022): where half of n agents must do the opposite "
            "of the other half, the best shared policy earns 2^(1-n) of what separate ones do."
        ),
        note=(
            "Both update simultaneously. On SharingGap agents are scored at their mode, and a "
            "shared mode earns 0. What sharing costs on HeterogeneousCarriers is known exactly."
        ),
    ),
)
"""On environments solved on paper."""
