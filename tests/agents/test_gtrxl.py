"""GTrXL's memory: whole rollouts equal steps, episodes are apart, and the formula of the gate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pkubench.agents.components import with_settings
from pkubench.agents.nn.encoders.mlp import MLPEncoder
from pkubench.agents.nn.gtrxl import GatedTransformer
from pkubench.agents.nn.memory.gtrxl import GTrXLMemory
from pkubench.agents.nn.modules import EncodedNet, EncodedSpec
from pkubench.agents.registry import preset
from pkubench.errors import ConfigError

MEMORY = GTrXLMemory(width=8, layers=2, heads=2, length=3, gate_bias=0.0)


def module() -> GatedTransformer:
    made = MEMORY.build(4, torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for k, parameter in enumerate(made.parameters()):
            parameter.normal_(std=0.6, generator=torch.Generator().manual_seed(k))
    return made


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


def firsts(*begin: tuple[int, int]) -> torch.Tensor:
    first = torch.zeros(9, 3, dtype=torch.bool)
    for at in begin:
        first[at] = True
    return first


FIRST = firsts((0, 0), (0, 2), (4, 1), (6, 2), (7, 2))


def test_a_rollout_is_its_steps_one_after_another() -> None:
    made, x, hidden = module(), normal(9, 3, 4), torch.zeros(3, 51, dtype=torch.float64)
    assert made.units == 3 * (2 * 8 + 1) == 51
    _, before = made(normal(5, 3, 4), torch.zeros(5, 3, dtype=torch.bool), hidden)
    hidden = before[-1]
    whole, states = made(x, FIRST, hidden)
    for t in range(9):
        hidden = hidden * ~FIRST[t, :, None]
        out, after = made(x[t : t + 1], FIRST[t : t + 1], hidden)
        torch.testing.assert_close(out[0], whole[t], atol=1e-12, rtol=0)
        hidden = after[0]
        torch.testing.assert_close(hidden, states[t], atol=1e-12, rtol=0)
    mask = torch.zeros(9, 3, dtype=torch.bool)
    mask[[2, 8], [1, 0]] = True
    torch.testing.assert_close(states[mask], torch.stack([states[2][1], states[8][0]]))


def test_an_output_depends_on_the_last_steps_of_its_episode_alone() -> None:
    made, x = module(), normal(9, 3, 4)
    start = torch.zeros(3, 51, dtype=torch.float64)
    before, _ = made(x, FIRST, start)
    for at, copy in ((1, 0), (3, 1), (5, 2)):
        other = x.clone()
        other[at, copy] *= -1.0
        after, _ = made(other, FIRST, start)
        is_changed = ~torch.isclose(before, after, atol=1e-12).all(-1)
        # two blocks look back three steps each
        ends = {0: 9, 1: 4, 2: 6}[copy]
        wanted = torch.zeros(9, 3, dtype=torch.bool)
        wanted[at : min(at + 7, ends), copy] = True
        assert torch.equal(is_changed, wanted)


def test_no_gradient_flows_into_the_past() -> None:
    made, x = module(), normal(9, 3, 4).requires_grad_()
    out, _ = made(x, torch.zeros(9, 3, dtype=torch.bool), torch.zeros(3, 51, dtype=torch.float64))
    out[5].sum().backward()
    assert x.grad is not None
    assert x.grad[5].any() and not x.grad[:5].any() and not x.grad[6:].any()


def test_a_step_without_a_past_attends_to_nothing() -> None:
    made, x = module(), normal(1, 3, 4)
    first = torch.ones(1, 3, dtype=torch.bool)
    clean, _ = made(x, first, torch.zeros(3, 51, dtype=torch.float64))
    dirty = torch.cat([normal(3, 48), torch.ones(3, 3, dtype=torch.float64)], 1)
    torch.testing.assert_close(made(x, first, dirty)[0], clean)
    late, _ = made(x, ~first, dirty)
    assert not torch.isclose(late, clean).all()
    with torch.no_grad():
        for block in made.blocks:
            block.value.weight.mul_(-2.0)
    # not to itself either
    torch.testing.assert_close(made(x, first, dirty)[0], clean)


def test_attention_by_hand_is_scaled_by_the_root_of_the_width() -> None:
    """Each step's scores, one by one; the divisor is sqrt(E), not sqrt(E / heads), as published."""
    made, x = module(), normal(6, 1, 4)
    first = torch.zeros(6, 1, dtype=torch.bool)
    first[0] = True
    found, _ = made(x, first, torch.zeros(1, 51, dtype=torch.float64))
    wanted = torch.relu(x[:, 0] @ made.embed.weight.T + made.embed.bias)
    with torch.no_grad():
        for block in made.blocks:
            outputs = []
            for t in range(6):
                now, past = wanted[t], wanted[max(t - 3, 0) : t]
                query = block.query.weight @ block.norms[0](now)
                seen = block.norms[1](past)
                heads = []
                for head in (slice(0, 4), slice(4, 8)):
                    keys = [block.key.weight[head] @ entry for entry in seen]
                    values = [block.value.weight[head] @ entry for entry in seen]
                    scores = [float(query[head] @ key) / 8**0.5 for key in keys]
                    total = sum(map(np.exp, scores))
                    shares = [np.exp(score) / total for score in scores]
                    parts = [share * value for share, value in zip(shares, values, strict=True)]
                    heads.append(sum(parts, torch.zeros(4, dtype=torch.float64)))
                attended = block.mix.weight @ torch.cat(heads) + block.mix.bias
                # a step without a past attends to nothing
                h = block.gates[0](now, attended if t else torch.zeros_like(attended))
                inner = block.inner.weight @ block.norms[2](h) + block.inner.bias
                outputs.append(block.gates[1](h, torch.relu(inner)))
            wanted = torch.stack(outputs)
    torch.testing.assert_close(found[:, 0].detach(), wanted, atol=1e-12, rtol=0)


