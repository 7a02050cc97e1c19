"""The composed off-policy learner: one update from one batch, for S training seeds in a stack.

The critic takes state and joint action. It is regressed to the target of the rule (``rules/``), and
the agents then ascend it by the scheme (HARL section 5; HASAC): sequentially, each given the fresh
actions of those already updated; or simultaneously; or each given the replayed actions of the
others (MADDPG). With a constraint (``constraints.py``) there are cost critics too, and every
training seed has its own multiplier.

Losses are differentiated by autograd (``autograd.py``), or with hand-written gradients where they
exist (``fast.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from pkubench.agents.nn.actor import action_size
from pkubench.agents.nn.fast.stacked import Adam
from pkubench.agents.rl.groups import groups_of
from pkubench.agents.rl.off_policy import fast
from pkubench.agents.rl.off_policy.autograd import Autograd
from pkubench.agents.rl.off_policy.batch import Batch, Noise, draw_noise
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.rl.off_policy.fast import Fast
from pkubench.agents.rl.off_policy.heads import log_scale
from pkubench.agents.rl.off_policy.networks import ActorGroup, Critics, Team
from pkubench.agents.rl.replay import Array, RowLayout
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.seeding import mix64
from pkubench.errors import ConfigError

_ODD = np.uint64(0x9E3779B97F4A7C15)
"""SplitMix64's increment: its stream is the mix of successive multiples of this."""


