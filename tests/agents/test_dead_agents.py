"""Agents that die before their team: what trains them, and what must not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.nn.normalisers import centred, standardise
from pkubench.agents.rl.credit.base import CreditFormula
from pkubench.agents.rl.on_policy.batches import Advantages
from pkubench.agents.rl.on_policy.critic import Fit
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.rollout import Collector, Rollout
from tests.agents.configs import config_of
from tests.agents.encoded_envs import MortalTeam

TEAM: dict[str, Any] = {"num_envs": 4, "rollout_steps": 12, "hidden": (6,), "epochs": 2}


def made(**settings: Any) -> tuple[OnPolicyLearner, Collector]:
    """Return a learner and a collector of ``MortalTeam``: b dies after one of six steps."""
    env = MortalTeam(settings.get("num_envs", TEAM["num_envs"]))
    learner = OnPolicyLearner(env, config_of(**{**TEAM, **settings}), 0)
    return learner, Collector(env, 0, 10, learner.inputs, units=learner.units)


def collected(learner: OnPolicyLearner, collector: Collector) -> Rollout:
    return collector.collect(learner.config.rollout_steps, learner.behave, False)


def weights(learner: OnPolicyLearner, agent: int) -> list[Any]:
    """Return copies of all that is trained for an agent with networks of its own."""
    actor = learner.actors[learner.agents[agent]]
    critics = [c for stack in learner.stacks[agent:][:1] for c in stack.members]
    nets = [actor, *(critic.net for critic in critics)]
    norms = [critic.norm.sums.copy() for critic in critics if critic.norm is not None]
    return [*(p.detach().numpy().copy() for net in nets for p in net.parameters()), *norms]


def finite(learner: OnPolicyLearner) -> bool:
    nets = [*learner.actors.values(), *(c.net for s in learner.stacks for c in s.members)]
    sums = [c.norm.sums for s in learner.stacks for c in s.members if c.norm is not None]
    parameters = [p.detach().numpy() for net in nets for p in net.parameters()]
    return all(np.isfinite(of).all() for of in [*parameters, *sums])


@pytest.mark.parametrize("credit", ["team-sum", "own-reward"])
@pytest.mark.parametrize(
    "more",
    [
        {"scheme": "sequential"},
        {"gradients": "autograd"},
        {"memory": "gru"},
        {"update": "trust-region"},
        {"constraint": "lagrangian", "critic": "local"},
    ],
)
def test_an_agent_that_is_dead_throughout_a_rollout_is_left_as_it_is(
    credit: str, more: Any
) -> None:
    learner, collector = made(rollout_steps=2, credit=credit, **more)
    learner.update(collected(learner, collector), math.nan, 0.0)
    before = weights(learner, 1)
    data = collected(learner, collector)
    assert data.alive is not None and not data.alive[..., 1].any()
    figures = learner.update(data, math.nan, 0.0)
    assert all(math.isfinite(value) for value in figures.values()), figures
    assert figures["entropy"] == pytest.approx(math.log(2), abs=0.01)  # of a alone
    assert finite(learner)
    trained = len(list(learner.actors["b"].parameters()))
    if credit == "own-reward" and learner.constraint is None:  # and then its critic is not, either
        trained = len(before)
    for was, now in zip(before[:trained], weights(learner, 1)[:trained], strict=True):
        np.testing.assert_array_equal(was, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfOfTheTeam(CreditFormula):
    """Half of the team's reward for each: columns of its own, which continue after a death."""

    name = "half-of-the-team"

    def __call__(self, rollout: Rollout) -> Any:
        return np.repeat(rollout.rewards.sum(-1, keepdims=True) / 2, 2, -1)


def fits_of(learner: OnPolicyLearner, data: Rollout) -> list[Fit]:
    """Return what critics are fitted to in an update, one entry per stack."""
    seen: list[Fit] = []
    fit = learner._fit
    learner._fit = lambda *given: (seen.append(given[1]), fit(*given))[1]  # type: ignore[method-assign,func-returns-value]
    learner.update(data, math.nan, 0.0)
    return seen


