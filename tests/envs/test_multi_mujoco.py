"""Multi-Agent MuJoCo against Gymnasium-Robotics' ``mamujoco_v1``, number by number.

Tolerances: observations, ends and what makes up the reward have equal bits. The team's reward is
the sum of equal shares, hence the original's up to rounding (1e-12).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

from pkubench.envs.core.registry import make_batch
from pkubench.envs.mujoco.contacts import name_floor_pairs
from pkubench.envs.multi_mujoco.factorization import Graph
from pkubench.envs.multi_mujoco.graphs import WALKER
from pkubench.envs.multi_mujoco.robot import MultiRobot
from pkubench.errors import ConfigError, UnknownName

ROBOTS = {
    "HalfCheetah": ("2x3", "6x1"),
    "Hopper": ("3x1",),
    "Walker2d": ("2x3", "6x1"),
    "Swimmer": ("2x1",),
    "Ant": ("4x2", "2x4", "2x4d"),
    "Humanoid": ("9p8", "17x1"),
}
PAIRS = [(robot, name) for robot, names in ROBOTS.items() for name in names]
every_environment = pytest.mark.parametrize(("robot", "factorization"), PAIRS)
every_robot = pytest.mark.parametrize("robot", ROBOTS)

UNNAMED = {("Walker2d", "6x1"): "2x3", ("Humanoid", "17x1"): "9|8"}
"""Factorizations the original lacks -> the one whose joints are dealt out singly."""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MuJoCo leaves its log in the working folder when it warns."""
    monkeypatch.chdir(tmp_path)


def env(robot: str, factorization: str = "", num_envs: int = 1, **settings: Any) -> MultiRobot:
    name = f"Multi{robot}{factorization or ROBOTS[robot][0]}-v0"
    made = make_batch(name, num_envs, **settings)
    assert isinstance(made, MultiRobot)
    return made


