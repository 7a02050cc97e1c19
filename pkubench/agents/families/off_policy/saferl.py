"""Presets of OmniSafe's off-policy algorithms (Ji et al., JMLR 25, 2024).

DDPG, TD3 and SAC, each unconstrained, with a Lagrange multiplier (``-lag``) and with a
PID-controlled multiplier (``-pid``).

``*-paper`` have the official networks and hyperparameters, one update per step, and the official
schedule of the multiplier (``variant=omnisafe``); four navigation tasks have their own
hyperparameters (``NAVIGATION``). Updates are done in bursts of 50 after 50 steps, where the
official code does one after each step.

The plain names are sized for a CPU (``SMALL``): eight environments, networks of 64-64 and an update
per four steps; SAC tunes its temperature. They use the larger of two cost critics: in a trial on
Hopper (SAC-Lag, training seed 1000) a single one, which actors minimise, came to predict costs
below 0. Chosen on that seed of HopperVelocity and PointCircle1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pkubench.agents.components import changed
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.rl.off_policy.rules import ddpg, sac, td3

SAC = OffPolicyConfig(
    rule=sac.SAC(alpha=0.2, alpha_auto=False),
    num_envs=1,
    warmup_steps=10_000,
    batch_size=256,
    n_step=1,
    actor_lr=3e-4,
    critic_lr=3e-4,
    max_grad_norm=40.0,
    policy_delay=2,
    window=10,
)
"""The official hyperparameters."""

TD3 = replace(SAC, rule=td3.TD3(), warmup_steps=25_000)
"""The official hyperparameters."""

DDPG = replace(TD3, rule=ddpg.DDPG(variant="omnisafe"), policy_delay=1)
"""The official hyperparameters."""

_HELD = {"constraint.variant": "omnisafe", "cost_norm": True, "lambda_warmup_steps": 202_000}
"""Common to all of them. The steps are epochs 0 to 100 of 2,000 each."""
CONSTRAINED: dict[str, dict[str, Any]] = {
    "lag": {"constraint": "lagrangian", "lambda_lr": 1e-5, **_HELD},
    "pid": {
        "constraint": "pid",
        "actor_lr": 1e-4,
        "pid_kp": 1e-6,
        "pid_ki": 1e-7,
        "pid_kd": 1e-7,
        **_HELD,
    },
}
"""Constraint -> what its official files change."""

NAVIGATION = ("PointGoal1", "CarGoal1", "PointCircle1", "CarCircle1")
"""The tasks with their own official hyperparameters."""
_NAVIGATION: dict[str, dict[str, Any]] = {
    "": {"actor_lr": 5e-6, "critic_lr": 1e-3, "alpha": 1e-5},
    "lag": {"lambda_init": 0.0, "lambda_lr": 5e-7, "cost_norm": False},
    "pid": {"pid_kp": 5e-7, "pid_ki": 1e-8, "pid_kd": 1e-8, "cost_norm": False},
}

SMALL: dict[str, Any] = {
    "rule.variant": "published",
    "constraint.variant": "published",
    "num_envs": 8,
    "warmup_steps": 10_000,
    "updates_per_step": 2.0,
    "hidden": (64, 64),
    "actor_lr": 5e-4,
    "critic_lr": 1e-3,
    "max_grad_norm": None,
    "cost_twins": True,
    "cost_norm": False,
    "lambda_warmup_steps": 0,
    "alpha": 0.1,
    "alpha_auto": True,
}
"""What the plain names change."""
SMALL_CONSTRAINED: dict[str, dict[str, Any]] = {
    "lag": {"lambda_lr": 0.05},
    "pid": {"pid_kp": 0.01, "pid_ki": 1e-4, "pid_kd": 0.01},
}
"""Constraint -> what they also change."""
FALLING = ("Hopper", "Walker2d", "Ant", "Humanoid")
"""Robots with early termination: episodes end at different times, so the multiplier is updated in
almost every burst (400 steps), not when all environments' episodes end together (8,000)."""
_SLOWER = {"lambda_lr": 0.02}

_EXCEPTIONS: dict[str, dict[str, Any]] = {
    "ddpg": {"window": 50},
    "ddpg-pid": {"lambda_init": 0.0},
}
"""Method -> what its own official file changes."""

_RULES = {"ddpg": DDPG, "td3": TD3, "sac": SAC}
_METHODS = (*_RULES, *(f"{rule}-{kind}" for kind in CONSTRAINED for rule in _RULES))
NAMES = (*_METHODS, *(f"{name}-paper" for name in _METHODS))
"""Every preset."""


def preset_for(name: str, task: str) -> OffPolicyConfig:
    """Return the settings of a preset of ``NAMES`` on a task (without namespace and version)."""
    method = name.removesuffix("-paper")
    rule, _, kind = method.partition("-")
    settings: dict[str, Any] = dict(CONSTRAINED.get(kind, {}))
    if method == name:
        settings |= SMALL | SMALL_CONSTRAINED.get(kind, {})
        if kind == "lag" and task.startswith(FALLING):
            settings |= _SLOWER
    else:
        settings |= _EXCEPTIONS.get(method, {})
        if task in NAVIGATION:
            settings |= _NAVIGATION[""] | _NAVIGATION[kind]
            if method == "ddpg-lag":  # only its official file leaves this enabled
                settings["cost_norm"] = True
    return changed(_RULES[rule], settings, strict=False)


PRESETS = {name: preset_for(name, "HopperVelocity") for name in NAMES}
"""The presets on the Velocity tasks."""
