"""BatchEnv: many copies of one environment, stepped together on arrays.

An environment is written once, here; ``adapters`` make it a Gymnasium or PettingZoo environment.
The copies are numbered, and "environment *i*" is the *i*-th of them. The rules:

* Environment *i* draws only from the stream its episode's seed started, so an episode is the same
  at any index of any batch.
* ``terminated`` (a terminal state was reached) and ``truncated`` (the time limit was) differ.
* What else tells episodes apart (a level, an object) is an option, chosen at a reset only.
* ``info`` has one structure, at reset and at every step.
* Arrays handed out are the caller's to keep: an environment never writes to them again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.options import Option as Option
from pkubench.envs.core.options import option_arrays
from pkubench.envs.core.seeding import IntArray
from pkubench.errors import ActionError, ConfigError

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
Info = dict[str, Array]

SOLE_AGENT = "agent"
"""The agent id of an environment with one agent."""


class Step(NamedTuple):
    """What one step of a batch gives back."""

    observations: dict[str, Array]
    """Agent id -> (num_envs, ...), of the agent's observation space and dtype."""
    rewards: FloatArray
    """(num_envs, num_agents), agents in the order of ``BatchEnv.agents``."""
    terminated: BoolArray
    """(num_envs,): a terminal state was reached; its value is 0."""
    truncated: BoolArray
    """(num_envs,): the time limit was reached; bootstrapping continues from the observation."""
    info: Info
    """Named arrays (num_envs, ...), e.g. ``cost`` (float64) or ``action_mask`` (int8)."""


class BatchEnv(ABC):
    """``num_envs`` copies of one environment, stepped together.

    A subclass sets ``agents``, ``observation_spaces``, ``action_spaces`` (and ``state_space`` when
    the environment has a global state) in its ``__init__`` and defines ``_reset``, ``_step``,
    ``_observe`` and ``render``. The base keeps the clock.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 30}
    default_horizon: ClassVar[int | None] = None
    """Time limit in steps unless ``max_episode_steps`` says otherwise."""

    episode_options: ClassVar[Mapping[str, Option]] = MappingProxyType({})
    """The options of its episodes by name; ``_reset`` reads their values in ``options``."""

    agents: tuple[str, ...] = (SOLE_AGENT,)
    observation_spaces: Mapping[str, spaces.Space[Any]]
    action_spaces: Mapping[str, spaces.Space[Any]]
    state_space: spaces.Box | None = None

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        """Make ``num_envs`` copies.

        Args:
            num_envs: number of environments.
            max_episode_steps: time limit; None is no limit, -1 ``default_horizon``.

        Raises:
            ConfigError: a number that is not positive.
        """
        if num_envs < 1:
            raise ConfigError(f"num_envs must be at least 1, got {num_envs}")
        if max_episode_steps == -1:
            max_episode_steps = self.default_horizon
        if max_episode_steps is not None and max_episode_steps < 1:
            raise ConfigError(f"max_episode_steps must be positive, got {max_episode_steps}")
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps
        self.elapsed: IntArray = np.zeros(num_envs, dtype=np.int64)
        self._all: IntArray = np.arange(num_envs, dtype=np.int64)
        self.options: dict[str, Array] = option_arrays(self.episode_options, None, num_envs)
        """Option -> (num_envs, ...), its value in the present episodes."""

    @property
    def num_agents(self) -> int:
        """Number of agents of the environment."""
        return len(self.agents)

    @property
    def unwrapped(self) -> BatchEnv:
        """The environment itself; of a wrapper, the one inside all wrappers."""
        return self

    def reset(
        self,
        seeds: IntArray,
        ids: IntArray | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[dict[str, Array], Info]:
        """Start new episodes from ``seeds`` in the environments ``ids`` (all of them if None).

        Args:
            seeds: int64 (len(ids),), one an episode, non-negative.
            ids: int64 environment indices without repetition.
            options: names among ``episode_options``, each with one value for all of the episodes or
                an array (len(ids), ...) with one for each. Others have their defaults.

        Returns:
            The observations of the whole batch, agent id -> (num_envs, ...), and the infos, of
            the same names, shapes and dtypes as a step's. The infos of environments that were not
            reset are those of their state, without what their last step earned or cost.

        Raises:
            UnknownName: an option that the environment does not have.
            ConfigError: a value outside its space; another number of seeds or values.
        """
        ids = self._all if ids is None else np.asarray(ids, dtype=np.int64)
        seeds = np.asarray(seeds, dtype=np.int64)
        if seeds.shape != ids.shape:
            raise ConfigError(
                f"{len(ids)} environments are reset with {seeds.shape} seeds; give one each"
            )
        for name, values in option_arrays(self.episode_options, options, len(ids)).items():
            self.options[name][ids] = values
        self.elapsed[ids] = 0
        self._reset(ids, seeds)
        return self._observe(), self._info()

    def step(self, actions: Mapping[str, Array], active: BoolArray | None = None) -> Step:
        """Advance each environment by one step.

        Args:
            actions: agent id -> (num_envs, ...) in the agent's action space; not checked here
                (see ``check_actions``), because learners produce valid ones.
            active: bool (num_envs,); an environment that is not active may be left where it is and
                what comes back for it means nothing. None: all are active.
        """
        rewards, terminated, info = self._step(actions, active)
        self.elapsed += 1
        limits = self._limits()
        if limits is None:
            truncated = np.zeros(self.num_envs, dtype=np.bool_)
        else:
            truncated = self.elapsed >= limits
        return Step(self._observe(), rewards, terminated, truncated, info)

    def check_actions(
        self, actions: Mapping[str, Any], active: BoolArray | None = None
    ) -> dict[str, Array]:
        """Return ``actions`` as arrays of the spaces' shapes and dtypes, or say what is wrong.

        Raises:
            ActionError: an agent is missing, or an array has another shape, a dtype that cannot
                be cast safely, a value that is not finite or a discrete one out of range. Box
                actions out of range are not an error: environments clip them, as the originals do.
        """
        checked = {}
        for agent in self.agents:
            if agent not in actions:
                raise ActionError(f"no action for {agent!r}; give one for each of {self.agents}")
            checked[agent] = check_action(
                actions[agent], self.action_spaces[agent], self.num_envs, agent, active
            )
        return checked

    def state(self) -> Array:
        """Return the global state a centralised critic sees, (num_envs, state_dim).

        By default the concatenation of all agents' observations, in the order of ``agents``.
        """
        observations = self._observe()
        return np.concatenate(
            [observations[a].reshape(self.num_envs, -1) for a in self.agents], axis=1
        )

    def optimal_values(self) -> FloatArray | None:
        """Return what optimal play earns from each present state, where that is known exactly.

        Returns:
            (num_envs,), by the environment's own discount; None where it is not known.
        """
        return None

    def events(self) -> dict[str, BoolArray]:
        """Return what happened in the last step, in words that pictures show.

        Returns:
            What -> (num_envs, num_agents), whose it was; empty where the environment names nothing.
        """
        return {}

    def close(self) -> None:  # noqa: B027 - most environments hold nothing that needs closing
        """Release what the environment holds (renderers, simulators). Safe to call twice."""

    def _limits(self) -> IntArray | int | None:
        """Return the time limits of the present episodes, (num_envs,) or one for all, if any."""
        return self.max_episode_steps

    @abstractmethod
    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        """Put the environments ``ids`` at the start of the episodes ``seeds``.

        ``self.options[name][ids]`` are the values that these episodes have of each option.
        """

    @abstractmethod
    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        """Advance the state; return rewards (num_envs, num_agents), terminated, info."""

    @abstractmethod
    def _observe(self) -> dict[str, Array]:
        """Return new observation arrays of the present state."""

    def _info(self) -> Info:
        """Return the infos at reset: the names, shapes and dtypes that a step gives.

        What describes the state (positions, action masks) is that of the present state; what a
        step earns or costs is 0, because no step has been taken.
        """
        return {}

    @abstractmethod
    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw one environment: (height, width, 3) uint8."""


