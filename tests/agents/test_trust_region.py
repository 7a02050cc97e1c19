"""HATRPO and HAA2C, part by part and as whole updates, against slow references in float64."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from gymnasium import spaces
from torch import Tensor
from torch.func import functional_call, jacrev

from pkubench.agents.components import with_settings
from pkubench.agents.families.on_policy import saferl
from pkubench.agents.families.on_policy.presets import preset
from pkubench.agents.nn.actor import Actor
from pkubench.agents.nn.distributions import Categorical
from pkubench.agents.nn.fast.fisher import FastFisher
from pkubench.agents.nn.networks import NetworkSpec
from pkubench.agents.rl.fisher import AutogradFisher, mean_kl
from pkubench.agents.rl.on_policy.actor_update import update_by_a_step
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.on_policy.learner import Advantages, OnPolicyLearner
from pkubench.agents.rl.rollout import Collector
from pkubench.agents.rl.samples import Samples
from pkubench.agents.rl.trust_region import conjugate_gradient, trust_region_step
from pkubench.agents.rl.update_rules.base import surrogate
from pkubench.agents.rl.update_rules.trust_region import TrustRegion
from pkubench.envs.core.registry import make_batch
from pkubench.errors import ConfigError
from pkubench.tasks.registry import make_task
from tests.agents.configs import config_of, with_changes
from tests.agents.toy_envs import SpeedEnv

Floats = npt.NDArray[np.float64]
DISCRETE, BOX = spaces.Discrete(4), spaces.Box(-1.0, 1.0, (3,), np.float32)


def _actor(space: spaces.Space[Any], seed: int = 0, **changes: Any) -> Actor:
    """Return a small actor in float64 with all parameters away from their initial values."""
    shape: dict[str, Any] = {
        "inputs": 5,
        "hidden": (8, 6),
        "outputs": 4 if space is DISCRETE else 3,
        "activation": "relu",
        "layer_norm": True,
        "init": "orthogonal",
        "head_gain": 1.0,
    }
    generator = torch.Generator().manual_seed(seed)
    std = changes.pop("std", "sigmoid")
    actor = Actor(NetworkSpec(**{**shape, **changes}), space, std, 0.1, generator).double()
    with torch.no_grad():
        for parameter in actor.parameters():
            noise = torch.empty_like(parameter).normal_(generator=generator)
            parameter.add_(0.3 * noise)
    return actor


@pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "box"])
@pytest.mark.parametrize("hidden", [(), (7,), (8, 6)], ids=str)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("layer_norm", [True, False])
def test_a_fisher_product_is_the_kl_differentiated_twice(
    space: Any, hidden: Any, activation: str, layer_norm: bool
) -> None:
    generator = torch.Generator().manual_seed(1)
    observations = torch.empty(30, 5, dtype=torch.float64).normal_(generator=generator)
    legal = (torch.rand(30, 4, generator=generator) > 0.3).long()
    legal[:, 0] = 1
    kinds: Any = ("true", "official")
    masks = [None, legal] if space is DISCRETE else [None]
    for kind, mask, std in itertools.product(kinds, masks, ("sigmoid", "log")):
        actor = _actor(space, hidden=hidden, activation=activation, layer_norm=layer_norm, std=std)
        parameters = list(actor.parameters())
        pi = actor(observations, mask)
        kl = mean_kl(pi.detach(), pi, kind)
        first = _flatten(torch.autograd.grad(kl, parameters, create_graph=True))
        torch.testing.assert_close(first.detach(), torch.zeros_like(first), atol=1e-12, rtol=0)
        vector = torch.empty_like(first).normal_(generator=generator)
        second = torch.autograd.grad(first @ vector, parameters, materialize_grads=True)
        wanted = _flatten(second) + 0.1 * vector
        none = torch.zeros(30, dtype=torch.float64)
        samples = Samples(observations, mask, none, none, none, none)
        for fisher in (
            FastFisher(actor, observations, mask, damping=0.1, discrete_kl=kind),
            AutogradFisher(actor, samples, damping=0.1, discrete_kl=kind),
        ):
            torch.testing.assert_close(fisher(vector), wanted, atol=1e-10, rtol=1e-10)


def test_the_official_discrete_kl_omits_the_weights_of_the_old_policy() -> None:
    old = Categorical(torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64).log())
    new = Categorical(torch.tensor([[0.25, 0.25, 0.5]], dtype=torch.float64).log())
    # terms r - 1 - log r for r = 1/2, 1, 2, with weights 1/2, 1/4, 1/4 and without
    down, up = 0.5 - 1 + math.log(2), 2 - 1 - math.log(2)
    assert float(mean_kl(old, new)) == pytest.approx(0.5 * down + 0.25 * up)
    assert float(mean_kl(old, new, "official")) == pytest.approx(down + up)
    assert float(mean_kl(old, new)) == pytest.approx(0.5 * math.log(2) - 0.25 * math.log(2))


def test_conjugate_gradients_solve_n_equations_in_n_steps() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    matrix = torch.from_numpy(root @ root.T + np.eye(6))
    target = torch.from_numpy(rng.normal(size=6))
    calls = 0

    def product(v: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return matrix @ v

    x, image = conjugate_gradient(product, target, 6, 0.0)
    torch.testing.assert_close(x, torch.linalg.solve(matrix, target))
    torch.testing.assert_close(image, target)
    early, image = conjugate_gradient(product, target, 3, 0.0)
    torch.testing.assert_close(image, matrix @ early)
    assert float((image - target).norm()) > 1e-3
    calls = 0
    conjugate_gradient(lambda v: product(v) * 0 + 2 * v, target, 10, 1e-10)
    assert calls == 1  # one step solves it, and the residual says so
    nothing, _ = conjugate_gradient(product, torch.zeros_like(target), 10, 0.0)
    assert torch.equal(nothing, torch.zeros_like(target))


def _samples(actor: Actor, seed: int = 2) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    observations = torch.empty(200, 5, dtype=torch.float64).normal_(generator=generator)
    with torch.no_grad():
        pi = actor(observations)
        actions = pi.sample(generator)
        log_probs = pi.log_prob(actions)
    advantage = torch.empty(200, dtype=torch.float64).normal_(generator=generator)
    factor = torch.rand(200, dtype=torch.float64, generator=generator) + 0.5
    return Samples(observations, None, actions, log_probs, advantage, factor)


@pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "box"])
def test_a_step_that_no_length_makes_acceptable_leaves_every_bit_as_it_was(space: Any) -> None:
    actor = _actor(space)
    before = [p.detach().clone() for p in actor.parameters()]
    samples = _samples(actor)
    step = trust_region_step(actor, samples, TrustRegion(kl_limit=20.0, search_steps=1))
    assert not step.is_accepted
    assert step[:3] == (0.0, 0.0, 0.0)
    flat = samples._replace(advantage=torch.zeros(200, dtype=torch.float64))
    assert not trust_region_step(actor, flat, TrustRegion()).is_accepted
    for found, then in zip(actor.parameters(), before, strict=True):
        assert torch.equal(found, then)
    step = trust_region_step(actor, samples, TrustRegion(kl_limit=20.0, search_steps=40))
    assert step.is_accepted
    assert step.fraction < 1.0


@pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "box"])
def test_without_damping_the_first_length_ends_on_the_boundary_of_the_ball(space: Any) -> None:
    actor = _actor(space, hidden=(), layer_norm=False)
    settings = TrustRegion(
        kl_limit=1e-4, cg_iterations=100, cg_damping=1e-7, search_steps=60, search_decay=0.999
    )
    step = trust_region_step(actor, _samples(actor), settings)
    assert step.fraction > 0.95
    assert 0.95e-4 < step.kl < 1e-4
    assert step.improvement > 0.0


def test_every_fourth_sample_gives_the_fisher_matrix_of_those_alone() -> None:
    start = _actor(DISCRETE)
    samples = _samples(start)
    fourfold = samples._replace(observations=samples.observations[::4].repeat_interleave(4, 0))
    moved = []
    for data in (samples, fourfold):
        pair = []
        for every in (1, 4):
            actor = _actor(DISCRETE)
            assert trust_region_step(actor, data, TrustRegion(fisher_every=every)).is_accepted
            pair.append(_flatten(actor.parameters()).detach())
        moved.append(float((pair[0] - pair[1]).abs().max()))
    assert moved[0] > 1e-3
    assert moved[1] < 1e-9


# Whole updates of a team


def _team(update: Any, task: str, **changes: Any) -> tuple[OnPolicyLearner, Any, Tensor]:
    """Return a learner whose policies are far from uniform, a rollout and joint advantages."""
    config = config_of(
        update=update,
        num_envs=6,
        rollout_steps=30,
        hidden=(8,),
        # a normalised layer of 8 rectified units is all but constant in some states, and its
        # Fisher matrix too ill-conditioned for a comparison in single precision
        activation="tanh",
        actor_gain=1.0,
        **{"scheme": "sequential", "entropy": 0.0, **changes},
    )
    env = make_batch(task, 6)
    learner = OnPolicyLearner(env, config, 3)
    collector = Collector(env, 3, config.window, learner.inputs)
    data = collector.collect(30, learner.behave, False)
    return learner, data, torch.randn(180, generator=torch.Generator().manual_seed(9))


def _order(learner: OnPolicyLearner) -> list[str]:
    generator = torch.Generator()
    generator.set_state(learner.generator.get_state())
    order = torch.randperm(len(learner.agents), generator=generator).tolist()
    return [learner.agents[k] for k in order]


def _flatten(tensors: Any) -> Tensor:
    return torch.cat([t.reshape(-1) for t in tensors])


class _Slow:
    """One agent's policy as plain functions of a flat float64 parameter vector."""

    def __init__(self, learner: OnPolicyLearner, data: Any, agent: str) -> None:
        actor = learner.actors[agent]
        self.net, self.discrete = actor.net, actor.discrete
        self.shapes = {n: p.shape for n, p in actor.named_parameters()}
        self.theta = _flatten(actor.parameters()).detach().double()
        self.x = torch.from_numpy(data.observations[agent].reshape(180, -1)).double()
        self.actions = torch.from_numpy(data.actions[agent].reshape(180, -1))
        self.old_log_prob = self.log_prob(self.theta)

    def heads(self, theta: Tensor) -> Tensor:
        """Return log-probabilities (B, K), or means and deviations side by side (B, 2d)."""
        sizes = [s.numel() for s in self.shapes.values()]
        named = {
            n: v.view(s) for (n, s), v in zip(self.shapes.items(), theta.split(sizes), strict=True)
        }
        net = {n.removeprefix("net."): v for n, v in named.items() if n != "log_std"}
        out = functional_call(self.net, net, (self.x,))
        if self.discrete:
            return torch.log_softmax(out, -1)
        std = 0.5 / (1.0 + torch.exp(-named["log_std"]))
        return torch.cat([out, std.expand_as(out)], 1)

    def log_prob(self, theta: Tensor) -> Tensor:
        heads = self.heads(theta)
        if self.discrete:
            return heads.gather(1, self.actions.reshape(-1, 1))[:, 0]
        mean, std = heads.chunk(2, 1)
        return torch.distributions.Normal(mean, std).log_prob(self.actions.double()).sum(1)

    def kl(self, theta: Tensor, official: bool) -> float:
        old, new = self.heads(self.theta), self.heads(theta)
        if not self.discrete:
            first, second = (torch.distributions.Normal(*h.chunk(2, 1)) for h in (old, new))
            return float(torch.distributions.kl_divergence(first, second).sum(1).mean())
        ratio = (new - old).exp()
        if official:
            return float((ratio - 1 - ratio.log()).sum(1).mean())
        return float((old.exp() * (old - new)).sum(1).mean())

    def fisher(self, official: bool) -> Floats:
        """Return the whole matrix from per-sample Jacobians (P, P)."""
        jacobian = jacrev(self.heads)(self.theta)  # (B, heads, P)
        heads = self.heads(self.theta)
        if self.discrete:
            weight = torch.ones_like(heads) if official else heads.exp()
        else:
            std = heads.chunk(2, 1)[1]
            weight = torch.cat([1 / std**2, 2 / std**2], 1)
        return torch.einsum("bkp,bk,bkq->pq", jacobian, weight, jacobian).numpy() / 180


