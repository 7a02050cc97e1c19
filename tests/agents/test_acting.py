"""Who sets what does nothing is told so: what ``agents.acting`` says of every setting is true."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import pytest

from pkubench.agents import acting
from pkubench.agents.components import with_settings
from pkubench.agents.families.on_policy import presets as on_policy
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.saved.files import load_saved
from pkubench.training.session import train as train_on_policy
from tests.agents.test_settings_reach import CHANGES, LIMIT, told_apart, who_trains
from tests.agents.worlds import SpeedWorld, task_of


@pytest.mark.parametrize("name", CHANGES)
def test_a_setting_that_changes_what_is_learnt_is_not_called_idle(name: str) -> None:
    who, value = CHANGES[name]
    agent, task, more = who_trains(who)
    config = with_settings(on_policy.preset(agent, task), {**more, name: value})
    assert name not in dict(acting.idle(config, [name]))


@pytest.mark.parametrize(
    "who",
    [
        *("ppo", "trpo", "natural-pg", "policy-gradient", "focops", "ppo-lag", "trpo-pid", "cpo"),
        *("pcpo", "cup", "p3o", "ipo", "crpo", "ppo-saute", "ppo-early-terminated"),
        *("orthogonal", "team", "trust team", "omnisafe cpo"),
    ],
)
def test_idle_settings_change_nothing(who: str, tmp_path: Path) -> None:
    agent, task, more = who_trains(who)
    config = with_settings(on_policy.preset(agent, task), {**more})
    changes = {name: CHANGES[name][1] for name, _ in acting.idle(config, CHANGES)}
    assert len(changes) >= 10

    def trained(settings: dict[str, str]) -> dict[str, Any]:
        out = tmp_path / f"run{len(settings)}"
        for _ in train_on_policy(agent, task, steps=240, seed=3, settings=settings, out=out):
            pass
        return load_saved(out).tensors

    assert not told_apart(trained(more), trained({**more, **changes}))


@pytest.mark.parametrize("kind", [OnPolicyConfig])
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
        (on_policy, "ppo-lag", {}, "variant", "update=trust-region, or with constraint=exact-pen"),
        (on_policy, "p3o", {}, "variant", ""),
        (on_policy, "trpo-lag", {}, "variant", ""),
        (on_policy, "cpo", {}, "recovery", ""),
        (on_policy, "cpo", {"variant": "omnisafe"}, "recovery", "and variant=published"),
        (on_policy, "pcpo", {}, "accept_ratio", "search_steps=1 or more and constraint=none or l"),
        (on_policy, "crpo", {}, "accept_ratio", ""),
        (on_policy, "natural-pg", {}, "search_decay", "update=trust-region and search_steps=1 or"),
        (on_policy, "natural-pg", {"search_steps": "1"}, "search_decay", ""),
    ],
)
def test_what_a_setting_acts_with_is_told_to_who_sets_it_in_vain(
    presets: Any, agent: str, changes: dict[str, str], name: str, words: str
) -> None:
    config = with_settings(presets.preset(agent, task_of(SpeedWorld, cost_limit=LIMIT)), changes)
    told = dict(acting.idle(config, [name]))
    assert words in told[name] if words else not told