class OffPolicyLearner:
    """Networks and their update, independent of episodes, files and progress.

    ``config`` is the given one with ``gradients`` resolved.
    """

    def __init__(
        self, env: BatchEnv, config: OffPolicyConfig, seeds: Sequence[int], device: str = "cpu"
    ) -> None:
        """Build the networks of each training seed for ``env``'s spaces.

        Raises:
            ConfigError: an unsupported action space, or ``gradients=fast`` where a loss has no
                hand-written gradient.
        """
        self.device, self.seeds = device, tuple(seeds)
        self.agents, self.action_spaces = env.agents, dict(env.action_spaces)
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.team = _team(env, config, len(self.seeds), device)
        self.layout, self.place = self.team.layout, self.team.place
        self.groups, self.critics = self.team.groups, self.team.critics
        self.config = _resolved(config, self.team)
        self.rule = self.config.rule
        started = [config.constraint.start() for _ in seeds]
        self.constraints = [constraint for constraint in started if constraint is not None]
        """One per training seed, or none."""
        self._gradients = (Fast if self.config.gradients == "fast" else Autograd)(
            self.team, self.config
        )
        self._initialise()
        self.updates = 0
        """Updates so far; the order of the agents is drawn from this number."""
        self.policy_updates = 0
        self._has_alpha = self.rule.initial_alpha is not None
        self.log_alpha = torch.full(
            (len(self.seeds), len(self.agents) + 1),
            float(np.log(self.rule.initial_alpha or 1.0)),
            device=device,
        )
        """(S, n + 1): one per agent, then the critic's; for rules with a temperature."""
        self.alpha_adam = Adam(self.log_alpha, self.rule.temperature_lr or 0.0)
        goals = [
            self.rule.entropy_goal(space, log_scale(space, config.bounds))
            for space in (env.action_spaces[a] for a in env.agents)
        ]
        self.target_entropies = torch.tensor([*goals, sum(goals)], device=device)
        self.target_actors = [group.net.flat.clone() for group in self.groups]
        """Target actors, for rules that have them."""
        self._target_nets = [
            group.net.on(flat) for group, flat in zip(self.groups, self.target_actors, strict=True)
        ]
        count = len(self.seeds)
        self._behaviours = [
            [(g.net.every(s, count), g.head.rows(slice(s, None, count))) for g in self.groups]
            for s in range(count)
        ]
        """Networks and heads that act for each training seed."""

    def _initialise(self) -> None:
        for s, generator in enumerate(self.generators):
            for group in self.groups:
                rows = {group.network_of(m, s) for m in range(len(group.agents))}
                for row in sorted(rows):
                    group.net.initialise(row, generator)
            self.critics.initialise(s, generator)

    def count_to(self, updates: int, policy_updates: int) -> None:
        """Set the number of updates so far, from a checkpoint."""
        self.updates, self.policy_updates = updates, policy_updates
        self.critics.adam.count = updates
        for group in self.groups:
            group.count_to(policy_updates)
        self.alpha_adam.count = policy_updates

    # Acting

    @torch.no_grad()
    def act(self, seed: int, observations: Mapping[str, Array]) -> dict[str, Array]:
        """Return exploratory environment actions of the ``seed``-th training seed.

        ``observations`` are (N, size) of each agent.
        """
        actions: dict[str, Array] = {}
        generator = self.generators[seed]
        for group, (net, head) in zip(self.groups, self._behaviours[seed], strict=True):
            x = torch.from_numpy(np.stack([observations[a] for a in group.agents]))
            x = x.to(self.device)
            if group.shared:
                outputs = net.forward(x.view(1, -1, x.shape[-1]))[0].view(*x.shape[:2], -1)
            else:
                outputs = net.forward(x)[0]
            noise = torch.empty(*x.shape[:2], head.size)
            if head.sampling_noise == "exponential":
                noise.exponential_(generator=generator)
            else:
                noise.normal_(generator=generator)
            drawn = self.rule.explore(head, outputs, noise.to(self.device)).cpu().numpy()
            for member, agent in enumerate(group.agents):
                actions[agent] = self._for_environment(agent, drawn[member])
        return actions

    def act_randomly(self, seed: int, num_envs: int) -> dict[str, Array]:
        """Return uniform random actions."""
        actions = {}
        for agent, space in self.action_spaces.items():
            size = action_size(space)
            unit = torch.rand(num_envs, size, generator=self.generators[seed]).numpy()
            if isinstance(space, spaces.Box):
                actions[agent] = (space.low + (space.high - space.low) * unit).astype(space.dtype)
            else:
                actions[agent] = self._for_environment(agent, unit)
        return actions

    def _for_environment(self, agent: str, values: Array) -> Array:
        space = self.action_spaces[agent]
        if isinstance(space, spaces.Discrete):
            return np.asarray(values.argmax(-1) + int(space.start))
        return values.astype(space.dtype, copy=False)

    # Learning

    def order(self) -> list[int]:
        """Return the agents in this update's random order, a function of the update's number alone.

        So it is the same for all training seeds of a batch, and for a seed trained separately.
        """
        if self.config.scheme != "sequential":
            return list(range(len(self.agents)))
        count = len(self.agents)
        places = np.arange(self.updates * count, (self.updates + 1) * count, dtype=np.uint64)
        order: list[int] = mix64(places * _ODD).argsort().tolist()
        return order

    def draw_noise(self, batch: int, is_policy_update: bool) -> Noise:
        """Draw noise for an update of ``batch`` transitions, each seed from its own generator."""
        kinds = []
        for group in self.groups:
            learning = group.head.noise if is_policy_update else None
            fresh = learning if self.config.scheme == "sequential" else None
            kinds.append((self.rule.next_action_noise(group.head), learning, fresh))
        return draw_noise(self.groups, kinds, batch, self.generators, self.device)

    @torch.no_grad()
    def update(
        self, batch: Batch, noise: Noise | None = None, *, is_reported: bool = False
    ) -> dict[str, Tensor]:
        """Improve critics and, every ``policy_delay``-th time, actors and targets.

        Args:
            batch: a transition for each sample and training seed.
            noise: numbers to use instead of fresh ones (for tests).
            is_reported: compute diagnostics.

        Returns:
            Diagnostics, (S,) each.
        """
        config = self.config
        is_policy_update = (self.updates + 1) % config.policy_delay == 0
        if noise is None:
            noise = self.draw_noise(batch.rewards.shape[1], is_policy_update)
        alpha = self.log_alpha.exp() if self._has_alpha else None
        targets = self._targets(batch, noise, alpha)
        q = self._gradients.update_critics(batch.rows[..., self.layout.joint], targets)
        found = self._describe(q, targets) if is_reported else {}
        if is_policy_update:
            log_probs = self._gradients.update_actors(
                batch.rows, noise, alpha, self.constraints, self.order()
            )
            if log_probs is not None:
                if is_reported:
                    found["entropy"] = -log_probs.mean((1, 2))
                if self.rule.temperature_lr is not None:
                    self._update_alpha(log_probs)
            self.critics.follow()
            if self.rule.has_target_actors:
                for group, slow in zip(self.groups, self.target_actors, strict=True):
                    slow.lerp_(group.net.flat, config.tau)
            self.policy_updates += 1
        self.updates += 1
        if alpha is not None and is_reported:
            found["alpha"] = alpha[:, :-1].mean(1)
        if self.constraints and is_reported:
            found["multiplier"] = torch.tensor([c.multiplier for c in self.constraints])
        return found

    def _targets(self, batch: Batch, noise: Noise, alpha: Tensor | None) -> Tensor:
        """Return the critics' targets (K, S, B): those of cost, then those of reward."""
        rule, constraint, critics = self.rule, self.config.constraint, self.critics
        log_prob: Tensor | None = None
        for g, group in enumerate(self.groups):
            observations = self.team.observations(group, batch.next_rows)
            net = self._target_nets[g] if rule.has_target_actors else None
            outputs = group.forward(observations, net)[0]
            actions, own = rule.next_action(group.head, outputs, noise.target[g])
            self.team.place_actions(group, batch.next_rows, actions)
            if own is not None:
                total = own.view(len(group.agents), len(self.seeds), -1).sum(0)
                log_prob = total if log_prob is None else log_prob + total
        costs = critics.costs
        q_next = critics.target_values(batch.next_rows[..., self.layout.joint])
        future = rule.next_value(q_next[costs:], log_prob, None if alpha is None else alpha[:, -1:])
        target = rule.target(batch.rewards, batch.discounts, future)
        targets = target.expand(critics.count - costs, *target.shape)
        if not costs:
            return targets
        if constraint.is_as_omnisafe:
            q_next = critics.target_values(self._at_the_mode(batch.next_rows))
        future = constraint.next_cost(q_next[:costs])
        cost = rule.target(batch.costs, batch.discounts, future)
        return torch.cat([cost.expand(costs, *cost.shape), targets])

    def _at_the_mode(self, rows: Tensor) -> Tensor:
        """Return state and joint action with every action at its actor's mode."""
        for group in self.groups:
            outputs = group.forward(self.team.observations(group, rows))[0]
            self.team.place_actions(group, rows, group.head.mode(outputs))
        return rows[..., self.layout.joint]

    def _describe(self, q: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return mean losses and values of the critics (K, S, B)."""
        costs, losses = self.critics.costs, self.rule.critic_loss(q, targets)
        found = {"value_loss": losses[costs:].sum(0), "value": q[costs].mean(-1)}
        if costs:
            found |= {"cost_value_loss": losses[:costs].sum(0), "cost_value": q[0].mean(-1)}
        return found

    def _update_alpha(self, log_probs: Tensor) -> None:
        every = torch.cat([log_probs, log_probs.sum(1, keepdim=True)], 1)
        gradient = self._gradients.temperature_gradient(
            self.log_alpha, every, self.target_entropies
        )
        self.alpha_adam.gradient.copy_(gradient)
        self.alpha_adam.step()


def _team(env: BatchEnv, config: OffPolicyConfig, seeds: int, device: str) -> Team:
    """Return networks for the spaces of an environment, not yet initialised."""
    sizes = {a: _flat_size(env.observation_spaces[a]) for a in env.agents}
    actions = {a: action_size(env.action_spaces[a]) for a in env.agents}
    state_size = None
    if env.state_space is not None and type(env).state is not BatchEnv.state:
        state_size = _flat_size(env.state_space)
    layout = RowLayout.of(sizes, actions, state_size)
    alike = [
        (sizes[a], actions[a], isinstance(env.action_spaces[a], spaces.Discrete))
        for a in env.agents
    ]
    groups = [
        ActorGroup(
            members,
            sizes[members[0]],
            [env.action_spaces[a] for a in members],
            seeds,
            config,
            device,
        )
        for members in groups_of(env.agents, alike)
    ]
    critics = Critics(layout.joint.stop - layout.joint.start, seeds, config, device)
    return Team(env.agents, seeds, layout, groups, critics)


def _resolved(config: OffPolicyConfig, team: Team) -> OffPolicyConfig:
    """Return the settings with ``gradients`` as ``fast`` or ``autograd``."""
    if config.gradients == "autograd":
        return config
    missing = fast.without_gradients(team, config)
    if missing and config.gradients == "fast":
        raise ConfigError(
            f"gradients=fast needs hand-written gradients, which {missing} does not have; "
            "use --set gradients=auto"
        )
    return replace(config, gradients="autograd" if missing else "fast")


def _flat_size(space: spaces.Space[object]) -> int:
    return int(np.prod(space.shape or (1,)))
