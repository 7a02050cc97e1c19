"""The claim of Zhang et al. that can be tested with one language model: stating a goal helps."""

from __future__ import annotations

from pkubench.tasks.claim import Claim, pairs

_MODEL = "SmolLM2-135M-Instruct"

CLAIMS = (
    Claim(
        name="goal-over-no-goal",
        paper="HVAE",
        text="Stating one's goal for the task before the questions raises value rationality.",
        pairs=pairs(
            [(f"{_MODEL} with goal=asked", f"{_MODEL} with goal=none")], ("pkubench/SVOSlider-v0",)
        ),
        equal="episodes",
        metric="vr_cc",
        trained=False,
        published=(
            "A radar plot of eight models with and without a goal: higher with it for most values "
            "of ChatGPT, GPT-4 and Claude, and no difference or the reverse for the others."
        ),
        note=(
            "A model of 135 million parameters, which chooses by the letter and not by the value; "
            "the paper's are withdrawn or larger. Corrected for chance, which the paper's score is "
            "not. Runs are evaluation seeds. That the best models follow every value, and that "
            "others are prosocial whatever is asked, needs those models: see the page of values."
        ),
    ),
)
