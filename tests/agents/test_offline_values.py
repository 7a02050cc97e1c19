"""IQL and CQL against fixed points, enumerations and integrals; Online DT's buffer and formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import distributions, nn

from pkubench.agents.rl.offline import make_learner
from pkubench.agents.rl.offline.acting import DecisionPolicy, log_std_of
from pkubench.agents.rl.offline.learners import online
from pkubench.agents.rl.offline.learners.cql import ContinuousLearner, DiscreteLearner
from pkubench.agents.rl.offline.learners.decision import return_scale
from pkubench.agents.rl.offline.learners.iql import ImplicitQLearner, expectile_loss
from pkubench.agents.rl.offline.learners.lamb import Lamb
from pkubench.agents.rl.offline.learners.online import OnlineLearner, squashed_log_prob
from pkubench.agents.rl.offline.learners.transitions import Transitions
from pkubench.agents.rl.offline.training import OfflineTraining
from pkubench.agents.rl.optimiser import Optimiser, cosine, warmed_up
from pkubench.data.episodes import Episodes
from tests.agents.offline_toys import CHAIN, DIAL, DialEnv, chain_data, context_of, dial_data

FEW = chain_data(10, seed=3)
"""About 40 random steps on five cells."""
GAMMA = 0.9


def learner_of(agent: str, data: Episodes = FEW, task: Any = CHAIN, **settings: Any) -> Any:
    made = make_learner(context_of(agent, task, data, 10_000, **settings))
    assert isinstance(made, OfflineTraining)
    learner: Any = made.learner
    if hasattr(learner, "transitions"):  # all of them in every batch
        learner.batches.transitions = lambda rng: learner.transitions
    return learner


def expectile(values: np.ndarray, weights: np.ndarray, tau: float) -> float:
    """The root of sum w |tau - 1(v < m)| (v - m), by bisection."""
    low, high = values.min(), values.max()
    for _ in range(60):
        middle = (low + high) / 2
        side = np.where(values < middle, 1 - tau, tau)
        low, high = (
            (middle, high) if (weights * side * (values - middle)).sum() > 0 else (low, middle)
        )
    return float(low)


def fixed_point(tau: float) -> np.ndarray:
    """IQL's values of cells 1 to 3: expectiles over the data's actions, found by iteration."""
    cells, actions = FEW.observations.argmax(-1), FEW.actions
    after, ends = FEW.next_observations().argmax(-1), FEW.terminations()
    value = np.zeros(5)
    for _ in range(300):
        target = FEW.rewards + GAMMA * ~ends * value[after]
        for cell in (1, 2, 3):
            here = [target[(cells == cell) & (actions == a)] for a in (0, 1)]
            counts = np.array([len(part) for part in here if len(part)])
            means = np.array([part.mean() for part in here if len(part)])
            value[cell] = expectile(means, counts, tau)
    return value[1:4]


def test_iql_learns_the_fixed_point_of_its_expectile() -> None:
    learner = learner_of("iql", hidden=[], expectile=0.9, gamma=GAMMA, lr=0.03, target_rate=0.2)
    assert isinstance(learner, ImplicitQLearner)
    for _ in range(350):
        learner.update(np.random.default_rng(0))
    states = (np.eye(5, dtype=np.float32)[1:4] - learner.data.mean) / learner.data.std
    with torch.no_grad():
        found = learner.value(torch.from_numpy(states)).squeeze(-1).numpy()
    np.testing.assert_allclose(found, fixed_point(0.9), atol=0.02)
    assert abs(fixed_point(0.5) - fixed_point(0.9)).max() > 0.1


def test_iql_weights_actions_by_their_advantage() -> None:
    learner = learner_of(
        "iql", hidden=[16], gamma=GAMMA, lr=0.02, expectile=0.9, beta=10.0, target_rate=0.2
    )
    for _ in range(200):
        learner.update(np.random.default_rng(0))
    states = (np.eye(5, dtype=np.float32)[1:4] - learner.data.mean) / learner.data.std
    logits = learner.policy(torch.from_numpy(states))
    # from cell 1 the end that pays 0.5 is a step away, and the one that pays 0.9^2 three steps
    assert logits.argmax(-1).tolist() == [1, 1, 1]


def test_the_expectile_loss_by_hand() -> None:
    found = expectile_loss(torch.tensor([2.0, -1.0]), 0.7)
    assert found.tolist() == pytest.approx([0.7 * 4, 0.3 * 1])


def test_a_terminal_state_is_not_bootstrapped_from_and_a_truncated_one_is() -> None:
    found = learner_of("iql", hidden=[8]).transitions
    ends = FEW.terminations()
    assert ends.any() and not ends.all()
    np.testing.assert_array_equal(found.ends.numpy(), ends)
    assert not learner_of("iql", dial_data(5), DIAL, hidden=[8]).transitions.ends.any()


def test_rewards_are_scaled_by_the_range_of_returns() -> None:
    found = learner_of("iql", dial_data(5), DIAL, hidden=[8], reward_range=1000).transitions
    np.testing.assert_allclose(found.rewards.numpy().max(), 2.0 * 1000 / 8)
    plain = learner_of("iql", dial_data(5), DIAL, hidden=[8]).transitions
    assert plain.rewards.numpy().max() == 2.0


def test_cqls_penalty_is_the_enumerated_one() -> None:
    learner = learner_of("cql", hidden=[], gamma=GAMMA, alpha=2.0)
    assert isinstance(learner, DiscreteLearner)
    cells, actions = FEW.observations.argmax(-1), FEW.actions
    states = (np.eye(5, dtype=np.float32) - learner.data.mean) / learner.data.std
    with torch.no_grad():
        q = learner.critic(torch.from_numpy(states)).double().numpy()
        future = learner.target(torch.from_numpy(states)).double().numpy()
    after, ends = FEW.next_observations().argmax(-1), FEW.terminations()
    pairs = zip(cells, actions, strict=True)
    penalty = np.mean([np.log(np.exp(q[c]).sum()) - q[c, a] for c, a in pairs])
    goal = FEW.rewards + GAMMA * ~ends * future[after, q[after].argmax(-1)]
    error = 0.5 * np.mean((q[cells, actions] - goal) ** 2)
    figures = learner.update(np.random.default_rng(0))
    assert float(figures["penalty"]) == pytest.approx(penalty, abs=1e-5)
    assert float(figures["critic_loss"]) == pytest.approx(error, abs=1e-5)


def test_cql_finds_the_best_end_and_pushes_unseen_actions_down() -> None:
    data = FEW.select([k for k in range(len(FEW)) if FEW.returns[k] == 1.0])
    learner = learner_of("cql", data, hidden=[16], gamma=GAMMA, alpha=0.5, lr=0.01)
    for _ in range(150):
        learner.update(np.random.default_rng(0))
    states = (np.eye(5, dtype=np.float32)[2:4] - learner.data.mean) / learner.data.std
    values = learner.critic(torch.from_numpy(states))
    assert values.argmax(-1).tolist() == [1, 1]


def test_the_continuous_penalty_estimates_the_integral() -> None:
    learner = learner_of("cql", dial_data(8), DIAL, hidden=[8])
    assert isinstance(learner, ContinuousLearner)
    batch = Transitions(*(column[:6] for column in learner.transitions[:5]))
    torch.manual_seed(0)
    with torch.no_grad():
        learner.policy.head.weight.mul_(0.1)
        learner.policy.head.bias.zero_()
        net = learner.critics[0]
        actions, log_density = learner.proposals(batch, 20_000)
        estimated = learner.penalty(net, batch.states, actions, log_density) - np.log(60_000)
        grid = torch.linspace(-1, 1, 2001)[:, None, None].expand(2001, 6, 1)
        q = learner.q(net, batch.states, grid)
        wanted = (torch.trapezoid(q.exp(), dx=0.001, dim=0)).log().mean()
    assert float(estimated) == pytest.approx(float(wanted), abs=0.02)


def test_continuous_cqls_update_by_hand() -> None:
    """Each loss is computed here from the networks before the step, with the same draws."""
    learner = learner_of("cql", dial_data(8), DIAL, hidden=[8], gamma=GAMMA, alpha=3.0)
    assert isinstance(learner, ContinuousLearner)
    for k, net in enumerate((*learner.critics, *learner.targets)):  # far from each other
        nn.init.normal_(net.head.weight, generator=torch.Generator().manual_seed(k))
    batch = learner.transitions
    torch.manual_seed(4)
    with torch.no_grad():
        drawn = learner.act(batch.states)
        q = [learner.q(net, batch.states, drawn.action) for net in learner.critics]
        policy = (drawn.log_prob - torch.minimum(*q)).mean()  # at a temperature of 1
        after = learner.act(batch.next_states).action
        future = torch.minimum(*(learner.q(n, batch.next_states, after) for n in learner.targets))
        goal = batch.rewards + GAMMA * future  # no episode of these data has terminated
        actions, log_density = learner.proposals(batch, 10)
        critics = torch.zeros(())
        for net in learner.critics:
            own = learner.q(net, batch.states, batch.actions)
            pushed = (learner.q(net, batch.states, actions) - log_density).logsumexp(0)
            critics = critics + ((own - goal) ** 2).mean() + 3.0 * (pushed - own).mean()
    taken: dict[str, torch.Tensor] = {}
    for name, optimiser in learner.optimisers.items():
        optimiser.step = lambda loss, name=name: taken.update({name: loss.detach()})
    torch.manual_seed(4)
    figures = learner.update(np.random.default_rng(0))
    torch.testing.assert_close(taken["policy"], policy)
    torch.testing.assert_close(taken["critics"], critics)
    # the temperature's logarithm is 0, and its loss -log_temperature (log pi - dimensions)
    assert float(taken["temperature"]) == 0.0 and float(figures["temperature"]) == 1.0


def test_cqls_temperature_rises_while_the_entropy_is_below_its_target() -> None:
    for log_std, sign in ((-5.0, 1), (0.0, -1)):  # the target is -1 nat
        learner = learner_of("cql", dial_data(8), DIAL, hidden=[8], policy_lr=0.01)
        with torch.no_grad():
            learner.policy.head.weight.zero_()
            learner.policy.head.bias[1] = log_std
        learner.update(np.random.default_rng(0))
        assert np.sign(learner.log_temperature.item()) == sign


def test_cql_begins_with_values_near_0_and_actions_in_the_middle() -> None:
    learner = learner_of("cql", dial_data(8), DIAL)
    states = learner.transitions.states
    with torch.no_grad():
        values = learner.q(learner.critics[0], states, learner.transitions.actions)
        mean, log_std = learner.policy(states).chunk(2, -1)
    assert values.abs().max() < 0.1 and mean.abs().max() < 0.1
    torch.testing.assert_close(log_std, torch.full_like(log_std, -1.0), atol=0.1, rtol=0)


def test_truncation_and_total_shape_the_schedules() -> None:
    assert [warmed_up(4)(k) for k in (0, 1, 3, 9)] == [0.25, 0.5, 1.0, 1.0]
    assert [cosine(10)(k) for k in (0, 5, 10, 20)] == pytest.approx([1.0, 0.5, 0.0, 0.0])
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimiser = Optimiser(
        lambda p: torch.optim.SGD(p, lr=0.1), [weight], schedule=warmed_up(2), max_grad_norm=1.0
    )
    optimiser.step((weight.square().sum()) / 2)  # gradient (3, 4), clipped to (0.6, 0.8)
    torch.testing.assert_close(weight.detach(), torch.tensor([3.0 - 0.03, 4.0 - 0.04]))


def test_lambs_first_step_has_the_length_of_the_weights() -> None:
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimiser = Lamb([weight], lr=0.01, weight_decay=0.0)
    weight.grad = torch.tensor([1.0, -2.0])
    optimiser.step()
    # uncorrected moments 0.1 g and 0.001 g^2: direction (1, -1), stretched to norm 5
    move = float(0.01 * 5.0 / np.sqrt(2.0))
    torch.testing.assert_close(weight.detach(), torch.tensor([3.0 - move, 4.0 + move]))


def test_the_scale_of_returns_is_a_power_of_ten() -> None:
    cases = [
        ([3600.0, 20.0], 1000.0),
        ([-0.5], 1.0),
        ([12.0], 10.0),
        ([0.0], 1.0),
        ([-999.0], 100.0),
    ]
    assert [return_scale(np.array(of), None) for of, _ in cases] == [scale for _, scale in cases]
    assert return_scale(np.array([3600.0]), 7.0) == 7.0


# Online Decision Transformer

ODT: dict[str, Any] = {"width": 16, "layers": 1, "updates": 2, "batch_size": 8, "dropout": 0.0}


def test_the_likelihood_is_that_of_a_normal_after_tanh() -> None:
    mean, raw = torch.randn(2, 5, 3, dtype=torch.float64)
    log_std = log_std_of(raw)
    assert float(log_std.min()) > -5 and float(log_std.max()) < 2
    u = torch.randn(5, 3, dtype=torch.float64)
    known = distributions.TransformedDistribution(
        distributions.Normal(mean, log_std.exp()), distributions.TanhTransform()
    )
    wanted = known.log_prob(u.tanh()).sum(-1)
    torch.testing.assert_close(squashed_log_prob(mean, log_std, u), wanted)


def test_online_dt_overwrites_its_worst_episode_first_then_its_oldest() -> None:
    data = dial_data(6)  # returns 0, 1.6, ... 8
    order = [3, 0, 5, 1, 4, 2]
    learner = learner_of("odt", data.select(order), DIAL, buffer_size=4, **ODT)
    assert isinstance(learner, OnlineLearner)
    returns = [float(e.returns[0]) for e in learner.buffer]
    assert returns == pytest.approx([3.2, 4.8, 6.4, 8.0])  # the best ones, ascending
    env = DialEnv(1)
    for number in range(5):
        played = learner.play(env, 1, number)
        place = number % 4
        assert learner.buffer[place] is played
        returns[place] = float(played.returns[0])
        found = [float(e.returns[0]) for e in learner.buffer]
        assert found == pytest.approx(returns)
        first = int(learner.data.episodes.starts[place])
        # what the window asks for is what the episode got, not what it had been asked for
        np.testing.assert_allclose(
            learner._to_go[first] * learner.scale, played.returns[0], rtol=1e-6
        )


def test_it_is_pretrained_on_all_data_and_then_on_its_buffer() -> None:
    data = dial_data(6)
    learner = learner_of("odt", data, DIAL, buffer_size=2, **ODT)
    assert learner.data.episodes is data
    learner.play(DialEnv(1), 1, 0)
    assert len(learner.data.episodes) == 2
    for state, count in ((learner.state(), 2), (learner_of("odt", data, DIAL, **ODT).state(), 6)):
        other = learner_of("odt", data, DIAL, buffer_size=2, **ODT)
        other.load_state(state)
        assert len(other.data.episodes) == count


def test_its_head_begins_orthogonal_and_without_bias() -> None:
    head = learner_of("odt", dial_data(6), DIAL, **ODT).net.head
    assert not head.bias.any()
    torch.testing.assert_close(head.weight.square().sum(1), torch.ones(2))  # one row of each part


def test_its_loss_is_the_negative_likelihood_less_the_weighted_entropy() -> None:
    learner, losses = learner_of("odt", dial_data(6), DIAL, temperature=0.5, **ODT), []
    learner.optimisers["net"].step = losses.append
    figures = learner.update(np.random.default_rng(0))
    wanted = figures["loss"] - 0.5 * figures["entropy"]
    torch.testing.assert_close(losses[0].detach(), wanted)
    given = torch.full((1, 1), 0.3)
    close, far = torch.tensor([[0.3, 0.0]]), torch.tensor([[2.0, 0.0]])
    assert learner.likelihood(close, given)[0] > learner.likelihood(far, given)[0]


def test_it_plays_after_the_pretraining_and_asks_for_twice_the_best() -> None:
    made = make_learner(context_of("odt", DIAL, dial_data(6), 10, pretrain_steps=4, **ODT))
    counts = []
    for _ in range(4):
        figures = made.iterate()
        counts.append((made.counters.gradient_steps, made.counters.episodes))
        assert ("return" in figures) == (made.counters.episodes > 0)
    assert counts == [(2, 0), (4, 0), (6, 1), (8, 2)]
    assert made.counters.environment_steps == 8


def test_its_own_episodes_are_asked_for_twice_the_best_return(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner, asked = learner_of("odt", dial_data(6), DIAL, **ODT), []

    class Spy(DecisionPolicy):
        def begin(self, seeds: Any) -> Any:
            asked.append((self.target_return, self.stochastic))
            return super().begin(seeds)

    monkeypatch.setattr(online, "DecisionPolicy", Spy)
    learner.play(DialEnv(1), 1, 0)
    learner.returns = np.array([-20.0, -10.0])
    learner.play(DialEnv(1), 1, 0)
    assert asked == [(pytest.approx(16.0), True), (0.0, True)]


def test_played_episodes_have_training_seeds_of_their_own() -> None:
    learner = learner_of("odt", dial_data(6), DIAL, **ODT)
    env = DialEnv(1)
    first, second = learner.play(env, 1, 0), learner.play(env, 1, 1)
    again = learner_of("odt", dial_data(6), DIAL, **ODT).play(env, 1, 0)
    assert not np.array_equal(first.observations, second.observations)
    np.testing.assert_array_equal(first.observations, again.observations)
    np.testing.assert_array_equal(first.actions, again.actions)


@pytest.mark.parametrize(("bias", "sign"), [(0.45, -1), (-2.0, 1)])
def test_the_temperature_falls_while_the_entropy_is_above_its_target(
    bias: float, sign: int
) -> None:
    learner = learner_of("odt", dial_data(6), DIAL, temperature_lr=0.01, **ODT)
    with torch.no_grad():
        learner.net.head.weight.zero_()  # else means are so large that tanh saturates
        learner.net.head.bias[1] = bias  # of the deviation before its bounds
    before = learner.log_temperature.item()
    figures = learner.update(np.random.default_rng(0))
    assert learner.target_entropy == -1.0
    assert np.sign(-1.0 - float(figures["entropy"])) == sign
    assert learner.log_temperature.item() == pytest.approx(before + 0.01 * sign, abs=1e-4)
