"""Presets of the HARL paper's on-policy methods (Zhong et al., JMLR 25(32), 2024).

``*_PAPER`` hold the official configuration files for the particle environments. The plain presets
differ from them in four ways:

* a truncated episode bootstraps from its final observation, where the official code sets the
  advantage of its last step to 0;
* the 4,000 steps of an update are taken by 160 environments of 25 steps, one episode each, where
  the official code has 20 environments of 200: the same batch, with eight times as many copies;
* ``gamma`` is 0.95, not 0.99: with values that extend past the time limit, 0.99 makes the critic
  predict 100 steps of reward in a 25-step episode, and its error exceeds the advantage of an
  action;
* learning rates are 1e-3, not 5e-4.

Chosen on training seeds of SimpleSpread; ``make results-foundation`` trains both for comparison.
``TUNED`` holds what replaces these numbers in other environments.
"""

from __future__ import annotations

from typing import Any

from pkubench.agents.components import changed
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.update_rules.a2c import A2C
from pkubench.agents.rl.update_rules.trust_region import TrustRegion

HAPPO_PAPER = OnPolicyConfig(scheme="sequential", truncation="official")
"""Sequential update in a random order with the running product of ratios; official settings."""

MAPPO_PAPER = changed(HAPPO_PAPER, {"scheme": "simultaneous", "shared": True})
"""One shared actor (separate ones where spaces differ), advantages of all agents together."""

HATRPO_PAPER = changed(HAPPO_PAPER, {"update": TrustRegion(kl_limit=0.005)})
"""Sequential trust-region steps in the true KL; ``discrete_kl="official"`` restores the code's."""

HAA2C_PAPER = changed(HAPPO_PAPER, {"update": A2C()})
"""Sequential passes over the plain surrogate."""

HAPPO = changed(
    HAPPO_PAPER,
    {
        "truncation": "bootstrap",
        "num_envs": 160,
        "rollout_steps": 25,
        "gamma": 0.95,
        "actor_lr": 1e-3,
        "critic_lr": 1e-3,
    },
)
"""HAPPO with the numbers above."""

MAPPO = changed(HAPPO, {"scheme": "simultaneous", "shared": True})
"""MAPPO with the numbers above."""

IPPO = changed(HAPPO, {"scheme": "simultaneous", "critic": "local"})
"""Independent actors and independent critics on local observations."""

HATRPO = changed(HAPPO, {"update": TrustRegion(kl_limit=0.01, fisher_every=3)})
"""HATRPO with the numbers above, HARL's default radius, and the Fisher matrix of every third
state: its products are most of the work, and a part of the data suffices for a direction (Schulman
et al. 2015, appendix C); gradient, KL and line search see all of it. Three does not divide the
number of environments, so that the part has states of every environment."""

HAA2C = changed(HAPPO, {"update": "a2c"})
"""HAA2C with the numbers above."""

HAPPO_LAG = changed(HAPPO, {"constraint": "lagrangian", "lambda_unit": "deviation"})
"""HAPPO under a cost limit: every agent ascends the team's (A_R - lambda A_C) / (1 + lambda)."""

PRESETS = {
    "happo": HAPPO,
    "happo-lag": HAPPO_LAG,
    "mappo": MAPPO,
    "ippo": IPPO,
    "hatrpo": HATRPO,
    "haa2c": HAA2C,
    # each method without its sequence, and no other change
    "happo-simultaneous": changed(HAPPO, {"scheme": "simultaneous"}),
    "hatrpo-simultaneous": changed(HATRPO, {"scheme": "simultaneous"}),
    "haa2c-simultaneous": changed(HAA2C, {"scheme": "simultaneous"}),
    "happo-paper": HAPPO_PAPER,
    "mappo-paper": MAPPO_PAPER,
    "hatrpo-paper": HATRPO_PAPER,
    "haa2c-paper": HAA2C_PAPER,
}


def _clip(half_width: float) -> dict[str, Any]:
    """Return HARL's ``clip_param``, which clips both the ratio and the value loss."""
    return {"clip": half_width, "value_clip": half_width}


