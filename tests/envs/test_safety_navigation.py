"""Navigation environments: layouts, lidar and rules, on numbers from paper."""

from __future__ import annotations

import math

import numpy as np
import pytest

import pkubench
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import evaluation_seeds
from pkubench.envs.safety.button import Button
from pkubench.envs.safety.layouts import LayoutSampler, LegacyRandom, Placement
from pkubench.envs.safety.lidar import pseudo_lidar
from pkubench.envs.safety.navigation import Navigation
from pkubench.errors import PkubenchError, UnknownName

UPRIGHT = np.eye(3)[None]


def env_at(name: str, x: float, y: float, seed: int = 0) -> Navigation:
    """Return a Point's environment with the robot put at (x, y), facing along x."""
    env = make_batch(name, 1)
    assert isinstance(env, Navigation)
    env.reset(np.array([seed]))
    put(env, x, y)
    return env


def put(env: Navigation, x: float, y: float) -> None:
    env._body_pos[0, env._agent, :2] = x, y
    env._body_quat[0, env._agent] = 1, 0, 0, 0
    env.qpos[0, :3] = env.qvel[0, :3] = 0
    env.batch.forward()


def still(env: Navigation) -> pkubench.envs.core.batch.Step:
    return env.step({"agent": np.zeros((1, env.model.nu))})


# Lidar


@pytest.mark.parametrize(
    ("angle", "ring"),
    [
        (0.0, {0: 0.5, 15: 0.5}),  # at the clockwise edge of bin 0
        (math.pi / 16, {0: 0.5, 1: 0.25, 15: 0.25}),  # in its middle
        (math.pi / 32, {0: 0.5, 1: 0.125, 15: 0.375}),
        (math.pi, {8: 0.5, 7: 0.5}),
        (-math.pi / 16, {15: 0.5, 0: 0.25, 14: 0.25}),
    ],
)
def test_a_thing_half_way_reads_a_half_in_its_bin(angle: float, ring: dict[int, float]) -> None:
    things = 1.5 * np.array([[[math.cos(angle), math.sin(angle)]]])
    seen = pseudo_lidar(np.zeros((1, 3)), UPRIGHT, [things], 3.0)
    wanted = np.zeros(16)
    for place, value in ring.items():
        wanted[place] = value
    np.testing.assert_allclose(seen[0], wanted, atol=1e-12)


def test_the_nearer_of_two_things_counts_and_far_ones_are_not_sensed() -> None:
    middle = np.array([math.cos(math.pi / 16), math.sin(math.pi / 16)])
    things = np.stack([0.6 * middle, 2.4 * middle, -3.1 * middle])[None]
    seen = pseudo_lidar(np.zeros((1, 3)), UPRIGHT, [things], 3.0)[0]
    np.testing.assert_allclose(seen[[15, 0, 1]], [0.4, 0.8, 0.4], atol=1e-12)
    assert seen[8] == 0.0
    farther = pseudo_lidar(np.zeros((1, 3)), UPRIGHT, [things], 6.0)[0]
    assert farther[8] == pytest.approx(1 - 3.1 / 6)


