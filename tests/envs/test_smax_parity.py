"""MicroBattle equals JaxMARL's SMAX in one step from recorded states; see ``tests/data/smax``."""

from __future__ import annotations

import numpy as np
import pytest

from tests.envs.smax_replay import FOLDER, SCENARIOS, decision_errors, load, step_errors
from tests.envs.test_micro_battle import play

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


@pytest.mark.parametrize(
    ("scenario", "team", "returns", "won"),
    [
        ("3m", "random", (0.182, 0.003), (0.0, 0.001)),
        ("3m", "heuristic", (1.393, 0.019), (0.486, 0.016)),
        ("2s3z", "heuristic", (1.389, 0.018), (0.476, 0.016)),
        ("5m_vs_6m", "heuristic", (0.579, 0.004), (0.005, 0.002)),
        ("random5", "heuristic", (1.361, 0.021), (0.508, 0.016)),
        # of 256 battles, on maps of eight and ten units a side
        pytest.param("3s5z", "heuristic", (1.355, 0.035), (0.430, 0.031), marks=pytest.mark.slow),
        pytest.param(
            "random10", "heuristic", (1.326, 0.040), (0.469, 0.031), marks=pytest.mark.slow
        ),
    ],
)
def test_whole_battles_end_as_in_the_original(
    scenario: str, team: str, returns: tuple[float, float], won: tuple[float, float]
) -> None:
    """Means and standard errors of JaxMARL: ``python -m tools.measure_battle_parity``."""
    for values, (mean, error) in zip(play(team, scenario, 512), (returns, won), strict=True):
        apart = abs(float(np.mean(values)) - mean)
        assert apart < 3.5 * np.hypot(error, max(float(np.std(values)) / 512**0.5, 1 / 512))
