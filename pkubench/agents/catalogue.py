"""Every named agent: what paper it comes from, what trains it and where its weights are.

Nothing heavy is imported here; trainers and loaders are named as ``module:function``.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkubench.errors import UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

PRETRAINED = Path(__file__).parents[1] / "weights"
"""Shipped weights: ``weights/AGENT/TASKNAME/seedN/{config.json, weights.safetensors, ...}``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """One named agent."""

    name: str
    paper: str
    suites: tuple[str, ...]
    summary: str
    trainer: str | None = None
    """``module:function`` of a ``Trainer``; None for agents that are not trained."""

    @property
    def together(self) -> str | None:
        """``module:function`` that trains several seeds side by side, if there is one."""
        return f"{_OFF_POLICY}_together" if self.trainer == _OFF_POLICY else None

    @property
    def is_for_teams(self) -> bool:
        """Whether it is a learner of teams: of MARL, or one of those with a cost limit."""
        return self.trainer is not None and ("marl" in self.suites or self.paper == _COMPOSED)


_ON_POLICY = "pkubench.agents.families.on_policy:train"
_OFF_POLICY = "pkubench.agents.families.off_policy:train"
_PSRO = "pkubench.agents.families.psro:train"
_HARL = "HARL (JMLR 2024)"
_HASAC = "HASAC (ICLR 2024)"
_OMNISAFE = "OmniSafe (JMLR 2024)"
_PSD = "PSD-PSRO (NeurIPS 2023)"
_COMPOSED = "composed here"
_TEAMS = ("marl", "diagnostics")
_LIMITED = ("constrained",)
_CONSTRAINED = (*_LIMITED, "diagnostics")
_ALL = ("marl", "constrained", "games", "diagnostics")

