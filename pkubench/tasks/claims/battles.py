"""Claims about battles: QMIX (Rashid et al., ICML 2018), MAPPO (Yu et al. 2022), HARL (2024)."""

from __future__ import annotations

from pkubench.tasks.claim import Claim, pairs

MAPS = tuple(f"pkubench/MicroBattle{name}-v0" for name in ("3m", "2s3z"))
_OTHER_RULES = (
    "The papers' battles are SMAC's, and these are SMAX's: other opponents, other arms. Two maps, "
    "the easiest."
)

_BUDGET = {"": 10_000_000.0}

CLAIMS = (
    Claim(
        name="qmix-over-vdn",
        paper="QMIX",
        text="QMIX wins more battles than VDN.",
        pairs=pairs([("qmix", "vdn")], MAPS),
        published=(
            "Curves: QMIX is above VDN on every map of its paper, by most on those of unlike "
            "units (2s3z, 3s5z)."
        ),
        note=f"{_OTHER_RULES} Both are trained on TD(lambda) targets, which the paper's are not.",
    ),
    Claim(
        name="mappo-over-qmix",
        paper="MAPPO",
        text="MAPPO wins more battles than QMIX, after equally many steps.",
        pairs=pairs([("mappo", "qmix")], MAPS),
        budget=_BUDGET,
        published="Comparable on easy maps, where both win nearly all battles, or better.",
        note=(
            f"{_OTHER_RULES} Here QMIX is recurrent and MAPPO is not; the paper's is. Equal steps: "
            "QMIX replays each for far longer."
        ),
    ),
    Claim(
        name="mappo-over-ippo",
        paper="MAPPO",
        text="A critic of the global state wins more battles than critics of own observations.",
        pairs=pairs([("mappo", "ippo")], MAPS),
        budget=_BUDGET,
        published="Level on most maps of SMAC; the paper reports IPPO to be nearly as good.",
        note=(
            f"{_OTHER_RULES} Two things differ: MAPPO's actor is also shared where units are alike "
            "in their spaces, and IPPO's are separate."
        ),
    ),
    Claim(
        name="happo-over-mappo-in-battles",
        paper="HARL",
        text="HAPPO wins more battles than MAPPO.",
        pairs=pairs([("happo", "mappo")], MAPS),
        budget=_BUDGET,
        published=(
            "Win rates on SMAC in %, HAPPO and MAPPO, after 10 M steps: 3s5z 97.5 and 96.9, "
            "5m_vs_6m 77.5 and 75.0; after 20 M: MMM2 88.8 and 93.8, corridor 92.5 and 97.5."
        ),
        note=(
            f"{_OTHER_RULES} HAPPO has one actor per agent and sequential updates, MAPPO a shared "
            "one and simultaneous updates."
        ),
        ablation="sequential-over-simultaneous",
    ),
)
