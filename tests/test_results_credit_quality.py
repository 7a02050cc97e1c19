"""The page of credit quality, from made-up records, and its episodes of AliceAndBob."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.results import credit_quality as page
from pkubench.files import write_json
from pkubench.tasks.registry import make_task


def test_tables_are_means_over_the_seeds_of_the_present_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "RECORDS", tmp_path)
    task = make_task(page.ALICE)
    scores = dict.fromkeys(page.HEADS) | {"time": 0.25, "agents": 0.0}
    for seed, error in enumerate((1.0, 2.0, 99.0)):
        settings = page.settings_of("stas", task) | ({"steps": 1} if seed == 2 else {})
        found = {"random": {**scores, "return_rmse": error}}
        record = {"settings": settings, "quality": found, "returns": {"random": -2.5}}
        path = page.path_of("stas", page.ALICE, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, record)
    text = page.section()
    assert "| credit | RMSE | time | agents | n |" in text
    assert "| stas | 1.5 (1 to 2) | 0.25 | 0 | 2 |" in text
    assert "Shapley" not in text


def test_an_even_division_misses_shapley_values_by_what_pairs_of_a_majority_lack() -> None:
    # Two of three decide: exact are a half each and 0, an even division gives thirds. That is 2/9
    # on average, in three of eight plays; alone or together nothing is missed.
    errors = page.measure_games("uniform", 0)["errors"]
    assert errors["unanimity"] == pytest.approx(0.0, abs=1e-12)
    assert errors["majority"] == pytest.approx(3 / 8 * 2 / 9, abs=0.01)


def test_half_random_play_takes_the_treasure_in_most_episodes() -> None:
    found = page.half_random(make_task(page.ALICE), 60, 0)
    assert 0.6 < (found.returns > 50).mean() < 1.0
    assert found.info["difference_reward"].any()
