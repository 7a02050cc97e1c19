"""AliceAndBob against its rules as a plain loop, and its values against a search over these."""

from __future__ import annotations

import functools
from collections import deque
from typing import Any, NamedTuple

import numpy as np
import pytest

from pkubench.agents.contract import Team
from pkubench.agents.families.scripted.policies import scripted_agent
from pkubench.envs.core.registry import make_batch
from pkubench.envs.credit import alice_and_bob_table as exact
from pkubench.envs.credit.alice_and_bob import AliceAndBob
from pkubench.errors import AgentError

NAME = "AliceAndBob-v0"
HORIZON, TAPES = 40, 10_000


class Place(NamedTuple):
    """All that an episode remembers, as the rules of the paper's code have it."""

    agents: tuple[tuple[int, int], tuple[int, int]]
    keys: tuple[bool, bool]
    """Whether each is still there."""
    grid: tuple[tuple[int, ...], ...]
    events: tuple[int, int]


KEYS, DOORS, GOAL = ((3, 5), (5, 1)), ((4, 2), (4, 6)), (7, 7)
WAYS = ((0, 1), (0, -1), (-1, 0), (1, 0))
"""Column + 1, column - 1, row - 1, row + 1."""


def opening() -> Place:
    grid = [[0] * 9 for _ in range(9)]
    for k in range(9):
        grid[0][k] = grid[8][k] = grid[k][0] = grid[k][8] = 1
    for row in range(1, 5):
        grid[row][4] = 1
    for column in range(1, 8):
        grid[4][column] = 1
    for (row, column), code in ((KEYS[0], 2), (KEYS[1], 3), (GOAL, 7), ((1, 1), 5), ((1, 7), 6)):
        grid[row][column] = code
    return Place(((1, 1), (1, 7)), (True, True), tuple(map(tuple, grid)), (0, 0))


def in_room(place: tuple[int, int]) -> bool:
    return 1 <= place[0] <= 3 and (1 <= place[1] <= 3 or 5 <= place[1] <= 7)


def plain_step(place: Place, actions: tuple[int, int]) -> tuple[Place, float, bool]:
    """Play one step of the rules; return the next place, the team's reward and whether it ended."""
    agents, keys = list(place.agents), list(place.keys)
    grid, events, reward = [list(row) for row in place.grid], [0, 0], 0.0
    for i in (0, 1):
        (row, column), (down, right) = agents[i], WAYS[actions[i]]
        if grid[row + down][column + right] == 1:
            events[i] = -1
            reward -= 0.1
            continue
        grid[row][column] = 0
        grid[row + down][column + right] = 5 + i
        agents[i] = (row + down, column + right)
    for i in (0, 1):
        for k in (0, 1):
            if agents[i] == KEYS[k] and keys[k]:
                keys[k] = False
                grid[DOORS[k][0]][DOORS[k][1]] = 0
                events[i] = 2 + k
    is_over = GOAL in agents and not in_room(agents[0]) and not in_room(agents[1])
    if is_over:
        reward += 100
        events[0 if agents[0] == GOAL else 1] = 7
    after = Place(tuple(agents), tuple(keys), tuple(map(tuple, grid)), tuple(events))  # type: ignore[arg-type]
    return after, reward, is_over


def plain_view(place: Place, i: int) -> np.ndarray[Any, Any]:
    """Return what agent i observes: 19 numbers."""
    (row, column), other = place.agents[i], place.agents[1 - i]
    patch = [place.grid[row + r][column + c] for r in (-1, 0, 1) for c in (-1, 0, 1)]
    to_keys: list[int] = []
    for there, (key_row, key_column) in zip(place.keys, KEYS, strict=True):
        to_keys += [row - key_row, column - key_column] if there else [0, 0]
    away = [row - other[0], column - other[1]]
    rest = [int(in_room(place.agents[i])), place.events[i]]
    return np.array([*patch, row, column, *away, *to_keys, *rest], dtype=np.float32)


