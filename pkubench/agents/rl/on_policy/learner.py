"""The composed on-policy learner: actors, critics, and one update from one rollout.

Heterogeneous-agent mirror learning is the template (Kuba et al. 2022; Zhong et al. 2024): agents
are updated one after another, each on the joint advantage weighted by the product of the ratios
of those before. With the product left at one this is a simultaneous update (MAPPO, IPPO); with
one agent it is PPO; with a multiplier in the advantage it is PPO-Lag, or HAPPO-Lag.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from pkubench.agents.nn.actor import Actor, action_size
from pkubench.agents.nn.distributions import Distribution
from pkubench.agents.nn.fast.policy import map_action
from pkubench.agents.nn.normalisers import ObservationNorm, standardise
from pkubench.agents.rl.advantages import gae
from pkubench.agents.rl.constraints.base import CostConstraint
from pkubench.agents.rl.constraints.crpo import CRPO
from pkubench.agents.rl.constraints.cup import CUP
from pkubench.agents.rl.constraints.ipo import IPO
from pkubench.agents.rl.constraints.lagrangian import Lagrangian
from pkubench.agents.rl.on_policy.actor_update import update_by_a_step, update_by_passes
from pkubench.agents.rl.on_policy.config import WITHOUT_COST_CRITIC, OnPolicyConfig
from pkubench.agents.rl.on_policy.critic import Critic, CriticStack, spec_of
from pkubench.agents.rl.rollout import Array, Rollout
from pkubench.agents.rl.trainers import ActorTrainer
from pkubench.agents.rl.trust_region import Samples
from pkubench.envs.core.batch import BatchEnv
from pkubench.errors import ConfigError

SHARED = "shared"
"""Name of the one actor of a parameter-sharing team."""


class OnPolicyLearner:
    """Networks and their update. Knows nothing of episodes, files or progress."""

    def __init__(
        self, env: BatchEnv, config: OnPolicyConfig, seed: int, device: str = "cpu"
    ) -> None:
        """Build all networks for ``env``'s spaces from ``seed``.

        Raises:
            ConfigError: parameter sharing with unequal spaces, or spaces no actor fits.
        """
        self.config, self.device = config, device
        self.agents = env.agents
        self.action_spaces = dict(env.action_spaces)
        self.generator = torch.Generator().manual_seed(seed)
        sizes = {a: _flat_size(env.observation_spaces[a]) for a in self.agents}
        self.actor_names = {a: SHARED if config.shared else a for a in self.agents}
        if config.shared and len({(sizes[a], str(env.action_spaces[a])) for a in sizes}) > 1:
            raise ConfigError(
                "agents differ in their spaces, so they cannot share an actor: --set shared=false"
            )
        self.actors: dict[str, Actor] = {}
        for agent, name in self.actor_names.items():
            if name in self.actors:
                continue
            space = env.action_spaces[agent]
            spec = spec_of(sizes[agent], action_size(space), config.actor_gain, config)
            self.actors[name] = Actor(
                spec, space, config.std, config.log_std_init, self.generator
            ).to(device)
        self.trainers: dict[str, ActorTrainer] = {}
        """By actor; a step in a trust region needs none."""
        if config.update != "trust-region":
            for name, actor in self.actors.items():
                members = sum(of == name for of in self.actor_names.values())
                self.trainers[name] = ActorTrainer(
                    actor,
                    -(-config.batch_steps * members // config.minibatches),
                    lr=config.actor_lr,
                    epsilon=config.adam_epsilon,
                    max_grad_norm=config.max_grad_norm,
                )
        state_size = sum(sizes.values()) if env.state_space is None else _flat_size(env.state_space)
        self.local = config.critic == "local"
        inputs = list(sizes.values()) if self.local else [state_size]
        self.constraint = constraint_of(config)
        count = 1 if self.constraint is None else 2
        self.stacks = [CriticStack(k, count, config, device, self.generator) for k in inputs]
        """One a kind of input: a critic of reward and, under a constraint, one of cost."""
        self.norms: dict[str, ObservationNorm] = {}
        if config.observation_norm:
            # the budget of Saute stands last and keeps its scale
            kept = 1 if config.constraint == "saute" else 0
            self.norms = {a: ObservationNorm(sizes[a], kept) for a in self.agents}
            if len(self.agents) > 1:
                self.norms["state"] = ObservationNorm(state_size, kept)
        self.signal_norms: dict[str, ObservationNorm] = {}
        """Running moments of rewards and costs."""
        if config.signal_norm:
            self.signal_norms = {name: ObservationNorm(1) for name in ("rewards", "costs")}

    def prepare(
        self, observations: Mapping[str, Array], state: Array, fresh: bool
    ) -> tuple[dict[str, Array], Array]:
        """Return network inputs (float32), updating the running statistics with fresh ones."""
        flat = {a: o.reshape(len(o), -1) for a, o in observations.items()}
        if not self.norms:
            as_float = {a: o.astype(np.float32, copy=False) for a, o in flat.items()}
            return as_float, state.astype(np.float32, copy=False)
        if fresh:
            for agent, norm in self.norms.items():
                norm.update(state if agent == "state" else flat[agent])
        inputs = {a: self.norms[a](o) for a, o in flat.items()}
        if "state" in self.norms:
            return inputs, self.norms["state"](state)
        return inputs, inputs[self.agents[0]]

    @torch.no_grad()
    def behave(
        self, observations: Mapping[str, Array], masks: Mapping[str, Array]
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        """Sample an action for every agent and lane (see ``collector.Behaviour``)."""
        raw, mapped, log_probs = {}, {}, {}
        for agent, name in self.actor_names.items():
            mask = torch.from_numpy(masks[agent]).to(self.device) if agent in masks else None
            inputs = torch.from_numpy(observations[agent]).to(self.device)
            pi: Distribution = self.actors[name](inputs, mask)
            action = pi.sample(self.generator)
            log_probs[agent] = pi.log_prob(action).cpu().numpy()
            raw[agent] = action.cpu().numpy()
            space = self.action_spaces[agent]
            mapped[agent] = (
                raw[agent] + int(space.start)
                if isinstance(space, spaces.Discrete)
                else map_action(raw[agent], space, self.config.action_map)
            )
        return raw, mapped, log_probs

    def update(
        self,
        data: Rollout,
        episode_cost: float,
        progress: float,
        episode_length: float = 1.0,
    ) -> dict[str, float]:
        """Improve actors and critics on one rollout.

        Args:
            data: the rollout, collected with the present actors.
            episode_cost: mean undiscounted cost of recent episodes, for the constraint; NaN if
                it is to stay as it is.
            progress: share of the run done, in [0, 1], for the learning-rate decay.
            episode_length: mean steps of these episodes.

        Returns:
            Named diagnostics: ``entropy``, ``kl``, ``value_loss``, ``multiplier``...
        """
        config = self.config
        if config.lr_decay:
            for trainer in self.trainers.values():
                trainer.adam.lr = config.actor_lr * (1.0 - progress)
        if config.critic_lr_decay:
            for stack in self.stacks:
                stack.trainer.adam.lr = config.critic_lr * (1.0 - progress)
        metrics: dict[str, float] = {}
        if self.constraint is not None:
            self.constraint.update(episode_cost, episode_length)
            metrics |= self.constraint.metrics()
        advantages, costs = self._advantages(self._normalised(data), metrics)
        if config.scheme == "sequential":
            metrics |= self._update_sequentially(data, advantages, costs)
        else:
            metrics |= self._update_simultaneously(data, advantages, costs)
        return metrics

    def _normalised(self, data: Rollout) -> Rollout:
        """Return the rollout with rewards and costs standardised, where the settings say so."""
        signals = {n: norm.in_steps(getattr(data, n)) for n, norm in self.signal_norms.items()}
        return replace(data, **signals) if signals else data  # type: ignore[arg-type]

    def _advantages(
        self, data: Rollout, metrics: dict[str, float]
    ) -> tuple[list[Tensor], list[Tensor] | None]:
        """Return each agent's flat advantages: those to climb, and those of cost if there are any.

        Trains the critics on the matching returns.
        """
        inputs = (
            [(data.observations[a], data.next_observations[a]) for a in self.agents]
            if self.local
            else [(data.states, data.next_states)]
        )
        combined: list[Tensor] = []
        costs: list[Tensor] = []
        fits: list[tuple[CriticStack, Array, Array, Array]] = []
        streams = [(data.rewards * np.float32(self.config.reward_scale), self.config.lam)]
        if self.constraint is not None:
            streams.append((data.costs, self.config.cost_lam))
        for stack, (states, next_states) in zip(self.stacks, inputs, strict=True):
            estimates = [
                self._estimate(critic, data, signal, states, next_states, lam)
                for critic, (signal, lam) in zip(stack.members, streams, strict=True)
            ]
            raw, targets, advantages = (np.stack(of) for of in zip(*estimates, strict=True))
            fits.append((stack, states, raw, targets))
            flat = [_flat(advantage, self.device) for advantage in advantages]
            total = standardise(flat[0], self.config.advantage_epsilon)
            if self.constraint is not None:
                costs.append(flat[1] - flat[1].mean())
                of_reward, of_cost = self.constraint.weights()
                total = of_reward * total + of_cost * costs[-1]
            combined.append(total)
        for stack, states, raw, targets in fits:
            flat_states = states.reshape(-1, states.shape[-1])
            sizes = (len(stack.members), -1)
            losses = stack.fit(
                flat_states, raw.reshape(sizes), targets.reshape(sizes), self.generator
            )
            metrics |= dict(zip(("value_loss", "cost_value_loss"), losses, strict=False))
        each = 1 if self.local else len(self.agents)
        return combined * each, costs * each if costs else None

    def _estimate(
        self,
        critic: Critic,
        data: Rollout,
        rewards: Array,
        states: Array,
        next_states: Array,
        lam: float,
    ) -> tuple[Array, Array, Array]:
        """Return the critic's raw values, the returns and the advantages, each (T, N)."""
        raw = critic.values(states, self.device)
        values = critic.denormalise(raw)
        next_values = np.empty_like(values)
        next_values[:-1] = values[1:]
        final = data.truncated.copy()
        final[-1] = True
        next_values[final] = critic.denormalise(critic.values(next_states[final], self.device))
        advantages = gae(
            rewards,
            values,
            next_values,
            data.terminated,
            data.truncated,
            gamma=self.config.gamma,
            lam=lam,
            bootstrap_truncated=self.config.truncation == "bootstrap",
        )
        return raw, advantages + values, advantages

    def _update_sequentially(
        self, data: Rollout, advantages: Sequence[Tensor], costs: Sequence[Tensor] | None = None
    ) -> dict[str, float]:
        """Update agents in a random order; each sees the ratios of those before (HARL Alg. 3)."""
        count = len(self.agents)
        order = torch.randperm(count, generator=self.generator).tolist()
        factor = torch.ones(advantages[0].shape, device=self.device)
        reports = []
        for position, k in enumerate(order):
            agent = self.agents[k]
            batch = self._batch(data, [agent])
            cost = None if costs is None else costs[k]
            reports.append(self._update_actor(agent, batch, advantages[k], factor, cost))
            if position < count - 1:
                factor = factor * self._ratio(agent, batch)
        return _means(reports)

    def _update_simultaneously(
        self, data: Rollout, advantages: Sequence[Tensor], costs: Sequence[Tensor] | None = None
    ) -> dict[str, float]:
        reports = []
        for name in self.actors:
            members = [k for k, a in enumerate(self.agents) if self.actor_names[a] == name]
            batch = self._batch(data, [self.agents[k] for k in members])
            advantage = torch.cat([advantages[k] for k in members])
            cost = None if costs is None else torch.cat([costs[k] for k in members])
            factor = torch.ones(advantage.shape, device=self.device)
            reports.append(self._update_actor(name, batch, advantage, factor, cost))
        return _means(reports)

    def _batch(self, data: Rollout, members: Sequence[str]) -> dict[str, Tensor | None]:
        def gather(source: Mapping[str, Array]) -> Tensor | None:
            if members[0] not in source:
                return None
            return torch.cat([_flat(source[a], self.device) for a in members])

        return {
            "observations": gather(data.observations),
            "actions": gather(data.actions),
            "log_probs": gather(data.log_probs),
            "masks": gather(data.masks),
        }

    def _update_actor(
        self,
        name: str,
        batch: Mapping[str, Any],
        advantage: Tensor,
        factor: Tensor,
        cost: Tensor | None = None,
    ) -> dict[str, float]:
        samples = Samples(**batch, advantage=advantage, factor=factor)
        config, constraint = self.config, self.constraint
        at_once = 1 if config.scheme == "sequential" else len(self.agents)
        if config.update == "trust-region":
            actor = self.actors[name]
            return update_by_a_step(actor, samples, cost, constraint, config, at_once)
        return update_by_passes(
            self.trainers[name], samples, cost, constraint, config, self.generator, at_once
        )

    @torch.no_grad()
    def _ratio(self, name: str, batch: Mapping[str, Any]) -> Tensor:
        """Return pi_new(a|o) / pi_old(a|o) of an updated actor over all data."""
        pi = self.actors[name](batch["observations"], batch["masks"])
        ratio: Tensor = (pi.log_prob(batch["actions"]) - batch["log_probs"]).exp()
        return ratio


def constraint_of(config: OnPolicyConfig) -> CostConstraint | None:
    """Return what holds the cost; None where nothing does, or a changed world."""
    kind, limit = config.constraint, config.cost_limit
    if kind in WITHOUT_COST_CRITIC:
        return None
    if kind == "pid":
        return config.pid()
    if kind in ("lagrangian", "corrected"):
        return config.lagrange(CUP if kind == "corrected" else Lagrangian)
    if kind == "interior-point":
        return IPO(cost_limit=limit, barrier=config.barrier, penalty_max=config.penalty_max).start()
    if kind == "rectified":
        return CRPO(cost_limit=limit, tolerance=config.tolerance).start()
    return CostConstraint(limit)


def _means(reports: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([report[name] for report in reports])) for name in reports[0]}


def _flat_size(space: Any) -> int:
    return int(np.prod(space.shape))


def _flat(array: Array, device: str) -> Tensor:
    """Merge time and lanes: (T, N, ...) to (T * N, ...)."""
    merged = array.reshape(-1, *array.shape[2:])
    return torch.from_numpy(np.ascontiguousarray(merged)).to(device)
