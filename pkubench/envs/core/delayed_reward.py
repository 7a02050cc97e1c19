"""Delayed rewards: an environment that pays at the end of an episode, or every k steps.

``make_batch(name, delay="episode")`` and ``make_batch(name, delay=20)`` wrap any environment. So do
``gymnasium.make``, ``gymnasium.make_vec``, ``pkubench.parallel_env``, ``Task.env_kwargs`` and an
``EnvSpec``'s ``kwargs``, which pass settings on.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pkubench.envs.core.batch import BatchEnv, BoolArray, FloatArray, Info, Step
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.core.traits import ALIVE, DENSE_REWARD
from pkubench.envs.core.wrapper import EnvWrapper
from pkubench.errors import ConfigError

DELAY: Final = "delay"
"""The setting of ``make_batch``: ``"episode"``, a number of steps, or None for the rewards as they
are."""
EPISODE: Final = "episode"


class EpisodicReward(EnvWrapper):
    """Withholds all rewards until the episode ends, and pays each agent its sum then.

    An end is a terminal state or the time limit, so that no reward is lost to truncation. Where
    agents can die (``info["alive"]``), an agent is paid with its death, after which its own rewards
    count for no learner; what it earns later is paid at the end. Steps that pay nothing pay 0.

    ``info["dense_reward"]`` has the rewards as they were.

    Source: Arjona-Medina et al., "RUDDER: Return Decomposition for Delayed Rewards", NeurIPS 2019;
    Chen et al., "STAS: Spatial-Temporal Return Decomposition for Solving Sparse Rewards Problems in
    Multi-Agent Reinforcement Learning", AAAI 2024.
    """

    def __init__(self, inner: BatchEnv) -> None:
        """Wrap ``inner``."""
        super().__init__(inner)
        self.withheld: FloatArray = np.zeros((self.num_envs, self.num_agents))
        """(num_envs, num_agents): earned and not yet paid."""
        self._alive: BoolArray | None = None

    def _begin(self, ids: IntArray) -> None:
        self.withheld[ids] = 0.0
        alive = self._started.get(ALIVE)
        self._alive = None if alive is None else alive.copy()

    def _change(self, step: Step) -> tuple[FloatArray, BoolArray, Info]:
        self.withheld += step.rewards
        paid = np.zeros_like(self.withheld)
        due = np.flatnonzero(self._is_due(step))
        if len(due):
            paid[due] = self.withheld[due]
            self.withheld[due] = 0.0
        if ALIVE in step.info:
            self._pay_the_dead(paid, step.info[ALIVE])
        return paid, step.terminated, {**step.info, DENSE_REWARD: step.rewards}

    def _is_due(self, step: Step) -> BoolArray:
        """Return where all agents are paid after a step, (num_envs,)."""
        return step.terminated | step.truncated

    def _pay_the_dead(self, paid: FloatArray, alive: BoolArray) -> None:
        if self._alive is not None:
            died = self._alive & ~alive
            paid[died] += self.withheld[died]
            self.withheld[died] = 0.0
        self._alive = alive.copy()

    def _info(self) -> Info:
        nothing = np.zeros((self.num_envs, self.num_agents))
        return {**self._started, DENSE_REWARD: nothing}


class DelayedReward(EpisodicReward):
    """Pays every ``period`` steps of an episode what was earned in them, and the rest at its end.

    As in MuJoCo with delayed rewards, where the period is 20 (Zheng et al., "On Learning Intrinsic
    Rewards for Policy Gradient Methods", NeurIPS 2018). Otherwise as :class:`EpisodicReward`; a
    period of 1 leaves the rewards as they are, and reports them in the infos too.
    """

    def __init__(self, inner: BatchEnv, period: int) -> None:
        """Wrap ``inner``.

        Raises:
            ConfigError: ``period`` is not positive.
        """
        if period < 1:
            raise ConfigError(f"rewards are delayed by at least 1 step, got {period}")
        super().__init__(inner)
        self.period = period

    def _is_due(self, step: Step) -> BoolArray:
        # The clock of this step is still to be advanced here, and has been inside.
        is_time: BoolArray = self.inner.elapsed % self.period == 0
        return super()._is_due(step) | is_time


def read_delay(text: str) -> int | str:
    """Return a delay that is written in a name: ``20`` or ``episode``.

    Raises:
        ConfigError: it is neither.
    """
    delay = int(text) if text.isascii() and text.isdecimal() else text
    if delay != EPISODE and not (isinstance(delay, int) and delay > 0):
        raise ConfigError(
            f"+{DELAY}= takes a positive number of steps, or {EPISODE}, got {text!r:.80}"
        )
    return delay


def delayed(env: BatchEnv, delay: Any) -> BatchEnv:
    """Return an environment with its rewards delayed as the setting ``delay`` says.

    Args:
        env: What is wrapped.
        delay: ``"episode"``, a positive number of steps, or None for ``env`` itself.

    Raises:
        ConfigError: another value; or ``"episode"`` where the time limit of episodes that need one
            is switched off, so that they would never pay.
    """
    if delay is None:
        return env
    if isinstance(delay, int | np.integer) and not isinstance(delay, bool) and delay > 0:
        return DelayedReward(env, int(delay))
    if delay != EPISODE:
        raise ConfigError(
            f'{DELAY} must be "{EPISODE}", a positive number of steps, or None, got {delay!r:.80}'
        )
    if env.max_episode_steps is None and env.default_horizon is not None:
        raise ConfigError(
            f'delay="episode" pays at the end of an episode, and {type(env).__name__} without a '
            "time limit may have none: give max_episode_steps, or a number of steps as delay"
        )
    return EpisodicReward(env)
