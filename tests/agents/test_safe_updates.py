"""Whole updates of the constrained algorithms against slow ones in float64, written out plainly."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pkubench.agents.families.on_policy import harl, saferl
from pkubench.agents.learner import Context
from pkubench.agents.resolve.loading import load_agent
from pkubench.agents.rl.constraints.lagrangian import LagrangeMultiplier
from pkubench.agents.rl.objective import Objective
from pkubench.agents.rl.on_policy import actor_update
from pkubench.agents.rl.on_policy.learner import Advantages, OnPolicyLearner
from pkubench.agents.rl.on_policy.training import OnPolicyTraining
from pkubench.agents.rl.rollout import Collector
from pkubench.agents.rl.update_rules.base import CostTerms
from pkubench.errors import ConfigError
from pkubench.tasks.registry import make_task
from pkubench.training.session import train
from tests.agents.configs import that_fit, with_changes
from tests.agents.optima import late
from tests.agents.toy_envs import MEAN_LENGTH, BudgetEnv, SpeedEnv, task_of

LIMIT = MEAN_LENGTH / 2
SMALL: dict[str, Any] = {
    "num_envs": 8,
    "rollout_steps": 16,
    "hidden": (12,),
    "epochs": 2,
    "minibatches": 2,
    "actor_lr": 1e-2,
    "critic_epochs": 1,
    "cost_limit": LIMIT,
    "max_grad_norm": 0.7,
}


class _Moves:
    """What a learner's actors were given and where they came from, update by update."""

    def __init__(self, learner: OnPolicyLearner) -> None:
        self.given: list[tuple[Any, ...]] = []
        update = learner._update_actor

        def spy(name: str, samples: Any) -> Any:
            generator = learner.generator.get_state().clone()
            actor = copy.deepcopy(learner.actors[name]).double()
            given = samples.advantage, samples.factor.clone(), samples.costs
            self.given.append((name, actor, samples, *given, generator))
            return update(name, samples)

        learner._update_actor = spy  # type: ignore[method-assign]


def _learner(name: str, cost: float, **changes: Any) -> tuple[OnPolicyLearner, _Moves]:
    """Train one update at a measured episode cost of ``cost`` and return what happened."""
    config = with_changes(saferl.PRESETS[name], **{**SMALL, **changes})
    learner = OnPolicyLearner(SpeedEnv(config.num_envs), config, 0)
    collector = Collector(SpeedEnv(config.num_envs), 0, 50, learner.inputs)
    for critic in learner.stacks[0].members:  # values that are not near zero
        with torch.no_grad():
            critic.net.head.bias.add_(1.0)
    moves = _Moves(learner)
    data = collector.collect(config.rollout_steps, learner.behave, False)
    learner.update(data, cost, 0.0, MEAN_LENGTH)
    return learner, moves


def _slow(learner: OnPolicyLearner, moves: _Moves, losses: list[Any]) -> Tensor:
    """Return the actor's parameters after passes over each of ``losses``, one phase per loss."""
    (_, actor, batch, advantage, factor, cost, generator_state) = moves.given[-1]
    config = learner.config
    rule: Any = config.update
    generator = torch.Generator()
    generator.set_state(generator_state)
    optimiser = torch.optim.Adam(actor.parameters(), lr=rule.actor_lr, eps=config.adam_epsilon)
    observations, actions = batch.observations.double(), batch.actions.double()
    log_probs = batch.log_probs.double()
    for loss_of in losses:
        with torch.no_grad():
            start = actor(observations)
        for _ in range(rule.epochs):
            order = torch.randperm(len(actions), generator=generator)
            for index in torch.tensor_split(order, config.minibatches):
                pi = actor(observations[index])
                ratio = (pi.log_prob(actions[index]) - log_probs[index]).exp()
                loss = loss_of(
                    pi,
                    start[index],
                    ratio,
                    advantage.double()[index],
                    factor.double()[index],
                    cost.double()[index],
                )
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(actor.parameters(), config.max_grad_norm)
                optimiser.step()
            if rule.target_kl is not None:
                with torch.no_grad():
                    if float(start.kl(actor(observations)).mean()) > rule.target_kl:
                        break
    return torch.cat([p.detach().reshape(-1) for p in actor.parameters()])


def _after(learner: OnPolicyLearner) -> Tensor:
    return torch.cat(
        [p.detach().double().reshape(-1) for p in learner.actors["agent"].parameters()]
    )