def _slow_hatrpo(
    learner: OnPolicyLearner, data: Any, advantage: Tensor, config: OnPolicyConfig
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """HATRPO with explicit Fisher matrices, one agent after another."""
    factor, weights, fractions = torch.ones(180, dtype=torch.float64), {}, {}
    rule: Any = config.update
    official = rule.discrete_kl == "official"
    for agent in _order(learner):
        slow = _Slow(learner, data, agent)
        theta = slow.theta.clone().requires_grad_()

        def objective(at: Tensor, slow: _Slow = slow, m: Tensor = factor) -> Tensor:
            return (m * (slow.log_prob(at) - slow.old_log_prob).exp() * advantage).mean()

        g = torch.autograd.grad(objective(theta), theta)[0].numpy()
        matrix = slow.fisher(official) + rule.cg_damping * np.eye(len(g))
        x, r, p = np.zeros_like(g), g.copy(), g.copy()
        for _ in range(10):
            image = matrix @ p
            length = (r @ r) / (p @ image)
            x, after = x + length * p, r - length * image
            p, r = after + (after @ after) / (r @ r) * p, after
            if r @ r < 1e-10:
                break
        step = x * math.sqrt(2 * rule.kl_limit / (x @ matrix @ x))
        fractions[agent], new = 0.0, slow.theta
        for k in range(10):
            at = slow.theta + torch.from_numpy(0.8**k * step)
            gain = float(objective(at) - objective(slow.theta))
            enough = gain > 0 and gain / (0.8**k * float(g @ step)) > 0.5
            if slow.kl(at, official) < rule.kl_limit and enough:
                fractions[agent], new = 0.8**k, at
                break
        factor = factor * (slow.log_prob(new) - slow.old_log_prob).exp()
        weights[agent] = new
    return weights, fractions


@pytest.mark.parametrize("kind", ["true", "official"])
@pytest.mark.parametrize("task", ["SimpleSpread-v0", "SimpleSpreadContinuous-v0"])
@pytest.mark.parametrize("radius", [0.01, 0.4])
def test_a_hatrpo_update_equals_a_slow_reference_with_explicit_fisher_matrices(
    task: str, kind: Any, radius: float
) -> None:
    learner, data, advantage = _team("trust-region", task, kl_limit=radius, discrete_kl=kind)
    expected, fractions = _slow_hatrpo(learner, data, advantage.double(), learner.config)
    if radius > 0.1:  # the line search has something to do
        assert 0.0 < min(fractions.values()) < 1.0
    report = learner._update_sequentially(data, Advantages([advantage] * 3, None))
    assert report["fraction"] == pytest.approx(np.mean(list(fractions.values())))
    assert report["accepted"] == np.mean([f > 0 for f in fractions.values()])
    for agent, wanted in expected.items():
        ours = _flatten(learner.actors[agent].parameters()).detach().double()
        torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("task", ["SimpleSpread-v0", "SimpleSpreadContinuous-v0"])
def test_an_haa2c_update_equals_a_slow_reference_with_explicit_adam(task: str) -> None:
    learner, data, advantage = _team(
        "a2c", task, epochs=3, actor_lr=5e-3, entropy=0.02, max_grad_norm=0.05
    )
    factor, expected = torch.ones(180, dtype=torch.float64), {}
    for agent in _order(learner):
        slow = _Slow(learner, data, agent)
        theta, first, second = slow.theta.clone(), 0.0, 0.0
        for t in range(1, 4):
            theta.requires_grad_()
            heads = slow.heads(theta)
            entropy = (
                -(heads.exp() * heads).sum(1)
                if slow.discrete
                else (heads.chunk(2, 1)[1].log() + 0.5 * math.log(2 * math.pi * math.e)).sum(1)
            )
            ratio = (slow.log_prob(theta) - slow.old_log_prob).exp()
            loss = -(factor * ratio * advantage.double()).mean() - 0.02 * entropy.mean()
            g = torch.autograd.grad(loss, theta)[0]
            g = g * min(1.0, 0.05 / (float(g.norm()) + 1e-6))
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
            unbiased = (first / (1 - 0.9**t), second / (1 - 0.999**t))
            theta = theta.detach() - 5e-3 * unbiased[0] / (unbiased[1].sqrt() + 1e-5)
        factor = factor * (slow.log_prob(theta) - slow.old_log_prob).exp()
        expected[agent] = theta
    learner._update_sequentially(data, Advantages([advantage] * 3, None))
    for agent, wanted in expected.items():
        ours = _flatten(learner.actors[agent].parameters()).detach().double()
        torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)


