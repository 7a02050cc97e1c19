"""What the card of a task says of its environment: agents, spaces, options, and when it pays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium.spaces import Box, Space
from rich.text import Text

from pkubench.envs.core.delayed_reward import DELAY, EPISODE
from pkubench.envs.core.registry import make_batch, resolve
from pkubench.errors import MissingExtra
from pkubench.tasks.task import Task


def spaces_of(task: Task) -> list[tuple[str, str | Text]]:
    """Return an environment's agents, spaces and options; nothing without its simulator."""
    try:
        env = make_batch(task.id, 1, **task.env_kwargs)
    except MissingExtra:
        return []
    seen, done = (_by_space(of) for of in (env.observation_spaces, env.action_spaces))
    env.close()
    rows: list[tuple[str, str | Text]] = [("observation", seen), ("action", done)]
    for name, option in env.episode_options.items():
        values = f"reset option of {option.space}, {option.default!r} by default"
        rows.append((name, f"{option.meaning} ({values})"))
    return [("agents", ", ".join(env.agents)), *rows] if len(env.agents) > 1 else rows


def delay_of(task: Task) -> list[tuple[str, str | Text]]:
    """Return when rewards are paid, where they are paid late."""
    delay = {**resolve(task.id).kwargs, **task.env_kwargs}.get(DELAY)
    if delay is None:
        return []
    when = (
        "at the end of an episode" if delay == EPISODE else f"every {delay} steps, and at the end"
    )
    return [("rewards", f"paid {when}")]


def _by_space(spaces: Mapping[str, Space[Any]]) -> str:
    agents: dict[str, list[str]] = {}
    for agent, space in spaces.items():
        shape = "×".join(map(str, space.shape or ()))
        name = f"Box({shape})" if isinstance(space, Box) else str(space)
        agents.setdefault(name, []).append(agent)
    if len(agents) == 1:
        return next(iter(agents)) + (" each" if len(spaces) > 1 else "")
    return "; ".join(f"{', '.join(who)}: {space}" for space, who in agents.items())
