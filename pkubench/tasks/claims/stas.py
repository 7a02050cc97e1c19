"""Claims about delayed team rewards: STAS (Chen et al., AAAI 2024), TAR2 (Kapoor et al. 2025)."""

from __future__ import annotations

from pkubench.tasks.claim import Claim, pairs

_STAS, _TAR2 = "STAS", "TAR2"
ALICE = "pkubench/AliceAndBob-v0"
_THREE, _SIX, _FIFTEEN = (f"pkubench/Navigation{n}-v0" for n in (3, 6, 15))
_PREY = "pkubench/PredatorPrey3-v0"
_BUDGET = {ALICE: 4_096_000.0, "": 2_048_000.0}
_NOT_RUN = (
    "COMA, QMIX and SQDDPG, which the paper compares with, are not run. Every agent here has the "
    "same policy and replay, and policies are scored with sampled actions."
)

CLAIMS = (
    Claim(
        name="stas-over-other-credit",
        paper=_STAS,
        text=(
            "STAS earns a higher return than other credit, where a team is paid at the end of an "
            "episode."
        ),
        pairs=pairs([("stas", name) for name in ("arel", "uniform")], (ALICE, _THREE, _SIX, _PREY)),
        budget=_BUDGET,
        published=(
            "Curves without a table: the best of STAS, COMA, QMIX and SQDDPG on Alice & Bob, "
            "cooperative navigation and predator-prey."
        ),
        note=f"{_NOT_RUN} The prey follows a rule of ours.",
        ablation="stas-over-replay",
    ),
    Claim(
        name="stas-over-no-credit",
        paper=_STAS,
        text=(
            "STAS earns a higher return than the undecomposed one, where a team is paid at the end "
            "of an episode."
        ),
        pairs=pairs([("stas", "undecomposed")], (ALICE, _THREE, _SIX, _FIFTEEN, _PREY)),
        budget=_BUDGET,
        published=(
            "Curves without a table, in which STAS's are the best, for 3, 6 and 15 agents alike."
        ),
        note=(
            "Judged apart from other credit only after the runs were seen: together, gains over "
            "other credit covered that there is none over the undecomposed return."
        ),
        ablation="stas-over-replay",
    ),
    Claim(
        name="stas-over-replay",
        paper=_STAS,
        text=(
            "Decomposing the return earns more than imitating the successes of the same replay "
            "does."
        ),
        pairs=pairs([("stas", "undecomposed-sil")], (ALICE, _THREE)),
        budget=_BUDGET,
        published="None: there is no such control. STAS alone learns from replayed episodes.",
        note=(
            "Both draw a tenth of every batch from successes, which the paper's code does not; "
            "without it STAS does not learn Alice & Bob."
        ),
    ),
    Claim(
        name="stas-with-standardised-advantages",
        paper=_STAS,
        text=(
            "STAS earns a higher return than other credit, and than none, where advantages are "
            "standardised as in its code."
        ),
        pairs=pairs(
            [
                ("stas with advantage_epsilon=1e-05", f"{name} with advantage_epsilon=1e-05")
                for name in ("arel", "uniform", "undecomposed", "undecomposed-sil")
            ],
            (ALICE,),
        ),
        budget=_BUDGET,
        published="That of the claim above: the paper's code standardises advantages.",
        note=(
            "In an update without a success, standardised penalties for walking into walls weigh "
            "as much as successes do elsewhere. The other claims' agents add 1 to the deviation "
            "that advantages are divided by."
        ),
        ablation="stas-over-other-credit",
    ),
    Claim(
        name="tar2-over-stas-and-arel",
        paper=_TAR2,
        text="TAR2 earns a higher return than STAS and AREL.",
        pairs=pairs([("tar2", "stas"), ("tar2", "arel")], (ALICE, _THREE, _SIX, _PREY)),
        published="Curves on SMACLite and Google Research Football, under recurrent MAPPO.",
        note=(
            "Neither environment is here. TAR2 has softmax weights of signed scores, since its "
            "published ones give one of two agents everything, and the best agent the largest part "
            "of a negative return; all methods have the same policy and replay."
        ),
    ),
)
