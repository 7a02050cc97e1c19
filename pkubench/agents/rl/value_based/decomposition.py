"""Value decomposition: utilities of the agents, a monotone mix of them, and their update.

Deep recurrent Q-learning (Hausknecht & Stone 2015) of the value of the joint action (Sunehag et al.
2018; Rashid et al. 2018), on whole episodes, each unrolled from a memory of zeros.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pkubench.agents.nn.normalisers import ObservationNorm
from pkubench.agents.rl.advantages import gae
from pkubench.agents.rl.optimiser import Optimiser, adam
from pkubench.agents.rl.rollout import Array
from pkubench.agents.rl.trained import Trained
from pkubench.agents.rl.value_based.config import DecompositionConfig
from pkubench.agents.rl.value_based.episodes import Episodes
from pkubench.agents.rl.value_based.networks import TeamShape, Utilities
from pkubench.envs.core.batch import BatchEnv

NEVER = -1e10
"""The utility of an action that is not legal, where the greedy one is looked for."""


class DecompositionLearner(Trained):
    """Networks and their update, independent of episodes, files and progress."""

    def __init__(
        self, env: BatchEnv, config: DecompositionConfig, seed: int, device: str = "cpu"
    ) -> None:
        """Build all networks for ``env``'s spaces from ``seed``.

        Raises:
            ConfigError: an action space is not Discrete.
        """
        self.config, self.device = config, device
        self.shape = TeamShape.of(env, config.shared)
        self.generator = torch.Generator().manual_seed(seed)
        self.utilities = Utilities(self.shape, config, self.generator).to(device)
        agents = len(self.shape.agents)
        self.mixer: Any = config.mixer.build(agents, state_size(env, config), self.generator)
        self.mixer.to(device)
        self.target_utilities = copy.deepcopy(self.utilities).requires_grad_(False)
        self.target_mixer = copy.deepcopy(self.mixer).requires_grad_(False)
        self.modules = {
            "utilities": self.utilities,
            "mixer": self.mixer,
            "target_utilities": self.target_utilities,
            "target_mixer": self.target_mixer,
        }
        make = adam(config.lr) if config.optimiser == "adam" else _rmsprop(config.lr)
        parameters = [*self.utilities.parameters(), *self.mixer.parameters()]
        optimiser = Optimiser(make, parameters, max_grad_norm=config.max_grad_norm)
        self.optimisers = {"networks": optimiser}
        self.rewards = ObservationNorm(1)
        """Moments of the team's reward, of every step that was taken."""
        self.states = ObservationNorm(state_size(env, config))
        """Moments of the states in which these steps were taken."""
        self.epsilon = config.epsilon_start
        """Probability of a random action."""

    @property
    def updates(self) -> int:
        """Updates so far."""
        return self.optimisers["networks"].count

    # Acting

    @property
    def units(self) -> dict[str, int]:
        """Size of what is remembered of each agent between steps: hidden state and last action."""
        size = self.utilities.units + self.config.last_action * self.shape.widest[1]
        return dict.fromkeys(self.shape.agents, size)

    @torch.no_grad()
    def behave(
        self,
        observations: Mapping[str, Array],
        masks: Mapping[str, Array],
        hidden: Mapping[str, Array] | None = None,
        first: Array | None = None,
    ) -> Any:
        """Act greedily, and at random with probability ``epsilon``, each agent by itself.

        Returns:
            As ``rollout.Behaviour``, without log-probabilities; where something is remembered, as
            ``RecurrentBehaviour``.
        """
        agents, units = self.shape.agents, self.utilities.units
        batch = len(observations[agents[0]])
        seen, acted = self.shape.widest
        x = torch.zeros(1, batch, len(agents), seen)
        legal = torch.zeros(batch, len(agents), acted, dtype=torch.bool)
        for k, agent in enumerate(agents):
            x[0, :, k, : self.shape.observations[k]] = torch.from_numpy(observations[agent])
            legal[:, k, : self.shape.actions[k]] = True
            if agent in masks:
                legal[:, k, : self.shape.actions[k]] = torch.from_numpy(masks[agent] != 0)
        last, before = torch.zeros(batch, len(agents), acted), None
        if hidden is not None:
            kept = torch.from_numpy(np.stack([hidden[a] for a in agents], 1))
            kept = kept.masked_fill(torch.from_numpy(np.asarray(first))[:, None, None], 0.0)
            before = kept[..., :units].to(self.device)
            last = kept[..., units:] if self.config.last_action else last
        q, after = self.utilities(x.to(self.device), last[None].to(self.device), before)
        actions = self._explored(q[0].cpu(), legal)
        raw = {a: actions[:, k].numpy() for k, a in enumerate(agents)}
        mapped = {a: raw[a] + self.shape.starts[k] for k, a in enumerate(agents)}
        if hidden is None:
            return raw, mapped, {}
        kept = after.cpu()
        if self.config.last_action:
            kept = torch.cat([kept, functional.one_hot(actions, acted).to(kept.dtype)], -1)
        return raw, mapped, {}, {a: kept[:, k].numpy() for k, a in enumerate(agents)}

    def _explored(self, q: Tensor, legal: Tensor) -> Tensor:
        """Return actions (B, n) of utilities (B, n, A)."""
        greedy = q.masked_fill(~legal, NEVER).argmax(-1)
        drawn = torch.rand(legal.shape, generator=self.generator).masked_fill(~legal, -1.0)
        explores = torch.rand(greedy.shape, generator=self.generator) < self.epsilon
        return torch.where(explores, drawn.argmax(-1), greedy)

    # Learning

    def observe(self, episodes: Episodes) -> None:
        """Update all moments with new episodes: each step that was taken, once."""
        self.rewards.update(episodes.rewards[episodes.valid][:, None])
        if self._has_state_norm:
            self.states.update(episodes.states[:-1][episodes.valid])

    def scaled(self, rewards: Array) -> Array:
        """Return rewards (T, B) as the settings normalise them, where they are valid."""
        how = self.config.reward_norm
        if how == "none":
            return rewards
        shift = self.rewards.mean[0] if how == "standardise" else 0.0
        found: Array = (rewards - shift) / self.rewards.std[0]
        return found

    def update(self, batch: Episodes) -> dict[str, float]:
        """Take a step on a batch of episodes; return diagnostics."""
        found = self.loss(batch)
        self.optimisers["networks"].step(found["loss"])
        if self.updates % self.config.target_interval == 0:
            self._follow()
        return {name: float(value.detach()) for name, value in found.items()}

    def loss(self, batch: Episodes) -> dict[str, Tensor]:
        """Return the loss, and what it was computed from: ``value``, ``target``, means over steps.

        The weights' dtype is that of the computation.
        """
        actions, valid = self._tensor(batch.actions), self._tensor(batch.valid)
        alive, states = self._tensor(batch.alive), self._tensor(self._mixed_with(batch.states))
        seen, last = self._tensor(batch.observations), self._last_actions(batch)
        q, _ = self.utilities(seen, last)
        chosen = q[:-1].gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        value = self.mixer(self._counted(chosen, alive[:-1]), states[:-1])
        with torch.no_grad():
            q_target, _ = self.target_utilities(seen, last)
            best = (q if self.config.double_q else q_target).masked_fill(
                ~self._tensor(batch.legal), NEVER
            )
            ahead = q_target.gather(-1, best.argmax(-1, keepdim=True)).squeeze(-1)
            values = self.target_mixer(self._counted(ahead, alive), states)
            target = self.targets(batch, values)
        squared = (value - target).square()[valid].mean()
        factor = 0.5 if self.config.loss == "half-squared" else 1.0
        means = {"value": value[valid].mean(), "target": target[valid].mean()}
        return {"loss": factor * squared, **means}

    def targets(self, batch: Episodes, values: Tensor) -> Tensor:
        """Return TD(lambda) targets (T, B) from the target networks' values (T + 1, B).

        ``G_t = r_t + gamma [(1 - lam) V_{t+1} + lam G_{t+1}]``; after the last step ``V_{t+1}``
        alone, and nothing if it reached a terminal state. The recursion is that of generalized
        advantages, ``G_t = A_t + V_t``.
        """
        of = values.double().cpu().numpy()
        advantages = gae(
            self.scaled(batch.rewards),
            of[:-1],
            of[1:],
            batch.terminated,
            batch.truncated,
            gamma=self.config.gamma,
            lam=self.config.lam,
        )
        return torch.from_numpy(advantages + of[:-1]).to(values)

    def _counted(self, utilities: Tensor, alive: Tensor) -> Tensor:
        """Return utilities (..., n), 0 for dead agents where these are excluded."""
        if self.config.dead_agents == "included":
            return utilities
        return utilities.masked_fill(~alive, 0.0)

    @property
    def _has_state_norm(self) -> bool:
        return self.config.state_norm and self.config.mixer.reads_state

    def _mixed_with(self, states: Array) -> Array:
        """Return the states (T + 1, B, s) as the mixer is given them."""
        if not self._has_state_norm:
            return states
        return self.states(states.reshape(-1, states.shape[-1])).reshape(states.shape)

    def _last_actions(self, batch: Episodes) -> Tensor:
        """Return the previous actions of each step (T + 1, B, n, A), one-hot."""
        acted = self.shape.widest[1]
        taken = functional.one_hot(torch.from_numpy(batch.actions), acted).to(self._dtype)
        return functional.pad(taken, (0, 0, 0, 0, 0, 0, 1, 0)).to(self.device)

    def _tensor(self, array: Array) -> Tensor:
        """Return an array on the device, numbers in the weights' dtype."""
        tensor = torch.from_numpy(array).to(self.device)
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.utilities.parameters()).dtype

    @torch.no_grad()
    def _follow(self) -> None:
        """Update the target networks."""
        for target, online in (
            (self.target_utilities, self.utilities),
            (self.target_mixer, self.mixer),
        ):
            for old, new in zip(target.parameters(), online.parameters(), strict=True):
                old.lerp_(new, self.config.tau)

    # State

    def state(self) -> dict[str, Any]:
        """Return everything that changes."""
        drawn = self.generator.get_state().numpy().copy()
        moments = {"rewards": self.rewards.freeze(), "states": self.states.freeze()}
        return {**super().state(), "generator": drawn, **moments}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises:
            WeightsError: it is of networks of other shapes.
        """
        super().load_state(state)
        self.generator.set_state(torch.from_numpy(state["generator"].copy()))
        self.rewards.thaw(state["rewards"])
        self.states.thaw(state["states"])


def state_size(env: BatchEnv, config: DecompositionConfig) -> int:
    """Return the numbers of the states that the mixer is given."""
    if not config.mixer.reads_state:
        return 0
    if env.state_space is not None:
        return int(np.prod(env.state_space.shape))
    return sum(int(np.prod(env.observation_spaces[a].shape or (1,))) for a in env.agents)


def _rmsprop(lr: float) -> Any:
    return lambda parameters: torch.optim.RMSprop(parameters, lr=lr, alpha=0.99, eps=1e-5)
