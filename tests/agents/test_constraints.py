"""Constraints: updates with measured costs, worked by hand; and steps that enforce a constraint."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from scipy.optimize import minimize
from torch import Tensor
from torch.func import functional_call

from pkubench.agents.components import changed, choices, with_settings
from pkubench.agents.families.on_policy import saferl
from pkubench.agents.nn.actor import Actor
from pkubench.agents.nn.fast.loss_gradients import (
    cup_slopes,
    exact_penalty_slope,
    focops_slopes,
)
from pkubench.agents.nn.networks import NetworkSpec
from pkubench.agents.rl import constrained_step as constrained
from pkubench.agents.rl import trust_region
from pkubench.agents.rl.constrained_step import constrained_step, cross_fitted_step
from pkubench.agents.rl.constraints.base import Constraint, CostConstraint
from pkubench.agents.rl.constraints.cpo import CPO, cpo_combination
from pkubench.agents.rl.constraints.crpo import CRPO
from pkubench.agents.rl.constraints.cup import CUP, cup_correction
from pkubench.agents.rl.constraints.ipo import IPO
from pkubench.agents.rl.constraints.lagrangian import Lagrangian
from pkubench.agents.rl.constraints.p3o import P3O, exact_penalty
from pkubench.agents.rl.constraints.pcpo import PCPO, pcpo_combination
from pkubench.agents.rl.constraints.pid import PID
from pkubench.agents.rl.constraints.step import Products
from pkubench.agents.rl.samples import Samples
from pkubench.agents.rl.trust_region import trust_region_step
from pkubench.agents.rl.update_rules.focops import focops
from pkubench.agents.rl.update_rules.trust_region import TrustRegion
from pkubench.errors import ConfigError, PkubenchWarning, UnknownName
from tests.agents.configs import config_of, with_changes


def test_pid_follows_three_updates_worked_by_hand() -> None:
    pid = PID(
        cost_limit=10.0,
        lambda_init=0.5,
        pid_kp=0.2,
        pid_ki=0.1,
        pid_kd=0.3,
        pid_smoothing=0.5,
        pid_delay=2,
    ).start()
    pid.update(14.0)  # excess 4: I .5 + .4, P 2, smooth cost 7, rise 7 over the 0 before any
    assert pid.value == pytest.approx(0.2 * 2.0 + 0.9 + 0.3 * 7.0)
    pid.update(8.0)  # excess -2: I .7, P 0, smooth 7.5, rise 7.5 over the same 0
    assert pid.value == pytest.approx(0.7 + 0.3 * 7.5)
    pid.update(0.0)  # excess -10: I 0, not -.3; P -5; smooth 3.75, below 7 two updates ago
    assert pid.value == 0.0
    pid.update(20.0)  # excess 10: I 1, P 2.5, smooth 11.875, rise over 7.5
    assert pid.value == pytest.approx(0.2 * 2.5 + 1.0 + 0.3 * (11.875 - 7.5))
    assert pid.weights() == pytest.approx((1 / (1 + pid.value), -pid.value / (1 + pid.value)))


def test_the_barrier_steepens_towards_the_limit_and_is_capped_past_it() -> None:
    barrier = IPO(barrier=0.5, penalty_max=2.0).start()
    for cost, wanted in ((0.0, 0.02), (24.0, 0.5), (24.9, 2.0), (25.0, 2.0), (400.0, 2.0)):
        barrier.update(cost)
        assert barrier.value == pytest.approx(wanted, rel=1e-6), cost


def test_crpo_descends_the_cost_only_beyond_its_tolerance() -> None:
    crpo = CRPO(cost_limit=25.0, relative_tolerance=0.08).start()  # OmniSafe's 2
    for cost, wanted in ((10.0, (1.0, 0.0)), (26.9, (1.0, 0.0)), (27.1, (0.0, -1.0))):
        crpo.update(cost)
        assert crpo.weights() == wanted
    small = CRPO(cost_limit=5.0, relative_tolerance=0.08).start()
    for cost, wanted in ((5.3, (1.0, 0.0)), (5.5, (0.0, -1.0))):
        small.update(cost)
        assert small.weights() == wanted


def test_cups_multiplier_stays_out_of_the_first_phase() -> None:
    cup = CUP(lambda_init=0.5, lambda_lr=0.1, lambda_upper=2.0).start()
    cup.update(50.0)
    assert cup.value == pytest.approx(0.6)
    assert cup.weights() == (1.0, 0.0)


def test_an_empty_window_changes_nothing_and_the_excess_is_measured() -> None:
    measured = CostConstraint(limit=25.0)
    measured.update(20.0, 500.0)
    assert (measured.excess, measured.length) == (-5.0, 500.0)
    measured.update(40.0, 200.0)
    measured.update(math.nan, math.nan)
    assert (measured.excess, measured.length) == (15.0, 200.0)


@pytest.mark.parametrize(
    "kind",
    ["lagrangian", "pid", "ipo", "crpo", "p3o", "cup"],
)
def test_a_constraint_resumes_exactly_from_its_state(kind: Any) -> None:
    config = config_of(constraint=kind, kappa=0.3, lambda_lr=0.1)
    one, other = config.constraint.start(), config.constraint.start()
    assert one is not None and other is not None
    for cost in (60.0, 10.0, 31.0):
        one.update(cost, 100.0)
    other.restore(one.state())
    assert other == one
    for cost in (24.0, 90.0):
        one.update(cost, 50.0)
        other.update(cost, 50.0)
    assert other == one
    assert other.weights() == one.weights()


def test_incompatible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="constraint=cpo needs update=trust-region"):
        config_of(constraint="cpo")
    with pytest.raises(ConfigError, match="constraint=p3o needs update=ppo-clip"):
        config_of(constraint="p3o", update="trust-region")
    with pytest.raises(ConfigError, match="gamma below 1"):
        config_of(constraint="cup", gamma=1.0)
    with pytest.raises(UnknownName, match="lagrangian"):
        with_settings(config_of(), {"constraint": "lagrangean"})
    with pytest.raises(ConfigError, match="search_steps=15"):
        config_of(constraint="pcpo", update="trust-region", search_steps=0)
    for name in ("cpo", "pcpo", "p3o"):
        with pytest.raises(ConfigError, match="needs signal_norm=false"):
            with_changes(saferl.PRESETS[name], signal_norm=True)
        with_changes(saferl.PRESETS[name], signal_norm=True, variant="omnisafe")  # as its code does


PHI = math.atan2(0.8, 0.6)


@pytest.mark.parametrize(
    ("b", "c", "wanted", "case"),
    [
        ((0.0, 0.1), -1.0, (1.0, 0.0), 3),  # the half-space lies ten radii away
        ((-1.0, 0.0), -0.5, (1.0, 0.0), 2),  # it cuts the ball on the other side
        # the best point of the arc is where the line leaves the circle
        ((0.6, 0.8), -0.3, (math.cos(PHI - math.acos(0.3)), math.sin(PHI - math.acos(0.3))), 2),
        ((0.6, 0.8), 0.5, (math.cos(PHI - math.acos(-0.5)), math.sin(PHI - math.acos(-0.5))), 1),
        ((0.6, 0.8), 0.0, (math.cos(PHI - math.pi / 2), math.sin(PHI - math.pi / 2)), 1),
        ((-0.6, -0.8), 0.0, (1.0, 0.0), 1),  # on the limit, and the best step lowers the cost
        ((0.6, 0.8), 2.0, (-0.6, -0.8), 0),  # nothing in the ball is safe
    ],
)
def test_cpos_cases_on_a_unit_disc_worked_by_hand(
    b: tuple[float, float], c: float, wanted: tuple[float, float], case: int
) -> None:
    g, b_ = np.array([1.0, 0.0]), np.array(b)
    found = cpo_combination(Products(1.0, float(g @ b_), float(b_ @ b_), c, radius=0.5))
    assert found.case == case
    step = found.of_reward * g - found.of_cost * b_
    np.testing.assert_allclose(step, wanted, atol=1e-9)


@pytest.mark.parametrize(
    ("c", "wanted"), [(-0.3, (0.0, 0.0)), (0.5, (-0.3, -0.4)), (2.0, (-0.6, -0.8))]
)
def test_without_a_reward_gradient_cpo_goes_to_the_nearest_safe_point(
    c: float, wanted: tuple[float, float]
) -> None:
    b = np.array([0.6, 0.8])
    found = cpo_combination(Products(0.0, 0.0, float(b @ b), c, radius=0.5))
    np.testing.assert_allclose(-found.of_cost * b, wanted, atol=1e-9)


def _problem(rng: np.random.Generator) -> tuple[Any, Any, Any, float, float]:
    n = int(rng.integers(2, 6))
    root = rng.normal(size=(n, n))
    g, b = rng.normal(size=n), rng.normal(size=n) * rng.choice([0.1, 1.0, 3.0])
    return root @ root.T + 0.3 * np.eye(n), g, b, 0.3 * rng.normal(), rng.choice([0.01, 0.1])


def _best(h: Any, g: Any, b: Any, c: float, radius: float, start: Any) -> Any:
    """Solve ``max g'd`` in the ball and the half-space with a general solver."""
    return minimize(
        lambda d: -g @ d,
        start,
        jac=lambda d: -g,
        constraints=[
            {"type": "ineq", "fun": lambda d: radius - 0.5 * d @ h @ d},
            {"type": "ineq", "fun": lambda d: -c - b @ d},
        ],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )


