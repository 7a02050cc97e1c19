"""Presets of OmniSafe's on-policy algorithms (Ji et al., JMLR 25, 2024).

Each is an update rule with a constraint, and differs in nothing else:

======================  ===============  ====================
algorithm               update           constraint
======================  ===============  ====================
PolicyGradient          a2c              none
NaturalPG               trust-region     none (no search)
PPO, TRPO               as named         none
PPOLag, TRPOLag         as named         lagrangian
RCPO, PDO               NaturalPG's, PG  lagrangian
CPPOPID, TRPOPID        as named         pid
CPO, PCPO               trust-region     cpo, pcpo
FOCOPS                  focops           lagrangian
CUP                     ppo-clip         cup
P3O                     ppo-clip         p3o
IPO                     ppo-clip         ipo
OnCRPO                  trust-region     crpo
PPOSaute, TRPOSaute     as named         saute
PPO-, TRPOEarlyTermi-   as named         early-termination
nated
======================  ===============  ====================

``*-paper`` have the official hyperparameters: 20,000 steps per update and minibatches of 64 in 40
passes, 12,480 optimiser steps per update for PPO and its variants. The plain names are sized for a
CPU: 4,096 steps, 10 passes of 16 minibatches, and critics of normalised returns. They train for a
tenth of the official steps, so their constraints adapt faster (``_SMALL_CONSTRAINED``), as chosen
on PointGoal1 and HalfCheetahVelocity with training seed 1000. Teams use the same constraint
components: see HAPPO-Lag in ``harl.py``.
"""

from __future__ import annotations

from typing import Any

from pkubench.agents.components import changed
from pkubench.agents.nn.encoders.mlp import MLPEncoder
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.update_rules.ppo_clip import PPOClip
from pkubench.agents.rl.update_rules.trust_region import TrustRegion

PPO_PAPER = OnPolicyConfig(
    update=PPOClip(clip=0.2, entropy=0.0, epochs=40, target_kl=0.02, actor_lr=3e-4, lr_decay=True),
    encoder=MLPEncoder(hidden=(64, 64), activation="tanh", layer_norm=False, init="kaiming"),
    num_envs=20,
    rollout_steps=1000,
    reset_each_rollout=True,
    critic_epochs=40,
    minibatches=312,
    critic_lr=3e-4,
    adam_epsilon=1e-8,
    max_grad_norm=40.0,
    std="log",
    log_std_init=0.0,
    action_map="affine",
    value_norm=False,
    value_clip=None,
    huber_delta=None,
    critic_l2=0.001,
    observation_norm=True,
    advantage_epsilon=1e-8,
)
"""OmniSafe's PPO with its published settings."""

PPO = changed(
    PPO_PAPER,
    {
        "num_envs": 16,
        "rollout_steps": 256,
        "reset_each_rollout": False,
        "epochs": 10,
        "critic_epochs": 10,
        "minibatches": 16,
        "log_std_init": -0.5,
        "value_norm": True,
    },
)
"""PPO sized for a CPU."""

_STEP: dict[str, Any] = {
    "update": TrustRegion(
        kl_limit=0.01,
        cg_iterations=15,
        cg_damping=0.1,
        search_steps=15,
        search_decay=0.8,
        accept_ratio=0.0,
    ),
    "critic_epochs": 10,
    "critic_lr": 1e-3,
}
"""Common to OmniSafe's trust-region steps; only the critics make passes."""

_RULES: dict[str, dict[str, Any]] = {
    "policy-gradient": {"update": "a2c"},
    "natural-pg": {**_STEP, "search_steps": 0},
    "ppo": {},
    "trpo": _STEP,
    "focops": {"update": "focops"},
}
"""Base -> how it differs from PPO."""

_PID = {"constraint": "pid"}
_LAG = {"constraint": "lagrangian"}
_SEARCH = {"search_steps": 20}
"""CPO and PCPO have longer line searches, PCPO's official code ten times as long."""

_METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "policy-gradient": ("policy-gradient", {}),
    "natural-pg": ("natural-pg", {}),
    "ppo": ("ppo", {}),
    "trpo": ("trpo", {}),
    "ppo-lag": ("ppo", _LAG),
    "trpo-lag": ("trpo", _LAG),
    "rcpo": ("natural-pg", _LAG),
    "pdo": ("policy-gradient", _LAG),
    "cppo-pid": ("ppo", _PID),
    "trpo-pid": ("trpo", _PID),
    "cpo": ("trpo", {"constraint": "cpo", **_SEARCH}),
    "pcpo": ("trpo", {"constraint": "pcpo", **_SEARCH}),
    "focops": ("focops", {**_LAG, "lambda_upper": 2.0}),
    "cup": ("ppo", {"constraint": "cup", "lambda_upper": 2.0}),
    "p3o": ("ppo", {"constraint": "p3o", "kappa": 20.0}),
    "ipo": ("ppo", {"constraint": "ipo", "barrier": 0.01, "penalty_max": 1.0}),
    "crpo": ("trpo", {"constraint": "crpo", "relative_tolerance": 0.08}),
    "ppo-saute": ("ppo", {"constraint": "saute"}),
    "ppo-early-terminated": ("ppo", {"constraint": "early-termination"}),
    "trpo-saute": ("trpo", {"constraint": "saute"}),
    "trpo-early-terminated": ("trpo", {"constraint": "early-termination"}),
}
"""Name -> base, and how it differs from it."""

_PAPER: dict[str, dict[str, Any]] = {
    "policy-gradient": {"epochs": 10, "critic_epochs": 10, "window": 50},
    "pdo": {"signal_norm": True},
    "pcpo": {"search_steps": 200},
    "cup": {"target_kl": 0.01},
    "p3o": {"epochs": 10, "critic_epochs": 10},
    "ipo": {"epochs": 10, "critic_epochs": 10, "signal_norm": True},
}
"""Name -> further official settings."""

_PUBLISHED_FORM: dict[str, dict[str, Any]] = {
    "lagrangian": {"lambda_unit": "deviation"},
    "pid": {"lambda_unit": "deviation"},
    "cup": {"nu_scale": "fixed"},
    "p3o": {"gate": "minibatch"},
    "cpo": {"acceptance": "in-sample"},
    "pcpo": {"acceptance": "in-sample"},
}
"""Constraint -> the published forms that the CPU presets depart from (see the settings)."""

_STEP_PAPER: dict[str, Any] = {"minibatches": 156}
"""Minibatches of 128 for the critics of a trust-region step."""

_WINDOW = 32
"""Episodes: two per environment, eight updates. OmniSafe's 100 are five of its updates."""
_WHOLE = {"rollout_steps": 1000, "minibatches": 64, "window": 16}
"""An update of 16 whole episodes (32 of Circle and Run), for rules with large policy changes:
trust-region steps, FOCOPS and CUP's correction. With 4,096 steps their predicted decrease in cost
does not materialise, because the estimate is mostly noise. (Training episodes of seed 1000 on
PointGoal1 at 2 M steps, with 16,000 and with 4,096 steps per update: CUP 15.1 at a cost of 11, and
4.2 at 16 after 2.4 at 137 during training.)"""
_RECOVERY = {"recovery": 10.0}
"""Even with 16,000 steps CPO underestimates the cost change, earns more early and stays over the
limit; with an excess weighted ten times it prioritises recovery. (The same seed, 1.0 M to 1.4 M
steps: 24.1 at a cost of 46, and 11.6 at 29; by 2 M the latter earns 16.7 at 33.)"""
_SMALL_CONSTRAINED: dict[str, dict[str, Any]] = {
    "lagrangian": {"lambda_lr": 0.1},
    # its correction weighs the cost (1 - gamma lam)/(1 - gamma) = 6 times as much
    "cup": {**_WHOLE, "lambda_lr": 0.02},
    # in units of the limit, slow enough for a skill to be learned before its cost is penalised
    "pid": {"pid_kp": 0.5, "pid_ki": 0.1, "pid_kd": 0.25, "pid_smoothing": 0.8},
    "p3o": {"kappa": 5.0},
    **dict.fromkeys(("cpo", "pcpo"), _RECOVERY),
}
"""Constraint -> what the CPU presets also change."""

_SWINGING = ("lagrangian", "pid", "cup", "p3o")
"""Constraints round which a policy swings, so that the actor's learning rate must not decay: at a
rate of 0 the policy stays where it is in its swing while its multiplier moves on."""
_PG = {"epochs": 1, "actor_lr": 1e-3}
_SMALL: dict[str, dict[str, Any]] = {
    "policy-gradient": {"target_kl": None, **_PG},
    # an upper bound of 2 deviations says nothing of one in the reward's unit
    "focops": {"lambda_upper": None},
    "pdo": {"target_kl": None, **_PG},
}
"""Name -> what the CPU presets also change."""