def test_lidar_turns_with_the_robot_and_measures_in_its_plane() -> None:
    # Turned by 90 degrees at (1, 0, 0.4): a thing at (1, 2) on the floor is straight ahead, at
    # distance 2; height plays no part for an upright robot.
    turned = np.array([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    place = np.array([[1.0, 0.0, 0.4]])
    seen = pseudo_lidar(place, turned, [np.array([[[1.0 - 1e-9, 2.0]]])], 3.0)[0]
    np.testing.assert_allclose(seen[[15, 0, 1]], [1 / 3, 1 / 3, 0.0], atol=1e-8)
    # Pitched by 90 degrees its plane is upright: the thing is 2 to the side and 0.4 below.
    pitched = np.array([[[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]])
    seen = pseudo_lidar(place, pitched, [np.array([[[1.0, 2.0]]])], 3.0)[0]
    assert seen.max() == pytest.approx(1 - math.hypot(2.0, 0.4) / 3)


# Layouts


def test_things_lie_in_their_areas_and_keep_clear_of_one_another() -> None:
    square = (-1.5, -1.5, 1.5, 1.5)
    clearances = [0.4, 0.305, *[0.18] * 8, 0.15]
    sampler = LayoutSampler([Placement(square, c) for c in clearances])
    for seed in range(20):
        layout = np.array(sampler.sample(np.random.RandomState(seed)))
        assert (np.abs(layout) <= 1.5 - np.array(clearances)[:, None]).all()
        gaps = np.linalg.norm(layout[:, None] - layout, axis=2)
        wanted = np.add.outer(clearances, clearances)
        assert (gaps >= wanted)[~np.eye(len(layout), dtype=bool)].all()


def test_attempts_at_once_are_attempts_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    square = (-1.0, -1.0, 1.0, 1.0)
    sampler = LayoutSampler([Placement(square, 0.3)] * 7)
    found = []
    for one_by_one in (100, 16, 1):
        monkeypatch.setattr("pkubench.envs.safety.layouts._ONE_BY_ONE", one_by_one)
        random = np.random.RandomState(5)
        found.append([*sampler.sample(random), random.random_sample()])
    assert found[0] == found[1] == found[2]


def test_a_layout_that_cannot_be_is_an_error_and_a_goal_without_a_place_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pkubench.envs.safety.layouts._LAYOUTS", 20)
    with pytest.raises(PkubenchError, match="no layout of 2 things"):
        LayoutSampler([Placement.at(0, 0, 0.1)] * 2).sample(np.random.RandomState(0))
    crowded = LayoutSampler([Placement.at(0, 0, 0.1), Placement((-0.2, -0.2, 0.2, 0.2), 0.15)])
    assert crowded.replace(np.random.RandomState(0), 1, [(0.0, 0.0), (9.0, 9.0)]) is None


def test_a_step_spends_one_number_of_the_stream() -> None:
    random = LegacyRandom(2)
    random.seed(0, 3)
    random.skipped += np.array([5, 0])
    assert random.at(0).random_sample() == np.random.RandomState(3).random_sample(6)[5]
    assert random.at(0).random_sample() == np.random.RandomState(3).random_sample(7)[6]


def test_any_seed_that_the_harness_hands_out_starts_an_episode_of_its_own() -> None:
    seeds = [*evaluation_seeds(0, 3).tolist(), 2**32 - 1, 2**32, 2**62, 5, 2**32 + 5]
    env = make_batch("PointGoal1-v0", len(seeds))
    env.reset(np.array(seeds))
    assert len({tuple(row) for row in env.places[:, 0].tolist()}) == len(seeds)


# Rules, with the robot put by hand


def test_a_hazard_costs_from_its_rim_inward() -> None:
    for away, cost in ((0.19, 1.0), (0.21, 0.0)):
        env = env_at("PointGoal1-v0", 0.0, 0.0)
        env.places[0, env._spots["hazards"]] = 3.0
        env.places[0, env._spots["hazards"].start + 3] = away, 0.0
        step = still(env)
        assert step.info["cost"][0] == step.info["cost_hazards"][0] == cost
        assert step.info["cost_sum"][0] == cost


def test_the_goal_pays_the_way_and_one_more_then_moves() -> None:
    env = env_at("PointGoal0-v0", 0.0, 0.0)
    env.places[0, 1] = 0.29, 0.0
    env._distance[:] = 0.5
    step = still(env)
    assert step.rewards[0, 0] == pytest.approx(0.5 - 0.29 + 1.0, abs=1e-9)
    assert step.info["goal_met"][0]
    # The new one keeps 0.4 + 0.305 m from the robot, and its distance is remembered.
    assert math.dist(env.places[0, 1], (0, 0)) >= 0.705
    assert env._distance[0] == pytest.approx(math.dist(env.places[0, 1], (0, 0)), abs=1e-9)
    assert not still(env).info["goal_met"][0]


def test_an_episode_ends_where_no_goal_can_be_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    env = make_batch("PointGoal0-v0", 2)
    assert isinstance(env, Navigation)
    env.reset(np.array([1, 2]))
    env.places[1, 1] = env._robot_xy()[1]
    monkeypatch.setattr(env, "_renew", lambda index, random: False)
    step = env.step({"agent": np.zeros((2, 2))})
    assert step.info["goal_met"].tolist() == step.terminated.tolist() == [False, True]


def test_rewards_are_kept_within_ten() -> None:
    env = env_at("PointGoal0-v0", 0.0, 0.0)
    for before, reward in ((50.0, 10.0), (-50.0, -10.0)):
        env._distance[:] = before
        assert still(env).rewards[0, 0] == reward


def test_touching_or_moving_a_vase_costs_in_level_2_only() -> None:
    env = env_at("PointGoal2-v0", 0.0, 0.0)
    at = env._qpos_at["vases"][0]
    env.qpos[0, at : at + 2] = 0.199, 0.0  # the arrow reaches to 0.15, the vase from 0.099
    env.places[0, env._spots["hazards"]] = 3.0
    info = still(env).info
    assert (info["cost_vases_contact"][0], info["cost_vases_velocity"][0]) == (1.0, 1.0)
    assert info["cost"][0] == 1.0
    env = env_at("PointGoal2-v0", 3.0, 3.0)
    env.places[0, env._spots["hazards"]] = -3.0
    assert still(env).info["cost"][0] == 0.0  # vases at rest sink slower than 0.1 mm/s
    start = env.model.body_dofadr[env._bodies["vases"][4]]
    env.qvel[0, start] = 0.5
    info = still(env).info
    assert (info["cost_vases_contact"][0], info["cost_vases_velocity"][0]) == (0.0, 1.0)
    assert not any("vases" in key for key in still(make_level("PointGoal1-v0")).info)


def make_level(name: str) -> Navigation:
    env = make_batch(name, 1)
    assert isinstance(env, Navigation)
    env.reset(np.array([0]))
    return env


def test_the_wanted_button_pays_and_then_buttons_rest_for_ten_steps() -> None:
    env = env_at("PointButton1-v0", 0.0, 0.0)
    assert isinstance(env, Button)
    assert env.timers[0] == 0  # as in release 1.0.0
    env.places[0, env._spots["hazards"]] = 3.0
    wanted = int(env.targets[0])
    other = (wanted + 1) % 4
    bodies = env._bodies["buttons"]
    env._body_pos[0, bodies, :2] = [[-3, -3], [-3, 3], [3, -3], [2, 3]]
    env._body_pos[0, bodies[other], :2] = 0.18, 0.0
    env._body_pos[0, bodies[wanted], :2] = -0.19, 0.0
    env.places[0, env._spots["buttons"]] = env._body_pos[0, bodies, :2]
    env.batch.forward()
    step = still(env)
    assert step.info["cost_buttons"][0] == 1.0 and step.info["goal_met"][0]
    assert step.rewards[0, 0] > 0.9
    ring = slice(12, 28)
    assert (step.observations["agent"][0, ring] == 0).all()
    seen, charged = [], []
    for _ in range(11):
        put(env, 0.0, 1.0)  # away from all buttons
        step = still(env)
        seen.append(bool(step.observations["agent"][0, ring].any()))
    assert seen == [False] * 9 + [True] * 2
    env.timers[0] = 1
    for _ in range(2):
        put(env, 0.0, 0.0)
        env.targets[0] = 3 if wanted != 3 else 0  # none of those that are touched
        if env.targets[0] == other:
            env.targets[0] = 1
        charged.append(still(env).info["cost_buttons"][0])
    assert charged == [0.0, 1.0]


def test_gremlins_circle_around_where_they_start() -> None:
    env = make_level("PointButton1-v0")
    start = env.places[0, env._spots["gremlins"]].copy()
    for _ in range(100):
        still(env)
    # Pulled to (0.35 sin t, 0.35 cos t) from where they started, at 2 s, a little behind.
    now = env._xpos[0, env._bodies["gremlins"]]
    offset = now[:, :2] - start
    np.testing.assert_allclose(np.linalg.norm(offset, axis=1), 0.35, atol=0.02)
    phase = np.arctan2(offset[:, 0], offset[:, 1])
    np.testing.assert_allclose(phase, 2.0, atol=0.1)
    np.testing.assert_allclose(now[:, 2], 0.2, atol=0.02)


def test_a_box_pays_on_the_way_to_it_and_to_its_goal() -> None:
    env = env_at("PointPush1-v0", 0.0, 0.0)
    at = env._qpos_at["push_box"][0]
    env.qpos[0, at : at + 2] = 1.0, 0.0
    env.qvel[:] = 0.0
    env.places[0, env._spots["goal"].start] = 1.0, 0.5
    env.batch.forward()
    box = env._xpos[0, env._bodies["push_box"][0]]
    to_box = math.dist(box, env._xpos[0, env._agent])
    to_goal = math.dist(box, (1.0, 0.5, 0.16))  # the goal's centre is at 0.3 / 2 + 0.01
    env._to_box[:], env._to_goal[:] = to_box + 0.3, to_goal + 0.2
    step = still(env)
    assert step.rewards[0, 0] == pytest.approx(0.5, abs=1e-4)
    assert not step.info["goal_met"][0]
    env.places[0, env._spots["goal"].start] = 1.0, 0.25
    assert still(env).info["goal_met"][0]


def test_a_pillar_costs_on_touch_in_level_2() -> None:
    env = env_at("PointPush2-v0", 3.0, 3.0)
    assert still(env).info["cost_pillars"][0] == 0.0
    env._body_pos[0, env._bodies["pillars"][1], :2] = 3.0, 3.25
    assert still(env).info["cost_pillars"][0] == 1.0


@pytest.mark.parametrize(
    ("level", "x", "y", "cost"),
    [(1, 1.12, 0.0, 0.0), (1, -1.13, 0.0, 1.0), (1, 0.1, 1.2, 0.0), (2, 0.1, 1.2, 1.0)],
)
def test_walls_of_the_circle(level: int, x: float, y: float, cost: float) -> None:
    env = env_at(f"PointCircle{level}-v0", x, y)
    assert still(env).info["cost_out_of_boundary"][0] == cost


def test_the_circle_pays_speed_round_it() -> None:
    env = env_at("PointCircle0-v0", 1.5, 0.0)
    env.yaws[0, 0] = 0.0
    env.qvel[0, :2] = 0.0, 1.0  # along y at x = 1.5: straight round the rim
    reward = env._reward()
    assert reward[0] == pytest.approx(0.1)
    env.qvel[0, :2] = 1.0, 0.0
    assert env._reward()[0] == pytest.approx(0.0)
    put(env, 0.0, 2.0)
    env.qvel[0, :2] = 1.0, 0.0  # the wrong way round, half a metre off
    assert env._reward()[0] == pytest.approx(-0.1 / 1.5)


def test_a_run_pays_60_a_metre_along_the_track_without_clipping() -> None:
    env = env_at("PointRun0-v0", 0.0, 10.0)
    env._potential[:] = env._progress()
    put(env, 0.0, 9.0)
    assert env._reward()[0] == pytest.approx(60.0, abs=1e-6)
    put(env, 0.51, 9.0)
    assert still(env).info["cost_out_of_boundary"][0] == 1.0


def test_an_ant_that_lies_down_ends_its_episode() -> None:
    env = make_batch("AntGoal0-v0", 2)
    assert isinstance(env, Navigation)
    env.reset(np.array([1, 2]))
    env.qpos[1, 2:7] = 0.0625, 0, 1, 0, 0  # on its back
    step = env.step({"agent": np.zeros((2, 8))})
    assert step.terminated.tolist() == [False, True]


@pytest.mark.parametrize(("height", "ends"), [(0.0801, False), (0.0799, True)])
def test_an_ant_has_fallen_at_a_height_of_8_cm(height: float, ends: bool) -> None:
    env = make_level("AntGoal0-v0")
    env._advance = lambda *_: env.batch.forward()  # type: ignore[method-assign]
    env.qpos[0, 2] = height
    assert env.step({"agent": np.zeros((1, 8))}).terminated[0] == ends


def test_a_simulation_that_breaks_down_ends_with_cost_and_nothing_else() -> None:
    env = make_level("PointGoal1-v0")
    env.places[0, env._spots["goal"]] = env._robot_xy()[0]  # it would be on its goal
    env.places[0, env._spots["hazards"]] = env._robot_xy()[0]  # and on a hazard
    env.qvel[0, 0] = 1e12
    step = still(env)
    assert step.terminated[0] and step.info["simulation_failed"][0]
    assert (step.rewards[0, 0], step.info["cost"][0]) == (-10.0, 1.0)
    assert not step.info["goal_met"][0] and step.info["cost_hazards"][0] == 0.0


def test_an_unknown_robot_or_level_is_refused_by_name() -> None:
    with pytest.raises(UnknownName, match=r"robot 'Cra'.*did you mean 'Car'"):
        make_batch("PointGoal1-v0", 1, robot="Cra")
    with pytest.raises(UnknownName, match="level"):
        make_batch("PointRun0-v0", 1, level=1)
    with pytest.raises(UnknownName, match="CarGoal2-v0"):
        make_batch("CarGoal7-v0")


def test_the_bare_floor_has_no_dark_specks() -> None:
    """The corner of this picture is floor; a shadow map cut too near put black dots on it."""
    env = make_batch("CarGoal1-v0", 1)
    env.reset(np.array([1]))
    try:
        corner = env.render(0)[420:, 600:].astype(int).sum(axis=2)
    except PkubenchError as error:
        pytest.skip(f"no OpenGL on this machine: {error}")
    assert corner.min() > 0.9 * np.median(corner)
