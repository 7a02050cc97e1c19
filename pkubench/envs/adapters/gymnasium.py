"""The Gymnasium adapters of a BatchEnv: a batch of one as Env, any batch as VectorEnv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.delayed_reward import EpisodicReward
from pkubench.envs.core.episode_seeds import EpisodeSeeds
from pkubench.envs.core.options import option_arrays
from pkubench.envs.core.seeding import IntArray
from pkubench.errors import ActionError, ConfigError

RENDER_MODES: Final = ("rgb_array",)
_CUTS: Final = 5
"""Episodes in a row that end alike without their delayed rewards, before a warning."""


def checked_render_mode(render_mode: str | None) -> str | None:
    """Return ``render_mode`` if the adapters know it."""
    if render_mode is not None and render_mode not in RENDER_MODES:
        raise ConfigError(f"render_mode must be None or one of {RENDER_MODES}, got {render_mode!r}")
    return render_mode


def team_rewards(rewards: FloatArray) -> FloatArray:
    """Return the sum over agents, (num_envs,), added in their order whatever the batch."""
    total = rewards[:, 0].copy()
    for column in rewards.T[1:]:
        total += column
    return total


def info_at(info: Mapping[str, Array], index: int = 0) -> dict[str, Any]:
    """Return one environment's infos as a dictionary of its own: scalars and arrays."""
    picked: dict[str, Any] = {}
    for key, values in info.items():
        value = values[index]
        if isinstance(value, np.ndarray):
            picked[key] = value.copy()
        else:
            picked[key] = bool(value) if isinstance(value, np.bool_) else value
    return picked


class _Adapter:
    """What the adapters share: the batch's spaces, and its actions and observations by agent."""

    def __init__(self, batch: BatchEnv, render_mode: str | None) -> None:
        self.batch = batch
        self.render_mode = checked_render_mode(render_mode)
        self.metadata = dict(batch.metadata)
        self.seeds = EpisodeSeeds(batch.num_envs)
        self.is_team = batch.num_agents > 1

    def _joint(self, by_agent: Mapping[str, spaces.Space[Any]]) -> spaces.Space[Any]:
        if self.is_team:
            return spaces.Dict({agent: by_agent[agent] for agent in self.batch.agents})
        return by_agent[self.batch.agents[0]]

    def _by_agent(self, action: Any) -> Mapping[str, Any]:
        if not self.is_team:
            return {self.batch.agents[0]: action}
        if not isinstance(action, Mapping):
            raise ActionError(
                f"the action of an environment with several agents is a dictionary with the keys "
                f"{self.batch.agents}, got {type(action).__name__}"
            )
        return action


class GymnasiumAdapter(_Adapter, gymnasium.Env[Any, Any]):
    """A batch of one as a Gymnasium environment.

    With several agents the spaces are ``Dict`` keyed by agent, the reward is the sum over agents
    and ``info["rewards"]`` has each one's.
    """

    def __init__(self, batch: BatchEnv, render_mode: str | None = None) -> None:
        """Wrap a batch of one."""
        if batch.num_envs != 1:
            raise ConfigError(f"a single environment is a batch of 1, got {batch.num_envs}")
        super().__init__(batch, render_mode)
        self.observation_space = self._joint(batch.observation_spaces)
        self.action_space = self._joint(batch.action_spaces)
        self._lane: IntArray = np.zeros(1, dtype=np.int64)
        self._cut = (-1, 0)
        """At which step an episode was last cut before delayed rewards were paid, and how many in a
        row were."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start episode ``seed``, or the one after the last, with the environment's ``options``.

        Raises:
            UnknownName, ConfigError: an option that it does not have, or a value outside its space.
        """
        chosen = option_arrays(self.batch.episode_options, options, 1)
        seeds = self.seeds.take(self._lane, seed)
        self._note_cut()
        super().reset(seed=seed)
        observations, info = self.batch.reset(seeds, None, chosen)
        return self._first(observations), self._info_at(info, np.zeros(self.batch.num_agents))

    def _note_cut(self) -> None:
        """Warn where episode after episode ends at one step without its delayed rewards."""
        batch, length = self.batch, int(self.batch.elapsed[0])
        if not isinstance(batch, EpisodicReward) or not batch.withheld.any():
            return
        cut_at, times = self._cut
        self._cut = length, times + 1 if cut_at == length else 1
        if self._cut[1] == _CUTS:
            gymnasium.logger.warn(
                f"The last {_CUTS} episodes were cut at step {length}, before their delayed "
                "rewards were paid. A time limit that is put around the environment, as "
                "gymnasium.make(max_episode_steps=) does, is not known to it."
            )

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advance by one step.

        Raises:
            ActionError: the action does not lie in the action space (see ``check_actions``).
            gymnasium.error.ResetNeeded: ``reset`` was never called.
        """
        if self.seeds.last[0] < 0:
            raise ResetNeeded("call reset before step")
        batched = {agent: np.asarray(a)[None] for agent, a in self._by_agent(action).items()}
        step = self.batch.step(self.batch.check_actions(batched))
        return (
            self._first(step.observations),
            float(team_rewards(step.rewards)[0]),
            bool(step.terminated[0]),
            bool(step.truncated[0]),
            self._info_at(step.info, step.rewards[0]),
        )

    def state(self) -> Array:
        """Return the global state a centralised critic sees, (state_dim,)."""
        state: Array = self.batch.state()[0]
        return state

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return the picture of the present state, (height, width, 3) uint8."""
        if self.render_mode is None:
            gymnasium.logger.warn('Nothing is drawn without render_mode="rgb_array".')
            return None
        return self.batch.render(0)

    def close(self) -> None:
        """Release what the environment holds."""
        self.batch.close()

    def _info_at(self, info: Info, rewards: FloatArray) -> dict[str, Any]:
        """Return the infos, with the reward of each agent of a team (0 at a reset)."""
        picked = info_at(info)
        if self.is_team:
            picked["rewards"] = dict(zip(self.batch.agents, rewards.tolist(), strict=True))
        return picked

    def _first(self, observations: Mapping[str, Array]) -> Any:
        if self.is_team:
            return {agent: observations[agent][0] for agent in self.batch.agents}
        return observations[self.batch.agents[0]][0]


