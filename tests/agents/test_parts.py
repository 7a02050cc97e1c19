"""The parts learners are composed of, checked against numbers worked by hand and torch's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from pkubench.agents.nn.actor import Actor
from pkubench.agents.nn.distributions import Categorical, DiagonalGaussian
from pkubench.agents.nn.networks import MLP, NetworkSpec
from pkubench.agents.nn.normalisers import ObservationNorm, ValueNorm, standardise
from pkubench.agents.rl.advantages import gae
from pkubench.agents.rl.constraints.lagrangian import Lagrangian
from pkubench.agents.rl.update_rules.ppo_clip import ppo_clip
from pkubench.agents.rl.value_loss import value_loss
from pkubench.errors import ConfigError


def _column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


def _flags(*values: int) -> np.ndarray:
    return np.array(values, dtype=bool)[:, None]


def test_gae_equals_the_sum_worked_by_hand() -> None:
    # delta = 1 + .5*2 - 1 = 1; 2 + .5*4 - 2 = 2; 3 + .5*8 - 4 = 3; chain .5*.5 = .25
    advantages = gae(
        _column(1, 2, 3),
        _column(1, 2, 4),
        _column(2, 4, 8),
        _flags(0, 0, 0),
        _flags(0, 0, 0),
        gamma=0.5,
        lam=0.5,
    )
    assert advantages[:, 0].tolist() == [1 + 0.25 * 2.75, 2 + 0.25 * 3, 3]


def test_truncation_bootstraps_from_the_final_state_and_termination_does_not() -> None:
    common = dict(gamma=0.5, lam=0.5)
    args = (_column(1, 2), _column(1, 2), _column(10, 4))
    truncated = gae(*args, _flags(0, 0), _flags(1, 0), **common)
    terminated = gae(*args, _flags(1, 0), _flags(0, 0), **common)
    assert truncated[0, 0] == 1 + 0.5 * 10 - 1  # the final state's value, and no chain past it
    assert terminated[0, 0] == 1 - 1
    assert truncated[1, 0] == terminated[1, 0] == 2 + 0.5 * 4 - 2


def test_harls_official_truncation_gives_the_truncated_step_no_advantage() -> None:
    advantages = gae(
        _column(1, 2, 3),
        _column(1, 2, 4),
        _column(2, 10, 8),
        _flags(0, 0, 0),
        _flags(0, 1, 0),
        gamma=0.5,
        lam=0.5,
        bootstrap_truncated=False,
    )
    assert advantages[:, 0].tolist() == [1.0, 0.0, 3.0]


def test_ppo_clip_equals_four_cases_worked_by_hand() -> None:
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5])
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0])
    factor = torch.tensor([1.0, 2.0, 3.0, 4.0])
    # min(1.5, 1.2)=1.2; min(-1.5, -1.2)=-1.5; min(.5, .8)=.5; min(-.5, -.8)=-.8
    expected = -(1.2 - 3.0 + 1.5 - 3.2) / 4
    assert float(ppo_clip(ratio, advantage, factor, 0.2)) == pytest.approx(expected, abs=1e-6)


def test_the_clip_stops_the_gradient_only_where_the_ratio_left_the_interval() -> None:
    ratio = torch.tensor([1.5, 1.5, 1.1], requires_grad=True)
    ppo_clip(ratio, torch.tensor([1.0, -1.0, 1.0]), torch.ones(3), 0.2).backward()
    assert ratio.grad is not None
    assert ratio.grad.tolist() == pytest.approx([0.0, 1 / 3, -1 / 3])


def test_value_loss_takes_the_larger_of_clipped_and_plain_huber() -> None:
    value, old, target = torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([2.0])
    # plain: .5 * 1; clipped prediction .2: error 1.8 -> .5 * 1.8^2 with delta 10, 1.3 with delta 1
    wide = value_loss(value, old, target, clip=0.2, huber_delta=10.0)
    narrow = value_loss(value, old, target, clip=0.2, huber_delta=1.0)
    plain = value_loss(value, old, target, clip=None, huber_delta=None)
    assert float(wide) == pytest.approx(0.5 * 1.8**2)
    assert float(narrow) == pytest.approx(1.0 * (1.8 - 0.5))
    assert float(plain) == pytest.approx(1.0)


def test_categorical_agrees_with_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, other = torch.randn(6, 4, generator=generator), torch.randn(6, 4, generator=generator)
    ours, theirs = Categorical.from_logits(logits), torch.distributions.Categorical(logits=logits)
    actions = torch.tensor([0, 1, 2, 3, 0, 1])
    torch.testing.assert_close(ours.log_prob(actions), theirs.log_prob(actions))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    kl = torch.distributions.kl_divergence(theirs, torch.distributions.Categorical(logits=other))
    torch.testing.assert_close(ours.kl(Categorical.from_logits(other)), kl)


def test_categorical_samples_with_its_probabilities_and_never_a_masked_action() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2])).expand(60_000, 3)
    generator = torch.Generator().manual_seed(0)
    counts = torch.bincount(Categorical.from_logits(logits).sample(generator), minlength=3) / 60_000
    torch.testing.assert_close(counts, torch.tensor([0.5, 0.3, 0.2]), atol=0.008, rtol=0)
    masked = Categorical.from_logits(logits, torch.tensor([1, 0, 1]))
    counts = torch.bincount(masked.sample(generator), minlength=3) / 60_000
    torch.testing.assert_close(counts, torch.tensor([5 / 7, 0.0, 2 / 7]), atol=0.008, rtol=0)
    assert float(masked.log_p.exp()[0, 1]) == 0.0


def test_gaussian_agrees_with_torch_summed_over_dimensions() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, actions = torch.randn(5, 3, generator=generator), torch.randn(5, 3, generator=generator)
    std, other_std = torch.tensor([0.5, 1.0, 3.0]), torch.tensor([0.7, 0.9, 1.5])
    ours, theirs = DiagonalGaussian(mean, std), torch.distributions.Normal(mean, std)
    other = torch.distributions.Normal(actions, other_std)
    torch.testing.assert_close(ours.log_prob(actions), theirs.log_prob(actions).sum(-1))
    torch.testing.assert_close(ours.entropy(), theirs.entropy().sum(-1))
    kl = torch.distributions.kl_divergence(theirs, other).sum(-1)
    torch.testing.assert_close(ours.kl(DiagonalGaussian(actions, other_std)), kl)


@pytest.mark.parametrize("kind", ["categorical", "gaussian"])
def test_noise_is_drawn_where_the_generator_is_and_not_where_the_network_is(kind: str) -> None:
    """Torch refuses a CPU generator on a GPU; the meta device represents a GPU here."""
    far = torch.zeros((5, 3), device="meta")
    pi = Categorical(far) if kind == "categorical" else DiagonalGaussian(far, far[0])
    generator, twin = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    assert pi.sample(generator).device.type == "meta"
    noise = torch.empty(5, 3)
    if kind == "categorical":
        noise.exponential_(generator=twin)
    else:
        noise.normal_(generator=twin)
    assert torch.equal(generator.get_state(), twin.get_state())


def test_value_norm_is_debiased_and_keeps_a_variance_floor() -> None:
    norm = ValueNorm()
    norm.update(np.array([10.0, 14.0], np.float32))
    assert norm.normalise(np.array([12.0, 14.0], np.float32)).tolist() == pytest.approx(
        [0, 1], abs=1e-4
    )
    values = np.array([-1.0, 0.5], dtype=np.float32)
    back = norm.normalise(norm.denormalise(values))
    assert back.tolist() == pytest.approx(values.tolist(), abs=1e-4)
    norm.update(np.array([20.0], np.float32))
    # the average of both updates, the newer one by HARL's 1e-5 the heavier
    mean = (0.99999 * 12 + 20) / 1.99999
    square = (0.99999 * 148 + 400) / 1.99999
    found = norm.normalise(np.array([20.0]))
    assert float(found[0]) == pytest.approx((20 - mean) / math.sqrt(square - mean**2), rel=1e-6)
    flat = ValueNorm()
    flat.update(np.full(4, 3.0, np.float32))
    assert float(flat.normalise(np.array([4.0], np.float32))[0]) == pytest.approx(10.0, rel=1e-3)


def test_observation_norm_holds_the_sample_moments_of_all_it_saw() -> None:
    data = np.random.default_rng(0).normal(3.0, 2.0, (90, 2))
    norm = ObservationNorm(2)
    for part in np.split(data, [7, 40]):
        norm.update(part)
    np.testing.assert_allclose(norm.mean, data.mean(0))
    np.testing.assert_allclose(norm.std, data.std(0, ddof=1))
    far = norm(np.array([[1e6, -1e6]]))
    assert far.tolist() == [[5.0, -5.0]]


def test_a_feature_that_hardly_varies_is_divided_by_the_least_deviation() -> None:
    norm = ObservationNorm(1)
    norm.update(np.array([[1.0], [1.0], [1.0], [1.001]]))
    assert norm.std[0] == 0.01
    assert norm(norm.mean[None] + 0.02)[0, 0] == pytest.approx(2.0)


def _spec(**changes: Any) -> NetworkSpec:
    settings: dict[str, Any] = {"inputs": 6, "hidden": (12, 8), "outputs": 3, "activation": "relu"}
    settings |= {"layer_norm": True, "init": "orthogonal", "head_gain": 0.01}
    return NetworkSpec(**{**settings, **changes})


@pytest.mark.parametrize(("activation", "gain"), [("relu", math.sqrt(2)), ("tanh", 5 / 3)])
def test_orthogonal_layers_have_the_gain_of_their_activation_and_heads_their_own(
    activation: Any, gain: float
) -> None:
    net = MLP(_spec(activation=activation), torch.Generator().manual_seed(0))
    for layer, wanted in ((net.linears[0], gain), (net.linears[1], gain), (net.head, 0.01)):
        singular = torch.linalg.svdvals(layer.weight.detach())  # type: ignore[arg-type]
        torch.testing.assert_close(singular, torch.full_like(singular, wanted))
        assert not layer.bias.any()


def test_a_network_is_norm_then_linear_activation_norm_for_each_layer() -> None:
    net = MLP(_spec(head_gain=1.0), torch.Generator().manual_seed(0))
    x = 3.0 * torch.randn(5, 6, generator=torch.Generator().manual_seed(1)) + 1.0
    h = torch.nn.functional.layer_norm(x, (6,))
    for k, size in enumerate((12, 8)):
        h = torch.nn.functional.layer_norm(torch.relu(net.linears[k](h)), (size,))
    torch.testing.assert_close(net(x), net.head(h))


def test_initial_deviations_are_those_of_the_papers() -> None:
    box = spaces.Box(-1.0, 1.0, (3,), np.float32)
    make = torch.Generator().manual_seed(0)
    harl = Actor(_spec(), box, "sigmoid", 0.0, make).std()
    omnisafe = Actor(_spec(), box, "log", 0.0, make).std()
    assert harl.tolist() == pytest.approx([0.3655293] * 3)  # 0.5 / (1 + 1 / e)
    assert omnisafe.tolist() == [1.0, 1.0, 1.0]


def test_standardise_uses_the_population_deviation() -> None:
    out = standardise(torch.tensor([1.0, 3.0]), 0.0)
    assert out.tolist() == pytest.approx([-1.0, 1.0])


def test_the_multiplier_rises_above_the_limit_and_falls_to_zero_below_it() -> None:
    lagrange = Lagrangian(lambda_init=0.1).start()
    lagrange.update(35.0)
    assert lagrange.value == pytest.approx(0.135, abs=1e-6)  # Adam's first step is the rate
    for _ in range(40):
        lagrange.update(0.0)
    assert lagrange.value == 0.0
    lagrange.update(math.nan)
    assert lagrange.value == 0.0
    assert Lagrangian(lambda_init=3.0).start().weights() == pytest.approx((0.25, -0.75))


def test_the_multiplier_stays_below_its_upper_bound() -> None:
    lagrange = Lagrangian(cost_limit=0.0, lambda_init=0.0, lambda_lr=0.5, lambda_upper=0.8).start()
    for _ in range(5):
        lagrange.update(10.0)
    assert lagrange.value == 0.8


def test_the_multiplier_follows_torchs_adam() -> None:
    lagrange = Lagrangian(lambda_init=1.0).start()
    theirs = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    adam = torch.optim.Adam([theirs], lr=0.035)
    for cost in (60.0, 10.0, 31.0, 24.0, 90.0):
        lagrange.update(cost)
        adam.zero_grad()
        (-theirs * (cost - 25.0)).backward()
        adam.step()
    assert lagrange.value == pytest.approx(float(theirs.detach()), abs=1e-12)


def test_a_negative_cost_limit_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 0"):
        Lagrangian(cost_limit=-1.0)
