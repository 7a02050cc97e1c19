"""The adapters of a BatchEnv: Gymnasium Env, Gymnasium VectorEnv, PettingZoo ParallelEnv.

All three start episode ``s`` on ``reset(seed=s)``; an environment that is reset without a seed
continues with the episode that ``seeding.next_seeds`` derives from its last one, and with one drawn
from the operating system if it never had any. So whatever the adapter, the index and the batch,
seed ``s`` is the same episode.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import gymnasium
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import HumanRendering

from pkubench.envs.adapters.gymnasium import RENDER_MODES, GymnasiumAdapter, VectorAdapter
from pkubench.envs.core.delayed_reward import DELAY
from pkubench.envs.core.registry import make_batch, resolve
from pkubench.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from pkubench.envs.adapters.pettingzoo import ParallelAdapter


def make_single(
    env_id: str, render_mode: str | None = None, **kwargs: Any
) -> gymnasium.Env[Any, Any]:
    """Make one copy of an environment as a Gymnasium environment; ``gymnasium.make`` calls this.

    It has no time limit of its own, because ``gymnasium.make`` wraps it in ``TimeLimit``; pass
    ``max_episode_steps`` to set one here. With delayed rewards it has: the last step pays what was
    withheld, so that the environment must know it.

    Returns:
        A ``GymnasiumAdapter``; for ``render_mode="human"`` in Gymnasium's wrapper that opens a
        window.

    Raises:
        UnknownName, MissingExtra, ConfigError: as ``make_batch``; also if a window is asked for
            where none can be opened.
    """
    is_delayed = {**resolve(env_id).kwargs, **kwargs}.get(DELAY) is not None
    kwargs.setdefault("max_episode_steps", -1 if is_delayed else None)
    if render_mode == "human":
        _check_window()
        return HumanRendering(GymnasiumAdapter(make_batch(env_id, 1, **kwargs), "rgb_array"))
    return GymnasiumAdapter(make_batch(env_id, 1, **kwargs), render_mode)


# Read by gymnasium.make, so that render_mode="rgb_array_list" gets its wrapper.
make_single.metadata = {"render_modes": ["human", *RENDER_MODES]}  # type: ignore[attr-defined]


def _check_window() -> None:
    """Refuse ``render_mode="human"`` where there is no screen, before a driver fails in its way.

    Raises:
        ConfigError: no window can be opened.
    """
    instead = 'use render_mode="rgb_array" and save or show the pictures that render() returns'
    try:
        import pygame
    except ModuleNotFoundError as error:
        raise ConfigError(
            f'render_mode="human" needs pygame: pip install pygame-ce; or {instead}'
        ) from error
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in screens):
        raise ConfigError(
            'render_mode="human" opens a window, but this process has no display (neither DISPLAY '
            f"nor WAYLAND_DISPLAY is set); {instead}"
        )
    try:
        pygame.display.init()
        driver = pygame.display.get_driver()
    except pygame.error as error:
        raise ConfigError(
            f'render_mode="human" cannot open a window: {error}; {instead}'
        ) from error
    if driver in ("dummy", "offscreen") and not os.environ.get("SDL_VIDEODRIVER"):
        pygame.display.quit()
        raise ConfigError(
            'render_mode="human" opens a window, but the display that DISPLAY or WAYLAND_DISPLAY '
            f"names does not answer; {instead}"
        )


def make_vector(
    env_id: str,
    num_envs: int = 1,
    *,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    max_episode_steps: int | None = -1,
    render_mode: str | None = None,
    **kwargs: Any,
) -> VectorAdapter:
    """Make a native batch of an environment; ``gymnasium.make_vec`` calls this.

    Args:
        env_id: the environment's id.
        num_envs: number of environments.
        autoreset_mode: "NextStep" (Gymnasium's default), "SameStep" or "Disabled".
        max_episode_steps: time limit, None for none, -1 for the environment's own.
        render_mode: None or "rgb_array".
        **kwargs: settings of the environment.

    Raises:
        UnknownName, MissingExtra, ConfigError: as ``make_batch``.
    """
    batch = make_batch(env_id, num_envs, max_episode_steps=max_episode_steps, **kwargs)
    return VectorAdapter(batch, autoreset_mode, render_mode)


def parallel_env(
    name: str,
    *,
    max_episode_steps: int | None = -1,
    render_mode: str | None = None,
    **kwargs: Any,
) -> ParallelAdapter:
    """Make one copy of an environment as a PettingZoo ``ParallelEnv``.

    Args:
        name: the environment's id, with or without ``pkubench/``.
        max_episode_steps: time limit, None for none, -1 for the environment's own.
        render_mode: None or "rgb_array".
        **kwargs: settings of the environment.

    Raises:
        UnknownName, MissingExtra, ConfigError: as ``make_batch``; also if PettingZoo is missing.
    """
    try:
        from pkubench.envs.adapters.pettingzoo import ParallelAdapter
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pkubench"):
            raise
        raise MissingExtra("marl", "pkubench.parallel_env") from error
    batch = make_batch(name, 1, max_episode_steps=max_episode_steps, **kwargs)
    return ParallelAdapter(batch, render_mode)