def test_the_gate_by_hand() -> None:
    gate = (
        GTrXLMemory(width=1, layers=1, length=1, gate_bias=2.0)
        .build(1, torch.Generator())
        .blocks[0]
        .gates[0]
    )
    with torch.no_grad():
        gate.of_y.weight.copy_(torch.tensor([[0.5], [1.0], [2.0]]))  # r, z, h
        gate.of_x.weight.copy_(torch.tensor([[0.3], [0.4]]))
        gate.of_both.weight.fill_(0.7)
        x, y = 1.5, -0.8
        r = 1 / (1 + np.exp(-(0.5 * y + 0.3 * x)))
        z = 1 / (1 + np.exp(-(1.0 * y + 0.4 * x - 2.0)))
        new = np.tanh(2.0 * y + 0.7 * r * x)
        found = gate(torch.tensor([x]), torch.tensor([y]))
    assert float(found) == pytest.approx((1 - z) * x + z * new, rel=1e-6)


def test_initial_weights_come_from_the_generator_and_heads_must_divide() -> None:
    spec = EncodedSpec(MLPEncoder(hidden=(4,)), MEMORY, (2,), False, 2, 0.01)
    nets = [EncodedNet(spec, torch.Generator().manual_seed(3)).state_dict() for _ in range(2)]
    assert all(torch.equal(nets[0][key], nets[1][key]) for key in nets[0])
    assert EncodedSpec.from_config(spec.as_config()) == spec
    with pytest.raises(ConfigError, match="heads must divide"):
        GTrXLMemory(width=8, heads=3)


def test_the_presets_differ_in_their_memory_alone() -> None:
    gru, gtrxl = (preset(name).config() for name in ("gru-ppo", "gtrxl-ppo"))
    assert (gru.memory.name, gtrxl.memory.name) == ("gru", "gtrxl")
    assert with_settings(gru, {"memory": "gtrxl"}) == gtrxl
