"""A setting without effect cannot be set, and the error names what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pkubench.agents.components import (
    as_plain,
    matches,
    settings_of,
    unused_settings,
    with_settings,
)
from pkubench.agents.families.on_policy import presets
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.saved.files import load_saved
from pkubench.errors import ConfigError
from pkubench.training.session import train
from tests.agents.configs import that_fit
from tests.agents.test_settings_reach import CHANGES, LIMIT, are_different, who_trains
from tests.agents.toy_envs import SpeedEnv, task_of


def _config(who: str, **more: str) -> Any:
    agent, task, small = who_trains(who)
    settings = {**that_fit(presets.PRESETS[agent], {**small, **more}), **more}
    return with_settings(presets.preset(agent, task), settings)


@pytest.mark.parametrize("name", CHANGES)
def test_a_setting_that_changes_the_learned_weights_is_not_reported_as_unused(name: str) -> None:
    who, value = CHANGES[name]
    assert name not in dict(unused_settings(_config(who, **{name: value}), [name]))


@pytest.mark.parametrize("who", ["ppo", "natural-pg", "cpo", "omnisafe cpo", "p3o", "team"])
def test_unused_settings_change_nothing(who: str, tmp_path: Path) -> None:
    agent, task, more = who_trains(who)
    config = _config(who)
    own = {name.rpartition(".")[2] for name, *_ in settings_of(config)}
    changes = {name: CHANGES[name][1] for name, _ in unused_settings(config, own & {*CHANGES})}
    more = that_fit(presets.PRESETS[agent], more)

    def trained(settings: dict[str, str]) -> dict[str, Any]:
        out = tmp_path / f"run{len(settings)}"
        for _ in train(agent, task, steps=240, seed=3, settings=settings, out=out):
            pass
        return load_saved(out).tensors

    if who != "team":
        assert changes
    assert not are_different(trained(more), trained({**more, **changes}))


@pytest.mark.parametrize(
    ("agent", "changes", "name", "needs"),
    [
        ("cpo", {}, "recovery", ""),
        ("cpo", {"variant": "omnisafe"}, "recovery", "constraint.variant=published"),
        ("pcpo", {}, "accept_ratio", "a constraint that does not modify the step"),
        ("crpo", {}, "accept_ratio", ""),
        ("natural-pg", {}, "search_decay", "search_steps of 1 or more"),
        ("natural-pg", {"search_steps": "1"}, "search_decay", ""),
        ("ppo", {}, "update.clip", ""),
        ("ppo", {}, "cost_lam", "a constraint with a critic of cost"),
        ("ppo-lag", {}, "cost_lam", ""),
        ("p3o", {"variant": "omnisafe"}, "constraint.cost_clip", "constraint.variant=published"),
    ],
)
def test_a_setting_without_effect_is_refused_with_what_it_needs(
    agent: str, changes: dict[str, str], name: str, needs: str
) -> None:
    config = with_settings(presets.preset(agent, task_of(SpeedEnv, cost_limit=LIMIT)), changes)
    found = dict(unused_settings(config, [name]))
    assert needs in found[name] if needs else not found


@pytest.mark.parametrize(
    ("agent", "name", "owner"),
    [
        ("trpo", "epochs", "update=a2c or update=focops or update=ppo-clip"),
        ("ppo", "kl_limit", "update=trust-region, and this is update=ppo-clip"),
        ("ppo", "pid_kp", "constraint=pid, and this is constraint=none"),
        ("ppo-lag", "kappa", "constraint=p3o, and this is constraint=lagrangian"),
        ("ppo", "channels", "encoder=cnn, and this is encoder=mlp"),
    ],
)
def test_a_setting_of_a_component_that_is_not_chosen_cannot_be_set(
    agent: str, name: str, owner: str
) -> None:
    config = presets.preset(agent, task_of(SpeedEnv, cost_limit=LIMIT))
    with pytest.raises(ConfigError, match=f"{name} has no effect here: it is a setting of") as seen:
        with_settings(config, {name: "1"})
    assert all(part in str(seen.value) for part in owner.replace(" or ", ", ").split(", "))


@pytest.mark.parametrize("config", [OnPolicyConfig(), OffPolicyConfig()], ids=["on", "off"])
def test_a_removed_setting_is_ignored_in_saved_runs_and_refused_by_set(config: Any) -> None:
    saved = {**as_plain(config), "checkpoint_steps": 100}
    assert "checkpoint_steps" not in as_plain(config)
    assert matches(config, saved)
    assert not matches(config, {**saved, "gamma": 0.5})
    with pytest.raises(ConfigError, match=r"checkpoint_steps .* spaced by the time they take"):
        with_settings(config, {"checkpoint_steps": "100"})