@pytest.mark.parametrize("memory", ["none", "gru"])
@pytest.mark.parametrize("critic", ["state", "local"])
@pytest.mark.parametrize(
    "more",
    [
        {"scheme": "sequential"},
        {"shared": True},
        {"credit": "own-reward"},
        {"credit": HalfOfTheTeam(), "constraint": "lagrangian"},
    ],
)
def test_observations_and_actions_of_dead_agents_change_no_weight(
    memory: str, critic: str, more: Any
) -> None:
    found = []
    for garbage in (np.zeros(2), np.array([-7.0, 9.0])):
        learner, collector = made(memory=memory, critic=critic, minibatches=2, **more)
        data = collected(learner, collector)
        assert data.alive is not None and data.died is not None
        assert data.alive[..., 0].all() and not data.alive[1:6, :, 1].any()
        stays = data.alive[..., 1] & ~data.died[..., 1]
        data.observations["b"][~data.alive[..., 1]] = garbage
        data.next_observations["b"][~stays] = garbage
        data.actions["b"][~data.alive[..., 1]] = garbage.any()
        learner.update(data, math.nan, 0.0)
        nets = [*learner.actors.values(), *(c.net for s in learner.stacks for c in s.members)]
        found.append([p.detach().numpy().copy() for net in nets for p in net.parameters()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("rollout", "starts"), [("steps", 3), ("episodes", 2)])
def test_what_dead_agents_observe_is_not_in_the_moments_of_observations(
    rollout: str, starts: int
) -> None:
    """b is alive for the first observation of an episode alone."""
    env = MortalTeam(3)
    env.garbage = 1e6
    learner = OnPolicyLearner(env, config_of(**TEAM, observation_norm=True, rollout=rollout), 0)
    collector = Collector(env, 0, 10, learner.inputs)
    collector.collect(12, learner.behave, False, whole_episodes=rollout == "episodes")
    norms = learner.inputs.norms
    np.testing.assert_array_equal(norms["b"].mean, 1.0)
    np.testing.assert_array_equal(norms["b"].squares, 0.0)
    assert norms["b"].count == 3 * starts
    assert norms["a"].count == norms["state"].count == 3 * (starts + 12)


@pytest.mark.parametrize("critic", ["state", "local"])
def test_critics_are_trained_wherever_their_rewards_count(critic: str) -> None:
    for credit, trained in (("team-sum", 48), (HalfOfTheTeam(), 48), ("own-reward", 8)):
        learner, collector = made(credit=credit, critic=critic)
        usable = fits_of(learner, collected(learner, collector))[-1].usable
        assert (48 if usable is None else usable.sum()) == trained


def test_a_shared_critic_is_trained_on_the_living_agents() -> None:
    learner, collector = made(credit="own-reward", critic="local-shared")
    (fit,) = fits_of(learner, collected(learner, collector))
    assert fit.usable is not None
    assert [half.sum() for half in np.hsplit(fit.usable, 2)] == [48, 8]


def test_an_agents_death_ends_its_own_rewards() -> None:
    """b earns 1 for its only action of an episode: no value follows, whatever the critic says."""
    learner, collector = made(credit="own-reward", value_norm=False, lam=1.0)
    for stack in learner.stacks:
        with torch.no_grad():
            stack.members[0].net.head.bias.add_(5.0)
    data = collected(learner, collector)
    fit = fits_of(learner, data)[1]
    targets, usable = fit.targets, fit.usable
    np.testing.assert_allclose(targets[0][usable], data.rewards[..., 1][usable], atol=1e-6)


@pytest.mark.parametrize("critic", ["state", "local"])
@pytest.mark.parametrize(("credit", "scale"), [("team-sum", 1.0), (HalfOfTheTeam(), 0.5)])
def test_a_teams_rewards_and_costs_count_after_the_death_of_an_agent(
    credit: Any, scale: float, critic: str
) -> None:
    """With lambda and gamma 1, b's return at its only step is all that the team earns."""
    settings = {"credit": credit, "critic": critic, "constraint": "lagrangian"}
    learner, collector = made(lam=1.0, cost_lam=1.0, gamma=1.0, value_norm=False, **settings)
    data = collected(learner, collector)
    data.costs[:] = np.arange(12)[:, None] % 6
    data.terminated, data.truncated = data.truncated, data.terminated  # no value at the end
    targets = fits_of(learner, data)[-1].targets
    earned = scale * data.rewards.sum(-1)
    np.testing.assert_allclose(targets[0, 0], earned[:6].sum(0), atol=1e-5)
    np.testing.assert_allclose(targets[1, 0], 15.0, atol=1e-5)


def test_costs_count_after_the_death_of_an_agent_that_is_trained_on_its_own_reward() -> None:
    settings = {"credit": "own-reward", "critic": "local", "constraint": "lagrangian"}
    learner, collector = made(lam=1.0, cost_lam=1.0, gamma=1.0, value_norm=False, **settings)
    data = collected(learner, collector)
    data.costs[:] = np.arange(12)[:, None] % 6
    data.terminated, data.truncated = data.truncated, data.terminated  # no value at the end
    fit = fits_of(learner, data)[1]
    targets, usable = fit.targets, fit.usable
    np.testing.assert_allclose(targets[0, 0], data.rewards[0, :, 1], atol=1e-5)
    np.testing.assert_allclose(targets[1, 0], 15.0, atol=1e-5)
    assert usable is None  # the critic of cost must know what a death costs


@pytest.mark.parametrize("credit", ["team-sum", "own-reward"])
@pytest.mark.parametrize("more", [{"memory": "gru"}, {"gradients": "autograd"}, {}])
def test_minibatches_without_a_step_of_a_living_agent_are_left_out(credit: str, more: Any) -> None:
    learner, collector = made(minibatches=4, credit=credit, critic="local", **more)
    data = collected(learner, collector)
    assert data.alive is not None
    data.alive[:, 1:, 1] = False  # alive in one sequence: two steps for four minibatches
    start = weights(learner, 1)
    figures = learner.update(data, math.nan, 0.0)
    assert all(math.isfinite(value) for value in figures.values()), figures
    assert finite(learner)
    assert any((was != now).any() for was, now in zip(start, weights(learner, 1), strict=True))


def test_the_fisher_matrix_uses_every_kth_of_the_sequences_with_a_living_agent() -> None:
    learner, collector = made(update="trust-region", memory="gru", fisher_every=3)
    data = collected(learner, collector)
    assert data.alive is not None
    data.alive[:, [0, 3], 1] = False
    advantages = Advantages([torch.arange(48.0)] * 2, None)
    part = learner._samples(data, [1], advantages, None).every(3)
    assert part.advantage.tolist() == np.arange(1.0, 48.0, 4.0)[:, None].tolist()  # the second
    figures = learner.update(data, math.nan, 0.0)
    assert math.isfinite(figures["kl"]) and finite(learner)


def test_moments_of_no_steps_give_advantages_of_zero() -> None:
    advantages, none = torch.tensor([3.0, 5.0]), torch.tensor([False, False])
    assert standardise(advantages, 1e-5, none).tolist() == [0.0, 0.0]
    assert centred(advantages, none).tolist() == [0.0, 0.0]
    assert centred(advantages, torch.tensor([True, False])).tolist() == [0.0, 2.0]


def test_the_value_loss_of_an_update_is_the_mean_of_the_critics() -> None:
    learner, collector = made(credit="own-reward", critic_epochs=1)
    losses: list[float] = []
    fit = learner._fit
    learner._fit = lambda *given: (losses.extend(found := fit(*given)), found)[1]  # type: ignore[method-assign,func-returns-value]
    figures = learner.update(collected(learner, collector), math.nan, 0.0)
    assert losses[0] != losses[1]
    assert figures["value_loss"] == pytest.approx(np.mean(losses))


@pytest.mark.parametrize("credit", ["own-reward", HalfOfTheTeam(), "team-sum"])
def test_each_agents_rewards_are_standardised_by_moments_of_their_own(credit: Any) -> None:
    """Of the steps that count: a's rewards say nothing about b's, nor does what b cannot earn."""
    learner, collector = made(credit=credit, signal_norm=True)
    data = collected(learner, collector)
    data.rewards += np.array([100.0, 3.0]) + np.arange(12)[:, None, None]
    rewards, _ = learner.signals(data)
    credited = learner.signals.credit(data)
    names = ["rewards"] if credit == "team-sum" else ["rewards.a", "rewards.b"]
    for k, name in enumerate(names):
        usable = data.usable(k) if credit == "own-reward" else None
        counted = credited[..., k] if usable is None else credited[..., k][usable]
        norm = learner.signals.norms[name]
        assert norm.count == counted.size
        np.testing.assert_allclose(norm.mean, counted.mean(), rtol=1e-6)
        np.testing.assert_allclose(norm.std, counted.std(ddof=1), rtol=1e-5)
        if usable is not None:
            assert not rewards[k][~usable].any()
