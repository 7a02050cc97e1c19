"""Claims about curricula and specialists that grasp: UniDexGrasp++ (Wan et al., 2023)."""

from __future__ import annotations

from pkubench.tasks.claim import Claim, pairs

_PAPER = "UniDexGrasp++"
_SMALL = ("pkubench/GraspSmall-v0",)
_TABLE = (
    "Success on 3,200 objects with the state: PPO 24.3, generalist-specialist learning 57.3, "
    "UniDexGrasp++ 87.9 %, in another simulator and with other objects."
)

CLAIMS = (
    Claim(
        name="unidexgrasp-over-ppo",
        paper=_PAPER,
        text="The pipeline of curriculum, specialists and distillation lifts more than PPO alone.",
        pairs=pairs([("unidexgrasp", "ppo")], _SMALL),
        published=_TABLE,
        note="The pipeline begins with a demonstration that its own search finds; PPO does not.",
        ablation="unidexgrasp-over-gsl",
    ),
    Claim(
        name="unidexgrasp-over-gsl",
        paper=_PAPER,
        text="Curriculum and specialists by geometry lift more than random specialists.",
        pairs=pairs([("unidexgrasp", "gsl")], _SMALL),
        published=_TABLE,
        note="Both begin with a demonstration and have as many steps.",
        ablation="geometry-over-random",
    ),
    Claim(
        name="geometry-over-random",
        paper=_PAPER,
        text="Specialists of clusters of geometry lift more than those of a random partition.",
        pairs=pairs([("grasp-specialists", "grasp-specialists with partition=random")], _SMALL),
        is_paired=True,
        published="An ablation of which we have the ordering and no figures.",
        note=(
            "All begin as the same generalist and have as many steps; groups have the same sizes. "
            "The seeds are those of specialists and random partitions, not of the generalist."
        ),
    ),
)
