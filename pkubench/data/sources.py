"""What ``--data`` names, read and checked for the task that is trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pkubench.data.episodes import Episodes, each
from pkubench.data.minari_files import read
from pkubench.envs.core.delayed_reward import DELAY, EPISODE
from pkubench.envs.core.registry import make_batch, resolve
from pkubench.errors import DataError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


def episodes_for(source: str, task: Task) -> Episodes:
    """Return the data set that an agent of a task is trained from.

    A data set of ours names its task, which has to be this one; one of another library has to have
    the task's spaces. Where the task pays late (``Name-v0+delay=20``), so does what is returned:
    rewards are withheld as the environment withholds them.

    Args:
        source: Id or path of a data set in Minari's format.
        task: What is trained on.

    Raises:
        DataError: There is none; it is damaged; or it is of another task.
        MissingExtra: Minari is not installed.
    """
    episodes = read(source)
    spec = resolve(task.id)
    base = spec
    while base.variant_of is not None and DELAY in base.kwargs:
        base = base.variant_of
    if episodes.task not in ("", base.id):
        raise DataError(f"{episodes.name} is a data set of {episodes.task}, not of {base.id}")
    env = make_batch(task.id, 1, **task.env_kwargs)
    try:
        agents = env.agents if env.num_agents > 1 else ()
        if episodes.agents != agents:
            raise DataError(
                f"{episodes.name} has the agents {list(episodes.agents) or 'of one player'}, and "
                f"{task.id} has {list(agents) or 'one player'}"
            )
        for agent in env.agents:
            episodes.check_spaces(env.observation_spaces[agent], env.action_spaces[agent])
    finally:
        env.close()
    delay = {**spec.kwargs, **task.env_kwargs}.get(DELAY)
    is_recorded_late = DELAY in base.kwargs and episodes.task == base.id
    return episodes if delay is None or is_recorded_late else withheld(episodes, delay)


def withheld(episodes: Episodes, delay: int | str) -> Episodes:
    """Return episodes whose rewards are paid every ``delay`` steps, or at the end ("episode").

    The rest is paid with the last step, as ``pkubench.envs.core.delayed_reward`` does it.
    """
    rewards = np.zeros_like(episodes.rewards)
    for _, rows in each(episodes):
        own = episodes.rewards[rows]
        period = len(own) if delay == EPISODE else int(delay)
        firsts = np.arange(0, len(own), period)
        lasts = np.minimum(firsts + period, len(own)) - 1
        rewards[rows][lasts] = np.add.reduceat(own, firsts, axis=0)
    return replace(episodes, rewards=rewards)
