"""The settings of each agent that learns from data.

``dt-paper`` and ``odt-paper`` have the published code's hyperparameters (kzl/decision-transformer,
gym/; facebookresearch/online-dt). The plain names are for a CPU: a narrower transformer, smaller
batches and a shorter warm-up, for trainings of some 10,000 gradient steps where the papers have
100,000 and more.
``bc`` is a network of the present state, as in CORL; ``bc-10`` learns from the best episodes
(``best_episodes`` defines the ranking). ``iql`` and ``cql`` are CORL's, with ``cql`` narrower.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pkubench.agents.components import changed, tuned_for
from pkubench.agents.rl.offline.config import OfflineConfig
from pkubench.agents.rl.offline.methods.bc import BehaviourCloning
from pkubench.agents.rl.offline.methods.cql import ConservativeQ
from pkubench.agents.rl.offline.methods.dt import DecisionTransformerMethod
from pkubench.agents.rl.offline.methods.iql import ImplicitQ
from pkubench.agents.rl.offline.methods.odt import OnlineDecisionMethod
from pkubench.agents.rl.offline.methods.tt import TrajectoryMethod
from pkubench.envs.core.registry import traits
from pkubench.errors import UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

_DT_PAPER = OfflineConfig(method=DecisionTransformerMethod())
_ODT_PAPER = OfflineConfig(
    method=OnlineDecisionMethod(width=512, layers=4, heads=4, weight_decay=5e-4),
    batch_size=256,
    updates=300,
)
_BC = OfflineConfig(method=BehaviourCloning(), batch_size=256)
PRESETS = {
    "dt": OfflineConfig(
        method=DecisionTransformerMethod(width=64, lr=1e-3, warmup_steps=500), batch_size=32
    ),
    "dt-paper": _DT_PAPER,
    "odt": replace(
        _ODT_PAPER,
        method=OnlineDecisionMethod(
            width=128, layers=3, heads=1, weight_decay=5e-4, lr=1e-3, warmup_steps=500
        ),
        batch_size=32,
    ),
    "odt-paper": _ODT_PAPER,
    "tt": OfflineConfig(
        method=TrajectoryMethod(
            width=64, layers=2, heads=2, lr=1e-3, decay_share=1.0, beam=32, horizon=5
        ),
        batch_size=32,
    ),
    "tt-paper": OfflineConfig(method=TrajectoryMethod(), batch_size=256),
    "bc": _BC,
    "bc-10": replace(_BC, method=BehaviourCloning(best_share=0.1)),
    "iql": OfflineConfig(method=ImplicitQ(), batch_size=256),
    "cql": OfflineConfig(method=ConservativeQ(hidden=(64, 64), policy_lr=3e-4), batch_size=256),
}

_ROBOT = {"return_scale": 1000.0, "reward_range": 1000.0, "termination_reward": -100.0}
TUNED: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("HalfCheetah", "Hopper", "Walker2d"), _ROBOT),
    "Stitching": {"context": 2, "window": 3},
}
"""Prefix of a task's name -> settings for it, of the methods that have them: the papers' for the
robots; windows of Stitching are no longer than an episode, which is all that they could hold."""
_DISCRETE = {"alpha": 1.0, "cdf": 0.0}
"""What discrete actions change. CQL's paper has penalties of 0.5 to 4 for Atari games. Of a few
choices, as against a hundred bins, the least likely ones are worth planning with too: of two at 49
and 51 % a share of 0.6 would leave one."""


def preset(agent: str, task: Task | None) -> OfflineConfig:
    """Return the settings of ``agent`` on ``task``.

    Raises:
        UnknownName: no such preset.
    """
    if agent not in PRESETS:
        raise UnknownName("preset that learns from data", agent, PRESETS)
    if task is None:
        return PRESETS[agent]
    tuned = tuned_for(TUNED, task.id)
    if traits(task.id, **task.env_kwargs).action == "discrete":
        tuned = {**_DISCRETE, **tuned}
    return changed(PRESETS[agent], tuned, strict=False)
