"""The composed on-policy learner: actors, critics, and one update from one rollout.

Heterogeneous-agent mirror learning is the template (Kuba et al. 2022; Zhong et al. 2024): agents
are updated one after another, each on the joint advantage weighted by the product of the ratios
of those before. With the product left at one this is a simultaneous update (MAPPO, IPPO); with
one agent it is PPO; with a multiplier in the advantage it is PPO-Lag, or HAPPO-Lag.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from pkubench.agents.on_policy.collector import Array, Rollout
from pkubench.agents.on_policy.config import OnPolicyConfig
from pkubench.agents.parts.actor import Actor, action_size
from pkubench.agents.parts.advantages import gae
from pkubench.agents.parts.constraints import Lagrange
from pkubench.agents.parts.distributions import Distribution
from pkubench.agents.parts.networks import MLP, NetworkSpec
from pkubench.agents.parts.normalisers import ObservationNorm, ValueNorm, standardise
from pkubench.agents.parts.trust_region import Samples, TrustRegion, trust_region_step
from pkubench.agents.parts.update_rules import ppo_clip, surrogate, value_loss
from pkubench.agents.policy import map_action
from pkubench.envs.batch import BatchEnv
from pkubench.errors import ConfigError

SHARED = "shared"
"""Name of the one actor of a parameter-sharing team."""


class Critic:
    """A value network, its normaliser and its optimiser; for reward or for cost."""

    def __init__(
        self, inputs: int, config: OnPolicyConfig, device: str, generator: torch.Generator
    ) -> None:
        """Build a critic of ``inputs`` features."""
        self.config = config
        self.net = MLP(_spec(inputs, 1, 1.0, config), generator).to(device)
        self.norm = ValueNorm() if config.value_norm else None
        self.optimiser = _adam(self.net, config.critic_lr, config)

    def __call__(self, states: Tensor) -> Tensor:
        """Return values on the network's own (normalised) scale, (B,)."""
        values: Tensor = self.net(states).squeeze(-1)
        return values

    def values(self, states: Array, device: str) -> Array:
        """Return values on the network's scale for states (..., s)."""
        with torch.no_grad():
            flat = torch.from_numpy(states.reshape(-1, states.shape[-1])).to(device)
            return self(flat).cpu().numpy().reshape(states.shape[:-1])

    def denormalise(self, values: Array) -> Array:
        """Return values on the scale of returns."""
        return values if self.norm is None else self.norm.denormalise(values)

    def loss(self, states: Tensor, old_values: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of one minibatch; updates the normaliser first, as HARL does."""
        if self.norm is not None:
            self.norm.update(targets)
            targets = self.norm.normalise(targets)
        loss = value_loss(
            self(states),
            old_values,
            targets,
            clip=self.config.clip if self.config.value_clip else None,
            huber_delta=self.config.huber_delta,
        )
        if self.config.critic_l2:
            squares = torch.stack([p.pow(2).sum() for p in self.net.parameters()])
            loss = loss + self.config.critic_l2 * squares.sum()
        return loss


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
            spec = _spec(sizes[agent], action_size(space), config.actor_gain, config)
            self.actors[name] = Actor(
                spec, space, config.std, config.log_std_init, self.generator
            ).to(device)
        self.actor_optimisers = {
            name: _adam(actor, config.actor_lr, config) for name, actor in self.actors.items()
        }
        state_size = sum(sizes.values()) if env.state_space is None else _flat_size(env.state_space)
        self.local = config.critic == "local"
        inputs = list(sizes.values()) if self.local else [state_size]
        self.critics = [Critic(size, config, device, self.generator) for size in inputs]
        self.lagrange: Lagrange | None = None
        self.cost_critics: list[Critic] = []
        if config.constraint == "lagrangian":
            self.lagrange = Lagrange(
                limit=config.cost_limit,
                value=config.lambda_init,
                learning_rate=config.lambda_lr,
                upper=config.lambda_upper,
            )
            self.cost_critics = [Critic(size, config, device, self.generator) for size in inputs]
        self.norms: dict[str, ObservationNorm] = {}
        if config.observation_norm:
            self.norms = {a: ObservationNorm(sizes[a]) for a in self.agents}
            if len(self.agents) > 1:
                self.norms["state"] = ObservationNorm(state_size)

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

    def update(self, data: Rollout, episode_cost: float, progress: float) -> dict[str, float]:
        """Improve actors and critics on one rollout.

        Args:
            data: the rollout, collected with the present actors.
            episode_cost: mean undiscounted cost of recent episodes, for the multiplier.
            progress: share of the run done, in [0, 1], for the learning-rate decay.

        Returns:
            Named diagnostics: ``entropy``, ``kl``, ``value_loss``, ``multiplier``...
        """
        config = self.config
        if config.lr_decay:
            for optimiser in self.actor_optimisers.values():
                for group in optimiser.param_groups:
                    group["lr"] = config.actor_lr * (1.0 - progress)
        if config.critic_lr_decay:
            for critic in self.critics + self.cost_critics:
                for group in critic.optimiser.param_groups:
                    group["lr"] = config.critic_lr * (1.0 - progress)
        metrics: dict[str, float] = {}
        advantages = self._advantages(data, metrics, episode_cost)
        if config.scheme == "sequential":
            metrics |= self._update_sequentially(data, advantages)
        else:
            metrics |= self._update_simultaneously(data, advantages)
        return metrics

    def _advantages(
        self, data: Rollout, metrics: dict[str, float], episode_cost: float
    ) -> list[Tensor]:
        """Return each agent's flat advantages, and train the critics on the matching returns."""
        inputs = (
            [(data.observations[a], data.next_observations[a]) for a in self.agents]
            if self.local
            else [(data.states, data.next_states)]
        )
        combined: list[Tensor] = []
        if self.lagrange is not None:
            self.lagrange.update(episode_cost)
            metrics["multiplier"] = self.lagrange.value
        jobs: list[tuple[str, Critic, Array, Array, Array]] = []
        for k, (states, next_states) in enumerate(inputs):
            critic = self.critics[k]
            rewards = data.rewards * np.float32(self.config.reward_scale)
            raw, advantage = self._estimate(
                critic, data, rewards, states, next_states, self.config.lam
            )
            jobs.append(("value_loss", critic, states, raw, advantage))
            total = standardise(_flat(advantage, self.device), self.config.advantage_epsilon)
            if self.lagrange is not None:
                cost_critic = self.cost_critics[k]
                raw, advantage = self._estimate(
                    cost_critic, data, data.costs, states, next_states, self.config.cost_lam
                )
                jobs.append(("cost_value_loss", cost_critic, states, raw, advantage))
                cost = _flat(advantage, self.device)
                of_reward, of_cost = self.lagrange.weights()
                total = of_reward * total + of_cost * (cost - cost.mean())
            combined.append(total)
        for name, critic, states, raw, advantage in jobs:
            metrics[name] = self._update_critic(critic, states, raw, advantage)
        return combined if self.local else combined * len(self.agents)

    def _estimate(
        self,
        critic: Critic,
        data: Rollout,
        rewards: Array,
        states: Array,
        next_states: Array,
        lam: float,
    ) -> tuple[Array, Array]:
        """Return the critic's raw values (T, N) and the advantages (T, N)."""
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
        return raw, advantages

    def _update_critic(self, critic: Critic, states: Array, raw: Array, advantage: Array) -> float:
        inputs = _flat(states, self.device)
        old = _flat(raw, self.device)
        targets = _flat(advantage + critic.denormalise(raw), self.device)
        total, count = 0.0, 0
        for _ in range(self.config.critic_epochs):
            for index in self._minibatches(len(inputs)):
                loss = critic.loss(inputs[index], old[index], targets[index])
                _descend(loss, critic.net, critic.optimiser, self.config.max_grad_norm)
                total, count = total + float(loss.detach()), count + 1
        return total / count

    def _update_sequentially(self, data: Rollout, advantages: Sequence[Tensor]) -> dict[str, float]:
        """Update agents in a random order; each sees the ratios of those before (HARL Alg. 3)."""
        count = len(self.agents)
        order = torch.randperm(count, generator=self.generator).tolist()
        factor = torch.ones(advantages[0].shape, device=self.device)
        reports = []
        for position, k in enumerate(order):
            agent = self.agents[k]
            batch = self._batch(data, [agent])
            reports.append(self._update_actor(agent, batch, advantages[k], factor))
            if position < count - 1:
                factor = factor * self._ratio(agent, batch)
        return _means(reports)

    def _update_simultaneously(
        self, data: Rollout, advantages: Sequence[Tensor]
    ) -> dict[str, float]:
        reports = []
        for name in self.actors:
            members = [a for a in self.agents if self.actor_names[a] == name]
            batch = self._batch(data, members)
            advantage = torch.cat([advantages[self.agents.index(a)] for a in members])
            factor = torch.ones(advantage.shape, device=self.device)
            reports.append(self._update_actor(name, batch, advantage, factor))
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
        self, name: str, batch: Mapping[str, Any], advantage: Tensor, factor: Tensor
    ) -> dict[str, float]:
        """Run the passes over one actor's data; return the last KL(old||new) and entropy."""
        config, actor = self.config, self.actors[name]
        if config.update == "trust-region":
            return self._step_in_trust_region(actor, batch, advantage, factor)
        optimiser = self.actor_optimisers[name]
        observations, actions = batch["observations"], batch["actions"]
        old_log_probs, masks = batch["log_probs"], batch["masks"]
        old: Distribution | None = None
        if config.target_kl is not None:
            with torch.no_grad():
                old = actor(observations, masks)
        kl = entropy = float("nan")
        for _ in range(config.epochs):
            for index in self._minibatches(len(observations)):
                pi = actor(observations[index], None if masks is None else masks[index])
                log_ratio = pi.log_prob(actions[index]) - old_log_probs[index]
                mean_entropy = pi.entropy().mean()
                ratio, some, weights = log_ratio.exp(), advantage[index], factor[index]
                if config.update == "a2c":
                    loss = -surrogate(ratio, some, weights)
                else:
                    loss = ppo_clip(ratio, some, weights, config.clip)
                loss = loss - config.entropy * mean_entropy
                _descend(loss, actor, optimiser, config.max_grad_norm)
                entropy = float(mean_entropy.detach())
                kl = float((log_ratio.detach().exp() - 1.0 - log_ratio.detach()).mean())
            if old is not None and config.target_kl is not None:
                with torch.no_grad():
                    kl = float(old.kl(actor(observations, masks)).mean())
                if kl > config.target_kl:
                    break
        return {"kl": kl, "entropy": entropy}

    def _step_in_trust_region(
        self, actor: Actor, batch: Mapping[str, Any], advantage: Tensor, factor: Tensor
    ) -> dict[str, float]:
        """Take one step on the whole batch; return what it did, ``accepted`` 0.0 or 1.0."""
        config = self.config
        settings = TrustRegion(
            radius=config.kl_limit,
            cg_iterations=config.cg_iterations,
            cg_damping=config.cg_damping,
            fisher_every=config.fisher_every,
            search_steps=config.search_steps,
            search_decay=config.search_decay,
            accept_ratio=config.accept_ratio,
            discrete_kl=config.discrete_kl,
        )
        samples = Samples(**batch, advantage=advantage, factor=factor)
        step = trust_region_step(actor, samples, settings)
        return {
            "kl": step.kl,
            "entropy": step.entropy,
            "accepted": float(step.is_accepted),
            "fraction": step.fraction,
        }

    @torch.no_grad()
    def _ratio(self, name: str, batch: Mapping[str, Any]) -> Tensor:
        """Return pi_new(a|o) / pi_old(a|o) of an updated actor over all data."""
        pi = self.actors[name](batch["observations"], batch["masks"])
        ratio: Tensor = (pi.log_prob(batch["actions"]) - batch["log_probs"]).exp()
        return ratio

    def _minibatches(self, samples: int) -> list[Any]:
        """Return the index sets of one pass; the whole batch in order when there is one part."""
        if self.config.minibatches == 1:
            return [slice(None)]
        order = torch.randperm(samples, generator=self.generator).to(self.device)
        return list(torch.tensor_split(order, self.config.minibatches))


def _means(reports: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([report[name] for report in reports])) for name in reports[0]}


def _descend(
    loss: Tensor, module: nn.Module, optimiser: torch.optim.Optimizer, max_norm: float
) -> None:
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(module.parameters(), max_norm)
    optimiser.step()


def _adam(module: nn.Module, learning_rate: float, config: OnPolicyConfig) -> torch.optim.Adam:
    return torch.optim.Adam(
        module.parameters(), lr=learning_rate, eps=config.adam_epsilon, fused=True
    )


def _spec(inputs: int, outputs: int, gain: float, config: OnPolicyConfig) -> NetworkSpec:
    return NetworkSpec(
        inputs=inputs,
        hidden=config.hidden,
        outputs=outputs,
        activation=config.activation,
        layer_norm=config.layer_norm,
        init=config.init,
        head_gain=gain,
    )


def _flat_size(space: Any) -> int:
    return int(np.prod(space.shape))


def _flat(array: Array, device: str) -> Tensor:
    """Merge time and lanes: (T, N, ...) to (T * N, ...)."""
    merged = array.reshape(-1, *array.shape[2:])
    return torch.from_numpy(np.ascontiguousarray(merged)).to(device)
