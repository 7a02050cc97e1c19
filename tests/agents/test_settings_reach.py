"""No setting of the on-policy learner is ignored on the way from ``train`` to the update."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.agents.components import choices, slots_of
from pkubench.agents.families.on_policy.presets import PRESETS
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.saved.files import load_saved
from pkubench.training.session import train
from tests.agents.configs import that_fit
from tests.agents.encoded_envs import ImageEnv, NoisyTeam, PointEnv, SequenceEnv
from tests.agents.test_credit_models import CHANGES as CREDIT_CHANGES
from tests.agents.toy_envs import MEAN_LENGTH, RowEnv, SharingEnv, SpeedEnv, task_of

LIMIT = 0.5
SMALL = {
    "num_envs": "4",
    "rollout_steps": "30",
    "hidden": "[8]",
    "minibatches": "2",
    "actor_lr": "0.02",
    "critic_lr": "0.02",
}
"""A limit that a policy at the start breaks, rollouts longer than an episode, steps that clip."""
TRPO, PID = "trpo", "cppo-pid"
CHANGES: dict[str, tuple[str, str]] = {
    "scheme": ("team", "simultaneous"),
    "shared": ("simultaneous team", "true"),
    "critic": ("team", "local"),
    "update": ("ppo", "a2c"),
    "constraint": ("ppo-lag", "pid"),
    "num_envs": ("ppo", "5"),
    "rollout_steps": ("ppo", "25"),
    "rollout": ("ppo", "episodes"),
    "reset_each_rollout": ("ppo", "true"),
    "gamma": ("ppo", "0.5"),
    "lam": ("ppo", "0.5"),
    "cost_lam": ("ppo-lag", "0.5"),
    "truncation": ("ppo", "official"),
    "epochs": ("ppo", "2"),
    "critic_epochs": ("ppo", "2"),
    "critic_warmup": ("ppo", "1"),
    "minibatches": ("ppo", "3"),
    "clip": ("ppo", "0.01"),
    "entropy": ("ppo", "0.1"),
    "target_kl": ("ppo", "1e-9"),
    "kl_limit": (TRPO, "0.001"),
    "cg_iterations": (TRPO, "1"),
    "cg_damping": (TRPO, "1.0"),
    "fisher_every": (TRPO, "7"),
    "search_steps": ("far trpo", "0"),
    "search_decay": ("far trpo", "0.1"),
    "accept_ratio": (TRPO, "1.0"),
    "discrete_kl": ("trust team", "official"),
    "actor_lr": ("ppo", "1e-3"),
    "critic_lr": ("ppo", "1e-2"),
    "lr_decay": ("ppo", "false"),
    "critic_lr_decay": ("ppo", "true"),
    "adam_epsilon": ("ppo", "0.1"),
    "max_grad_norm": ("ppo", "0.01"),
    "hidden": ("ppo", "[9]"),
    "activation": ("ppo", "relu"),
    "layer_norm": ("ppo", "true"),
    "init": ("ppo", "orthogonal"),
    "actor_gain": ("orthogonal", "1.0"),
    "std": ("ppo", "sigmoid"),
    "log_std_init": ("ppo", "0.0"),
    "action_map": ("ppo", "clip"),
    "value_norm": ("ppo", "false"),
    "value_clip": ("raw ppo", "0.2"),
    "huber_delta": ("ppo", "0.01"),
    "critic_l2": ("ppo", "1.0"),
    "observation_norm": ("ppo", "false"),
    "signal_norm": ("ppo", "true"),
    "reward_scale": ("ppo", "0.1"),
    "advantage_epsilon": ("ppo", "1.0"),
    "cost_limit": ("ppo-lag", "1.0"),
    "variant": ("cpo", "omnisafe"),
    "lambda_init": ("ppo-lag", "1.0"),
    "lambda_lr": ("ppo-lag", "1.0"),
    "lambda_upper": ("ppo-lag", "0.01"),
    "pid_kp": (PID, "1.0"),
    "pid_ki": (PID, "1.0"),
    "pid_kd": (PID, "9.0"),
    "pid_smoothing": (PID, "0.1"),
    "pid_delay": (PID, "1"),
    "recovery": ("cpo", "1.0"),
    "kappa": ("p3o", "1.0"),
    "barrier": ("feasible ipo", "0.5"),
    "penalty_max": ("ipo", "0.2"),
    "relative_tolerance": ("crpo", "9.0"),
    "cost_limits": ("ppo-lag", '["cost:1.0"]'),
    "lambda_unit": ("ppo-lag", "deviation"),
    "gate": ("p3o", "minibatch"),
    "nu_scale": ("cup", "fixed"),
    "acceptance": ("cpo", "in-sample"),
    "focops_eta": ("focops", "1e-9"),
    "focops_lam": ("focops", "0.1"),
    "saute_gamma": ("ppo-saute", "0.9"),
    "unsafe_reward": ("ppo-saute", "-9.0"),
    "window": ("ppo-lag", "1"),
}
CHANGES |= {
    "gradients": ("ppo", "autograd"),
    "credit": ("team", "own-reward"),
    "memory": ("short ppo", "gru"),
    "units": ("recurrent", "9"),
    "chunk": ("recurrent", "7"),
    "output_norm": ("recurrent", "true"),
    "gate_bias": ("gated", "0.5"),
    "length": ("gated", "1"),
    "encoder": ("image", "mlp"),
    "channels": ("image", "[2]"),
    "kernel": ("image", "5"),
    "stride": ("image", "1"),
    "point_hidden": ("points", "[3]"),
    "padded": ("points", "true"),
    "points": ("scene", "2"),
    "cloud_hidden": ("scene", "[3]"),
    "width": ("sequence", "8"),
    "heads": ("sequence", "2"),
    "layers": ("sequence", "2"),
    "dropout": ("sequence", "0.5"),
    "cost_clip": ("p3o", "0.01"),
    "kl_mean_over_dimensions": ("wide trust", "true"),
}
UNSEEN = {"threads"}
"""Settings that must not change the weights."""
BRIEF = {"epochs": "1", "critic_epochs": "1"}
PLAIN = {**BRIEF, "observation_norm": "false"}


def who_trains(who: str) -> tuple[str, Any, dict[str, str]]:
    """Return agent, task and small settings of a case."""
    agent, more = {
        "team": ("happo", {}),
        "simultaneous team": ("happo", {"scheme": "simultaneous"}),
        "trust team": ("hatrpo", {}),
        "orthogonal": ("ppo", {"init": "orthogonal"}),
        "far trpo": ("trpo", {"kl_limit": "30.0"}),
        "feasible ipo": ("ipo", {"cost_limit": "6.0"}),
        "raw ppo": ("ppo", {"value_norm": "false"}),
        "omnisafe cpo": ("cpo", {"variant": "omnisafe"}),
        "wide trust": ("hatrpo", {}),
        "short ppo": ("ppo", BRIEF),
        "recurrent": ("ppo", {**BRIEF, "memory": "gru"}),
        "gated": ("ppo", {**BRIEF, "memory": "gtrxl", "width": "8", "layers": "1"}),
        "image": ("ppo", {**PLAIN, "encoder": "cnn", "channels": "[4]"}),
        "points": ("ppo", {**PLAIN, "encoder": "point-set"}),
        "sequence": ("ppo", {**PLAIN, "encoder": "sequence", "width": "16"}),
        "scene": (
            "ppo",
            {
                **{**PLAIN, "encoder": "scene-cloud", "points": "1", "channels": "3"},
                **{"point_hidden": "[4]", "cloud_hidden": "[4]"},
            },
        ),
    }.get(who, (who, {}))
    is_team = who.endswith("team")
    others: dict[str, Any] = {"image": ImageEnv, "points": PointEnv, "sequence": SequenceEnv}
    others |= {"wide trust": NoisyTeam, "scene": RowEnv}
    env: Any = others.get(who) or (SharingEnv if is_team else SpeedEnv)
    task = task_of(env, cost_limit=LIMIT if env is SpeedEnv else None)
    return agent, task, {**SMALL, **more}


@pytest.mark.parametrize(("who", "has_cases"), [("cpo", True), ("pcpo", False)])
def test_the_case_of_a_step_is_logged_where_there_are_cases(
    who: str, has_cases: bool, tmp_path: Path
) -> None:
    agent, task, more = who_trains(who)
    more = that_fit(PRESETS[agent], more)
    *_, last = train(agent, task, steps=240, seed=3, settings=more, out=tmp_path / who)
    assert "cost_change" in last.metrics
    assert ("case" in last.metrics) is has_cases


def are_different(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two saved agents differ in a weight."""
    return one.keys() != other.keys() or any(
        one[key].shape != other[key].shape or not np.array_equal(one[key], other[key])
        for key in one
    )


