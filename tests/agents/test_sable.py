"""Sable's retention: recurrent, chunkwise and whole outputs are equal, and episodes are apart."""

from __future__ import annotations

import itertools

import pytest
import torch

from pkubench.agents.rl.team_transformer.networks import TeamSpec
from pkubench.agents.rl.team_transformer.retention import Decay
from pkubench.agents.rl.team_transformer.sable import Sable

STEPS, COPIES, AGENTS = 7, 3, 2


def net(*, is_discrete: bool = True) -> Sable:
    spec = TeamSpec(
        agents=AGENTS,
        observations=3,
        actions=3 if is_discrete else 2,
        is_discrete=is_discrete,
        width=8,
        layers=2,
        heads=2,
        is_decentralised=False,
        shared=False,
    )
    made = Sable(spec, torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for k, parameter in enumerate(made.parameters()):
            if parameter.ndim > 1:
                parameter.normal_(std=0.6, generator=torch.Generator().manual_seed(k))
    return made


def inputs(made: Sable) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    seen = torch.randn(STEPS, COPIES, AGENTS, 3, dtype=torch.float64, generator=generator)
    first = torch.zeros(STEPS, COPIES, dtype=torch.bool)
    first[0, 1] = first[3, 1] = first[4, 2] = first[5, 2] = True
    hidden = 0.3 * torch.randn(COPIES, made.units, dtype=torch.float64, generator=generator)
    return seen, first, hidden, torch.zeros(0)


@pytest.mark.parametrize("is_discrete", [True, False])
def test_acting_step_by_step_has_the_probabilities_of_one_chunk_and_of_several(
    is_discrete: bool,
) -> None:
    made = net(is_discrete=is_discrete)
    seen, first, hidden, _ = inputs(made)
    generator = torch.Generator().manual_seed(1)
    state, states, found = hidden, [hidden], []
    for t in range(STEPS):
        outputs, actions, values, state = made.step(
            seen[t], first[t], state, lambda k, out: made.distribution.sample(out, generator)
        )
        log_probs, entropy = made.distribution.log_probs(outputs, actions)
        found.append((actions, log_probs, entropy, values))
        states.append(state)
    actions, *recurrent = (torch.stack(of) for of in zip(*found, strict=True))
    whole = made.evaluate(seen, actions, first, hidden)
    cuts = [0, 2, 3, STEPS]
    chunks = [
        made.evaluate(seen[a:b], actions[a:b], first[a:b], states[a])
        for a, b in itertools.pairwise(cuts)
    ]
    for k, one in enumerate(recurrent):
        torch.testing.assert_close(whole[k], one, atol=1e-9, rtol=0)
        torch.testing.assert_close(torch.cat([c[k] for c in chunks]), one, atol=1e-9, rtol=0)
    _, _, after = made.encode(seen, first, hidden)
    torch.testing.assert_close(after, made.memory_of(states[-1]).encoder, atol=1e-9, rtol=0)


def test_an_episode_is_cut_from_the_one_before() -> None:
    made = net()
    seen, first, hidden, _ = inputs(made)
    actions = torch.zeros(STEPS, COPIES, AGENTS, dtype=torch.int64)
    before = made.evaluate(seen, actions, first, hidden)[2]
    other = seen.clone()
    other[1] *= -1.0
    after = made.evaluate(other, actions, first, hidden)[2]
    changed = (before - after).abs().amax(-1) > 1e-9
    assert changed[:, 0].tolist() == [False] + [True] * 6
    assert changed[:, 1].tolist() == [False, True, True] + [False] * 4
    assert changed[:, 2].tolist() == [False] + [True] * 3 + [False] * 3
    zeros = made.evaluate(seen, actions, first, torch.zeros_like(hidden))[2]
    is_same = torch.isclose(before, zeros).all(-1)
    assert is_same[:, 1].all() and not is_same[0, 0]


def test_later_agents_see_the_actions_before_them_and_the_past_alone() -> None:
    made = net()
    seen, first, hidden, _ = inputs(made)
    actions = torch.zeros(STEPS, COPIES, AGENTS, dtype=torch.int64)
    other = actions.clone()
    other[2, 0, 0] = 1
    before, after = (made.evaluate(seen, a, first, hidden)[0] for a in (actions, other))
    changed = (before - after).abs().amax(-1) > 1e-12
    assert changed[:, 0].tolist() == [[False] * 2] * 2 + [[True, True]] * 5  # its own by choice
    assert not changed[:, 1:].any()


def test_the_query_and_the_residual_of_the_decoder_are_the_encoders_features() -> None:
    made = net()
    seen, first, hidden, _ = inputs(made)
    actions = torch.zeros(STEPS, COPIES, AGENTS, dtype=torch.int64)
    block = made.decoder[-1]
    features = torch.randn(COPIES, STEPS * AGENTS, 8, dtype=torch.float64)
    x = torch.randn_like(features)
    decay = Decay.of(first, AGENTS, block.other.kappa, is_ordered=True)
    start = torch.zeros(COPIES, 2, 4, 4, dtype=torch.float64)
    asked: list[torch.Tensor] = []
    gating: list[torch.Tensor] = []
    keys: list[torch.Tensor] = []
    for layer, seen_by in (("query", asked), ("gate", gating), ("key", keys)):
        getattr(block.other, layer).register_forward_pre_hook(
            lambda _, given, seen_by=seen_by: seen_by.append(given[0])
        )
    block.chunk(x, features, decay, start, start)
    block.step(x[:, :1], features[:, :1], start, start)
    assert torch.equal(asked[0], features) and torch.equal(asked[1], features[:, :1])
    assert all(map(torch.equal, gating, keys)) and len(gating) == 2  # the gate is of the keys
    with torch.no_grad():
        block.other.mix.weight.zero_()  # then all that is left of the actions is a residual
    other = actions.clone()
    other[:, :, 0] = 1
    before, after = (made.evaluate(seen, a, first, hidden) for a in (actions, other))
    torch.testing.assert_close(before[1], after[1], atol=1e-12, rtol=0)  # entropies
    assert before[1].std() > 0.01


def test_the_decay_by_hand() -> None:
    first = torch.tensor([[False], [True], [False]])
    kappa = torch.tensor([0.5])
    found = Decay.of(first, 2, kappa, is_ordered=True)
    assert found.within[0, 0].tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 0.5, 0.5, 1, 0],
        [0, 0, 0.5, 0.5, 1, 1],
    ]
    assert found.before[0, 0, :, 0].tolist() == [0.5, 0.5, 0, 0, 0, 0]
    assert found.after[0, 0, :, 0].tolist() == [0, 0, 0.5, 0.5, 1, 1]
    assert found.whole.item() == 0
    both = Decay.of(first, 2, kappa, is_ordered=False)
    assert both.within[0, 0, 4].tolist() == [0, 0, 0.5, 0.5, 1, 1]


