"""The composed off-policy learner: one update against a slow one written with autograd."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.nn import squashed
from pkubench.agents.nn.squashed import Bounds
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.rl.off_policy.heads import log_scale
from pkubench.agents.rl.off_policy.learner import Batch, Noise, OffPolicyLearner
from pkubench.agents.rl.off_policy_rules import target_entropy
from pkubench.envs.core.registry import make_batch

SPREAD, SPEAKER = "SimpleSpreadContinuous-v0", "SimpleSpeakerListener-v0"
BATCH = 64


class SlowTeam:
    """The learner's networks as modules, updated by autograd, one agent and formula at a time."""

    def __init__(self, learner: OffPolicyLearner, seed: int = 0) -> None:
        self.config, self.agents = learner.config, learner.agents
        self.layout, self.spaces = learner.layout, learner.action_spaces
        self.actors: dict[str, nn.Sequential] = {}
        self.slow_actors: dict[str, nn.Sequential] = {}
        made: dict[tuple[int, int], tuple[nn.Sequential, nn.Sequential]] = {}
        for agent in self.agents:
            g, m = learner.place[agent]
            group = learner.groups[g]
            row = group.network_of(m, seed)
            is_tanh = group.net.is_last_tanh
            if (g, row) not in made:  # where an actor is shared, once for all its agents
                actor, slow = group.net.flat[row], learner.target_actors[g][row]
                made[g, row] = (
                    _module(actor, group.net.sizes, is_tanh),
                    _module(slow, group.net.sizes, is_tanh),
                )
            self.actors[agent], self.slow_actors[agent] = made[g, row]
        critics, seeds = learner.critics, len(learner.seeds)
        modules = [
            _module(critics.net.flat[k * seeds + seed], critics.net.sizes, False)
            for k in range(critics.count)
        ]
        self.cost_critics = modules[: critics.costs]
        self.critics = modules[critics.costs :]
        self.slow_cost_critics = copy.deepcopy(self.cost_critics)
        self.slow_critics = copy.deepcopy(self.critics)
        self.constraints = learner.constraints[seed : seed + 1]
        config = self.config
        self.optimisers = {
            a: torch.optim.Adam(self.actors[a].parameters(), lr=config.actor_lr)
            for a in self.agents
        }
        self.critic_optimiser = torch.optim.Adam(
            [p for c in self.critics for p in c.parameters()], lr=config.critic_lr
        )
        if self.cost_critics:
            self.cost_optimiser = torch.optim.Adam(
                [p for c in self.cost_critics for p in c.parameters()], lr=config.critic_lr
            )
        self.log_alpha = learner.log_alpha[seed].clone().requires_grad_()
        self.alpha_optimiser = torch.optim.Adam([self.log_alpha], lr=config.alpha_lr)
        self.updates = 0

    def policy(self, agent: str, actor: nn.Module, seen: Tensor, noise: Tensor | None) -> Any:
        """A differentiable sample and its log-probability."""
        out, space = actor(seen), self.spaces[agent]
        if isinstance(space, spaces.Discrete):
            assert noise is not None
            z = (out - noise.log()) / self.config.temperature
            soft = torch.softmax(z, -1)
            hard = functional.one_hot(z.argmax(-1), int(space.n)).float()
            action = hard + soft - soft.detach()
            return action, (action * torch.log_softmax(out, -1)).sum(-1)
        low, high = torch.from_numpy(space.low), torch.from_numpy(space.high)
        if self.config.rule != "sac":
            return low + (torch.tanh(out) + 1) / 2 * (high - low), None
        mean, log_std = out.chunk(2, -1)
        normal = torch.distributions.Normal(mean, log_std.clamp(-20, 2).exp())
        assert noise is not None
        u = mean + normal.scale * noise
        action = low + (torch.tanh(u) + 1) / 2 * (high - low)
        jacobian = torch.log((1 - torch.tanh(u).double() ** 2) * (high - low) / 2)
        return action, (normal.log_prob(u) - jacobian).sum(-1).float()

    def target_action(self, agent: str, seen: Tensor, noise: Tensor | None) -> Any:
        space = self.spaces[agent]
        if self.config.rule == "sac":
            return self.policy(agent, self.actors[agent], seen, noise)
        if self.config.variant == "omnisafe" and self.config.rule == "ddpg":
            return self.mode(agent, seen), None
        out = self.slow_actors[agent](seen)
        if isinstance(space, spaces.Discrete):
            scores = out if noise is None else out - noise.log()
            return functional.one_hot(scores.argmax(-1), int(space.n)).float(), None
        low, high = torch.from_numpy(space.low), torch.from_numpy(space.high)
        action = low + (torch.tanh(out) + 1) / 2 * (high - low)
        if noise is not None:
            scale = (high - low) / 2
            action = action + (0.2 * scale * noise).clamp(-0.5 * scale, 0.5 * scale)
        return action.clamp(low, high), None

    def mode(self, agent: str, seen: Tensor) -> Tensor:
        out, space = self.actors[agent](seen), self.spaces[agent]
        if isinstance(space, spaces.Discrete):
            return functional.one_hot(out.argmax(-1), int(space.n)).float()
        low, high = torch.from_numpy(space.low), torch.from_numpy(space.high)
        mean = out.chunk(2, -1)[0] if self.config.rule == "sac" else out
        return low + (torch.tanh(mean) + 1) / 2 * (high - low)

    def clip(self, *modules: nn.Module) -> None:
        if self.config.max_grad_norm is not None:
            parameters = [p for m in modules for p in m.parameters()]
            nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm)

    def update(self, batch: Batch, noise: Any, order: list[int]) -> None:
        """``noise[kind][agent]``: numbers of one training seed."""
        rows, after = batch.rows[0].clone(), batch.next_rows[0].clone()
        state = slice(self.layout.joint.start, self.layout.joint.start + self.layout.state_size)
        seen = {a: rows[:, self.layout.observations[a]] for a in self.agents}
        replayed = {a: rows[:, self.layout.actions[a]] for a in self.agents}
        alpha = self.log_alpha.detach().exp()
        with torch.no_grad():
            actions, total = [], torch.zeros(len(rows))
            for agent in self.agents:
                o = after[:, self.layout.observations[agent]]
                action, log_prob = self.target_action(agent, o, noise["target"][agent])
                actions.append(action)
                total += 0 if log_prob is None else log_prob
            x = torch.cat([after[:, state], *actions], -1)
            value = torch.stack([c(x)[:, 0] for c in self.slow_critics]).amin(0)
            if self.config.rule == "sac":
                value = value - alpha[-1] * total
            y = batch.rewards[0] + batch.discounts[0] * value
            if self.config.variant == "omnisafe":
                modes = [self.mode(a, after[:, self.layout.observations[a]]) for a in self.agents]
                x = torch.cat([after[:, state], *modes], -1)
            if self.slow_cost_critics:
                later = torch.stack([c(x)[:, 0] for c in self.slow_cost_critics]).amax(0)
                cost = batch.costs[0] + batch.discounts[0] * later
        x = torch.cat([rows[:, state], *replayed.values()], -1)
        loss = sum(functional.mse_loss(c(x)[:, 0], y) for c in self.critics)
        self.critic_optimiser.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        self.clip(*self.critics)
        self.critic_optimiser.step()
        if self.cost_critics:
            loss = sum(functional.mse_loss(c(x)[:, 0], cost) for c in self.cost_critics)
            self.cost_optimiser.zero_grad()
            loss.backward()  # type: ignore[union-attr]
            self.clip(*self.cost_critics)
            self.cost_optimiser.step()
        self.updates += 1
        if self.updates % self.config.policy_delay:
            return
        self._update_actors(rows[:, state], seen, replayed, noise, order, alpha)
        with torch.no_grad():
            pairs: list[tuple[nn.Module, nn.Module]] = [
                *zip(self.slow_critics, self.critics, strict=True),
                *zip(self.slow_cost_critics, self.cost_critics, strict=True),
                *dict.fromkeys((self.slow_actors[a], self.actors[a]) for a in self.agents),
            ]
            for slow, net in pairs:
                for p, q in zip(slow.parameters(), net.parameters(), strict=True):
                    p.copy_((1 - self.config.tau) * p + self.config.tau * q)

    def _update_actors(
        self, state: Tensor, seen: Any, replayed: Any, noise: Any, order: list[int], alpha: Tensor
    ) -> None:
        scheme = self.config.scheme
        now = noise["present"]
        with torch.no_grad():
            shown = {a: self.policy(a, self.actors[a], seen[a], now[a])[0] for a in self.agents}
        if scheme == "replayed":
            shown = dict(replayed)
        gradients, entropies = {}, [torch.zeros(())] * len(self.agents)
        for k in order:
            agent = self.agents[k]
            action, log_prob = self.policy(agent, self.actors[agent], seen[agent], now[agent])
            x = torch.cat([state, *((shown | {agent: action})[a] for a in self.agents)], -1)
            if self.config.rule == "sac":
                q = torch.minimum(self.critics[0](x), self.critics[1](x))[:, 0]
                loss = (alpha[k] * log_prob - q).mean()
                entropies[k] = log_prob.detach()
            else:
                loss = -self.critics[0](x).mean()
            for constraint in self.constraints:
                multiplier = constraint.value
                cost = torch.stack([c(x) for c in self.cost_critics]).amax(0).mean()
                loss = (loss + multiplier * cost) / (1 + multiplier)
            gradients[agent] = torch.autograd.grad(loss, list(self.actors[agent].parameters()))
            if scheme == "sequential":
                self._step(agent, gradients[agent])
                with torch.no_grad():
                    fresh = noise["fresh"][agent]
                    shown[agent] = self.policy(agent, self.actors[agent], seen[agent], fresh)[0]
        if scheme != "sequential":
            for actor in dict.fromkeys(self.actors.values()):
                members = [a for a in self.agents if self.actors[a] is actor]
                each = zip(*(gradients[a] for a in members), strict=True)
                self._step(members[0], [torch.stack(parts).mean(0) for parts in each])
        if self.config.rule == "sac" and self.config.alpha_auto:
            log_probs = torch.stack([*entropies, torch.stack(entropies).sum(0)])
            goals = []
            for agent in self.agents:
                space = self.spaces[agent]
                is_discrete = isinstance(space, spaces.Discrete)
                if is_discrete:
                    goals.append(0.98 * math.log(space.n))
                else:  # -1 a number before the stretch to [low, high]
                    goals.append(float((np.log((space.high - space.low) / 2) - 1).sum()))
            goal = torch.tensor([*goals, sum(goals)])
            self.alpha_optimiser.zero_grad()
            (-self.log_alpha * (log_probs.mean(1) + goal)).sum().backward()
            self.alpha_optimiser.step()

    def _step(self, agent: str, gradients: Any) -> None:
        for p, g in zip(self.actors[agent].parameters(), gradients, strict=True):
            p.grad = g.clone()
        self.clip(self.actors[agent])
        self.optimisers[agent].step()


