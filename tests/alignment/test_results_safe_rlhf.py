"""The page of Safe RLHF: written from its records, each method beside its own optimum."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.results import safe_rlhf
from benchmarks.results.safe_rlhf import Row, figures, own_optimum, settings_of
from pkubench.envs.alignment.toy_language import TOY

REFERENCE = np.array([[0.25, 0.5, 0.25]])
REWARDS, COSTS = np.array([[1.0, 0.0, 0.5]]), np.array([[1.0, -1.0, 0.0]])


def test_the_page_is_that_of_its_records() -> None:
    assert safe_rlhf.PAGE.read_text(encoding="utf-8") == safe_rlhf.page()


@pytest.mark.parametrize(
    ("method", "scores"),
    [
        ("rlhf", [1.0, 0.0, 0.5]),
        ("dpo", [1.0, 0.0, 0.5]),
        ("ppo-shaping", [0.5, 0.5, 0.5]),
        ("sacpo", [0.655, 0.345, 0.5]),
        ("repo", [-np.inf, 0.0, 0.5]),
    ],
)
def test_own_optima_are_the_reference_tilted_by_what_each_method_maximises(
    method: str, scores: list[float]
) -> None:
    weights = REFERENCE[0] * np.exp(np.array(scores) / 0.1)
    found = own_optimum(Row(method, "true"), REFERENCE, REWARDS, COSTS)
    assert found is not None
    assert found[0] == pytest.approx(weights / weights.sum())
    if method == "repo":
        assert own_optimum(Row(method, "true"), REFERENCE, REWARDS, COSTS + 2.0) is None


def test_a_row_says_what_it_was_given_and_how_many_seeds_have_an_optimum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safe_rlhf, "RECORDS", tmp_path)
    uniform = np.full(TOY.table[0].shape, 1 / 1296)
    of = figures(uniform, uniform)
    for row in (Row("sacpo", "learned"), Row("safe-rlhf", "learned")):
        for seed in range(5):
            record: dict[str, Any] = {
                **of, "settings": settings_of(row), "reference": of, "multiplier": None,
                "optimum": None if seed == 2 else of, "total_variation": None,
            }  # fmt: skip
            row.path(seed).parent.mkdir(parents=True, exist_ok=True)
            row.path(seed).write_text(json.dumps(record))
    page = safe_rlhf.page()
    assert "| **sacpo, lambda* of the true scores** | " in page and "| **safe-rlhf** | " in page
    assert page.count("| its own optimum (4 of 5 seeds) | ") == 2
