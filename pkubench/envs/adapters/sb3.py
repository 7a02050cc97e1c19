"""A vector environment as Stable-Baselines3 wants it. Importing this imports Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded

from pkubench.envs.adapters.gymnasium import VectorAdapter, info_at
from pkubench.envs.core.batch import Array, BoolArray, Info
from pkubench.errors import ConfigError, MissingExtra

try:
    from stable_baselines3.common.vec_env import VecEnv
except ModuleNotFoundError as missing:
    raise MissingExtra("agents", "a vector environment for Stable-Baselines3") from missing

_MASKS = "action_masks"
"""What sb3-contrib's MaskablePPO asks an environment for."""

Indices = None | int | Iterable[int]


def as_sb3_vec_env(envs: gymnasium.vector.VectorEnv[Any, Any, Any]) -> SB3VecEnv:
    """Return a native vector environment in the form that Stable-Baselines3 trains on.

    >>> import gymnasium, pkubench
    >>> from stable_baselines3.common.vec_env import VecMonitor
    >>> from pkubench.envs.adapters.sb3 import as_sb3_vec_env
    >>> envs = gymnasium.make_vec("pkubench/RiskyCorridor-v0", num_envs=8)
    >>> VecMonitor(as_sb3_vec_env(envs)).reset().shape
    (8, 21)

    Args:
        envs: What ``gymnasium.make_vec("pkubench/...")`` gave. It is the adapter's from now on;
            its autoreset mode does not matter, because Stable-Baselines3 has one of its own.

    Raises:
        ConfigError: it is another kind of vector environment, or has several agents.
    """
    if not isinstance(envs, VectorAdapter):
        raise ConfigError(
            f"as_sb3_vec_env takes what gymnasium.make_vec gives for an environment of pkubench, "
            f"got {type(envs).__name__}; apply wrappers of Stable-Baselines3 to its result instead"
        )
    if envs.is_team:
        raise ConfigError(
            f"Stable-Baselines3 trains one agent, and this environment has "
            f"{envs.batch.num_agents}; `pkubench train` has agents for teams"
        )
    return SB3VecEnv(envs)


class SB3VecEnv(VecEnv):
    """A batch of single-agent environments under Stable-Baselines3's rules.

    An episode that ends is followed by the next at once; its last observation is in
    ``infos[i]["terminal_observation"]``, and ``infos[i]["TimeLimit.truncated"]`` says whether the
    time limit ended it. Results are those of ``DummyVecEnv`` over ``gymnasium.make``.
    """

    def __init__(self, envs: VectorAdapter) -> None:
        """Wrap a vector environment; see :func:`as_sb3_vec_env`."""
        self.envs = envs
        self._agent = envs.batch.agents[0]
        self._all = np.arange(envs.num_envs, dtype=np.int64)
        self._masks: Array | None = None
        self._actions: Array | None = None
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> Array:
        """Start episodes in all environments, those of ``seed(s)`` if it was called before."""
        observations, info = self._start(self._all, self._seeds)
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = [info_at(info, index) for index in self._all.tolist()]
        return observations

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Keep the actions for ``step_wait``."""
        self._actions = np.asarray(actions)

    def step_wait(self) -> tuple[Array, npt.NDArray[np.float32], BoolArray, list[dict[str, Any]]]:
        """Take the step, and start the next episode where one ended.

        Raises:
            ActionError: the actions do not lie in the action space.
            gymnasium.error.ResetNeeded: ``reset`` was never called.
        """
        if self._actions is None or (self.envs.seeds.last < 0).any():
            raise ResetNeeded("call reset before step")
        batch = self.envs.batch
        step = batch.step(batch.check_actions({self._agent: self._actions}))
        observations, self._masks = step.observations[self._agent], step.info.get("action_mask")
        dones = step.terminated | step.truncated
        timed_out = step.truncated & ~step.terminated
        infos = [info_at(step.info, index) for index in self._all.tolist()]
        for info, late in zip(infos, timed_out.tolist(), strict=True):
            info["TimeLimit.truncated"] = late
        ended = np.flatnonzero(dones)
        if len(ended):
            for index in ended.tolist():
                infos[index]["terminal_observation"] = observations[index].copy()
            observations, started = self._start(ended)
            for index in ended.tolist():
                self.reset_infos[index] = info_at(started, index)
        return observations, step.rewards[:, 0].astype(np.float32), dones, infos

    def close(self) -> None:
        """Close the vector environment."""
        self.envs.close()

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """Return a picture of each environment, None without ``render_mode="rgb_array"``."""
        return self.envs.render() or [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return an attribute of the vector environment, once for each of ``indices``.

        Raises:
            AttributeError: there is none of this name.
        """
        value = self.action_masks if attr_name == _MASKS else getattr(self.envs, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute of the vector environment, which all environments share.

        Raises:
            ConfigError: only some of the environments are meant.
        """
        if indices is not None and len(list(self._get_indices(indices))) != self.num_envs:
            raise ConfigError("environments of one batch share their attributes; set it for all")
        setattr(self.envs, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Return action masks or pictures; the environments of a batch have no other methods.

        Raises:
            AttributeError: another method is called, or there are no action masks.
        """
        if method_name == _MASKS:
            return [self.action_masks[index] for index in self._get_indices(indices)]
        if method_name == "render":
            pictures = self.get_images()
            return [pictures[index] for index in self._get_indices(indices)]
        raise AttributeError(f"the environments of a batch have no method {method_name!r}")

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """Return that no environment is wrapped: a batch takes wrappers of whole vectors only."""
        return [False for _ in self._get_indices(indices)]

    @property
    def action_masks(self) -> BoolArray:
        """Legal actions now, (num_envs, actions), of environments that have masks."""
        if self._masks is None:
            raise AttributeError("this environment has no action masks")
        return self._masks.astype(np.bool_)

    def _start(
        self, ids: npt.NDArray[np.int64], seeds: Sequence[int | None] | None = None
    ) -> tuple[Array, Info]:
        observations, info = self.envs.batch.reset(self.envs.seeds.take(ids, seeds), ids)
        self._masks = info.get("action_mask")
        return observations[self._agent], info
