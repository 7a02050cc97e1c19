"""Game learners (PSRO and variants, fictitious play, CFR), meta-solvers, saved populations."""

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
        _preset(f"{name}{suffix}", _PSD, f"{summary}{note}", *tags)
        for name, summary, first in (
            ("psro", "double oracle with exact responses", (SUGGESTED,)),
            ("p-psro", "PSRO with two policies trained in parallel", ()),
            ("psro-rn", "PSRO with responses to the opponents that a policy does not lose to", ()),
            ("dpp-psro", "P-PSRO with a determinantal-point-process diversity bonus", ()),
            ("bd-rd-psro", "P-PSRO with behavioral and response diversity", ()),
            (
                "bd-rd-psro-official",
                "BD&RD-PSRO with the rounding noise of its released code",
                (),
            ),
            ("psd-psro", "P-PSRO that maximizes the distance from every member", ()),
            ("psd-psro-hull", "P-PSRO that maximizes the distance from the policy hull", ()),
            ("self-play", "responses to the newest policy alone", ()),
            ("psro-deep", "PSRO with responses learned from plays", ()),
            ("psd-psro-deep", "PSD-PSRO with responses learned from plays", ()),
        )
        for suffix, note, tags in (
            ("", "", first),
            ("-paper", "; official hyperparameters", (OFFICIAL,)),
        )
    ),
    _preset("cfr+", "CFR+ (Tammelin 2014)", "counterfactual regret minimization plus", SUGGESTED),
    _preset("cfr", "CFR (NeurIPS 2007)", "counterfactual regret minimization"),
    _preset("xfp", "XFP (ICML 2015)", "extensive-form fictitious play"),
    _preset(
        "anytime-psro",
        "Anytime PSRO (AAMAS 2022)",
        "mixtures that lose least to all opponents; exploitability never rises",
    ),
    _preset(
        "sp-psro",
        "SP-PSRO (ICLR 2023)",
        "Anytime PSRO that also adds the average policy of some self-play",
    ),
    _preset("xdo", "XDO (NeurIPS 2021)", "double oracle over actions at information states"),
    _preset(
        "xdo-exact",
        "Double oracle for extensive-form games (JAIR 2014)",
        "XDO with restricted games solved by linear programming",
    ),
    _preset("nfsp", "NFSP (2016)", "neural fictitious self-play: the average of learned responses"),
    _preset("deep-cfr", "Deep CFR (ICML 2019)", "regret minimization with networks for tables"),
    _preset("mmd", "MMD (ICLR 2023)", "magnetic mirror descent with falling temperature"),
    _preset("mmd-magnet", "MMD (ICLR 2023)", "magnetic mirror descent with a moving magnet"),
    _preset("mmd-qre", "MMD (ICLR 2023)", "a quantal response equilibrium, not a Nash one"),
)


def make_learner(context: Context) -> Learner:
    """Make one training of a game learner."""
    from pkubench.agents.families.psro.training import GameTraining

    return GameTraining(context)
