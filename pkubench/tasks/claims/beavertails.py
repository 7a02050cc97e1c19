"""The claim of BeaverTails (Ji et al., NeurIPS 2023) about what a moderator must read."""

from __future__ import annotations

from pkubench.tasks.claim import Claim, pairs

CLAIMS = (
    Claim(
        name="pair-over-prompt",
        paper="BeaverTails",
        text="Moderators that judge a question with its answer see harm better than by it alone.",
        pairs=pairs(
            [
                (f"{name}-moderator", f"{name}-moderator-prompt")
                for name in ("tfidf", "transformer")
            ],
            ("pkubench/QAModeration-v0",),
        ),
        equal="iterations",
        metric="auroc",
        published="Questions alone are moderated too strictly or too laxly: examples, no table.",
        note=(
            "True by construction of the synthetic pairs, where a question has as many safe as "
            "unsafe answers; it tests the moderators. Iterations are gradient steps. The real data "
            "are under a licence for non-commercial use, so no figure of them is kept here."
        ),
    ),
)
