"""Grid worlds against MiniGrid 3.2.0 itself: levels, steps, pictures, and what follows."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

import gymnasium
import numpy as np
import pytest

from pkubench.envs.core.registry import environments, make_batch, traits
from pkubench.envs.core.seeding import IntArray, following_seeds, next_seeds
from pkubench.envs.minigrid import cells, draws, engines, supply, tables
from pkubench.envs.minigrid.catalogue import FAMILIES, MT7
from pkubench.envs.minigrid.draws import Draws
from pkubench.envs.minigrid.engines import GridEngine, TableEngine
from pkubench.envs.minigrid.grid_world import GridWorld, MixedLevels
from pkubench.errors import UnknownName
from tests.envs.minigrid_states import corner, put, put_original, same_moment, scattered

pytest.importorskip("minigrid")
pytestmark = pytest.mark.filterwarnings("ignore:.*is out of date.*:DeprecationWarning")

from pkubench.envs.minigrid.minigrid_levels import (  # noqa: E402
    OriginalLevels,
    original,
    original_level,
)

LEVELS = tuple(FAMILIES)
_LARGE = ("DoorKey-8x8-v0", "LavaCrossingS9N2-v0", "SimpleCrossingS11N5-v0", "MultiRoom-N4-S5-v0")
"""Of large tables, or long searches."""


def with_large_ones_slow(names: Iterable[str]) -> list[Any]:
    slow = pytest.mark.slow
    return [pytest.param(name, marks=slow if name in _LARGE else ()) for name in names]


every_level = pytest.mark.parametrize("name", with_large_ones_slow(LEVELS))
BIG_SEEDS = [2**32 - 1, 2**32, 2**40 + 3, 2**63 - 1]
OURS = [name for name in environments() if name.startswith("pkubench/MiniGrid")]


def grid_world(name: str, num_envs: int = 1) -> GridWorld:
    return GridWorld(num_envs, -1, (name,), False)


def differs(env: GridWorld, index: int, seed: int) -> bool:
    """Whether an environment that has just been reset is not at MiniGrid's level of the seed."""
    name = env.levels[int(env._task[index])]
    family, scene = FAMILIES[name], env._engine.scene(index)
    if scene.grid.shape != family.full_shape:
        scene = scene.within(family.full_shape, *family.origin(seed))
    grid, x, y, direction = original_level(name, seed)
    painted = np.where(scene.grid == cells.UNSEEN, cells.EMPTY, scene.grid)
    return not np.array_equal(painted, grid) or (scene.x, scene.y, scene.direction) != (
        x,
        y,
        direction,
    )


# --- random numbers -------------------------------------------------------------------------------


def test_draws_are_those_of_numpy() -> None:
    assert draws.agrees_with_numpy()
    seeds = np.array([3, 2**31, *BIG_SEEDS])
    ours = Draws(seeds, words=3)  # the tape is extended many times
    low, high = np.array([0, -5, 0, 1, 0, 7]), np.array([1, 9, 2, 2, 2**31 + 1, 8])
    some = np.array([4, 1])
    generators = [np.random.default_rng(seed) for seed in seeds.tolist()]
    for _ in range(12):
        drawn = ours.integers(low, high)
        assert drawn.tolist() == [
            g.integers(a, b) for g, a, b in zip(generators, low, high, strict=True)
        ]
        assert ours.integers(0, 10**9, some).tolist() == [
            generators[i].integers(0, 10**9) for i in some
        ]
    items = np.tile(np.arange(6), (len(seeds), 1))
    ours.shuffle(items)
    for row, generator in zip(items, generators, strict=True):
        wanted = list(range(6))
        generator.shuffle(wanted)
        assert row.tolist() == wanted


