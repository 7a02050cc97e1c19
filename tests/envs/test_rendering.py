"""Pictures of physics from other threads, in forked processes and without a screen."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest

from pkubench.envs.core.registry import make_batch
from pkubench.envs.mujoco import camera as mujoco_camera
from pkubench.envs.mujoco.batch import MujocoBatch
from pkubench.errors import ConfigError, PkubenchError


@pytest.fixture
def env() -> Any:
    env = make_batch("HopperVelocity-v0", 1)
    assert isinstance(env, MujocoBatch)
    env.frame_size = (48, 48)  # type: ignore[misc]
    env.reset(np.arange(1))
    try:
        env.render()
    except PkubenchError as error:
        pytest.skip(f"no OpenGL on this machine: {error}")
    yield env
    env.close()


def in_thread(call: Callable[[], Any]) -> Any:
    """Return what ``call`` returns, or raises, in a thread of its own."""
    given: list[Any] = []

    def run() -> None:
        try:
            given.append(call())
        except BaseException as error:
            given.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return given[0]


def test_every_thread_draws_the_same_picture(env: MujocoBatch) -> None:
    picture = env.render()
    for other in (in_thread(env.render), env.render()):
        assert isinstance(other, np.ndarray), other
        np.testing.assert_array_equal(other, picture)
    assert in_thread(env.close) is None
    np.testing.assert_array_equal(in_thread(env.render), picture)  # opened in a thread that ends
    np.testing.assert_array_equal(env.render(), picture)


@pytest.mark.slow
def test_threads_that_draw_at_once_do_not_disturb_each_other(env: MujocoBatch) -> None:
    other = make_batch("SwimmerVelocity-v0", 1)
    other.reset(np.arange(1))
    wanted = env.render(), other.render()

    def draw(own: Any, picture: Any) -> bool:
        return all(np.array_equal(own.render(), picture) for _ in range(2))

    given: list[bool] = []
    threads = [
        threading.Thread(target=lambda pair=pair: given.append(draw(*pair)))
        for pair in zip((env, other), wanted, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert given == [True, True]


def test_a_forked_process_is_refused_and_ends(env: MujocoBatch) -> None:
    code = """
import os, sys, numpy as np
from pkubench.envs.core.registry import make_batch
from pkubench.errors import PkubenchError
old = make_batch("HopperVelocity-v0", 1)
old.reset(np.arange(1))
old.render()
child = os.fork()
if child == 0:
    for env in (old, make_batch("HopperVelocity-v0", 1)):
        env.reset(np.arange(1))
        try:
            env.render()
        except PkubenchError as error:
            print(error, flush=True)
        env.close()
    del old, env
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
old.render()
old.close()
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.count('start workers by "spawn"') == 2
    assert ran.stderr == ""


def test_a_display_that_another_library_closed_is_a_sentence(env: MujocoBatch) -> None:
    class Lost:
        def as_current(self) -> Any:
            raise OSError("EGLError(\n  err = EGL_NOT_INITIALIZED\n)")

    env._camera._opengl = env._camera._opengl._replace(context=Lost())
    with pytest.raises(PkubenchError, match=r"is lost.*\(EGLError\( err = EGL_NOT_INIT"):
        env.render()
    before = len(mujoco_camera._left_alone)
    mujoco_camera._free(env._camera._opengl)
    assert len(mujoco_camera._left_alone) == before + 1


@pytest.mark.parametrize("display", ["", ":77"])
def test_a_window_without_a_screen_is_refused_when_it_is_asked_for(
    display: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("other systems have a screen")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(ConfigError, match='use render_mode="rgb_array"'):
        gymnasium.make("pkubench/SimpleSpread-v0", render_mode="human")


def test_a_window_shows_what_is_drawn() -> None:
    assert os.environ["SDL_VIDEODRIVER"] == "dummy"
    env = gymnasium.make("pkubench/SimpleSpread-v0", render_mode="human")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    assert env.render_mode == "human"
    assert env.get_wrapper_attr("window").get_size() == (480, 480)
    env.close()