class Notes:
    """What the plain rules said, by the number of a place: each question is asked once."""

    def __init__(self) -> None:
        self.numbers: dict[Place, int] = {}
        self.places: list[Place] = []
        self.seen: list[list[np.ndarray[Any, Any]]] = []
        """For each place the observations of both agents, and the grid."""
        self.answers: dict[int, tuple[int, float, bool]] = {}
        self.number(opening())

    def number(self, place: Place) -> int:
        if place not in self.numbers:
            self.numbers[place] = len(self.places)
            self.places.append(place)
            views = [plain_view(place, i) for i in (0, 1)]
            self.seen.append([*views, np.array(place.grid).ravel()])
        return self.numbers[place]

    def views(self, numbers: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        """Return the observations of both agents and the grid in the places of these numbers."""
        found, back = np.unique(numbers, return_inverse=True)
        rows = zip(*(self.seen[number] for number in found.tolist()), strict=True)
        return [np.stack(row)[back] for row in rows]

    def step(self, numbers: np.ndarray[Any, Any], joint: np.ndarray[Any, Any]) -> list[Any]:
        """Return the numbers of the next places, the rewards and whether episodes ended."""
        found, back = np.unique(16 * numbers + joint, return_inverse=True)
        for question in found.tolist():
            if question not in self.answers:
                actions = divmod(question % 16, 4)
                after, reward, is_over = plain_step(self.places[question // 16], actions)
                self.answers[question] = self.number(after), reward, is_over
        columns = zip(*(self.answers[question] for question in found.tolist()), strict=True)
        return [np.array(column)[back] for column in columns]


def test_every_step_of_10_000_tapes_follows_the_rules() -> None:
    rng = np.random.default_rng(3)
    tapes = rng.integers(0, 4, (HORIZON, TAPES, 2))
    # Random play seldom leaves the rooms: a fifth of the tapes first follow the best plan for a
    # while, and go astray later and later.
    plan = exact.best_plan()
    for tape in range(TAPES // 5):
        known = tape % (len(plan) + 1)
        tapes[:known, tape] = plan[:known]
    env, notes = make_batch(NAME, TAPES, delay=None), Notes()
    observations, _ = env.reset(np.arange(TAPES))
    for agent, view in zip(env.agents, notes.views(np.zeros(TAPES, dtype=np.int64)), strict=False):
        np.testing.assert_array_equal(observations[agent], view)
    places, alive, wins = np.zeros(TAPES, dtype=np.int64), np.ones(TAPES, dtype=np.bool_), 0
    for moment in tapes:
        step = env.step({agent: moment[:, i].copy() for i, agent in enumerate(env.agents)})
        next_places, rewards, is_over = notes.step(places[alive], moment[alive] @ [4, 1])
        np.testing.assert_array_equal(step.rewards[alive], np.stack([rewards / 2] * 2, axis=1))
        np.testing.assert_array_equal(step.terminated[alive], is_over)
        np.testing.assert_array_equal(step.info["success"][alive], is_over)
        places[alive] = next_places
        *views, grids = notes.views(places[alive])
        for agent, view in zip(env.agents, views, strict=True):  # of the last step, too
            np.testing.assert_array_equal(step.observations[agent][alive], view)
        np.testing.assert_array_equal(env.state()[alive], grids)
        alive[alive] = ~is_over
        wins += int(is_over.sum())
    assert wins > 200 and step.truncated.all()


Short = tuple[tuple[tuple[int, int], tuple[int, int]], tuple[bool, bool]]


@functools.cache
def search() -> tuple[list[Short], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Search everything that the plain rules can reach, by cells and keys.

    Returns:
        The places, and for each of 16 joint actions the number of the next place (-1 for the end)
        and the reward.
    """
    start = opening()
    found: dict[Short, Place] = {start[:2]: start}
    waiting, number, following, rewards = deque([start[:2]]), {start[:2]: 0}, [], []
    while waiting:
        short = waiting.popleft()
        outcomes = [plain_step(found[short], divmod(j, 4)) for j in range(16)]
        for place, _, is_over in outcomes:
            if not is_over and place[:2] not in found:
                found[place[:2]] = place
                number[place[:2]] = len(number)
                waiting.append(place[:2])
        following.append([-1 if over else number[place[:2]] for place, _, over in outcomes])
        rewards.append([reward for _, reward, _ in outcomes])
    return list(found), np.array(following), np.array(rewards)


def test_the_search_finds_as_many_states_as_the_spec() -> None:
    places, _, _ = search()
    assert len(places) == 1_978
    known = exact.table()
    assert (~known.is_terminal).sum() == 19_808
    short = np.concatenate([known.cells, known.is_taken], axis=1)[~known.is_terminal]
    assert len(np.unique(short, axis=0)) == 1_978


def by_plain_rules(
    steps: int, summarise: Any, rewards: Any = None, gamma: float = 1.0
) -> np.ndarray[Any, Any]:
    """Return the values of an episode of 0 to ``steps`` steps, by dynamic programming."""
    _, following, paid = search()
    rewards = paid if rewards is None else rewards
    values = np.zeros((steps + 1, len(following) + 1))  # the last column is the end
    for left in range(1, steps + 1):
        values[left, :-1] = summarise(rewards + gamma * values[left - 1][following])
    return values[:, 0]


def test_the_optimum_is_100_and_the_fewest_steps_are_12() -> None:
    best = by_plain_rules(HORIZON, lambda outcomes: outcomes.max(axis=1))
    # Nothing pays without a success. The soonest takes 12 steps and one bump, and the largest
    # return, which has none, 14.
    np.testing.assert_allclose(best, [0] * 12 + [99.9] * 2 + [100] * (HORIZON - 13), atol=1e-12)
    known = exact.table()
    ours = exact.optimal_values(HORIZON)[:, known.start]
    np.testing.assert_allclose(ours, best, rtol=0, atol=1e-12)
    place, total = opening(), 0.0
    for count, (alice, bob) in enumerate(exact.best_plan().tolist(), start=1):
        place, reward, is_over = plain_step(place, (alice, bob))
        total += reward
        assert is_over == (count == 14)
    assert total == 100.0 and len(exact.best_plan()) == 14


def test_random_play_earns_what_the_spec_says() -> None:
    mean = by_plain_rules(HORIZON, lambda outcomes: outcomes.mean(axis=1))
    _, following, _ = search()
    wins = (following == -1).astype(float)
    success = by_plain_rules(HORIZON, lambda outcomes: outcomes.mean(axis=1), wins)
    env = make_batch(NAME).unwrapped
    assert isinstance(env, AliceAndBob)
    assert env.exact_returns["random"] == pytest.approx(mean[-1], abs=1e-9)
    assert env.exact_success["random"] == pytest.approx(success[-1], rel=1e-9)
    assert mean[-1] == pytest.approx(-2.57, abs=0.005)
    assert success[-1] == pytest.approx(0.0010, abs=0.0001)


def test_scripted_agents_play_the_optimum_and_nothing() -> None:
    for agent, score in (("optimum", 100.0), ("pacing", 0.0)):
        team = scripted_agent(agent, f"pkubench/{NAME}")
        assert isinstance(team, Team)
        env = make_batch(NAME, 3)
        observations, _ = env.reset(np.arange(3))
        states = {name: member.begin(np.arange(3)) for name, member in team.members.items()}
        total, active, length = np.zeros(3), np.ones(3, dtype=np.bool_), 0
        while active.any():
            actions = {}
            for name, member in team.members.items():
                actions[name], states[name] = member.act(observations[name], states[name], active)
            step = env.step(actions)
            observations, length = step.observations, length + 1
            total += step.rewards.sum(1)
            active &= ~(step.terminated | step.truncated)
        assert total.tolist() == [score] * 3
        assert length == (14 if score else HORIZON)
    with pytest.raises(AgentError, match="pacing"):
        scripted_agent("pacing", "pkubench/SimpleSpread-v0")


def test_values_say_which_step_loses_the_treasure() -> None:
    known, plan = exact.table(), exact.best_plan()
    states, values = exact.walk(plan), exact.optimal_values(14)
    assert known.is_terminal[states].tolist() == [False] * 14 + [True]
    left = np.arange(14, -1, -1)
    # Along the plan nothing is lost: the value stays 100 until the last step earns it.
    np.testing.assert_array_equal(values[left, states], [100.0] * 14 + [0.0])
    # Bob walks into the wall first: with 14 steps to go that costs the bump alone, and with 12 to
    # go, when the soonest success needs all of them, it costs everything.
    bump = exact.walk(np.array([[plan[0, 0], 0]]))
    assert known.rewards[bump[0], 4 * plan[0, 0]] + values[13, bump[1]] == 99.9
    assert values[12, bump[0]] == 99.9 and values[11, bump[1]] == 0
    # With a discount each step towards the treasure is worth something.
    discounted = by_plain_rules(HORIZON, lambda outcomes: outcomes.max(axis=1), gamma=0.9)
    ours = exact.optimal_values(HORIZON, 0.9)
    np.testing.assert_allclose(ours[:, known.start], discounted, rtol=1e-12)
    np.testing.assert_allclose(ours[40, states[-4:-1]], [81, 90, 100], rtol=1e-12)


def test_an_environment_knows_the_value_of_its_state_and_what_happened() -> None:
    # Both walk into walls until time is up: nothing changes but the steps that are left.
    env = make_batch(NAME)
    env.reset(np.zeros(1, dtype=np.int64))
    plain = by_plain_rules(HORIZON, lambda outcomes: outcomes.max(axis=1), gamma=0.9)
    found = [env.optimal_values()]
    for _ in range(HORIZON):
        env.step({"alice": np.array([1]), "bob": np.array([0])})
        found.append(env.optimal_values())
        assert env.events()["walks into a wall"].tolist() == [[True, True]]
    np.testing.assert_allclose(np.array(found)[:, 0], plain[::-1], rtol=0, atol=1e-9)
    # Along the plan each event is the one of the rules, and of the agent that the rules name.
    names = {2: "opens Alice's door", 3: "opens Bob's door", 7: "takes the treasure"}
    env.reset(np.zeros(1, dtype=np.int64))
    place = opening()
    for alice, bob in exact.best_plan().tolist():
        place, _, _ = plain_step(place, (alice, bob))
        env.step({"alice": np.array([alice]), "bob": np.array([bob])})
        happened = env.events()
        for code, name in names.items():
            assert happened[name].tolist() == [[event == code for event in place.events]]


def test_difference_rewards_compare_with_the_mean_over_an_agents_actions() -> None:
    start = np.array([exact.table().start])
    # Alice in her upper left corner bumps by going left or up, half of her actions; so does Bob, in
    # the upper right one, by going right or up. (right, left) bumps nobody, (up, up) both.
    both = exact.difference_rewards(np.repeat(start, 3), np.array([[0, 1], [2, 2], [0, 2]]))
    wanted = [[0.05, 0.05], [-0.05, -0.05], [0.05, -0.05]]
    np.testing.assert_allclose(both, wanted, atol=1e-12)
    env = make_batch(NAME, 3, difference_rewards=True)
    env.reset(np.arange(3))
    step = env.step({"alice": np.array([0, 2, 0]), "bob": np.array([1, 2, 2])})
    np.testing.assert_allclose(step.info["difference_reward"], wanted, atol=1e-12)
    # The treasure: one step before the plan's end only the agent that takes it makes a difference.
    plan = exact.best_plan()
    state = exact.walk(plan)[-2]
    paid = exact.difference_rewards(state, plan[-1])
    assert np.sort(paid).tolist() == pytest.approx([0.0, 75.025], abs=0.06)


def test_a_finished_episode_stays_finished_and_an_inactive_one_may_be_given_anything() -> None:
    env = make_batch(NAME, 1, delay=None, max_episode_steps=None)
    env.reset(np.zeros(1, dtype=np.int64))
    for alice, bob in exact.best_plan():
        step = env.step({"alice": np.array([alice]), "bob": np.array([bob])})
    assert step.terminated.all() and step.info["success"].all()
    step = env.step({"alice": np.array([10**6]), "bob": np.array([-5])}, np.array([False]))
    step = env.step({"alice": np.array([0]), "bob": np.array([0])})
    _, info = env.reset(np.ones(1, dtype=np.int64))
    assert not info["success"].any()


def test_it_pays_at_the_end_of_an_episode_and_reports_each_step() -> None:
    env = make_batch(NAME, 2)
    env.reset(np.arange(2))
    rewards, dense = [], []
    for count in range(HORIZON):  # the first one follows the plan, the second walks into walls
        alice, bob = exact.best_plan()[count % 14]
        step = env.step({"alice": np.array([alice, 2]), "bob": np.array([bob, 2])})
        rewards.append(step.rewards.sum(1))
        dense.append(step.info["dense_reward"].sum(1))
        if count == 13:
            assert step.terminated.tolist() == [True, False]
            assert rewards[-1].tolist() == [100.0, 0.0]
    assert np.array(rewards)[:13].any() == False  # noqa: E712 - all of them
    np.testing.assert_allclose(np.array(rewards)[-1, 1], -0.2 * HORIZON)
    np.testing.assert_allclose(np.array(dense)[:, 1], -0.2)


def test_its_picture_shows_keys_doors_and_agents() -> None:
    pytest.importorskip("PIL")
    env = make_batch(NAME, 1)
    env.reset(np.zeros(1, dtype=np.int64))
    before = env.render()
    assert before.shape == (432, 432, 3)
    for alice, bob in exact.best_plan()[:4]:
        env.step({"alice": np.array([alice]), "bob": np.array([bob])})
    after = env.render()
    changed = np.argwhere((before != after).any(axis=2)) // 48
    cells = {tuple(cell) for cell in changed.tolist()}
    assert cells <= {(1, 1), (1, 7), (3, 5), (4, 2), (4, 6), *exact_cells(env)}
    assert (1, 7) in cells  # Bob has left


def exact_cells(env: Any) -> set[tuple[int, int]]:
    state = int(env.unwrapped.states[0])
    return {divmod(cell, 9) for cell in exact.table().cells[state].tolist()}
