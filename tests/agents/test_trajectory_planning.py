"""Plans of the Trajectory Transformer against exhaustive search and a beam search by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from pkubench.agents.rl.offline.planning import PlanSettings, expected, plan, sampled


class Oracle:
    """Knows a deterministic chain: state 0 to 4, three actions, rewards by (state, action)."""

    def __init__(self, rewards: np.ndarray, returns: np.ndarray) -> None:
        self.rewards, self.returns, self.tokens = rewards, returns, torch.zeros(0, 0)

    def start(self, tokens: torch.Tensor) -> torch.Tensor:
        self.tokens = tokens
        return self._logits()

    def extend(self, tokens: torch.Tensor) -> torch.Tensor:
        self.tokens = torch.cat([self.tokens, tokens[:, None]], 1)
        return self._logits()

    def select(self, rows: torch.Tensor) -> None:
        self.tokens = self.tokens[rows]

    def _logits(self) -> torch.Tensor:
        place = (self.tokens.shape[1] - 1) % 4  # of state, action, reward, return
        if place == 0:  # any of the three actions
            logits = torch.full((len(self.tokens), 16), -torch.inf, dtype=torch.float64)
            logits[:, :3] = 0.0
            return logits
        state, action = self.tokens[:, -place - 1], self.tokens[:, -place]
        following = (state + action + 1) % 5
        if place == 1:
            answer = torch.from_numpy(self.rewards)[state, action]
        elif place == 2:
            answer = torch.from_numpy(self.returns)[following]
        else:
            answer = following
        logits = torch.full((len(self.tokens), 16), -40.0, dtype=torch.float64)
        return logits.scatter(1, answer[:, None], 40.0)


@pytest.mark.parametrize("seed", range(12))
def test_a_plan_is_the_best_of_all_where_every_action_is_drawn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rewards, returns = rng.integers(15, size=(5, 3)), rng.integers(15, size=5)
    gamma, horizon = 0.5, 2
    bins = torch.arange(15, dtype=torch.float64)
    values = torch.stack([bins, 3.0 * bins - 20.0])  # of rewards, and of returns
    prefix = torch.arange(5)[:, None]  # every state at once
    # one continuation of each plan, so that none is dropped: 150 draws of 9 sequences
    settings = PlanSettings(beam=150, horizon=horizon, expand=1, cdf=0.0, gamma=gamma)
    found = plan(
        Oracle(rewards, returns), prefix, (1, 1), values, settings, lambda n: rng.random((5, n))
    )
    for start in range(5):
        scores = {}
        for actions in itertools.product(range(3), repeat=horizon):
            state, total = start, 0.0
            for t, action in enumerate(actions):
                total += gamma**t * rewards[state, action]
                state = (state + action + 1) % 5
            scores[actions] = total + gamma**horizon * (3.0 * returns[state] - 20.0)
        best = max(scores.values())
        firsts = {actions[0] for actions, score in scores.items() if score > best - 1e-9}
        assert int(found[start, 0]) in firsts


@pytest.mark.parametrize("seed", range(8))
def test_a_plan_is_that_of_a_beam_search_by_hand(seed: int) -> None:
    """The same draws: every plan is continued twice, and the five best ones so far are kept."""
    rng = np.random.default_rng(seed)
    rewards, returns = rng.integers(15, size=(5, 3)), rng.integers(15, size=5)
    values = torch.from_numpy(np.sort(rng.normal(size=(2, 15))))
    settings = PlanSettings(beam=5, horizon=3, expand=2, cdf=0.0, gamma=0.9)
    drawn: list[np.ndarray] = []

    def draws(count: int) -> np.ndarray:
        drawn.append(rng.random((5, count)))
        return drawn[-1]

    prefix, oracle = torch.arange(5)[:, None], Oracle(rewards, returns)
    found = plan(oracle, prefix, (1, 1), values, settings, draws)
    of_actions = oracle.start(prefix)[:1].expand(10, -1)
    paid, ahead = values[0].numpy()[rewards], values[1].numpy()[returns]
    for start in range(5):
        kept = [(0.0, 0.0, start, -1)] * 5  # score, rewards, state, first action
        for t in range(3):
            actions = sampled(of_actions, 0.0, torch.from_numpy(drawn[t][start])).tolist()
            ways = []
            for k, action in enumerate(actions):
                _, total, state, first = kept[k // 2]
                earned = total + 0.9**t * paid[state, action]
                after = (state + action + 1) % 5
                score = earned + 0.9 ** (t + 1) * ahead[after]
                ways.append((score, earned, after, action if t == 0 else first))
            kept = sorted(ways, key=lambda way: way[0], reverse=True)[:5]
        assert int(found[start, 0]) == kept[0][3]


class Uncertain(Oracle):
    """The same, but action 0 pays class 0 or class 14, equally often."""

    def _logits(self) -> torch.Tensor:
        logits = super()._logits()
        if (self.tokens.shape[1] - 1) % 4 == 1:
            logits[self.tokens[:, -1] == 0] = -40.0
            logits[self.tokens[:, -1] == 0, 0] = logits[self.tokens[:, -1] == 0, 14] = 40.0
        return logits


@pytest.mark.parametrize(("certain", "wanted"), [(5, 0), (8, 1)])
def test_a_reward_counts_as_its_expectation(certain: int, wanted: int) -> None:
    rewards, returns = np.zeros((5, 3), np.int64), np.zeros(5, np.int64)
    rewards[0, 1] = certain  # against 7 on average
    values = torch.arange(15, dtype=torch.float64).expand(2, 15)
    settings = PlanSettings(beam=9, horizon=1, expand=3, cdf=0.0, gamma=1.0)
    found = plan(
        *(Uncertain(rewards, returns), torch.tensor([[0]]), (1, 1), values, settings),
        lambda n: (np.arange(n)[None] % 3 + 0.5) / 3,
    )
    assert int(found) == wanted


class Ending(Oracle):
    """The same, but action 0 in state 1 ends the episode, and whatever follows an end is a 14."""

    def _logits(self) -> torch.Tensor:
        whole, place = self.tokens, (self.tokens.shape[1] - 1) % 4
        ended = (whole == 15).any(1)
        self.tokens = whole.masked_fill(ended[:, None], 0)
        logits = super()._logits()
        self.tokens = whole
        certain = torch.eye(16, dtype=torch.float64) * 80.0 - 40.0
        logits[ended] = certain[14]
        if place == 3:
            logits[~ended & (whole[:, -4] == 1) & (whole[:, -3] == 0)] = certain[15]
        return logits


def test_a_plan_that_has_ended_earns_nothing_more() -> None:
    rewards, returns = np.zeros((5, 3), np.int64), np.zeros(5, np.int64)
    rewards[1, 0], rewards[1, 1], rewards[3, 0] = 5, 1, 9
    values = torch.arange(15, dtype=torch.float64).expand(2, 15)
    settings = PlanSettings(beam=64, horizon=2, expand=1, cdf=0.0, gamma=1.0)
    rng = np.random.default_rng(0)
    prefix = torch.tensor([[1]])
    found = plan(
        Ending(rewards, returns), prefix, (1, 1), values, settings, lambda n: rng.random((1, n))
    )
    assert int(found) == 1  # 1 + 9, not 5 and the end


def test_unlikely_bins_are_not_drawn() -> None:
    logits = torch.tensor([[0.1, 0.4, 0.3, 0.2, 0.9]]).log().expand(1000, 5)
    uniform = (torch.arange(1000) + 0.5) / 1000
    # 0.1, 0.1 + 0.2 and 0.1 + 0.2 + 0.3 without rounding: dropped below 0.65
    assert set(sampled(logits, 0.65, uniform).tolist()) == {1}
    counts = np.bincount(sampled(logits, 0.25, uniform), minlength=4)
    np.testing.assert_allclose(counts / 1000, [0, 4 / 9, 3 / 9, 2 / 9], atol=0.002)
    everything = np.bincount(sampled(logits, 0.0, uniform), minlength=4)
    np.testing.assert_allclose(everything / 1000, [0.1, 0.4, 0.3, 0.2], atol=0.002)


def test_expectations_count_the_end_as_nothing() -> None:
    value, token = expected(torch.tensor([[0.25, 0.25, 0.5]]).log(), torch.tensor([2.0, 6.0]))
    assert float(value) == pytest.approx(2.0) and token.tolist() == [2]
