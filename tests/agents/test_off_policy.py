"""The composed off-policy learner: targets, the written losses and their hand-written gradients."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional

from pkubench.agents.components import changed
from pkubench.agents.nn import squashed
from pkubench.agents.nn.squashed import Bounds
from pkubench.agents.rl.off_policy.batch import Batch
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.rl.off_policy.heads import log_scale
from pkubench.agents.rl.off_policy.learner import OffPolicyLearner
from pkubench.agents.rl.off_policy.rules.sac import SAC
from pkubench.envs.core.registry import make_batch

SPREAD, SPEAKER = "SimpleSpreadContinuous-v0", "SimpleSpeakerListener-v0"
BATCH = 64


def _learner(
    rule: Any, scheme: Any, task: str, seeds: list[int] | None = None, **more: Any
) -> OffPolicyLearner:
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
    changes = {"rule": rule, "scheme": scheme, **settings, **more}
    config = changed(OffPolicyConfig(), changes, strict=False)
    return OffPolicyLearner(make_batch(task, 4), config, seeds or [7])


def _batch(learner: OffPolicyLearner, seed: int) -> Batch:
    rng, count = np.random.default_rng(seed), len(learner.seeds)
    shape, width = (count, BATCH), learner.layout.width

    def tensor(values: Any) -> Tensor:
        return torch.from_numpy(values).to(torch.get_default_dtype())

    ended = tensor(rng.random(shape) < 0.3)
    return Batch(
        tensor(rng.normal(size=(*shape, width))),
        tensor(rng.normal(size=(*shape, width))),
        tensor(rng.normal(size=shape)),
        tensor(rng.normal(size=shape)).abs(),
        0.9 * (1 - ended),
    )


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
    unit = spaces.Box(-1, 1, (1,))
    gaps = []
    for half in (1.0, 3.0):
        bounds = Bounds(torch.zeros(1), torch.tensor([half]), torch.tensor(math.log(half)))
        log_prob = float(squashed.sample(outputs, noise, bounds).log_prob)
        gaps.append(log_prob + SAC().entropy_goal(unit, math.log(half)))
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-6)


@pytest.mark.parametrize(("bounds", "half"), [("rescale", 0.5), ("official", 1.0)])
def test_exploration_is_noise_in_units_of_half_the_interval(bounds: str, half: float) -> None:
    """Particle environments have actions in [0, 1]; the official code assumes [-1, 1]."""
    learner = _learner("td3", "sequential", SPREAD, bounds=bounds, exploration=0.1)
    head, middle = learner.groups[0].head, 1.0 - half
    outputs = torch.full((3, 4, head.size), 0.5)
    noise = torch.linspace(-2, 30, head.size).expand_as(outputs)
    wanted = middle + half * math.tanh(0.5) + 0.1 * half * noise
    wanted = wanted.clamp(middle - half, middle + half)
    assert float(wanted.max()) == 1.0  # noise does not leave the interval
    torch.testing.assert_close(learner.rule.explore(head, outputs, noise), wanted)


def test_the_temperature_is_as_slow_as_hasac_s() -> None:
    assert SAC().alpha_lr == 3e-4


Case = dict[str, Any]
CASES: list[tuple[str, str, str, Case]] = [
    *(
        (rule, scheme, task, {"constraint": constraint})
        for rule in ("sac", "td3", "ddpg")
        for scheme in ("sequential", "simultaneous", "replayed")
        for task in (SPREAD, SPEAKER)
        for constraint in ("none", "lagrangian")
    ),
    *(
        (rule, "simultaneous", task, {"shared": True})
        for rule in ("sac", "td3")
        for task in (SPREAD, "SimpleReferenceContinuous-v0", "SimpleSpread-v0")
    ),
    *(
        (rule, "sequential", SPREAD, {"constraint": "pid", "cost_twins": True, **more})
        for rule in ("sac", "td3", "ddpg")
        for more in ({}, {"constraint.variant": "omnisafe"})
    ),
    *(
        ("sac", scheme, SPREAD, {"constraint": "lagrangian", "max_grad_norm": 0.2})
        for scheme in ("sequential", "simultaneous")
    ),
    ("sac", "sequential", SPREAD, {"alpha_auto": False, "bounds": "official"}),
    ("td3", "sequential", SPREAD, {"policy_delay": 1}),
]


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _pair(rule: str, scheme: str, task: str, more: Case) -> list[OffPolicyLearner]:
    """One learner with hand-written gradients and autograd, temperatures and multipliers."""
    pair = []
    for gradients in ("fast", "autograd"):
        learner = _learner(rule, scheme, task, seeds=[7, 8], gradients=gradients, **more)
        assert learner.config.gradients == gradients
        for constraint, value in zip(learner.constraints, (0.7, 0.2), strict=False):
            constraint.value = value
        learner.log_alpha += torch.linspace(-0.5, 0.7, learner.log_alpha.shape[1])
        pair.append(learner)
    return pair


def _gradients(learner: OffPolicyLearner) -> list[Tensor]:
    adams = [learner.critics.adam, *(group.adam for group in learner.groups), learner.alpha_adam]
    return [adam.gradient for adam in adams]


def _weights(learner: OffPolicyLearner) -> list[Tensor]:
    nets = [learner.critics.net, learner.critics.target, *(group.net for group in learner.groups)]
    return [*(net.flat for net in nets), *learner.target_actors, learner.log_alpha]


@pytest.mark.parametrize(("rule", "scheme", "task", "more"), CASES)
def test_hand_written_gradients_equal_those_of_the_written_losses(
    rule: str, scheme: str, task: str, more: Case, double: None
) -> None:
    pair = _pair(rule, scheme, task, more)
    delay = pair[0].config.policy_delay
    for update in range(delay):
        noise = pair[0].draw_noise(BATCH, (update + 1) % delay == 0)
        for learner in pair:
            learner.update(_batch(learner, update), noise)
    for by_hand, written in zip(*map(_gradients, pair), strict=True):
        assert (written != 0).any() or rule != "sac" or not pair[0].config.rule.temperature_lr
        scale = float(written.abs().max())
        torch.testing.assert_close(by_hand, written, atol=1e-10 * scale, rtol=1e-10)
    assert (_gradients(pair[1])[0] != 0).any() and (_gradients(pair[1])[1] != 0).any()


@pytest.mark.parametrize(("rule", "scheme", "task", "more"), CASES)
def test_several_updates_with_hand_written_gradients_and_autograd_give_equal_weights(
    rule: str, scheme: str, task: str, more: Case
) -> None:
    pair = _pair(rule, scheme, task, more)
    before = [flat.clone() for flat in _weights(pair[0])]
    for update in range(4):
        noise = pair[0].draw_noise(BATCH, (update + 1) % pair[0].config.policy_delay == 0)
        for learner in pair:
            learner.update(_batch(learner, update), noise)
    for by_hand, written in zip(*map(_weights, pair), strict=True):
        torch.testing.assert_close(by_hand, written, atol=1e-5, rtol=0)
    assert (before[0] != _weights(pair[1])[0]).any() and (before[2] != _weights(pair[1])[2]).any()


@pytest.mark.parametrize("scheme", ["sequential", "simultaneous"])
def test_gradients_are_clipped_as_each_optimiser_s_of_its_own(scheme: str) -> None:
    learner = _learner("sac", scheme, SPREAD, constraint="lagrangian", max_grad_norm=0.2)
    learner.update(_batch(learner, 0))
    norms = learner.critics.adam.gradient.norm(dim=1)
    assert float(norms[0]) == pytest.approx(0.2, abs=1e-4)  # of cost, alone
    assert float(norms[1:].norm()) == pytest.approx(0.2, abs=1e-4)  # of reward, together


@pytest.mark.parametrize("rule", ["sac", "td3", "ddpg"])
@pytest.mark.parametrize("task", [SPREAD, SPEAKER])
@pytest.mark.parametrize("variant", ["published", "omnisafe"])
def test_targets_are_those_of_a_formula_written_out(rule: str, task: str, variant: str) -> None:
    """One agent after another, one critic after another, in plain words."""
    more = {"constraint": "pid", "cost_twins": True, "constraint.variant": variant}
    if rule == "ddpg":
        more["rule.variant"] = variant
    learner = _learner(rule, "sequential", task, **more)
    learner.log_alpha += torch.linspace(-0.5, 0.7, learner.log_alpha.shape[1])
    for flat in [learner.critics.target.flat, *learner.target_actors]:
        flat += 0.1 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(1))
    batch, noise = _batch(learner, 3), learner.draw_noise(BATCH, True)
    next_rows, layout = batch.next_rows[0].clone(), learner.layout
    with torch.no_grad():
        targets = learner._targets(batch, noise, learner.log_alpha.exp())[:, 0]
    state = next_rows[:, layout.joint.start : layout.joint.start + layout.state_size]
    chosen, modes, entropy = [], [], torch.zeros(BATCH)
    for agent in learner.agents:
        g, m = learner.place[agent]
        group, numbers = learner.groups[g], noise.target[g]
        seen = next_rows[:, layout.observations[agent]]
        space = learner.action_spaces[agent]

        def act(flat: Tensor, seen: Tensor = seen, group: Any = group, m: int = m) -> Tensor:
            return group.net.on(flat[m : m + 1]).forward(seen[None])[0][0]

        now, slow = act(group.net.flat), act(learner.target_actors[g])
        own = None if numbers is None else numbers[m]
        if isinstance(space, spaces.Discrete):
            modes.append(functional.one_hot(now.argmax(-1), int(space.n)).float())
            out = now if rule == "sac" or (rule == "ddpg" and variant == "omnisafe") else slow
            scores = out if own is None else out - own.log()
            chosen.append(functional.one_hot(scores.argmax(-1), int(space.n)).float())
            if rule == "sac":
                entropy += -(chosen[-1] * torch.log_softmax(out, -1)).sum(-1)
            continue
        # actions lie in [0, 1]
        modes.append((1 + torch.tanh(now.chunk(2, -1)[0] if rule == "sac" else now)) / 2)
        if rule == "sac":
            assert own is not None
            mean, log_std = now.chunk(2, -1)
            normal = torch.distributions.Normal(mean.double(), log_std.double().exp())
            u = mean + normal.scale * own
            chosen.append(((1 + torch.tanh(u)) / 2).float())
            density = normal.log_prob(u) - torch.log((1 - torch.tanh(u) ** 2) / 2)
            entropy += -density.sum(-1).float()
        elif rule == "td3":
            assert own is not None
            smooth = (0.2 * own).clamp(-0.5, 0.5) / 2
            chosen.append(((1 + torch.tanh(slow)) / 2 + smooth).clamp(0, 1))
        else:
            chosen.append((1 + torch.tanh(now if variant == "omnisafe" else slow)) / 2)

    def value(k: int, actions: list[Tensor]) -> Tensor:
        x = torch.cat([state, *actions], -1)[None]
        return learner.critics.target.rows(k, k + 1).forward(x)[0][0, :, 0]

    soft = torch.zeros(())
    if rule == "sac":
        soft = learner.log_alpha[0, -1].exp() * entropy
    future = torch.stack([value(k, chosen) for k in range(2, learner.critics.count)]).amin(0)
    wanted = batch.rewards[0] + batch.discounts[0] * (future + soft)
    at = modes if variant == "omnisafe" else chosen
    next_cost = torch.maximum(value(0, at), value(1, at))
    cost = batch.costs[0] + batch.discounts[0] * next_cost
    expected = torch.stack([cost, cost, *[wanted] * (learner.critics.count - 2)])
    torch.testing.assert_close(targets, expected, atol=2e-5, rtol=1e-5)
