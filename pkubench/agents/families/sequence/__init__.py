"""Agents that learn from a data set: sequence models, and the controls they are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pkubench.agents.registry import DATA, OFFICIAL, AgentFamily, Preset
from pkubench.agents.requirements import (
    acts_in_box_or_discrete,
    all_of,
    num_agents,
    plays_episodes,
    takes_no_masks,
)

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


def _is_alone(task: Task) -> str:
    return "" if num_agents(task) == 1 else "it is one agent, and here there are several"


FAMILY = AgentFamily(
    name="sequence",
    summary="agents that learn from a data set of episodes",
    kind="offline",
    unit="gradient_steps",
    configure=f"{__name__}.presets:preset",
    learner="pkubench.agents.rl.offline:make_learner",
    load=f"{__name__}.loading:load",
    acting={
        "mode": ("mode", "sampled"),
        "target_return": (None, float),
        "beam": (None, int),
        "horizon": (None, int),
    },
    fits=all_of(plays_episodes, acts_in_box_or_discrete, takes_no_masks, _is_alone),
    inputs=(DATA,),
)

_DT, _ODT = "DT (NeurIPS 2021)", "Online DT (ICML 2022)"
_TT = "TT (NeurIPS 2021)"
_IQL, _CQL = "IQL (ICLR 2022)", "CQL (NeurIPS 2020)"


def _preset(name: str, paper: str, summary: str, *tags: str) -> Preset:
    return Preset(
        name=name,
        family=FAMILY.name,
        summary=summary,
        paper=paper,
        suites=("sequence", "constrained", "diagnostics", "retrieval"),
        tags=frozenset(tags),
        place=60,
    )


PRESETS = (
    _preset("dt", _DT, "actions from a target return, states and past actions"),
    _preset("dt-paper", _DT, "DT with the official hyperparameters", OFFICIAL),
    _preset("odt", _ODT, "a stochastic DT, pre-trained and then trained on its own episodes"),
    _preset("odt-paper", _ODT, "Online DT with the official hyperparameters", OFFICIAL),
    _preset("tt", _TT, "a model of trajectories, and a beam search in it for every action"),
    _preset("tt-paper", _TT, "TT with the official hyperparameters", OFFICIAL),
    _preset("bc", "-", "imitates the data"),
    _preset("bc-10", "-", "imitates the best episodes, a tenth of the data"),
    _preset("iql", _IQL, "expectiles of the data's values, and imitation weighted by advantage"),
    _preset("cql", _CQL, "a critic that is pushed down on actions the data do not have"),
)
