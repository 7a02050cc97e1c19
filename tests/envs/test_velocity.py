"""The Velocity environments against Gymnasium's own v4 environments, and what batches must keep."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

from pkubench.envs.core.registry import make_batch
from pkubench.envs.safety.locomotion import Locomotion
from pkubench.envs.safety.speed_limits import SpeedLimit
from pkubench.envs.safety.velocity import (
    AntVelocity,
    HopperVelocity,
    HumanoidVelocity,
    SwimmerVelocity,
    Walker2dVelocity,
)
from pkubench.errors import ConfigError, UnknownName

ROBOTS = ("HalfCheetah", "Hopper", "Walker2d", "Swimmer", "Ant", "Humanoid")

# Safety-Gymnasium's table: speed limits in m/s of its -v1 and -v0 environments, and the sets in
# which the speed is that in the plane instead of the one along x.
LIMITS = {
    "HalfCheetah": (3.2096, 2.8795, ""),
    "Hopper": (0.7402, 0.37315, ""),
    "Walker2d": (2.3415, 1.7075, ""),
    "Swimmer": (0.2282, 0.04845, "v0"),
    "Ant": (2.6222, 2.5745, "v0 v1"),
    "Humanoid": (1.4149, 2.3475, "v0 v1"),
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MuJoCo leaves its log in the working folder when it warns."""
    monkeypatch.chdir(tmp_path)


def env(robot: str, num_envs: int = 1, **settings: Any) -> Locomotion:
    made = make_batch(f"{robot}Velocity-v0", num_envs, **settings)
    assert isinstance(made, Locomotion)
    return made


