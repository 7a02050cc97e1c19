"""MAT's, MAT-Dec's and Sable's numbers are the candidates that their tuning says were chosen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.tuning.teams import (
    AGENTS,
    CANDIDATES,
    CHOSEN,
    FIRST,
    TASKS,
    page_of,
    plan_of,
    seconds,
    trials,
)
from benchmarks.tuning.trials import FIRST_SEED, LAST
from pkubench.agents.components import with_settings
from pkubench.agents.registry import preset
from pkubench.tasks.registry import make_task


@pytest.mark.parametrize("agent", AGENTS)
def test_presets_have_the_chosen_candidate(agent: str) -> None:
    config = preset(agent).config(make_task(TASKS[0]))
    wanted = CANDIDATES[CHOSEN[agent]]
    assert {name: getattr(config, name) for name in wanted} == wanted


def test_every_candidate_changes_one_number_and_can_be_trained() -> None:
    for name, settings in CANDIDATES.items():
        changed = [key for key in FIRST if settings[key] != FIRST[key]]
        assert len(changed) == (name != "first") and settings.keys() == FIRST.keys()
        texts = {key: json.dumps(value) for key, value in settings.items()}
        assert with_settings(preset("sable").config(), texts)


def test_a_plan_has_training_seeds_alone_and_its_price() -> None:
    every = list(trials(AGENTS, 2, 100_000))
    assert len(every) == 2 * len(TASKS) * len(AGENTS) * len(CANDIDATES)
    assert {trial.seed for trial in every} == {FIRST_SEED, FIRST_SEED + 1}
    assert all(f"--seed {trial.seed}" in " ".join(trial.command(CANDIDATES)) for trial in every)
    text = "".join(plan_of(every))
    assert f"{sum(map(seconds, every)):,.0f} core seconds" in text


def test_the_page_averages_the_last_points_over_seeds(tmp_path: Path) -> None:
    for seed in (0, 1):
        path = tmp_path / "1000" / "slower" / TASKS[1] / f"mat-dec-seed{FIRST_SEED + seed}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        returns = [99.0] * LAST + [-10.0 - seed] * LAST
        path.write_text(json.dumps({"mode": returns, "sampled": returns, "seconds": 4.0 + seed}))
    page = page_of(tmp_path)
    assert "## mat-dec, 1,000 steps" in page and "## mat, " not in page
    assert f"| {TASKS[1]} | slower | -10.5 | -10.5 | 2 | 4 |" in page
