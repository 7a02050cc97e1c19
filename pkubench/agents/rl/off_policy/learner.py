"""The composed off-policy learner: one update from one batch, for S training seeds at once.

The critic sees state and joint action. It is regressed to ``r_n + gamma^k (1 - term) V'`` with V'
by the rule: ``Q'(s', mu'(o'))`` (DDPG), the smaller twin at smoothed actions (TD3), or the smaller
twin minus ``alpha sum_i log pi^i`` at sampled ones (SAC). Then the agents climb the critic by the
scheme (HARL section 5; HASAC): one after another, each seeing the fresh actions of those already
updated; or all at once; or each beside the replayed actions of the others (MADDPG).

With a constraint a critic of cost is regressed to ``c_n + gamma^k (1 - term) Q_cost'`` at the same
next actions, without entropy, and agents climb ``(Q - lambda Q_cost) / (1 + lambda)``, where Q is
the rule's own: SAC's entropy is divided too. A training seed has its own multiplier lambda.

Gradients are written by hand. What stays the same between agents is computed once: all actors'
forward passes, the critic's first-layer sums (one agent's action changes a few columns of its
input), and no parameter gradient of a critic is formed while actors learn. A test holds a whole
update to a slow one by autograd.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from pkubench.agents.nn.actor import action_size
from pkubench.agents.nn.fast.stacked import Adam
from pkubench.agents.rl.off_policy.config import OffPolicyConfig, constraint_of
from pkubench.agents.rl.off_policy.heads import Drawn, log_scale, rows_of
from pkubench.agents.rl.off_policy.networks import ActorGroup, Critics, groups_of
from pkubench.agents.rl.off_policy_rules import (
    bootstrap_target,
    climbed,
    next_value,
    squared_error_gradient,
    target_entropy,
    temperature_gradient,
)
from pkubench.agents.rl.replay import Array, RowLayout
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.seeding import mix64

_ODD = np.uint64(0x9E3779B97F4A7C15)
"""SplitMix64's increment: successive counts times this, mixed, are its stream."""


class Batch(NamedTuple):
    """Transitions to learn from; the learner may write to the action columns of both rows."""

    rows: Tensor
    """(S, B, width), in the layout."""
    next_rows: Tensor
    """(S, B, width): what followed, k steps on."""
    rewards: Tensor
    """(S, B): n-step sums."""
    costs: Tensor
    """(S, B): the same of costs, for critics of cost."""
    discounts: Tensor
    """(S, B): gamma^k, 0 after termination."""


class Noise(NamedTuple):
    """The numbers an update draws, one (G S, B, d) a group; None where a head needs none."""

    target: list[Tensor | None]
    """For actions at the next state."""
    present: list[Tensor | None]
    """For actions of the policies before the update; an agent's own gradient uses the same."""
    fresh: list[Tensor | None]
    """For actions of the policies after it, shown to later agents."""


