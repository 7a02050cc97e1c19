"""The random agent is uniform, legal, and the same in any batch."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from pkubench.agents.contract import MaskedObservation
from pkubench.agents.families.scripted.random import RandomAgent
from pkubench.errors import AgentError

SEEDS = np.arange(30_000)
ACTIVE = np.ones(len(SEEDS), np.bool_)


def actions(space: spaces.Space, mask: np.ndarray | None = None) -> np.ndarray:
    agent = RandomAgent(space)
    shown = np.zeros((len(SEEDS), 1))
    observation = shown if mask is None else MaskedObservation(shown, mask)
    return agent.act(observation, agent.begin(SEEDS), ACTIVE)[0]


def test_discrete_actions_are_equally_frequent_from_their_start() -> None:
    counts = np.bincount(actions(spaces.Discrete(4, start=2)), minlength=6)
    assert counts[:2].tolist() == [0, 0]
    assert np.abs(counts[2:] - 7500).max() < 4 * np.sqrt(7500)


def test_masked_actions_are_equally_frequent_among_the_legal_ones() -> None:
    mask = np.tile(np.array([0, 1, 0, 1, 1], np.int8), (len(SEEDS), 1))
    counts = np.bincount(actions(spaces.Discrete(5), mask), minlength=5)
    assert counts[[0, 2]].tolist() == [0, 0]
    assert np.abs(counts[[1, 3, 4]] - 10_000).max() < 4 * 100


def test_boxes_are_uniform_between_bounds_and_normal_without() -> None:
    box = spaces.Box(np.array([-1, 2], np.float32), np.array([3, 2.5], np.float32))
    drawn = actions(box)
    assert drawn.dtype == np.float32 and all(box.contains(a) for a in drawn[:100])
    np.testing.assert_allclose(drawn.mean(axis=0), [1, 2.25], atol=0.03)
    free = actions(spaces.Box(-np.inf, np.inf, (1,), np.float64))
    assert abs(free.mean()) < 0.03 and abs(free.std() - 1) < 0.03
    mixed = spaces.Box(np.array([0.0, -np.inf]), np.array([1.0, np.inf]), dtype=np.float64)
    drawn = actions(mixed)
    assert drawn[:, 0].min() >= 0 and drawn[:, 0].max() <= 1 and drawn[:, 1].min() < -2


def test_multi_discrete_actions_lie_in_their_space() -> None:
    drawn = actions(spaces.MultiDiscrete([2, 5]))
    assert drawn.max(axis=0).tolist() == [1, 4] and drawn.min() == 0


def test_an_episode_is_the_same_in_any_batch() -> None:
    agent = RandomAgent(spaces.Discrete(1000))
    alone, together = agent.begin(SEEDS[7:8]), agent.begin(SEEDS[:16])
    for _ in range(5):
        one, alone = agent.act(np.zeros((1, 1)), alone, ACTIVE[:1])
        many, together = agent.act(np.zeros((16, 1)), together, ACTIVE[:16])
        assert one[0] == many[7]


def test_probabilities_are_uniform_over_legal_actions() -> None:
    mask = np.array([[1, 0, 1], [1, 1, 1]], np.int8)
    found = RandomAgent(spaces.Discrete(3)).action_probabilities(np.zeros((2, 4)), mask)
    np.testing.assert_allclose(found, [[0.5, 0, 0.5], [1 / 3, 1 / 3, 1 / 3]])


def test_texts_have_no_uniform_distribution() -> None:
    with pytest.raises(AgentError, match="cannot act"):
        RandomAgent(spaces.Text(5))
