"""Building banks, the exact answers for their states, and Minari's format."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pkubench.data import minari_files
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.envs.core.seeding import RandomStreams
from pkubench.envs.minigrid.grid_world import GridWorld
from pkubench.errors import ConfigError, DataError
from pkubench.retrieval.bank import BEHAVIOURS, MemoryBank
from pkubench.retrieval.building import (
    BANK_SEEDS,
    QUERY_SEEDS,
    SPLITS,
    Source,
    build,
    choose,
    play,
)
from pkubench.retrieval.export import export
from pkubench.retrieval.optima import optimal_values, optimum_of

SOURCES = (Source("DoorKey-5x5-v0", 1), Source("DistShift1-v0", 0))


@pytest.fixture(scope="module")
def bank() -> MemoryBank:
    return build(SOURCES, 3, name="small")


def of(bank: MemoryBank, behaviour: str) -> np.ndarray:
    """The rows of a behaviour."""
    return bank.behaviour[bank.row_episodes] == BEHAVIOURS.index(behaviour)


def test_a_bank_built_twice_is_equal(bank: MemoryBank) -> None:
    assert build(SOURCES, 3, name="again").sha256 == bank.sha256
    assert build(SOURCES, 3, among=range(1, 100)).sha256 != bank.sha256


def test_episodes_are_by_source_and_behaviour_on_levels_of_their_own(bank: MemoryBank) -> None:
    assert bank.level.tolist() == [0] * 9 + [1] * 9 and bank.task.tolist() == [1] * 9 + [0] * 9
    assert bank.behaviour.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2] * 2
    assert bank.seeds.tolist() == list(range(9)) * 2
    twice = build((SOURCES[1], SOURCES[1]), 1, behaviours=("search",))
    assert twice.seeds.tolist() == [0, 1] and twice.levels == ("DistShift1-v0",)


def test_an_episode_does_not_depend_on_those_beside_it(bank: MemoryBank) -> None:
    for behaviour in range(3):
        number = 3 * behaviour + 1
        alone = play("DoorKey-5x5-v0", BEHAVIOURS[behaviour], np.array([number]))
        rows = bank.row_episodes == number
        np.testing.assert_array_equal(alone.episodes[0][1], bank.episodes.actions[rows])
        np.testing.assert_array_equal(alone.directions, bank.directions[rows])


def test_directions_turn_with_the_actions(bank: MemoryBank) -> None:
    turn = np.array([-1, 1, 0, 0, 0, 0, 0])[bank.episodes.actions]
    inner = np.ones(len(bank), bool)
    inner[bank.episodes.starts[1:] - 1] = False
    after = (bank.directions + turn) % 4
    np.testing.assert_array_equal(after[:-1][inner[:-1]], bank.directions[1:][inner[:-1]])
    env = GridWorld(9, -1, ("DoorKey-5x5-v0",), False)
    _, info = env.reset(np.arange(9))
    np.testing.assert_array_equal(info["direction"], bank.directions[bank.episodes.starts[:9]])
    assert len(set(bank.directions.tolist())) == 4


def test_the_search_takes_the_shortest_way(bank: MemoryBank) -> None:
    shift = (bank.level == 1) & (bank.behaviour == 2)
    assert bank.episodes.lengths[shift].tolist() == [13, 13, 13]  # the spec's optimum
    np.testing.assert_allclose(bank.episodes.returns[shift], 1 - 0.9 * 13 / 252)
    assert len({tuple(bank.episodes.actions[bank.row_episodes == e]) for e in (15, 16, 17)}) > 1
    door = GridWorld(3, -1, ("DoorKey-5x5-v0",), False)
    door.reset(np.array([6, 7, 8]))
    np.testing.assert_array_equal(door.steps_to_success(), bank.episodes.lengths[6:9])


def test_the_actions_of_a_behaviour_are_as_random_as_it_says() -> None:
    env = GridWorld(4000, -1, ("DistShift1-v0",), False)
    env.reset(np.arange(4000))
    left = env.steps_after()[0]
    best = left == left.min()
    shares = {}
    for behaviour in BEHAVIOURS:
        taken = choose(behaviour, env, RandomStreams.started(np.arange(4000)))
        shares[behaviour] = best[taken].mean()
        assert behaviour == "search" or len(set(taken.tolist())) == 7
    assert shares["search"] == 1.0
    assert shares["random"] == pytest.approx(best.mean(), abs=0.03)
    assert shares["search-epsilon"] == pytest.approx(0.5 + 0.5 * best.mean(), abs=0.03)


def test_seeds_of_banks_and_queries_are_apart_and_do_not_run_out_silently() -> None:
    assert not set(BANK_SEEDS) & set(QUERY_SEEDS)
    with pytest.raises(ConfigError, match="takes more seeds than the 200 from 1,000,000"):
        build(SOURCES, 67, among=QUERY_SEEDS)
    with pytest.raises(ConfigError, match="behaviours among"):
        build(SOURCES, 1, behaviours=("expert",))


def test_every_source_of_a_split_has_a_target() -> None:
    for split in SPLITS.values():
        assert {source.task for source in split.sources} == set(range(len(split.targets)))
    kinds = {source.level for source in SPLITS["unrelated"].sources}
    assert not kinds & {source.level for source in SPLITS["size-shift"].sources}


def test_optimal_values_of_a_shortest_episode_are_its_returns_to_go(bank: MemoryBank) -> None:
    known, rows = optimum_of(bank), of(bank, "search")
    # G_t = gamma^(L - 1 - t) (1 - 0.9 L / T), and d = L - t
    np.testing.assert_allclose(known.values[rows], bank.returns_to_go[rows], rtol=1e-12)
    assert (known.values >= bank.returns_to_go - 1e-12).all()
    assert ((known.actions[rows] >> bank.episodes.actions[rows].astype(np.uint8)) & 1).all()
    some = np.array([40, 3, 3])
    picked = optimum_of(bank, some)
    np.testing.assert_array_equal(picked.values, known.values[some])
    np.testing.assert_array_equal(picked.actions, known.actions[some])


def test_optimal_actions_are_those_after_which_the_way_is_shortest(bank: MemoryBank) -> None:
    env = GridWorld(1, -1, ("DoorKey-5x5-v0",), False)
    first, last = bank.episodes.starts[3:5]
    known = optimum_of(bank, np.arange(first, last))
    env.reset(bank.seeds[[3]])
    for row in range(last - first):
        steps = []
        for action in range(7):
            other = copy.deepcopy(env)
            step = other.step({SOLE_AGENT: np.array([action])})
            won = step.rewards[0, 0] > 0
            steps.append(0 if won else 10**6 if step.terminated[0] else other.steps_to_success()[0])
        best = np.array(steps) == min(steps)
        assert known.actions[row] == sum(1 << a for a in np.flatnonzero(best))
        d = min(steps) + 1
        assert known.values[row] == pytest.approx(0.99 ** (d - 1) * (1 - 0.9 * (row + d) / 250))
        env.step({SOLE_AGENT: bank.episodes.actions[[first + row]]})


def test_values_are_zero_where_success_is_out_of_reach_or_time() -> None:
    found = optimal_values(np.array([1, 2, 3, 10**6]), np.array([0, 98, 98, 0]), 100, 0.9)
    np.testing.assert_allclose(found, [0.991, 0.9 * 0.1, 0.0, 0.0])


def test_a_grid_too_varied_for_tables_is_searched_alike() -> None:
    # four rivers: stepped on grids, and searched level by level
    few = build((Source("SimpleCrossingS11N5-v0", 0),), 2, behaviours=("search-epsilon", "search"))
    known, rows = optimum_of(few), of(few, "search")
    np.testing.assert_allclose(known.values[rows], few.returns_to_go[rows], rtol=1e-12)


def test_episodes_that_do_not_play_as_recorded_are_refused(bank: MemoryBank) -> None:
    row = int(bank.episodes.starts[7])
    actions = bank.episodes.actions.copy()
    actions[row] = 0 if actions[row] else 1
    wrong = replace(bank, episodes=replace(bank.episodes, actions=actions))
    with pytest.raises(DataError, match=r"small: episode 7 of DoorKey-5x5-v0 is not .* at step 1"):
        optimum_of(wrong)
    with pytest.raises(DataError, match=r"DoorKey-5x5-v0 is not what its seed and actions give"):
        optimum_of(replace(bank, seeds=bank.seeds + 100))


def test_a_bank_is_data_in_minaris_format(bank: MemoryBank, tmp_path: Path) -> None:
    pytest.importorskip("minari")
    small = build((SOURCES[1],), 2, behaviours=("search", "random"))
    folders = export(small, tmp_path)
    names = ["pkubench/DistShift1/random-v0", "pkubench/DistShift1/search-v0"]
    assert [str(folder.relative_to(tmp_path)) for folder in folders] == names
    found = minari_files.read(str(folders[1]))
    assert found.task == "minigrid:DistShift1-v0" and len(found) == 2
    np.testing.assert_array_equal(found.observations, small.images[:26])
    np.testing.assert_array_equal(found.actions, small.episodes.actions[:26])
    np.testing.assert_array_equal(found.rewards, small.episodes.rewards[:26])
    card = minari_files.read_metadata(folders[1] / "data")["card"]
    assert card["seeds"] == [0, 1] and card["bank_sha256"] == small.sha256
