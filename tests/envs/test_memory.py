"""The memory environments, held to numbers worked out by hand and to exhaustive search."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from pkubench.envs.core.batch import SOLE_AGENT, BatchEnv
from pkubench.envs.core.registry import make_batch, resolve
from pkubench.envs.memory import graph_path, key_to_door_plan
from pkubench.envs.memory import key_to_door as keys
from pkubench.envs.memory.key_to_door import EAST, KINDS, NORTH, SOUTH, WEST
from pkubench.envs.memory.tmaze import DOWN, LEFT, RIGHT, UP
from pkubench.errors import ConfigError, UnknownName
from pkubench.tasks.registry import make_task


def play(env: BatchEnv, actions: Any, options: Any = None, seed: int = 0) -> dict[str, Any]:
    """Play plans (episodes, steps) to their ends; the sums and last values of each episode."""
    plans = np.asarray(actions)
    seeds = np.full(env.num_envs, seed)
    env.reset(seeds, options=options)
    total, over = np.zeros(env.num_envs), np.zeros(env.num_envs, dtype=bool)
    for k in range(plans.shape[1]):
        step = env.step({SOLE_AGENT: plans[:, k]}, ~over)
        total += np.where(over, 0.0, step.rewards[:, 0])
        over |= step.terminated | step.truncated
    return {"return": total, "over": over, **step.info}


def plans(actions: int, steps: int) -> np.ndarray[Any, Any]:
    return np.array(list(itertools.product(range(actions), repeat=steps)))


def played(name: str, agent: str = "optimum", episodes: int = 64, **options: Any) -> np.ndarray:
    """Returns of an agent that the environment brings along."""
    env = make_batch(name, episodes)
    actor = env.unwrapped.scripted_agents()[agent]
    seeds = np.arange(episodes) + 2**31
    observations, _ = env.reset(seeds, options=options or None)
    state, over, total = actor.begin(seeds), np.zeros(episodes, bool), np.zeros(episodes)
    while not over.all():
        actions, state = actor.act(observations[SOLE_AGENT], state, ~over)
        step = env.step({SOLE_AGENT: actions}, ~over)
        observations = step.observations
        total += np.where(over, 0.0, step.rewards[:, 0])
        over |= step.terminated | step.truncated
    return total


# T-mazes


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("TMazePassive-v0+corridor=1", 2),
        ("TMazePassive-v0+corridor=2", 3),
        ("TMazeActive-v0+corridor=1", 4),
        ("TMazeActive-v0+corridor=2", 5),
    ],
)
def test_all_plans_of_a_short_maze(name: str, steps: int) -> None:
    every = plans(4, steps)
    env = make_batch(name, len(every))
    assert (env.max_episode_steps, env.unwrapped.length) == (steps, steps)
    found = [play(env, every, {"goal": goal}) for goal in (1, -1)]
    assert all(of["over"].all() for of in found)
    mean = np.mean([of["return"].mean() for of in found])
    np.testing.assert_allclose(env.unwrapped.exact_returns["random"], mean, rtol=1e-12)
    best = [of["return"].max() for of in found]
    assert best == [1.0, 1.0] == [env.unwrapped.exact_returns["optimum"]] * 2
    assert ((found[0]["return"] == 1.0) <= found[0]["success"]).all()


@pytest.mark.parametrize("name", ["TMazePassive-v0+corridor=2", "TMazeActive-v0+corridor=2"])
def test_no_agent_without_memory_earns_more_than_a_half(name: str) -> None:
    seen = [(0, 0), (0, 1), (0, -1), (1, 0), (1, 1), (1, -1)]
    policies = plans(4, len(seen))
    env = make_batch(name, len(policies))
    means = np.zeros(len(policies))
    for goal in (1, -1):
        observations, _ = env.reset(np.zeros(len(policies), np.int64), options={"goal": goal})
        for _ in range(env.unwrapped.length):
            index = [seen.index(tuple(o)) for o in observations[SOLE_AGENT].astype(int).tolist()]
            step = env.step({SOLE_AGENT: policies[np.arange(len(policies)), index]})
            observations = step.observations
            means += step.rewards[:, 0] / 2
    assert means.max() == 0.5


@pytest.mark.parametrize("name", ["TMazePassive-v0", "TMazeActive-v0+corridor=100"])
def test_who_remembers_the_sign_earns_one_and_who_forgets_it_exactly_a_half(name: str) -> None:
    for goal in (1, -1):
        assert played(name, goal=goal).tolist() == [1.0] * 64
        assert played(name, "memoryless", goal=goal).tolist() == [float(goal == 1)] * 64


def test_the_sign_is_seen_once_and_lateness_is_paid_for() -> None:
    env = make_batch("TMazeActive-v0", 1)
    observations, _ = env.reset(np.array([1]), options={"goal": -1})
    seen, rewards = [observations[SOLE_AGENT][0].tolist()], []
    for action in (LEFT, RIGHT, LEFT, UP, RIGHT, RIGHT):
        step = env.step({SOLE_AGENT: np.array([action])})
        seen.append(step.observations[SOLE_AGENT][0].tolist())
        rewards.append(float(step.rewards[0, 0]))
    assert seen == [[0, 0], [0, -1], [0, 0], [0, 0], [0, 0], [0, 0], [0, 0]]
    # the cells 0 1 0 0 1 2 after steps 1 to 6 are compared with t - 1
    assert rewards == [0.0, 0.0, -0.1, -0.1, -0.1, -0.1]
    standing = np.full((1, 13), DOWN)
    np.testing.assert_allclose(play(env, standing)["return"], [-1.0])
    passive = make_batch("TMazePassive-v0", 1)
    np.testing.assert_allclose(play(passive, standing[:, :11])["return"], [-1.0])


def test_the_goal_is_drawn_from_the_seed_unless_it_is_chosen() -> None:
    env = make_batch("TMazePassive-v0", 400)
    signs = env.reset(np.arange(400))[0][SOLE_AGENT][:, 1]
    assert set(signs.tolist()) == {-1.0, 1.0} and 160 < (signs == 1).sum() < 240


def test_a_name_says_the_length_of_the_corridor() -> None:
    task = make_task("TMazeActive-v0+corridor=300")
    assert (task.id, task.protocol.horizon) == ("pkubench/TMazeActive-v0+corridor=300", 303)
    assert make_task("TMazeActive-v0").protocol.horizon == 13
    both = resolve("TMazePassive-v0+corridor=5+delay=episode")
    assert (both.kwargs, both.horizon) == ({"corridor": 5, "delay": "episode"}, 6)
    assert both.registered is resolve("TMazePassive-v0")
    late = make_task("TMazePassive-v0+corridor=5+delay=episode")
    assert (late.id, late.protocol.horizon) == (both.id, 6)
    for name in ("TMazePassive-v0+corridor=0", "TMazePassive-v0+corridor=x", "TMazeActive-v0+c=1"):
        with pytest.raises(ConfigError, match=r"a T-maze varies in its corridor"):
            make_task(name)
    with pytest.raises(UnknownName, match="no variant of pkubench/LuckyArm-v0 'corridor'"):
        make_task("LuckyArm-v0+corridor=3")


def test_episodes_are_planned_in_pairs_with_both_signs() -> None:
    task = make_task("TMazePassive-v0")
    episodes = task.scoring.plan(task, 0, 5)
    assert [episode.options["goal"] for episode in episodes] == [1, -1, 1, -1, 1]
    seeds = [episode.seed for episode in episodes]
    assert seeds[0] == seeds[1] != seeds[2] == seeds[3] != seeds[4]
    assert [e.agent_seed for e in episodes] == seeds
    assert task.scoring.plan(task, 0, 200)[:5] == episodes
    graph = make_task("GraphPath-v0")
    starts = [e.options["start"] for e in graph.scoring.plan(graph, 0, graph.protocol.episodes)]
    assert {starts.count(node) for node in graph_path.STARTS} == {10}


# KeyToDoor


def placed(at: Any, key: Any = (1, 3), door: Any = (4, 3), last: Any = (1, 3)) -> BatchEnv:
    """One environment with its agent, key, door and last start where they are wanted."""
    env = make_batch("KeyToDoor-v0", 1).unwrapped
    env.reset(np.array([0]))
    env._at[0], env._key[0], env._door[0], env._last_start[0] = at, key, door, last
    return env


def walk(env: BatchEnv, moves: str) -> list[float]:
    names = {"n": NORTH, "s": SOUTH, "w": WEST, "e": EAST}
    return [float(env.step({SOLE_AGENT: np.array([names[m]])}).rewards[0, 0]) for m in moves]


def cell(env: BatchEnv) -> tuple[int, int]:
    return tuple(env._at[0].tolist())


def test_the_key_opens_the_door_once() -> None:
    env = placed(at=(4, 4), key=(2, 4), door=(4, 4), last=(2, 4))
    assert walk(env, "nn") == [0, 0] and env._has_key[0]
    assert walk(env, "s" * 6) == [0] * 6 and cell(env) == (5, 5)  # the apple room
    assert walk(env, "e" * 12) == [0] * 12 and cell(env) == (2, 4)  # the door room
    assert walk(env, "ssns") == [0, 1, 0, 0]  # opened by the second step; entered again for free
    step = env.step({SOLE_AGENT: np.array([NORTH])})
    assert step.info["success"].tolist() == [True] and not step.terminated[0]
    assert walk(env, "nn") == [0, 0]
    assert env.step({SOLE_AGENT: np.array([NORTH])}).terminated.tolist() == [True]


def test_the_door_is_a_wall_without_the_key() -> None:
    env = placed(at=(4, 4), key=(1, 7), door=(4, 4), last=(2, 4))
    walk(env, "s" * 20)
    assert walk(env, "ssss") == [0] * 4
    assert cell(env) == (3, 4)


def test_walls_and_the_gap() -> None:
    env = placed(at=(4, 3))
    walk(env, "n")
    assert cell(env) == (4, 3)  # below the wall, beside the gap
    walk(env, "w")
    assert cell(env) == (4, 3)
    walk(env, "enn")
    assert cell(env) == (2, 4)


def test_apples_vanish_and_grow_again_after_twenty_steps() -> None:
    env = make_batch("KeyToDoorLong-v0", 1).unwrapped
    env.reset(np.array([0]))
    assert env._apples[0].sum() == 10
    assert all(keys.APPLE_ROOM[r][c] == "a" for r, c in np.argwhere(env._apples[0]).tolist())
    env._apples[0] = False
    env._apples[0, 5, 7] = True  # two cells east of the start
    walk(env, "s" * 15)
    walk(env, "ee")  # eaten in the room's 2nd step
    assert not env._apples[0].any()
    walk(env, "w" + "s" * 19)  # its 3rd to 22nd
    assert not env._apples[0].any()
    walk(env, "s")
    assert env._apples[0, 5, 7]


def test_an_observation_is_the_cells_around_the_agent() -> None:
    env = placed(at=(4, 4), key=(2, 5))
    view = env._observe()[SOLE_AGENT].reshape(5, 5, 5).argmax(axis=2)
    floor, wall, key = (KINDS.index(kind) for kind in ("floor", "wall", "key"))
    assert view.tolist() == [
        [wall, floor, floor, key, floor],
        [wall, wall, floor, floor, floor],
        [wall, floor, floor, floor, floor],
        [wall, floor, floor, floor, floor],
        [wall, wall, wall, wall, wall],
    ]
    walk(env, "nne")
    assert cell(env) == (2, 5) and env._has_key[0]
    assert KINDS.index("key") not in env._observe()[SOLE_AGENT].reshape(5, 5, 5).argmax(axis=2)


def test_the_chance_of_random_play_is_worked_out() -> None:
    # Two steps find a key straight north through the gap: 3 of 10 starts, 1 of 10 places, 1/4^2.
    assert key_to_door_plan.random_search(1) == 0.0
    np.testing.assert_allclose(key_to_door_plan.random_search(2), 0.3 * 0.1 / 16)
    exact = key_to_door_plan.random_search(8)
    assert make_batch("KeyToDoor-v0").unwrapped.exact_returns["random"] == exact**2
    env = make_batch("KeyToDoor-v0", 20_000).unwrapped
    env.reset(np.arange(20_000))
    draws = np.random.default_rng(0)
    for _ in range(8):
        env.step({SOLE_AGENT: draws.integers(0, 4, 20_000)})
    share = env._has_key.mean()
    assert abs(share - exact) < 4 * np.sqrt(exact / 20_000)


def test_the_best_search_loses_no_step() -> None:
    room = key_to_door_plan.room()
    apart = room.distance[room.starts]
    for steps in (2, 5, 7, 8):  # as good as if the key were in sight from the start
        np.testing.assert_allclose(
            key_to_door_plan.best_search(steps), (apart <= steps).mean(), rtol=1e-12
        )
    assert apart.max() == 8 and (apart == 8).sum() == 2
    assert key_to_door_plan.best_search(8) == 1.0
    assert played("KeyToDoor-v0", episodes=200).tolist() == [1.0] * 200
    assert played("KeyToDoor-v0", "without-key").tolist() == [0.0] * 64


# LuckyArm, Stitching, GraphPath


def test_the_lucky_arm_is_worth_half_of_the_safe_one() -> None:
    env = make_batch("LuckyArm-v0", 2)
    found = play(env, [[0, 0], [1, 1]])
    assert found["expected_return"].tolist() == [1.0, 0.5] and found["over"].all()
    # From the middle, two steps end with probability 1/2 and lead back otherwise.
    exact = make_batch("LuckyArm-v0").unwrapped.exact_returns
    assert exact == {"random": 0.75 * (1 - 2.0**-10), "lucky": 0.5, "optimum": 1.0}
    many = make_batch("LuckyArm-v0", 20_000)
    many.reset(np.arange(20_000))
    many.step({SOLE_AGENT: np.ones(20_000, np.int64)})
    rewards = many.step({SOLE_AGENT: np.ones(20_000, np.int64)}).rewards
    assert set(rewards.ravel().tolist()) == {0.0, 10.0}
    assert abs((rewards > 0).mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 20_000)
    assert play(make_batch("LuckyArm-v0", 1), [[0, 1, 0, 1]])["over"].tolist() == [False]


def test_all_plans_of_stitching() -> None:
    env = make_batch("Stitching-v0", 4)
    every = plans(2, 2)  # (0, 0), (0, 1), (1, 0), (1, 1)
    assert play(env, every)["return"].tolist() == [0.0, 1.0, 0.2, 0.2]
    assert play(env, every, {"start": 1})["return"].tolist() == [0.0, 1.0, 0.0, 1.0]
    np.testing.assert_allclose(env.unwrapped.exact_returns["random"], 0.35)
    assert played("Stitching-v0").tolist() == [1.0] * 64
    assert played("Stitching-v0", "safe").tolist() == [0.2] * 64


def test_the_shortest_ways_through_the_graph() -> None:
    edges = np.zeros((20, 20), dtype=np.int64)
    for node, after in enumerate(graph_path.SUCCESSORS):
        edges[node, list(after)] = 1
    assert (edges.sum(), edges.diagonal().sum(), edges.sum(axis=1).max()) == (42, 0, 5)
    power, found = np.eye(20, dtype=np.int64), np.full(20, -1)
    for steps in range(20):  # the first power of the adjacency matrix with a way to the goal
        found[(found < 0) & (power[:, graph_path.GOAL] > 0)] = steps
        power = np.minimum(power @ edges, 1)
    assert found.tolist() == graph_path.DISTANCES.tolist()
    assert len(graph_path.STARTS) == 17 and found.max() == 6
    exact = make_batch("GraphPath-v0").unwrapped.exact_returns
    np.testing.assert_allclose(exact["optimum"], -31 / 17)
    for start in graph_path.STARTS:
        assert played("GraphPath-v0", episodes=1, start=start) == [1.0 - found[start]]
    assert played("GraphPath-v0", "staying").tolist() == [-10.0] * 64


def test_random_walks_through_the_graph_earn_what_is_computed() -> None:
    env = make_batch("GraphPath-v0", 4000)
    walks = np.random.default_rng(0).integers(0, 5, (4000, 10))
    env.reset(np.arange(4000))
    over, total = np.zeros(4000, bool), np.zeros(4000)
    for action in walks.T:
        step = env.step({SOLE_AGENT: action}, ~over)
        total += np.where(over, 0.0, step.rewards[:, 0])
        over |= step.terminated
    exact = env.unwrapped.exact_returns["random"]
    assert abs(total.mean() - exact) < 4 * total.std() / np.sqrt(4000)


def test_actions_choose_the_successors_in_order_and_one_beyond_them_stays() -> None:
    for node, successors in enumerate(graph_path.SUCCESSORS):
        if node != graph_path.GOAL:
            wanted = [*successors, *[node] * (5 - len(successors))]
            assert graph_path.LEADS_TO[node].tolist() == wanted
    env = make_batch("GraphPath-v0", 1)
    start = next(n for n in graph_path.STARTS if len(graph_path.SUCCESSORS[n]) == 1)
    env.reset(np.array([0]), options={"start": start})
    step = env.step({SOLE_AGENT: np.array([4])})
    assert step.observations[SOLE_AGENT][0].argmax() == start
    step = env.step({SOLE_AGENT: np.array([0])})
    assert step.observations[SOLE_AGENT][0].argmax() == graph_path.SUCCESSORS[start][0]
