"""The on-policy trainers: hand-written gradients and updates against autograd and torch's Adam."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from pkubench.agents.nn.actor import Actor
from pkubench.agents.nn.distributions import Categorical, DiagonalGaussian
from pkubench.agents.nn.fast.backprop import Backprop
from pkubench.agents.nn.fast.distributions import Categoricals, Gaussians, LossGradients
from pkubench.agents.nn.fast.loss_gradients import (
    ppo_clip_slope,
    surrogate_slope,
    value_loss_slope,
)
from pkubench.agents.nn.fast.trainers import FastActorTrainer, FastCriticTrainer, is_fast
from pkubench.agents.nn.networks import MLP, NetworkSpec
from pkubench.agents.rl.constraints.none import NoConstraint
from pkubench.agents.rl.objective import Objective
from pkubench.agents.rl.samples import Samples
from pkubench.agents.rl.trainers import (
    AutogradActorTrainer,
    AutogradCriticTrainer,
    Minibatches,
)
from pkubench.agents.rl.update_rules.base import CostTerms, surrogate
from pkubench.agents.rl.update_rules.ppo_clip import PPOClip, ppo_clip
from pkubench.agents.rl.value_loss import value_loss

INPUTS, BATCH = 5, 17
BOX, DISCRETE = spaces.Box(-1.0, 1.0, (3,)), spaces.Discrete(4)
SHAPES = [("tanh", False), ("relu", False), ("tanh", True), ("relu", True)]
BY = ["hand", "autograd"]
ACTORS = {"hand": FastActorTrainer, "autograd": AutogradActorTrainer}
CRITICS = {"hand": FastCriticTrainer, "autograd": AutogradCriticTrainer}


def spec(outputs: int, activation: str, layer_norm: bool) -> NetworkSpec:
    return NetworkSpec(
        inputs=INPUTS,
        hidden=(8, 6),
        outputs=outputs,
        activation=activation,  # type: ignore[arg-type]
        layer_norm=layer_norm,
        init="kaiming",
        head_gain=1.0,
    )


def shaken(module: nn.Module) -> nn.Module:
    """In double precision, with no parameter at a special value."""
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, dtype=torch.float64) * 0.2)
    return module


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(3)


def actor_of(space: spaces.Space, activation: str, layer_norm: bool, std: str) -> Actor:
    outputs = 4 if isinstance(space, spaces.Discrete) else 3
    generator = torch.Generator().manual_seed(1)
    made = Actor(spec(outputs, activation, layer_norm), space, std, -0.3, generator)  # type: ignore[arg-type]
    return shaken(made)  # type: ignore[return-value]


def critic_of(activation: str, layer_norm: bool) -> MLP:
    generator = torch.Generator().manual_seed(1)
    return shaken(MLP(spec(1, activation, layer_norm), generator))  # type: ignore[return-value]


def agree(module: nn.Module, reference: nn.Module, tolerance: float = 1e-10) -> None:
    theirs = dict(reference.named_parameters())
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(
            parameter.detach(), theirs[name].detach(), rtol=tolerance, atol=tolerance, msg=name
        )


@pytest.mark.parametrize(("activation", "layer_norm"), SHAPES)
@pytest.mark.parametrize("outputs", [1, 3])
def test_every_gradient_of_a_stack_is_autograds(activation, layer_norm, outputs):
    generator = torch.Generator().manual_seed(1)
    nets = [shaken(MLP(spec(outputs, activation, layer_norm), generator)) for _ in range(2)]
    references = copy.deepcopy(nets)
    x = torch.randn(BATCH, INPUTS, dtype=torch.float64)
    by_outputs = torch.randn(2, BATCH, outputs, dtype=torch.float64)
    networks = Backprop(nets)
    for _ in range(2):  # the second pass finds the first one's buffers
        outs = networks.forward(networks.prepare(x.numpy())).copy()
        networks.backward(by_outputs.mT.contiguous().numpy())
    for row, net in enumerate(references):
        expected = net(x)
        np.testing.assert_allclose(outs[row].T, expected.detach(), rtol=1e-10, atol=1e-12)
        torch.autograd.backward(expected, by_outputs[row])
        layers = [*net.linears, net.head]
        for k, linear in enumerate(layers):
            affine, scale, shift = networks.gradients[k]
            close = {"rtol": 1e-10, "atol": 1e-12}
            torch.testing.assert_close(affine[row, :-1].mT, linear.weight.grad, **close)
            torch.testing.assert_close(affine[row, -1], linear.bias.grad, **close)
            if layer_norm:
                torch.testing.assert_close(scale[row, :, 0], net.norms[k].weight.grad, **close)
                torch.testing.assert_close(shift[row, :, 0], net.norms[k].bias.grad, **close)


@pytest.mark.parametrize(("activation", "layer_norm"), SHAPES)
def test_outputs_of_many_samples_are_the_modules_own(activation, layer_norm):
    net = critic_of(activation, layer_norm)
    x = torch.randn(1300, INPUTS, dtype=torch.float64)
    networks = Backprop([net])
    outs = networks.outputs(networks.prepare(x.numpy()))
    np.testing.assert_allclose(outs[0, 0], net(x)[:, 0].detach(), rtol=1e-10, atol=1e-12)


def test_modules_and_flat_parameters_share_memory_both_ways():
    net = critic_of("tanh", True)
    other = critic_of("relu", True)
    networks = Backprop([net])
    before = net(torch.ones(1, INPUTS, dtype=torch.float64)).item()
    net.load_state_dict(other.state_dict())
    agree(net, other, 0.0)
    networks.flat.zero_()
    assert all(not p.any() for p in net.parameters())
    assert before != 0.0


def test_small_minibatches_on_the_cpu_use_hand_written_gradients():
    assert is_fast(critic_of("tanh", False), 64)
    assert not is_fast(critic_of("tanh", False), 4000)
    assert not is_fast(nn.Linear(2, 2), 64)


SLOPES = ["log_prob", "kl_from", "kl_to", "entropy", "all"]


@pytest.mark.parametrize("which", SLOPES)
@pytest.mark.parametrize("std", ["log", "sigmoid"])
def test_a_gaussians_gradients_are_autograds(which, std):
    mean = torch.randn(BATCH, 3, dtype=torch.float64, requires_grad=True)
    log_std = torch.randn(3, dtype=torch.float64, requires_grad=True)
    old_mean = torch.randn(BATCH, 3, dtype=torch.float64)
    old_log_std = torch.randn(3, dtype=torch.float64)
    actions = torch.randn(BATCH, 3, dtype=torch.float64)
    weights = torch.randn(3, BATCH, dtype=torch.float64)

    def std_of(x):
        return x.exp() if std == "log" else 0.5 * torch.sigmoid(x)

    pi, old = (
        DiagonalGaussian(mean, std_of(log_std)),
        DiagonalGaussian(old_mean, std_of(old_log_std)),
    )
    mine = Gaussians.from_outputs(mean.detach().numpy().T, log_std.detach().numpy(), std)
    their = Gaussians.from_outputs(old_mean.numpy().T, old_log_std.numpy(), std)
    np.testing.assert_allclose(mine.log_prob(actions.numpy().T), pi.log_prob(actions).detach())
    np.testing.assert_allclose(mine.entropy(), pi.entropy().mean().item())
    np.testing.assert_allclose(mine.kl(their), pi.kl(old).detach())
    assert_slopes(which, pi, old, mine, their, actions, actions.numpy().T, weights, [mean, log_std])


@pytest.mark.parametrize("which", SLOPES)
@pytest.mark.parametrize("masked", [False, True])
def test_a_categoricals_gradients_are_autograds(which, masked):
    logits = torch.randn(BATCH, 4, dtype=torch.float64, requires_grad=True)
    old_logits = torch.randn(BATCH, 4, dtype=torch.float64)
    mask = (torch.rand(BATCH, 4) < 0.6).double() if masked else None
    actions = torch.randint(0, 4, (BATCH,))
    if mask is not None:
        mask[torch.arange(BATCH), actions] = 1.0
        mask[0], mask[1] = 0.0, torch.tensor([0.0, 1.0, 0.0, 0.0])  # nothing and one action left
        actions[1] = 1
    weights = torch.randn(3, BATCH, dtype=torch.float64)
    numpy_mask = None if mask is None else mask.numpy().T
    pi, old = (Categorical.from_logits(x, mask) for x in (logits, old_logits))
    mine, their = (
        Categoricals.from_outputs(x.detach().numpy().T, numpy_mask) for x in (logits, old_logits)
    )
    np.testing.assert_allclose(mine.log_prob(actions.numpy()), pi.log_prob(actions).detach())
    np.testing.assert_allclose(mine.entropy(), pi.entropy().mean().item())
    np.testing.assert_allclose(mine.kl(their), pi.kl(old).detach(), atol=1e-12)
    assert_slopes(which, pi, old, mine, their, actions, actions.numpy(), weights, [logits])


def assert_slopes(which, pi, old, mine, their, actions, numpy_actions, weights, leaves):
    """Compare the gradients of a weighted sum of what ``which`` names."""
    a, b, c = weights
    total, slopes = torch.zeros(()), LossGradients()
    if which in ("log_prob", "all"):
        total = total + (a * pi.log_prob(actions)).sum()
        slopes = slopes._replace(log_prob=a.numpy())
    if which in ("kl_from", "all"):
        total = total + (b * old.kl(pi)).sum()
        slopes = slopes._replace(kl_from=b.numpy())
    if which in ("kl_to", "all"):
        total = total + (c * pi.kl(old)).sum()
        slopes = slopes._replace(kl_to=c.numpy())
    if which in ("entropy", "all"):
        total = total - 0.7 * pi.entropy().mean()
        slopes = slopes._replace(entropy=-0.7)
    expected = torch.autograd.grad(total, leaves, materialize_grads=True)
    by_outputs, by_extra = mine.gradient(slopes, numpy_actions, their)
    np.testing.assert_allclose(by_outputs.T, expected[0], rtol=1e-10, atol=1e-12)
    if len(leaves) > 1:
        np.testing.assert_allclose(by_extra, expected[1], rtol=1e-10, atol=1e-12)


def test_policy_slopes_are_autograds():
    ratio = torch.tensor([0.5, 0.5, 1.0, 1.1, 1.5, 1.5, 0.79, 1.21], dtype=torch.float64)
    advantage = torch.tensor([2.0, -2.0, 1.0, -1.0, 3.0, -3.0, 0.0, 0.5], dtype=torch.float64)
    factor = torch.rand(8, dtype=torch.float64) + 0.1
    weight = (factor * advantage).numpy()
    log_ratio = ratio.log().requires_grad_()
    (expected,) = torch.autograd.grad(ppo_clip(log_ratio.exp(), advantage, factor, 0.2), log_ratio)
    slope = ppo_clip_slope(ratio.numpy(), weight, 0.2)
    np.testing.assert_allclose(slope, expected, atol=1e-14)
    # by hand: outside the interval only a move that makes things worse counts
    assert (slope == 0.0).tolist() == [False, True, False, False, True, False, True, True]
    (expected,) = torch.autograd.grad(-surrogate(log_ratio.exp(), advantage, factor), log_ratio)
    np.testing.assert_allclose(surrogate_slope(ratio.numpy(), weight), expected, atol=1e-14)


@pytest.mark.parametrize("clip", [None, 0.2])
@pytest.mark.parametrize("huber_delta", [None, 0.5])
def test_value_slopes_are_autograds(clip, huber_delta):
    value = torch.randn(2, 50, dtype=torch.float64, requires_grad=True)
    old, target = torch.randn(2, 2, 50, dtype=torch.float64)
    losses = [
        value_loss(value[k], old[k], target[k], clip=clip, huber_delta=huber_delta)
        for k in range(2)
    ]
    (expected,) = torch.autograd.grad(losses[0] + losses[1], value)
    mine, slope = value_loss_slope(
        value.detach().numpy(), old.numpy(), target.numpy(), clip=clip, huber_delta=huber_delta
    )
    np.testing.assert_allclose(mine, [loss.item() for loss in losses], rtol=1e-12)
    np.testing.assert_allclose(slope, expected, rtol=1e-12, atol=1e-14)


def torch_step(module: nn.Module, optimiser: torch.optim.Optimizer, loss, max_norm: float) -> None:
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(module.parameters(), max_norm)
    optimiser.step()


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("max_norm", [0.05, 40.0])
@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["box", "discrete"])
@pytest.mark.parametrize(("activation", "layer_norm"), SHAPES)
def test_thirty_steps_of_an_actor_are_torchs(activation, layer_norm, space, max_norm, by):
    discrete = isinstance(space, spaces.Discrete)
    actor = actor_of(space, activation, layer_norm, "sigmoid" if layer_norm else "log")
    reference = copy.deepcopy(actor)
    adam = torch.optim.Adam(reference.parameters(), lr=0.01, eps=1e-5)
    trainer = ACTORS[by](actor, lr=0.01, epsilon=1e-5, max_grad_norm=max_norm)
    objective = Objective(PPOClip(entropy=0.01), NoConstraint(), CostTerms())
    for size in (BATCH, BATCH, BATCH + 1) * 10:
        x = torch.randn(size, INPUTS, dtype=torch.float64)
        mask = (torch.rand(size, 4) < 0.7).double() if discrete else None
        if discrete:
            actions = torch.randint(0, 4, (size,))
            mask[torch.arange(size), actions] = 1.0
        else:
            actions = torch.randn(size, 3, dtype=torch.float64)
        advantage, factor = torch.randn(2, size, dtype=torch.float64)
        factor = factor.abs()
        with torch.no_grad():
            old = reference(x, mask).log_prob(actions) + 0.2 * torch.randn(size).double()
        pi = reference(x, mask)
        loss = ppo_clip((pi.log_prob(actions) - old).exp(), advantage, factor, 0.2)
        torch_step(reference, adam, loss - 0.01 * pi.entropy().mean(), max_norm)

        samples = Samples(x, mask, actions, old, advantage, factor)
        trainer.load(samples, False, False)
        list(trainer.one_pass(objective, 1, torch.Generator()))
        agree(actor, reference)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("max_norm", [0.05, 40.0])
@pytest.mark.parametrize(("clip", "huber_delta", "l2"), [(None, None, 0.001), (0.2, 0.5, 0.0)])
@pytest.mark.parametrize(("activation", "layer_norm"), SHAPES)
def test_thirty_steps_of_two_critics_are_torchs(
    activation, layer_norm, clip, huber_delta, l2, max_norm, by
):
    nets = [critic_of(activation, layer_norm) for _ in range(2)]
    references = copy.deepcopy(nets)
    adams = [torch.optim.Adam(net.parameters(), lr=0.01, eps=1e-8) for net in references]
    trainer = CRITICS[by](
        nets,
        lr=0.01,
        epsilon=1e-8,
        max_grad_norm=max_norm,
        l2=l2,
        clip=clip,
        huber_delta=huber_delta,
    )
    for _ in range(30):
        x = torch.randn(BATCH, INPUTS, dtype=torch.float64)
        # the second critic's errors are a hundred times the first's: rows are clipped apart
        targets = torch.randn(2, BATCH, dtype=torch.float64) * torch.tensor([[1.0], [100.0]])
        olds = torch.randn(2, BATCH, dtype=torch.float64)
        losses = trainer.descend(trainer.prepare(x.numpy()), olds.numpy(), targets.numpy())
        for row, (net, adam) in enumerate(zip(references, adams, strict=True)):
            loss = value_loss(
                net(x)[:, 0], olds[row], targets[row], clip=clip, huber_delta=huber_delta
            )
            loss = loss + l2 * sum(p.pow(2).sum() for p in net.parameters())
            np.testing.assert_allclose(losses[row], loss.item(), rtol=1e-10)
            torch_step(net, adam, loss, max_norm)
            agree(nets[row], net)


def test_single_precision_follows_torch_to_a_hundred_thousandth():
    net = critic_of("tanh", False).float()
    reference = copy.deepcopy(net)
    adam = torch.optim.Adam(reference.parameters(), lr=3e-4)
    trainer = FastCriticTrainer([net], lr=3e-4, epsilon=1e-8, max_grad_norm=40.0, l2=0.001)
    for _ in range(100):
        x, targets = torch.randn(64, INPUTS), torch.randn(1, 64)
        trainer.descend(trainer.prepare(x.numpy()), targets.numpy(), targets.numpy())
        loss = value_loss(
            reference(x)[:, 0], targets[0], targets[0], clip=None, huber_delta=None
        ) + 0.001 * sum(p.pow(2).sum() for p in reference.parameters())
        torch_step(reference, adam, loss, 40.0)
    agree(net, reference, 1e-5)


@pytest.mark.parametrize("by", BY)
def test_a_saved_trainer_resumes_exactly(by):
    def step(trainer, k):
        rng = np.random.default_rng(k)
        x = trainer.prepare(rng.standard_normal((BATCH, INPUTS)))
        targets = rng.standard_normal((1, BATCH))
        trainer.descend(x, targets, targets)

    def made(net):
        return CRITICS[by]([net], lr=0.01, epsilon=1e-8, max_grad_norm=1.0)

    first = critic_of("tanh", False)
    trainer = made(first)
    for k in range(5):
        step(trainer, k)
    saved, weights = trainer.state(), copy.deepcopy(first.state_dict())
    for k in range(5, 9):
        step(trainer, k)
    second = critic_of("tanh", False)
    resumed = made(second)
    second.load_state_dict(weights)
    resumed.load_state(saved)
    for k in range(5, 9):
        step(resumed, k)
    agree(second, first, 0.0)
    assert resumed.state()["count"].tolist() == [9]


def test_moments_of_another_shape_are_refused_and_nothing_changes():
    trainer = FastCriticTrainer(
        [critic_of("tanh", False)], lr=0.01, epsilon=1e-8, max_grad_norm=1.0
    )
    state = trainer.state()
    state["first"] = state["first"] + 1.0
    state["second"] = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"moments have shape \(2, 3\)"):
        trainer.load_state(state)
    assert not trainer.adam.first.any()


def test_a_pass_visits_every_sample_once_with_its_own_values():
    inputs = np.arange(20.0).reshape(10, 2)
    batches = Minibatches(
        inputs,
        {"square": inputs[:, 0] ** 2, "pair": inputs.T.copy(), "masks": None},
        3,
        torch.Generator().manual_seed(0),
    )
    orders = []
    for _ in range(2):
        seen = []
        for part in batches.one_pass():
            np.testing.assert_array_equal(part.samples["square"], part.inputs[:, 0] ** 2)
            np.testing.assert_array_equal(part.samples["pair"], part.inputs.T)
            assert "masks" not in part.samples
            seen.append(part.inputs[:, 0].copy())
        assert [len(s) for s in seen] == [4, 3, 3]  # as torch.tensor_split cuts
        orders.append(np.concatenate(seen))
        np.testing.assert_array_equal(np.sort(orders[-1]), inputs[:, 0])
    assert not np.array_equal(*orders)


def test_one_part_is_the_whole_batch_in_order_and_draws_nothing():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    inputs = np.arange(6.0).reshape(3, 2)
    (part,) = Minibatches(inputs, {"x": inputs[:, 0]}, 1, generator).one_pass()
    np.testing.assert_array_equal(part.inputs, inputs)
    assert torch.equal(generator.get_state(), before)


def test_a_nan_gradient_gives_nan_parameters_as_in_torch():
    net = critic_of("tanh", False)
    trainer = FastCriticTrainer([net], lr=0.01, epsilon=1e-8, max_grad_norm=1.0)
    targets = np.full((1, BATCH), math.nan)
    trainer.descend(trainer.prepare(np.ones((BATCH, INPUTS))), targets, targets)
    assert all(p.isnan().all() for p in net.parameters())


@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["box", "discrete"])
def test_old_policies_stay_what_they_were_while_the_actor_moves(space):
    actor = actor_of(space, "tanh", False, "log")
    trainer = FastActorTrainer(actor, lr=0.1, epsilon=1e-8, max_grad_norm=1.0)
    x = trainer.networks.prepare(np.random.default_rng(0).standard_normal((BATCH, INPUTS)))
    actions = np.zeros((3, BATCH)) if space is BOX else np.zeros(BATCH, np.int64)
    old = trainer.policies(x)
    before = old.log_prob(actions).copy(), old.entropy()
    for _ in range(3):
        pi = trainer.forward(x)
        gradients = LossGradients(log_prob=-np.ones(BATCH))
        by_outputs, by_extra = pi.gradient(gradients, actions, old)
        trainer.networks.backward(by_outputs[None])
        if space is BOX:
            trainer.networks.set_extra_gradient(by_extra[None])
        trainer.step()
    np.testing.assert_array_equal(old.log_prob(actions), before[0])
    assert old.entropy() == before[1]
    assert (old.kl(trainer.policies(x)) > 0.01).all()