_TABLE = (
    ("random", "-", _ALL, "uniform over the action space", None),
    (
        "happo",
        _HARL,
        (*_TEAMS, *_LIMITED),
        "sequential update with the running ratio product",
        _ON_POLICY,
    ),
    ("mappo", _HARL, _TEAMS, "one shared policy, simultaneous update", _ON_POLICY),
    ("ippo", _HARL, _TEAMS, "independent policies, simultaneous update", _ON_POLICY),
    ("hatrpo", _HARL, _TEAMS, "sequential steps in a ball of the true KL", _ON_POLICY),
    ("haa2c", _HARL, _TEAMS, "sequential update of the plain surrogate", _ON_POLICY),
    ("happo-simultaneous", _HARL, _TEAMS, "HAPPO without the sequence", _ON_POLICY),
    ("hatrpo-simultaneous", _HARL, _TEAMS, "HATRPO without the sequence", _ON_POLICY),
    ("haa2c-simultaneous", _HARL, _TEAMS, "HAA2C without the sequence", _ON_POLICY),
    ("happo-paper", _HARL, ("marl",), "HAPPO with the official numbers", _ON_POLICY),
    ("mappo-paper", _HARL, ("marl",), "MAPPO with the official numbers", _ON_POLICY),
    ("hatrpo-paper", _HARL, ("marl",), "HATRPO with the official numbers", _ON_POLICY),
    ("haa2c-paper", _HARL, ("marl",), "HAA2C with the official numbers", _ON_POLICY),
    ("hasac", _HASAC, (*_TEAMS, *_LIMITED), "sequential soft actor-critic", _OFF_POLICY),
    ("hatd3", _HARL, _TEAMS, "sequential TD3", _OFF_POLICY),
    ("haddpg", _HARL, _TEAMS, "sequential DDPG", _OFF_POLICY),
    ("masac", _HASAC, _TEAMS, "soft actor-critic, one shared policy at once", _OFF_POLICY),
    ("matd3", _HARL, _TEAMS, "TD3 beside the others' replayed actions", _OFF_POLICY),
    ("maddpg", _HARL, _TEAMS, "DDPG beside the others' replayed actions", _OFF_POLICY),
    ("hasac-simultaneous", _HASAC, _TEAMS, "HASAC without the sequence", _OFF_POLICY),
    ("hatd3-simultaneous", _HARL, _TEAMS, "HATD3 without the sequence", _OFF_POLICY),
    ("haddpg-simultaneous", _HARL, _TEAMS, "HADDPG without the sequence", _OFF_POLICY),
    ("hasac-lag", _COMPOSED, _LIMITED, "HASAC with a Lagrange multiplier", _OFF_POLICY),
    ("hatd3-lag", _COMPOSED, _LIMITED, "HATD3 with a Lagrange multiplier", _OFF_POLICY),
    ("hasac-paper", _HASAC, ("marl",), "HASAC with the official numbers", _OFF_POLICY),
    ("hatd3-paper", _HARL, ("marl",), "HATD3 with the official numbers", _OFF_POLICY),
    ("haddpg-paper", _HARL, ("marl",), "HADDPG with the official numbers", _OFF_POLICY),
    ("masac-paper", _HASAC, ("marl",), "MASAC with HASAC's numbers", _OFF_POLICY),
    ("matd3-paper", _HARL, ("marl",), "MATD3 with HATD3's numbers", _OFF_POLICY),
    ("maddpg-paper", _HARL, ("marl",), "MADDPG with HADDPG's numbers", _OFF_POLICY),
    *(
        (name, _OMNISAFE, _CONSTRAINED, summary, _ON_POLICY)
        for method, told in (
            ("policy-gradient", "plain surrogate, blind to cost"),
            ("natural-pg", "natural gradient, blind to cost"),
            ("ppo", "clipped surrogate, blind to cost"),
            ("trpo", "step in a KL ball, blind to cost"),
            ("ppo-lag", "PPO with a Lagrange multiplier"),
            ("trpo-lag", "TRPO with a Lagrange multiplier"),
            ("rcpo", "natural gradient with a Lagrange multiplier"),
            ("pdo", "policy gradient with a Lagrange multiplier"),
            ("cppo-pid", "PPO with a PID-controlled multiplier"),
            ("trpo-pid", "TRPO with a PID-controlled multiplier"),
            ("cpo", "step in the safe part of a KL ball"),
            ("pcpo", "step in a KL ball, projected on the safe side"),
            ("focops", "towards the best policy of any form, with a multiplier"),
            ("cup", "PPO on the reward, then a correction for the cost"),
            ("p3o", "PPO with an exact penalty"),
            ("ipo", "PPO with a logarithmic barrier"),
            ("crpo", "TRPO on the reward while the cost allows, else on the cost"),
            ("ppo-saute", "PPO that sees what is left of its cost budget"),
            ("ppo-early-terminated", "PPO whose training episodes end with their budget"),
        )
        for name, summary in ((method, told), (f"{method}-paper", f"{told}; official numbers"))
    ),
    ("happo-lag", _COMPOSED, _LIMITED, "HAPPO with a Lagrange multiplier", _ON_POLICY),
    *(
        (name, _OMNISAFE, _CONSTRAINED, summary, _OFF_POLICY)
        for rule, told in (
            ("ddpg", "deterministic policy gradient"),
            ("td3", "delayed, smoothed twins"),
            ("sac", "soft actor-critic"),
        )
        for method, summary in (
            (rule, f"{told}, blind to cost"),
            (f"{rule}-lag", f"{told}, with a Lagrange multiplier"),
            (f"{rule}-pid", f"{told}, with a PID-controlled multiplier"),
        )
        for name, summary in (
            (method, summary),
            (f"{method}-paper", f"{summary}; official numbers"),
        )
    ),
    *(
        (name, _PSD, ("games",), summary, _PSRO)
        for method, told in (
            ("psro", "double oracle with exact responses"),
            ("p-psro", "PSRO with two policies in training at once"),
            ("psro-rn", "PSRO whose policies answer those they do not lose to"),
            ("dpp-psro", "P-PSRO that seeks a large determinantal process"),
            ("bd-rd-psro", "P-PSRO that seeks other behaviour and other payoffs"),
            ("bd-rd-psro-official", "BD&RD-PSRO with the rounding noise of its released code"),
            ("psd-psro", "P-PSRO that seeks distance from every member"),
            ("psd-psro-hull", "P-PSRO that seeks distance from the policy hull"),
            ("self-play", "responses to the newest policy alone"),
            ("psro-deep", "PSRO whose responses are learnt from plays"),
            ("psd-psro-deep", "PSD-PSRO whose responses are learnt from plays"),
        )
        for name, summary in ((method, told), (f"{method}-paper", f"{told}; official numbers"))
    ),
    ("cfr+", "CFR+ (Tammelin 2014)", ("games",), "counterfactual regret minimisation plus", _PSRO),
    ("cfr", "CFR (NeurIPS 2007)", ("games",), "counterfactual regret minimisation", _PSRO),
    ("xfp", "XFP (ICML 2015)", ("games",), "extensive-form fictitious play", _PSRO),
)

AGENTS: dict[str, AgentSpec] = {
    name: AgentSpec(name=name, paper=paper, suites=suites, summary=summary, trainer=trainer)
    for name, paper, suites, summary, trainer in _TABLE
}


def agent_spec(name: str) -> AgentSpec:
    """Return the spec of a named agent.

    Raises:
        UnknownName: no such agent; the message names the nearest one.
    """
    if name not in AGENTS:
        raise UnknownName("agent", name, AGENTS, "`pkubench list` shows all")
    return AGENTS[name]


def import_function(path: str) -> Any:
    """Return the object behind ``module:function``."""
    module, _, function = path.partition(":")
    return getattr(importlib.import_module(module), function)


def is_learnt(spec: AgentSpec, task: Task) -> bool:
    """Return whether an agent trains on a task: it is of its suites, and there is what it holds.

    Agents that hold a cost limit do not train where nothing costs.
    """
    if spec.trainer is None or task.suite not in spec.suites:
        return False
    if task.suite != "constrained" or task.cost_limit is not None:
        return True
    preset = import_function(f"{spec.trainer.partition(':')[0]}.presets:preset")
    constraint = preset(spec.name, task).constraint
    return bool(getattr(constraint, "name", constraint) == "none")
