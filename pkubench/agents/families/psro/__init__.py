"""Game learners (PSRO and its kin, fictitious play, CFR), meta-solvers, saved populations."""

from __future__ import annotations

from pkubench.agents.learner import Context, Learner
from pkubench.agents.registry import OFFICIAL, SUGGESTED, AgentFamily, Preset
from pkubench.agents.requirements import plays_zero_sum_games

FAMILY = AgentFamily(
    name="population",
    summary="solvers of two-player zero-sum games: populations of policies, and tables",
    kind="population",
    unit="iterations",
    configure=f"{__name__}.presets:preset",
    learner=f"{__name__}:make_learner",
    load=f"{__name__}.loading:load",
    bound=f"{__name__}.response_bound:response_bound",
    fits=plays_zero_sum_games,
)


def _preset(name: str, paper: str, summary: str, *tags: str) -> Preset:
    return Preset(
        name=name,
        family=FAMILY.name,
        summary=summary,
        paper=paper,
        suites=("games",),
        tags=frozenset(tags),
        place=50,
    )


_PSD = "PSD-PSRO (NeurIPS 2023)"

PRESETS = (
    *(
        _preset(f"{name}{suffix}", _PSD, f"{summary}{told}", *tags)
        for name, summary, first in (
            ("psro", "double oracle with exact responses", (SUGGESTED,)),
            ("p-psro", "PSRO with two policies in training at once", ()),
            ("psro-rn", "PSRO whose policies answer those they do not lose to", ()),
            ("dpp-psro", "P-PSRO that seeks a large determinantal process", ()),
            ("bd-rd-psro", "P-PSRO that seeks other behaviour and other payoffs", ()),
            (
                "bd-rd-psro-official",
                "BD&RD-PSRO with the rounding noise of its released code",
                (),
            ),
            ("psd-psro", "P-PSRO that seeks distance from every member", ()),
            ("psd-psro-hull", "P-PSRO that seeks distance from the policy hull", ()),
            ("self-play", "responses to the newest policy alone", ()),
            ("psro-deep", "PSRO whose responses are learnt from plays", ()),
            ("psd-psro-deep", "PSD-PSRO whose responses are learnt from plays", ()),
        )
        for suffix, told, tags in (("", "", first), ("-paper", "; official numbers", (OFFICIAL,)))
    ),
    _preset("cfr+", "CFR+ (Tammelin 2014)", "counterfactual regret minimisation plus", SUGGESTED),
    _preset("cfr", "CFR (NeurIPS 2007)", "counterfactual regret minimisation"),
    _preset("xfp", "XFP (ICML 2015)", "extensive-form fictitious play"),
)


def make_learner(context: Context) -> Learner:
    """Make one training of a game learner."""
    from pkubench.agents.families.psro.training import GameTraining

    return GameTraining(context)
