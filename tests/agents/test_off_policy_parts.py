"""Parts of the off-policy learner: replay, stacked networks, heads and rules."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from pkubench.agents.nn import gumbel, squashed
from pkubench.agents.nn.fast.stacked import Adam, StackedMLP, layers_of
from pkubench.agents.nn.squashed import Bounds
from pkubench.agents.rl.off_policy import fast
from pkubench.agents.rl.off_policy.constraints import OffPolicyLagrangian
from pkubench.agents.rl.off_policy.rules.ddpg import DDPG
from pkubench.agents.rl.off_policy.rules.sac import SAC
from pkubench.agents.rl.off_policy.rules.td3 import TD3
from pkubench.agents.rl.replay import ReplayBuffer, RowLayout
from pkubench.errors import ConfigError, WeightsError

LAYOUT = RowLayout.of({"a": 2}, {"a": 1}, None)


class Story:
    """Environments with unique observations, recorded as plain lists of episodes."""

    def __init__(self, num_envs: int, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.num_envs = num_envs
        self.count = 0
        self.episodes: list[list[dict[str, Any]]] = [[] for _ in range(num_envs)]
        self.now = [self._fresh() for _ in range(num_envs)]

    def _fresh(self) -> float:
        self.count += 1
        return float(self.count)

    def steps(self, steps: int) -> tuple[Any, ...]:
        shape = (steps, self.num_envs)
        rows, after = np.zeros((*shape, LAYOUT.width)), np.zeros((*shape, LAYOUT.width))
        ends = self.rng.choice(3, size=shape, p=[0.7, 0.15, 0.15])
        rows = rows.astype(np.float32)
        for t in range(steps):
            for index in range(self.num_envs):
                reward, cost = self.rng.normal(size=2).astype(np.float32)
                rows[t, index] = [self.now[index], index, self.rng.normal(), reward, cost]
                then = self._fresh()
                after[t, index, :2] = then, index
                record = {"row": rows[t, index], "next": then, "end": int(ends[t, index])}
                self.episodes[index].append(record)
                self.now[index] = self._fresh() if ends[t, index] else then
        return rows, after.astype(np.float32), ends == 1, ends == 2

    def n_step(self, index: int, k: int, n: int, gamma: float) -> tuple[float, ...]:
        """Reward, cost, discount and the observation led to, from the plain lists."""
        reward = cost = 0.0
        for j in range(n):
            record = self.episodes[index][k + j]
            reward += gamma**j * float(record["row"][LAYOUT.reward])
            cost += gamma**j * float(record["row"][LAYOUT.cost])
            if record["end"] == 1:
                return reward, cost, 0.0, record["next"]
            if record["end"] == 2 or k + j + 1 == len(self.episodes[index]):
                break
        return reward, cost, gamma ** (j + 1), record["next"]


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("capacity", [10_000, 90, 24])
def test_drawn_transitions_are_those_of_the_episodes_played(n: int, capacity: int) -> None:
    story, replay = Story(3), ReplayBuffer(LAYOUT, 3, capacity)
    for steps in (7, 1, 12, 5, 40):
        replay.add(*story.steps(steps))
        drawn = replay.draw(2, 300, n, 0.9, torch.Generator().manual_seed(steps))
        rows, then = np.empty((300, LAYOUT.width), np.float32), np.empty((300, LAYOUT.width), "f4")
        where = {
            float(record["row"][0]): (index, k)
            for index, records in enumerate(story.episodes)
            for k, record in enumerate(records)
        }
        for update in range(2):
            replay.gather(drawn.rows[update], rows)
            replay.gather(drawn.next_rows[update], then)
            for i in range(300):
                index, k = where[float(rows[i, 0])]
                np.testing.assert_array_equal(rows[i], story.episodes[index][k]["row"])
                reward, cost, discount, led_to = story.n_step(index, k, n, 0.9)
                assert drawn.rewards[update, i] == pytest.approx(reward, abs=1e-5)
                assert drawn.costs[update, i] == pytest.approx(cost, abs=1e-5)
                assert drawn.discounts[update, i] == pytest.approx(discount, abs=1e-6)
                assert then[i, 0] == led_to and then[i, 1] == index


def test_every_transition_held_is_drawn_equally_often() -> None:
    story, replay = Story(3, seed=4), ReplayBuffer(LAYOUT, 3, 300)
    replay.add(*story.steps(11))
    held = {float(r["row"][0]) for records in story.episodes for r in records}
    assert replay.steps == len(held) == 33
    rows = replay.draw(1, 33_000, 1, 0.9, torch.Generator().manual_seed(0)).rows[0]
    seen, counts = np.unique(replay.data.reshape(-1, LAYOUT.width)[rows, 0], return_counts=True)
    assert set(seen.tolist()) == held
    # 1,000 each, a binomial deviation of 31
    assert abs(counts - 1000).max() < 150


def test_a_full_ring_holds_the_newest_transitions_only() -> None:
    story, replay = Story(2), ReplayBuffer(LAYOUT, 2, 40)
    for _ in range(30):
        replay.add(*story.steps(3))
    rows = replay.draw(1, 2000, 1, 0.9, torch.Generator().manual_seed(0)).rows[0]
    seen = set(replay.data.reshape(-1, LAYOUT.width)[rows, 0].tolist())
    newest = [[float(r["row"][0]) for r in records[-19:]] for records in story.episodes]
    assert seen <= {value for index in newest for value in index}
    assert all(index[-1] in seen for index in newest)


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_a_replay_without_a_transition_raises_instead_of_searching_for_ever(steps: int) -> None:
    def played(rows: int) -> tuple[Any, ...]:
        numbers = np.zeros((steps, 2, LAYOUT.width), np.float32)
        ends = np.zeros((steps, 2), bool)
        ends[-1:] = True
        replay = ReplayBuffer(LAYOUT, 2, 2 * rows)
        if steps:
            replay.add(numbers, numbers, np.zeros_like(ends), ends)
        return replay, replay.steps

    replay, held = played(2)  # the final observation overwrites the step before it
    assert held == 0
    with pytest.raises(ConfigError, match="no transition to draw: 2 rows per environment"):
        replay.draw(1, 8, 1, 0.9, torch.Generator())
    replay, held = played(3)
    assert held == (2 if steps else 0)
    if steps:
        assert (replay.draw(1, 8, 1, 0.9, torch.Generator()).discounts == np.float32(0.9)).all()


def test_a_frozen_replay_thaws_to_the_same_draws_and_a_wrong_one_is_refused() -> None:
    story, replay = Story(2), ReplayBuffer(LAYOUT, 2, 60)
    for steps in (5, 50):
        replay.add(*story.steps(steps))
        frozen = {k: v.copy() for k, v in replay.freeze().items()}
        again = ReplayBuffer(LAYOUT, 2, 60)
        again.thaw(frozen)
        one, two = (
            r.draw(1, 50, 3, 0.9, torch.Generator().manual_seed(1)) for r in (replay, again)
        )
        for ours, theirs in zip(one, two, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(
            replay.data.reshape(-1, LAYOUT.width)[one.next_rows],
            again.data.reshape(-1, LAYOUT.width)[two.next_rows],
        )
    frozen["data"] = frozen["data"][:-1]
    with pytest.raises(WeightsError, match="replay's 'data'"):
        again.thaw(frozen)


@pytest.mark.parametrize("outputs", [1, 6])
@pytest.mark.parametrize("is_last_tanh", [False, True])
def test_stacked_networks_have_the_gradients_of_autograd(outputs: int, is_last_tanh: bool) -> None:
    sizes = (5, 9, 8, outputs)
    net = StackedMLP(3, sizes, is_last_tanh)
    generator = torch.Generator().manual_seed(0)
    for row in range(3):
        net.initialise(row, generator)
    x = torch.randn(3, 20, 5, generator=generator)
    out, hidden = net.forward(x)
    grad = torch.randn(3, 20, outputs, generator=generator)
    into = torch.zeros_like(net.flat)
    net.backward(x, hidden, grad, layers_of(into, sizes))
    by_input = net.input_gradient(hidden, grad, slice(1, 4))
    flat, leaf = net.flat.clone().requires_grad_(), x.clone().requires_grad_()
    h = leaf
    layers = layers_of(flat, sizes)
    for k, (weight, bias) in enumerate(layers):
        h = torch.einsum("rbi,rio->rbo", h, weight) + bias
        if k < 2:
            h = torch.tanh(h) if is_last_tanh and k == 1 else torch.relu(h)
    torch.testing.assert_close(out, h.detach(), atol=1e-6, rtol=1e-5)
    (h * grad).sum().backward()
    torch.testing.assert_close(into, flat.grad, atol=1e-5, rtol=1e-5)
    assert leaf.grad is not None
    torch.testing.assert_close(by_input, leaf.grad[..., 1:4], atol=1e-5, rtol=1e-5)


def test_flat_adam_takes_the_steps_of_torch() -> None:
    torch.manual_seed(0)
    ours = torch.randn(3, 7)
    theirs = torch.nn.Parameter(ours.clone())
    adam, reference = Adam(ours, 0.01), torch.optim.Adam([theirs], lr=0.01)
    part = adam.rows(1, 2)
    for k in range(20):
        gradient = torch.randn(3, 7) * 10.0**-k
        adam.gradient.copy_(gradient)
        theirs.grad = gradient
        adam.step()
        reference.step()
    torch.testing.assert_close(ours, theirs.detach(), atol=1e-6, rtol=1e-6)
    assert part.parameters.data_ptr() == ours[1].data_ptr()


def test_the_squashed_density_integrates_to_one_and_counts_the_stretch() -> None:
    outputs = torch.tensor([[0.4, -0.3]])
    bounds = Bounds(torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor(math.log(3.0)))
    noise = torch.linspace(-7, 7, 20_001)[:, None]
    drawn = squashed.sample(outputs.expand(len(noise), 2), noise, bounds)
    a, p = drawn.action[:, 0].double(), drawn.log_prob.double().exp()
    assert float(torch.trapezoid(p, a)) == pytest.approx(1.0, abs=1e-4)
    assert float(a.min()) >= -2.0 and float(a.max()) <= 4.0
    assert float(squashed.mode(outputs, bounds)) == pytest.approx(1 + 3 * math.tanh(0.4))


def test_hard_gumbel_samples_have_the_softmax_frequencies() -> None:
    logits = torch.tensor([0.0, 1.0, -1.0])
    generator = torch.Generator().manual_seed(0)
    numbers = torch.empty(40_000, 3).exponential_(generator=generator)
    drawn = gumbel.sample(logits.expand(40_000, 3), numbers, 0.7)
    p = torch.softmax(logits, -1)
    deviation = (drawn.action.mean(0) - p).abs() / (p * (1 - p) / 40_000).sqrt()
    assert float(deviation.max()) < 4
    expected = (drawn.action @ torch.log(p))[:5]
    torch.testing.assert_close(drawn.log_prob[:5], expected)


def test_rules_on_numbers_worked_by_hand() -> None:
    q = torch.tensor([[[1.0, 5.0]], [[2.0, 3.0]]])
    log_prob, alpha = torch.tensor([[-1.0, 2.0]]), torch.tensor([[0.5]])
    ddpg, td3, sac = DDPG(), TD3(target_noise=0.2, noise_clip=0.5), SAC()
    assert td3.next_value(q, None, None).tolist() == [[1.0, 3.0]]
    assert ddpg.next_value(q[:1], None, None).tolist() == [[1.0, 5.0]]
    soft = sac.next_value(q, log_prob, alpha)
    assert soft.tolist() == [[1.5, 2.0]]
    rewards, discounts = torch.tensor([[10.0, 20.0]]), torch.tensor([[0.5, 0.0]])
    target = sac.target(rewards, discounts, soft)
    assert target.tolist() == [[10.75, 20.0]]
    assert sac.critic_loss(q, torch.tensor([[1.0, 1.0]])).tolist() == [[8.0], [2.5]]
    assert ddpg.actor_loss(q[:1], None, None).tolist() == [-3.0]
    assert td3.actor_loss(q, None, None).tolist() == [-3.0]
    # (-0.5 - 1 + 1 - 3) / 2
    assert sac.actor_loss(q, log_prob, alpha).tolist() == [-1.75]
    held = OffPolicyLagrangian()
    assert held.next_cost(q).tolist() == [[2.0, 5.0]]
    # (-1.75 + 3 * 3.5) / 4
    mixed = held.actor_loss(torch.tensor([-1.75]), q, torch.tensor([3.0]))
    assert mixed.tolist() == [2.1875]
    log_alpha, goal = torch.tensor([2.0]), torch.tensor([-3.0])
    assert sac.temperature_loss(log_alpha, log_prob, goal).tolist() == [5.0]
    noise = torch.tensor([1.0, -9.0])
    smoothed = td3.smoothing(noise, torch.tensor(2.0))
    assert smoothed.tolist() == pytest.approx([0.4, -1.0])
    assert sac.entropy_goal(spaces.Box(-1, 1, (3,)), 0.0) == -3
    assert sac.entropy_goal(spaces.Discrete(5), 0.0) == pytest.approx(0.98 * math.log(5))
    assert SAC(target_entropy="official").entropy_goal(spaces.Discrete(5), 0.0) == 0


def test_hand_written_gradients_on_numbers_worked_by_hand() -> None:
    q = torch.tensor([[[1.0, 5.0]], [[2.0, 3.0]]])
    assert fast.chosen_twin(q).tolist() == [[[1.0, 0.0]], [[0.0, 1.0]]]
    error = fast.squared_error_gradient(q.clone(), torch.tensor([[1.0, 1.0]]))
    assert error.tolist() == [[[0.0, 4.0]], [[1.0, 2.0]]]
    gradient = fast.temperature_gradient(torch.tensor([[-1.0, 2.0]]), torch.tensor([-3.0]))
    assert gradient.tolist() == [2.5]
