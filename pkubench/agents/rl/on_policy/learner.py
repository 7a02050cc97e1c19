"""The composed on-policy learner: actors, critics, and one update from one rollout.

Heterogeneous-agent mirror learning is the template (Kuba et al. 2022; Zhong et al. 2024): agents
are updated sequentially, each on the joint advantage weighted by the product of the ratios of the
agents before. With a product of one this is a simultaneous update (MAPPO, IPPO); with one agent it
is PPO; with a multiplier in the advantage it is PPO-Lag, or HAPPO-Lag.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from pkubench.agents.nn.actor import Actor, output_size
from pkubench.agents.nn.distributions import Distribution
from pkubench.agents.nn.fast.policy import map_action
from pkubench.agents.rl.advantages import gae
from pkubench.agents.rl.constraints.scale import AdvantageScale
from pkubench.agents.rl.credit.base import CreditContext
from pkubench.agents.rl.on_policy.actor_update import (
    means,
    resolve_gradients,
    trainer_for,
    update_by_a_step,
    update_by_passes,
)
from pkubench.agents.rl.on_policy.batches import Advantages, actor_samples, flat, seen_alive
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.on_policy.critic import Critic, CriticStack, Fit, Sequences, joined
from pkubench.agents.rl.on_policy.imitation import imitate
from pkubench.agents.rl.on_policy.inputs import Inputs
from pkubench.agents.rl.on_policy.mixing import Estimated, mixed
from pkubench.agents.rl.on_policy.networks import seen_of, spec_of, state_seen
from pkubench.agents.rl.on_policy.signals import Signals
from pkubench.agents.rl.rollout import Array, Rollout
from pkubench.agents.rl.samples import ActorSamples, SequenceSamples
from pkubench.agents.rl.trainers import ActorTrainer
from pkubench.agents.rl.update_rules.base import GradientRule
from pkubench.envs.core.batch import BatchEnv
from pkubench.errors import ConfigError

SHARED = "shared"
"""Name of the single actor of a parameter-sharing team."""


class OnPolicyLearner:
    """Networks and their update, independent of episodes, files and progress."""

    def __init__(
        self, env: BatchEnv, config: OnPolicyConfig, seed: int, device: str = "cpu"
    ) -> None:
        """Build all networks for ``env``'s spaces from ``seed``.

        Raises:
            ConfigError: parameter sharing with unequal spaces, or spaces that actors or the encoder
                do not support.
        """
        config = replace(config, gradients=resolve_gradients(config))
        self.config, self.device = config, device
        """The settings with ``gradients`` resolved, as saved."""
        self.agents = env.agents
        self.action_spaces = dict(env.action_spaces)
        self.generator = torch.Generator().manual_seed(seed)
        self.seen = {a: seen_of(env.observation_spaces[a], config) for a in self.agents}
        self.constraint = config.constraint.start()
        self.scales = [AdvantageScale() for _ in config.constraint.cost_keys or ("cost",)]
        """Of the advantages so far; one for each cost with a limit."""
        self._build_actors()
        self._build_critics(env)
        self.inputs = Inputs(env, config)
        """Normalises observations with running moments."""
        context = CreditContext(
            agents=self.agents,
            observation_shapes={agent: seen.shape for agent, seen in self.seen.items()},
            action_spaces=self.action_spaces,
            state_shape=state_seen(env, self.seen, config).shape,
            device=device,
            horizon=env.max_episode_steps,
            has_state_critics=not self.local,
        )
        self.signals = Signals(context, config, self.is_shared, self.generator)

    def _build_actors(self) -> None:
        config, sizes = self.config, self.seen
        self.actor_names = {a: SHARED if config.shared else a for a in self.agents}
        if config.shared and len({(sizes[a], str(self.action_spaces[a])) for a in sizes}) > 1:
            raise ConfigError(
                "agents differ in their spaces, so they cannot share an actor: --set shared=false"
            )
        self.actors: dict[str, Actor] = {}
        for agent, name in self.actor_names.items():
            if name in self.actors:
                continue
            wrong = config.encoder.mismatch(sizes[agent].shape)
            if wrong:
                raise ConfigError(f"encoder={config.encoder.name} does not fit {agent!r}: {wrong}")
            space = self.action_spaces[agent]
            spec = spec_of(sizes[agent], output_size(space), config.actor_gain, config)
            actor = Actor(spec, space, config.std, config.log_std_init, self.generator)
            self.actors[name] = actor.to(self.device).eval()
        self.trainers: dict[str, ActorTrainer] = {}
        """By actor; a trust-region step needs none."""
        if isinstance(config.update, GradientRule):
            for name, actor in self.actors.items():
                members = sum(of == name for of in self.actor_names.values())
                samples = -(-config.batch_steps * members // config.minibatches)
                self.trainers[name] = trainer_for(actor, samples, config)

    def _build_critics(self, env: BatchEnv) -> None:
        config = self.config
        self.local = config.critic != "state"
        self.is_shared = not self.local and config.credit.is_shared
        """Whether one value, of the state, is that of all agents."""
        state = state_seen(env, self.seen, config)
        inputs = list(self.seen.values()) if self.local else [state] * len(self.agents)
        count = 1 if self.constraint is None else 1 + len(self.scales)
        is_one = self.is_shared or config.critic == "local-shared"
        if is_one and len(set(inputs)) > 1:
            raise ConfigError(
                "agents differ in their observations, so they cannot share a critic: --set "
                "critic=local"
            )
        several = len(inputs) if config.critic == "local-shared" else 1
        self.stacks = [
            CriticStack(seen, count, config, self.device, self.generator, several)
            for seen in (inputs[:1] if is_one else inputs)
        ]
        """One, or one per agent; critics of reward and, under a constraint, of each cost."""

    def stack_of(self, agent: int) -> CriticStack:
        """Return the critics of an agent (by number)."""
        return self.stacks[agent if len(self.stacks) > 1 else 0]

    @property
    def units(self) -> dict[str, int]:
        """Size of each agent's hidden state, for the collector; 0 without memory."""
        return {agent: self.actors[name].units for agent, name in self.actor_names.items()}

    @torch.no_grad()
    def behave(
        self,
        observations: Mapping[str, Array],
        masks: Mapping[str, Array],
        hidden: Mapping[str, Array] | None = None,
        first: Array | None = None,
    ) -> Any:
        """Sample an action for every agent and environment.

        Returns:
            As ``rollout.Behaviour``; with hidden states, as ``RecurrentBehaviour``.
        """
        raw, mapped, log_probs, after = {}, {}, {}, {}
        for agent, name in self.actor_names.items():
            mask = torch.from_numpy(masks[agent]).to(self.device) if agent in masks else None
            inputs = torch.from_numpy(observations[agent]).to(self.device)
            actor = self.actors[name]
            if hidden is None:
                pi: Distribution = actor(inputs, mask)
            else:
                before = torch.from_numpy(hidden[agent]).to(self.device)
                begins = torch.from_numpy(np.asarray(first)).to(self.device)[None]
                pi, states = actor.sequence(inputs[None], begins, before, mask)
                after[agent] = states[0].cpu().numpy()
            action = pi.sample(self.generator)
            log_probs[agent] = pi.log_prob(action).cpu().numpy()
            raw[agent] = action.cpu().numpy()
            space = self.action_spaces[agent]
            if isinstance(space, spaces.Discrete):
                mapped[agent] = raw[agent] + int(space.start)
            elif isinstance(space, spaces.MultiDiscrete):
                mapped[agent] = raw[agent]
            else:
                mapped[agent] = map_action(raw[agent], space, self.config.action_map)
        return (raw, mapped, log_probs) if hidden is None else (raw, mapped, log_probs, after)

    def update(
        self,
        data: Rollout,
        episode_cost: float | Sequence[float],
        progress: float,
        episode_length: float = 1.0,
    ) -> dict[str, float]:
        """Improve actors and critics on one rollout.

        Args:
            data: the rollout, collected with the present actors.
            episode_cost: mean undiscounted cost of recent episodes, or one for each source with a
                limit of its own; NaN leaves the constraint unchanged.
            progress: fraction of the run done, in [0, 1], for the learning-rate decay.
            episode_length: mean steps of these episodes.

        Returns:
            Named diagnostics: ``entropy``, ``kl``, ``value_loss``, ``multiplier``...
        """
        config, rule, data = self.config, self.config.update, data.with_blank_padding()
        if isinstance(rule, GradientRule) and rule.lr_decay:
            for trainer in self.trainers.values():
                trainer.adam.lr = rule.actor_lr * (1.0 - progress)
        if config.critic_lr_decay:
            for stack in self.stacks:
                stack.trainer.adam.lr = config.critic_lr * (1.0 - progress)
        metrics: dict[str, float] = {}
        metrics |= self.signals.learn(data)
        if not self.signals.credit.is_ready:
            return metrics
        costs = [episode_cost] if isinstance(episode_cost, float | int) else episode_cost
        advantages = self._advantages(data, (costs, episode_length), metrics)
        if config.scheme == "sequential":
            metrics |= self._update_sequentially(data, advantages)
        else:
            metrics |= self._update_simultaneously(data, advantages)
        return metrics | imitate(self, self.signals.credit.to_imitate())

    def fit_critics(self, data: Rollout) -> dict[str, float]:
        """Train the critics alone on the returns of a rollout; return their losses."""
        data = data.with_blank_padding()
        metrics = dict(self.signals.learn(data))
        if self.signals.credit.is_ready:
            self._advantages(data, ([float("nan")] * len(self.scales), 1.0), metrics)
        return metrics

    def _advantages(
        self, data: Rollout, measured: tuple[Sequence[float], float], metrics: dict[str, float]
    ) -> Advantages:
        """Return each agent's advantages, and train the critics on the matching returns.

        ``measured``: cost and length of episodes, with which the constraint is updated first.
        """
        rewards, costs = self.signals(data)
        of_agents: list[Estimated] = []
        fits: list[Fit] = []
        for k, reward in enumerate(rewards):
            agent, stack = self.agents[k], self.stack_of(k)
            states, next_states = (
                seen_alive(data, k, agent) if self.local else (data.states, data.next_states)
            )
            # all that own rewards and no costs predict ends with the agent; else every step counts
            is_over = self.config.credit.ends_at_death and self.constraint is None
            usable = data.usable(k) if is_over else None if data.valid.all() else data.valid
            ended = data.ended(k) if self.config.credit.ends_at_death else data.terminated
            streams = [(reward, self.config.lam, ended)]
            if self.constraint is not None:  # a team's costs continue after the death of an agent
                streams += [(column, self.config.cost_lam, data.terminated) for column in costs]
            estimates = [
                self._estimate(stack, row, data, signal, states, next_states, lam, end)
                for row, (signal, lam, end) in enumerate(streams)
            ]
            raw, targets, advantages, starts = (np.stack(of) for of in zip(*estimates, strict=True))
            fits.append(Fit(stack, states, raw, targets, usable, starts))
            acted = data.usable_states if self.is_shared else data.usable(k)
            chosen = None if acted is None else flat(acted, self.device)
            of_reward, *of_costs = (flat(advantage, self.device) for advantage in advantages)
            of_agents.append(Estimated(chosen, of_reward, of_costs))
        losses = [self._fit(data, fit) for fit in joined(fits)]
        names = ("value_loss", "cost_value_loss")
        metrics |= means([dict(zip(names, of, strict=False)) for of in losses])
        found = mixed(of_agents, self.constraint, self.scales, self.config, measured)
        if self.constraint is not None:
            metrics |= self.constraint.metrics()
        return found.times(len(self.agents)) if self.is_shared else found

    def _fit(self, data: Rollout, fit: Fit) -> list[float]:
        stack, states, usable = fit.stack, fit.states, fit.usable
        if self.config.is_recurrent:
            sequences = Sequences(data.first, fit.hidden)
            return stack.fit(states, fit.raw, fit.targets, self.generator, usable, sequences)
        sizes = (len(stack.members), -1)
        return stack.fit(
            states.reshape(-1, states.shape[-1]),
            fit.raw.reshape(sizes),
            fit.targets.reshape(sizes),
            self.generator,
            None if usable is None else usable.reshape(-1),
        )

    def _estimate(
        self,
        stack: CriticStack,
        row: int,
        data: Rollout,
        rewards: Array,
        states: Array,
        next_states: Array,
        lam: float,
        ended: Array,
    ) -> tuple[Array, Array, Array, Array]:
        """Return a critic's raw values, the returns and the advantages, each (T, N).

        The last is its hidden states where training begins (see ``Values.starts``).
        """
        critic: Critic = stack.members[row]
        final = data.truncated.copy()
        final[-1] = True
        found = critic.of_rollout(
            states, next_states, final, data.first, stack.hidden[row], self.device
        )
        stack.hidden[row] = found.hidden
        values = critic.denormalise(found.values)
        next_values = np.empty_like(values)
        next_values[:-1] = values[1:]
        next_values[final] = critic.denormalise(found.next_values[final])
        is_terminal = self.config.truncation == "terminal"
        advantages = gae(
            rewards,
            values,
            next_values,
            ended | data.truncated if is_terminal else ended,
            data.truncated,
            gamma=self.config.gamma,
            lam=lam,
            bootstrap_truncated=self.config.truncation != "official",
        )
        return found.values, advantages + values, advantages, found.starts

    def _update_sequentially(self, data: Rollout, advantages: Advantages) -> dict[str, float]:
        """Update agents in a random order, weighted by the ratios of those before (HARL Alg. 3)."""
        count = len(self.agents)
        order = torch.randperm(count, generator=self.generator).tolist()
        factor = torch.ones(advantages.to_ascend[0].shape, device=self.device)
        reports = []
        for position, k in enumerate(order):
            samples = self._samples(data, [k], advantages, factor)
            if not samples.num_steps:  # dead throughout: a ratio of 1
                continue
            reports.append(self._update_actor(self.agents[k], samples))
            if position < count - 1:
                factor = self._multiplied(factor, data, k, samples)
        return means(reports)

    def _update_simultaneously(self, data: Rollout, advantages: Advantages) -> dict[str, float]:
        reports = []
        for name in self.actors:
            members = [k for k, a in enumerate(self.agents) if self.actor_names[a] == name]
            samples = self._samples(data, members, advantages, None)
            if samples.num_steps:
                reports.append(self._update_actor(name, samples))
        return means(reports)

    def _samples(
        self,
        data: Rollout,
        members: Sequence[int],
        advantages: Advantages,
        factor: Tensor | None,
    ) -> ActorSamples:
        """Return the batch of the actor of some agents (by index)."""
        names = [self.agents[k] for k in members]
        is_recurrent = self.config.is_recurrent
        return actor_samples(data, members, names, advantages, factor, is_recurrent, self.device)

    def _update_actor(self, name: str, samples: ActorSamples) -> dict[str, float]:
        count = 1 if self.config.scheme == "sequential" else len(self.agents)
        length = self.config.memory.chunk_length
        if isinstance(samples, SequenceSamples) and length is not None:
            samples = samples.chunked(length, self.actors[name])
        if not isinstance(self.config.update, GradientRule):
            actor = self.actors[name]
            return update_by_a_step(actor, samples, self.constraint, self.config, count)
        return update_by_passes(
            self.trainers[name], samples, self.constraint, self.config, self.generator, count
        )

    @torch.no_grad()
    def _multiplied(
        self, factor: Tensor, data: Rollout, agent: int, samples: ActorSamples
    ) -> Tensor:
        """Return M times pi_new(a|o) / pi_old(a|o) of an updated agent, 1 where it was dead."""
        pi = samples.policy(self.actors[self.agents[agent]])
        steps = samples.steps
        ratio: Tensor = (pi.log_prob(steps.actions) - steps.log_probs).exp()
        usable = data.usable(agent)
        if usable is None:
            return factor * ratio
        product = factor.clone()
        product[flat(usable, self.device)] *= ratio
        return product