def original(robot: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # v4 is out of date, says Gymnasium
        return gymnasium.make(f"{robot}-v4").unwrapped


def actions(env: Locomotion, steps: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Random actions, some of them out of range: (steps, num_envs, action size)."""
    space = env.action_spaces["agent"]
    assert isinstance(space, gymnasium.spaces.Box)
    unit = np.random.default_rng(seed).uniform(-1.2, 1.2, (steps, env.num_envs, *space.shape))
    return (unit * space.high).astype(np.float32)


@pytest.mark.parametrize("robot", ROBOTS)
def test_every_bit_equals_gymnasium_v4_over_a_free_run(robot: str) -> None:
    ours, theirs = env(robot, 3), original(robot)
    steps = 150
    seeds = np.array([3, 2**31 + 5, 2**32 - 1])
    tape = actions(ours, steps)
    for episode in (0, 1):  # the second one runs in environments that have a past
        first, _ = ours.reset(seeds - episode)
        record = [ours.step({"agent": tape[t]}) for t in range(steps)]
        for env_index, seed in enumerate(seeds - episode):
            observation, _ = theirs.reset(seed=int(seed))
            assert np.array_equal(observation, first["agent"][env_index])
            for t in range(steps):
                observation, reward, terminated, _, info = theirs.step(tape[t, env_index])
                got = record[t]
                assert np.array_equal(observation, got.observations["agent"][env_index])
                assert reward == got.rewards[env_index, 0]
                assert terminated == got.terminated[env_index]
                for name in ("x_position", "x_velocity", "y_position", "y_velocity", "reward_ctrl"):
                    assert name not in info or info[name] == got.info[name][env_index], name
                alive = info.get("reward_survive", info.get("reward_alive"))
                assert alive is None or alive == got.info["reward_survive"][env_index]


@pytest.mark.parametrize("robot", ROBOTS)
def test_spaces_and_clock_are_those_of_gymnasium_v4(robot: str) -> None:
    ours, theirs = env(robot), original(robot)
    assert ours.observation_spaces["agent"] == theirs.observation_space
    assert ours.action_spaces["agent"] == theirs.action_space
    assert ours.max_episode_steps == 1000
    assert ours.dt == theirs.dt
    assert ours.metadata["render_fps"] == theirs.metadata["render_fps"]
    ours.reset(np.array([1]))
    observation = ours._observe()["agent"]
    assert observation.dtype == np.float64


@pytest.mark.parametrize("version", ["v1", "v0"])
@pytest.mark.parametrize("robot", ROBOTS)
def test_cost_is_one_above_the_published_speed_and_zero_below(robot: str, version: str) -> None:
    limit = LIMITS[robot][("v1", "v0").index(version)]
    planar = version in LIMITS[robot][2]
    num_envs = 41
    ours = env(robot, num_envs, thresholds=version)
    ours.reset(np.arange(num_envs))
    x = np.linspace(-1.5, 1.5, num_envs) * limit
    ours.qvel[:, 0] = x
    if planar or robot == "Swimmer":
        ours.qvel[:, 1] = 0.8 * limit
    step = ours.step(zeros(ours))
    speed = step.info["x_velocity"]
    if planar:
        speed = np.hypot(speed, step.info["y_velocity"])
    expected = [1.0 if v > limit else 0.0 for v in speed]
    assert step.info["cost"].dtype == np.float64
    assert step.info["cost"].tolist() == expected
    assert step.info["cost_velocity"].tolist() == expected
    assert 0 < sum(expected) < num_envs
    if planar:  # going backwards too fast costs as well, but not where only x counts
        assert step.info["cost"][0] == 1.0
    else:
        assert step.info["cost"][0] == 0.0


def test_a_cheetah_at_exactly_the_limit_pays_nothing() -> None:
    ours = env("HalfCheetah")
    ours.reset(np.array([0]))
    speed = float(ours.step(zeros(ours)).info["x_velocity"][0])
    for limit, cost in ((speed, 0.0), (np.nextafter(speed, -np.inf), 1.0)):
        ours.reset(np.array([0]))
        ours.speed_limit = SpeedLimit(limit)
        assert ours.step(zeros(ours)).info["cost"][0] == cost


def test_thresholds_are_the_published_table() -> None:
    for robot, (v1, v0, planar) in LIMITS.items():
        for thresholds, limit in (("v1", v1), ("v0", v0)):
            wanted = SpeedLimit(limit, is_planar=thresholds in planar.split())
            assert env(robot, thresholds=thresholds).speed_limit == wanted


def test_an_unknown_set_of_thresholds_is_named_with_its_nearest() -> None:
    with pytest.raises(UnknownName, match=r"'v2'.*v"):
        HopperVelocity(thresholds="v2")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="num_threads"):
        HopperVelocity(num_threads=0)


def zeros(ours: Locomotion) -> dict[str, Any]:
    return {"agent": np.zeros((ours.num_envs, ours.model.nu), dtype=np.float32)}


def spread(ours: Locomotion, **columns: tuple[float, float]) -> tuple[Any, Any, Any]:
    """Start with entries of qpos (``p2``) or qvel (``v3``) spread over the batch, and step once.

    Returns who ended, and the positions and velocities at that moment.
    """
    ours.reset(np.arange(ours.num_envs))
    random = np.random.default_rng(0)
    for name, (low, high) in columns.items():
        values = random.permutation(np.linspace(low, high, ours.num_envs))
        (ours.qpos if name[0] == "p" else ours.qvel)[:, int(name[1:])] = values
    terminated = ours.step(zeros(ours)).terminated
    assert 0 < terminated.sum() < ours.num_envs
    return terminated.tolist(), ours.qpos.copy(), ours.qvel.copy()


def test_hopper_ends_when_low_or_tilted() -> None:
    ended, qpos, _ = spread(HopperVelocity(60), p1=(0.5, 1.4), p2=(-0.4, 0.4))
    assert ended == [not (z > 0.7 and -0.2 < a < 0.2) for z, a in qpos[:, 1:3]]


def test_hopper_ends_when_any_other_state_reaches_a_hundred() -> None:
    ended, qpos, qvel = spread(HopperVelocity(60), p1=(5.0, 5.0), v0=(-150.0, 150.0))
    assert np.abs(qpos[:, 2]).max() < 0.2  # in the air and upright: only the speed counts
    assert ended == [not -100 < v < 100 for v in qvel[:, 0]]


def test_walker_ends_when_low_high_or_tilted() -> None:
    ended, qpos, _ = spread(Walker2dVelocity(80), p1=(0.5, 2.4), p2=(-1.5, 1.5))
    assert ended == [not (0.8 < z < 2.0 and -1.0 < a < 1.0) for z, a in qpos[:, 1:3]]


def test_ant_ends_when_its_torso_is_below_20_cm_or_above_one_metre() -> None:
    ended, qpos, _ = spread(AntVelocity(60), p2=(0.3, 1.6), v2=(-40.0, 0.0))
    assert ended == [not 0.2 <= z <= 1.0 for z in qpos[:, 2]]
    assert qpos[:, 2].min() < 0.2 and qpos[:, 2].max() > 1.0


def test_humanoid_ends_when_its_torso_is_below_one_metre_or_above_two() -> None:
    ended, qpos, _ = spread(HumanoidVelocity(40), p2=(0.6, 2.4))
    assert ended == [not 1.0 < z < 2.0 for z in qpos[:, 2]]
    assert qpos[:, 2].min() < 1.0 and qpos[:, 2].max() > 2.0


@pytest.mark.parametrize("robot", ROBOTS)
def test_an_episode_is_the_same_at_any_index_in_any_batch_with_any_number_of_threads(
    robot: str,
) -> None:
    many, threaded = env(robot, 64), env(robot, 64, num_threads=2)
    alone = env(robot)
    tape = actions(many, 20)
    seeds = np.arange(100, 164)
    seeds[37] = 7
    assert threaded.batch.nthread == 2
    observations = [ours.reset(seeds)[0]["agent"] for ours in (many, threaded)]
    single = alone.reset(np.array([7]))[0]["agent"]
    assert np.array_equal(observations[0], observations[1])
    assert np.array_equal(observations[0][37], single[0])
    for t in range(20):
        one, two = (ours.step({"agent": tape[t]}) for ours in (many, threaded))
        lone = alone.step({"agent": tape[t, 37:38]})
        assert np.array_equal(one.observations["agent"], two.observations["agent"])
        assert np.array_equal(one.observations["agent"][37], lone.observations["agent"][0])
        assert np.array_equal(one.rewards, two.rewards)
        assert one.rewards[37, 0] == lone.rewards[0, 0]
        for name, values in one.info.items():
            assert np.array_equal(values, two.info[name]), name
            assert values[37] == lone.info[name][0], name


@pytest.mark.parametrize("robot", ["Hopper", "Humanoid"])
def test_resetting_some_environments_leaves_the_others_alone(robot: str) -> None:
    ours, undisturbed = env(robot, 4), env(robot, 4)
    tape = actions(ours, 12)
    for made in (ours, undisturbed):
        made.reset(np.arange(4))
        for t in range(6):
            made.step({"agent": tape[t]})
    observation, _ = ours.reset(np.array([50, 51]), np.array([3, 1]))
    fresh = env(robot, 2)
    assert np.array_equal(observation["agent"][[3, 1]], fresh.reset(np.array([50, 51]))[0]["agent"])
    assert ours.elapsed.tolist() == [6, 0, 6, 0]
    for t in range(6, 12):
        mixed = ours.step({"agent": tape[t]}).observations["agent"]
        old = undisturbed.step({"agent": tape[t]}).observations["agent"]
        new = fresh.step({"agent": tape[t, [3, 1]]}).observations["agent"]
        assert np.array_equal(mixed[[0, 2]], old[[0, 2]])
        assert np.array_equal(mixed[[3, 1]], new)


@pytest.mark.parametrize("robot", ["HalfCheetah", "Humanoid"])
def test_environments_that_are_not_active_are_not_simulated(robot: str) -> None:
    ours, full = env(robot, 3), env(robot, 3)
    before, _ = ours.reset(np.arange(3))
    full.reset(np.arange(3))
    tape = actions(ours, 2)
    got = ours.step({"agent": tape[0]}, np.array([True, False, True]))
    wanted = full.step({"agent": tape[0]})
    assert np.array_equal(got.observations["agent"][1], before["agent"][1])
    for env_index in (0, 2):
        assert np.array_equal(
            got.observations["agent"][env_index], wanted.observations["agent"][env_index]
        )
        assert got.rewards[env_index] == wanted.rewards[env_index]
    none_active = ours.step({"agent": tape[1]}, np.zeros(3, dtype=np.bool_))
    assert np.array_equal(none_active.observations["agent"], got.observations["agent"])


@pytest.mark.parametrize("robot", ["Hopper", "Ant", "Humanoid"])
def test_arrays_handed_out_are_never_written_to_again(robot: str) -> None:
    ours = env(robot, 2)
    first, _ = ours.reset(np.arange(2))
    step = ours.step({"agent": actions(ours, 1)[0]})
    arrays = [first["agent"], step.observations["agent"], step.rewards, step.terminated]
    arrays += step.info.values()
    copies = [array.copy() for array in arrays]
    for env_index, speed in ((0, 1e9), (1, 1.0)):
        ours.qvel[env_index] = speed
    ours.step({"agent": actions(ours, 2)[1]})
    ours.reset(np.array([9]), np.array([0]))
    assert all(np.array_equal(a, c) for a, c in zip(arrays, copies, strict=True))


@pytest.mark.parametrize("robot", ROBOTS)
def test_a_simulation_that_breaks_down_ends_its_own_episode_only(
    robot: str,
) -> None:
    ours, healthy = env(robot, 3), env(robot, 3)
    for made in (ours, healthy):
        made.reset(np.arange(3))
    tape = actions(ours, 3)
    ours.qvel[1] = 1e12
    ours.qpos[1, 0] = -1e3  # from where MuJoCo puts it back to 0, which is not a motion
    tape[0, 2] = np.nan  # as an agent that skips check_actions might give
    step, wanted = ours.step({"agent": tape[0]}), healthy.step({"agent": actions(ours, 3)[0]})
    assert step.info["simulation_failed"].tolist() == [False, True, True]
    assert step.terminated[1:].all() and step.terminated[0] == wanted.terminated[0]
    assert step.rewards[1:, 0].tolist() == [0.0, 0.0]
    for name in ("cost", "x_velocity", "reward_forward"):
        assert step.info[name][1:].tolist() == [0.0, 0.0], name
    assert np.isfinite(step.observations["agent"]).all()
    assert np.array_equal(step.observations["agent"][0], wanted.observations["agent"][0])
    assert step.rewards[0] == wanted.rewards[0]
    for made in (ours, healthy):
        made.reset(np.array([8, 9]), np.array([1, 2]))
    step, wanted = (made.step({"agent": tape[1]}) for made in (ours, healthy))
    assert not step.info["simulation_failed"].any()
    assert np.array_equal(step.observations["agent"], wanted.observations["agent"])
    assert np.array_equal(step.rewards, wanted.rewards)


def test_swimmer_and_ant_measure_speed_where_v4_does() -> None:
    ours = SwimmerVelocity(1)
    ours.reset(np.array([0]))
    before = ours.qpos[0, :2].copy()
    step = ours.step(zeros(ours))
    assert step.info["x_velocity"][0] == (ours.qpos[0, 0] - before[0]) / ours.dt
    ant = AntVelocity(1)
    ant.reset(np.array([0]))
    data = mujoco.MjData(ant.model)
    data.qpos[:], data.qvel[:] = ant.qpos[0], ant.qvel[0]
    mujoco.mj_forward(ant.model, data)
    start = data.body("torso").xpos.copy()
    mujoco.mj_step(ant.model, data, nstep=5)
    step = ant.step(zeros(ant))
    velocity = (data.body("torso").xpos - start) / ant.dt
    assert step.info["x_velocity"][0] == velocity[0]
    assert step.info["y_velocity"][0] == velocity[1]
