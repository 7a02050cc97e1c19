"""Every setting of the learners from data changes what is learned, or how the agent acts."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.components import choices, settings_of
from pkubench.agents.registry import families, preset, presets
from pkubench.agents.rl.offline import make_learner
from pkubench.agents.rl.offline.config import OfflineConfig
from pkubench.agents.rl.offline.methods.base import Method
from pkubench.agents.suitability import why_not
from pkubench.errors import ConfigError
from tests.agents.offline_toys import CHAIN, DIAL, chain_data, context_of, dial_data
from tests.agents.toy_envs import SharingEnv, task_of

DATA = {DIAL.id: dial_data(12), CHAIN.id: chain_data(20)}
TINY: dict[str, dict[str, Any]] = {
    "dt": {"width": 8, "layers": 1, "context": 3, "warmup_steps": 2},
    "odt": {"width": 8, "layers": 1, "context": 3, "warmup_steps": 2, "pretrain_steps": 2},
    "tt": {"width": 8, "layers": 1, "bins": 4, "window": 3, "context": 1},
    "bc": {"hidden": [4]},
    # Adam's first steps depend on signs alone, and reach the policy by way of the targets
    "iql": {"hidden": [4], "lr": 0.01, "target_rate": 0.5},
    "cql": {"hidden": [4]},
}
CHANGES: dict[str, dict[str, Any]] = {
    "dt": {
        **{"context": 2, "width": 16, "layers": 2, "heads": 2, "activation": "gelu"},
        **{"dropout": 0.5, "lr": 0.1, "weight_decay": 0.9, "warmup_steps": 9},
        **{"max_grad_norm": 1e-3, "return_scale": 3.0, "batch_size": 5, "updates": 3},
    },
    "odt": {
        **{"pretrain_steps": 9, "buffer_size": 2, "acting_context": 1, "exploration": -3.0},
        **{"temperature": 5.0, "temperature_lr": 0.5},
    },
    "tt": {
        **{"bins": 3, "window": 2, "width": 16, "layers": 2, "heads": 1, "dropout": 0.5},
        **{"lr": 0.1, "weight_decay": 0.9, "warmup_share": 0.5, "decay_share": 0.2},
        **{"action_weight": 50.0, "gamma": 0.5, "termination_reward": -9.0, "context": 0},
        **{"beam": 3, "horizon": 2, "expand": 3, "cdf": 0.1},
    },
    "bc": {"hidden": [5], "lr": 0.1, "best_share": 0.2},
    "iql": {
        **{"hidden": [5], "lr": 0.1, "gamma": 0.5, "expectile": 0.1, "beta": 0.5},
        **{"target_rate": 0.9, "policy": "deterministic", "reward_range": 9.0},
    },
    "cql": {
        **{"hidden": [5], "lr": 0.1, "policy_lr": 0.1, "gamma": 0.5, "alpha": 0.1},
        **{"proposals": 3, "target_rate": 0.9, "reward_range": 90.0},
    },
}
UNSEEN = {"threads", "precision", "method"}
"""Settings that change no number here; the last one has a test of its own."""


def exported(agent: str, **changes: Any) -> tuple[dict[str, Any], str]:
    """Tensors and description of an agent after a few steps."""
    task = CHAIN if agent in ("tt",) else DIAL
    torch.manual_seed(0)
    settings = {"batch_size": 8, "updates": 2, **TINY[agent], **changes}
    made = make_learner(context_of(agent, task, DATA[task.id], 6, **settings))
    for _ in range(3):
        made.iterate()
    export = made.export()
    return dict(export.tensors), json.dumps(export.config["policy"], sort_keys=True)


BASE: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("agent", "name"), [(agent, name) for agent, of in CHANGES.items() for name in of]
)
def test_a_setting_changes_the_agent(agent: str, name: str) -> None:
    if agent not in BASE:
        BASE[agent] = exported(agent)
        again = exported(agent)
        assert BASE[agent][1] == again[1]
        assert all(np.array_equal(BASE[agent][0][k], again[0][k]) for k in again[0])
    before, after = BASE[agent], exported(agent, **{name: CHANGES[agent][name]})
    is_same = before[1] == after[1] and all(
        np.array_equal(before[0][key], after[0][key]) for key in before[0]
    )
    assert not is_same


def test_every_setting_is_tested() -> None:
    own = {field.name for field in dataclasses.fields(OfflineConfig)}
    for name, component in choices(Method).items():
        fields = {field.name for field in dataclasses.fields(component)}  # type: ignore[arg-type]
        tested = {*CHANGES[name], *(CHANGES["dt"] if name == "odt" else ())}
        assert fields <= tested
    assert own - UNSEEN <= set(CHANGES["dt"])


@pytest.mark.parametrize(
    ("agent", "wrong"),
    [
        ("dt", {"context": 0}),
        ("dt", {"heads": 3}),
        ("dt", {"lr": 0}),
        ("dt", {"return_scale": -1}),
        ("odt", {"buffer_size": 0}),
        ("tt", {"context": 10}),
        ("tt", {"bins": 1}),
        ("tt", {"cdf": 1.0}),
        ("tt", {"beam": 0}),
        ("bc", {"best_share": 0}),
        ("bc", {"hidden": [0]}),
        ("iql", {"expectile": 1.0}),
        ("iql", {"gamma": 1.5}),
        ("cql", {"proposals": 0}),
        ("dt", {"updates": 0}),
        ("dt", {"precision": "float16"}),
        ("dt", {"beam": 3}),
    ],
)
def test_a_value_outside_its_domain_is_refused(agent: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        context_of(agent, DIAL, DATA[DIAL.id], **wrong)


def test_the_papers_settings_are_the_published_ones() -> None:
    dt, odt, tt = (preset(f"{name}-paper").config() for name in ("dt", "odt", "tt"))
    found = dict(
        (name, value) for name, value, _ in settings_of(dt) if name.startswith(("method.", "batch"))
    )
    assert found == {
        **{"batch_size": 64, "method.context": 20, "method.width": 128, "method.layers": 3},
        **{"method.heads": 1, "method.activation": "relu", "method.dropout": 0.1},
        **{"method.lr": 1e-4, "method.weight_decay": 1e-4, "method.warmup_steps": 10_000},
        **{"method.max_grad_norm": 0.25, "method.return_scale": None},
    }
    assert (odt.method.width, odt.method.layers, odt.method.heads) == (512, 4, 4)
    assert (odt.batch_size, odt.updates, odt.method.acting_context) == (256, 300, 5)
    assert (tt.method.beam, tt.method.horizon, tt.method.expand, tt.method.cdf) == (128, 15, 2, 0.6)


def test_the_robots_have_the_papers_scale_and_discrete_actions_a_smaller_penalty() -> None:
    from pkubench.tasks.registry import make_task

    hopper = make_task("HopperVelocity-v0")
    assert preset("dt").config(hopper).method.return_scale == 1000.0
    assert preset("iql").config(hopper).method.reward_range == 1000.0
    assert preset("tt").config(hopper).method.termination_reward == -100.0
    assert preset("cql").config(hopper).method.alpha == 10.0
    assert preset("cql").config(CHAIN).method.alpha == 1.0
    assert preset("tt").config(CHAIN).method.cdf == 0.0
    assert preset("tt").config(hopper).method.cdf == 0.6


def test_they_are_single_agents() -> None:
    own = [name for name, of in presets().items() if of.family == "sequence"]
    assert {"dt", "odt", "tt", "bc", "bc-10", "iql", "cql"} <= set(own)
    team = task_of(SharingEnv)
    assert "one agent" in why_not(preset("dt"), team)
    assert families()["sequence"].unit == "gradient_steps"