def _trained(who: str, folder: Path, settings: dict[str, str], steps: int) -> dict[str, Any]:
    agent, task, small = who_trains(who)
    chosen = {**that_fit(PRESETS[agent], {**small, **settings}), **settings}
    for _ in train(agent, task, steps=steps, seed=3, settings=chosen, out=folder):
        pass
    return load_saved(folder).tensors


def test_every_setting_is_tested() -> None:
    own = {field.name for field in dataclasses.fields(OnPolicyConfig)}
    known = own | {
        field.name
        for slot in slots_of(OnPolicyConfig).values()
        for component in choices(slot).values()
        if component.__module__.startswith("pkubench.")
        for field in dataclasses.fields(component)  # type: ignore[arg-type]
    }
    assert known == {*CHANGES, *UNSEEN, *CREDIT_CHANGES, "warmup_episodes"}


@pytest.mark.parametrize("name", CHANGES)
def test_a_setting_changes_the_learned_weights(name: str, tmp_path: Path) -> None:
    who, value = CHANGES[name]
    plain = _trained(who, tmp_path / "plain", {}, 480)
    changed = _trained(who, tmp_path / "changed", {name: value}, 480)
    assert are_different(plain, changed)


def test_the_learner_receives_the_mean_cost_and_length_of_the_same_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CPO, PCPO and P3O divide the excess of an episode by it: the scale they work on."""
    received: list[tuple[float, float]] = []
    update = OnPolicyLearner.update

    def spy(self: Any, data: Any, cost: float, done: float, length: float) -> Any:
        received.append((cost, length))
        return update(self, data, cost, done, length)

    monkeypatch.setattr(OnPolicyLearner, "update", spy)
    _trained("cpo", tmp_path / "run", {"window": "1000"}, 3000)
    lengths = [length for _, length in received]
    # 0.1 of the steps end an episode, 20 do at the latest
    assert lengths[-1] == pytest.approx(MEAN_LENGTH, rel=0.2)
    assert len(set(lengths)) > 5