def original(robot: str, factorization: str, agent_obsk: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from gymnasium_robotics import mamujoco_v1
    settings: dict[str, Any] = {"agent_conf": factorization.replace("p", "|")}
    known = UNNAMED.get((robot, factorization))
    if known:
        parts, edges, roots = mamujoco_v1.get_parts_and_edges(robot, known)
        alone = [(joint,) for part in parts for joint in part]
        made = {"partition": alone, "edges": edges, "globals": roots}
        settings = {"agent_conf": known, "agent_factorization": made}
    return mamujoco_v1.parallel_env(robot, agent_obsk=agent_obsk, **settings)


def actions(ours: MultiRobot, steps: int, seed: int = 0) -> list[dict[str, Any]]:
    """Random actions, some of them out of range: one mapping a step, (num_envs, size) an agent."""
    random = np.random.default_rng(seed)
    tape = []
    for _ in range(steps):
        given = {}
        for agent, space in ours.action_spaces.items():
            assert isinstance(space, gymnasium.spaces.Box)
            unit = random.uniform(-1.2, 1.2, (ours.num_envs, *space.shape))
            given[agent] = (unit * space.high).astype(np.float32)
        tape.append(given)
    return tape


def copied(ours: MultiRobot, index: int, theirs: Any) -> dict[str, Any]:
    """Put the original into an environment's physical state; return what its agents see there."""
    theirs.reset(seed=0)
    theirs.single_agent_env.unwrapped.set_state(ours.qpos[index].copy(), ours.qvel[index].copy())
    seen: dict[str, Any] = theirs._get_obs()
    return seen


@pytest.mark.parametrize("agent_obsk", [0, 1, 2])
@every_environment
def test_agents_see_and_earn_what_they_do_in_the_original(
    robot: str, factorization: str, agent_obsk: int
) -> None:
    steps, num_envs = 40, 2
    ours = env(robot, factorization, num_envs, agent_obsk=agent_obsk)
    theirs = original(robot, factorization, agent_obsk)
    assert ours.agents == tuple(theirs.possible_agents)
    for agent in ours.agents:
        assert ours.observation_spaces[agent] == theirs.observation_space(agent)
        assert ours.action_spaces[agent] == theirs.action_space(agent)
    tape = actions(ours, steps)
    for episode in (0, 1):  # the second one runs in environments that have a past
        seen, _ = ours.reset(np.arange(num_envs) + 10 * episode)
        whole = [ours.state()]
        begun = []
        for index in range(num_envs):
            first = copied(ours, index, theirs)
            begun.append((ours.qpos[index].copy(), ours.qvel[index].copy()))
            for agent in ours.agents:
                assert np.array_equal(seen[agent][index], first[agent])
            assert np.array_equal(whole[0][index], theirs.state())
        record = []
        for given in tape:
            record.append(ours.step(given))
            whole.append(ours.state())
        ends = 0
        for index, (qpos, qvel) in enumerate(begun):
            theirs.reset(seed=0)
            theirs.single_agent_env.unwrapped.set_state(qpos, qvel)
            for t, given in enumerate(tape):
                observations, rewards, terminated, _, infos = theirs.step(
                    {agent: values[index] for agent, values in given.items()}
                )
                step = record[t]
                for agent in ours.agents:
                    assert np.array_equal(step.observations[agent][index], observations[agent])
                    assert terminated[agent] == step.terminated[index]
                assert np.array_equal(whole[t + 1][index], theirs.state())
                reward, info = rewards["agent_0"], infos["agent_0"]
                assert step.rewards[index].sum() == pytest.approx(reward, rel=1e-12, abs=1e-12)
                for name, values in step.info.items():
                    if name != "simulation_failed":
                        assert values[index] == info[name], name
                ends += terminated["agent_0"]
        assert robot not in ("Hopper", "Walker2d", "Humanoid") or ends > 0


@every_environment
def test_by_default_agents_see_the_state_and_their_number_on_one_scale(
    robot: str, factorization: str
) -> None:
    ours, raw = (env(robot, factorization, 3, agent_obsk=k) for k in (None, 0))
    seeds = np.array([4, 5, 6])
    seen, _ = ours.reset(seeds)
    raw.reset(seeds)
    for given in actions(ours, 6):
        states = raw.state()
        for index, state in enumerate(states):
            for place, agent in enumerate(ours.agents):
                number = np.zeros(len(ours.agents))
                number[place] = 1.0
                vector = np.concatenate([state, number])
                expected = (vector - np.mean(vector)) / np.std(vector)
                np.testing.assert_allclose(seen[agent][index], expected, rtol=0, atol=1e-12)
            expected = (state - np.mean(state)) / np.std(state)
            np.testing.assert_allclose(ours.state()[index], expected, rtol=0, atol=1e-12)
        seen = ours.step(given).observations
        raw.step(given)


FALLS = {"Hopper": (1, 0.5, 1.4), "Walker2d": (1, 0.5, 2.4), "Ant": (2, 0.1, 1.2)}
FALLS["Humanoid"] = (2, 0.8, 2.3)
"""Robots that can fall -> entry of qpos that is their height, from where it is spread, to where."""


@pytest.mark.parametrize("robot", FALLS)
def test_robots_fall_where_the_original_does_and_earn_nothing_for_being_up(robot: str) -> None:
    entry, low, high = FALLS[robot]
    num_envs = 24
    ours = env(robot, num_envs=num_envs, agent_obsk=0)
    theirs = original(robot, ours.factorization, 0)
    ours.reset(np.arange(num_envs))
    qpos, qvel = ours.qpos.copy(), ours.qvel.copy()
    qpos[:, entry] = np.linspace(low, high, num_envs)
    ours._place(np.arange(num_envs), qpos, qvel)
    step = ours.step({a: np.zeros((num_envs, *s.shape)) for a, s in ours.action_spaces.items()})
    assert 0 < step.terminated.sum() < num_envs
    still = {a: np.zeros(s.shape) for a, s in ours.action_spaces.items()}
    for index in range(num_envs):
        theirs.reset(seed=0)
        theirs.single_agent_env.unwrapped.set_state(qpos[index], qvel[index])
        _, rewards, terminated, _, infos = theirs.step(still)
        assert step.terminated[index] == terminated["agent_0"]
        assert step.rewards[index].sum() == pytest.approx(rewards["agent_0"], rel=1e-12)
        alive = step.info["reward_survive"][index]
        assert alive == infos["agent_0"]["reward_survive"]
        assert (alive == 0.0) == step.terminated[index]


@pytest.mark.parametrize("robot", ["Hopper", "Walker2d"])
def test_fast_robots_are_seen_and_judged_as_in_the_original(robot: str) -> None:
    # Hopper's velocities are clipped wherever they are seen, Walker2d's in the whole state alone;
    # Hopper also falls when one of them reaches 100.
    speeds = np.array([-150.0, -50.0, 5.0, 50.0, 150.0])
    num_envs = len(speeds)
    ours = env(robot, num_envs=num_envs, agent_obsk=1)
    theirs = original(robot, ours.factorization, 1)
    ours.reset(np.arange(num_envs))
    qpos, qvel = ours.qpos.copy(), ours.qvel.copy()
    qpos[:, 1] += 0.4  # in the air, where nothing slows it down
    qvel[:, 0] = speeds
    ours._place(np.arange(num_envs), qpos, qvel)
    step = ours.step({a: np.zeros((num_envs, *s.shape)) for a, s in ours.action_spaces.items()})
    still = {a: np.zeros(s.shape) for a, s in ours.action_spaces.items()}
    state = ours.state()
    for index in range(num_envs):
        theirs.reset(seed=0)
        theirs.single_agent_env.unwrapped.set_state(qpos[index], qvel[index])
        observations, _, terminated, *_ = theirs.step(still)
        assert np.array_equal(state[index], theirs.state())
        assert step.terminated[index] == terminated["agent_0"]
        for agent in ours.agents:
            assert np.array_equal(step.observations[agent][index], observations[agent])
    fell = robot == "Hopper"
    assert step.terminated.tolist() == [fell, False, False, False, fell]


@every_robot
def test_episodes_start_as_the_original_draws_them(robot: str) -> None:
    # v5's own numbers: half-width of the uniform noise, and whether velocities are normal.
    noise, normal = {
        "HalfCheetah": (0.1, True),
        "Hopper": (5e-3, False),
        "Walker2d": (5e-3, False),
        "Swimmer": (0.1, False),
        "Ant": (0.1, True),
        "Humanoid": (1e-2, False),
    }[robot]
    ours = env(robot, num_envs=400)
    ours.reset(np.arange(400))
    offset, speed = ours.qpos - ours.model.qpos0, np.array(ours.qvel)
    for values, gaussian in ((offset, False), (speed, normal)):
        spread = noise if gaussian else noise / np.sqrt(3)
        count = values.size
        assert values.mean() == pytest.approx(0.0, abs=4 * spread / np.sqrt(count))
        assert values.std() == pytest.approx(spread, rel=4 / np.sqrt(count))
        assert (np.abs(values).max() > noise) == gaussian
        # Every number is drawn for itself.
        assert np.abs(np.corrcoef(values.T) - np.eye(values.shape[1])).max() < 5 / np.sqrt(400)


@pytest.mark.parametrize(
    ("robot", "pairs"),
    [("HalfCheetah", 8), ("Walker2d", 7), ("Ant", 13), ("Hopper", 0), ("Humanoid", 0)],
)
def test_only_robots_that_pass_through_themselves_name_their_contacts(
    robot: str, pairs: int
) -> None:
    # Whether the named contacts are the original's is seen in its bits, above.
    assert env(robot).model.npair == pairs


def test_a_model_whose_contacts_are_not_that_simple_stays_as_it_is() -> None:
    passive = '<geom name="{}" size="1" contype="1" conaffinity="0"/>'
    first, second = passive.format("b"), passive.format("c")
    solid = second.replace('conaffinity="0"', 'conaffinity="1"')
    for floor, bodies, wanted in (
        ("", (first,), 1),
        ("", (first, second), 2),
        ("", (first + second,), 2),
        ('gap="0.1" margin="0.2"', (first,), 0),
        ("", (first, solid), 0),
    ):
        moving = "".join(f"<body><freejoint/>{geoms}</body>" for geoms in bodies)
        plane = f'<geom type="plane" size="1 1 1" {floor}/>'
        spec = mujoco.MjSpec.from_string(f"<mujoco><worldbody>{plane}{moving}</worldbody></mujoco>")
        name_floor_pairs(spec)
        model = spec.compile()
        assert model.npair == wanted, (floor, bodies)
        assert model.geom_contype.any() == (wanted == 0)


@pytest.mark.parametrize("robot", ["HalfCheetah", "Ant"])
def test_results_do_not_depend_on_the_number_of_threads(robot: str) -> None:
    one, two = (env(robot, num_envs=6, num_threads=n) for n in (1, 2))
    seen = [ours.reset(np.arange(6))[0] for ours in (one, two)]
    for given in actions(one, 10):
        steps = [ours.step(given) for ours in (one, two)]
        seen = [step.observations for step in steps]
        assert np.array_equal(steps[0].rewards, steps[1].rewards)
        assert all(np.array_equal(seen[0][agent], seen[1][agent]) for agent in one.agents)


@every_robot
def test_a_simulation_that_breaks_down_ends_its_own_episode_only(robot: str) -> None:
    ours, healthy = env(robot, num_envs=2), env(robot, num_envs=2)
    for made in (ours, healthy):
        made.reset(np.arange(2))
    ours.qvel[1] = 1e12
    given = actions(ours, 1)[0]
    step, wanted = ours.step(given), healthy.step(given)
    assert step.info["simulation_failed"].tolist() == [False, True]
    assert step.terminated[1] and not step.rewards[1].any()
    for agent in ours.agents:
        assert np.isfinite(step.observations[agent]).all()
        assert np.array_equal(step.observations[agent][0], wanted.observations[agent][0])
    assert np.array_equal(step.rewards[0], wanted.rewards[0])


def test_neighbourhoods_grow_along_the_edges() -> None:
    assert WALKER.neighbourhoods(("foot_joint",), 4) == [
        ["foot_joint"],
        ["leg_joint"],
        ["thigh_joint"],
        ["thigh_left_joint"],
        ["leg_left_joint"],
    ]
    ring = Graph(
        joints=("a", "b", "c", "d"),
        motors=("a", "b", "c", "d"),
        edges=(("a", "b"), ("b", "c", "d")),
        parts={},
        root_positions=(),
        root_velocities=(),
    )
    assert ring.neighbourhoods(("a",), 3) == [["a"], ["b"], ["c", "d"], []]
    assert ring.neighbourhoods(("d", "a"), 1) == [["a", "d"], ["b", "c"]]


def test_what_a_user_can_do_wrong_is_said() -> None:
    with pytest.raises(UnknownName, match="no factorization '3x2'; known: 2x3, 6x1"):
        make_batch("MultiHalfCheetah2x3-v1", factorization="3x2")
    with pytest.raises(ConfigError, match="agent_obsk must be at least 0 or None, got -1"):
        env("Hopper", agent_obsk=-1)
    with pytest.raises(ConfigError, match="num_threads"):
        env("Hopper", num_threads=0)
