"""Seeds and streams: disjoint ranges, no two environments in step, numbers of the right law."""

from __future__ import annotations

import numpy as np

from pkubench.envs.core.seeding import (
    EVALUATION_SEED_START,
    RandomStreams,
    TrainingSeeds,
    agent_seeds,
    evaluation_seeds,
    next_seeds,
)

INDICES = np.arange(64)


def test_training_and_evaluation_episodes_have_seeds_of_disjoint_ranges() -> None:
    evaluation = evaluation_seeds(0, 5_000)
    assert evaluation.min() >= EVALUATION_SEED_START == 2**31
    assert evaluation.max() < 2**32
    training = TrainingSeeds(0, 64)
    trained = np.concatenate([training.next(INDICES) for _ in range(100)])
    assert trained.min() >= 0 and trained.max() < EVALUATION_SEED_START
    followed = next_seeds(np.concatenate([trained, evaluation, [0, 2**31 - 1, 2**40]]))
    assert followed.min() >= 0 and followed.max() < EVALUATION_SEED_START


def test_a_longer_evaluation_begins_with_the_episodes_of_a_shorter_one() -> None:
    whole = evaluation_seeds(7, 50)
    np.testing.assert_array_equal(whole[:20], evaluation_seeds(7, 20))
    np.testing.assert_array_equal(whole[20:], evaluation_seeds(7, 30, first=20))
    assert len(np.intersect1d(whole, evaluation_seeds(8, 50))) == 0


def test_each_environment_and_run_trains_on_episodes_of_its_own() -> None:
    def seeds(run: int) -> list[int]:
        source = TrainingSeeds(run, 64)
        return np.concatenate([source.next(INDICES) for _ in range(50)]).tolist()

    first, second = seeds(0), seeds(1)
    assert len(set(first + second)) == 2 * 64 * 50
    source = TrainingSeeds(0, 64)
    later = source.next(np.array([5]))  # environments need not continue together
    assert later[0] == first[5]
    assert source.next(np.array([5]))[0] == first[64 + 5]


def test_environments_that_reset_themselves_never_play_the_same_episodes() -> None:
    # A hash of the last seed in the place of one long cycle brings two of 64 environments into step
    # after 1,161 episodes, and every environment into a short cycle after some 40,000.
    seeds, played = INDICES, []
    for _ in range(2_000):
        played.append(seeds)
        seeds = next_seeds(seeds)
    assert len(np.unique(np.concatenate(played))) == 64 * 2_000
    assert len(np.unique(next_seeds(np.arange(500_000)))) == 500_000


def test_successive_seeds_look_unrelated() -> None:
    seeds = np.arange(100_000)
    unit = next_seeds(seeds) / 2.0**31
    counts = np.histogram(unit, 20, (0.0, 1.0))[0]
    # Chi-squared of 19 degrees of freedom: 99.99 % lie below 50.8.
    assert ((counts - 5_000) ** 2 / 5_000).sum() < 50.8
    assert abs(np.corrcoef(unit[:-1], unit[1:])[0, 1]) < 5 / np.sqrt(100_000)


def test_an_agents_seed_differs_from_the_episodes_and_from_its_partners() -> None:
    episodes = evaluation_seeds(0, 100)
    mine, yours = agent_seeds(episodes, "a"), agent_seeds(episodes, "b")
    assert len({*episodes.tolist(), *mine.tolist(), *yours.tolist()}) == 300
    assert (mine >= 0).all()
    np.testing.assert_array_equal(mine, agent_seeds(episodes, "a"))


def test_a_streams_numbers_depend_on_its_seed_and_its_own_draws_alone() -> None:
    many, alone = RandomStreams(64), RandomStreams(1)
    many.seed(INDICES, INDICES + 100)
    alone.seed(np.zeros(1, dtype=np.int64), np.array([137]))
    many.uniform(INDICES[:30], 7)  # other environments draw more
    wanted = alone.uniform(np.zeros(1, dtype=np.int64), 5)[0]
    np.testing.assert_array_equal(many.uniform(np.array([3, 37]), 5)[1], wanted)
    again = alone.uniform(np.zeros(1, dtype=np.int64), 5)[0]
    assert len(np.intersect1d(again, wanted)) == 0
    many.seed(np.array([37]), np.array([137]))  # a second episode starts its stream afresh
    np.testing.assert_array_equal(many.uniform(np.array([37]), 5)[0], wanted)


def test_single_numbers_of_a_stream_are_those_that_drawing_all_would_give() -> None:
    seeds = np.arange(5)
    drawn, sparse = RandomStreams.started(seeds), RandomStreams.started(seeds)
    for _ in range(2):
        every = drawn.uniform(seeds, 7, -1.0, 3.0)
        ids, places = np.array([4, 0, 4]), np.array([6, 0, 2])
        np.testing.assert_array_equal(sparse.uniform_at(ids, places, -1.0, 3.0), every[ids, places])
        sparse.skip(seeds, 7)


def test_draws_are_uniform_normal_and_even_and_unrelated_between_environments() -> None:
    indices, size = np.arange(1_000), 100
    random = RandomStreams(1_000)
    random.seed(indices, indices)
    uniform = random.uniform(indices, size, -1.0, 1.0)
    normal = random.normal(indices, size)
    whole = random.integers(indices, size, 6)
    n = uniform.size
    assert uniform.min() >= -1.0 and uniform.max() < 1.0
    assert abs(uniform.mean()) < 5 * np.sqrt(1 / 3 / n)
    # Moments of the standard normal law: 0, 1, 0, 3 with variances 1, 2, 15, 96 over n.
    for power, (moment, variance) in enumerate([(0, 1), (1, 2), (0, 15), (3, 96)], start=1):
        assert abs((normal**power).mean() - moment) < 5 * np.sqrt(variance / n)
    assert abs(np.histogram(whole, np.arange(7))[0] - n / 6).max() < 5 * np.sqrt(n * 5 / 36)
    for draws in (uniform, normal):  # neighbouring environments, and neighbouring draws
        assert abs(np.corrcoef(draws[:-1].ravel(), draws[1:].ravel())[0, 1]) < 5 / np.sqrt(n)
        assert abs(np.corrcoef(draws[:, :-1].ravel(), draws[:, 1:].ravel())[0, 1]) < 5 / np.sqrt(n)