def _clipped(pi: Any, old: Any, ratio: Tensor, a: Tensor, m: Tensor, c: Tensor) -> Tensor:
    return -(m * torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a)).mean()


def _gaussian_kl(p: Any, q: Any) -> Tensor:
    normal = torch.distributions.Normal
    kl: Tensor = torch.distributions.kl_divergence(normal(p.mean, p.std), normal(q.mean, q.std))
    return kl.sum(-1)


def test_a_ppo_lag_update_ascends_the_weighted_advantages() -> None:
    learner, moves = _learner(
        "ppo-lag", 9.0, lambda_lr=0.5, lambda_unit="deviation", target_kl=None
    )
    assert isinstance(learner.constraint, LagrangeMultiplier)
    assert learner.constraint.value == pytest.approx(0.501)  # before the policy update
    torch.testing.assert_close(
        _after(learner), _slow(learner, moves, [_clipped]), atol=1e-5, rtol=0
    )


def test_a_focops_update_equals_a_slow_reference() -> None:
    def loss(pi: Any, old: Any, ratio: Tensor, a: Tensor, m: Tensor, c: Tensor) -> Tensor:
        kl = _gaussian_kl(pi, old)
        return ((kl - ratio * a / 1.5) * (kl <= 0.002)).mean()

    learner, moves = _learner("focops", 9.0, focops_eta=0.002, target_kl=None)
    torch.testing.assert_close(_after(learner), _slow(learner, moves, [loss]), atol=1e-5, rtol=0)


def test_a_p3o_update_equals_a_slow_reference() -> None:
    def loss(pi: Any, old: Any, ratio: Tensor, a: Tensor, m: Tensor, c: Tensor) -> Tensor:
        change = torch.maximum(ratio * c, ratio.clamp(0.8, 1.2) * c).mean()
        penalty = 5.0 * torch.relu(change + (9.0 - LIMIT) / MEAN_LENGTH)
        return _clipped(pi, old, ratio, a, m, c) + penalty

    learner, moves = _learner("p3o", 9.0, target_kl=None, gate="minibatch")
    torch.testing.assert_close(_after(learner), _slow(learner, moves, [loss]), atol=1e-5, rtol=0)


