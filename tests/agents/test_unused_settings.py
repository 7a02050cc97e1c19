"""Who sets what has no effect is told so, and it is true: the weights stay as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pkubench.agents.components import unused_settings, with_settings
from pkubench.agents.families.on_policy.presets import preset
from pkubench.agents.saved.files import load_saved
from pkubench.training.session import train
from tests.agents.test_settings_reach import CHANGES, LIMIT, told_apart, who_trains
from tests.agents.worlds import SpeedWorld, task_of


@pytest.mark.parametrize("name", CHANGES)
def test_a_setting_that_changes_what_is_learnt_is_not_called_unused(name: str) -> None:
    who, value = CHANGES[name]
    agent, task, more = who_trains(who)
    config = with_settings(preset(agent, task), {**more, name: value})
    assert name not in dict(unused_settings(config, [name]))


@pytest.mark.parametrize("who", ["ppo", "natural-pg", "cpo", "orthogonal", "team", "omnisafe cpo"])
def test_unused_settings_change_nothing(who: str, tmp_path: Path) -> None:
    agent, task, more = who_trains(who)
    config = with_settings(preset(agent, task), {**more})
    changes = {name: CHANGES[name][1] for name, _ in unused_settings(config, CHANGES)}
    assert changes

    def trained(settings: dict[str, str]) -> dict[str, Any]:
        out = tmp_path / f"run{len(settings)}"
        for _ in train(agent, task, steps=240, seed=3, settings=settings, out=out):
            pass
        return load_saved(out).tensors

    assert not told_apart(trained(more), trained({**more, **changes}))


@pytest.mark.parametrize(
    ("agent", "changes", "name", "words"),
    [
        ("cpo", {}, "recovery", ""),
        ("cpo", {"variant": "omnisafe"}, "recovery", "variant=published"),
        ("ppo", {}, "cost_lam", "a critic of cost"),
        ("ppo-lag", {}, "cost_lam", ""),
        ("natural-pg", {"search_steps": "1"}, "search_decay", ""),
    ],
)
def test_what_a_setting_needs_is_said(
    agent: str, changes: dict[str, str], name: str, words: str
) -> None:
    config = with_settings(preset(agent, task_of(SpeedWorld, cost_limit=LIMIT)), changes)
    found = dict(unused_settings(config, [name]))
    assert words in found[name] if words else not found
