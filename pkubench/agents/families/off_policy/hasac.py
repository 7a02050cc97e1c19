"""Presets of the off-policy methods of HARL and HASAC.

HADDPG, HATD3 (Zhong et al., JMLR 25(32), 2024) and HASAC (Liu et al., ICLR 2024) update the agents
sequentially, each given the fresh actions of those already updated. In the same official code,
MADDPG and MATD3 evaluate the critic at the replayed actions of the other agents, so they differ in
two respects. The ``-simultaneous`` presets differ only in the sequence: they use the actions of the
current policies, before the update. MASAC is simultaneous HASAC with one actor for similar agents.

``*-paper`` have the official hyperparameters, tuned per task (``PAPER``), and the official networks
except for the LayerNorm of Discrete actors. The plain names are for a CPU: networks of 64-64 and
batches of 256, updated more often (2 updates per 20 environment steps for HASAC, 3 for the others;
the official ratio is 1 in 20, and 1 in 10 for DDPG and TD3 on Multi-Agent MuJoCo). They were chosen
on one training seed of the continuous particle environments, which was not recorded: it may be one
of the reported seeds 0 to 4. Tune on seeds from 1000 upward. A tuned temperature (``PAPER``) is
kept; tuned n-step returns become one-step returns, with which HASAC learns more on HalfCheetah 2x3
(training seed 1000).

``hasac-lag`` and ``hatd3-lag`` hold a limit on the team's episode cost by a Lagrange multiplier,
which no official code does; with a speed limit a robot's tuned hyperparameters are unchanged.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pkubench.agents.components import changed
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.rl.off_policy.rules.ddpg import DDPG
from pkubench.agents.rl.off_policy.rules.sac import SAC
from pkubench.agents.rl.off_policy.rules.td3 import TD3

HASAC = OffPolicyConfig(rule=SAC(), last_activation="tanh")
"""The official hyperparameters for the particle environments."""

HATD3 = OffPolicyConfig(
    rule=TD3(), hidden=(128, 128), n_step=1, actor_lr=5e-4, critic_lr=1e-3, policy_delay=2
)
"""The official hyperparameters for the particle environments."""

HADDPG = replace(HATD3, rule=DDPG(), policy_delay=1)
"""The official hyperparameters for the particle environments."""

_MUJOCO: dict[str, Any] = {"hidden": (256, 256), "num_envs": 10}
"""HARL's DDPG and TD3 on Multi-Agent MuJoCo: an update per 10 environment steps, not 20."""

PAPER: dict[str, dict[str, dict[str, Any]]] = {
    "sac": {
        "MultiAnt4x2": {
            "actor_lr": 1e-3,
            "critic_lr": 3e-4,
            "alpha": 0.2,
            "alpha_auto": False,
            "n_step": 5,
        },
        "MultiAnt2x4": {
            "actor_lr": 1e-3,
            "critic_lr": 3e-4,
            "alpha": 0.2,
            "alpha_auto": False,
            "n_step": 5,
            "batch_size": 2200,
        },
        "MultiHalfCheetah2x3": {"actor_lr": 1e-3, "critic_lr": 1e-3, "n_step": 10},
        "MultiHalfCheetah6x1": {"actor_lr": 1e-3, "critic_lr": 1e-3, "n_step": 10},
        "MultiWalker2d2x3": {"critic_lr": 1e-3, "alpha": 0.2, "alpha_auto": False, "n_step": 20},
        "MultiWalker2d6x1": {"critic_lr": 1e-3, "alpha": 0.2, "alpha_auto": False, "n_step": 20},
        # of HumanoidStandup 17x1: none are published for Humanoid and Hopper
        "MultiHumanoid17x1": {"actor_lr": 1e-3, "critic_lr": 1e-3, "n_step": 10},
        "MultiHopper3x1": {"actor_lr": 1e-3, "critic_lr": 1e-3, "n_step": 10},
    },
    "td3": {
        "MultiAnt4x2": {**_MUJOCO, "n_step": 5},
        "MultiHalfCheetah2x3": {**_MUJOCO, "n_step": 10},
        "MultiHopper3x1": {**_MUJOCO, "n_step": 5},
        "MultiWalker2d2x3": {**_MUJOCO, "n_step": 20, "policy_delay": 8},
        "MultiWalker2d6x1": {**_MUJOCO, "n_step": 25},
        "MultiHumanoid17x1": {**_MUJOCO, "n_step": 5},
    },
    "ddpg": {
        "MultiAnt4x2": {**_MUJOCO, "n_step": 20, "updates_per_step": 0.5, "exploration": 0.05},
        "MultiHalfCheetah2x3": {**_MUJOCO, "n_step": 20},
        "MultiHopper3x1": {**_MUJOCO, "n_step": 20},
        "MultiWalker2d2x3": {**_MUJOCO, "n_step": 10},
        "MultiWalker2d6x1": {**_MUJOCO, "n_step": 20},
        # not published; as on most of the others
        "MultiHumanoid17x1": {**_MUJOCO, "n_step": 20},
    },
}
"""Rule -> task (without namespace and version) -> settings tuned by the papers."""