def test_the_plain_surrogate_is_the_weighted_mean_worked_by_hand() -> None:
    ratio, advantage = torch.tensor([2.0, 0.5]), torch.tensor([1.0, -4.0])
    assert float(surrogate(ratio, advantage, torch.tensor([1.0, 3.0]))) == (2.0 - 6.0) / 2


@pytest.mark.parametrize("update", ["trust-region", "a2c"])
def test_a_shared_actor_takes_one_step_on_the_samples_of_all_agents(update: Any) -> None:
    learner, data, advantage = _team(update, "SimpleSpread-v0", scheme="simultaneous", shared=True)
    own = Actor(
        learner.actors["shared"].net.spec, spaces.Discrete(5), "sigmoid", 0.0, torch.Generator()
    )
    own.load_state_dict(learner.actors["shared"].state_dict())
    advantages = Advantages([advantage] * 3, None)
    everyone: Any = learner._samples(data, [0, 1, 2], advantages, None)
    assert len(everyone.actions) == 540 and (everyone.factor == 1.0).all()
    torch.testing.assert_close(everyone.advantage, advantage.repeat(3))
    learner._update_simultaneously(data, advantages)
    if update == "trust-region":
        assert trust_region_step(own, everyone, TrustRegion()).is_accepted
    else:
        optimiser = torch.optim.Adam(own.parameters(), lr=5e-4, eps=1e-5)
        for _ in range(5):
            ratio = own(everyone.observations).log_prob(everyone.actions) - everyone.log_probs
            optimiser.zero_grad()
            (-(ratio.exp() * advantage.repeat(3)).mean()).backward()
            optimiser.step()
    for ours, wanted in zip(learner.actors["shared"].parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)


