"""Who sets what does nothing is told so: what ``agents.acting`` says of every setting is true."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

import pytest

from pkubench.agents import acting
from pkubench.agents.components import with_settings
from pkubench.agents.families.off_policy import presets as off_policy
from pkubench.agents.families.off_policy.training import train as train_off_policy
from pkubench.agents.families.psro.settings import PSRO_PRESETS, PSROConfig
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.saved.files import load_saved
from tests.agents.test_settings_reach import LIMIT, told_apart
from tests.agents.worlds import BudgetWorld, SharingWorld, SpeedWorld, task_of

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
    "variant": ("sac-lag", "omnisafe"),
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
UNSEEN = {"threads", "checkpoint_steps"}
"""What is not to change the weights."""


def _replayed(who: str) -> tuple[str, Any, dict[str, str]]:
    if who == "budgeted":
        return "hasac-lag", task_of(BudgetWorld, cost_limit=LIMIT), SMALL_REPLAY
    if who.endswith("team"):
        more = {"scheme": "simultaneous"} if who.startswith("simultaneous") else {}
        return "hasac", task_of(SharingWorld), {**SMALL_REPLAY, **more}
    return who, task_of(SpeedWorld, cost_limit=LIMIT), SMALL_REPLAY


def _trained(who: str, folder: Path, settings: dict[str, str], steps: int = 240) -> dict[str, Any]:
    agent, task, small = _replayed(who)
    run = train_off_policy(
        agent, task, steps=steps, seed=3, settings={**small, **settings}, out=folder
    )
    for _ in run:
        pass
    return load_saved(folder).tensors


def test_every_setting_of_replay_is_put_to_the_test() -> None:
    known = {field.name for field in dataclasses.fields(OffPolicyConfig)}
    assert known == {*REPLAY_CHANGES, *UNSEEN}


@pytest.mark.parametrize("name", REPLAY_CHANGES)
def test_a_setting_of_replay_changes_what_is_learnt(name: str, tmp_path: Path) -> None:
    who, value = REPLAY_CHANGES[name]
    agent, task, small = _replayed(who)
    config = with_settings(off_policy.preset(agent, task), {**small, name: value})
    assert name not in dict(acting.idle(config, [name]))
    plain = _trained(who, tmp_path / "plain", {})
    assert told_apart(plain, _trained(who, tmp_path / "changed", {name: value}))


@pytest.mark.parametrize("who", ["ddpg", "td3", "sac", "sac-lag", "td3-pid"])
def test_idle_settings_of_replay_change_nothing(who: str, tmp_path: Path) -> None:
    agent, task, small = _replayed(who)
    names = [name for name in REPLAY_CHANGES if name not in small]
    config = with_settings(off_policy.preset(agent, task), small)
    changes = {name: REPLAY_CHANGES[name][1] for name, _ in acting.idle(config, names)}
    assert len(changes) >= 5
    plain = _trained(who, tmp_path / "plain", {})
    assert not told_apart(plain, _trained(who, tmp_path / "changed", changes))


@pytest.mark.parametrize("kind", [OffPolicyConfig, PSROConfig])
def test_what_is_said_to_act_beside_others_names_settings_and_their_values(kind: type) -> None:
    hints = typing.get_type_hints(kind)
    for group in acting._TABLES[kind]:
        assert {*group.names} <= hints.keys()
        for name, values in (pair for way in group.ways for pair in way.items()):
            if isinstance(values, range):
                assert hints[name] is int, group
                continue
            known = {True, False} if hints[name] is bool else {*typing.get_args(hints[name])}
            assert known > {*values}, group


@pytest.mark.parametrize(
    ("presets", "agent", "changes", "name", "words"),
    [
        (off_policy, "sac", {}, "variant", "constraint=lagrangian or pid, or with rule=ddpg"),
        (off_policy, "sac-pid", {}, "variant", ""),
        (off_policy, "ddpg", {}, "variant", ""),
    ],
)
def test_what_a_setting_acts_with_is_told_to_who_sets_it_in_vain(
    presets: Any, agent: str, changes: dict[str, str], name: str, words: str
) -> None:
    config = with_settings(presets.preset(agent, task_of(SpeedWorld, cost_limit=LIMIT)), changes)
    told = dict(acting.idle(config, [name]))
    assert words in told[name] if words else not told


def test_a_population_of_exact_responses_has_no_network() -> None:
    told = dict(acting.idle(PSRO_PRESETS["psro"], ["updates", "mirror_rate", "step", "ties"]))
    assert told == {"updates": "oracle=dqn or softmax", "mirror_rate": "oracle=mirror"}
    assert not [*acting.idle(PSRO_PRESETS["psro"], ["gamma"])]
    assert not [*acting.idle(None, ["gamma"])]
