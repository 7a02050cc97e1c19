"""No setting of the off-policy learner is ignored on the way from ``train`` to the update."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.agents.components import choices, settings_of
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.rl.off_policy.constraints import OffPolicyConstraint
from pkubench.agents.rl.off_policy.rules import OffPolicyRule
from pkubench.agents.saved.files import load_saved
from pkubench.training.session import train
from tests.agents.toy_envs import BudgetEnv, SharingEnv, SpeedEnv, task_of

LIMIT = 0.5
SMALL_REPLAY = {
    "num_envs": "4",
    "train_interval": "5",
    "updates_per_step": "0.4",
    "warmup_steps": "40",
    "hidden": "[8]",
    "batch_size": "16",
    "buffer_size": "400",
}
REPLAY_CHANGES: dict[str, tuple[str, str]] = {
    "rule": ("sac", "td3"),
    "scheme": ("team", "simultaneous"),
    "shared": ("simultaneous team", "true"),
    "constraint": ("sac-lag", "pid"),
    "constraint.variant": ("sac-lag", "omnisafe"),
    "rule.variant": ("ddpg-lag", "omnisafe"),
    "num_envs": ("sac", "5"),
    "warmup_steps": ("sac", "60"),
    "train_interval": ("sac", "10"),
    "updates_per_step": ("sac", "0.8"),
    "batch_size": ("sac", "8"),
    "buffer_size": ("sac", "80"),
    "n_step": ("sac", "3"),
    "gamma": ("sac", "0.5"),
    "tau": ("sac", "0.5"),
    "actor_lr": ("sac", "1e-2"),
    "critic_lr": ("sac", "1e-2"),
    "max_grad_norm": ("sac", "1e-3"),
    "hidden": ("sac", "[9]"),
    "last_activation": ("sac", "tanh"),
    "policy_delay": ("td3", "1"),
    "exploration": ("td3", "0.5"),
    "target_noise": ("td3", "0.6"),
    "noise_clip": ("td3", "0.05"),
    "alpha": ("sac", "0.5"),
    "alpha_auto": ("sac", "false"),
    "alpha_lr": ("sac", "0.1"),
    "target_entropy": ("team", "official"),
    "bounds": ("budgeted", "official"),
    "temperature": ("team", "0.5"),
    "cost_twins": ("sac-lag", "false"),
    "cost_norm": ("sac-lag", "true"),
    "lambda_warmup_steps": ("sac-lag", "100"),
    "cost_limit": ("sac-lag", "3.0"),
    "lambda_init": ("sac-lag", "1.0"),
    "lambda_lr": ("sac-lag", "1.0"),
    "lambda_upper": ("sac-lag", "0.01"),
    "pid_kp": ("sac-pid", "1.0"),
    "pid_ki": ("sac-pid", "1.0"),
    "pid_kd": ("sac-pid", "9.0"),
    "pid_smoothing": ("sac-pid", "0.1"),
    "pid_delay": ("sac-pid", "1"),
    "window": ("sac-lag", "1"),
}
UNSEEN = {"threads", "gradients"}
"""Settings that must not change the weights."""


def _replayed(who: str) -> tuple[str, Any, dict[str, str]]:
    if who == "budgeted":
        return "hasac-lag", task_of(BudgetEnv, cost_limit=LIMIT), SMALL_REPLAY
    if who.endswith("team"):
        more = {"scheme": "simultaneous"} if who.startswith("simultaneous") else {}
        return "hasac", task_of(SharingEnv), {**SMALL_REPLAY, **more}
    return who, task_of(SpeedEnv, cost_limit=LIMIT), SMALL_REPLAY


def _trained(who: str, folder: Path, settings: dict[str, str], steps: int = 240) -> dict[str, Any]:
    agent, task, small = _replayed(who)
    run = train(agent, task, steps=steps, seed=3, settings={**small, **settings}, out=folder)
    for _ in run:
        pass
    return load_saved(folder).tensors


def _differ(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two saved agents differ in a weight."""
    return one.keys() != other.keys() or any(
        not np.array_equal(one[key], other[key]) for key in one
    )


def fields_of(component: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(component)}


def test_every_setting_of_replay_is_tested() -> None:
    known = {setting.name for setting in settings_of(OffPolicyConfig()) if "." not in setting.name}
    for slot in (OffPolicyRule, OffPolicyConstraint):
        known |= {field for component in choices(slot).values() for field in fields_of(component)}
    reached = {name.rpartition(".")[2] for name in REPLAY_CHANGES}
    assert known == {*reached, *UNSEEN}


@pytest.mark.parametrize("name", REPLAY_CHANGES)
def test_a_setting_of_replay_changes_the_learned_weights(name: str, tmp_path: Path) -> None:
    who, value = REPLAY_CHANGES[name]
    plain = _trained(who, tmp_path / "plain", {})
    assert _differ(plain, _trained(who, tmp_path / "changed", {name: value}))