_SMALL: dict[str, Any] = {
    "n_step": 1,
    "hidden": (64, 64),
    "batch_size": 256,
    "actor_lr": 1e-3,
    "critic_lr": 1e-3,
}
SMALL: dict[str, dict[str, Any]] = {
    "sac": {**_SMALL, "updates_per_step": 2.0, "alpha": 0.1},
    "td3": {**_SMALL, "updates_per_step": 3.0},
    "ddpg": {**_SMALL, "updates_per_step": 3.0},
}
"""Rule -> what the plain names change on every task."""

SMALL_PARTICLE: dict[str, dict[str, Any]] = {
    "sac": {"gamma": 0.95},
    "td3": {"gamma": 0.95},
    "ddpg": {"gamma": 0.95},
}
"""Rule -> what they also change on tasks other than Multi-Agent MuJoCo."""

LAG: dict[str, Any] = {
    "constraint": "lagrangian",
    "cost_twins": True,
    "lambda_lr": 0.1,
    "window": 20,
}
"""What a cost limit changes. The window is one episode per environment. Episodes of equal length
end together, so that the multiplier is updated once in 20,000 steps; hence its learning rate."""

_RULES = {"sac": HASAC, "td3": HATD3, "ddpg": HADDPG}
_METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "haddpg": ("ddpg", {}),
    "hatd3": ("td3", {}),
    "hasac": ("sac", {}),
    "haddpg-simultaneous": ("ddpg", {"scheme": "simultaneous"}),
    "hatd3-simultaneous": ("td3", {"scheme": "simultaneous"}),
    "hasac-simultaneous": ("sac", {"scheme": "simultaneous"}),
    "maddpg": ("ddpg", {"scheme": "replayed"}),
    "matd3": ("td3", {"scheme": "replayed"}),
    "masac": ("sac", {"scheme": "simultaneous", "shared": True}),
    "hasac-lag": ("sac", LAG),
    # 25 updates in 500,000 steps: at 0.1 the multiplier came to 2.5 when the training was over
    "hatd3-lag": ("td3", {**LAG, "lambda_lr": 0.5}),
}

NAMES = (*_METHODS, *(f"{name}-paper" for name in _METHODS if "-" not in name))
"""Every preset."""


def _kept(tuned: dict[str, Any]) -> dict[str, Any]:
    """Return the tuned settings that the small presets keep: not the sizes and learning rates.

    Nor n-step returns, which are off-policy (those of old policies in the replay): with a tenth of
    the official steps there is no time to recover from them.
    """
    sized = ("hidden", "num_envs", "batch_size", "actor_lr", "critic_lr", "updates_per_step")
    return {name: value for name, value in tuned.items() if name not in (*sized, "n_step")}


def preset_for(name: str, task: str) -> OffPolicyConfig:
    """Return the settings of a preset of ``NAMES`` on a task (without namespace and version)."""
    method = name.removesuffix("-paper")
    rule, differences = _METHODS[method]
    tuned = PAPER[rule].get(task.removesuffix("Velocity"), {})
    settings = {**tuned, **differences}
    if method == name:
        settings = {**SMALL[rule], **_kept(tuned), **differences}
        if not task.startswith("Multi"):
            settings |= SMALL_PARTICLE[rule]
    return changed(_RULES[rule], settings)


_SHOWN = {name: "MultiHalfCheetah2x3Velocity" for name in NAMES if name.endswith("-lag")}
PRESETS = {n: preset_for(n, _SHOWN.get(n, "SimpleSpreadContinuous")) for n in NAMES}
"""The presets on the particle environments; those that hold a limit, on a team with one."""
