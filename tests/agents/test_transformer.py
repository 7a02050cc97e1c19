"""The causal transformer and the Decision Transformer's network, in all their forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.nn.attention import causal_mask
from pkubench.agents.nn.dropout import Dropout
from pkubench.agents.nn.precision import check_precision
from pkubench.agents.nn.transformer import Transformer, TransformerSpec
from pkubench.agents.rl.offline.models.decision import DecisionSpec, DecisionTransformer, Steps
from pkubench.errors import ConfigError

SPEC = TransformerSpec(width=16, layers=3, heads=2, activation="gelu", dropout=0.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def transformer() -> Transformer:
    """One with weights large enough that attention is far from uniform."""
    made = Transformer(SPEC, generator()).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.5, generator=generator(parameter.numel()))
    return made


def tokens(batch: int = 2, length: int = 9) -> torch.Tensor:
    return torch.randn(batch, length, 16, dtype=torch.float64, generator=generator(1))


def decision(*, is_discrete: bool = False, times: int = 12) -> DecisionTransformer:
    spec = DecisionSpec(
        transformer=SPEC, states=3, actions=2, is_discrete=is_discrete, outputs=2, times=times
    )
    made = DecisionTransformer(spec, generator()).double().eval()
    with torch.no_grad():
        for parameter in made.transformer.parameters():
            parameter.normal_(std=0.4, generator=generator(parameter.numel()))
    return made


def steps(batch: int = 2, length: int = 6, *, is_discrete: bool = False) -> Steps:
    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator(sum(shape)))

    actions = normal(batch, length, 2)
    return Steps(
        normal(batch, length),
        normal(batch, length, 3),
        (actions[..., 0] > 0).long() if is_discrete else actions,
        torch.arange(length).expand(batch, length),
    )


def changed(of: Steps, name: str, at: int) -> Steps:
    """The same steps but for one entry."""
    part = getattr(of, name).clone()
    part[:, at] = 1 - part[:, at]
    return of._replace(**{name: part})


@pytest.mark.parametrize("at", [0, 4, 8])
def test_no_token_sees_a_later_one(at: int) -> None:
    made, x = transformer(), tokens()
    before = made(x)
    x[:, at] *= -1.0
    after = made(x)
    assert torch.equal(before[:, :at], after[:, :at])
    assert not torch.isclose(before[:, at:], after[:, at:]).all(-1).any()


@pytest.mark.parametrize("wanted", [slice(1, None, 3), slice(8, None), slice(2, 5)])
def test_some_positions_are_those_of_the_whole(wanted: slice) -> None:
    made, x = transformer(), tokens()
    torch.testing.assert_close(made(x, wanted=wanted), made(x)[:, wanted], atol=1e-12, rtol=0)


@pytest.mark.parametrize("parts", [(9,), (1,) * 9, (2, 3, 3, 1), (5, 4)])
def test_cached_tokens_give_what_the_whole_gives(parts: tuple[int, ...]) -> None:
    made, x = transformer(), tokens()
    cache = made.cache()
    found = torch.cat([made.extend(part, cache) for part in x.split(parts, 1)], 1)
    torch.testing.assert_close(found, made(x), atol=1e-12, rtol=0)
    assert cache.length == 9


def test_only_the_last_new_token_may_be_wanted_of_a_cache() -> None:
    made, x = transformer(), tokens()
    cache = made.cache()
    made.extend(x[:, :4], cache, wanted=slice(3, None))
    last = made.extend(x[:, 4:], cache, wanted=slice(4, None))
    torch.testing.assert_close(last, made(x)[:, -1:], atol=1e-12, rtol=0)


def test_selected_sequences_of_a_cache_continue_as_their_own() -> None:
    made, x = transformer(), tokens(3)
    cache, rows = made.cache(), torch.tensor([2, 0, 2, 1])
    made.extend(x[:, :5], cache)
    cache.select(rows)
    found = made.extend(x[rows, 5:], cache)
    torch.testing.assert_close(found, made(x)[rows, 5:], atol=1e-12, rtol=0)


def test_hidden_positions_are_attended_to_by_none_not_even_themselves() -> None:
    made, x = transformer(), tokens()
    hidden = slice(3, None, 4)
    before = made(x, hidden=hidden)
    x[:, [3, 7]] *= -1.0
    after = made(x, hidden=hidden)
    shown = [0, 1, 2, 4, 5, 6, 8]
    assert torch.equal(before[:, shown], after[:, shown])
    attention = made.blocks[0].attention
    parts = attention.attend(x).unflatten(-1, (3, 2, 8)).transpose(1, 3)
    query, key, value = parts.unbind(2)
    weights = (query[:, :, 3:4] @ key[:, :, :3].mT / 8**0.5).softmax(-1)
    by_hand = attention.mix((weights @ value[:, :, :3]).transpose(1, 2).flatten(2))
    found = attention.causal(x, hidden=hidden)[:, 3:4]
    torch.testing.assert_close(found, by_hand, atol=1e-12, rtol=0)


@pytest.mark.parametrize("cuts", [(5, 4), (3, 1, 2, 1, 2), (1,) * 9])
def test_a_cache_leaves_hidden_tokens_out(cuts: tuple[int, ...]) -> None:
    made, x = transformer(), tokens()
    cache, found, at = made.cache(), [], 0
    for part in x.split(cuts, 1):
        length = part.shape[1]
        own = slice((3 - at) % 4, None, 4)  # positions 3 and 7 of the whole
        found.append(made.extend(part, cache, hidden=own))
        at += length
    whole = made(x, hidden=slice(3, None, 4))
    torch.testing.assert_close(torch.cat(found, 1), whole, atol=1e-12, rtol=0)
    assert cache.length == 7


def test_the_mask_of_new_tokens_by_hand() -> None:
    found = causal_mask(range(0, 3, 2), 3, 2).int().tolist()
    assert found == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    found = causal_mask(range(3), 3, 1, range(1, 2)).int().tolist()
    assert found == [[1, 1, 0], [1, 1, 0], [1, 1, 1]]


@pytest.mark.parametrize("is_discrete", [False, True])
def test_an_action_ignores_its_own_slot_and_the_future(is_discrete: bool) -> None:
    made, of = decision(is_discrete=is_discrete), steps(is_discrete=is_discrete)
    before = made(of)
    for name, first in (("returns", 2), ("states", 2), ("actions", 3)):
        after = made(changed(of, name, 2))
        assert torch.equal(before[:, :first], after[:, :first]), name
        assert not torch.isclose(before[:, first:], after[:, first:]).all(-1).any(), name


def test_padding_on_the_right_changes_nothing() -> None:
    made, of = decision(), steps(length=6)
    short = Steps(*(part[:, :4] for part in of))
    torch.testing.assert_close(made(of)[:, :4], made(short), atol=1e-12, rtol=0)


def test_the_last_step_alone_is_that_of_the_window() -> None:
    made, of = decision(), steps()
    torch.testing.assert_close(made(of, is_last_only=True), made(of)[:, -1:], atol=1e-12, rtol=0)


@pytest.mark.parametrize("is_discrete", [False, True])
def test_the_cache_is_exact_while_the_window_begins_with_the_episode(is_discrete: bool) -> None:
    made, of = decision(is_discrete=is_discrete), steps(is_discrete=is_discrete)
    cache = made.transformer.cache()
    for t in range(6):
        found = made.extend(Steps(*(part[:, max(t - 1, 0) : t + 1] for part in of)), cache)
        window = made(Steps(*(part[:, : t + 1] for part in of)), is_last_only=True)
        torch.testing.assert_close(found, window, atol=1e-12, rtol=0)
    # beyond the window, cached keys still depend on the steps dropped from it
    window = made(Steps(*(part[:, 3:] for part in of)), is_last_only=True)
    assert not torch.isclose(found, window, atol=1e-3).all()


def test_late_steps_share_the_last_embedding_of_time() -> None:
    made, of = decision(times=4), steps()
    late = of._replace(times=of.times.clamp(max=3))
    assert torch.equal(made(of), made(late))
    assert not torch.equal(made(of), made(of._replace(times=of.times * 0)))
    assert decision(times=0).embed_time is None


def test_initial_weights_come_from_the_generator_alone() -> None:
    torch.manual_seed(0)
    first = DecisionTransformer(decision().spec, generator(5)).state_dict()
    torch.manual_seed(1)
    second = DecisionTransformer(decision().spec, generator(5)).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    block = DecisionTransformer(decision().spec, generator(5)).transformer.blocks[0]
    assert 0.015 < block.widen.weight.std() < 0.025
    assert not block.widen.bias.any()


@pytest.mark.parametrize(
    "wrong", [{"heads": 3}, {"layers": 0}, {"activation": "swish"}, {"dropout": 1.5}]
)
def test_a_wrong_shape_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        TransformerSpec(**{**SPEC.as_config(), **wrong})


def test_bfloat16_is_refused_where_the_processor_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for has in (False, True):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        if has:
            check_precision("bfloat16", "cpu")
        else:
            with pytest.raises(ConfigError, match="precision=float32"):
                check_precision("bfloat16", "cpu")
    check_precision("float32", "cpu")


def test_it_equals_the_transformers_library_with_copied_weights() -> None:
    library = pytest.importorskip("transformers", reason="the library comes with the extra dev")
    spec = DecisionSpec(
        transformer=TransformerSpec(width=32, layers=3, heads=1, activation="relu", dropout=0.1),
        states=3,
        actions=2,
        is_discrete=False,
        outputs=2,
        times=50,
    )
    config = library.DecisionTransformerConfig(
        state_dim=3,
        act_dim=2,
        hidden_size=32,
        max_ep_len=50,
        n_layer=3,
        n_head=1,
        n_inner=128,
        activation_function="relu",
    )
    torch.manual_seed(0)
    theirs = library.DecisionTransformerModel(config).eval()
    ours = DecisionTransformer(spec, generator()).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.3)
    copy_weights(theirs, ours)
    of = Steps(*(p.float() if p.is_floating_point() else p for p in steps(4, 7)))
    lengths = torch.tensor([7, 1, 4, 6])
    with torch.no_grad():
        # theirs is padded on the left and masks the padding; ours is padded on the right
        left = Steps(*(torch.zeros_like(part) for part in of))
        mask = torch.zeros(4, 7, dtype=torch.long)
        for row, length in enumerate(lengths.tolist()):
            mask[row, 7 - length :] = 1
            for part, source in zip(left, of, strict=True):
                part[row, 7 - length :] = source[row, :length]
        wanted = theirs(
            states=left.states,
            actions=left.actions,
            returns_to_go=left.returns.unsqueeze(-1),
            timesteps=left.times,
            attention_mask=mask,
        ).action_preds
        found = torch.tanh(ours(of))
    for row, length in enumerate(lengths.tolist()):
        difference = (found[row, :length] - wanted[row, 7 - length :]).abs().max()
        assert difference < 1e-5
    assert np.ptp(found.numpy()) > 0.5


def copy_weights(theirs: Any, ours: DecisionTransformer) -> None:
    """Copy the library's weights; its constant position 0 is added to the LayerNorm's shift."""
    state = dict(theirs.state_dict())
    state["embed_ln.bias"] = state["embed_ln.bias"] + state["encoder.wpe.weight"][0]
    names = {
        "embed_return": "embed_return",
        "embed_state": "embed_state",
        "embed_action": "embed_action",
        "embed_time": "embed_timestep",
        "norm": "embed_ln",
        "transformer.norm": "encoder.ln_f",
        "head": "predict_action.0",
    }
    for k in range(len(ours.transformer.blocks)):
        here, there = f"transformer.blocks.{k}", f"encoder.h.{k}"
        names |= {f"{here}.norms.{i}": f"{there}.ln_{i + 1}" for i in range(2)}
        names |= {f"{here}.attention.attend": f"{there}.attn.c_attn"}
        names |= {f"{here}.attention.mix": f"{there}.attn.c_proj"}
        names |= {f"{here}.widen": f"{there}.mlp.c_fc", f"{here}.narrow": f"{there}.mlp.c_proj"}
    copied = {}
    for key, value in ours.state_dict().items():
        name, _, kind = key.rpartition(".")
        found = state[f"{names[name]}.{kind}"]
        # the library's Conv1D stores its weight transposed
        is_turned = "encoder.h" in names[name] and found.ndim == 2
        copied[key] = found.t() if is_turned else found
        assert copied[key].shape == value.shape, key
    ours.load_state_dict(copied)


def test_dropout_drops_at_its_rate_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    drop, x = Dropout(0.1), torch.ones(401, 251)  # not a multiple of four
    assert torch.equal(drop.eval()(x), x)
    found = drop.train()(x)
    share = float((found == 0).float().mean())
    assert share == pytest.approx(0.1, abs=5 * (0.1 * 0.9 / x.numel()) ** 0.5)
    assert found.unique().tolist() == pytest.approx([0.0, 1 / 0.9], rel=1e-4)
    assert not torch.equal(found, drop(x))
    assert not Dropout(1.0).train()(x).any() and torch.equal(Dropout(0.0).train()(x), x)
    source = torch.ones(5, 5, requires_grad=True)
    out = drop(source)
    out.sum().backward()
    torch.testing.assert_close(source.grad, out.detach())


@pytest.mark.parametrize("hidden", [None, slice(3, None, 4)])
@pytest.mark.parametrize("wanted", [None, slice(1, None, 3)])
def test_attention_that_drops_nothing_is_the_fused_one(
    hidden: slice | None, wanted: slice | None
) -> None:
    made, x = transformer(), tokens()
    fused = made(x, hidden=hidden, wanted=wanted)
    made.train()
    for block in made.blocks:
        block.attention.dropout = 0.5  # takes the path with dropout, whose module drops nothing
    torch.testing.assert_close(made(x, hidden=hidden, wanted=wanted), fused, atol=1e-12, rtol=0)
