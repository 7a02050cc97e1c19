"""Acting with saved networks: actions worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from pkubench.agents.contract import MaskedObservation
from pkubench.agents.nn.fast.policy import Layers, NetworkPolicy, NetworkSettings, map_action

IDENTITY = Layers(((np.eye(2, dtype=np.float32), np.zeros(2, np.float32)),), (), "relu")
LOPSIDED = spaces.Box(np.float32([-2, 0]), np.float32([6, 1]))


def _policy(space: spaces.Space, how: str = "clip", stochastic: bool = False) -> NetworkPolicy:
    std = None if isinstance(space, spaces.Discrete) else np.float32([0.5, 2.0])
    mean, deviation = np.float32([1, -1]), np.float32([2, 0.5])
    settings = NetworkSettings(space, std, how, mean, deviation)
    return NetworkPolicy(IDENTITY, settings, stochastic=stochastic)


def _act(policy: NetworkPolicy, observation: np.ndarray) -> np.ndarray:
    count = len(observation)
    return policy.act(observation, policy.begin(np.arange(count)), np.ones(count, bool))[0]


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        # Normalised observations (0, 1), (-0.5, -1), and (5, -5) clipped from (50, -20).
        ("clip", [[0, 1], [-0.5, 0], [5, 0]]),
        # Low + half the range times (x + 1): -2 + 4 (x + 1) and 0.5 (x + 1), then clipped.
        ("affine", [[2, 1], [0, 0], [6, 0]]),
    ],
)
def test_observations_are_normalised_and_outputs_mapped_to_the_bounds(
    how: str, wanted: list[list[float]]
) -> None:
    observation = np.array([[1.0, -0.5], [0.0, -1.5], [101.0, -11.0]])
    actions = _act(_policy(LOPSIDED, how), observation)
    assert actions.dtype == np.float32
    np.testing.assert_allclose(actions, wanted, atol=1e-6)


def test_a_normalised_observation_is_clipped_at_five_deviations() -> None:
    wide = spaces.Box(-100.0, 100.0, (2,), np.float32)
    actions = _act(_policy(wide), np.array([[101.0, -11.0], [11.0, 1.5]]))
    np.testing.assert_allclose(actions, [[5, -5], [5, 5]])


def test_a_stochastic_gaussian_has_its_mean_and_deviations() -> None:
    count = 20_000
    wide = spaces.Box(-100.0, 100.0, (2,), np.float32)
    actions = _act(_policy(wide, stochastic=True), np.tile([3.0, -0.5], (count, 1)))
    error = np.array([0.5, 2.0]) / np.sqrt(count)
    assert (np.abs(actions.mean(0) - [1.0, 1.0]) < 5 * error).all()
    np.testing.assert_allclose(actions.std(0), [0.5, 2.0], rtol=0.03)
    assert abs(np.corrcoef(actions.T)[0, 1]) < 5 / np.sqrt(count)


@pytest.mark.parametrize("stochastic", [False, True])
def test_an_illegal_action_is_never_taken_even_if_it_is_the_most_likely(stochastic: bool) -> None:
    policy = _policy(spaces.Discrete(2, start=3), stochastic=stochastic)
    seen = np.tile([9.0, -1.0], (500, 1))  # logits (4, 0): action 3 has probability 0.982
    both, only = np.ones((500, 2), np.int8), np.tile(np.int8([0, 1]), (500, 1))
    seeds = np.arange(500)
    free, _ = policy.act(MaskedObservation(seen, both), policy.begin(seeds), np.ones(500, bool))
    held, _ = policy.act(MaskedObservation(seen, only), policy.begin(seeds), np.ones(500, bool))
    assert (free == 3).mean() > 0.95
    assert (held == 4).all()
    assert policy.action_probabilities(seen[:1], only[:1]).tolist() == [[0.0, 1.0]]


def test_the_map_keeps_the_dtype_of_the_space() -> None:
    space = spaces.Box(-1.0, 1.0, (2,), np.float64)
    assert map_action(np.zeros((4, 2), np.float32), space, "affine").dtype == np.float64