def _projected(h: Any, b: Any, c: float, point: Any) -> Any:
    """Return the point of the half-space nearest in the metric ``h``."""
    return minimize(
        lambda d: 0.5 * (d - point) @ h @ (d - point),
        point,
        constraints=[{"type": "ineq", "fun": lambda d: -c - b @ d}],
        method="SLSQP",
        options={"ftol": 1e-14},
    ).x


def test_cpos_step_is_the_optimum_that_a_general_solver_finds() -> None:
    rng, seen = np.random.default_rng(0), set()
    for _ in range(120):
        h, g, b, c, radius = _problem(rng)
        x, p = np.linalg.solve(h, g), np.linalg.solve(h, b)
        found = cpo_combination(Products(g @ x, g @ p, b @ p, c, radius))
        seen.add(found.case)
        d = found.of_reward * x - found.of_cost * p
        if found.case == 0:  # the ball's point of least cost, and even that is unsafe
            assert c + b @ d > 0.0
            assert 0.5 * d @ h @ d == pytest.approx(radius)
            continue
        solved = _best(h, g, b, c, radius, start=-c * p / (b @ p))
        assert 0.5 * d @ h @ d <= radius * (1 + 1e-6)
        assert c + b @ d <= 1e-7
        if solved.success:
            assert g @ d == pytest.approx(-solved.fun, abs=1e-7)
    assert seen == {0, 1, 2, 3}


