"""An environment in words as an OpenEnv server, for trainers of language models that speak it.

``make_app("SVOSlider-v0")`` is a FastAPI application; serve it with uvicorn. Episodes are played
over its WebSocket (``/ws``), where each session has its own environment; plain HTTP ``/step`` makes
a fresh environment for every call, so it cannot play an episode. Needs the extra ``openenv``.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from openenv.core.env_server.http_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, EnvironmentMetadata, Observation, State

from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.envs.core.registry import make_batch, resolve
from pkubench.envs.core.seeding import check_seed, next_seeds
from pkubench.envs.core.text_view import TextView, prompting
from pkubench.errors import ConfigError, UnknownName


class TextAction(Action):  # type: ignore[misc]  # untyped where the extra is not installed
    """A reply."""

    text: str


class TextObservation(Observation):  # type: ignore[misc]
    """A conversation, whose last message is to be replied to."""

    messages: list[dict[str, str]]
    """``role`` and ``content`` of each."""
    answers: list[str]
    """The allowed answers of the last question; empty where any text will do, and at the end."""


class TextEnvironment(Environment):  # type: ignore[misc]
    """One agent's environment in words.

    A step is a reply, so that an episode has more of them than the environment has: replies before
    the first question, and those that are no answers, earn 0. OpenEnv knows only ``done``: whether
    it ``terminated`` or was ``truncated`` is in the metadata, with the infos.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(
        self, name: str, how: dict[str, str] | None = None, start: int = 0, /, **kwargs: Any
    ) -> None:
        """Make the environment ``name``.

        Args:
            name: As ``make_batch`` takes it.
            how: How the agent is prompted (``Prompting``).
            start: Seed before that of the first episode, if none is given to ``reset``.
            kwargs: Settings of the environment.

        Raises:
            ConfigError: it cannot be asked in words, or has several agents; or no such seed.
        """
        super().__init__()
        check_seed(start)
        inner = make_batch(name, 1, **kwargs)
        if inner.agents != (SOLE_AGENT,):
            raise ConfigError(f"OpenEnv serves one agent, and {name} has {inner.num_agents}")
        self.view = TextView(inner, [SOLE_AGENT], prompting(how or {}))
        self.name, self._seed = resolve(name).id, np.array([start], dtype=np.int64)
        self._state = State(episode_id=None, step_count=0)
        self._is_over = True

    def reset(
        self, seed: int | None = None, episode_id: str | None = None, **kwargs: Any
    ) -> TextObservation:
        """Start episode ``seed``, or the one that follows the last; ``options`` are the episode's.

        Raises:
            ConfigError, UnknownName: a seed or an option that there is not, or another argument.
        """
        if unknown := kwargs.keys() - {"options"}:
            raise UnknownName("argument of reset", min(unknown), ("seed", "episode_id", "options"))
        if seed is None:
            self._seed = next_seeds(self._seed)
        else:
            check_seed(seed)
            self._seed = np.array([seed], dtype=np.int64)
        shown, info = self.view.reset(self._seed, None, kwargs.get("options"))
        self._state = State(episode_id=episode_id or str(int(self._seed[0])), step_count=0)
        self._is_over = False
        return self._observation(shown, info, 0.0, False, False)

    def step(
        self, action: TextAction, timeout_s: float | None = None, **kwargs: Any
    ) -> TextObservation:
        """Give a reply.

        Raises:
            ConfigError: the episode is over, or none has begun.
        """
        if self._is_over:
            raise ConfigError("no episode is under way: reset first (over /ws, not by HTTP /step)")
        reply = np.empty(1, dtype=object)
        reply[0] = action.text
        step = self.view.step({SOLE_AGENT: reply})
        terminated, truncated = bool(step.terminated[0]), bool(step.truncated[0])
        self._is_over = terminated or truncated
        self._state.step_count += 1
        return self._observation(
            step.observations, step.info, float(step.rewards[0, 0]), terminated, truncated
        )

    def _observation(
        self, shown: Any, info: Any, reward: float, terminated: bool, truncated: bool
    ) -> TextObservation:
        talk = shown[SOLE_AGENT][0]
        facts = {name: np.asarray(value[0]).tolist() for name, value in info.items()}
        return TextObservation(
            messages=[{"role": m["role"], "content": m["content"]} for m in talk],
            answers=[] if self._is_over else list(talk[-1].get("answers", ())),
            reward=reward,
            done=terminated or truncated,
            metadata={"terminated": terminated, "truncated": truncated, **facts},
        )

    @property
    def state(self) -> State:
        """The episode's name and how many replies it had."""
        return self._state

    def get_metadata(self) -> EnvironmentMetadata:
        """Return the environment's id and the first line of its page."""
        page = (type(self.view.unwrapped).__doc__ or self.name).strip().splitlines()[0]
        return EnvironmentMetadata(name=self.name, description=page, version=self.name[-1])

    def close(self) -> None:
        """Close the environment."""
        self.view.close()


def make_app(
    name: str,
    how: dict[str, str] | None = None,
    sessions: int = 64,
    seed: int = 0,
    **kwargs: Any,
) -> Any:
    """Return the server of an environment, a FastAPI application.

    Args:
        name: As ``make_batch`` takes it.
        how: How the agent is prompted.
        sessions: Environments that may be used at a time.
        seed: Where the episodes of the first session begin. Every other session begins at another
            seed, so that those that run together play different episodes.
        kwargs: Settings of the environment.

    Raises:
        ConfigError: as :class:`TextEnvironment`.
    """
    TextEnvironment(name, how, seed, **kwargs).close()  # so that mistakes are found now
    starts = itertools.count(seed)

    def make() -> Environment:
        return TextEnvironment(name, how, next(starts), **kwargs)

    return create_fastapi_app(make, TextAction, TextObservation, max_concurrent_envs=sessions)