@pytest.mark.parametrize("name", ["MemoryS11-v0", "RedBlueDoors-6x6-v0", "MultiRoom-N2-S4-v0"])
def test_where_numpy_draws_otherwise_levels_are_minigrids_own(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draws, "_INIT_B", 0x8B51F9DC)
    assert not draws.agrees_with_numpy.__wrapped__()
    monkeypatch.undo()
    usual = grid_world(name, 3)
    monkeypatch.setattr(engines, "agrees_with_numpy", lambda: False)
    other = grid_world(name, 3)
    assert isinstance(other._engine, OriginalLevels) and isinstance(usual._engine, TableEngine)
    seeds = np.array([5, 2**32 + 1, 8])
    assert np.array_equal(usual.reset(seeds)[0]["agent"], other.reset(seeds)[0]["agent"])
    rng = np.random.default_rng(0)
    for _ in range(30):
        actions = {"agent": rng.integers(0, 7, 3)}
        one, two = usual.step(actions), other.step(actions)
        assert np.array_equal(one.observations["agent"], two.observations["agent"])
        assert one.rewards.tolist() == two.rewards.tolist()
        assert one.terminated.tolist() == two.terminated.tolist()
    assert np.array_equal(usual.render(1), other.render(1))


# --- levels ---------------------------------------------------------------------------------------


def check_levels(name: str, seeds: IntArray) -> None:
    env = grid_world(name, len(seeds))
    env.reset(seeds)
    wrong = [seed for i, seed in enumerate(seeds.tolist()) if differs(env, i, seed)]
    assert wrong == []
    assert original(name).mission == env.missions[0]
    assert original(name).max_steps == FAMILIES[name].max_steps
    assert gymnasium.spec(f"MiniGrid-{name}") is not None


@every_level
def test_levels_are_minigrids(name: str) -> None:
    check_levels(name, np.array([*range(12), *BIG_SEEDS]))


@pytest.mark.slow
@pytest.mark.parametrize("name", LEVELS)
def test_a_thousand_levels_are_minigrids(name: str) -> None:
    check_levels(name, np.array([*range(100, 1000), *range(2**32 - 50, 2**32 + 50)]))


def check_forms(name: str, episodes: int) -> None:
    single = gymnasium.make(name)
    batch: Any = single.unwrapped.batch  # type: ignore[attr-defined]
    for seed in (3, 2**32 + 3):
        single.reset(seed=seed)
        assert not differs(batch, 0, seed)
    for mode in ("NextStep", "SameStep"):
        envs: Any = gymnasium.make_vec(name, num_envs=3, max_episode_steps=1, autoreset_mode=mode)
        envs.reset(seed=2**32 - 2)
        seeds = np.arange(3) + 2**32 - 2
        for _ in range(episodes // 3):
            assert not any(differs(envs.batch, i, s) for i, s in enumerate(seeds.tolist()))
            for _ in range(2 if mode == "NextStep" else 1):
                envs.step(np.full(3, cells.DONE))
            seeds = next_seeds(seeds)


@pytest.mark.parametrize("name", OURS)
def test_levels_are_the_same_by_make_and_by_automatic_resets(name: str) -> None:
    check_forms(name, 12)


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_a_thousand_levels_are_the_same_by_automatic_resets(name: str) -> None:
    check_forms(name, 1000)


def test_levels_made_ahead_are_those_made_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def make(tasks: IntArray, seeds: IntArray) -> IntArray:  # two numbers a level
        made.append(len(seeds))
        return np.stack([seeds, tasks], axis=1)

    monkeypatch.setattr(supply, "_AHEAD", 4)
    levels = supply.LevelSupply(3, 2, make, lambda seeds: seeds % 2)
    ids, seeds = np.arange(3), np.array([7, 2**33, 9])
    for _ in range(11):  # all together: the first episodes, then blocks of four each
        assert levels.take(ids, seeds % 2, seeds).tolist() == [[s, s % 2] for s in seeds]
        seeds = next_seeds(seeds)
    assert made == [3, 12, 12, 12]
    for _ in range(3):  # the first one runs ahead, and those that have used half are filled with it
        levels.take(ids[:1], seeds[:1] % 2, seeds[:1])
        seeds[:1] = next_seeds(seeds[:1])
    assert made[4:] == [12]
    rest = ids[1:]
    assert levels.take(rest, seeds[rest] % 2, seeds[rest])[:, 0].tolist() == seeds[rest].tolist()
    seeds = next_seeds(levels._last)
    one = ids[:1]
    for seed in following_seeds(seeds, 3)[0]:  # one environment, which leaves its sequence
        assert levels.take(one, np.array([1]), seed[None]).tolist() == [[seed, 1]]
    seed = seeds[1:2]  # and one that follows, with a task of its own choice
    for task in (0, 1):
        assert levels.take(ids[1:2], np.array([task]), seed).tolist() == [[int(seed[0]), task]]


def test_levels_of_mixed_families_made_ahead_are_minigrids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supply, "_AHEAD", 2)
    names = ["LavaGapS5-v0", "MultiRoom-N4-S5-v1"]  # of 2 and 30 parameters
    env: Any = make_batch("MiniGridMT3-v0", 3, levels=names)
    seeds = np.arange(3)
    env.reset(seeds)
    for turn in range(40):  # environments are reset at unlike rates
        ids = np.flatnonzero(turn % np.array([1, 5, 7]) == 0)
        seeds[ids] = next_seeds(seeds[ids])
        env.reset(seeds[ids], ids)
        assert not any(differs(env, int(i), int(seeds[i])) for i in ids)


