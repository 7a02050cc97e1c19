"""The container of offline data, on two episodes small enough to write down."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from pkubench.data.episodes import Episodes, EpisodesBuilder, joined
from pkubench.errors import DataError


def two(task: str = "toy/A-v0", name: str = "two") -> Episodes:
    """Episodes of 3 and 2 steps; an observation is (episode, step)."""
    builder = EpisodesBuilder(task=task, name=name)
    builder.add([(0, t) for t in range(4)], [0, 1, 0], [1.0, 2.0, 4.0], True, [0.0, 1.0, 1.0])
    builder.add([(1, t) for t in range(3)], [1, 1], [8.0, 16.0], False, [1.0, 0.0])
    return builder.build()


def test_rows_of_an_episode_are_a_slice():
    episodes = two()
    assert (len(episodes), episodes.num_steps, episodes.is_discrete) == (2, 5, True)
    assert episodes.starts.tolist() == [0, 3, 5]
    assert episodes.observations.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1]]
    assert episodes.final_observations.tolist() == [[0, 3], [1, 2]]
    assert episodes.next_observations().tolist() == [[0, 1], [0, 2], [0, 3], [1, 1], [1, 2]]
    assert episodes.terminations().tolist() == [False, False, True, False, False]
    assert episodes.timesteps.tolist() == [0, 1, 2, 0, 1]
    assert episodes.num_steps_left().tolist() == [2, 1, 0, 1, 0]
    assert [episodes.episode_of_row(row) for row in range(5)] == [0, 0, 0, 1, 1]


def test_returns_and_returns_to_go():
    episodes = two()
    assert episodes.returns.tolist() == [7, 24]
    assert episodes.returns_to_go().tolist() == [7, 6, 4, 24, 16]
    assert episodes.returns_to_go(0.5).tolist() == [3, 4, 4, 16, 16]
    assert np.array_equal(episodes.rewards, [1, 2, 4, 8, 16])  # not changed by it


def test_dtypes_are_those_of_the_contract():
    episodes = two()
    dtypes = [episodes.rewards.dtype, episodes.actions.dtype, episodes.terminated.dtype]
    assert dtypes == [np.float64, np.int64, np.bool_]
    builder = EpisodesBuilder()
    builder.add(np.zeros((2, 3)), np.zeros((1, 2)), [0], False)
    continuous = builder.build()
    assert continuous.observations.dtype == continuous.actions.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        continuous.rewards[0] = 1


def test_select_and_join():
    episodes = two()
    swapped = episodes.select([1, 0, 1])
    assert swapped.returns.tolist() == [24, 7, 24]
    assert swapped.observations[:, 0].tolist() == [1, 1, 0, 0, 0, 1, 1]
    assert swapped.final_observations.tolist() == [[1, 2], [0, 3], [1, 2]]
    assert swapped.terminated.tolist() == [False, True, False]
    assert swapped.costs.tolist() == [1, 0, 0, 1, 1, 1, 0]
    both = joined([episodes, swapped])
    assert both.starts.tolist() == [0, 3, 5, 7, 10, 12]
    assert both.returns.tolist() == [7, 24, 24, 7, 24]
    with pytest.raises(DataError, match="same task"):
        joined([episodes, two("toy/B-v0")])


def test_the_hash_is_of_the_content():
    assert two().sha256 == two(name="other").sha256
    assert two().sha256 != two("toy/B-v0").sha256
    assert two().sha256 != two().select([1, 0]).sha256
    assert two().sha256 == two().select([0, 1]).sha256


def test_several_agents_have_an_axis():
    builder = EpisodesBuilder(agents=["a", "b"])
    builder.add(np.zeros((3, 2, 4)), np.zeros((2, 2)), [[1, 2], [3, 5]], False)
    episodes = builder.build()
    assert episodes.returns.tolist() == [[4, 7]]
    assert episodes.returns_to_go().tolist() == [[4, 7], [3, 5]]
    episodes.check_spaces(spaces.Box(-1, 1, (4,)), spaces.Box(-1, 1, ()))
    with pytest.raises(DataError, match="rewards has shape"):
        Episodes(**{**vars(episodes), "rewards": np.zeros(2)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": np.array([1, 2, np.nan, 4, 5])}, "two: NaN or infinite rewards in episode 0"),
        ({"costs": np.array([1, 2, 3, np.inf, 5])}, "two: NaN or infinite costs in episode 1"),
        ({"starts": np.array([0, 3, 3, 5])}, "two: episode 1 has length 0"),
        ({"starts": np.array([0, 3, 4])}, "two: episodes cover 4 steps of 5"),
        ({"starts": np.array([0])}, "two: no episodes"),
        ({"rewards": np.zeros(4)}, r"two: rewards has shape \(4,\), wanted \(5,\)"),
        ({"terminated": np.zeros(3)}, r"two: terminated has shape \(3,\), wanted \(2,\)"),
        ({"observations": np.zeros((5, 3))}, r"two: final_observations has shape \(2, 2\)"),
        (
            {"final_observations": np.array([[0, 0], [np.nan, 0]])},
            "two: NaN or infinite final_observations in episode 1",
        ),
    ],
)
def test_what_is_wrong_is_one_line(change, message):
    with pytest.raises(DataError, match=message) as caught:
        Episodes(**{**vars(two()), **change})
    assert "\n" not in str(caught.value)


def test_a_builder_counts():
    builder = EpisodesBuilder(name="mine")
    with pytest.raises(DataError, match="mine: episode 0 has 2 observations, 2 actions"):
        builder.add([0, 1], [0, 0], [0, 0], True)
    with pytest.raises(DataError, match="mine: no episodes"):
        builder.build()
    builder.add([0, 1, 2], [0, 0], [0, 0], True)
    with pytest.raises(DataError, match="costs are given for some"):
        builder.add([0, 1, 2], [0, 0], [0, 0], True, [0, 0])


def test_episodes_of_different_shapes_and_what_are_no_numbers():
    builder = EpisodesBuilder(name="mine")
    builder.add(np.zeros((2, 3)), [0], [0], True)
    builder.add(np.zeros((2, 4)), [0], [0], True)
    with pytest.raises(DataError, match=r"mine: observations of its .* shapes, \(3,\) and \(4,\)"):
        builder.build()
    builder = EpisodesBuilder(name="mine")
    builder.add([0, 1], ["left"], [0], True)
    with pytest.raises(DataError, match="mine: actions are not numbers"):
        builder.build()


def test_spaces_of_another_task():
    episodes = two()
    episodes.check_spaces(spaces.Box(-9, 9, (2,)), spaces.Discrete(2))
    with pytest.raises(DataError, match=r"two: its observations are \(2,\)"):
        episodes.check_spaces(spaces.Box(-9, 9, (3,)), spaces.Discrete(2))
    with pytest.raises(DataError, match="two: its actions are"):
        episodes.check_spaces(spaces.Box(-9, 9, (2,)), spaces.Box(-1, 1, ()))
    with pytest.raises(DataError, match=r"actions are 0\.\.1, and those of the task are 1\.\.2"):
        episodes.check_spaces(spaces.Box(-9, 9, (2,)), spaces.Discrete(2, start=1))