def test_the_sign_that_omnisafe_gives_r_breaks_the_constraint() -> None:
    g, b = np.array([1.0, 0.0]), np.array([0.6, 0.8])
    theirs = cpo_combination(Products(1.0, -float(g @ b), 1.0, -0.3, 0.5))
    step = theirs.of_reward * g - theirs.of_cost * b
    assert b @ step > 0.3 + 0.2


def test_pcpos_step_is_the_nearest_safe_point_in_kl() -> None:
    rng = np.random.default_rng(1)
    moved = 0
    for _ in range(60):
        h, g, b, c, radius = _problem(rng)
        x, p = np.linalg.solve(h, g), np.linalg.solve(h, b)
        found = pcpo_combination(Products(g @ x, g @ p, b @ p, c, radius))
        d = found.of_reward * x - found.of_cost * p
        free = x * math.sqrt(2 * radius / (g @ x))
        nearest = _projected(h, b, c, free)
        np.testing.assert_allclose(d, nearest, atol=1e-5)
        moved += found.of_cost > 0
    assert 10 < moved < 60


BOX = spaces.Box(-1.0, 1.0, (2,), np.float32)
RULES: dict[str, Any] = {"cpo": CPO(), "pcpo": PCPO()}


def _case(seed: int, spread: float = 1.0) -> tuple[Actor, Samples, Tensor]:
    """Return an actor in float64, a batch, and advantages of cost that go with those of reward."""
    make = torch.Generator().manual_seed(seed)
    spec = NetworkSpec(
        inputs=3,
        hidden=(6,),
        outputs=2,
        activation="tanh",
        layer_norm=False,
        init="kaiming",
        head_gain=1.0,
    )
    actor = Actor(spec, BOX, "log", -0.3, make).double()
    seen = torch.randn(200, 3, generator=make, dtype=torch.float64)
    with torch.no_grad():
        pi = actor(seen)
        actions = pi.sample(make)
        log_probs = pi.log_prob(actions)
    reward = actions[:, 0] + 0.2 * torch.randn(200, generator=make, dtype=torch.float64)
    cost = spread * (actions[:, 0] + 0.7 * actions[:, 1])
    factor = 0.5 + torch.rand(200, generator=make, dtype=torch.float64)
    cost = cost - cost.mean()
    samples = Samples(seen, None, actions, log_probs, reward - reward.mean(), factor, cost)
    return actor, samples, cost


