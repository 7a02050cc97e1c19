"""Claims of "Maximum Entropy Heterogeneous-Agent Reinforcement Learning" (Liu et al., ICLR 2024).

Its theory is MEHAML, maximum entropy heterogeneous-agent mirror learning; its learner is HASAC.
"""

from __future__ import annotations

from pkubench.tasks.claim import Claim, pairs
from pkubench.tasks.claims.harl import PARTICLE, ROBOTS

_PAPER = "HASAC"

CLAIMS = (
    Claim(
        name="hasac-over-others",
        paper=_PAPER,
        text="HASAC earns a higher return than HATD3, HAPPO and MAPPO.",
        pairs=pairs([("hasac", name) for name in ("hatd3", "happo", "mappo")], PARTICLE + ROBOTS),
        budget={"": 10_000_000.0},
        published="The best final return in 31 of 35 tasks of six benchmarks.",
        note="Equal steps: an off-policy learner computes more in each than HAPPO and MAPPO.",
        ablation="entropy-over-none",
    ),
    Claim(
        name="entropy-over-none",
        paper=_PAPER,
        text="The entropy term earns a higher return than none, among off-policy learners.",
        pairs=pairs([("hasac", "hatd3"), ("masac", "matd3")], PARTICLE),
        budget={"": 10_000_000.0},
        published="Curves of HASAC against HATD3; there is no HASAC without its entropy term.",
        note=(
            "Stochastic actors and the number of updates per step differ with the entropy term; "
            "MASAC against MATD3 is the same comparison without sequential updates."
        ),
    ),
)
"""On the cooperative environments."""

EQUILIBRIA = (
    Claim(
        name="entropy-leaves-poor-equilibria",
        paper=_PAPER,
        text="HASAC ends at a better equilibrium than HAPPO in games with poor ones.",
        pairs=pairs([("hasac", "happo")], ["pkubench/Climbing-v0", "pkubench/Penalty-v0"]),
        published=(
            "A theorem: MEHAML converges to a quantal response equilibrium; and a matrix game in "
            "which learners without entropy stay at a poor equilibrium. No figures were found."
        ),
        note=(
            "The theorem does not promise the best equilibrium: even exact soft best responses "
            "with a falling temperature end at 7 in Climbing, where 11 is possible."
        ),
    ),
)
"""On environments solved on paper."""