def test_one_agent_alone_is_trpo() -> None:
    config = config_of(
        update="trust-region",
        entropy=0.0,
        kl_limit=0.05,
        gamma=0.0,
        num_envs=32,
        rollout_steps=16,
        hidden=(16,),
    )
    env = SpeedEnv(32)
    learner = OnPolicyLearner(env, config, 0)
    collector = Collector(env, 0, 50, learner.inputs)
    for _ in range(25):
        data = collector.collect(16, learner.behave, False)
        report = learner.update(data, math.nan, 0.0)
        assert report["accepted"] in (0.0, 1.0)
        assert report["kl"] < 0.05
    chosen = learner.actors[env.agents[0]](torch.zeros(1, 2)).mode()
    assert float(chosen.detach()) > 0.5  # the best action is 1, the start 0


def test_wrong_settings_of_a_trust_region_are_named() -> None:
    base = preset("hatrpo", make_task("SimpleSpread-v0"))
    for name, text in (
        ("kl_limit", "0"),
        ("cg_iterations", "0"),
        ("cg_damping", "-1"),
        ("fisher_every", "0"),
        ("search_steps", "-1"),
        ("search_decay", "1"),
        ("accept_ratio", "1.5"),
        ("entropy", "0.01"),
    ):
        with pytest.raises(ConfigError, match=name):
            with_settings(base, {name: text})