def _flat(actor: Actor) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in actor.parameters()])


SETTINGS = TrustRegion(kl_limit=0.02, cg_iterations=200, cg_damping=0.1, search_steps=20)


@pytest.fixture(autouse=True)
def _exact_conjugate_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (trust_region, constrained):
        monkeypatch.setattr(module, "CG_TOLERANCE", 1e-24)


def _slow_step(
    actor: Actor,
    samples: Samples,
    costs: Tensor,
    excess: float,
    rule: str,
    sign: float = 1.0,
    averaged: int = 1,
) -> tuple[Tensor, int]:
    """Return the parameters after a step, by an explicit matrix and a plain search.

    With ``averaged`` above 1 as in OmniSafe: KL is averaged over that many action dimensions, and
    PCPO ascends the plain gradient.
    """
    names = [name for name, _ in actor.named_parameters()]
    shapes = [p.shape for p in actor.parameters()]
    start = _flat(actor)

    def at(theta: Tensor) -> Any:
        parts = torch.split(theta, [s.numel() for s in shapes])
        values = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        return functional_call(actor, values, (samples.observations,))

    old = at(start)

    def kl(theta: Tensor) -> Tensor:
        return old.kl(at(theta)).mean() / averaged

    def gain(theta: Tensor, advantage: Tensor) -> Tensor:
        ratio = (at(theta).log_prob(samples.actions) - samples.log_probs).exp()
        return (samples.factor * ratio * advantage).mean()

    theta = start.clone().requires_grad_()
    g = torch.autograd.grad(gain(theta, samples.advantage), theta)[0]
    b = torch.autograd.grad(gain(theta, costs), theta)[0]
    h = torch.autograd.functional.hessian(kl, start) + 0.1 * torch.eye(len(start)).double()
    x, p = torch.linalg.solve(h, g), torch.linalg.solve(h, b)
    q, r, s = float(g @ x), sign * float(g @ p), float(b @ p)
    combine = cpo_combination if rule == "cpo" else pcpo_combination
    found = combine(Products(q, r, s, excess, 0.02))
    ascent = g if averaged > 1 and rule == "pcpo" else x
    step = found.of_reward * ascent - found.of_cost * p
    for k in range(20):
        new = start + 0.8**k * step
        better = float(gain(new, samples.advantage) - gain(start, samples.advantage)) >= 0
        cheap = float(gain(new, costs) - gain(start, costs)) <= max(-excess, 0.0)
        if float(kl(new)) <= 0.02 and cheap and (better or found.case <= 1):
            return new.detach(), k
    return start, -1


@pytest.mark.parametrize("rule", ["cpo", "pcpo"])
@pytest.mark.parametrize("excess", [-5.0, -0.05, -0.005, 0.02, 5.0])
def test_a_constrained_step_equals_one_with_an_explicit_fisher_matrix(
    rule: Any, excess: float
) -> None:
    actor, samples, costs = _case(3)
    wanted, tries = _slow_step(actor, samples, costs, excess, rule)
    report = constrained_step(actor, samples, excess, SETTINGS, RULES[rule])
    assert report.step.fraction == (0.0 if tries < 0 else pytest.approx(0.8**tries))
    torch.testing.assert_close(_flat(actor), wanted, atol=1e-9, rtol=0)
    if rule == "cpo":
        assert tries >= 0 and report.case == {-5.0: 3, -0.05: 2, -0.005: 2, 0.02: 1, 5.0: 0}[excess]


