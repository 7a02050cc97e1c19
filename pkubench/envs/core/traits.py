"""What is known of an environment without making it: who acts, on what, and with which signals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.difference_reward import DIFFERENCE_REWARDS
from pkubench.envs.core.labelled_texts import ShowsLabelledTexts

ACTION_MASK = "action_mask"
"""Begins the names of the infos that say which actions are legal."""

ALIVE = "alive"
"""The info that says which agents are alive, (num_envs, agents) bool."""

DENSE_REWARD = "dense_reward"
"""The info with what each agent would have been paid for the step, had its reward not been delayed,
(num_envs, num_agents) float64.

It is there to score credit assignment with. No learner trains on it, but the agent ``dense``, which
others are compared with.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """Facts that decide what acts and trains in an environment; declared in its ``EnvSpec``."""

    num_agents: int = 1
    are_agents_alike: bool = True
    """Whether all agents have the same spaces, so that they can share a policy."""
    observation: str = "box"
    """Kind of the observation spaces: the name of Gymnasium's class in small letters."""
    action: str = "box"
    """Kind of the action spaces: ``box``, ``discrete``, ``multidiscrete``, ``text``, ..."""
    has_cost: bool = False
    """Whether ``info`` has a ``cost``."""
    has_action_masks: bool = False
    """Whether ``info`` says which actions are legal."""
    has_deaths: bool = False
    """Whether ``info`` says who is ``alive``: agents may die before their episode ends."""
    is_delayed: bool = False
    """Whether rewards are paid late, and ``info`` has the ``dense_reward`` of each step."""
    has_difference_rewards: bool = False
    """Whether ``info`` can have difference rewards: it has the setting ``difference_rewards``."""
    has_missions: bool = False
    """Whether it says in words what is asked in each of its tasks: its ``missions``."""
    has_language: bool = False
    """Whether its actions are words of a ``language``, whose responses have exact scores."""
    has_labelled_texts: bool = False
    """Whether it shows pairs of texts and hands out labelled ones to train on:
    ``ShowsLabelledTexts`` (``pkubench.envs.core.labelled_texts``)."""
    is_zero_sum_game: bool = False
    """Whether it is a seat at a two-player zero-sum game that the exact engine takes."""

    @property
    def is_text(self) -> bool:
        """Whether agents answer in words."""
        return self.action == "text"


def traits_of(env: BatchEnv) -> Traits:
    """Return the traits of an environment that is made. Resets it."""
    _, info = env.reset(np.arange(env.num_envs, dtype=np.int64))
    pairs = {(str(env.observation_spaces[a]), str(env.action_spaces[a])) for a in env.agents}
    observed, acted = (
        "+".join(sorted({type(space).__name__.lower() for space in of.values()}))
        for of in (env.observation_spaces, env.action_spaces)
    )
    return Traits(
        num_agents=env.num_agents,
        are_agents_alike=len(pairs) == 1,
        observation=observed,
        action=acted,
        has_cost="cost" in info,
        has_action_masks=any(name.startswith(ACTION_MASK) for name in info),
        has_deaths=ALIVE in info,
        is_delayed=DENSE_REWARD in info,
        has_difference_rewards=hasattr(env.unwrapped, DIFFERENCE_REWARDS),
        has_missions=hasattr(env.unwrapped, "missions"),
        has_language=hasattr(env.unwrapped, "language"),
        has_labelled_texts=isinstance(env.unwrapped, ShowsLabelledTexts),
        is_zero_sum_game=isinstance(getattr(type(env), "game", None), str),
    )
