"""Simulations in batches: models, failures of the solver, and pictures."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
from mujoco.batch import SimulationError

from pkubench.envs.mujoco import camera as mujoco_camera
from pkubench.envs.mujoco.batch import gymnasium_model
from pkubench.envs.safety.locomotion import Locomotion
from pkubench.envs.safety.velocity import (
    AntVelocity,
    HalfCheetahVelocity,
    HopperVelocity,
)
from pkubench.errors import ConfigError, PkubenchError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MuJoCo leaves its log in the working folder when it warns."""
    monkeypatch.chdir(tmp_path)


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


def zeros(ours: Locomotion) -> dict[str, Any]:
    return {"agent": np.zeros((ours.num_envs, ours.model.nu), dtype=np.float32)}


def test_an_error_that_mujoco_raises_ends_the_episode_instead_of_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = HalfCheetahVelocity(3)
    ours.reset(np.arange(3))

    def explode(ids: Any, nstep: int) -> None:
        raise SimulationError(np.array([1]), "stack overflow", 3)

    with monkeypatch.context() as patched:
        patched.setattr(ours.batch, "step", explode)
        step = ours.step(zeros(ours))
    assert step.terminated.tolist() == [False, True, False]
    assert step.info["simulation_failed"].tolist() == [False, True, False]
    ours.reset(np.array([4]), np.array([1]))
    assert not ours.step(zeros(ours)).terminated.any()


def test_models_are_those_of_gymnasium_to_the_bit_and_load_silently(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ours = gymnasium_model("half_cheetah.xml")
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())
    theirs = original("HalfCheetah").model
    fields = [name for name in dir(theirs) if isinstance(getattr(theirs, name), np.ndarray)]
    assert len(fields) > 300
    assert all(np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in fields)


def test_no_clock_is_read_in_the_physics() -> None:
    ours = HalfCheetahVelocity()
    data = mujoco.MjData(ours.model)
    mujoco.mj_step(ours.model, data)
    assert data.timer[mujoco.mjtTimer.mjTIMER_STEP].duration == 0.0


@pytest.fixture
def opengl() -> Iterator[None]:
    try:
        mujoco_camera.OffscreenCamera(gymnasium_model("hopper.xml"), "track", 8, 8).close()
    except PkubenchError as error:
        pytest.skip(str(error))
    yield


@pytest.mark.usefixtures("opengl")
def test_a_picture_shows_the_environment_and_leaves_the_simulation_alone() -> None:
    ours, unseen = AntVelocity(2), AntVelocity(2)
    tape = actions(ours, 6)
    for made in (ours, unseen):
        made.reset(np.arange(2))
    first = ours.render(1)
    assert first.shape == (480, 480, 3) and first.dtype == np.uint8
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 100
    # Sky above and floor below, not the other way round: the horizon is bright and plain.
    assert first[:80].std(axis=(0, 1)).max() < first[-80:].std(axis=(0, 1)).max()
    for t in range(6):
        one, two = (made.step({"agent": tape[t]}) for made in (ours, unseen))
        assert np.array_equal(one.observations["agent"], two.observations["agent"])
        assert np.array_equal(one.rewards, two.rewards)
        ours.render(0)
    later = ours.render(1)
    assert not np.array_equal(first, later)
    assert np.array_equal(later, ours.render(1))
    assert not np.array_equal(later, ours.render(0))
    ours.close()
    ours.close()
    assert np.array_equal(ours.render(1), later)  # a closed environment can open its camera again
    ours.close()


@pytest.mark.parametrize(
    ("settings", "tried"),
    [
        ({}, ("egl", "osmesa")),
        ({"DISPLAY": ":0"}, ("egl", "glfw", "osmesa")),
        ({"WAYLAND_DISPLAY": "wayland-0"}, ("egl", "glfw", "osmesa")),
        ({"MUJOCO_GL": "OSMesa"}, ("osmesa",)),
        ({"MUJOCO_GL": "off"}, ("egl", "osmesa")),
    ],
)
def test_the_backend_fits_the_machine_unless_the_user_chose(
    settings: dict[str, str], tried: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert mujoco_camera._candidates() == tried


def test_without_opengl_the_error_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)

    def missing(name: str) -> Any:
        raise ImportError(f"no library for {name}")

    monkeypatch.setattr(importlib, "import_module", missing)
    monkeypatch.setattr(mujoco_camera, "_forget_opengl", lambda backend: None)
    ours = HopperVelocity()
    ours.reset(np.array([0]))
    with pytest.raises(PkubenchError, match=r"libegl1 .*libosmesa6") as caught:
        ours.render()
    assert "\n" not in str(caught.value)
    assert "MUJOCO_GL" not in mujoco_camera.os.environ
    ours.close()


def test_a_camera_that_is_not_there_is_an_error_the_user_can_read() -> None:
    with pytest.raises(ConfigError, match="'nose'"):
        mujoco_camera.OffscreenCamera(gymnasium_model("hopper.xml"), "nose", 8, 8)