@pytest.mark.parametrize("rule", ["cpo", "pcpo"])
@pytest.mark.parametrize("excess", [-5.0, -0.05, -0.005, 0.02])
def test_omnisafes_steps_equal_its_formulas_with_an_averaged_kl(rule: Any, excess: float) -> None:
    actor, samples, costs = _case(3)
    numbers = samples.actions.shape[-1]
    assert numbers > 1
    sign = -1.0 if rule == "cpo" else 1.0
    wanted, tries = _slow_step(actor, samples, costs, excess, rule, sign, numbers)
    averaged = replace(SETTINGS, kl_mean_over_dimensions=True)
    constraint = replace(RULES[rule], variant="omnisafe")
    report = constrained_step(actor, samples, excess, averaged, constraint)
    assert report.step.fraction == (0.0 if tries < 0 else pytest.approx(0.8**tries))
    torch.testing.assert_close(_flat(actor), wanted, atol=1e-9, rtol=0)


def test_a_safe_policy_stays_within_its_slack_and_an_unsafe_one_lowers_its_cost() -> None:
    for excess in (-0.1, -0.01, 0.01, 0.3):
        actor, samples, _ = _case(5)
        report = constrained_step(actor, samples, excess, SETTINGS, CPO())
        assert report.step.is_accepted
        assert report.cost_change <= max(-excess, 0.0)
        assert report.step.kl <= 0.02
        if excess > 0.0:
            assert report.cost_change < 0.0
        else:
            assert report.step.improvement > 0.0


def test_a_safe_policy_shortens_a_step_that_would_lower_its_reward() -> None:
    actor, samples, costs = _case(20)
    samples = samples._replace(advantage=costs + 0.3 * samples.advantage)
    wide = replace(SETTINGS, kl_limit=0.5)
    report = constrained_step(actor, samples, -0.001, wide, CPO())
    assert report.step.fraction == pytest.approx(0.8**3)  # the whole step costs 0.21 of reward
    assert report.step.improvement > 0.0


def test_a_natural_gradient_refuses_a_step_whose_kl_is_not_finite() -> None:
    actor, samples, _ = _case(3)
    before = _flat(actor)
    step = trust_region_step(actor, samples, replace(SETTINGS, kl_limit=1e300, search_steps=0))
    assert not step.is_accepted
    torch.testing.assert_close(_flat(actor), before, atol=0, rtol=0)


def test_a_natural_gradient_takes_the_full_step_without_a_line_search() -> None:
    for tries, fraction in ((1, 0.0), (0, 1.0)):
        actor, samples, _ = _case(3)
        wide = replace(SETTINGS, kl_limit=2.0, search_steps=tries)
        step = trust_region_step(actor, samples, wide)
        assert step.fraction == fraction
    assert step.kl > 2.0  # which a search refuses


@pytest.mark.parametrize(("rule", "case"), [("cpo", 1), ("pcpo", 0)])
def test_an_unsafe_policy_may_lose_reward_on_its_way_back(rule: Any, case: int) -> None:
    actor, samples, costs = _case(3)
    samples = samples._replace(advantage=costs + 0.3 * samples.advantage)
    report = constrained_step(actor, samples, 0.1, SETTINGS, RULES[rule])
    assert report.case == case and report.step.is_accepted
    assert report.step.improvement < 0.0 and report.cost_change < 0.0


def _halves(seed: int, sign: float) -> tuple[Actor, Samples]:
    """Return an actor and a batch of two environments, in the second of which costs are turned."""
    actor, samples, costs = _case(seed)
    copies = torch.arange(200) % 2
    turned = torch.where(copies == 1, sign * costs, costs)
    return actor, samples._replace(costs=turned, copies=copies)


@pytest.mark.parametrize("rule", ["cpo", "pcpo"])
def test_a_step_is_accepted_by_data_that_it_was_not_computed_from(rule: Any) -> None:
    """Costs of opposite signs in two halves: what lowers it in one raises it in the other."""
    for sign, is_taken in ((1.0, True), (-1.0, False)):
        actor, samples = _halves(5, sign)
        before = _flat(actor)
        report = cross_fitted_step(actor, samples, 0.3, SETTINGS, RULES[rule])
        assert report.step.is_accepted == is_taken
        assert (report.cost_change < 0.0) == is_taken
        assert bool((_flat(actor) != before).any()) == is_taken
    own, other = samples.halves()
    for half in (own, other):  # while each half would have accepted its own step
        actor, _ = _halves(5, -1.0)
        assert constrained_step(actor, half, 0.3, SETTINGS, RULES[rule]).cost_change < 0.0


