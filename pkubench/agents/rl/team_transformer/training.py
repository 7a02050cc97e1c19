"""MAT's training for a session: a rollout, advantages of each agent, passes of PPO.

With continuous actions the ratio is of each dimension, is clipped so, and the surrogates are
summed; the losses of actions, entropies and values are added and descended by one Adam.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from pkubench.agents.components import as_plain
from pkubench.agents.learner import Context, Counters, Export, State
from pkubench.agents.nn.actor import action_size
from pkubench.agents.nn.fast.policy import map_action
from pkubench.agents.nn.normalisers import ValueNorm, standardise
from pkubench.agents.rl.advantages import gae
from pkubench.agents.rl.malloc import keep_freed_memory
from pkubench.agents.rl.optimiser import Optimiser
from pkubench.agents.rl.rollout import Array, Collector, Rollout
from pkubench.agents.rl.rows import flat_inputs
from pkubench.agents.rl.team_transformer.config import TeamTransformerConfig
from pkubench.agents.rl.team_transformer.networks import TeamSpec, TeamTransformer
from pkubench.agents.rl.value_loss import value_loss
from pkubench.errors import ConfigError, WeightsError


class TeamTraining:
    """One training seed of MAT; see ``pkubench.agents.learner.Learner``."""

    is_anytime = False
    ended = ""

    def __init__(self, context: Context) -> None:
        """Make environments, network and collector.

        Raises:
            ConfigError: agents differ in their spaces, or the spaces are not supported.
        """
        config: TeamTransformerConfig = context.settings
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        self.config, self.device = config, context.device
        self.env = context.make_env(config.num_envs)
        try:
            self.spec = _spec_of(self.env, config)
            self.space = next(iter(self.env.action_spaces.values()))
            self.generator = torch.Generator().manual_seed(context.seed)
            self.net: Any = self.make_net().to(self.device)
            self.norm = ValueNorm()
            self.optimiser = Optimiser(
                lambda p: torch.optim.Adam(p, lr=config.lr, eps=config.adam_epsilon, fused=True),
                self.net.parameters(),
                max_grad_norm=config.max_grad_norm,
            )
            self.collector = Collector(
                self.env, context.seed, config.window, flat_inputs, units=self.units()
            )
        except BaseException:
            self.env.close()
            raise
        self.counters = Counters()

    def make_net(self) -> nn.Module:
        """Return the network, with its initial weights."""
        return TeamTransformer(self.spec, self.generator)

    def units(self) -> dict[str, int]:
        """Return the size of the team's memory, under the first agent's name."""
        return {}

    def iterate(self) -> dict[str, float]:
        """Collect a rollout and update once."""
        config, done = self.config, self.counters
        data = self.collector.collect(config.rollout_steps, self.behave, restart=False)
        figures = self.update(data)
        self.counters = done._replace(
            iterations=done.iterations + 1,
            environment_steps=done.environment_steps + config.rollout_steps * config.num_envs,
            episodes=done.episodes + int((data.terminated | data.truncated).sum()),
            gradient_steps=self.optimiser.count,
        )
        figures = {**self.collector.window.curve(), **figures}
        return {name: round(value, 6) for name, value in figures.items()}

    def behave(
        self, observations: Mapping[str, Array], masks: Mapping[str, Array]
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        """Act (see ``rl.behaviour.Behaviour``); log-probabilities are (N, 1) or (N, d_a)."""
        stacked = self.team_of(observations, masks)
        return self.by_agent(*self.net.act(stacked, self.generator))

    def team_of(self, observations: Mapping[str, Array], masks: Mapping[str, Array]) -> Tensor:
        """Return the observations (N, n, d) of all agents.

        Raises:
            ConfigError: not every action is legal.
        """
        if masks:
            raise ConfigError("this agent acts where every action is always legal")
        stacked = np.stack([observations[a] for a in self.env.agents], 1)
        return torch.from_numpy(stacked).to(self.device)

    def by_agent(
        self, actions: Tensor, log_probs: Tensor
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        """Return raw actions, those for the environment, and log-probabilities, by agent id."""
        raw, mapped, found = {}, {}, {}
        for k, agent in enumerate(self.env.agents):
            raw[agent] = actions[:, k].cpu().numpy()
            found[agent] = log_probs[:, k].cpu().numpy()
            space = self.env.action_spaces[agent]
            if isinstance(space, spaces.Discrete):
                mapped[agent] = raw[agent] + int(space.start)
            else:
                mapped[agent] = map_action(raw[agent], space, "clip")
        return raw, mapped, found

    def update(self, data: Rollout) -> dict[str, float]:
        """Improve the network on a rollout; return diagnostics."""
        config = self.config
        observations = self._stacked(data.observations)
        actions, old = self._stacked(data.actions), self._stacked(data.log_probs)
        raw, targets, estimated = self.estimates(data, observations)
        advantages = standardise(torch.from_numpy(estimated.reshape(-1)), 1e-5).view(raw.shape)
        values, sums = torch.from_numpy(raw), np.zeros(3)
        count = self.count(data)
        for _ in range(config.epochs):
            order = torch.randperm(count, generator=self.generator)
            for rows in order.chunk(config.minibatches):
                target = self.take(torch.from_numpy(targets), rows).numpy()
                self.norm.update(target.reshape(-1))
                wanted = torch.from_numpy(self.norm.normalise(target)).to(self.device)
                given = [self.take(of, rows).to(self.device) for of in (old, values, advantages)]
                found = self.evaluate(data, observations, actions, rows)
                losses = self.losses(found, (given[0], given[1], given[2], wanted))
                weights = (1.0, -config.entropy, config.value_weight)
                terms = [w * loss for w, loss in zip(weights, losses, strict=True)]
                self.optimiser.step(terms[0] + terms[1] + terms[2])
                sums += [float(loss.detach()) for loss in losses]
        means = sums / (config.epochs * min(config.minibatches, count))
        return dict(zip(("policy_loss", "entropy", "value_loss"), means.tolist(), strict=True))

    def count(self, data: Rollout) -> int:
        """Return the number of units that minibatches are of: steps."""
        return int(data.first.size)

    def take(self, of: Tensor, rows: Tensor) -> Tensor:
        """Return the units ``rows`` of something (T, N, ...)."""
        return of.flatten(0, 1)[rows]

    def evaluate(
        self, data: Rollout, observations: Tensor, actions: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-probabilities, entropies and values of some units of a rollout."""
        given = [self.take(of, rows).to(self.device) for of in (observations, actions)]
        found: tuple[Tensor, Tensor, Tensor] = self.net.evaluate(*given)
        return found

    def losses(
        self,
        found: tuple[Tensor, Tensor, Tensor],
        given: tuple[Tensor, Tensor, Tensor, Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the surrogate loss, the mean entropy and the value loss.

        Args:
            found: log-probabilities (..., n, d), entropies (..., n) and values (..., n) now.
            given: log-probabilities and values when the data was collected, advantages and targets;
                values and targets on the normalised scale.
        """
        clip = self.config.clip
        (log_probs, entropy, values), (before, old_values, advantages, targets) = found, given
        ratio = (log_probs - before).exp()
        gain = advantages.unsqueeze(-1)
        surrogate = torch.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain)
        value = value_loss(
            values.flatten(),
            old_values.flatten(),
            targets.flatten(),
            clip=clip,
            huber_delta=self.config.huber_delta,
        )
        return -surrogate.sum(-1).mean(), entropy.mean(), value

    def estimates(self, data: Rollout, observations: Tensor) -> tuple[Array, Array, Array]:
        """Return values as the network gives them, returns and advantages, (T, N, n) float32."""
        config, final = self.config, data.truncated.copy()
        final[-1] = True
        raw, ahead = self.values(data, observations, final)
        values = self.norm.denormalise(raw)
        following = np.empty_like(values)
        following[:-1] = values[1:]
        following[final] = self.norm.denormalise(ahead)
        advantages = np.stack(
            [
                gae(
                    data.team_rewards,
                    values[..., k],
                    following[..., k],
                    data.terminated,
                    data.truncated,
                    gamma=config.gamma,
                    lam=config.lam,
                    bootstrap_truncated=config.truncation == "bootstrap",
                )
                for k in range(self.spec.agents)
            ],
            -1,
        )
        return raw, advantages + values, advantages

    @torch.no_grad()
    def values(self, data: Rollout, observations: Tensor, final: Array) -> tuple[Array, Array]:
        """Return values (T, N, n), and those of the next observations where ``final``, (K, n)."""
        ahead = self._stacked(data.next_observations)[torch.from_numpy(final)]
        flat = self.net.values(observations.flatten(0, 1).to(self.device)).cpu().numpy()
        return flat.reshape(*final.shape, -1), self.net.values(ahead.to(self.device)).cpu().numpy()

    def _stacked(self, arrays: Mapping[str, Array]) -> Tensor:
        """Return (T, N, n, ...) of arrays by agent."""
        return torch.from_numpy(np.stack([arrays[a] for a in self.env.agents], 2))

    def state(self) -> State:
        """Return network, optimiser, normaliser, rollout and counters."""
        return {
            "net": {k: v.cpu().numpy().copy() for k, v in self.net.state_dict().items()},
            "optimiser": self.optimiser.state(),
            "value_norm": self.norm.sums.copy(),
            "generator": self.generator.get_state().numpy().copy(),
            "collector": self.collector.freeze(),
            "counters": dict(self.counters._asdict()),
        }

    def load_state(self, state: State) -> None:
        """Restore a state; unfinished episodes are replayed."""
        try:
            tensors = {k: torch.from_numpy(v.copy()) for k, v in state["net"].items()}
            self.net.load_state_dict(tensors)
            self.optimiser.load_state(state["optimiser"])
            self.norm.sums = np.array(state["value_norm"])
            self.generator.set_state(torch.from_numpy(state["generator"].copy()))
            self.collector.thaw(state["collector"])
            self.counters = Counters(**state["counters"])
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            raise WeightsError(f"the state does not fit this run: {error}") from error

    def export(self) -> Export:
        """Return the network."""
        tensors = {f"net.{k}": v.cpu().numpy().copy() for k, v in self.net.state_dict().items()}
        config: dict[str, Any] = {
            "settings": as_plain(self.config),
            "spec": self.spec.as_config(),
            "agents": list(self.env.agents),
        }
        return Export(config, tensors, about=self.collector.window.training_cost_entry())

    def close(self) -> None:
        """Release the environments."""
        self.env.close()


def _spec_of(env: Any, config: TeamTransformerConfig) -> TeamSpec:
    kinds = {(str(env.observation_spaces[a]), str(env.action_spaces[a])) for a in env.agents}
    if len(kinds) > 1:
        raise ConfigError("agents differ in their spaces, so they cannot form one sequence")
    first = env.agents[0]
    space = env.action_spaces[first]
    return TeamSpec(
        agents=len(env.agents),
        observations=int(np.prod(env.observation_spaces[first].shape or (1,))),
        actions=action_size(space),
        is_discrete=isinstance(space, spaces.Discrete),
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        is_decentralised=config.execution == "decentralised",
        shared=config.shared,
        has_memory=config.memory != "none",
    )