def test_heads_decay_at_scales_of_their_own() -> None:
    made = net()
    kappa = made.encoder[0].retention.kappa
    torch.testing.assert_close(kappa, torch.tensor([0.8 * 31 / 32, 0.8 * 511 / 512]).double())


@pytest.mark.parametrize("is_ordered", [False, True])
def test_retention_by_hand(is_ordered: bool) -> None:
    """Token by token and head by head: decays, the state before, GroupNorm, the swish gate."""
    made = net().encoder[0].retention
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        made.norm.weight.normal_(generator=generator)
        made.norm.bias.normal_(generator=generator)
    query, key, value = torch.randn(3, 1, 6, 8, dtype=torch.float64, generator=generator)
    state = torch.randn(1, 2, 4, 4, dtype=torch.float64, generator=generator)
    first = torch.tensor([[False], [False], [True]])
    found, _ = made.chunk(query, key, value, Decay.of(first, 2, made.kappa, is_ordered), state)
    q, k, v = made.query(query)[0], made.key(key)[0], made.value(value)[0]
    for i in range(6):
        normed = []
        for h in range(2):
            own, kappa = slice(4 * h, 4 * h + 4), made.kappa[h]
            y = torch.zeros(4, dtype=torch.float64)
            for j in range(6):
                gap = i // 2 - j // 2
                is_cut = i >= 4 and j < 4  # the third step begins an episode
                if not is_cut and (gap > 0 or (gap == 0 and (j <= i or not is_ordered))):
                    y = y + kappa**gap * (q[i, own] @ k[j, own]) * v[j, own]
            if i < 4:
                y = y + kappa ** (i // 2 + 1) * (q[i, own] @ state[0, h])
            y = (y - y.mean()) / (y.var(unbiased=False) + 1e-5).sqrt()
            normed.append(y * made.norm.weight[own] + made.norm.bias[own])
        gate = made.gate(key)[0, i]
        wanted = made.mix(gate * gate.sigmoid() * torch.cat(normed))
        torch.testing.assert_close(found[0, i], wanted, atol=1e-12, rtol=0)


def test_a_block_by_hand_and_agents_are_told_apart() -> None:
    made = net()
    seen, first, hidden, _ = inputs(made)
    alike = seen[:, :, :1].expand(-1, -1, AGENTS, -1)
    _, values, _ = made.encode(alike, first, hidden)
    assert not torch.isclose(values[..., 0], values[..., 1]).any()
    block, x = made.encoder[0], torch.randn(1, 2, 8, dtype=torch.float64)
    start = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    decay = Decay.of(torch.ones(1, 1, dtype=torch.bool), AGENTS, block.retention.kappa, False)

    def scaled(of: torch.Tensor, norm: torch.nn.RMSNorm) -> torch.Tensor:
        root = (of.square().mean(-1, keepdim=True) + torch.finfo(of.dtype).eps).sqrt()
        return of / root * norm.weight

    h = scaled(x + block.retention.chunk(x, x, x, decay, start)[0], block.norms[0])
    gate = block.inner.gate(h)
    inner = block.inner.narrow(gate * gate.sigmoid() * block.inner.widen(h))
    found, _ = block.chunk(x, decay, start)
    torch.testing.assert_close(found, scaled(h + inner, block.norms[1]), atol=1e-9, rtol=0)
