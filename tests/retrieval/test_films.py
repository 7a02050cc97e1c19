"""What was looked up, drawn as cards and filmed beside the agent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from pkubench.agents.contract import Illustrator, Outcome
from pkubench.cli.filming import Reel, filmed_episode, side_by_side
from pkubench.envs.minigrid import cells
from pkubench.envs.minigrid.drawing import tile
from pkubench.envs.minigrid.grid_world import GridWorld
from pkubench.retrieval.picture import CARD, cards, view_picture
from pkubench.tasks.registry import make_task
from pkubench.tasks.scoring import Episodes
from tests.retrieval.hand_made import image

WHITE = np.array([255, 255, 255])


def halved(code: int, direction: int | None, is_seen: bool) -> np.ndarray:
    """A tile of MiniGrid at half the size."""
    fine = tile(code, direction, is_seen).reshape(16, 2, 16, 2, 3).astype(float)
    return np.rint(fine.mean((1, 3))).astype(np.uint8)


def test_a_view_is_drawn_with_the_agent_at_the_bottom_looking_up() -> None:
    seen = np.zeros((7, 7, 3), np.uint8)
    seen[3, 6] = (1, 0, 0)
    seen[0, 5] = (5, 4, 0)  # a yellow key: first column, last row but one
    picture = view_picture(seen)
    assert picture.shape == (112, 112, 3) and picture.dtype == np.uint8
    wanted = {(6, 3): (cells.EMPTY, 3, True), (5, 0): (cells.KEY, None, True)}
    for row, column in np.ndindex(7, 7):
        own = picture[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        of = wanted.get((row, column), (cells.UNSEEN, None, False))
        np.testing.assert_array_equal(own, halved(*of))


def test_a_view_of_the_environment_shows_what_is_in_front() -> None:
    env = GridWorld(1, -1, ("DoorKey-5x5-v0",), False)
    seen, info = env.reset(np.array([3]))
    picture, scene = view_picture(seen["agent"][0]), env._engine.scene(0)
    step = ((1, 0), (0, 1), (-1, 0), (0, -1))[info["direction"][0]]
    front = int(scene.grid[scene.y + step[1], scene.x + step[0]])
    np.testing.assert_array_equal(picture[80:96, 48:64], halved(front, None, True))


def test_cards_stand_in_a_grid_with_value_and_task_below_each_view() -> None:
    images, values = np.stack([image(k) for k in range(3)]), np.array([0.91, 0.5, 0.0])
    drawn = cards(images, values, ["a", "b", "c"], places=5)
    assert drawn.shape == (3 * CARD[0], 2 * CARD[1], 3)
    for k, (row, column) in enumerate(((0, 0), (0, 1), (1, 0))):
        top, left = row * CARD[0] + 8, column * CARD[1] + 8
        np.testing.assert_array_equal(
            drawn[top : top + 112, left : left + 112], view_picture(images[k])
        )
        for line in range(2):  # the value, and the task
            text = drawn[top + 112 + 18 * line : top + 130 + 18 * line, left : left + 112]
            assert (text < 100).all(-1).any()
    assert (drawn[CARD[0] :, CARD[1] :] == WHITE).all()  # the place of the fourth
    assert (drawn[2 * CARD[0] :] == WHITE).all()
    other = cards(images, values, ["a", "b", "c"], np.array([0.9, 0.1, 0.0]), places=5)
    assert (other != drawn).any() and other.shape == drawn.shape
    assert cards(images, values, ["a", "b", "c"]).shape == (2 * CARD[0], 2 * CARD[1], 3)


def test_pictures_beside_each_other_keep_their_pixels() -> None:
    low, high = np.full((4, 3, 3), 7, np.uint8), np.full((6, 2, 3), 9, np.uint8)
    both = side_by_side(low, high)
    assert both.shape == (6, 5, 3)
    assert (both[:4, :3] == 7).all() and (both[4:, :3] == 255).all() and (both[:, 3:] == 9).all()
    assert (side_by_side(high, low)[4:, 2:] == 255).all()


class Film:
    """Frames in a list, every k-th step."""

    def __init__(self, every: int = 1) -> None:
        self.every, self.frames = every, cast(list[np.ndarray], [])

    def add(self, picture: np.ndarray) -> None:
        self.frames.append(picture)

    def hold(self) -> None:
        pass


class Plain:
    """Turns left, and counts what it was told."""

    def begin(self, seeds: Any) -> Any:
        return 0

    def act(self, observation: Any, state: Any, active: Any) -> Any:
        return np.zeros(len(active), np.int64), state + 1

    def observe(self, outcome: Outcome, state: Any) -> Any:
        return state + 100


class Shows(Plain):
    """Shows its observation, and in the corner its state."""

    def beside(self, observation: Any, state: Any) -> np.ndarray:
        picture = view_picture(observation[0, ..., :3])
        picture[0, 0] = state % 256
        return picture


def filmed(agent: Any, horizon: int = 5, every: int = 1) -> tuple[list[np.ndarray], Any]:
    task = make_task("minigrid:DoorKey-5x5-v0")
    task = replace(task, protocol=replace(task.protocol, horizon=horizon))
    film, [planned] = Film(every), Episodes().plan(task, 0, 1)
    record = filmed_episode(agent, task, planned, cast(Reel, film), lambda step: None)
    return film.frames, SimpleNamespace(record=record, seed=planned.seed)


def test_what_an_agent_shows_stands_beside_the_state_it_acted_in() -> None:
    frames, played = filmed(Shows())
    assert played.record.length == 5 and played.record.failure is None and len(frames) == 6
    env = GridWorld(1, 5, ("DoorKey-5x5-v0",), False)
    seen, _ = env.reset(np.array([played.seed]))
    for step in range(6):
        frame, shown = env.render(0), min(step, 4)
        assert frames[step].shape == (160, 160 + 112, 3)
        np.testing.assert_array_equal(frames[step][:, :160], frame)
        own = frames[step][:112, 160:]
        assert own[0, 0, 0] == (1 + 101 * shown) % 256  # rewards still reach the agent
        if step < 5:
            np.testing.assert_array_equal(own[1:], view_picture(seen["agent"][0])[1:])
            seen = env.step({"agent": np.zeros(1, np.int64)}).observations
        else:  # it does not act at the end
            np.testing.assert_array_equal(own, frames[4][:112, 160:])


def test_films_of_other_agents_are_as_before() -> None:
    frames, played = filmed(Plain())
    env = GridWorld(1, 5, ("DoorKey-5x5-v0",), False)
    env.reset(np.array([played.seed]))
    for frame in frames:
        np.testing.assert_array_equal(frame, env.render(0))
        env.step({"agent": np.zeros(1, np.int64)})
    assert len(frames) == 6 and not isinstance(Plain(), Illustrator)


def test_steps_are_left_out_of_fast_films() -> None:
    for agent in (Plain(), Shows()):
        frames, _ = filmed(agent, every=2)
        assert len(frames) == 4  # steps 0, 2, 4, and the end
    assert [frame[0, 160, 0] for frame in frames] == [1, 203, 149, 149]


def test_an_agent_whose_picture_is_wrong_fails_the_episode_by_name() -> None:
    class Wrong(Plain):
        def beside(self, observation: Any, state: Any) -> np.ndarray:
            return np.zeros((4, 4))

    _, played = filmed(Wrong())
    assert "beside gave (4, 4) float64, wanted (h, w, 3) uint8" in played.record.failure


def test_such_a_film_is_written(tmp_path: Path) -> None:
    imageio = pytest.importorskip("imageio.v2")
    task, path = make_task("minigrid:DoorKey-5x5-v0"), tmp_path / "film.gif"
    [planned] = Episodes().plan(task, 0, 1)
    film = Reel(path, 10.0)
    short = replace(task, protocol=replace(task.protocol, horizon=3))
    filmed_episode(Shows(), short, planned, film, lambda step: None)
    film.finish()
    assert imageio.mimread(path)[0].shape[:2] == (160, 272)
