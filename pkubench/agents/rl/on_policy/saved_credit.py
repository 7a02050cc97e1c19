"""The credit model of a saved on-policy agent, asked again about recorded episodes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces

from pkubench.agents.components import changed
from pkubench.agents.rl.credit.base import CreditContext, CreditModel
from pkubench.agents.rl.credit.whole_episodes import EpisodeModel
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.on_policy.networks import seen_of
from pkubench.agents.rl.rollout import Array, Rollout
from pkubench.agents.rl.rows import credit_extras
from pkubench.agents.saved.files import SavedAgent, has_extra, load_extra, load_saved
from pkubench.envs.core.batch import FloatArray
from pkubench.envs.core.recording import Recording
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.traits import ALIVE
from pkubench.errors import AgentError, PkubenchWarning, WeightsError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

CREDIT = "credit"
"""Name of the file of what a credit model has learned."""
Moments = Mapping[str, tuple[Array, Array]]
"""Agent id -> mean and deviation of its observations; empty where they are not normalised."""
_LIMIT = 5.0
"""Normalised observations are clipped to this, as in ``ObservationNorm``."""


@dataclass(frozen=True, slots=True)
class RecordedCredit:
    """Assigns credit to recorded episodes."""

    model: CreditModel
    config: OnPolicyConfig
    action_spaces: Mapping[str, spaces.Space[Any]]
    moments: Moments

    def __call__(self, recording: Recording) -> FloatArray:
        """Return each agent's share of the return at each step, (T, N, agents), 0 behind ends.

        Methods that redistribute a return give shares of it. Rewards that are the same for every
        agent (``dense``) are divided by the number of agents; others are given as they are.
        """
        rollout = rollout_of(recording, self)
        if isinstance(self.model, EpisodeModel):
            times = len(recording.agents) if self.model.settings.times_agents else 1
        else:
            times = len(recording.agents) if self.config.credit.is_shared else 1
        found: FloatArray = np.where(rollout.valid[..., None], self.model(rollout), 0.0) / times
        return found


def load_credit(folder: Path, task: Task) -> RecordedCredit:
    """Return the credit that the agent in a run folder was trained with.

    Raises:
        WeightsError: what the model learned was not saved, or is damaged.
        AgentError: it was trained by an earlier release.
    """
    saved = load_saved(folder)
    settings = saved.config.get("settings", {})
    if CREDIT not in settings:
        raise AgentError(
            f"{folder} was trained by an earlier release, which had no credit models; train the "
            "agent again with `pkubench train`"
        )
    config = changed(OnPolicyConfig(), settings, strict=False)
    model, found = start(config, task, _moments(saved))
    if not model.learned():
        return found
    try:
        model.load_learned(load_extra(folder, CREDIT))
    except WeightsError as error:
        if has_extra(folder):  # damaged, which the error says
            raise
        raise WeightsError(
            f"{error}: the credit model of this agent was not saved, as in shipped weights, which "
            "have what acting reads; train one with `pkubench train`"
        ) from error
    except (KeyError, RuntimeError, ValueError) as error:
        raise WeightsError(f"{folder}: the credit model does not fit: {error}") from error
    return found


def start(
    config: OnPolicyConfig, task: Task, moments: Moments, seed: int = 0
) -> tuple[CreditModel, RecordedCredit]:
    """Return an untrained credit model for a task, and the same to ask about recorded episodes.

    Args:
        config: settings of the learner; those of ``credit`` count.
        task: what it is made for.
        moments: that its observations are normalised with.
        seed: of the model's initial weights and draws.

    Raises:
        AgentError: policies see what the environment does not show, a budget of costs.
    """
    if config.constraint.observed:
        raise AgentError(
            "the credit of an agent that observes a cost budget cannot be asked about recorded "
            "episodes, which do not have it"
        )
    env = make_batch(task.id, 1, **task.env_kwargs)
    try:
        context = CreditContext(
            agents=env.agents,
            observation_shapes={
                a: seen_of(env.observation_spaces[a], config).shape for a in env.agents
            },
            action_spaces=dict(env.action_spaces),
            state_shape=(0,),
            device="cpu",
            horizon=env.max_episode_steps,
            has_state_critics=False,
        )
    finally:
        env.close()
    with warnings.catch_warnings():  # what a method reduces to was said when it was trained
        warnings.simplefilter("ignore", PkubenchWarning)
        model = config.credit.start(context, torch.Generator().manual_seed(seed))
    return model, RecordedCredit(model, config, context.action_spaces, moments)


def rollout_of(recording: Recording, of: RecordedCredit) -> Rollout:
    """Return recorded episodes as a rollout; networks of policies and critics cannot read it.

    Raises:
        ConfigError: the credit reads an entry of the info that the environment does not report.
    """
    agents, length = recording.agents, len(recording.rewards)
    seen = {a: _inputs(recording.observations[a], a, of) for a in agents}
    actions = {a: _raw(recording.actions[a], of.action_spaces[a], of.config) for a in agents}
    alive = recording.info[ALIVE].astype(np.bool_) if ALIVE in recording.info else None
    empty = np.zeros((*recording.valid.shape, 0), np.float32)
    first = np.zeros_like(recording.valid)
    first[0] = True
    reported = {name: entry[1:] for name, entry in recording.info.items()}
    return Rollout(
        observations={a: seen[a][:length] for a in agents},
        states=empty,
        actions=actions,
        log_probs={},
        masks={},
        rewards=np.where(recording.valid[..., None], recording.rewards, 0.0),
        costs=np.zeros(recording.valid.shape, np.float32),
        terminated=recording.terminated & recording.valid,
        truncated=recording.truncated & recording.valid,
        next_observations={a: seen[a][1:] for a in agents},
        next_states=empty,
        first=first,
        valid=recording.valid,
        alive=None if alive is None else alive[:-1],
        died=None if alive is None else alive[:-1] & ~alive[1:],
        extras=credit_extras(reported, of.config.credit.info_keys),
    )


def _inputs(observations: Array, agent: str, of: RecordedCredit) -> Array:
    """Return observations (T + 1, N, d) as the learner's networks saw them."""
    flat = observations.reshape(*observations.shape[:2], -1)
    if agent not in of.moments:
        is_image = flat.dtype == np.uint8 and not of.config.encoder.is_flat
        return flat if is_image else flat.astype(np.float32, copy=False)
    mean, deviation = of.moments[agent]
    return np.clip((flat - mean) / deviation, -_LIMIT, _LIMIT).astype(np.float32)


def _raw(actions: Array, space: spaces.Space[Any], config: OnPolicyConfig) -> Array:
    """Return actions as the policy's head gave them, up to what the bounds have cut off."""
    if isinstance(space, spaces.Discrete):
        return actions.astype(np.int64) - int(space.start)
    if isinstance(space, spaces.MultiDiscrete):
        return actions.astype(np.int64)
    assert isinstance(space, spaces.Box)
    raw = actions.astype(np.float32)
    if config.action_map == "affine":
        raw = 2.0 * (raw - space.low) / (space.high - space.low) - 1.0
    return raw


def _moments(saved: SavedAgent) -> Moments:
    """Return the moments that a saved agent's observations are normalised with.

    Raises:
        WeightsError: they are missing.
    """
    try:
        return {
            agent: (
                saved.tensors[f"{agent}.observation_mean"],
                saved.tensors[f"{agent}.observation_std"],
            )
            for agent, member in saved.config["members"].items()
            if member["observation_norm"]
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"the saved agent is incomplete: {error}") from error
