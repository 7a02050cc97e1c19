"""The recordings hold what is known of the original from elsewhere, and what their README says."""

from __future__ import annotations

import numpy as np
import pytest

from tests.envs.safety_traces import TASKS, Trace, generator, joints, models

PUBLISHED = {
    # Measured by other hands on release 1.0.0, seed 0: places, yaw, goal, sum of the observation.
    "PointGoal1": (
        {
            "agent": (0.107390, 0.473417),
            "hazard0": (0.770154, 0.076283),
            "hazard1": (0.179638, 1.123575),
            "goal": (1.108154, -0.278575),
        },
        1.662252,
        (0.407825, -0.692186),
        19.431285,
    ),
    "PointPush1": (
        {
            "agent": (0.107390, 0.473417),
            "hazard0": (-0.943721, -0.908316),
            "pillar0": (1.148684, 0.717981),
        },
        1.662252,
        (0.434789, -0.967504),
        15.243246,
    ),
    "PointButton1": (
        {
            "agent": (0.667329, 0.021828),
            "button0": (-0.351968, 0.303168),
            "goal": (-1.093857, -1.092106),
        },
        3.550226,
        None,
        22.840548,
    ),
    "PointCircle1": ({"agent": (0.078102, 0.344303)}, 6.054872, None, 11.318459),
}


def test_every_agent_and_task_is_recorded() -> None:
    tasks = [f"{t}{i}" for t in ("Goal", "Button", "Push", "Circle") for i in range(3)] + ["Run0"]
    wanted = {a + t for a in ("Point", "Car", "Doggo", "Ant") for t in tasks}
    assert set(TASKS) == wanted
    assert set(models()) == wanted


@pytest.mark.parametrize("task", PUBLISHED)
def test_seed_0_is_the_layout_known_from_elsewhere(task: str) -> None:
    places, yaw, goal, total = PUBLISHED[task]
    first = Trace(task).reset(0)
    assert (first.seed, first.episode) == (0, 0)
    for name, xy in places.items():
        np.testing.assert_allclose(first.layout[name], xy, atol=6e-7)
    assert first.yaw["agent"] == pytest.approx(yaw, abs=6e-7)
    if goal:
        np.testing.assert_allclose(first.goal[:2], goal, atol=6e-7)
    assert first.obs.sum() == pytest.approx(total, abs=1e-6)
    np.testing.assert_allclose(first.obs[:9], [0, 0, 9.81, 0, 0, 0, 0, 0, 0], atol=1e-9)


@pytest.mark.parametrize("task", TASKS)
def test_the_generator_at_a_recorded_point_draws_what_the_original_drew(task: str) -> None:
    trace = Trace(task)
    for row in range(trace.num_resets):
        found = trace.reset(row)
        stream = generator(found.seed, found.draws_before)
        drawn = stream.random_sample((found.draws - found.draws_before) // 2)
        # The yaw of the agent is 2 pi times a double of this very stretch of the stream.
        assert np.abs(2 * np.pi * drawn - found.yaw["agent"]).min() == 0


@pytest.mark.parametrize("task", TASKS)
def test_a_step_takes_one_double_and_ten_sub_steps(task: str) -> None:
    trace = Trace(task)
    timestep = models()[task]["opt_timestep"]
    for step in trace.steps():
        drawn = step.after.draws - step.before.draws
        assert drawn == 2 or (step.goal_met and drawn > 2)
        assert step.after.time - step.before.time == pytest.approx(10 * timestep, abs=1e-9)
        assert step.cost == step.costs["cost_sum"]


@pytest.mark.parametrize("task", TASKS)
def test_two_episodes_are_recorded_from_their_first_step(task: str) -> None:
    openings = Trace(task).openings()
    assert len([rows for rows in openings if len(rows) >= 10]) >= 2


@pytest.mark.parametrize("task", TASKS)
def test_every_joint_has_its_place_in_the_state(task: str) -> None:
    places = joints(task)
    state = Trace(task).state(0)
    assert sum(q.stop - q.start for q, _ in places.values()) == len(state.qpos)
    assert sum(v.stop - v.start for _, v in places.values()) == len(state.qvel)