# --- steps ----------------------------------------------------------------------------------------


def check_steps(name: str, steps: int, seed: int = 0) -> None:
    """Compare steps from scattered states, mostly near the time limit."""
    rng = np.random.default_rng(seed)
    ours, theirs = grid_world(name), original(name)
    family = FAMILIES[name]
    succeeded = 0
    for episode in range(steps // 8):
        ours.reset(np.array([episode]))
        theirs.reset(seed=episode)
        scene = scattered(ours._engine.scene(0), family.has_item, rng)
        put(ours, scene)
        put_original(theirs, scene, *corner(ours))
        elapsed = family.max_steps - int(rng.integers(1, 10))
        ours.elapsed[0] = theirs.step_count = elapsed
        for _ in range(8):
            action = int(rng.choice(7, p=(0.1, 0.1, 0.35, 0.12, 0.12, 0.18, 0.03)))
            step, wanted = ours.step({"agent": np.array([action])}), theirs.step(action)
            assert same_moment(step, wanted), (name, episode, action)
            succeeded += bool(step.info["success"][0])
            if step.terminated[0] or step.truncated[0]:
                break
    assert succeeded > 0 or steps < 100_000


@every_level
def test_steps_are_minigrids_from_any_state(name: str) -> None:
    check_steps(name, 160 if name in MT7 else 64)


@pytest.mark.parametrize(
    "name",
    [
        *("LavaGapS5-v0", "MemoryS7-v0", "RedBlueDoors-6x6-v0"),
        pytest.param("DoorKey-5x5-v0", marks=pytest.mark.slow),
    ],
)
def test_every_action_in_every_state_of_a_level_is_minigrids(name: str) -> None:
    ours, theirs = grid_world(name), original(name)
    ours.reset(np.array([1]))
    theirs.reset(seed=1)
    engine = ours._engine
    assert isinstance(engine, TableEngine)
    own = tables.family_tables(name)
    layout = own.parts[int(engine._state[0]) >> 2, 0]
    tried = 0
    for state in np.flatnonzero(np.repeat(own.parts[:, 0] == layout, 4)).tolist():
        engine._state[0] = state
        scene = engine.scene(0)
        under = scene.grid[scene.y, scene.x]
        if under in (cells.MATCH, cells.MISMATCH) or cells.LAST_DOOR_OPEN in scene.grid:
            continue  # the end, where MiniGrid ends again with whatever follows
        for action in range(7):
            put(ours, scene)
            put_original(theirs, scene, 0, 0)
            ours.elapsed[0] = theirs.step_count = 5
            step, wanted = ours.step({"agent": np.array([action])}), theirs.step(action)
            assert same_moment(step, wanted), (scene, action)
            tried += 1
    assert tried > 200


@pytest.mark.slow
@pytest.mark.parametrize("name", LEVELS)
def test_a_hundred_thousand_steps_are_minigrids(name: str) -> None:
    check_steps(name, 100_000, seed=1)


@pytest.mark.parametrize("name", MT7)
def test_success_on_the_last_step_both_ends_and_truncates(name: str) -> None:
    ours, theirs = grid_world(name), original(name)
    ours.reset(np.array([4]))
    theirs.reset(seed=4)
    length, limit = int(ours.steps_to_success()[0]), FAMILIES[name].max_steps
    ours.elapsed[0] = theirs.step_count = limit - length
    assert ours.best_returns()[0] == 1 - 0.9 * (limit / limit)
    for left in range(length, 0, -1):  # the shortest way
        after = ours.steps_after()[0]
        assert after.min() == left - 1
        action = int(after.argmin())
        step, wanted = ours.step({"agent": np.array([action])}), theirs.step(action)
        assert same_moment(step, wanted) and bool(step.terminated[0]) == (left == 1)
    assert step.terminated[0] and step.truncated[0]
    assert step.rewards[0, 0] == 1 - 0.9 * (limit / limit)


@pytest.mark.parametrize(
    "name", with_large_ones_slow(name for name in LEVELS if FAMILIES[name].is_listed)
)
def test_grids_and_tables_agree(name: str) -> None:
    one, two = TableEngine((name,), 64, False), GridEngine((name,), 64, False)
    seeds, rng = np.arange(64), np.random.default_rng(2)
    task = np.zeros(64, dtype=np.int64)
    for engine in (one, two):
        engine.start(np.arange(64), task, engine.records(task, seeds))
    for _ in range(30):
        actions = rng.integers(0, 7, 64)
        (succeeds, ends), (succeeds_2, ends_2) = one.step(actions), two.step(actions)
        assert succeeds.tolist() == succeeds_2.tolist() and ends.tolist() == ends_2.tolist()
        assert np.array_equal(one.observe(), two.observe())
        over = np.flatnonzero(ends)
        for engine in (one, two):
            engine.start(over, task[over], engine.records(task[over], seeds[over] + 64))
    few = np.arange(2)
    one, two = TableEngine((name,), 2, False), GridEngine((name,), 2, False)
    for engine in (one, two):
        engine.start(few, task[few], engine.records(task[few], seeds[few]))
        engine.step(np.array([cells.LEFT, cells.FORWARD]))
    assert two.steps_after().tolist() == one.steps_after().tolist()


# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["DoorKey-5x5-v0", "MemoryS7-v0", "MultiRoom-N2-S4-v0"])
def test_pictures_are_minigrids(name: str) -> None:
    rng = np.random.default_rng(3)
    ours = grid_world(name)
    theirs = gymnasium.make(f"MiniGrid-{name}", render_mode="rgb_array").unwrapped
    for seed in range(3):
        ours.reset(np.array([seed]))
        theirs.reset(seed=seed)
        scene = scattered(ours._engine.scene(0), FAMILIES[name].has_item, rng)
        put(ours, scene)
        put_original(theirs, scene, *corner(ours))
        assert np.array_equal(ours.render(0), theirs.render())


# --- optima ---------------------------------------------------------------------------------------

OPTIMA = {  # of the seeds 0 to 199: mean, shortest and longest; mean return
    "DoorKey-6x6-v0": (12.14, 8, 19, 0.9697),
    "DistShift1-v0": (13.0, 13, 13, 0.9536),
    "RedBlueDoors-6x6-v0": (12.845, 8, 18, 0.9839),
    "LavaGapS7-v0": (10.405, 9, 11, 0.9522),
    "MemoryS11-v0": (6.215, 3, 10, 0.9908),
    "SimpleCrossingS9N2-v0": (16.225, 13, 28, 0.9549),
    "MultiRoom-N2-S4-v0": (7.11, 3, 11, 0.8400),
}
"""From a breadth-first search over MiniGrid's own objects, done elsewhere."""
MORE = {
    "DoorKey-5x5-v0": 0.9651,
    "DoorKey-8x8-v0": 0.9767,
    "DistShift2-v0": 0.9607,
    "LavaGapS5-v0": 0.9453,
    "MemoryS7-v0": 0.9839,
    "SimpleCrossingS11N5-v0": 0.9606,
    "MultiRoom-N4-S5-v0": 0.7511,
}


@pytest.mark.parametrize("name", with_large_ones_slow([*OPTIMA, *MORE]))
def test_optima_are_those_of_another_search(name: str) -> None:
    env = grid_world(name, 200)
    env.reset(np.arange(200))
    steps, returns = env.steps_to_success(), env.best_returns()
    if name in OPTIMA:
        mean, low, high, best = OPTIMA[name]
        assert (steps.mean(), steps.min(), steps.max()) == (pytest.approx(mean), low, high)
    else:
        best = MORE[name]
    assert returns.mean() == pytest.approx(best, abs=6e-5)


def test_a_way_that_is_too_long_or_blocked_pays_nothing() -> None:
    env = grid_world("DoorKey-6x6-v0")
    env.reset(np.array([0]))
    steps = int(env.steps_to_success()[0])
    env.elapsed[0] = 360 - steps
    assert env.best_returns()[0] == pytest.approx(0.1)
    env.elapsed[0] += 1
    assert env.best_returns()[0] == 0.0
    blocked = np.full((1, 3, 5), cells.WALL, dtype=np.uint8)
    blocked[0, 1, 1:4] = cells.EMPTY, cells.WALL, cells.GOAL
    own = tables.compile_tables(blocked, cells.WALL, False)
    assert (tables.steps_to_success(own)[:4] == tables.NEVER).all()


# --- several tasks --------------------------------------------------------------------------------


def test_a_mixed_batch_plays_as_its_tasks_do_alone() -> None:
    mixed = make_batch("MiniGridMT7-v0", 21)
    assert isinstance(mixed, MixedLevels) and mixed.levels == MT7
    seeds = np.arange(21) + 2**32 - 10
    chosen = np.arange(21) % 7
    seen, info = mixed.reset(seeds, options={"task": chosen})
    alone = [grid_world(MT7[task]) for task in chosen]
    for index, env in enumerate(alone):
        env.reset(seeds[index : index + 1])
    assert info["task_id"].tolist() == chosen.tolist()
    assert (seen["agent"][..., 3] == chosen[:, None, None]).all()
    rng, ended = np.random.default_rng(4), np.zeros(21, dtype=bool)
    for _ in range(45):
        actions = rng.integers(0, 7, 21)
        step = mixed.step({"agent": actions})
        for index, env in enumerate(alone):
            own = env.step({"agent": actions[index : index + 1]})
            if ended[index]:
                continue
            assert np.array_equal(
                step.observations["agent"][index, ..., :3], own.observations["agent"][0]
            )
            assert step.rewards[index].tolist() == own.rewards[0].tolist()
            ends = (bool(own.terminated[0]), bool(own.truncated[0]))
            assert (bool(step.terminated[index]), bool(step.truncated[index])) == ends
            ended[index] = any(ends)
    assert ended[6::7].all()  # MultiRoom's limit is 40 steps


def test_without_an_option_the_seed_chooses_the_task() -> None:
    env = make_batch("MiniGridMT3-v0", 4)
    assert env.reset(np.array([3, 4, 5, 2**32]))[1]["task_id"].tolist() == [0, 1, 2, 2**32 % 3]
    with pytest.raises(Exception, match="task=3 is not one of"):
        env.reset(np.arange(4), options={"task": 3})
    # families without tables bring the whole batch onto grids
    own = make_batch("MiniGridMT3-v0", 4, levels=["DoorKey-16x16-v0", "LavaGapS5-v0"])
    seen, info = own.reset(np.arange(4))
    assert info["task_id"].tolist() == [0, 1, 0, 1] and own.max_episode_steps == 2560
    assert (seen["agent"][..., 3] == np.array([0, 1, 0, 1])[:, None, None]).all()
    assert not any(differs(own, i, i) for i in range(4))  # type: ignore[arg-type]
    again = pickle.loads(pickle.dumps(own))
    actions = {"agent": np.full(4, cells.LEFT)}
    assert np.array_equal(
        again.step(actions).observations["agent"], own.step(actions).observations["agent"]
    )
    with pytest.raises(UnknownName, match="did you mean 'DoorKey-8x8-v0'"):
        make_batch("MiniGridMT3-v0", 1, levels=["DoorKey-8x8"])


# --- other levels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["BabyAI-GoToLocal-v0", "MiniGrid-Empty-5x5-v0"])
def test_other_levels_are_played_by_minigrid(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = make_batch(f"minigrid:{name}", 2), gymnasium.make(name).unwrapped
    seen, info = ours.reset(np.array([0, 11]))
    assert capsys.readouterr().out == ""
    image, _ = theirs.reset(seed=11)
    capsys.readouterr()
    assert (
        np.array_equal(seen["agent"][1], image["image"]) and info["mission"][1] == image["mission"]
    )
    limit: int = theirs.max_steps  # type: ignore[attr-defined]
    rng = np.random.default_rng(5)
    for count in range(1, limit + 1):
        action = int(rng.integers(0, 7))
        step, wanted = ours.step({"agent": np.array([6, action])}), theirs.step(action)
        assert np.array_equal(step.observations["agent"][1], wanted[0]["image"])
        assert step.rewards[1, 0] == wanted[1] and step.terminated[1] == wanted[2]
        assert step.truncated[1] == wanted[3] == (count == limit)
        if wanted[2]:
            break


def test_names_choose_the_fast_engine_where_there_is_one() -> None:
    for name in ("minigrid:DoorKey-5x5-v0", "minigrid:MiniGrid-DoorKey-5x5-v0"):
        env = make_batch(name, 2)
        assert isinstance(env, GridWorld) and env.max_episode_steps == 250
    with pytest.raises(UnknownName, match="did you mean 'BabyAI-GoToLocal-v0'"):
        make_batch("minigrid:BabyAI-GoToLocl-v0")


def test_several_names_are_tasks_side_by_side() -> None:
    mixed = make_batch("minigrid:DoorKey-5x5-v0,MiniGrid-LavaGapS5-v0", 3)
    assert isinstance(mixed, MixedLevels) and mixed.levels == ("DoorKey-5x5-v0", "LavaGapS5-v0")
    seen, info = mixed.reset(np.array([4, 7, 9]), options={"task": [0, 1, 0]})
    assert info["task_id"].tolist() == [0, 1, 0] and mixed._limits().tolist() == [250, 100, 250]
    alone = make_batch("minigrid:LavaGapS5-v0").reset(np.array([7]))[0]["agent"]
    assert np.array_equal(seen["agent"][1, ..., :3], alone[0])
    with pytest.raises(UnknownName, match="level with a fast engine"):
        make_batch("minigrid:DoorKey-5x5-v0,BabyAI-GoToLocal-v0")


def test_levels_by_name_have_missions_where_they_are_made_here() -> None:
    for name, wanted in (("LavaGapS5-v0", True), ("BabyAI-GoToLocal-v0", False)):
        assert traits(f"minigrid:{name}").has_missions == wanted


MOORE = {  # Hendawy et al. 2024, in their order; mean of the optimal returns of seeds 0 to 199
    "MT3": (("LavaGapS7", "RedBlueDoors-6x6", "MemoryS11"), 0.9756),
    "MT5": (
        ("DoorKey-6x6", "LavaGapS7", "RedBlueDoors-6x6", "DistShift1", "MemoryS11"),
        0.9700,
    ),
    "MT7": (
        (
            *("DoorKey-6x6", "DistShift1", "RedBlueDoors-6x6", "LavaGapS7", "MemoryS11"),
            *("SimpleCrossingS9N2", "MultiRoom-N2-S4"),
        ),
        0.9493,
    ),
}


@pytest.mark.parametrize("name", MOORE)
def test_the_multitask_lists_are_moores_with_the_optima_of_another_search(name: str) -> None:
    members, best = MOORE[name]
    env: Any = make_batch(f"MiniGrid{name}-v0", 200 * len(members))
    assert env.levels == tuple(f"{member}-v0" for member in members)
    tasks = np.repeat(np.arange(len(members)), 200)
    env.reset(np.tile(np.arange(200), len(members)), options={"task": tasks})
    assert env.best_returns().mean() == pytest.approx(best, abs=6e-5)


@pytest.mark.slow
def test_every_registered_level_can_be_played() -> None:
    from pkubench.envs.minigrid.named import registered_levels

    names = [name for name in registered_levels() if "WFC" not in name]  # the wheel lacks files
    assert len(names) >= 150
    for name in names:
        env = make_batch(f"minigrid:{name}", 1)
        env.reset(np.array([0]))
        env.step({"agent": np.array([2])})
        env.close()
