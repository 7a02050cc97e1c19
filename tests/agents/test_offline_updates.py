"""Updates of IQL, CQL and Online DT, term by term, from the networks before a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import distributions, nn

from pkubench.agents.rl.offline import make_learner
from pkubench.agents.rl.offline.acting import DecisionPolicy
from pkubench.agents.rl.offline.learners import online
from pkubench.agents.rl.offline.learners.cql import ContinuousLearner, DiscreteLearner
from pkubench.agents.rl.offline.learners.iql import ImplicitQLearner
from pkubench.agents.rl.offline.learners.lamb import Lamb
from pkubench.agents.rl.offline.learners.online import OnlineLearner
from pkubench.agents.rl.offline.learners.transitions import Transitions
from tests.agents.offline_toys import CHAIN, DIAL, DialEnv, context_of, dial_data
from tests.agents.test_offline_values import FEW, GAMMA, ODT, learner_of


def shake(*nets: nn.Module) -> None:
    """Give networks weights that are far from each other, and from small."""
    for k, net in enumerate(nets):
        for parameter in net.parameters():
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(k))


def losses_of(learner: Any) -> dict[str, float]:
    """Update once, every optimiser stepping as ever; return what each of them descended."""
    taken: dict[str, float] = {}
    for name, optimiser in learner.optimisers.items():

        def step(loss: torch.Tensor, name: str = name, inner: Any = optimiser.step) -> None:
            taken[name] = float(loss.detach())
            inner(loss)

        optimiser.step = step
    learner.update(np.random.default_rng(0))
    return taken


def copies(module: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def has_followed(before: list[torch.Tensor], target: nn.Module, source: nn.Module) -> bool:
    """Whether the targets have moved a fifth of the way to where the critics are now."""
    of = zip(before, target.parameters(), source.parameters(), strict=True)
    return all(torch.allclose(now, old + 0.2 * (fast - old), atol=1e-6) for old, now, fast in of)


@pytest.mark.parametrize("kind", ["categorical", "gaussian", "deterministic"])
def test_iqls_update_by_hand(kind: str) -> None:
    settings: dict[str, Any] = {"hidden": [8], "gamma": GAMMA, "expectile": 0.8, "lr": 0.1}
    settings |= {"target_rate": 0.2, "beta": 20.0}
    if kind == "categorical":
        learner = learner_of("iql", **settings)
    else:
        learner = learner_of("iql", dial_data(8), DIAL, policy=kind, **settings)
    assert isinstance(learner, ImplicitQLearner)
    shake(*learner.critics, *learner.targets, learner.value, learner.policy)
    batch: Any = learner.transitions
    with torch.no_grad():
        learner.log_std.fill_(0.3)

        def taken(net: nn.Module) -> torch.Tensor:
            if kind == "categorical":
                return net(batch.states)[torch.arange(len(batch.states)), batch.actions]
            return net(torch.cat([batch.states, batch.actions], 1))[:, 0]

        def advantages() -> torch.Tensor:
            lower = torch.minimum(*map(taken, learner.targets))
            return lower - learner.value(batch.states)[:, 0]

        learner.value.head.bias += advantages().median()  # of both signs
        gap = advantages()
        value = float((torch.where(gap < 0, 0.2, 0.8) * gap**2).mean())
        after = learner.value(batch.next_states)[:, 0]
        goal = batch.rewards + GAMMA * torch.where(batch.ends > 0, 0.0, after)
        critics = sum(float(((taken(net) - goal) ** 2).mean()) for net in learner.critics) / 2
        outputs = learner.policy(batch.states)
        if kind == "categorical":
            surprise = -distributions.Categorical(logits=outputs).log_prob(batch.actions)
        elif kind == "gaussian":
            deviation = torch.tensor(0.3).exp()
            surprise = -distributions.Normal(outputs.tanh(), deviation).log_prob(batch.actions)[
                :, 0
            ]
        else:
            surprise = (outputs.tanh() - batch.actions)[:, 0] ** 2
        weight = (20.0 * gap).exp()
        assert weight.max() > 100 and weight.min() < 1
        policy = float((weight.clamp(max=100.0) * surprise).mean())
    before = copies(learner.targets)
    found = losses_of(learner)
    assert found == pytest.approx({"value": value, "critics": critics, "policy": policy}, rel=1e-4)
    assert has_followed(before, learner.targets, learner.critics)
    known = {id(p) for p in learner.optimisers["policy"].parameters}
    assert (id(learner.log_std) in known) == (kind == "gaussian")
    assert learner.optimisers["policy"].schedule(10_000) == pytest.approx(0.0)
    assert learner.optimisers["value"].schedule(10_000) == 1.0


@pytest.mark.parametrize("agent", ["iql", "cql", "bc"])
def test_equal_rows_are_computed_once_and_counted(agent: str) -> None:
    """The gradient is that of the batch row by row, at a fraction of its rows."""
    found = []
    for is_merged in (True, False):
        context = context_of(agent, CHAIN, FEW, 10_000, hidden=[8], batch_size=64)
        made: Any = make_learner(context)
        learner = made.learner
        rows = learner.rows if agent == "bc" else learner.batches
        columns, shares = rows.draw(np.random.default_rng(1))
        for column in rows.columns:
            assert torch.equal(column, column[torch.from_numpy(rows.kinds)])
        # three cells, two actions, and one that ends in two ways
        assert len(columns[0]) <= len(set(rows.kinds)) <= 7
        assert float(shares.sum()) == pytest.approx(1.0)
        drawn = np.random.default_rng(1).integers(len(FEW.rewards), size=64)
        counts = [(FEW.actions[drawn] == action).sum() / 64 for action in (0, 1)]
        by_action = [float(shares[columns[1] == action].sum()) for action in (0, 1)]
        assert by_action == pytest.approx(counts)
        if not is_merged:
            rows.kinds = None
            assert len(rows.draw(np.random.default_rng(1))[0][0]) == 64
        found.append((losses_of(learner), copies(next(iter(learner.modules.values())))))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    for merged, plain in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(merged, plain, atol=1e-4, rtol=1e-4)


def test_rows_of_many_kinds_are_drawn_as_they_are() -> None:
    learner = learner_of("iql", dial_data(60), DIAL, hidden=[8], batch_size=64)
    assert learner.batches.kinds is None  # 240 different ones
    continuous = learner_of("cql", dial_data(5), DIAL, hidden=[8])
    assert continuous.batches.kinds is None  # each has its own proposals


@pytest.mark.parametrize("kind", ["gaussian", "deterministic"])
def test_iqls_likelihood_is_of_all_dimensions_of_an_action(kind: str) -> None:
    learner = learner_of("iql", dial_data(5), DIAL, hidden=[8], policy=kind)
    mean, actions = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    learner.policy = lambda states: mean
    learner.log_std = torch.tensor([-1.0, 0.5, 7.0])  # at most 2
    blank = torch.zeros(6)
    found = learner.unlikelihood(Transitions(mean, actions, blank, mean, blank))
    if kind == "gaussian":
        deviation = torch.tensor([-1.0, 0.5, 2.0]).exp()
        wanted = -distributions.Normal(mean.tanh(), deviation).log_prob(actions).sum(1)
    else:
        wanted = ((mean.tanh() - actions) ** 2).sum(1)
    torch.testing.assert_close(found, wanted)


def test_discrete_cqls_update_by_hand() -> None:
    """Double Q-learning: the critic chooses the next action, and its moving average values it."""
    learner = learner_of("cql", hidden=[8], gamma=GAMMA, alpha=3.0, target_rate=0.2)
    assert isinstance(learner, DiscreteLearner)
    shake(learner.critic, learner.target)
    learner.target.head.weight.detach().neg_()
    batch: Any = learner.transitions
    each = torch.arange(len(batch.states))
    with torch.no_grad():
        values, future = learner.critic(batch.states), learner.target(batch.next_states)
        chosen = learner.critic(batch.next_states).argmax(1)
        assert (chosen != future.argmax(1)).any()
        goal = batch.rewards + GAMMA * torch.where(batch.ends > 0, 0.0, future[each, chosen])
        taken = values[each, batch.actions]
        wanted = 0.5 * ((taken - goal) ** 2).mean()
        wanted = wanted + 3.0 * (values.exp().sum(1).log() - taken).mean()
    before = copies(learner.target)
    assert losses_of(learner)["critic"] == pytest.approx(float(wanted), rel=1e-4)
    assert has_followed(before, learner.target, learner.critic)


def test_cqls_proposals_are_uniform_of_the_next_states_and_of_the_states() -> None:
    learner = learner_of("cql", dial_data(8), DIAL, hidden=[8], policy_lr=0.01, target_rate=0.2)
    assert isinstance(learner, ContinuousLearner)
    seen: list[torch.Tensor] = []
    act, batch = learner.act, learner.transitions

    def recorded(states: torch.Tensor, count: int | None = None) -> Any:
        seen.append(states)
        return act(states, count)

    learner.act = recorded  # type: ignore[method-assign]
    actions, log_density = learner.proposals(batch, 400)
    assert actions.shape == (1200, len(batch.states), 1) and log_density.shape == actions.shape[:2]
    assert {id(of) for of in seen} == {id(batch.next_states), id(batch.states)}
    uniform = actions[:400]
    assert uniform.min() < -0.99 and uniform.max() > 0.99 and abs(uniform.mean()) < 0.03
    torch.testing.assert_close(log_density[:400], torch.full((400, len(batch.states)), 0.5).log())
    before = copies(learner.targets)
    losses_of(learner)
    assert has_followed(before, learner.targets, learner.critics)
    rates = {name: of.rates[0] for name, of in learner.optimisers.items()}
    assert rates == {"critics": 3e-4, "policy": 0.01, "temperature": 0.01}


@pytest.mark.parametrize(("log_std", "sign"), [(-3.0, 1), (-2.0, -1)])
def test_cqls_target_entropy_is_minus_one_nat_a_dimension(log_std: float, sign: int) -> None:
    """Of such a deviation at 0 the entropy is about 1.42 + log_std: on either side of -1."""
    learner = learner_of("cql", dial_data(8), DIAL, hidden=[8], policy_lr=0.01)
    torch.manual_seed(0)
    with torch.no_grad():
        learner.policy.head.weight.zero_()
        learner.policy.head.bias[1] = log_std
    learner.update(np.random.default_rng(0))
    assert np.sign(learner.log_temperature.item()) == sign


def test_two_steps_of_lamb_by_hand() -> None:
    """Weight decay joins the direction, and the norm of weights counts up to 10."""
    weights = [nn.Parameter(torch.tensor(of)) for of in ([3.0, 4.0], [30.0, 40.0], [0.0, 0.0])]
    known = [weight.detach().double().numpy() for weight in weights]
    optimiser = Lamb(weights, lr=0.01, weight_decay=0.2)
    first, second = np.zeros((3, 2)), np.zeros((3, 2))
    for gradient in (np.array([1.0, -2.0]), np.array([-3.0, 0.5])):
        for k, weight in enumerate(weights):
            weight.grad = torch.tensor(gradient, dtype=torch.float32)
            first[k] = 0.9 * first[k] + 0.1 * gradient
            second[k] = 0.999 * second[k] + 0.001 * gradient**2
            move = first[k] / (np.sqrt(second[k]) + 1e-8) + 0.2 * known[k]
            norm = min(np.linalg.norm(known[k]), 10.0)
            trust = norm / np.linalg.norm(move) if norm > 0 else 1.0
            known[k] = known[k] - 0.01 * trust * move
        optimiser.step()
        for weight, wanted in zip(weights, known, strict=True):
            np.testing.assert_allclose(weight.detach().numpy(), wanted, rtol=1e-5)


def test_online_dt_looks_back_five_steps_when_it_acts() -> None:
    for context, wanted in ((20, 5), (3, 3)):
        learner = learner_of("odt", dial_data(6), DIAL, context=context, **ODT)
        assert learner.export()[0]["context"] == learner.acting_context == wanted


def test_online_dts_steps_are_warmed_up_and_clipped() -> None:
    learner = learner_of("odt", dial_data(6), DIAL, warmup_steps=40, weight_decay=0.3, **ODT)
    optimiser = learner.optimisers["net"]
    assert isinstance(optimiser.inner, Lamb) and optimiser.inner.defaults["weight_decay"] == 0.3
    assert (optimiser.schedule(0), optimiser.max_grad_norm) == (1 / 40, 0.25)


def test_its_own_episodes_are_asked_for_less_after_every_reward(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner, asked = learner_of("odt", dial_data(6), DIAL, **ODT), []

    class Spy(DecisionPolicy):
        def act(self, observation: Any, state: Any, active: Any) -> Any:
            asked.append(float(state.to_go[0]))
            return super().act(observation, state, active)

    monkeypatch.setattr(online, "DecisionPolicy", Spy)
    played = learner.play(DialEnv(1), 1, 0)
    paid = np.concatenate([[0.0], played.rewards[:-1]]).cumsum()
    assert played.rewards.std() > 0
    assert asked == pytest.approx(list(16.0 - paid))  # twice the best return, at a scale of 1


def test_discrete_online_dts_loss_by_hand() -> None:
    learner = learner_of("odt", FEW, temperature=0.5, **ODT)
    assert isinstance(learner, OnlineLearner)
    outputs = torch.tensor([[0.2, 1.0], [-1.0, 2.0], [0.0, 0.0]])
    actions = torch.tensor([1, 0, 1])
    known = distributions.Categorical(logits=outputs)
    likelihood, entropy = learner.likelihood(outputs, actions)
    torch.testing.assert_close(likelihood, known.log_prob(actions).mean())
    torch.testing.assert_close(entropy, known.entropy().mean())
    assert learner.target_entropy == pytest.approx(0.5 * np.log(2.0))