_DEEP = {"hidden": (128, 128, 128), "action_map": "affine", **_clip(0.1), "entropy": 0.0}
_DEEP_HAA2C = {**_DEEP, "lr_decay": True, "critic_lr_decay": True}
_DECAY = {"lr_decay": True, "critic_lr_decay": True}
_CHEETAH = {**_clip(0.05), "epochs": 15, "critic_epochs": 15, "entropy": 0.01}
_HOPPER = {**_clip(0.05), "epochs": 10, "critic_epochs": 10, **_DECAY}
_WALKER = {**_clip(0.05), "minibatches": 2, "actor_lr": 1e-3, "critic_lr": 1e-3, **_DECAY}
_SLOW = {"actor_lr": 1e-4, "critic_lr": 1e-4}
_CPU = {
    "num_envs": 20,
    "rollout_steps": 100,
    "gamma": 0.99,
    "action_map": "affine",
    **_clip(0.2),
    "entropy": 0.0,
    "epochs": 10,
    "critic_epochs": 10,
    "minibatches": 4,
    "actor_lr": 7e-4,
    "critic_lr": 1e-3,
}
_CPU_HAA2C = {**_CPU, "epochs": 5}
_STEADY = {**_CPU, "target_kl": 0.02, "lr_decay": True, "critic_lr_decay": True}
"""For HAPPO and MAPPO, whose policies collapsed with ``_CPU``, at a KL of up to 3 per update.
Chosen by ``benchmarks.tuning.robots``."""
_UNSTEADY = {**_CPU, "target_kl": None, "lr_decay": False, "critic_lr_decay": False}
_AS_HAPPO_LAG = {name: _UNSTEADY for name in ("happo", "mappo", "ippo", "happo-simultaneous")}
"""Under a speed limit: as HAPPO-Lag has them, which these are compared with."""
_SIZED = {"layer_norm": False}
"""LayerNorm of the input, which HARL has, removes the size of an observation. On the carriers the
best actions are proportional to the state, and with it HAPPO stays at half of what it can gain."""
_CARRIERS = {
    **_SIZED,
    "num_envs": 80,
    "rollout_steps": 50,
    "entropy": 0.0,
    "epochs": 10,
    "critic_epochs": 10,
    "minibatches": 2,
}
"""One episode per environment; four times the family's gradient steps. Training seed 1000."""
_BATTLE = {"gamma": 0.99}
"""A battle takes 15 to 100 steps, and half of what a team can earn is paid for its end; MAPPO's and
HARL's numbers for SMAC have this discount too."""

TUNED: dict[str, dict[str, dict[str, Any]]] = {
    "MicroBattle": dict.fromkeys(
        ("happo", "mappo", "ippo", "happo-simultaneous", "happo-gru", "mappo-gru"), _BATTLE
    ),
    "Multi": {
        "happo-paper": _DEEP,
        "mappo-paper": _DEEP,
        "hatrpo-paper": {**_DEEP, **_clip(0.2), "kl_limit": 0.01},
        "haa2c-paper": _DEEP_HAA2C,
        "happo": _STEADY,
        "happo-lag": _CPU,
        "mappo": _STEADY,
        "happo-gru": _STEADY,
        "mappo-gru": _STEADY,
        "ippo": _STEADY,
        "hatrpo": _CPU,
        "haa2c": _CPU_HAA2C,
        "happo-simultaneous": _STEADY,
        "hatrpo-simultaneous": _CPU,
        "haa2c-simultaneous": _CPU_HAA2C,
    },
    "MultiHalfCheetah2x3Velocity": _AS_HAPPO_LAG,
    "MultiAnt4x2Velocity": _AS_HAPPO_LAG,
    "HeterogeneousCarriers": {
        **dict.fromkeys(("happo", "happo-simultaneous", "mappo", "ippo"), _CARRIERS),
        **dict.fromkeys(("hatrpo", "hatrpo-simultaneous", "haa2c", "haa2c-simultaneous"), _SIZED),
    },
    "MultiAnt4x2": {"hatrpo-paper": {"kl_limit": 0.005}},
    "MultiHalfCheetah2x3": {"happo-paper": _CHEETAH, "mappo-paper": _CHEETAH},
    "MultiHopper3x1": {
        "happo-paper": _HOPPER,
        "mappo-paper": _HOPPER,
        "hatrpo-paper": {"kl_limit": 0.001},
        "haa2c-paper": {**_SLOW, "epochs": 3, "critic_epochs": 3},
    },
    "MultiWalker2d2x3": {
        "happo-paper": _WALKER,
        "mappo-paper": _WALKER,
        "haa2c-paper": _SLOW,
    },
    "MultiWalker2d6x1": {
        "happo-paper": {"entropy": 0.01},
        "mappo-paper": {"entropy": 0.01},
        "hatrpo-paper": {"kl_limit": 0.005},
        "haa2c-paper": _SLOW,
    },
    "MultiHumanoid17x1": {
        "happo-paper": _DECAY,
        "mappo-paper": {**_DECAY, "rollout_steps": 100},
    },
}
"""Prefix of a task's name -> agent -> settings that replace the preset's; longer prefixes win.

The ``-paper`` rows are the official tuned configuration files of Multi-Agent MuJoCo (10 M steps, 20
environments of 200); robots and agents without such a file keep the family's row. The others are
sized for a CPU: updates are half as large and steps longer than the official ones, chosen on a
training seed of HalfCheetah 2x3 and Hopper 3x1 at 300,000 steps. What HAPPO and MAPPO have instead
is compared with that by ``python -m benchmarks.tuning.robots``, on seeds that no table has.
"""
