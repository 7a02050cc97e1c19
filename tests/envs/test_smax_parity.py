"""MicroBattle equals JaxMARL's SMAX in one step from recorded states; see ``tests/data/smax``."""

from __future__ import annotations

import numpy as np
import pytest

from tests.envs.smax_replay import FOLDER, SCENARIOS, decision_errors, load, step_errors

EXACT = 1e-9
SINGLE = {"observations": 1e-6, "world_state": 4e-6}
"""These are float32 here."""


def test_every_kind_of_scenario_is_recorded() -> None:
    assert SCENARIOS == ("2s3z", "3m", "5m_vs_6m", "6h_vs_8z", "random5")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_one_step_from_a_recorded_state_is_the_same(scenario: str) -> None:
    moments = load(FOLDER / f"{scenario}.npz")
    found = step_errors(scenario, moments)
    assert {k: v for k, v in found.items() if v > SINGLE.get(k, EXACT)} == {}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_enemies_decide_the_same(scenario: str) -> None:
    assert decision_errors(scenario, load(FOLDER / f"{scenario}.npz")) == 0


def test_the_recorded_moments_have_what_rules_are_about() -> None:
    moments = [load(FOLDER / f"{scenario}.npz") for scenario in SCENARIOS]
    died = sum(int((m["alive"] & ~m["alive_after"]).sum()) for m in moments)
    at_walls = sum(
        int((m["positions_after"] % 32.0 == 0.0).any(axis=(1, 2)).sum()) for m in moments
    )
    hurt = sum(int((m["health_after"] < m["health"]).sum()) for m in moments)
    dead = sum(int((~m["alive"]).sum()) for m in moments)
    over = sum(int(m["is_over"].sum()) for m in moments)
    attacks = np.concatenate([m["enemy_actions"].ravel() for m in moments]) >= 5
    assert died > 20 and at_walls > 5 and hurt > 100 and dead > 50 and over > 0
    assert 0.2 < attacks.mean() < 0.8