@pytest.mark.parametrize("rule", ["cpo", "pcpo"])
def test_a_cross_fitted_step_is_the_mean_of_two_and_stays_in_the_ball(rule: Any) -> None:
    actor, samples = _halves(5, 1.0)
    start = _flat(actor)
    halves = samples.halves()
    assert [len(half.actions) for half in halves] == [100, 100]
    assert all((half.copies == k).all() for k, half in enumerate(halves))  # type: ignore[union-attr]
    steps, changes = [], []
    for own, other in (halves, halves[::-1]):
        mine, _ = _halves(5, 1.0)
        report = constrained_step(mine, own, 0.02, SETTINGS, RULES[rule], held_out=other)
        steps.append(_flat(mine) - start)
        changes.append(report.cost_change)
    found = cross_fitted_step(actor, samples, 0.02, SETTINGS, RULES[rule])
    torch.testing.assert_close(_flat(actor), start + (steps[0] + steps[1]) / 2)
    assert found.cost_change == pytest.approx(sum(changes) / 2)
    old = _halves(5, 1.0)[0](samples.observations)
    assert float(old.kl(actor(samples.observations)).mean().detach()) < 0.02


def test_an_unsafe_policy_lowers_its_cost_even_without_a_reward_gradient() -> None:
    for rule in ("cpo", "pcpo"):
        actor, samples, _ = _case(5)
        samples = samples._replace(advantage=0.0 * samples.advantage)
        report = constrained_step(actor, samples, 0.3, SETTINGS, RULES[rule])
        assert report.step.is_accepted and report.cost_change < 0.0
        report = constrained_step(actor, samples, -0.3, SETTINGS, RULES[rule])
        assert not report.step.is_accepted


def test_omnisafes_cpo_takes_the_step_with_the_wrong_sign() -> None:
    actor, samples, costs = _case(3)
    wanted, tries = _slow_step(actor, samples, costs, -0.005, "cpo", sign=-1.0)
    report = constrained_step(actor, samples, -0.005, SETTINGS, CPO(variant="omnisafe"))
    assert report.step.fraction == pytest.approx(0.8**tries)
    torch.testing.assert_close(_flat(actor), wanted, atol=1e-9, rtol=0)
    other, samples, costs = _case(3)
    constrained_step(other, samples, -0.005, SETTINGS, CPO())
    assert float((_flat(other) - wanted).norm()) > 1e-2


@pytest.mark.parametrize("excess", [-1.0, 1.0])
@pytest.mark.parametrize("rule", ["cpo", "pcpo"])
def test_without_a_cost_gradient_the_step_is_trpos(rule: Any, excess: float) -> None:
    actor, samples, costs = _case(6)
    report = constrained_step(
        actor, samples._replace(costs=0.0 * costs), excess, SETTINGS, RULES[rule]
    )
    other, samples, _ = _case(6)
    step = trust_region_step(other, samples, SETTINGS)
    assert report.case == 4 and report.step.fraction == step.fraction > 0.0
    torch.testing.assert_close(_flat(actor), _flat(other), atol=0, rtol=0)


@pytest.mark.parametrize(("spread", "case"), [(1e-3, 2), (3e-4, 4)])
def test_a_cost_gradient_modifies_the_step_down_to_a_square_of_1e_6(
    spread: float, case: int
) -> None:
    actor, samples, _ = _case(3, spread)  # the gradient's square is 2.19 spread^2
    report = constrained_step(actor, samples, -0.005 * spread, SETTINGS, CPO())
    assert report.case == case


