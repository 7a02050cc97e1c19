"""HAPPO's and MAPPO's numbers on robots are the candidate that the tuning page says was chosen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.tuning.robots import CANDIDATES, CHOSEN, PAGE, TASKS
from benchmarks.tuning.robots_page import page_of
from benchmarks.tuning.trials import LAST, figures_of
from pkubench.agents.registry import preset
from pkubench.tasks.registry import make_task
from tests.agents.configs import Flat


@pytest.mark.parametrize("agent", ["happo", "mappo", "ippo", "happo-simultaneous"])
@pytest.mark.parametrize("task", TASKS)
def test_robots_have_the_chosen_candidate(agent: str, task: str) -> None:
    config = Flat(preset(agent).config(make_task(task)))
    assert {name: getattr(config, name) for name in CANDIDATES[CHOSEN]} == CANDIDATES[CHOSEN]


def test_a_team_under_a_speed_limit_has_the_numbers_of_the_agent_it_is_compared_with() -> None:
    for task in ("MultiHalfCheetah2x3Velocity-v1", "MultiAnt4x2Velocity-v1"):
        free, held = (Flat(preset(n).config(make_task(task))) for n in ("happo", "happo-lag"))
        names = CANDIDATES["first"]
        assert {n: getattr(free, n) for n in names} == {n: getattr(held, n) for n in names}


def test_a_record_holds_what_the_page_shows(tmp_path: Path) -> None:
    curve = [
        {
            "steps": k,
            "kl": 0.1 * k,
            "seconds": 2.0 * k,
            **({"validation_return": 10.0 * k, "validation_sampled_return": k} if k % 2 else {}),
        }
        for k in range(1, 24)
    ]
    found = figures_of(curve)
    assert found["at"] == list(range(1, 24, 2)) and found["mode"][-1] == 230.0
    assert found["kl_median"] == pytest.approx(1.2) and found["kl_max"] == pytest.approx(2.3)
    record = tmp_path / "1000" / "both" / TASKS[0] / "happo-seed1000.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"command": [], **found}))
    page = page_of(tmp_path, CANDIDATES, CHOSEN, "")
    mean = sum(10.0 * k for k in range(1, 24, 2) if k > 23 - 2 * LAST) / LAST
    assert f"| both | {mean:.4g} | {mean / 10:.4g} | 1.00 | 1.2, 2.3 | 46 |" in page


def test_the_page_is_what_the_records_give() -> None:
    from benchmarks.tuning.robots import RECORDS, WHY

    assert PAGE.read_text() == page_of(RECORDS, CANDIDATES, CHOSEN, WHY)
