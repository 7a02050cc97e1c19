"""Films of episodes: a camera around an environment."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from pkubench.agents.contract import (
    Agent,
    BoolArray,
    Entrant,
    Illustrator,
    IntArray,
    Observer,
)
from pkubench.envs.core.batch import Array, BatchEnv, Info, Step
from pkubench.envs.core.registry import env_class, resolve, traits
from pkubench.errors import ConfigError, MissingExtra, StorageError
from pkubench.evaluation.figures.strip import CreditStrip
from pkubench.evaluation.run.episodes import run_block
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.scoring import Episode
from pkubench.tasks.task import Task

FORMATS = (".mp4", ".gif")
MAX_FPS = {".mp4": 30, ".gif": 20}
"""Frames per second: drawing robots is slow, and viewers slow down gifs that are faster."""
HOLD_S = 1.0
"""How long the last frame of an episode is shown."""

Picture = npt.NDArray[np.uint8]


class Reel:
    """A film being written; appears under its name only when it is finished."""

    def __init__(self, path: Path, env_fps: float, speed: float = 1.0) -> None:
        """Open ``path``, an ``.mp4`` or ``.gif``.

        Args:
            path: The file.
            env_fps: Steps of the environment per second of simulated time.
            speed: Factor by which playback is faster than simulated time. Frames are left out, so
                it also draws faster.

        Raises:
            MissingExtra: imageio is not installed.
            StorageError: the file cannot be written.
        """
        try:
            from imageio import v2 as imageio
        except ModuleNotFoundError as error:
            raise MissingExtra("plots", "writing a film") from error
        self.path = path
        self._partial = path.with_name(f".partial-{path.name}")
        self.every = max(1, math.ceil(env_fps * speed / MAX_FPS[path.suffix]))
        self.fps = env_fps * speed / self.every
        self._last: Picture | None = None
        self._pictures = 0
        settings: dict[str, Any] = {"fps": self.fps, "macro_block_size": 2, "quality": 8}
        if path.suffix == ".gif":
            settings = {"duration": 1000.0 / self.fps, "loop": 0}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._partial.touch()  # where this fails, imageio prints a traceback of its own
            # A gif is made in memory: imageio would try a full disk again, loudly, at every exit.
            self._gif = io.BytesIO() if path.suffix == ".gif" else None
            where = {} if self._gif is None else {"format": "GIF"}
            self._writer = imageio.get_writer(self._gif or self._partial, **where, **settings)
        except ModuleNotFoundError as error:
            raise MissingExtra("plots", "writing a film") from error
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror or error}") from error

    def add(self, picture: Picture) -> None:
        """Add the next frame, (height, width, 3) uint8."""
        self._last = picture
        try:
            self._writer.append_data(picture)
            self._pictures += 1
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror or error}") from error

    def hold(self) -> None:
        """Show the last frame for a moment."""
        if self._last is not None:
            for _ in range(max(1, round(HOLD_S * self.fps))):
                self.add(self._last)

    def finish(self) -> None:
        """Close the film and give it its name.

        Raises:
            StorageError: it could not be written whole, as on a full disk.
        """
        try:
            self._writer.close()
            if self._gif is not None:
                self._partial.write_bytes(self._gif.getvalue())
            if not self._is_whole():
                raise StorageError(
                    f"cannot write {self.path}: the film broke off; is the disk full?"
                )
            self._partial.replace(self.path)
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror or error}") from error
        finally:
            self._partial.unlink(missing_ok=True)

    def _is_whole(self) -> bool:
        """Count the frames of a video: the encoder reports a full disk on stderr only."""
        if self.path.suffix != ".mp4":
            return True
        from imageio_ffmpeg import count_frames_and_secs

        try:
            return int(count_frames_and_secs(str(self._partial))[0]) >= self._pictures
        except RuntimeError:
            return False

    def drop(self) -> None:
        """Remove what was written."""
        try:
            self._writer.close()
        except OSError:  # such as the full disk that is being reported already
            pass
        finally:
            self._partial.unlink(missing_ok=True)


@contextmanager
def reel(path: Path, env_fps: float, speed: float = 1.0) -> Iterator[Reel]:
    """Write a film; nothing is left of it if something goes wrong or is stopped."""
    film = Reel(path, env_fps, speed)
    try:
        yield film
    except BaseException:
        film.drop()
        raise
    film.finish()


class Camera:
    """Wraps a batch of one environment and films it; all other attributes are the environment's."""

    def __init__(
        self,
        env: BatchEnv,
        film: Reel,
        on_step: Callable[[int], None],
        strip: CreditStrip | None = None,
        beside: Callable[[], Picture] | None = None,
    ) -> None:
        """Film ``env``.

        Args:
            env: a batch of one environment.
            film: where frames go.
            on_step: called with the number of each step.
            strip: of the episode's credit, drawn below the frames.
            beside: returns what the agent shows of the step that it has just chosen.
        """
        self._env, self._film, self._on_step = env, film, on_step
        self._strip, self._beside = strip, beside
        self._steps = 0

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the environment."""
        return getattr(self._env, name)

    def reset(
        self,
        seeds: IntArray,
        ids: IntArray | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[dict[str, Array], Info]:
        """Reset the environment and film its start."""
        start = self._env.reset(seeds, ids, options)
        self._steps = 0
        if self._beside is None:
            self._shoot()
        return start

    def _shoot(self) -> None:
        frame = self._env.render(0)
        if self._beside is not None:
            frame = side_by_side(frame, self._beside())
        self._film.add(frame if self._strip is None else self._strip.under(frame, self._steps))

    def step(self, actions: Mapping[str, Array], active: BoolArray | None = None) -> Step:
        """Step the environment; film every k-th step, and the last one.

        An agent with pictures of its own is filmed when it has acted and before the step, so that
        they are of the state in the frame; the last state, in which it does not act, has the last.
        """
        if self._beside is not None and self._steps % self._film.every == 0:
            self._shoot()
        step = self._env.step(actions, active)
        self._steps += 1
        is_over = bool(step.terminated[0] | step.truncated[0])
        is_next = self._steps % self._film.every == 0 and self._beside is None
        if is_next or is_over:
            self._shoot()
        self._on_step(self._steps)
        return step


class _Illustrated:
    """Passes calls on to an agent, and keeps the picture of its last step."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._picture: Picture = np.zeros((1, 1, 3), dtype=np.uint8)
        if isinstance(agent, Observer):
            self.observe = agent.observe

    def begin(self, seeds: IntArray) -> Any:
        """Start episodes."""
        return self._agent.begin(seeds)

    def act(self, observation: Any, state: Any, active: BoolArray) -> tuple[Any, Any]:
        """Let the agent act and draw; what goes wrong with either fails the episode."""
        actions, state = self._agent.act(observation, state, active)
        picture = np.asarray(cast(Illustrator, self._agent).beside(observation, state))
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ValueError(f"beside gave {picture.shape} {picture.dtype}, wanted (h, w, 3) uint8")
        self._picture = picture
        return actions, state

    def picture(self) -> Picture:
        """Return the picture of the last step."""
        return self._picture