def _module(flat: Tensor, sizes: tuple[int, ...], is_last_tanh: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    at = 0
    for k, (a, b) in enumerate(itertools.pairwise(sizes)):
        linear = nn.Linear(a, b)
        with torch.no_grad():
            part = flat[at : at + a * b]
            is_head = k == len(sizes) - 2  # which lies as torch has it, the others transposed
            linear.weight.copy_(part.view(b, a) if is_head else part.view(a, b).t())
            linear.bias.copy_(flat[at + a * b : at + a * b + b])
        at += a * b + b
        layers.append(linear)
        if k < len(sizes) - 2:
            layers.append(nn.Tanh() if is_last_tanh and k == len(sizes) - 3 else nn.ReLU())
    return nn.Sequential(*layers)


def _flat(module: nn.Module) -> Tensor:
    *hidden, weight, bias = (p.detach() for p in module.parameters())
    return torch.cat([*(p.t().flatten() for p in hidden), weight.flatten(), bias])


def _learner(rule: Any, scheme: Any, task: str, **more: Any) -> OffPolicyLearner:
    settings = {
        "hidden": (32, 24),
        "batch_size": BATCH,
        "actor_lr": 1e-3,
        "critic_lr": 1e-3,
        "tau": 0.1,
        "alpha": 0.3,
        "alpha_lr": 1e-2,
        "last_activation": "tanh" if rule == "sac" else "relu",
        "policy_delay": 2 if rule == "td3" else 1,
    }
    config = OffPolicyConfig(rule=rule, scheme=scheme, **{**settings, **more})
    return OffPolicyLearner(make_batch(task, 4), config, [7])


def _batch(learner: OffPolicyLearner, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    width = learner.layout.width

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(rng.normal(size=shape).astype(np.float32))

    ended = torch.from_numpy((rng.random((1, BATCH)) < 0.3).astype(np.float32))
    return Batch(
        normal(1, BATCH, width),
        normal(1, BATCH, width),
        normal(1, BATCH),
        normal(1, BATCH).abs(),
        0.9 * (1 - ended),
    )


def _by_agent(learner: OffPolicyLearner, noise: Noise) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for kind, parts in noise._asdict().items():
        found[kind] = {}
        for agent in learner.agents:
            g, m = learner.place[agent]
            found[kind][agent] = None if parts[g] is None else parts[g][m].clone()
    return found


def test_agents_are_updated_in_every_order_equally_often() -> None:
    learner = _learner("sac", "sequential", SPREAD)
    orders = []
    for learner.updates in range(6000):
        orders.append(tuple(learner.order()))
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6
    # 1,000 each, a binomial deviation of 29
    assert max(abs(count - 1000) for count in counts) < 120
    assert any(a != b for a, b in itertools.pairwise(orders[:5]))


def test_the_target_entropy_of_a_stretched_action_means_what_it_does_unstretched() -> None:
    stretched = -5 + 5 * math.log(0.5)  # Box(0, 1, (5,)): half a unit either way
    learner = _learner("sac", "sequential", SPREAD)
    assert learner.target_entropies.tolist() == pytest.approx([stretched] * 3 + [3 * stretched])
    official = _learner("sac", "sequential", SPREAD, bounds="official")
    assert official.target_entropies.tolist() == [-5, -5, -5, -15]
    discrete = _learner("sac", "sequential", SPEAKER).target_entropies.tolist()
    assert discrete[:2] == pytest.approx([0.98 * math.log(3), 0.98 * math.log(5)])
    wide = spaces.Box(np.array([-1, -2], "f4"), np.array([1, 4], "f4"))
    assert log_scale(wide, "rescale") == pytest.approx(math.log(3))
    # the same policy is as far from its target in every unit
    outputs, noise = torch.tensor([[0.4, -0.3]]), torch.tensor([[0.8]])
    gaps = []
    for half in (1.0, 3.0):
        bounds = Bounds(torch.zeros(1), torch.tensor([half]), torch.tensor(math.log(half)))
        log_prob = float(squashed.sample(outputs, noise, bounds).log_prob)
        gaps.append(log_prob + target_entropy(1, False, False, math.log(half)))
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-6)


@pytest.mark.parametrize(("bounds", "half"), [("rescale", 0.5), ("official", 1.0)])
def test_exploration_is_noise_in_units_of_half_the_interval(bounds: str, half: float) -> None:
    """Actions of the particle worlds lie in [0, 1]; the official code takes them for [-1, 1]."""
    learner = _learner("td3", "sequential", SPREAD, bounds=bounds, exploration=0.1)
    head, middle = learner.groups[0].head, 1.0 - half
    outputs = torch.full((3, 4, head.size), 0.5)
    noise = torch.linspace(-2, 30, head.size).expand_as(outputs)
    wanted = middle + half * math.tanh(0.5) + 0.1 * half * noise
    wanted = wanted.clamp(middle - half, middle + half)
    assert float(wanted.max()) == 1.0  # noise does not leave the interval
    torch.testing.assert_close(head.explore(outputs, noise), wanted)


def test_the_temperature_is_as_slow_as_hasac_s() -> None:
    assert OffPolicyConfig().alpha_lr == 3e-4


@pytest.mark.parametrize("scheme", ["sequential", "simultaneous", "replayed"])
@pytest.mark.parametrize("rule", ["sac", "td3", "ddpg"])
@pytest.mark.parametrize("task", [SPREAD, SPEAKER])
@pytest.mark.parametrize("constraint", ["none", "lagrangian"])
def test_updates_equal_a_slow_reference_by_autograd(
    rule: str, scheme: str, task: str, constraint: str
) -> None:
    _hold_to_the_reference(_learner(rule, scheme, task, constraint=constraint))


@pytest.mark.parametrize("rule", ["sac", "td3"])
@pytest.mark.parametrize("task", [SPREAD, "SimpleReferenceContinuous-v0", "SimpleSpread-v0"])
def test_a_shared_actor_follows_the_mean_of_its_agents_losses(rule: str, task: str) -> None:
    learner = _learner(rule, "simultaneous", task, shared=True)
    assert [len(group.net.flat) for group in learner.groups] == [1]
    _hold_to_the_reference(learner)


@pytest.mark.parametrize("rule", ["sac", "td3", "ddpg"])
@pytest.mark.parametrize("task", [SPREAD, SPEAKER])
def test_the_variant_of_omnisafe_takes_its_targets_at_the_mode_of_the_actor(
    rule: str, task: str
) -> None:
    more = {"constraint": "pid", "variant": "omnisafe"}
    _hold_to_the_reference(_learner(rule, "sequential", task, **more))


@pytest.mark.parametrize("rule", ["sac", "td3", "ddpg"])
@pytest.mark.parametrize("variant", ["published", "omnisafe"])
def test_of_twin_critics_of_cost_the_larger_counts(rule: str, variant: str) -> None:
    more = {"constraint": "pid", "variant": variant, "cost_twins": True}
    learner = _learner(rule, "sequential", SPREAD, **more)
    assert learner.critics.costs == 2
    _hold_to_the_reference(learner)


@pytest.mark.parametrize("scheme", ["sequential", "simultaneous"])
def test_gradients_are_clipped_as_torch_clips_each_optimiser_s(scheme: str) -> None:
    more = {"constraint": "lagrangian", "max_grad_norm": 0.2}
    learner = _learner("sac", scheme, SPREAD, **more)
    _hold_to_the_reference(learner)
    norms = learner.critics.adam.gradient.norm(dim=1)
    assert float(norms[0]) == pytest.approx(0.2, abs=1e-4)  # of cost, alone
    assert float(norms[1:].norm()) == pytest.approx(0.2, abs=1e-4)  # of reward, together


def _hold_to_the_reference(learner: OffPolicyLearner) -> None:
    for constraint in learner.constraints:
        constraint.value = 0.7
    # a temperature of its own for every agent and the critic
    learner.log_alpha += torch.linspace(-0.5, 0.7, learner.log_alpha.shape[1])
    slow = SlowTeam(learner)
    for update in range(4):
        batch, order = _batch(learner, update), learner.order()
        is_policy_update = (update + 1) % learner.config.policy_delay == 0
        noise = learner.draw_noise(BATCH, is_policy_update)
        slow.update(batch, _by_agent(learner, noise), order)
        learner.update(batch, noise)
    for agent in learner.agents:
        g, m = learner.place[agent]
        row = learner.groups[g].network_of(m, 0)
        actors, targets = learner.groups[g].net.flat[row], learner.target_actors[g][row]
        torch.testing.assert_close(actors, _flat(slow.actors[agent]), atol=1e-5, rtol=0)
        if learner.config.rule != "sac":
            expected = _flat(slow.slow_actors[agent])
            torch.testing.assert_close(targets, expected, atol=1e-5, rtol=0)
    critics = learner.critics
    modules = [*slow.cost_critics, *slow.critics], [*slow.slow_cost_critics, *slow.slow_critics]
    for k, (net, target) in enumerate(zip(*modules, strict=True)):
        torch.testing.assert_close(critics.net.flat[k], _flat(net), atol=1e-5, rtol=0)
        torch.testing.assert_close(critics.target.flat[k], _flat(target), atol=1e-5, rtol=0)
    torch.testing.assert_close(learner.log_alpha[0], slow.log_alpha.detach(), atol=1e-5, rtol=0)