def test_omnisafes_p3o_neither_clips_costs_nor_divides_the_excess() -> None:
    def loss(pi: Any, old: Any, ratio: Tensor, a: Tensor, m: Tensor, c: Tensor) -> Tensor:
        penalty = 5.0 * torch.relu((ratio * c).mean() + 9.0 - LIMIT)
        return _clipped(pi, old, ratio, a, m, c) + penalty

    more: dict[str, Any] = {"variant": "omnisafe", "gate": "minibatch", "target_kl": None}
    more["epochs"] = 6
    learner, moves = _learner("p3o", 9.0, **more, actor_lr=5e-2)
    torch.testing.assert_close(_after(learner), _slow(learner, moves, [loss]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("gradients", ["fast", "autograd"])
@pytest.mark.parametrize("cost", [LIMIT - 0.02, LIMIT + 0.02])
def test_p3os_penalty_is_on_or_off_for_a_whole_pass(cost: float, gradients: str) -> None:
    """Within 0.02 of the limit the means of minibatches lie on both sides of it."""
    excess = (cost - LIMIT) / MEAN_LENGTH
    gates: list[bool] = []

    def loss(pi: Any, old: Any, ratio: Tensor, a: Tensor, m: Tensor, c: Tensor) -> Tensor:
        change = torch.maximum(ratio * c, ratio.clamp(0.8, 1.2) * c).mean()
        return _clipped(pi, old, ratio, a, m, c) + 5.0 * gates[-1] * (change + excess)

    more: dict[str, Any] = {"target_kl": None, "epochs": 1, "minibatches": 4}
    learner, moves = _learner("p3o", cost, gradients=gradients, **more)
    gates.append(cost > LIMIT)  # at a ratio of 1 the surrogate of a centred advantage is 0
    torch.testing.assert_close(_after(learner), _slow(learner, moves, [loss]), atol=1e-5, rtol=0)
    if cost < LIMIT:
        free, _ = _learner("p3o", 0.0, gradients=gradients, **more)
        torch.testing.assert_close(_after(learner), _after(free), atol=0, rtol=0)
        noisy, _ = _learner("p3o", cost, gate="minibatch", gradients=gradients, **more)
        assert float((_after(noisy) - _after(free)).abs().max()) > 1e-4


@pytest.mark.parametrize("gradients", ["fast", "autograd"])
@pytest.mark.parametrize(
    ("over", "wanted"), [(-0.02, [False, True]), (0.02, [True, False])], ids=["on", "off"]
)
def test_p3os_gate_is_decided_again_before_every_pass(
    over: float, wanted: list[bool], gradients: str
) -> None:
    """One pass on the reward alone exceeds a small slack; one with the penalty gets back below."""
    more: dict[str, Any] = {"target_kl": None, "gradients": gradients}
    learner, moves = _learner("p3o", LIMIT + over, **more)
    _, actor, batch, _, factor, costs, _ = moves.given[-1]
    gates: list[bool] = []
    calls = 0

    def loss(pi: Any, old: Any, ratio: Tensor, a: Tensor, m: Tensor, c: Tensor) -> Tensor:
        nonlocal calls
        if calls % SMALL["minibatches"] == 0:
            with torch.no_grad():
                now = actor(batch.observations.double()).log_prob(batch.actions.double())
                surrogate = factor * (now - batch.log_probs).exp() * costs
            gates.append(float(surrogate.mean()) + over / MEAN_LENGTH > 0.0)
        calls += 1
        change = torch.maximum(ratio * c, ratio.clamp(0.8, 1.2) * c).mean()
        return _clipped(pi, old, ratio, a, m, c) + 5.0 * gates[-1] * change

    torch.testing.assert_close(_after(learner), _slow(learner, moves, [loss]), atol=1e-5, rtol=0)
    assert gates == wanted


@pytest.mark.parametrize("gradients", ["fast", "autograd"])
def test_p3os_gate_is_the_mean_over_the_batch_of_costs_that_are_not_clipped(
    gradients: str,
) -> None:
    learner, moves = _learner("p3o", 9.0, gradients=gradients, actor_lr=5e-2, target_kl=None)
    samples = moves.given[-1][2]
    trainer = learner.trainers["agent"]
    trainer.load(samples, False, False)
    with torch.no_grad():
        pi = learner.actors["agent"](samples.observations)
        ratio = (pi.log_prob(samples.actions) - samples.log_probs).exp()
    plain = float((ratio * samples.costs).mean())
    clipped = float(
        torch.maximum(ratio * samples.costs, ratio.clamp(0.8, 1.2) * samples.costs).mean()
    )
    assert plain < clipped - 1e-2  # the pessimistic mean would keep the penalty on for longer
    assert trainer.cost_change() == pytest.approx(plain, abs=1e-5)
    objective = Objective(learner.config.update, learner.config.constraint, CostTerms())  # type: ignore[arg-type]
    for excess, is_over in ((1e-3, True), (-1e-3, False)):
        cost = CostTerms(excess=excess - plain)
        gated = objective._replace(cost=cost).gated(trainer.cost_change())
        assert gated.cost.is_over == is_over


def _correction(pi: Any, middle: Any, ratio: Tensor, a: Tensor, m: Tensor, c: Tensor) -> Tensor:
    weight = 0.501 * (1 - 0.99 * 0.9) / (1 - 0.99)
    return (weight * ratio * c + _gaussian_kl(pi, middle)).mean()


def test_a_cup_update_equals_a_slow_reference_in_two_phases() -> None:
    learner, moves = _learner(
        "cup", 9.0, lambda_lr=0.5, nu_scale="fixed", target_kl=None, cost_lam=0.9
    )
    wanted = _slow(learner, moves, [_clipped, _correction])
    torch.testing.assert_close(_after(learner), wanted, atol=1e-5, rtol=0)


def test_cups_correction_stops_at_its_target_kl_from_the_first_phase() -> None:
    # which stays below 0.058 itself
    learner, moves = _learner(
        "cup", 9.0, lambda_lr=0.5, nu_scale="fixed", target_kl=0.06, epochs=6, cost_lam=0.9
    )
    wanted = _slow(learner, moves, [_clipped, _correction])
    torch.testing.assert_close(_after(learner), wanted, atol=1e-5, rtol=0)
    free, _ = _learner(
        "cup", 9.0, lambda_lr=0.5, nu_scale="fixed", target_kl=None, epochs=6, cost_lam=0.9
    )
    assert float((_after(learner) - _after(free)).abs().max()) > 1e-2


def test_passes_stop_at_the_target_kl() -> None:
    learner, moves = _learner("ppo-lag", 9.0, target_kl=1e-4, epochs=6)
    wanted = _slow(learner, moves, [_clipped])
    torch.testing.assert_close(_after(learner), wanted, atol=1e-5, rtol=0)
    free, _ = _learner("ppo-lag", 9.0, target_kl=None, epochs=6)
    assert float((_after(learner) - _after(free)).abs().max()) > 1e-3


def test_the_reported_kl_is_from_the_old_policy() -> None:
    """Passes stop by KL(old || new): a target between it and KL(new || old) stops none of three."""
    more: dict[str, Any] = {"actor_lr": 3e-2}
    after_two, moves = _learner("ppo-lag", 9.0, target_kl=None, epochs=2, **more)
    before, observations = moves.given[-1][1], moves.given[-1][2].observations
    with torch.no_grad():
        old, new = before(observations.double()), after_two.actors["agent"](observations)
    from_old, from_new = (float(_gaussian_kl(*pair).mean()) for pair in ((old, new), (new, old)))
    assert from_new > 1.05 * from_old
    target = (from_old + from_new) / 2.0
    learner, moves = _learner("ppo-lag", 9.0, target_kl=target, epochs=3, **more)
    wanted = _slow(learner, moves, [_clipped])
    torch.testing.assert_close(_after(learner), wanted, atol=1e-5, rtol=0)
    free, _ = _learner("ppo-lag", 9.0, target_kl=None, epochs=3, **more)
    torch.testing.assert_close(_after(learner), _after(free), atol=0, rtol=0)


def test_a_multiplier_of_zero_is_reported_and_a_missing_one_is_not() -> None:
    reports: dict[str, dict[str, float]] = {}
    for name in ("ppo-lag", "cpo", "crpo"):
        learner, _ = _learner(name, 0.0, lambda_init=0.0)
        env = Collector(SpeedEnv(8), 0, 50, learner.inputs)
        reports[name] = learner.update(
            env.collect(16, learner.behave, False), 0.0, 0.0, MEAN_LENGTH
        )
        if isinstance(learner.constraint, LagrangeMultiplier):
            assert learner.constraint.value == 0.0
    assert reports["ppo-lag"]["multiplier"] == 0.0
    assert "multiplier" not in reports["cpo"] and "multiplier" not in reports["crpo"]


@pytest.mark.parametrize("constraint", ["lagrangian", "pid"])
def test_one_excess_changes_a_multiplier_once(constraint: str) -> None:
    """Episodes of 20 steps end in the third, fifth, eighth and tenth rollout of 8 steps."""
    task = make_task("SpeedLimit-v0")
    settings: dict[str, Any] = {"num_envs": 2, "rollout_steps": 8, "minibatches": 1, "epochs": 1}
    config = with_changes(
        saferl.PRESETS["ppo-lag"], constraint=constraint, cost_limit=0.0, hidden=(4,), **settings
    )
    training = OnPolicyTraining(
        Context(agent="ppo-lag", task=task, settings=config, seed=0, total=160)
    )
    multipliers = [0.001, *(training.iterate()["multiplier"] for _ in range(10))]
    training.close()
    assert (np.flatnonzero(np.diff(multipliers)) + 1).tolist() == [3, 5, 8, 10]


@pytest.mark.parametrize(("cost", "climbs"), [(1.07 * LIMIT, True), (1.09 * LIMIT, False)])
def test_crpo_ascends_the_reward_or_descends_the_cost(cost: float, climbs: bool) -> None:
    _, moves = _learner("crpo", cost)
    (_, _, _, advantage, _, costs, _) = moves.given[-1]
    if climbs:
        assert float(advantage.std(correction=0)) == pytest.approx(1.0, abs=1e-5)
    else:
        torch.testing.assert_close(advantage, -costs)


def test_in_deviations_costs_are_centred_and_rewards_standardised_before_they_are_mixed() -> None:
    _, moves = _learner("ppo-lag", 9.0, lambda_lr=3.0, lambda_unit="deviation")
    (_, _, _, advantage, _, cost, _) = moves.given[-1]
    reward = 4.001 * advantage + 3.001 * cost
    assert float(cost.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(cost.std(correction=0)) < 0.9
    assert float(reward.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(reward.std(correction=0)) == pytest.approx(1.0, abs=1e-4)


def test_a_cpo_update_uses_the_excess_of_a_step_and_omnisafes_that_of_an_episode() -> None:
    cases = {}
    for variant in ("published", "omnisafe"):
        learner, moves = _learner("cpo", LIMIT + 0.05, variant=variant, epochs=1, recovery=1.0)
        assert learner.constraint is not None
        assert learner.constraint.excess == pytest.approx(0.05)
        before = torch.cat([p.detach().reshape(-1) for p in moves.given[-1][1].parameters()])
        cases[variant] = _after(learner) - before
    assert float((cases["published"] - cases["omnisafe"]).norm()) > 1e-4


@pytest.fixture
def excesses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Collects the excess that each constrained step receives."""
    received: list[float] = []
    step = actor_update.cross_fitted_step

    def spy(actor: Any, samples: Any, excess: float, *more: Any, fast: bool) -> Any:
        received.append(excess)
        return step(actor, samples, excess, *more, fast=fast)

    monkeypatch.setattr(actor_update, "cross_fitted_step", spy)
    return received


@pytest.mark.parametrize("rule", ["cpo", "pcpo"])
@pytest.mark.parametrize(
    ("cost", "changes", "wanted"),
    [
        (LIMIT + 0.5, {"recovery": 1.0}, 0.5 / MEAN_LENGTH),
        (LIMIT + 0.5, {}, 5.0 / MEAN_LENGTH),  # the CPU presets recover ten times as hard
        (LIMIT - 0.5, {}, -0.5 / MEAN_LENGTH),  # and use their slack up as the papers do
        (LIMIT + 0.5, {"variant": "omnisafe"}, 0.5),
    ],
)
def test_an_excess_is_multiplied_by_recovery(
    excesses: list[float], rule: str, cost: float, changes: Any, wanted: float
) -> None:
    _learner(rule, cost, **changes)
    assert excesses == [pytest.approx(wanted)]
    constraint: Any = saferl.PRESETS[f"{rule}-paper"].constraint
    assert constraint.recovery == 1.0


TEAM = {
    **{k: v for k, v in SMALL.items() if k != "cost_limit"},
    "cost_limit": 5.0,
    "target_kl": None,
    "entropy": 0.0,
    "max_grad_norm": 1e9,
}


def _team(name: str, cost: float, **changes: Any) -> tuple[OnPolicyLearner, _Moves]:
    """Train a team of two one update at a measured episode cost of ``cost``."""
    config = with_changes(harl.PRESETS[name], **{**TEAM, **changes})
    learner = OnPolicyLearner(BudgetEnv(config.num_envs), config, 0)
    collector = Collector(BudgetEnv(config.num_envs), 0, 50, learner.inputs)
    moves = _Moves(learner)
    learner.update(collector.collect(config.rollout_steps, learner.behave, False), cost, 0.0, 10.0)
    return learner, moves


def test_later_agents_of_a_team_count_the_cost_that_earlier_ones_have_saved(
    excesses: list[float],
) -> None:
    _, moves = _team("hatrpo", 7.0, constraint="cpo", kl_limit=0.05)
    (_, _, _, _, first, _, _), (_, _, _, _, factor, costs, _) = moves.given
    assert (first == 1.0).all() and (factor != 1.0).any()
    saved = sum((m - 1.0) * c for m, c in zip(factor.tolist(), costs.tolist(), strict=True)) / 128
    assert saved < -1e-3  # the first agent is over the limit and goes where it is cheaper
    # 2 over the limit in an episode of 10 steps
    assert excesses == pytest.approx([0.2, 0.2 + saved])


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("cost", [3.0, 7.0])
def test_agents_updated_simultaneously_divide_excess_and_slack(
    excesses: list[float], cost: float, shared: bool
) -> None:
    """To first order their changes add up: for a shared actor it is n times the mean."""
    _, moves = _team(
        "hatrpo", cost, constraint="cpo", scheme="simultaneous", shared=shared, kl_limit=0.05
    )
    assert len(moves.given) == (1 if shared else 2)
    # 2 over the limit, or under it, in an episode of 10 steps; two agents
    assert excesses == pytest.approx([(cost - 5.0) / 10.0 / 2] * len(moves.given))


def _of_a(learner: OnPolicyLearner, data: Any, factor: Tensor, costs: Tensor) -> Any:
    """Return the samples of the first agent, without an advantage of reward."""
    return learner._samples(data, [0], Advantages([torch.zeros(128)] * 2, [costs] * 2), factor)


@pytest.mark.parametrize(
    ("scheme", "cost", "is_penalised"),
    [
        ("simultaneous", 4.1, True),
        ("simultaneous", 3.9, False),
        ("sequential", 4.6, True),
        ("sequential", 4.4, False),
    ],
)
def test_a_penalty_of_agents_updated_simultaneously_is_of_their_part_of_the_slack(
    scheme: str, cost: float, is_penalised: bool
) -> None:
    more: dict[str, Any] = {"scheme": scheme, "clip": 0.9, "cost_clip": 0.9}
    config = with_changes(
        harl.PRESETS["happo-lag"], **{**TEAM, "constraint": "p3o", "minibatches": 1, **more}
    )
    learner = OnPolicyLearner(BudgetEnv(8), config, 0)
    collector = Collector(BudgetEnv(8), 0, 50, learner.inputs)
    data = collector.collect(16, learner.behave, False)
    assert learner.constraint is not None
    learner.constraint.update(cost, 10.0)
    # at ratios of 1 the surrogate says that .05 per step will be added, 0.5 per episode
    costs = torch.linspace(-1.0, 1.0, 128) + 0.05
    before = torch.cat([p.detach().reshape(-1) for p in learner.actors["a"].parameters()])
    learner._update_actor("a", _of_a(learner, data, torch.ones(128), costs))
    after = torch.cat([p.detach().reshape(-1) for p in learner.actors["a"].parameters()])
    assert bool((after != before).any()) == is_penalised


@pytest.mark.parametrize(("cost", "is_penalised"), [(7.0, True), (6.0, False)])
def test_a_penalty_counts_what_earlier_agents_have_saved_once(
    cost: float, is_penalised: bool
) -> None:
    config = with_changes(
        harl.PRESETS["happo-lag"], **{**TEAM, "constraint": "p3o", "minibatches": 1}
    )
    learner = OnPolicyLearner(BudgetEnv(8), config, 0)
    collector = Collector(BudgetEnv(8), 0, 50, learner.inputs)
    data = collector.collect(16, learner.behave, False)
    assert learner.constraint is not None
    learner.constraint.update(cost, 10.0)
    # the agents before have saved .15 per step: of an excess of .2 some is left, of .1 nothing
    costs = torch.linspace(-1.0, 1.0, 128)
    factor = 1.0 - 0.15 * costs / costs.square().mean()
    before = torch.cat([p.detach().reshape(-1) for p in learner.actors["a"].parameters()])
    learner._update_actor("a", _of_a(learner, data, factor, costs))
    after = torch.cat([p.detach().reshape(-1) for p in learner.actors["a"].parameters()])
    assert bool((after != before).any()) == is_penalised


def test_an_environment_without_cost_is_refused_by_every_safe_agent(tmp_path: Path) -> None:
    task = make_task("SimpleSpread-v0")
    for name in ("happo-lag", "cpo", "ppo-saute"):
        with pytest.raises(ConfigError, match="does not train on"):
            next(train(name, task, steps=10, seed=0, settings={}, out=tmp_path / name))


def test_rewards_and_costs_are_standardised_for_the_learner_and_not_for_reports() -> None:
    learner, _ = _learner("ppo", 0.0, signal_norm=True)
    for name in ("rewards", "costs"):
        moments = learner.signals.norms[name]
        assert moments.count == 8 * 16
        assert 0.0 < moments.mean[0] < 1.0
    collector = Collector(SpeedEnv(8), 1, 50, learner.inputs)
    data = collector.collect(16, learner.behave, False)
    (rewards,), (costs,) = learner.signals(data)
    for plain, standard in ((data.team_rewards, rewards), (data.costs, costs)):
        assert float(plain.min()) >= 0.0 and float(standard.min()) < -0.5
        assert abs(float(standard.mean())) < 0.3


TUNED: dict[str, str] = {
    "num_envs": "16",
    "rollout_steps": "32",
    "minibatches": "4",
    "hidden": "[16]",
    "window": "64",
    "actor_lr": "0.003",
    "lr_decay": "false",
}
FREE = ("policy-gradient", "natural-pg", "ppo", "trpo")
SAFE = {
    **dict.fromkeys(("ppo-lag", "trpo-lag", "rcpo", "cppo-pid", "trpo-pid"), (0.85, 1.25)),
    **dict.fromkeys(("cpo", "pcpo", "ipo", "focops", "cup", "pdo"), (0.7, 1.25)),
    # a cost of up to 8 % above the limit is tolerated
    "crpo": (0.85, 1.08 + 0.15),
    # a penalty, a discounted budget and a cut episode stay below the limit
    **dict.fromkeys(
        ("p3o", "ppo-saute", "ppo-early-terminated", "trpo-saute", "trpo-early-terminated"),
        (0.61, 1.0),
    ),
}
"""Agent -> least return, a share of the best feasible one, and most cost, a share of the limit."""


def test_every_preset_is_tested() -> None:
    known = {name for name in saferl.NAMES if not name.endswith("-paper")}
    assert known == {*FREE, *SAFE}


def _learned(name: str, steps: int, folder: Path, **more: str) -> tuple[float, float]:
    """Return the mean return and cost of the last third of a run on the concave environment."""
    task, settings = task_of(SpeedEnv, cost_limit=LIMIT), {**TUNED, **more}
    settings = that_fit(saferl.PRESETS[name], settings)
    found = [
        (progress.metrics["return"], progress.metrics["cost"])
        for progress in train(name, task, steps=steps, seed=1, settings=settings, out=folder)
    ]
    mean = np.array(found[-len(found) // 3 :]).mean(0)
    return float(mean[0]), float(mean[1])


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name != "trpo")) for name in FREE],
)
def test_unconstrained_learners_reach_the_unconstrained_optimum(name: str, tmp_path: Path) -> None:
    reward, cost = _learned(name, 30_000, tmp_path / "run")
    assert reward > 0.85 * MEAN_LENGTH
    assert cost > 1.5 * LIMIT


QUICK = ("cpo",)
"""A trust region; ``test_on_policy.py`` trains PPO and PPO-Lag here, the slow tests all others."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in SAFE],
)
def test_a_safe_agent_comes_near_the_best_feasible_return(name: str, tmp_path: Path) -> None:
    reward, cost = _learned(name, 60_000, tmp_path / "run")
    least, most = SAFE[name]
    assert cost < most * LIMIT
    assert reward > least * 0.75 * MEAN_LENGTH


def test_an_untrained_agent_is_not_near_any_bound(tmp_path: Path) -> None:
    reward, cost = _learned("ppo-lag", 10_000, tmp_path / "run", actor_lr="1e-12")
    assert cost < LIMIT  # so the bounds on return alone tell learning from none
    assert reward < 0.93 * min(least for least, _ in SAFE.values()) * 0.75 * MEAN_LENGTH


CONTROLLER = {
    **{"constraint": "pid", "lambda_init": "8"},
    **{"pid_kp": "2", "pid_ki": "0.1", "pid_kd": "2"},
}


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(
            {"lambda_lr": "0.1", "lambda_init": "6", "actor_lr": "1e-3", "epochs": "5"},
            id="multiplier",
            marks=pytest.mark.slow,
        ),
        pytest.param(CONTROLLER, id="controller", marks=pytest.mark.slow),
        pytest.param(CONTROLLER | {"scheme": "simultaneous"}, id="controller-simultaneous"),
    ],
)
def test_happo_lag_shares_a_budget_where_it_is_worth_most(
    more: dict[str, str], tmp_path: Path
) -> None:
    """BudgetEnv: a = 2/3 and b = 1/3 share the limit; both start at 1/2, with the same cost."""
    settings = {
        **{"num_envs": "16", "rollout_steps": "20", "minibatches": "2", "hidden": "[16]"},
        **{"window": "16", "gamma": "0.5", "entropy": "0.03", "actor_lr": "3e-4"},
        **{"action_map": "affine", "pid_smoothing": "0.5"},
        **more,
    }
    task = task_of(BudgetEnv, cost_limit=5.0)
    settings = that_fit(harl.PRESETS["happo-lag"], settings)
    run = list(train("happo-lag", task, steps=60_000, seed=1, settings=settings, out=tmp_path))
    assert late(run, "cost", 1 / 3) == pytest.approx(5.0, rel=0.1)
    assert late(run, "return", 1 / 3) == pytest.approx(70 / 6, rel=0.12)  # noise costs some
    team: Any = load_agent(str(tmp_path), task)
    seen, active = np.ones((1, 2), np.float32), np.ones(1, np.bool_)
    for name, share in (("a", 2 / 3), ("b", 1 / 3)):
        action, _ = team.members[name].act(seen, None, active)
        assert action.item() == pytest.approx(share, abs=0.12)