def side_by_side(frame: Picture, other: Picture) -> Picture:
    """Return two pictures beside each other; below the lower one it is white."""
    height = max(len(frame), len(other))
    both = [
        np.pad(of, ((0, height - len(of)), (0, 0), (0, 0)), constant_values=255)
        for of in (frame, other)
    ]
    return np.concatenate(both, axis=1)


def filmed_episode(
    entrant: Entrant,
    task: Task,
    episode: Episode,
    film: Reel,
    on_step: Callable[[int], None],
    strip: CreditStrip | None = None,
) -> EpisodeRecord:
    """Play one episode in front of the camera and return its record.

    Args:
        entrant: who acts; an ``Illustrator`` has its own pictures beside the frames.
        task: what is played.
        episode: which episode.
        film: where frames go.
        on_step: called with the number of each step.
        strip: of the episode's credit, drawn below its frames.
    """
    play = task.scoring.stage(entrant, task)
    actor, beside = play.entrant, None
    if isinstance(actor, Illustrator) and isinstance(actor, Agent):
        actor = _Illustrated(actor)
        beside = actor.picture
    try:
        camera = cast(BatchEnv, Camera(play.env, film, on_step, strip, beside))
        [record] = run_block(camera, actor, play.task, [episode])
    finally:
        play.env.close()
    film.hold()
    return record


def frames_per_second(task: Task) -> float:
    """Return how many steps of a task's environment make a second of simulated time.

    Raises:
        ConfigError: there is nothing to film in it.
        MissingExtra: what it needs is not installed.
    """
    if traits(task.id, **task.env_kwargs).is_text:
        raise ConfigError(f"{task.id} is a conversation: there is nothing to film")
    return float(env_class(resolve(task.id)).metadata["render_fps"])
