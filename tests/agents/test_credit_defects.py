"""Defects of the published credit models: absent from ours, and present with ``mode=repo``."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.rl.credit.episodes import Array, Episodes
from pkubench.agents.rl.credit.models.base import Batch
from pkubench.agents.rl.credit.models.coalitions import Sampler, drawn, enumerated, for_evaluation
from pkubench.agents.rl.credit.models.layers import CoalitionLayer
from pkubench.agents.rl.credit.normalise import (
    minimum_shift_shares,
    signed_softmax_shares,
    softmax_shares,
    with_remainder,
)
from pkubench.agents.rl.credit.shapley import (
    banzhaf_values,
    expected_marginals,
    shapley_error,
    shapley_of_actions,
    shapley_values,
)
from tests.agents.credit_envs import LEARNED, made_up, started

COALITIONAL = ("stas", "stas-ml", "tar2")
RNG = np.random.default_rng(0)


def joined(first: Episodes, others: Episodes) -> Episodes:
    """An episode and others in one batch, padded to the longest."""
    length = max(first.actions.shape[2], others.actions.shape[2])

    def padded(array: Array, steps: int) -> Array:
        wide = [(0, 0)] * array.ndim
        wide[2] = (0, steps - array.shape[2])
        return np.pad(array, wide)

    pairs = [
        (padded(of.observations, length + 1), padded(of.actions, length), of.lengths, of.returns)
        for of in (first, others)
    ]
    return Episodes(*(np.concatenate(parts) for parts in zip(*pairs, strict=True)))


# ---- calls repeat, items are independent, padding is nothing


@pytest.mark.parametrize("name", LEARNED)
@pytest.mark.parametrize("agents", [2, 7])
def test_calls_repeat_exactly(name: str, agents: int) -> None:
    model, episodes = started(name, agents), made_up([4, 2, 6], agents)
    first = model.assign(episodes)
    assert first.shape == (3, agents, 6) and first.any()
    np.testing.assert_array_equal(first, model.assign(episodes))


@pytest.mark.parametrize("name", COALITIONAL)
def test_calls_of_the_published_code_differ(name: str) -> None:
    more = {"weights": "none"} if name == "tar2" else {}
    model, episodes = started(name, 3, mode="repo", **more), made_up([4, 2], 3)
    assert np.abs(model.assign(episodes) - model.assign(episodes)).max() > 1e-3


@pytest.mark.parametrize("name", LEARNED)
def test_an_episodes_credit_does_not_depend_on_the_other_episodes(name: str) -> None:
    model, episode = started(name, 3), made_up([3], 3)
    alone = model.assign(episode)
    for others in (made_up([3, 3], 3, seed=1), made_up([6, 1], 3, seed=2)):
        together = model.assign(joined(episode, others))
        np.testing.assert_allclose(together[0, :, :3], alone[0], atol=2e-6)
        assert not together[0, :, 3:].any()


@pytest.mark.parametrize("name", COALITIONAL)
def test_in_the_published_code_it_does_where_lengths_are_unequal(name: str) -> None:
    more = {"weights": "none"} if name == "tar2" else {}
    found = []
    for lengths in ([6, 6], [1, 1]):
        model = started(name, 2, mode="repo", sampler="bernoulli", **more)
        model.network.order = lambda: None  # type: ignore[method-assign]
        model.network.generator.manual_seed(5)
        found.append(model.assign(joined(made_up([3]), made_up(lengths, seed=1)))[0, :, :3])
    assert np.abs(found[0] - found[1]).max() > 1e-3


@pytest.mark.parametrize("name", LEARNED)
def test_what_lies_behind_an_episodes_end_is_nothing(name: str) -> None:
    """Padding has no action of its own: the last of five actions is one like the others."""
    model, episodes = started(name, 2, actions=5), made_up([2, 5], actions=5)
    clean = model.assign(episodes)
    loss = model.network.loss(Batch.of(episodes, 1.0, "cpu")).item()
    episodes.observations[0, :, 3:], episodes.actions[0, :, 2:] = 7.0, 4
    np.testing.assert_array_equal(model.assign(episodes), clean)
    assert model.network.loss(Batch.of(episodes, 1.0, "cpu")).item() == pytest.approx(loss)
    if name in ("stas", "stas-ml"):
        episodes.actions[0, :, 1] = 4
        assert np.abs(model.assign(episodes) - clean)[0].max() > 1e-3


@pytest.mark.parametrize("name", LEARNED)
def test_one_episode_of_one_step_and_of_one_agent(name: str) -> None:
    with pytest.warns(UserWarning, match="single agent is credit over time alone"):
        model = started(name, 1)
    for found, agents in ((model, 1), (started(name, 3), 3)):
        shares = found.assign(made_up([1], agents))
        assert shares.shape == (1, agents, 1) and np.isfinite(shares).all()
        found.step(Batch.of(made_up([1], agents), 0.1, "cpu"))


# ---- causality


def with_another_future(episodes: Episodes, step: int) -> Episodes:
    """Change every action from a step on, and what is observed after it."""
    other = made_up(episodes.lengths.tolist(), episodes.actions.shape[1], seed=9)
    seen, acted = episodes.observations.copy(), episodes.actions.copy()
    seen[:, :, step + 1 :] = other.observations[:, :, step + 1 :]
    acted[:, :, step:] = (acted[:, :, step:] + 1) % 4
    return Episodes(seen, acted, episodes.lengths, episodes.returns + 3.0)


CAUSAL: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in (*LEARNED, "uniform", "ircr", "undecomposed")},
    "stas with the remainder": ("stas", {"normaliser": "remainder"}),
    "rudder with the remainder": ("rudder", {"normaliser": "remainder"}),
    "published tar2": ("tar2", {"weights": "published"}),
    "tar2 without weights": ("tar2", {"weights": "none"}),
    "tar2 without weights and outcome": ("tar2", {"weights": "none", "reads_outcome": False}),
}


@pytest.mark.parametrize("kind", CAUSAL)
def test_the_past_ignores_the_future_where_a_method_is_causal_and_nowhere_else(kind: str) -> None:
    name, settings = CAUSAL[kind]
    model, episodes = started(name, 3, **settings), made_up([6, 6], 3)
    if name == "ircr":
        model.low, model.high = -10.0, 10.0
    before, after = (
        model.assign(e)[:, :, :4] for e in (episodes, with_another_future(episodes, 4))
    )
    assert (np.abs(before - after).max() < 1e-6) == model.is_causal
    wanted = name in ("stas", "stas-ml", "arel", "rudder", "undecomposed")
    wanted = (wanted and not settings) or kind == "tar2 without weights and outcome"
    assert model.is_causal == wanted


@pytest.mark.parametrize("name", COALITIONAL)
def test_the_published_time_masks_are_not_causal(name: str) -> None:
    assert not started(name, mode="repo").is_causal


# ---- Shapley and Banzhaf values


def additive(worths: Any) -> Array:
    n = len(worths)
    return np.array([sum(w for i, w in enumerate(worths) if c >> i & 1) for c in range(1 << n)])


def unanimity(n: int) -> Array:
    return np.array([0.0] * ((1 << n) - 1) + [1.0])


def test_shapley_values_are_means_over_all_orders() -> None:
    game = RNG.standard_normal(16)
    game[0] = 0.5
    gains = np.zeros(4)
    for order in itertools.permutations(range(4)):
        code = 0
        for i in order:
            gains[i] += game[code | 1 << i] - game[code]
            code |= 1 << i
    np.testing.assert_allclose(shapley_values(game), gains / 24)
    assert shapley_values(game).sum() == pytest.approx(game[15] - game[0])


@pytest.mark.parametrize("n", [2, 3, 5])
def test_prefixes_of_orders_are_shapley_and_coin_flips_are_banzhaf(n: int) -> None:
    """Apart in a unanimity game of three: 1/3 and 1/4. Alike for two, and in additive games."""
    worths = RNG.standard_normal(n)
    for sampler, values in (("permutation", 1 / n), ("bernoulli", 0.5 ** (n - 1))):
        all_of_them = [of.numpy() for of in enumerated(sampler, n)]  # type: ignore[arg-type]
        np.testing.assert_allclose(all_of_them[1].sum(0), 1.0, rtol=1e-6)
        found = expected_marginals(unanimity(n), *all_of_them)
        np.testing.assert_allclose(found, values, rtol=1e-6)
        np.testing.assert_allclose(
            expected_marginals(additive(worths), *all_of_them), worths, rtol=1e-5
        )
    np.testing.assert_allclose(shapley_values(unanimity(n)), 1 / n)
    np.testing.assert_allclose(banzhaf_values(unanimity(n)), 0.5 ** (n - 1))
    assert (n == 2) == np.allclose(banzhaf_values(unanimity(n)), shapley_values(unanimity(n)))


@pytest.mark.parametrize("sampler", ["permutation", "bernoulli", "stratified"])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_random_coalitions_average_to_the_enumerated_ones(sampler: Sampler, n: int) -> None:
    game = RNG.standard_normal(1 << n)
    random = drawn(sampler, n, 6000, torch.Generator().manual_seed(0))
    assert (random.members.diagonal(dim1=1, dim2=2) == 1).all()
    found = expected_marginals(game, *(of.numpy() for of in random))
    wanted = expected_marginals(game, *(of.numpy() for of in enumerated(sampler, n)))
    np.testing.assert_allclose(found, wanted, atol=0.08)


def test_evaluation_has_all_coalitions_of_six_agents_and_the_same_of_more() -> None:
    assert len(for_evaluation("permutation", 6).members) == 32
    seven = [for_evaluation("permutation", 7) for _ in range(2)]
    assert len(seven[0].members) == 64 and torch.equal(seven[0].members, seven[1].members)


@pytest.mark.parametrize("sampler", ["permutation", "bernoulli", "stratified"])
@pytest.mark.parametrize(("n", "dropout"), [(3, 0.0), (4, 0.0), (3, 1e-9), (4, 1e-9)])
def test_the_mean_over_coalitions_is_that_of_masked_attentions(
    sampler: Sampler, n: int, dropout: float
) -> None:
    """One attention for each coalition, with a query for each agent, and then their mean."""
    generator = torch.Generator().manual_seed(1)
    layer = CoalitionLayer(8, 2, n, dropout, generator).train()
    x = torch.randn(2, n, 3, 8, generator=generator) * 3.0
    coalitions = drawn(sampler, n, 5, generator)
    found = layer(x, coalitions)
    key_value = layer.key_value.weight, layer.key_value.bias
    total = torch.zeros(2, 3, n, 8)
    tokens = x.transpose(1, 2) + layer.agents
    for members in coalitions.members:
        rows = []
        for i in range(n):
            query = tokens[:, :, i] @ layer.query[i] + layer.query_bias[i]
            key, value = torch.nn.functional.linear(tokens, *key_value).chunk(2, -1)
            heads = []
            for h in (slice(0, 4), slice(4, 8)):
                scores = (key[..., h] @ query[:, :, h, None])[..., 0] / math.sqrt(4)
                weights = scores.masked_fill(members[i] == 0, -torch.inf).softmax(-1)
                heads.append((weights[..., None] * value[..., h]).sum(-2))
            rows.append(torch.cat(heads, -1))
        total += torch.nn.functional.linear(torch.stack(rows, 2), layer.out.weight, layer.out.bias)
    torch.testing.assert_close(found, (total / 5).transpose(1, 2), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("n", [3, 4])
def test_scores_far_apart_give_finite_weights_and_gradients(n: int) -> None:
    layer = CoalitionLayer(4, 1, n, 0.0, torch.Generator().manual_seed(0))
    x = (torch.randn(1, n, 1, 4) * 100.0).requires_grad_()
    out = layer(x, enumerated("permutation", n))
    out.sum().backward()
    assert out.isfinite().all() and x.grad is not None and x.grad.isfinite().all()


def test_few_agents_attend_by_pairs_as_many_do_by_products() -> None:
    """The same outputs and gradients, to rounding."""
    found = []
    for name in ("_by_pairs", "_by_products"):
        layer = CoalitionLayer(8, 2, 3, 0.0, torch.Generator().manual_seed(0))
        layer._by_pairs = getattr(layer, name)  # type: ignore[method-assign]
        x = torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
        out = layer(x, enumerated("permutation", 3))
        out.square().sum().backward()
        found.append((out, x.grad, *(p.grad for p in layer.parameters())))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_the_credit_of_who_took_part_is_exact() -> None:
    """Three agents of which two are needed: what each of those who came has earned."""
    majority = np.array([float(c.bit_count() >= 2) for c in range(8)])
    came = np.array([[1, 1, 1], [1, 1, 0], [0, 1, 0]], bool)
    exact = shapley_of_actions(majority, came)
    np.testing.assert_allclose(exact, [[1 / 3] * 3, [0.5, 0.5, 0.0], [0.0] * 3], atol=1e-12)
    assert shapley_error(exact, majority, came) == 0.0
    assert shapley_error(np.zeros((3, 3)), majority, came) == pytest.approx(2 / 9)
    with pytest.raises(ValueError, match="2\\^n"):
        shapley_values(np.zeros(6))


def test_a_fitted_model_explains_returns_and_not_who_earned_them() -> None:
    """One step, three agents, additive worths: Shapley values are the worths themselves.

    Coalitions are masks of attention in one output; no value of a coalition is ever seen. So the
    fit leaves the division open: it is no nearer to the exact one than an even division is.
    """
    game = additive([3.0, -1.0, 2.0])
    played = np.array([[c >> i & 1 for i in range(3)] for c in range(8)] * 4, bool)
    total = game[played @ [1, 2, 4]]
    acted, ones = played[:, :, None].astype(np.int64), np.ones(32, np.int64)
    episodes = Episodes(np.zeros((32, 3, 2, 3), np.float32), acted, ones, total)
    model = started("stas", 3, width=16, credit_lr=3e-3, return_scale=1.0)
    model.network.train()
    for _ in range(200):
        model.step(Batch.of(episodes, 1.0, "cpu"))
    model.network.eval()
    credit = model.assign(episodes)[..., 0]
    assert np.abs(credit.sum(1) - total).max() < 0.1
    even = shapley_error(np.repeat(total[:, None] / 3, 3, 1), game, played)
    assert shapley_error(credit, game, played) > 0.5 * even


# ---- weights that sum to the return, and those that do not

CASES = {
    "equal scores": (np.full((1, 3, 4), 2.0), 7.0),
    "no return": (RNG.standard_normal((1, 3, 4)), 0.0),
    "a negative return": (RNG.standard_normal((1, 3, 4)), -80.0),
    "one step": (RNG.standard_normal((1, 3, 1)), 5.0),
    "one agent": (RNG.standard_normal((1, 1, 4)), 5.0),
    "two agents": (RNG.standard_normal((1, 2, 4)), 5.0),
    "scores far apart": (RNG.standard_normal((1, 2, 4)) * 1e4, 100.0),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("normalise", [signed_softmax_shares, softmax_shares, with_remainder])
def test_corrected_shares_sum_to_the_return(case: str, normalise: Any) -> None:
    scores, total = CASES[case]
    steps = scores.shape[2]
    padded = np.concatenate([scores, np.full_like(scores, 99.0)], 2)
    valid = np.arange(2 * steps)[None] < steps
    shares = normalise(padded, np.array([total]), valid)
    assert shares.sum() == pytest.approx(total, abs=1e-5)
    assert not shares[:, :, steps:].any()


def test_softmax_shares_by_hand() -> None:
    """Steps by the softmax of their sums, agents by the softmax in the step."""
    scores = np.log([[[1.0, 3.0], [1.0, 1.0]]])  # sums log 1 and log 3
    shares = softmax_shares(scores, np.array([8.0]), np.ones((1, 2), bool))
    np.testing.assert_allclose(shares, [[[1.0, 4.5], [1.0, 1.5]]])


def test_of_a_negative_return_tar2_blames_the_best_unless_its_weights_are_signed() -> None:
    """Steps of 2/3 and 1/3, agents of 2/3 and 1/3 in the first: by hand, of -9 and of 9."""
    scores, total, valid = (
        np.log([[[2.0, 1.0], [1.0, 1.0]]]),
        np.array([-9.0]),
        np.ones((1, 2), bool),
    )
    unsigned, signed = (f(scores, total, valid) for f in (softmax_shares, signed_softmax_shares))
    np.testing.assert_allclose(unsigned, [[[-4.0, -1.5], [-2.0, -1.5]]])
    np.testing.assert_allclose(signed, [[[-1.0, -3.0], [-2.0, -3.0]]])
    np.testing.assert_allclose(signed_softmax_shares(scores, -total, valid), -unsigned)
    # as published, the step with the lower score loses nothing, and the best agent all
    shares = minimum_shift_shares(scores, total, valid)
    np.testing.assert_allclose(shares, [[[-9.0, 0.0], [0.0, 0.0]]], atol=1e-3)


@pytest.mark.parametrize(
    ("weights", "is_kept"), [("signed-softmax", True), ("softmax", False), ("published", False)]
)
def test_a_higher_score_of_tar2_is_a_higher_share_of_any_return(
    weights: str, is_kept: bool
) -> None:
    model, episodes = started("tar2", 3, weights=weights), made_up([5] * 4, 3)
    scores = RNG.standard_normal((4, 3, 5))
    for sign in (1.0, -1.0):
        episodes.returns[:] = 7.0 * sign
        shares = model.settings.shares_of(scores, episodes)
        order = np.argsort(scores.sum(1), -1)
        team = np.take_along_axis(shares.sum(1), order, -1)
        assert (np.diff(team, axis=-1) >= 0.0).all() == (is_kept or sign > 0.0)
        own = np.take_along_axis(shares, np.argsort(scores, 1), 1)
        assert (np.diff(own, axis=1) >= 0.0).all() == (is_kept or sign > 0.0)


def test_published_tar2_gives_the_lowest_agent_nothing_and_of_two_one_takes_all() -> None:
    scores, valid = RNG.standard_normal((1, 2, 5)), np.ones((1, 5), bool)
    shares = minimum_shift_shares(scores, np.array([1.0]), valid)
    assert (shares.min(1) == 0.0).all()
    corrected = softmax_shares(scores, np.array([1.0]), valid)
    assert (corrected > 0.0).all()


def test_published_tar2_loses_the_return_where_scores_are_equal_and_some_of_it_elsewhere() -> None:
    valid = np.ones((1, 4), bool)
    equal = minimum_shift_shares(np.full((1, 3, 4), 2.0), np.array([7.0]), valid)
    assert not equal.any()
    apart = minimum_shift_shares(RNG.standard_normal((1, 3, 4)) / 100, np.array([7.0]), valid)
    assert 1e-4 < 7.0 - apart.sum() < 0.5
    one = minimum_shift_shares(RNG.standard_normal((1, 1, 4)), np.array([7.0]), valid)
    assert not one.any()  # a single agent is the lowest one


def test_published_tar2_by_hand() -> None:
    """Sums 1, 3 and 5 less 1; agents 0 and 1, then 1 and 2, then 4 and 1."""
    scores = np.array([[[0.0, 1.0, 4.0], [1.0, 2.0, 1.0]]])
    shares = minimum_shift_shares(scores, np.array([6.0]), np.ones((1, 3), bool))
    np.testing.assert_allclose(shares, [[[0.0, 0.0, 4.0], [0.0, 2.0, 0.0]]], atol=2e-4)


def test_inverse_dynamics_reads_the_steps_of_the_episode_alone() -> None:
    """The published code aligns the mask of (step, agent) with errors of (agent, step)."""
    found = {}
    for mode in ("corrected", "repo"):
        losses = []
        for junk in (0, 3):
            episodes = made_up([2, 5], 2)
            episodes.actions[0, :, 2:] = junk
            model = started("tar2", 2, mode=mode, sampler="bernoulli")
            network, batch = model.network, Batch.of(episodes, 1.0, "cpu")
            network.order = lambda: None
            network.generator.manual_seed(3)
            contexts = torch.zeros(2, 2, 5, 8)
            losses.append(float(network.dynamics_loss(contexts, batch).detach()))
        found[mode] = abs(losses[0] - losses[1])
    assert found["corrected"] == 0.0 and found["repo"] > 1e-3


# ---- what return equivalence does not give


def test_return_equivalence_does_not_preserve_the_better_action() -> None:
    """Two steps, one agent; the last action decides. Both shares sum to the return.

    a: R = 1 with weights (.9, .1); b: R = .5 with (.1, .9). What is to go at the last step is .1
    after a and .45 after b, so a learner of either prefers the action of the smaller return.
    """
    returns, valid = np.array([1.0, 0.5]), np.ones((2, 2), bool)
    scores = np.log([[[0.9, 0.1]], [[0.1, 0.9]]])
    shares = softmax_shares(scores, returns, valid)[:, 0]
    np.testing.assert_allclose(shares.sum(1), returns)
    np.testing.assert_allclose(shares[:, 1], [0.1, 0.45])
    assert returns[0] > returns[1] and shares[0, 1] < shares[1, 1]
    undecomposed = np.array([[0.0, 1.0], [0.0, 0.5]])
    assert undecomposed[0, 1] > undecomposed[1, 1]
