"""Claims of "Policy Space Diversity for Non-Transitive Games" (Yao et al., NeurIPS 2023).

The paper does not say what is equal when methods are compared: its figures have iterations on the
axis, in which pipelines train two policies where PSRO trains one. So each question is asked for
every budget.
"""

from __future__ import annotations

from collections.abc import Iterator

from pkubench.tasks.claim import Claim, Pair, Unit, pairs

_PAPER = "PSD-PSRO"
_SKILL = tuple(f"matrix:game_of_skill(888,{seed})" for seed in range(5))
_BLOTTO = "matrix:blotto(10,3)"
_TREES = tuple(
    f"pkubench/{name}-v0" for name in ("KuhnPoker", "LeducPoker", "LiarsDice5", "Goofspiel5")
)
_OTHERS = ("psro", "p-psro", "psro-rn", "dpp-psro", "bd-rd-psro")
_BUDGET = {game: 200.0 for game in (*_SKILL, _BLOTTO)}
_EQUAL_STEP = "psd-psro-paper with diversity_step=0.5"
"""With the step of every other method: the published 0.6 lowers PE by itself."""
_NO_TERM = "psd-psro-paper with diversity_weight=0.0"
_EQUAL_STEP_NO_TERM = f"{_EQUAL_STEP}, diversity_weight=0.0"
_FIGURES = (
    "stored for the AlphaStar league (888 policies, 5 seeds, 200 iterations), a payoff table that "
    "is not redistributable"
)
_UNITS: dict[Unit, str] = {
    "iterations": "at equal iterations",
    "episodes": "at equal episodes",
    "seconds": "at equal seconds of learning",
}
_NOTES: dict[Unit, str] = {
    "iterations": "In one iteration pipelines train two policies and PSRO one. ",
    "episodes": (
        "An iteration counts 20,000 episodes for each policy trained and 1,000 for each new entry "
        "of the payoff table, the numbers of the published code with a learned oracle. "
    ),
    "seconds": (
        "Seconds of one processor thread, without the time of scoring; they depend on the machine. "
    ),
}
_SOLVED = (
    "Games that both solve within the budget are ties and count for neither. The league is not "
    "here: random games of skill of its size stand for it."
)
_STEP = (
    "PSD-PSRO's diverse responses take a longer step than others' (0.6 of the way instead of 0.5). "
)


def _against_all() -> tuple[Pair, ...]:
    """Return PSD-PSRO against each method on every game where both are measured."""
    official = [("psd-psro-paper", f"{other}-paper") for other in _OTHERS]
    return (
        *pairs(official, (_SKILL[0], _BLOTTO)),
        *pairs([("psd-psro-paper", "p-psro-paper")], _SKILL[1:]),
        *pairs([("psd-psro", other) for other in _OTHERS], _TREES),
    )


def _questions() -> Iterator[Claim]:
    for unit, words in _UNITS.items():
        yield Claim(
            name=f"psd-exploitability-{unit}",
            paper=_PAPER,
            text=f"PSD-PSRO has a lower exploitability than other PSRO methods, {words}.",
            pairs=_against_all(),
            equal=unit,
            budget=_BUDGET if unit == "iterations" else {},
            metric="exploitability",
            over_tasks=False,
            published=f"0.0120 against 0.0154 to 0.0266 of the others, {_FIGURES}.",
            note=_NOTES[unit] + _SOLVED,
            ablation="diversity-term",
        )
    for unit, words in _UNITS.items():
        yield Claim(
            name=f"psd-population-{unit}",
            paper=_PAPER,
            text=(
                "PSD-PSRO has a lower population exploitability (a higher population "
                f"effectivity) than other PSRO methods, {words}."
            ),
            pairs=_against_all(),
            equal=unit,
            budget=_BUDGET if unit == "iterations" else {},
            metric="population_exploitability",
            over_tasks=False,
            published=f"0.0088 against 0.0124 to 0.0235 of the others (PE), {_FIGURES}.",
            note=_NOTES[unit] + _SOLVED,
            ablation="diversity-term",
        )
    for metric in ("exploitability", "population_exploitability"):
        word, words = metric.split("_")[0], metric.replace("_", " ")
        yield Claim(
            name=f"psd-{word}-equal-steps",
            paper=_PAPER,
            text=(
                f"PSD-PSRO has a lower {words} than other PSRO methods, at equal iterations and "
                "equal steps of its responses."
            ),
            pairs=(
                *pairs(
                    [(_EQUAL_STEP, f"{other}-paper") for other in _OTHERS], (_SKILL[0], _BLOTTO)
                ),
                *pairs([(_EQUAL_STEP, "p-psro-paper")], _SKILL[1:]),
            ),
            equal="iterations",
            budget=_BUDGET,
            metric=metric,
            over_tasks=False,
            published="None: in the published code its diverse responses take a longer step.",
            note=_STEP + _SOLVED,
            ablation="diversity-term",
        )
    for metric, name in (
        ("population_exploitability", "diversity-term"),
        ("exploitability", "diversity-term-exploitability"),
    ):
        yield Claim(
            name=name,
            paper=_PAPER,
            text=(
                f"The diversity term by itself lowers the {metric.replace('_', ' ')}, all else "
                "equal."
            ),
            pairs=pairs([(_EQUAL_STEP, _EQUAL_STEP_NO_TERM), ("psd-psro-paper", _NO_TERM)], _SKILL),
            equal="iterations",
            budget=dict.fromkeys(_SKILL, 200.0),
            metric=metric,
            over_tasks=False,
            published="None: no published run has the term's weight at zero.",
            note=_STEP + "With the weight at zero only the step is left.",
        )


CLAIMS = tuple(_questions())
