"""The losses of Safe RLHF and of preference tuning against tables worked by hand, in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.rl.language.losses import (
    cost_loss,
    critic_loss,
    dpo_loss,
    kto_loss,
    lagrangian_advantage,
    next_log_multiplier,
    rectified_advantage,
    reward_loss,
    shaped,
)
from pkubench.envs.alignment.optima import tilted

LN2 = math.log(2.0)


def leaf(*values: float) -> Any:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def sigma(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def test_reward_loss_at_zero_and_elsewhere() -> None:
    better, worse = leaf(0.0), leaf(0.0)
    loss: Any = reward_loss(better, worse, 0.0)
    loss.backward()
    assert loss.item() == pytest.approx(LN2) and better.grad.item() == -0.5
    better, worse = leaf(1.5, -0.5), leaf(0.5, 0.25)
    loss = reward_loss(better, worse, 0.01)
    wanted = -0.5 * (math.log(sigma(1.0)) + math.log(sigma(-0.75)))
    assert loss.item() == pytest.approx(wanted + 0.01 * (2.25 + 0.25 + 0.25 + 0.0625) / 4)
    loss.backward()
    assert better.grad.tolist() == pytest.approx(
        [-sigma(-1.0) / 2 + 0.01 * 2 * 1.5 / 4, -sigma(0.75) / 2 - 0.01 * 2 * 0.5 / 4]
    )


@pytest.mark.parametrize(
    ("lower_sign", "higher_sign", "lower_slope", "higher_slope"),
    [(-1.0, 1.0, 1.0, -1.0), (1.0, 1.0, 0.0, -1.0), (-1.0, -1.0, 1.0, 0.0)],
)
def test_cost_loss_at_zero(
    lower_sign: float, higher_sign: float, lower_slope: float, higher_slope: float
) -> None:
    lower, higher = leaf(0.0), leaf(0.0)
    loss: Any = cost_loss(lower, higher, leaf(lower_sign), leaf(higher_sign), 0.001)
    loss.backward()
    assert loss.item() == pytest.approx(3 * LN2)
    assert (lower.grad.item(), higher.grad.item()) == (lower_slope, higher_slope)


def test_cost_loss_elsewhere() -> None:
    loss: Any = cost_loss(leaf(-0.5), leaf(2.0), leaf(-1.0), leaf(1.0), 0.1)
    wanted = -math.log(sigma(2.5)) - math.log(sigma(0.5)) - math.log(sigma(2.0))
    assert loss.item() == pytest.approx(wanted + 0.1 * (0.25 + 4.0) / 2)


def test_dpo_and_kto_at_the_reference_and_elsewhere() -> None:
    better, worse = leaf(0.0), leaf(0.0)
    loss: Any = dpo_loss(better, worse, 0.1)
    loss.backward()
    assert loss.item() == pytest.approx(LN2)
    assert (better.grad.item(), worse.grad.item()) == pytest.approx((-0.05, 0.05))
    assert dpo_loss(leaf(2.0), leaf(-3.0), 0.1).item() == pytest.approx(-math.log(sigma(0.5)))
    better, worse = leaf(0.0), leaf(0.0)
    loss = kto_loss(better, worse, leaf(-1.0), 0.1)  # the divergence is taken as 0
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert (better.grad.item(), worse.grad.item()) == pytest.approx((-0.0125, 0.0125))
    divergence = leaf(0.5)
    loss = kto_loss(leaf(2.0), leaf(-3.0), divergence, 0.2)
    assert loss.item() == pytest.approx(1 - (sigma(0.3) + sigma(0.7)) / 2)
    loss.backward()
    assert divergence.grad is None


def test_shaped_streams_are_beta_k_and_the_score_at_the_end() -> None:
    k = torch.tensor([[0.5, -1.0, 2.0]], dtype=torch.float64)
    rewards = shaped(torch.tensor([3.0], dtype=torch.float64), k.clone(), 0.1, 50.0)
    assert rewards[0].tolist() == pytest.approx([-0.05, 0.1, 2.8])
    costs = -shaped(torch.tensor([-4.0], dtype=torch.float64), k.clone(), 0.1, 50.0)
    assert costs[0].tolist() == pytest.approx([0.05, -0.1, 4.2])
    # whatever lambda is, the divergence has the weight beta, and R - lambda C is divided
    for multiplier in (0.0, 0.5, 3.0):
        both = lagrangian_advantage(rewards, costs, multiplier)
        wanted = (-0.1 * k)[0].numpy()
        wanted[-1] += (3 - multiplier * 4) / (1 + multiplier)
        assert both[0].numpy() == pytest.approx(wanted)
    clipped = shaped(torch.tensor([60.0]), torch.zeros(1, 2), 0.1, 50.0)
    assert clipped.tolist() == [[0.0, 50.0]]


def test_rectified_advantages_count_costs_of_unsafe_responses_only() -> None:
    rewards, costs = torch.tensor([[2.0], [2.0]]), torch.tensor([[1.0], [1.0]])
    found = rectified_advantage(rewards, costs, torch.tensor([True, False]), 3.0)
    assert found[:, 0].tolist() == [-0.25, 2.0]


def test_the_log_multiplier_follows_its_path() -> None:
    # lambda 1 -> log += 0.1 * 1 * 0.5; then 0.1 * e^0.05 * (-0.2 - 0.1); then up to the bound
    first = next_log_multiplier(0.0, 0.5, 0.0, 0.1, 5.0)
    second = next_log_multiplier(first, -0.2, 0.1, 0.1, 5.0)
    assert (first, second) == pytest.approx((0.05, 0.05 - 0.03 * math.exp(0.05)))
    assert next_log_multiplier(second, 1000.0, 0.0, 0.1, 5.0) == math.log(5.0)


def test_the_critics_loss_takes_the_larger_of_two_halves() -> None:
    # 7 is 2 beyond the clipping interval around 0, so the clipped error is that of 5
    found = critic_loss(leaf(7.0), leaf(0.0), leaf(8.0), 5.0)
    assert found.item() == pytest.approx(0.5 * 9.0)
    assert critic_loss(leaf(7.0), leaf(0.0), leaf(1.0), 5.0).item() == pytest.approx(18.0)


def minimised(scores: np.ndarray, reference: np.ndarray, beta: float) -> np.ndarray:
    """Minimise the expected DPO loss over all pairs, labelled by Bradley-Terry on ``scores``."""
    logits = torch.zeros(len(scores), dtype=torch.float64, requires_grad=True)
    before = torch.from_numpy(np.log(reference))
    chances = 1.0 / (1.0 + np.exp(scores[None] - scores[:, None]))
    optimiser: Any = torch.optim.LBFGS([logits], max_iter=300, tolerance_grad=1e-12,
                                  tolerance_change=0.0, line_search_fn="strong_wolfe")  # fmt: skip

    def closure() -> Any:
        optimiser.zero_grad()
        k = logits.log_softmax(0) - before
        pairs = [(i, j) for i in range(len(scores)) for j in range(len(scores)) if i != j]
        loss: Any = sum(
            chances[i, j] * dpo_loss(k[i : i + 1], k[j : j + 1], beta) for i, j in pairs
        )
        loss.backward()
        return loss

    optimiser.step(closure)
    found: np.ndarray = logits.detach().softmax(0).numpy()
    return found


@pytest.mark.parametrize("multiplier", [0.4, 2.0])
def test_sacpos_two_stages_end_at_one_optimum_that_moves_with_the_ratio(multiplier: float) -> None:
    rewards, costs = np.array([0.9, 0.5, 0.0, -0.3]), np.array([0.4, -0.2, 0.1, -0.5])
    reference, beta = np.array([0.4, 0.3, 0.2, 0.1]), 0.5
    first = minimised(rewards, reference, beta)
    assert first == pytest.approx(tilted(reference[None], rewards[None], beta)[0], abs=1e-5)
    second = minimised(-costs, first, beta / multiplier)
    wanted = tilted(reference[None], (rewards - multiplier * costs)[None], beta)[0]
    assert second == pytest.approx(wanted, abs=1e-5)