class OffPolicyLearner:
    """Networks and their update. Knows nothing of episodes, files or progress."""

    def __init__(
        self, env: BatchEnv, config: OffPolicyConfig, seeds: Sequence[int], device: str = "cpu"
    ) -> None:
        """Build the networks of each training seed for ``env``'s spaces.

        Raises:
            ConfigError: an action space no actor fits.
        """
        self.config, self.device, self.seeds = config, device, tuple(seeds)
        self.agents, self.action_spaces = env.agents, dict(env.action_spaces)
        sizes = {a: _flat_size(env.observation_spaces[a]) for a in env.agents}
        actions = {a: action_size(env.action_spaces[a]) for a in env.agents}
        state_size = None
        if env.state_space is not None and type(env).state is not BatchEnv.state:
            state_size = _flat_size(env.state_space)
        self.layout = RowLayout.of(sizes, actions, state_size)
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        alike = [
            (sizes[a], actions[a], isinstance(env.action_spaces[a], spaces.Discrete))
            for a in env.agents
        ]
        self.groups = [
            ActorGroup(
                members,
                sizes[members[0]],
                [env.action_spaces[a] for a in members],
                len(self.seeds),
                config,
                device,
            )
            for members in groups_of(env.agents, alike)
        ]
        self.place = {
            agent: (g, m)
            for g, group in enumerate(self.groups)
            for m, agent in enumerate(group.agents)
        }
        inputs = self.layout.joint.stop - self.layout.joint.start
        self.critics = Critics(inputs, len(self.seeds), config, device)
        self.constraints = [constraint_of(config) for _ in seeds] if config.cost_critics else []
        """One a training seed, or none at all."""
        self._initialise()
        self.updates = 0
        """Updates so far; the order of the agents is drawn from this number."""
        self.policy_updates = 0
        self.log_alpha = torch.full(
            (len(self.seeds), len(self.agents) + 1), float(np.log(config.alpha)), device=device
        )
        """(S, n + 1): one an agent, the last one the critic's."""
        self.alpha_adam = Adam(self.log_alpha, config.alpha_lr)
        goals = [
            target_entropy(
                actions[a],
                isinstance(env.action_spaces[a], spaces.Discrete),
                config.target_entropy == "official",
                log_scale(env.action_spaces[a], config.bounds),
            )
            for a in env.agents
        ]
        self.target_entropies = torch.tensor([*goals, sum(goals)], device=device)
        self.target_actors = [group.net.flat.clone() for group in self.groups]
        """Slow copies of the actors, for DDPG and TD3."""
        self._target_nets = [
            group.net.on(flat) for group, flat in zip(self.groups, self.target_actors, strict=True)
        ]
        self._behaviours = [
            [group.net.every(s, len(self.seeds)) for group in self.groups]
            for s in range(len(self.seeds))
        ]

    def _initialise(self) -> None:
        for s, generator in enumerate(self.generators):
            for group in self.groups:
                rows = {group.network_of(m, s) for m in range(len(group.agents))}
                for row in sorted(rows):
                    group.net.initialise(row, generator)
            self.critics.initialise(s, generator)

    @property
    def weights(self) -> Tensor | None:
        """How reward and cost are mixed in what actors climb, (2, S, 1); None without a cost."""
        if not self.constraints:
            return None
        pairs = [constraint.weights() for constraint in self.constraints]
        return torch.tensor(pairs, device=self.device).t()[..., None]

    def count_to(self, updates: int, policy_updates: int) -> None:
        """Set how many updates there have been, as a checkpoint says."""
        self.updates, self.policy_updates = updates, policy_updates
        self.critics.adam.count = updates
        for group in self.groups:
            group.count_to(policy_updates)
        self.alpha_adam.count = policy_updates

    # Acting

    @torch.no_grad()
    def act(self, seed: int, observations: Mapping[str, Array]) -> dict[str, Array]:
        """Return exploring actions of the ``seed``-th training seed in the world's own terms."""
        actions: dict[str, Array] = {}
        generator = self.generators[seed]
        for group, net in zip(self.groups, self._behaviours[seed], strict=True):
            x = torch.from_numpy(np.stack([observations[a] for a in group.agents]))
            x = x.to(self.device)
            if group.shared:
                outputs = net.forward(x.view(1, -1, x.shape[-1]))[0].view(*x.shape[:2], -1)
            else:
                outputs = net.forward(x)[0]
            room = torch.empty(*x.shape[:2], group.head.size)
            if group.head.is_discrete:
                room.exponential_(generator=generator)
            else:
                room.normal_(generator=generator)
            drawn = group.head.explore(outputs, room.to(self.device)).cpu().numpy()
            for member, agent in enumerate(group.agents):
                actions[agent] = self._of_the_world(agent, drawn[member])
        return actions

    def act_randomly(self, seed: int, lanes: int) -> dict[str, Array]:
        """Return uniform random actions."""
        actions = {}
        for agent, space in self.action_spaces.items():
            unit = torch.rand(lanes, action_size(space), generator=self.generators[seed]).numpy()
            if isinstance(space, spaces.Box):
                actions[agent] = (space.low + (space.high - space.low) * unit).astype(space.dtype)
            else:
                actions[agent] = self._of_the_world(agent, unit)
        return actions

    def _of_the_world(self, agent: str, values: Array) -> Array:
        space = self.action_spaces[agent]
        if isinstance(space, spaces.Discrete):
            return np.asarray(values.argmax(-1) + int(space.start))
        return values.astype(space.dtype, copy=False)

    # Learning

    def order(self) -> list[int]:
        """Return the agents in this update's order: random by the update's number alone.

        So it is the same for all training seeds of a batch, and for a seed trained alone.
        """
        if self.config.scheme == "replayed":
            return list(range(len(self.agents)))
        count = len(self.agents)
        places = np.arange(self.updates * count, (self.updates + 1) * count, dtype=np.uint64)
        order: list[int] = mix64(places * _ODD).argsort().tolist()
        return order

    def draw_noise(self, batch: int, is_policy_update: bool) -> Noise:
        """Draw what an update of ``batch`` transitions needs, each training seed from its own."""
        kinds = []
        for group in self.groups:
            learning = group.head.learning_noise if is_policy_update else None
            fresh = learning if self.config.scheme == "sequential" else None
            kinds.append((group.head.target_noise, learning, fresh))
        rows = [
            [
                [self._numbers(kind, len(group.agents), batch, group.head.size, g) for kind in each]
                for group, each in zip(self.groups, kinds, strict=True)
            ]
            for g in self.generators
        ]

        def gathered(k: int) -> list[Tensor | None]:
            found: list[Tensor | None] = []
            for g in range(len(self.groups)):
                parts = [part for row in rows if (part := row[g][k]) is not None]
                if not parts:
                    found.append(None)
                elif len(parts) == 1:
                    found.append(parts[0].to(self.device))
                else:
                    found.append(torch.stack(parts, 1).flatten(0, 1).to(self.device))
            return found

        return Noise(gathered(0), gathered(1), gathered(2))

    @staticmethod
    def _numbers(
        kind: str | None, agents: int, batch: int, size: int, generator: torch.Generator
    ) -> Tensor | None:
        if kind is None:
            return None
        room = torch.empty(agents, batch, size)
        if kind == "normal":
            return room.normal_(generator=generator)
        return room.exponential_(generator=generator)

    @torch.no_grad()
    def update(
        self, batch: Batch, noise: Noise | None = None, *, is_reported: bool = False
    ) -> dict[str, Tensor]:
        """Improve critics and, every ``policy_delay``-th time, actors and targets.

        Args:
            batch: a transition for each sample and training seed.
            noise: the numbers to use in place of fresh ones (for tests).
            is_reported: compute diagnostics.

        Returns:
            Diagnostics, (S,) each.
        """
        config = self.config
        is_policy_update = (self.updates + 1) % config.policy_delay == 0
        if noise is None:
            noise = self.draw_noise(batch.rewards.shape[1], is_policy_update)
        alpha = self.log_alpha.exp() if config.rule == "sac" else None
        found = self._update_critics(batch, noise, alpha, is_reported)
        if is_policy_update:
            log_probs = self._update_actors(batch, noise, alpha)
            if log_probs is not None:
                if is_reported:
                    found["entropy"] = -log_probs.mean((1, 2))
                if config.alpha_auto:
                    self._update_alpha(log_probs)
            self.critics.follow()
            if config.rule != "sac":
                for group, slow in zip(self.groups, self.target_actors, strict=True):
                    slow.lerp_(group.net.flat, config.tau)
            self.policy_updates += 1
        self.updates += 1
        if alpha is not None and is_reported:
            found["alpha"] = alpha[:, :-1].mean(1)
        if self.constraints and is_reported:
            found["multiplier"] = torch.tensor([c.multiplier for c in self.constraints])
        return found

    def _update_critics(
        self, batch: Batch, noise: Noise, alpha: Tensor | None, is_reported: bool
    ) -> dict[str, Tensor]:
        layout, S = self.layout, len(self.seeds)
        log_prob: Tensor | None = None
        for g, group in enumerate(self.groups):
            observations = self._observations(group, batch.next_rows)
            net = None if self._is_live else self._target_nets[g]
            outputs = group.forward(observations, net)[0]
            actions, own = group.head.target(outputs, noise.target[g])
            self._place_actions(group, batch.next_rows, actions)
            if own is not None:
                total = own.view(len(group.agents), S, -1).sum(0)
                log_prob = total if log_prob is None else log_prob + total
        critics, C = self.critics, self.critics.costs
        q_next = critics.target_values(batch.next_rows[..., layout.joint])
        temperature = None if alpha is None else alpha[:, -1:]
        future = next_value(q_next[C:], log_prob, temperature)
        target = bootstrap_target(batch.rewards, batch.discounts, future)
        targets = target.expand(critics.count - C, *target.shape)
        if C:
            if self.config.variant == "omnisafe":
                q_next = critics.target_values(self._at_the_mode(batch.next_rows))
            future = -next_value(-q_next[:C], None, None)  # the larger of twins
            cost = bootstrap_target(batch.costs, batch.discounts, future)
            targets = torch.cat([cost.expand(C, *cost.shape), targets])
        q, hidden, x = critics.values(batch.rows[..., layout.joint])
        gradient = squared_error_gradient(q, targets)
        found = {}
        if is_reported:
            losses = gradient.square().sum(2) * (q.shape[-1] / 4.0)
            found["value_loss"], found["value"] = losses[C:].sum(0), q[C].mean(-1)
            if C:
                found["cost_value_loss"], found["cost_value"] = losses[:C].sum(0), q[0].mean(-1)
        critics.learn(x, hidden, gradient)
        return found

    @property
    def _is_live(self) -> bool:
        """Whether actions at the next state are those of the actors, not of their slow copies."""
        config = self.config
        return config.rule == "sac" or (config.rule, config.variant) == ("ddpg", "omnisafe")

    def _at_the_mode(self, rows: Tensor) -> Tensor:
        """Return state and joint action with every action at the mode of its actor."""
        for group in self.groups:
            outputs = group.forward(self._observations(group, rows))[0]
            self._place_actions(group, rows, group.head.mode(outputs))
        return rows[..., self.layout.joint]

    def _update_actors(self, batch: Batch, noise: Noise, alpha: Tensor | None) -> Tensor | None:
        """Step every actor; return log-probabilities (S, n, B) for SAC."""
        S, layout, critics = len(self.seeds), self.layout, self.critics
        # TD3 climbs its first critic, SAC the smaller twin; that of cost comes before them
        K = critics.costs + (2 if self.config.rule == "sac" else 1)
        weights = self.weights
        if weights is not None and alpha is not None:
            alpha = alpha * weights[0]
        net = critics.net.rows(0, K * S)
        first, origin = net.layers[0].weight, layout.joint.start
        rows, passes, drawn = batch.rows, [], []
        sums: Tensor | None = None
        if self.config.scheme == "replayed":
            sums = net.first(critics.wide(rows[..., layout.joint], K))
        for g, group in enumerate(self.groups):
            outputs, hidden, x = group.forward(self._observations(group, rows))
            passes.append((hidden, x))
            drawn.append(group.head.draw(outputs, noise.present[g], 0, len(outputs)))
            if sums is None:
                self._place_actions(group, rows, drawn[g].action)
        if sums is None:
            sums = net.first(critics.wide(rows[..., layout.joint], K))

        def climb(at: Tensor, columns: slice) -> Tensor:
            """Return what is climbed by some action columns, (S, B, d), at first-layer sums."""
            q, hidden = net.from_first(at)
            gradient = climbed(q.view(K, S, -1), critics.costs, weights).view(K * S, -1, 1)
            by_input = net.input_gradient(hidden, gradient, _moved(columns, -origin))
            return by_input.view(K, S, *by_input.shape[1:]).sum(0)

        def moved(at: Tensor, agent: str, change: Tensor) -> Tensor:
            """Return the sums after one agent's action (S, B, d) has changed."""
            weight = first[:, _moved(layout.actions[agent], -origin)]
            return torch.baddbmm(at, critics.wide(change, K), weight)

        if self.config.scheme == "simultaneous":
            every = slice(layout.joint.start + layout.state_size, layout.joint.stop)
            whole = climb(sums, every)
            for g, group in enumerate(self.groups):
                parts = [whole[..., _moved(layout.actions[a], -every.start)] for a in group.agents]
                self._learn_group(g, drawn[g], parts, alpha, passes[g])
        elif self.config.scheme == "replayed":
            for g, group in enumerate(self.groups):
                parts = []
                for m, agent in enumerate(group.agents):
                    columns = layout.actions[agent]
                    change = drawn[g].action[slice(*group.span(m))] - rows[..., columns]
                    parts.append(climb(moved(sums, agent, change), columns))
                self._learn_group(g, drawn[g], parts, alpha, passes[g])
        else:
            order = self.order()
            for position, k in enumerate(order):
                agent = self.agents[k]
                g, m = self.place[agent]
                group, (hidden, x) = self.groups[g], passes[g]
                a, b = group.span(m)
                own = rows_of(drawn[g], a, b)
                by_action = climb(sums, layout.actions[agent])
                temperature = None if alpha is None else alpha[:, k, None, None]
                gradient = group.head.gradient(own, by_action, temperature, a, b)
                group.learn_one(m, x, hidden, gradient)
                if position + 1 < len(order):
                    fresh = noise.fresh[g]
                    again = group.head.draw(
                        group.forward_one(m, x), None if fresh is None else fresh[a:b], a, b
                    )
                    sums = moved(sums, agent, again.action - own.action)
        if alpha is None:
            return None
        parts = []
        for agent in self.agents:
            g, m = self.place[agent]
            log_prob = drawn[g].log_prob  # type: ignore[union-attr]
            parts.append(log_prob[slice(*self.groups[g].span(m))])
        return torch.stack(parts, 1)

    def _learn_group(
        self,
        g: int,
        drawn: Drawn,
        by_action: list[Tensor],
        alpha: Tensor | None,
        forward: tuple[list[Tensor], Tensor],
    ) -> None:
        """Step a group's actors at once; ``by_action`` holds dQ/da (S, B, d) of each."""
        group, (hidden, x) = self.groups[g], forward
        temperature = None
        if alpha is not None:
            columns = [self.agents.index(a) for a in group.agents]
            temperature = alpha[:, columns].t().reshape(-1, 1, 1)
        together = torch.cat(by_action)
        gradient = group.head.gradient(drawn, together, temperature, 0, len(together))
        group.learn(x, hidden, gradient)

    def _update_alpha(self, log_probs: Tensor) -> None:
        every = torch.cat([log_probs, log_probs.sum(1, keepdim=True)], 1)
        self.alpha_adam.gradient.copy_(temperature_gradient(every, self.target_entropies))
        self.alpha_adam.step()

    def _observations(self, group: ActorGroup, rows: Tensor) -> Tensor:
        return torch.stack([rows[..., self.layout.observations[a]] for a in group.agents])

    def _place_actions(self, group: ActorGroup, rows: Tensor, actions: Tensor) -> None:
        for m, agent in enumerate(group.agents):
            rows[..., self.layout.actions[agent]] = actions[slice(*group.span(m))]


def _moved(columns: slice, by: int) -> slice:
    return slice(columns.start + by, columns.stop + by)


def _flat_size(space: spaces.Space[object]) -> int:
    return int(np.prod(space.shape or (1,)))