def test_omnisafes_pcpo_ascends_the_plain_gradient() -> None:
    steps = []
    for variant in ("published", "omnisafe"):
        actor, samples, _ = _case(7)
        start = _flat(actor)
        chosen: Any = variant
        constrained_step(actor, samples, -50.0, SETTINGS, PCPO(variant=chosen))
        steps.append(_flat(actor) - start)
    actor, samples, _ = _case(7)
    ratio = (actor(samples.observations).log_prob(samples.actions) - samples.log_probs).exp()
    gradient = torch.autograd.grad(
        (samples.factor * ratio * samples.advantage).mean(), list(actor.parameters())
    )
    g = torch.cat([part.reshape(-1) for part in gradient])

    def along(step: Tensor) -> float:
        return float(step @ g / (step.norm() * g.norm()))

    assert along(steps[1]) == pytest.approx(1.0, abs=1e-9)
    assert along(steps[0]) < 0.99


def test_focops_loss_worked_by_hand() -> None:
    ratio, advantage = torch.tensor([1.2, 0.9, 2.0]), torch.tensor([1.0, -2.0, 5.0])
    factor, kl = torch.tensor([1.0, 2.0, 1.0]), torch.tensor([0.01, 0.02, 0.5])
    loss = focops(ratio, advantage, factor, kl, trusted=0.02, softness=1.5)
    # the third state is outside the trust region
    wanted = ((0.01 - 1.2 / 1.5) + (0.02 + 2.0 * 0.9 * 2.0 / 1.5)) / 3
    assert float(loss) == pytest.approx(wanted)


def test_the_exact_penalty_worked_by_hand() -> None:
    ratio, cost = torch.tensor([1.5, 0.5]), torch.tensor([2.0, -2.0])
    factor = torch.tensor([1.0, 3.0])
    # pessimistic: max(3, 2.4) and max(-1, -1.6)
    wanted = 20.0 * ((3.0 - 3.0 * 1.0) / 2 + 0.1)
    loss = exact_penalty(ratio, cost, factor, clip=0.2, excess=0.1, weight=20.0)
    assert float(loss) == pytest.approx(wanted)
    assert float(exact_penalty(ratio, cost, factor, clip=0.2, excess=-0.1, weight=20.0)) == 0.0
    swapped = exact_penalty(ratio.flip(0), cost, factor, clip=0.2, excess=4.0, weight=1.0)
    assert float(swapped) == pytest.approx((0.8 * 2.0 - 3.0 * 1.2 * 2.0) / 2 + 4.0)
    plain = exact_penalty(ratio.flip(0), cost, factor, clip=None, excess=5.0, weight=1.0)
    assert float(plain) == pytest.approx((0.5 * 2.0 - 3.0 * 1.5 * 2.0) / 2 + 5.0)


def test_a_gate_replaces_the_relu_of_the_exact_penalty() -> None:
    ratio, cost = torch.tensor([1.5, 0.5]), torch.tensor([2.0, -2.0])
    ones = torch.ones(2)
    # max(3, 2.4) and max(-1, -1.6): a mean of 1
    for excess, is_over, wanted in ((-3.0, True, -40.0), (3.0, False, 0.0), (3.0, True, 80.0)):
        loss = exact_penalty(
            ratio, cost, ones, clip=0.2, excess=excess, weight=20.0, is_over=is_over
        )
        assert float(loss) == pytest.approx(wanted)
        slope = exact_penalty_slope(
            ratio.numpy(),
            cost.numpy(),
            ones.numpy(),
            clip=0.2,
            excess=excess,
            weight=20.0,
            is_over=is_over,
        )
        assert slope.any() == is_over


def test_in_a_minibatch_the_clipped_mean_decides_whether_there_is_a_penalty() -> None:
    ratio, cost = np.array([0.5, 1.5, 1.0]), np.array([2.0, -2.0, 1.0])
    # Without clipping 1, -3 and 1: with an excess of 0.1 a mean below 0. Clipped 1.6, -2.4 and 1:
    # a mean above 0, in which only the third depends on the policy.
    log_ratio = torch.from_numpy(np.log(ratio)).requires_grad_()
    settings: dict[str, Any] = {"clip": 0.2, "excess": 0.1, "weight": 6.0}
    ones = torch.ones(3, dtype=torch.float64)
    loss = exact_penalty(log_ratio.exp(), torch.from_numpy(cost), ones, **settings)
    assert float(loss.detach()) == pytest.approx(6.0 * (0.2 / 3 + 0.1))
    (slope,) = torch.autograd.grad(loss, log_ratio)
    for found in (slope.numpy(), exact_penalty_slope(ratio, cost, np.ones(3), **settings)):
        assert found.tolist() == pytest.approx([0.0, 0.0, 2.0])