def test_omnisafes_ball_is_of_the_kl_averaged_over_the_numbers_of_an_action() -> None:
    """Three numbers: as a sum of KLs radius and damping are three times as large."""
    generator = torch.Generator().manual_seed(4)
    start = _actor(BOX)
    observations = torch.empty(200, 5, dtype=torch.float64).normal_(generator=generator)
    pi = start(observations)
    actions = pi.sample(generator)
    advantage = torch.empty(200, dtype=torch.float64).normal_(generator=generator)
    costs = torch.empty(200, dtype=torch.float64).normal_(generator=generator)
    samples = Samples(
        costs=costs,
        observations=observations,
        actions=actions,
        log_probs=pi.log_prob(actions).detach(),
        masks=None,
        advantage=advantage,
        factor=torch.ones(200, dtype=torch.float64),
    )
    rule = with_changes(saferl.PRESETS["trpo-lag"], kl_limit=0.02, cg_damping=0.1)
    official = copy.deepcopy(start)
    found = update_by_a_step(
        official, samples, None, with_changes(rule, kl_mean_over_dimensions=True)
    )
    summed = copy.deepcopy(start)
    wanted = update_by_a_step(
        summed, samples, None, with_changes(rule, kl_limit=0.02 * 3, cg_damping=0.1 * 3)
    )
    assert found == wanted
    assert found["kl"] > 0.02
    smaller = update_by_a_step(copy.deepcopy(start), samples, None, rule)
    assert 0.0 < smaller["kl"] <= 0.02
    for one, other in zip(official.parameters(), summed.parameters(), strict=True):
        assert torch.equal(one, other)
