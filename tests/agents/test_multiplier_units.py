"""The unit of a multiplier: reward per unit of cost, whatever the units of rewards and costs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.families.on_policy import saferl
from pkubench.agents.rl.constraints.lagrangian import Lagrangian
from pkubench.agents.rl.constraints.pid import PID
from pkubench.agents.rl.constraints.scale import AdvantageScale
from pkubench.agents.rl.on_policy.mixing import Estimated, cost_at_limit, mixed
from tests.agents.configs import config_of

KINDS: dict[str, Any] = {
    "lagrangian": {"lambda_lr": 0.1},
    "pid": {"pid_kp": 0.1, "pid_ki": 0.05, "pid_kd": 0.2, "pid_delay": 2},
}


def _updates(kind: str, reward: float, cost: float, **more: Any) -> tuple[list[float], list[Any]]:
    """Return multipliers and advantages of five updates, with units of reward and cost changed."""
    config = config_of(
        constraint=kind,
        cost_limit=5.0 * cost,
        lambda_init=0.0,
        advantage_epsilon=0.0,
        **KINDS[kind],
        **more,
    )
    constraint, scale = config.constraint.start(), AdvantageScale()
    rng = np.random.default_rng(0)
    multipliers, ascended = [], []
    for k, measured in enumerate((12.0, 9.0, 8.0, 4.0, 7.0)):
        noise = torch.from_numpy(rng.normal(size=(2, 400)))
        # A_R shrinks as a policy converges, A_C has the noise of the environment
        of = Estimated(None, reward * noise[0] * 0.5**k, [cost * (3.0 * noise[1] + 1.0)])
        found = mixed([of], constraint, [scale], config, ([measured * cost], 16.0))
        multipliers.append(constraint.multiplier)  # type: ignore[union-attr]
        ascended.append(found.to_ascend[0])
    return multipliers, ascended


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("reward", "cost"), [(100.0, 1.0), (1.0, 10.0), (0.01, 0.1)])
def test_updates_are_the_same_in_all_units_of_reward_and_cost(
    kind: str, reward: float, cost: float
) -> None:
    plain, changed = _updates(kind, 1.0, 1.0), _updates(kind, reward, cost)
    assert plain[0][0] > 0.0
    np.testing.assert_allclose(changed[0], np.array(plain[0]) * reward / cost, rtol=1e-4)
    for mine, theirs in zip(changed[1], plain[1], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mixed_advantage_weighs_cost_by_the_multiplier_and_has_unit_deviation(
    kind: str,
) -> None:
    config = config_of(constraint=kind, lambda_init=0.06, advantage_epsilon=0.0)
    constraint = config.constraint.start()
    assert constraint is not None
    rng = torch.Generator().manual_seed(0)
    reward, cost = torch.randn(2, 300, generator=rng, dtype=torch.float64)
    usable = torch.arange(300) < 200
    of = Estimated(usable, 0.01 * reward + 7.0, [5.0 * cost - 3.0])
    scale = AdvantageScale()
    found = mixed([of], constraint, [scale], config, ([math.nan], math.nan))  # no new episode
    assert constraint.multiplier == 0.06  # type: ignore[union-attr]
    price = constraint.multiplier  # type: ignore[union-attr]
    wanted = of.reward - price * of.costs[0]
    wanted = (wanted - wanted[usable].mean()) / wanted[usable].std(correction=0)
    torch.testing.assert_close(found.to_ascend[0], wanted)
    torch.testing.assert_close(found.of_cost[0], of.costs[0] - of.costs[0][usable].mean())  # type: ignore[index]


def test_in_deviations_a_multiplier_prices_a_cost_at_less_and_less_reward() -> None:
    """The published form, on rewards whose advantages shrink: lambda grows, its effect does not."""
    multipliers, ascended = _updates("lagrangian", 1.0, 1.0, lambda_unit="deviation")
    other, same = _updates("lagrangian", 100.0, 1.0, lambda_unit="deviation")
    assert other == multipliers  # whatever a reward is worth
    for mine, theirs in zip(same, ascended, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_the_price_of_the_first_updates_worked_by_hand() -> None:
    scale = AdvantageScale()
    scale.add(of_reward=4.0, of_cost=1.0)
    assert scale.price(0.5) == pytest.approx(2.0)
    assert scale.price(8.0) == pytest.approx(0.25)  # before the first cost A_C is noise
    scale.add(of_reward=0.0, of_cost=7.0)
    assert scale.price(0.5) == pytest.approx(math.sqrt(2.0 / 4.0))
    other = AdvantageScale()
    other.restore(scale.state())
    assert other == scale


def test_the_cost_at_the_limit_is_of_the_horizon_of_an_advantage() -> None:
    config = config_of(constraint="lagrangian", gamma=0.99, cost_lam=0.95)
    horizon = 1.0 / (1.0 - 0.99 * 0.95)
    assert cost_at_limit(25.0, 1000.0, config) == pytest.approx(0.025 * horizon)
    assert cost_at_limit(5.0, 8.0, config) == 5.0  # of an episode, if that is shorter
    whole = config_of(constraint="lagrangian", gamma=1.0, cost_lam=1.0)
    assert cost_at_limit(5.0, 1000.0, whole) == 5.0


def test_cups_multiplier_times_a_cost_is_the_same_in_all_units() -> None:
    """The correction weighs ``nu A_C`` against a KL divergence, which has no unit."""
    for unit in (1.0, 10.0):
        config = config_of(constraint="cup", cost_limit=5.0 * unit, lambda_init=0.0, lambda_lr=0.1)
        constraint = config.constraint.start()
        cost = unit * torch.tensor([-2.0, 2.0])
        of = Estimated(None, torch.tensor([1.0, -1.0]), [cost])
        mixed([of], constraint, [AdvantageScale()], config, ([6.0 * unit], 500.0))
        # a rate of 0.1, over a deviation of 2, for an excess of a fifth of the limit
        assert constraint.value * unit == pytest.approx(0.1 / 2.0 * 0.2)  # type: ignore[union-attr]
    plain = config_of(constraint="cup", nu_scale="fixed", lambda_init=0.0, lambda_lr=0.1)
    assert plain.constraint.price(AdvantageScale(), 1.0) is None


def test_a_step_of_a_multiplier_in_the_rewards_unit_worked_by_hand() -> None:
    multiplier = Lagrangian(cost_limit=5.0, lambda_init=0.0, lambda_lr=0.1).start()
    for cost, wanted in ((50.0, 0.03), (6.0, 0.012), (4.0, 0.0), (10.0, 0.066), (7.5, 0.066)):
        multiplier.update(cost, 10.0, 0.3)
        assert multiplier.value == pytest.approx(wanted), cost
    pid = PID(
        cost_limit=5.0, lambda_init=0.5, pid_kp=0.2, pid_ki=0.1, pid_kd=0.4, pid_smoothing=0.5
    )
    controller = pid.start()
    controller.update(9.0, 10.0, 0.3)  # excess 0.8 of the limit; its average 0.4, of the cost 0.9
    assert controller.value == pytest.approx(0.5 + 0.3 * (0.2 * 0.4 + 0.1 * 0.8 + 0.4 * 0.9))
    none = Lagrangian(cost_limit=0.0, lambda_init=0.0, lambda_lr=0.1).start()
    none.update(0.5, 10.0, 1.0)
    assert none.value == pytest.approx(0.05)


def test_paper_presets_keep_the_published_forms() -> None:
    for name in ("ppo-lag", "trpo-lag", "focops", "cppo-pid"):
        mine: Any = saferl.PRESETS[name].constraint
        paper: Any = saferl.PRESETS[f"{name}-paper"].constraint
        assert (mine.lambda_unit, paper.lambda_unit) == ("reward", "deviation")
    for name, field, ours, theirs in (
        ("p3o", "gate", "batch", "minibatch"),
        ("cup", "nu_scale", "running", "fixed"),
        ("cpo", "acceptance", "held-out", "in-sample"),
        ("pcpo", "acceptance", "held-out", "in-sample"),
    ):
        assert getattr(saferl.PRESETS[name].constraint, field) == ours
        assert getattr(saferl.PRESETS[f"{name}-paper"].constraint, field) == theirs