def test_cups_weight_has_the_lambda_of_costs() -> None:
    config = config_of(constraint="cup", gamma=0.9, lam=0.3, cost_lam=0.5)
    state = config.constraint.start()
    assert state is not None
    state.value = 2.0  # type: ignore[attr-defined]
    cost = config.constraint.terms(state, config, 1)
    terms: Any = SimpleNamespace(cost=cost)
    held: Any = config.constraint
    assert held.weight(terms) == pytest.approx(2.0 * (1.0 - 0.9 * 0.5) / (1.0 - 0.9))


def test_cups_correction_worked_by_hand() -> None:
    ratio, cost = torch.tensor([1.5, 0.5]), torch.tensor([2.0, -4.0])
    kl, factor = torch.tensor([0.1, 0.3]), torch.tensor([1.0, 2.0])
    loss = cup_correction(ratio, cost, factor, kl, weight=3.0)
    assert float(loss) == pytest.approx((3.0 * 3.0 + 0.1 + 3.0 * 2.0 * -2.0 + 0.3) / 2)


@pytest.mark.parametrize("excess", [-3.0, 0.0, 3.0])
@pytest.mark.parametrize("clip", [None, 0.2])
def test_hand_written_loss_gradients_equal_autograd(excess: float, clip: float | None) -> None:
    rng = np.random.default_rng(2)
    log_ratio, costs, weight = (torch.from_numpy(rng.normal(0.0, 0.4, 40)) for _ in range(3))
    factor, kl = (torch.from_numpy(rng.uniform(0.0, 2.0, 40)) for _ in range(2))
    log_ratio.requires_grad_()
    kl.requires_grad_()
    arrays = [t.detach().numpy() for t in (log_ratio.exp(), costs, factor, kl, weight)]
    ratio, cost, m, divergence, w = arrays

    penalty = exact_penalty(log_ratio.exp(), costs, factor, clip=clip, excess=excess, weight=7.0)
    (wanted,) = torch.autograd.grad(penalty, log_ratio)
    found = exact_penalty_slope(ratio, cost, m, clip=clip, excess=excess, weight=7.0)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert found.any() == (float(penalty.detach()) > 0.0)

    loss = focops(log_ratio.exp(), weight, factor, kl, trusted=0.7, softness=1.5)
    slopes = focops_slopes(ratio, m * w, divergence, trusted=0.7, softness=1.5)
    for mine, theirs in zip(slopes, torch.autograd.grad(loss, (log_ratio, kl)), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)

    loss = cup_correction(log_ratio.exp(), costs, factor, kl, 3.0)
    slopes = cup_slopes(ratio, cost, m, 3.0)
    for mine, theirs in zip(slopes, torch.autograd.grad(loss, (log_ratio, kl)), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)


def test_a_negative_limit_is_refused_by_every_constraint() -> None:
    for made in (Lagrangian, PID, CRPO, P3O, CPO, PCPO):
        with pytest.raises(ConfigError, match="at least 0"):
            made(cost_limit=-1.0)
    with pytest.raises(ConfigError, match="cost_limit"):
        config_of(constraint="lagrangian", cost_limit=-1.0)


def test_constraints_are_chosen_by_the_fields_names_and_former_names_are_read() -> None:
    assert set(choices(Constraint)) >= {
        *("none", "lagrangian", "pid", "ipo", "crpo", "p3o", "cup", "cpo", "pcpo", "saute"),
        "early-termination",
    }

    @dataclass(frozen=True)
    class Config:
        constraint: Constraint = field(default=Lagrangian(cost_limit=7.0))

    config = changed(Config(), {"constraint": "cup", "lambda_upper": 2})
    assert config.constraint == CUP(cost_limit=7.0, lambda_upper=2.0)
    with pytest.warns(PkubenchWarning, match="constraint=rectified is now called constraint=crpo"):
        assert changed(Config(), {"constraint": "rectified"}).constraint == CRPO(cost_limit=7.0)
    with pytest.raises(ConfigError, match="pid_kp has no effect here: it is a setting of constr"):
        changed(Config(), {"pid_kp": 1.0})