def _preset(name: str) -> OnPolicyConfig:
    method = name.removesuffix("-paper")
    base, differences = _METHODS[method]
    rule = _RULES[base]
    if method == name:
        kind = str(differences.get("constraint", "none"))
        held: dict[str, Any] = {}
        if kind != "none":
            is_large_step = "update" in rule and rule["update"] != "a2c"
            size = _WHOLE if is_large_step else {"window": _WINDOW}
            held = {**size, **_SMALL_CONSTRAINED.get(kind, {})}
            if kind in _SWINGING and not isinstance(rule.get("update"), TrustRegion):
                held["lr_decay"] = False
        return changed(PPO, {**rule, **differences, **held, **_SMALL.get(name, {})})
    sized = _STEP_PAPER if rule is _STEP or base == "natural-pg" else {}
    published = _PUBLISHED_FORM.get(str(differences.get("constraint")), {})
    official = {**differences, **published, **_PAPER.get(method, {})}
    return changed(PPO_PAPER, {**rule, **sized, **official})


NAMES = (*_METHODS, *(f"{name}-paper" for name in _METHODS))
"""Every preset of one robot."""
PRESETS: dict[str, OnPolicyConfig] = {name: _preset(name) for name in NAMES}

_SAUTE_TUNED = {"saute_gamma": 0.9999, "unsafe_reward": -0.2}
_SAUTE_PAPER = {**_SAUTE_TUNED, "epochs": 80, "critic_epochs": 80}
_FALLING = tuple(f"{robot}Velocity" for robot in ("Hopper", "Walker2d", "Ant", "Humanoid"))
_DIAGNOSTICS = ("RiskyCorridor", "SpeedLimit")
_SHORT = {name: getattr(PPO, name) for name in ("rollout_steps", "minibatches")}
"""Updates of 4,096 steps. They suffice where the cost is a speed, which is known at every step: in
1 M steps of HalfCheetahVelocity CPO earns 1,993 at a cost of 25 with them and 1,576 at 25 with
whole episodes, TRPO-Lag 2,027 at 10 and 1,806 at 66 (training episodes of seed 1000)."""
_UPDATED_OFTEN = {
    **{"window": 100, "lambda_lr": 0.4, "pid_kp": 1.0, "pid_smoothing": 0.5},
    **_SHORT,
}
"""A measured cost is not older than an update here, so that a multiplier may follow it quickly: one
that is slow beside its policy circles round the limit in wide swings."""
_CUP_OF = {"cup": {"lambda_lr": 0.02}}
"""CUP's multiplier weighs costs against a KL divergence and keeps its rate."""
_DIAGNOSTIC = {**_UPDATED_OFTEN, "rollout_steps": 128, "minibatches": 8, "actor_lr": 1e-3}
"""Updates of 2,048 steps and faster actors, for 200,000 steps in all: with 49 updates of 4,096
steps at 3e-4 the deviation of SpeedLimit's throttle is still 0.3 half-way through, and noise alone
costs 1.2 of the return. (PPO-Lag, exact values of seed 1000: 17.9 and 18.6; CPO 18.1 and 18.7.)"""
_DIAGNOSTIC_OF: dict[str, dict[str, Any]] = {
    # The correction has to undo what the first phase changes, against a KL divergence that grows as
    # a policy becomes certain: nu must follow faster than it does, and actors not outrun it. (Seed
    # 1000, SpeedLimit: cost 6.9 with nu at 0.02, 6.0 with both as the others have them, 5.5 so.)
    "cup": {"lambda_lr": 0.4, "actor_lr": 5e-4},
    # A penalty that is on often ends the update after one pass, at the target KL: many short
    # updates. kappa must exceed the price of cost in deviations of A_R, which shrink.
    "p3o": {"rollout_steps": 64, "minibatches": 4, "kappa": 4.0},
}
_CONSTRAINED = [name for name in _METHODS if PRESETS[name].constraint.name != "none"]
TUNED: dict[str, dict[str, dict[str, Any]]] = {
    f"{robot}{task}{k}": {
        "ppo-saute": _SAUTE_TUNED,
        # the official files disable observation normalisation for Goal only
        "ppo-saute-paper": {**_SAUTE_PAPER, "observation_norm": task != "Goal"},
        **dict.fromkeys(("trpo-saute", "trpo-saute-paper"), _SAUTE_TUNED),
    }
    for robot in ("Point", "Car")
    for task in ("Goal", "Circle")
    for k in (1, 2)
} | {
    env: {name: settings | of.get(name, {}) for name in _CONSTRAINED}
    for settings, of, envs in (
        (_UPDATED_OFTEN, _CUP_OF, _FALLING),
        ({**_SHORT, "window": _WINDOW}, {}, ("HalfCheetahVelocity", "SwimmerVelocity")),
        (_DIAGNOSTIC, _DIAGNOSTIC_OF, _DIAGNOSTICS),
    )
    for env in envs
}
"""Prefix of a task's name -> agent -> OmniSafe's exceptions for it, and where the CPU presets keep
its learning rates and short updates."""