def check_action(
    action: Any,
    space: spaces.Space[Any],
    num_envs: int,
    agent: str = SOLE_AGENT,
    active: BoolArray | None = None,
) -> Array:
    """Return one agent's batch of actions, checked against its space (see ``check_actions``)."""
    array = np.asarray(action)
    shape = (num_envs, *(space.shape or ()))
    if array.shape != shape:
        raise ActionError(f"action of {agent!r} has shape {array.shape}, wanted {shape} ({space})")
    if isinstance(space, spaces.Box):
        if array.dtype.kind not in "fiu":
            raise ActionError(f"action of {agent!r} has dtype {array.dtype}, wanted {space.dtype}")
        array = array.astype(space.dtype, copy=False)
        looked_at = array if active is None else array[active]
        if not np.isfinite(looked_at).all():
            raise ActionError(f"action of {agent!r} is not finite (NaN or infinity)")
        return array
    if array.dtype.kind not in "iu":
        raise ActionError(f"action of {agent!r} has dtype {array.dtype}, wanted an integer")
    array = array.astype(np.int64, copy=False)
    looked_at = array if active is None else array[active]
    if isinstance(space, spaces.Discrete):
        start, count = int(space.start), int(space.n)
        if ((looked_at < start) | (looked_at >= start + count)).any():
            raise ActionError(
                f"action of {agent!r} lies outside {start}..{start + count - 1}: "
                f"{looked_at.min()}..{looked_at.max()}"
            )
    elif isinstance(space, spaces.MultiDiscrete) and (
        ((looked_at < 0) | (looked_at >= space.nvec)).any()
    ):
        raise ActionError(f"action of {agent!r} lies outside MultiDiscrete({space.nvec})")
    return array
