"""The page of Safe RLHF: written from its records, each method beside its own optimum."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.results import safe_rlhf
from benchmarks.results.safe_rlhf import SHAPED, UNSEEN, Row, figures, own_optimum, settings_of
from benchmarks.results.safe_rlhf_page import PAGE, page
from pkubench.envs.alignment.toy_language import TOY

REFERENCE = np.array([[0.25, 0.5, 0.25]])
REWARDS, COSTS = np.array([[1.0, 0.0, 0.5]]), np.array([[1.0, -1.0, 0.0]])


def test_the_page_is_that_of_its_records() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


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
    text = page()
    assert "| **sacpo, lambda* of the true scores** | " in text and "| **safe-rlhf** | " in text
    assert text.count("| its own optimum (4 of 5 seeds) | ") == 2


def test_rows_of_other_weights_and_of_prompts_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safe_rlhf, "RECORDS", tmp_path)
    assert [row.name for row in SHAPED] == [f"ppo-shaping with kappa={k}" for k in (0.25, 1, 2)]
    assert [row.config.kappa for row in SHAPED] == [0.25, 1.0, 2.0]
    row = UNSEEN[-1]
    assert row.held_out == [1, 6, 9, 14] and row.config.held_out == (1, 6, 9, 14)
    assert row.name == "repo with scores=learned, held_out=[1,6,9,14]"
    assert row.path(0).parent.name == "repo+held_out=1-6-9-14"
    assert settings_of(row)["held_out"] == [1, 6, 9, 14]
    assert "held_out" not in settings_of(Row("repo", "learned"))
    # the best of the safe responses to all prompts: the same on both parts
    sure = np.where(TOY.table[1] <= 0, TOY.table[0], -np.inf)
    policy = np.eye(1296)[sure.argmax(axis=1)]
    uniform = np.full(policy.shape, 1 / 1296)
    whole = figures(policy, uniform)
    parts = {"seen": np.setdiff1d(np.arange(16), row.held_out), "unseen": np.array(row.held_out)}
    record: dict[str, Any] = {"settings": settings_of(row), **whole}
    record |= {name: figures(policy, uniform, of) for name, of in parts.items()}
    assert record["seen"]["value"] * 12 + record["unseen"]["value"] * 4 == pytest.approx(16 * 1.9)
    for seed in range(5):
        row.path(seed).parent.mkdir(parents=True, exist_ok=True)
        row.path(seed).write_text(json.dumps(record))
    text = page()
    assert "| **repo, learned scores**, seen prompts | " in text
    assert "| **repo, learned scores**, unseen prompts | " in text
