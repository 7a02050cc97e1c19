"""Presets of OmniSafe's off-policy algorithms (Ji et al., JMLR 25, 2024).

DDPG, TD3 and SAC, each unconstrained, with a Lagrange multiplier (``-lag``) and with one that a
controller sets (``-pid``).

``*-paper`` have the official networks and numbers, an update a step, and the official cadence of
the multiplier (``variant=omnisafe``); four navigation tasks have numbers of their own
(``NAVIGATION``). Updates come in bursts of 50 after 50 steps, where the official code does one
after each.

The plain names are sized for a CPU (``SMALL``): eight environments, networks of 64-64 and an update
in four steps; SAC finds its temperature. They have two critics of cost, of which the larger counts:
in a trial on Hopper (SAC-Lag, training seed 1000) the single one, which actors descend, came to
promise a cost below 0. Chosen on that seed of HopperVelocity and PointCircle1.
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
"""The official numbers."""

TD3 = replace(SAC, rule=td3.TD3(), warmup_steps=25_000)
"""The official numbers."""

DDPG = replace(TD3, rule=ddpg.DDPG(variant="omnisafe"), policy_delay=1)
"""The official numbers."""

_HELD = {"constraint.variant": "omnisafe", "cost_norm": True, "lambda_warmup_steps": 202_000}
"""What all of them share. The steps are epochs 0 to 100 of 2,000 each."""
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
"""The tasks that have official numbers of their own."""
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
"""Constraint -> what they change besides."""
FALLING = ("Hopper", "Walker2d", "Ant", "Humanoid")
"""Robots whose episodes end early, hence at different times: a multiplier moves in almost every
burst (400 steps), not when all environments' episodes end together (8,000)."""
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
            if method == "ddpg-lag":  # its file alone leaves it on
                settings["cost_norm"] = True
    return changed(_RULES[rule], settings, strict=False)


PRESETS = {name: preset_for(name, "HopperVelocity") for name in NAMES}
"""The presets on the Velocity tasks."""
