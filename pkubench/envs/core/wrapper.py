"""EnvWrapper: a BatchEnv around another one, which changes what its steps give."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info, Step
from pkubench.envs.core.seeding import IntArray


class EnvWrapper(BatchEnv):
    """Wraps an environment and changes its rewards, terminations and infos.

    Agents, spaces, options, time limit and episodes are those of the wrapped environment.
    """

    def __init__(self, inner: BatchEnv) -> None:
        """Wrap ``inner``."""
        self.episode_options = dict(inner.episode_options)  # type: ignore[misc]  # of another class
        super().__init__(inner.num_envs, inner.max_episode_steps)
        self.inner = inner
        self.metadata = inner.metadata  # type: ignore[misc]
        self.agents = inner.agents
        self.observation_spaces, self.action_spaces = inner.observation_spaces, inner.action_spaces
        self.state_space = inner.state_space
        self._seen: dict[str, Array] = {}
        self._started: Info = {}

    @property
    def unwrapped(self) -> BatchEnv:
        """The environment inside all wrappers."""
        return self.inner.unwrapped

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._seen, self._started = self.inner.reset(
            seeds, ids, {name: values[ids] for name, values in self.options.items()}
        )
        self._begin(ids)

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        step = self.inner.step(actions, active)
        self._seen = step.observations
        return self._change(step)

    @abstractmethod
    def _begin(self, ids: IntArray) -> None:
        """Start new episodes in the environments ``ids``."""

    @abstractmethod
    def _change(self, step: Step) -> tuple[FloatArray, BoolArray, Info]:
        """Return rewards (num_envs, num_agents), terminated and info of a step that was taken."""

    def _observe(self) -> dict[str, Array]:
        return self._seen

    def _info(self) -> Info:
        return self._started

    def state(self) -> Array:
        """Return the inner environment's state."""
        return self.inner.state()

    def optimal_values(self) -> FloatArray | None:
        """Return the inner environment's values: of what is earned, whenever it is paid."""
        return self.inner.optimal_values()

    def events(self) -> dict[str, BoolArray]:
        """Return what happened in the inner environment."""
        return self.inner.events()

    def close(self) -> None:
        """Close the inner environment."""
        self.inner.close()

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw the inner environment."""
        return self.inner.render(index)
