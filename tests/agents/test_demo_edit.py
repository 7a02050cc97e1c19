"""Edits of a demonstration: what they do to a script, what they are chosen from, and training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

import pkubench
from pkubench.agents.families.demo_edit.acting import Demonstration, EditAgent
from pkubench.agents.families.demo_edit.edits import edited
from pkubench.agents.families.demo_edit.episodes import EditEpisodes, script_steps
from pkubench.agents.families.demo_edit.shapes import GRID, distances_at, shape_of
from pkubench.agents.saved.files import load_saved
from pkubench.envs.core.batch import SOLE_AGENT, FloatArray
from pkubench.envs.grasp.environments import GraspSphere, load_split
from pkubench.envs.grasp.geometry_codes import UNIT_M, basis_point_code
from pkubench.envs.grasp.observations import CODE_SCALE, Layout
from pkubench.envs.grasp.open_loop import ScriptAgent
from pkubench.errors import ConfigError, WeightsError
from pkubench.tasks.registry import make_task
from pkubench.training.session import train

SPAN = np.full(18, 2.0)
"""With it one radian is 1 in units of actions."""
LAYOUT = Layout.of(joints=22, fingertips=5, actuators=18)
SCRIPT: FloatArray = np.array(
    [
        *(-0.004, 0.005, 0.039, -0.04, 0.08, 0.04),
        *(-0.17, -0.22, 0.21, -0.12, -0.09, 0.31, 0.14, -0.13, 0.47),
        *(-0.6, -0.21, 0.01, 0.33, -0.19, 0.42, 0.2, -0.01, 0.48),
    ]
)
"""Holds the ball; what a search found."""
NO_YAW = np.zeros(1)


def one_edit(shift: Any = 0.0, turn: Any = 0.0, joints: Any = 0.0) -> FloatArray:
    edit = np.zeros((1, 24))
    edit[0, :3], edit[0, 3:6], edit[0, 6:] = shift, turn, joints
    return edit


def test_an_edit_of_zeros_is_the_script_to_the_bit() -> None:
    found = edited(SCRIPT, np.zeros((3, 24)), np.zeros(3), SPAN)
    assert (found == SCRIPT).all()


def test_numbers_of_an_edit_shift_turn_and_bend() -> None:
    shifted = edited(SCRIPT, one_edit(shift=(1.0, -1.0, 0.5)), NO_YAW, SPAN)[0]
    assert shifted[:3] - SCRIPT[:3] == pytest.approx([0.05, -0.05, 0.025])
    assert (shifted[3:] == SCRIPT[3:]).all()
    bent = edited(SCRIPT, one_edit(joints=np.r_[0.1, np.full(17, 2.0)]), NO_YAW, SPAN)[0]
    assert bent[6] == pytest.approx(SCRIPT[6] + 0.1)
    assert (bent[7:] == 1.0).all()  # clipped to the limits
    # A quarter turn about z: what was ahead of the object is then on its left.
    flat = np.concatenate(([0.1, 0.0, 0.0], np.zeros(21)))
    turned = edited(flat, one_edit(turn=(0.0, 0.0, np.pi / 2 / 1.57)), NO_YAW, SPAN)[0]
    assert turned[:3] == pytest.approx([0.0, 0.1, 0.0], abs=1e-12)
    assert turned[3:6] == pytest.approx([0.0, 0.0, np.pi / 2])


def test_a_turn_of_an_edit_follows_the_wrists_own_and_goes_about_the_objects_axes() -> None:
    edits = np.random.default_rng(0).uniform(-1.0, 1.0, (5, 24))
    yaw = np.linspace(-0.7, 0.7, 5)
    found = edited(SCRIPT, edits, yaw, SPAN)
    for k in range(5):
        c, s = np.cos(yaw[k]), np.sin(yaw[k])
        axes = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        x, y, z = 1.57 * edits[k, 3:6]
        turn = axes @ _about(2, z) @ _about(1, y) @ _about(0, x)
        assert found[k, :3] == pytest.approx(
            turn @ SCRIPT[:3] + 0.05 * axes @ edits[k, :3], abs=1e-9
        )
        wrist = turn @ Rotation.from_rotvec(SCRIPT[3:6]).as_matrix()
        assert Rotation.from_rotvec(found[k, 3:6]).as_matrix() == pytest.approx(wrist, abs=1e-9)


def _about(axis: int, angle: float) -> FloatArray:
    """A rotation about x, y or z, written out."""
    a, b = [k for k in range(3) if k != axis]
    matrix = np.eye(3)
    sign = -1.0 if axis == 1 else 1.0
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -sign * np.sin(angle), sign * np.sin(angle)
    return matrix


def test_the_edit_of_zeros_replays_the_demonstration_exactly() -> None:
    env = GraspSphere(num_envs=2)
    env.reset(np.array([5, 5]))
    script, played = ScriptAgent(SCRIPT), []
    policy = EditAgent(None, Demonstration(SCRIPT, SPAN, 40))
    assert shape_of(env.state_observation(), LAYOUT).yaw.tolist() == [0.0, 0.0]
    for agent in (script, policy):
        observations, info = env.reset(np.array([5, 5]))
        state: Any = agent.begin(np.array([5, 5]))
        track = []
        for _ in range(script_steps(40)):
            action, state = agent.act(observations[SOLE_AGENT], state, np.ones(2, np.bool_))
            observations, _, _, _, info = env.step({SOLE_AGENT: action})
            track.append(observations[SOLE_AGENT].copy())
        played.append((np.array(track), bool(info["success_hold"].all())))
    assert (played[0][0] == played[1][0]).all()
    assert played[0][1]


def test_an_episode_of_an_edit_is_the_script_that_it_makes() -> None:
    env = EditEpisodes(GraspSphere(num_envs=3), SCRIPT, 40)
    env.reset(np.array([5, 6, 7]))
    edits = np.zeros((3, 24), np.float32)
    edits[1, 2] = 1.0  # the hand closes 5 cm higher, on air
    step = env.step({SOLE_AGENT: edits})
    assert step.rewards[:, 0].tolist() == [1.0, 0.0, 1.0]
    assert step.info["success_hold"].tolist() == [True, False, True]
    assert step.terminated.all()
    # What was not lifted 30 steps after closing is given up.
    assert env.simulated == 2 * script_steps(40) + 40 + 30 + 20
    assert not env._info()["success"].any()


def test_interpolated_distances_explain_those_of_turned_objects() -> None:
    items = [*load_split("seen_category", True), *load_split("unseen_category", True)]
    turns = Rotation.random(len(items), random_state=0).as_matrix()
    codes = UNIT_M * np.array([basis_point_code(item) for item in items])
    found = distances_at(codes, np.einsum("pj,njk->npk", GRID, turns))
    true = np.array(
        [
            cKDTree(item.surface(1024) @ turn.T).query(GRID)[0]
            for item, turn in zip(items, turns, strict=True)
        ]
    )
    unexplained = ((found - true) ** 2).mean() / ((true - true.mean(axis=0)) ** 2).mean()
    assert unexplained < 0.13


def observed(code: FloatArray, yaw: FloatArray) -> FloatArray:
    """First observations of one object, turned about the vertical."""
    seen = np.zeros((len(yaw), LAYOUT.size))
    seen[:, LAYOUT.code] = CODE_SCALE * code
    seen[:, LAYOUT.object_position] = 0.0, 0.0, 0.65
    seen[:, LAYOUT.object_quaternion] = np.stack(
        (0 * yaw, 0 * yaw, np.sin(yaw / 2), np.cos(yaw / 2)), axis=1
    )
    return seen


def test_axes_follow_the_longer_side_and_shapes_do_not_depend_on_its_yaw() -> None:
    bar = next(item for item in load_split("train", True) if item.family == "dumbbell")
    yaw = np.array([0.1, 0.3, 0.1 + np.pi / 2, -0.2])
    shape = shape_of(observed(basis_point_code(bar), yaw), LAYOUT)
    quarter = np.pi / 2
    moved = (shape.yaw - shape.yaw[0] - (yaw - yaw[0]) + quarter / 2) % quarter - quarter / 2
    assert moved == pytest.approx(np.zeros(4), abs=0.06)
    assert abs(shape.yaw).max() <= np.pi / 4 + 1e-9
    same = [k for k in range(4) if abs(yaw[k] - shape.yaw[k] - yaw[0] + shape.yaw[0]) < 0.1]
    assert len(same) > 1
    change = shape.numbers[same] - shape.numbers[0]
    apart = shape_of(observed(np.full(64, 1.0), yaw), LAYOUT).numbers - shape.numbers[0]
    assert (change**2).mean() < 0.1 * (apart**2).mean()


QUICK = {
    "num_envs": "8",
    "demo_envs": "16",
    "demo_rounds": "3",
    "demo_share": "0.1",
    "reach_steps": "40",
    "updates": "2",
}
SPHERE = make_task("GraspSphere-v0")


@pytest.mark.parametrize("agent", ["demograsp", "demograsp-paper"])
def test_training_resumes_to_the_same_bytes_and_acts(agent: str, tmp_path: Path) -> None:
    changes = {name: of for name, of in QUICK.items() if agent == "demograsp" or name != "updates"}
    if agent != "demograsp":
        changes |= {"hidden": "[16]", "minibatches": "2"}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    steps = 12_000
    reports = list(train(agent, SPHERE, seed=2, out=whole, steps=steps, settings=changes))
    assert len(reports) > 1
    running = train(agent, SPHERE, seed=2, out=parts, steps=steps, settings=changes)
    next(running)
    running.close()
    list(train(agent, SPHERE, seed=2, out=parts, steps=steps, settings=changes, resume=True))
    first, second = load_saved(whole), load_saved(parts)
    assert first.config["weights_sha256"] == second.config["weights_sha256"]
    report = pkubench.evaluate(str(whole), "GraspSphere-v0", episodes=4, out=tmp_path / "records")
    assert report.metrics["success"].n == 4


def test_damaged_agents_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "run"
    list(train("demograsp", SPHERE, seed=2, out=out, steps=1, settings=QUICK))
    config = json.loads((out / "config.json").read_text())
    for name, value in (("head", "none"), ("reach_steps", 500), ("spec", {})):
        (out / "config.json").write_text(json.dumps({**config, name: value}))
        with pytest.raises(WeightsError):
            pkubench.load_agent(str(out))


def test_wrong_settings_are_one_line(tmp_path: Path) -> None:
    for changes, words in (
        ({"reach_steps": "90"}, "reach_steps must lie in 20..85"),
        ({"shown": "7"}, "shown must be below 1"),
        ({"focus": "1"}, "focus must be greater than 1"),
        ({"objects": "0"}, "objects must be at least 1"),
    ):
        with pytest.raises(ConfigError, match=words):
            list(train("demograsp", SPHERE, seed=0, out=tmp_path / "x", steps=1, settings=changes))
    seen = replace(SPHERE, env_kwargs={"observation": "cloud"})
    with pytest.raises(ConfigError, match="observes the state"):
        list(train("demograsp", seen, seed=0, out=tmp_path / "y", steps=1, settings=QUICK))