class VectorAdapter(_Adapter, VectorEnv[Any, Any, Any]):
    """A whole batch as a Gymnasium vector environment.

    Same results as Gymnasium's ``SyncVectorEnv`` over single environments, at the batch's speed;
    infos are the batch's arrays, each with Gymnasium's mask ``_name`` of the environments it is
    for.
    """

    def __init__(
        self,
        batch: BatchEnv,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        """Wrap a batch; its time limit is the batch's own."""
        super().__init__(batch, render_mode)
        try:
            self.autoreset_mode = AutoresetMode(autoreset_mode)
        except ValueError as error:
            modes = [mode.value for mode in AutoresetMode]
            raise ConfigError(
                f"autoreset_mode must be one of {modes}, got {autoreset_mode!r}"
            ) from error
        self.metadata["autoreset_mode"] = self.autoreset_mode
        self.num_envs = batch.num_envs
        self.single_observation_space = self._joint(batch.observation_spaces)
        self.single_action_space = self._joint(batch.action_spaces)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._all: BoolArray = np.ones(self.num_envs, dtype=np.bool_)
        self._over: BoolArray = np.zeros(self.num_envs, dtype=np.bool_)
        """Environments whose episode has ended and that have not been reset since."""

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start new episodes, in the environments of ``options["reset_mask"]`` (bool) or in all.

        Environment ``i`` starts episode ``seed + i``; a list gives each environment of the batch
        its own seed, or None to continue with the one that follows its last. The other ``options``
        are the environment's, each a value for all copies or an array (num_envs, ...) with one for
        each; copies that reset themselves have the defaults.

        Raises:
            UnknownName, ConfigError: an option that it does not have, or a value outside its space.
        """
        own = {name: value for name, value in (options or {}).items() if name != "reset_mask"}
        chosen = option_arrays(self.batch.episode_options, own, self.num_envs)
        mask = self._all
        if options is not None and "reset_mask" in options:
            mask = np.asarray(options["reset_mask"])
            if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
                raise ConfigError(
                    f"reset_mask must be a bool array of shape ({self.num_envs},) with at least "
                    f"one True, got {mask!r}"
                )
            if (self.seeds.last[~mask] < 0).any():
                raise ResetNeeded("call reset without a mask first")
        super().reset(seed=seed if isinstance(seed, int) else None)
        ids = np.flatnonzero(mask)
        rows = {name: values[ids] for name, values in chosen.items()}
        observations, info = self.batch.reset(self.seeds.take(ids, seed), ids, rows)
        self._over = self._over & ~mask
        return self._joined(observations), _add_infos({}, self._with_rewards(info), mask)

    def step(self, actions: Any) -> tuple[Any, FloatArray, BoolArray, BoolArray, dict[str, Any]]:
        """Advance every environment by one step, and reset those that are over as the mode says.

        Raises:
            ActionError: the actions do not lie in the action space (see ``check_actions``).
            gymnasium.error.ResetNeeded: ``reset`` was never called, or the mode is "Disabled" and
                an environment that is over was not reset.
        """
        if (self.seeds.last < 0).any():
            raise ResetNeeded("call reset before step")
        over = self._over
        if self.autoreset_mode is AutoresetMode.DISABLED and over.any():
            raise ResetNeeded(
                f"environments {np.flatnonzero(over).tolist()} are over; reset them with "
                f'options={{"reset_mask": mask}} first'
            )
        infos: dict[str, Any] = {}
        resetting = self.autoreset_mode is AutoresetMode.NEXT_STEP and bool(over.any())
        active = ~over if resetting else None
        checked = self.batch.check_actions(self._by_agent(actions), active)
        if active is not None and not active.any():
            observations, start_info = self._start(over)
            _add_infos(infos, start_info, over)
            self._over = np.zeros_like(over)
            nothing = np.zeros_like(over)
            return self._joined(observations), np.zeros(self.num_envs), nothing, ~self._all, infos

        step = self.batch.step(checked, active)
        observations, terminated, truncated = step.observations, step.terminated, step.truncated
        rewards, info = team_rewards(step.rewards), self._with_rewards(step.info, step.rewards)
        done = terminated | truncated
        if active is not None:
            rewards[over], terminated[over], truncated[over], done[over] = 0.0, False, False, False
            _add_infos(infos, info, active)
            observations, info = self._start(over)
            _add_infos(infos, info, over)
        elif self.autoreset_mode is AutoresetMode.SAME_STEP and done.any():
            final_obs = np.full(self.num_envs, None, dtype=object)
            for index in map(int, np.flatnonzero(done)):
                final_obs[index] = self._observation_at(observations, index)
            infos["final_obs"], infos["_final_obs"] = final_obs, done.copy()
            infos["final_info"] = _add_infos({}, info, done)
            infos["_final_info"] = done.copy()
            _add_infos(infos, info, ~done)
            observations, info = self._start(done)
            _add_infos(infos, info, done)
        else:
            _add_infos(infos, info, self._all)
        self._over = done
        return self._joined(observations), rewards, terminated, truncated, infos

    def state(self) -> Array:
        """Return the global states a centralised critic sees, (num_envs, state_dim)."""
        return self.batch.state()

    def render(self) -> tuple[npt.NDArray[np.uint8], ...] | None:
        """Return a picture of each environment, (height, width, 3) uint8."""
        if self.render_mode is None:
            gymnasium.logger.warn('Nothing is drawn without render_mode="rgb_array".')
            return None
        return tuple(self.batch.render(index) for index in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Release what the environment holds."""
        self.batch.close()

    def _start(self, mask: BoolArray) -> tuple[dict[str, Array], dict[str, Any]]:
        ids = np.flatnonzero(mask)
        observations, info = self.batch.reset(self.seeds.take(ids), ids)
        return observations, self._with_rewards(info)

    def _joined(self, observations: dict[str, Array]) -> Any:
        return observations if self.is_team else observations[self.batch.agents[0]]

    def _observation_at(self, observations: Mapping[str, Array], index: int) -> Any:
        if self.is_team:
            return {agent: observations[agent][index] for agent in self.batch.agents}
        return observations[self.batch.agents[0]][index]

    def _with_rewards(self, info: Info, rewards: FloatArray | None = None) -> dict[str, Any]:
        """Return the infos, with the rewards of each agent of a team (0 at a reset)."""
        if not self.is_team:
            return dict(info)
        if rewards is None:
            rewards = np.zeros((self.num_envs, self.batch.num_agents))
        by_agent = {agent: rewards[:, k].copy() for k, agent in enumerate(self.batch.agents)}
        return {**info, "rewards": by_agent}


def _add_infos(infos: dict[str, Any], new: Mapping[str, Any], mask: BoolArray) -> dict[str, Any]:
    """Put the values ``new`` has where ``mask`` says into ``infos``, with masks ``_name``."""
    if not mask.any():
        return infos
    for key, value in new.items():
        if isinstance(value, Mapping):
            infos[key] = _add_infos(infos.get(key, {}), value, mask)
        elif key in infos:
            infos[key][mask] = value[mask]
        else:
            infos[key] = np.zeros_like(value)
            infos[key][mask] = value[mask]
        infos[f"_{key}"] = infos.get(f"_{key}", np.zeros_like(mask)) | mask
    return infos
