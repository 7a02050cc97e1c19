"""The retrieval agents' networks and loss against a loop over samples, and by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.retrieval import Rules, convolved, per_sample_loss
from pkubench.agents.families.retrieval.losses import corrected_value_loss, memory_weight
from pkubench.agents.families.retrieval.missions import embedded
from pkubench.agents.families.retrieval.networks import Groups, TaskLayer
from pkubench.agents.families.retrieval.objective import Objective
from pkubench.agents.families.retrieval.presets import PRESETS
from pkubench.agents.families.retrieval.reading import Read, attend, nearest
from pkubench.agents.families.retrieval.retrievers import AttentionRetriever, KernelRetriever
from pkubench.agents.rl.value_loss import value_loss
from tests.agents.retrieval_parts import batched, network, samples

ATTENTION = AttentionRetriever()
EVERYWHERE: Any = None


def parameters(*modules: torch.nn.Module | None) -> int:
    return sum(p.numel() for module in modules if module is not None for p in module.parameters())


def test_networks_have_the_papers_numbers_of_parameters() -> None:
    net = network()
    counts = [
        parameters(part)
        for part in (net.policy.encoder, net.policy.actor, net.critic, net.hypernetwork, net)
    ]
    assert counts == [10_544, 4_615, 4_225, 571_872, 591_256]


@pytest.mark.parametrize("agent", ["retrieval-hypernetwork", "retrieval-hypernetwork-paper"])
def test_the_batched_loss_and_its_gradients_are_those_of_a_loop_over_samples(agent: str) -> None:
    config = PRESETS[agent]
    read = config.retrieval
    assert isinstance(read, AttentionRetriever)
    net, given = network(normalise=config.normalise), samples()
    scale = 1 / 8 if read.scale == "sqrt" else 1.0
    wanted = per_sample_loss(net, given, Rules(config.normalise, scale, read.gradient))
    batch, contents = batched(net, given)
    loss, _ = Objective(config, net)(batch, torch.arange(20), contents, EVERYWHERE)
    assert abs(float((loss - wanted).detach())) < 1e-10
    weights = list(net.parameters())
    for a, b in zip(*(torch.autograd.grad(x, weights) for x in (loss, wanted)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
        assert float(a.abs().max()) > 0


def test_gradients_reach_the_retrieval_as_its_setting_says() -> None:
    net, given = network(), samples()
    batch, contents = batched(net, given)
    head: Any = net.hypernetwork
    role_bit = []
    for gradient in ("all", "weights", "none"):
        read = replace(ATTENTION, gradient=gradient)
        loss, _ = Objective(replace(PRESETS["retrieval-hypernetwork"], retrieval=read), net)(
            batch, torch.arange(20), contents, EVERYWHERE
        )
        found = torch.autograd.grad(loss, head.role[0].weight)[0]
        role_bit.append(found[:, -1])  # the weights of the bit that is 1 for retrieval alone
    assert role_bit[0].abs().sum() > 0 and role_bit[1].abs().sum() > 0
    assert not torch.allclose(role_bit[0], role_bit[1])
    assert role_bit[2].abs().sum() == 0


def test_the_encoder_is_three_convolutions_with_a_pooling_whatever_the_scale() -> None:
    given = samples()
    for normalise in (True, False):
        net = network(normalise=normalise)
        wanted = convolved(net, given.images, normalise)
        torch.testing.assert_close(net.policy.encoder(given.images), wanted)
        assert float(wanted.detach().abs().max()) > 0


def test_a_task_layer_is_one_product_a_task_in_any_order() -> None:
    rng = np.random.default_rng(0)
    weight, bias, x = (
        torch.from_numpy(rng.standard_normal(s)) for s in ((3, 4, 2), (3, 2), (6, 4))
    )
    for tasks in ([0, 0, 0, 0, 2, 2], [2, 0, 2, 1, 0, 2], [1] * 6):
        found = TaskLayer(weight, bias)(x, Groups.of(np.array(tasks), 3))
        wanted = torch.stack([x[b] @ weight[k] + bias[k] for b, k in enumerate(tasks)])
        torch.testing.assert_close(found, wanted)
    empty = np.zeros(0, np.int64)
    assert TaskLayer(weight, bias)(x[:0], Groups.of(empty, 3)).shape == (0, 2)


def test_heads_and_one_hot_tell_tasks_apart_and_a_generated_layer_too() -> None:
    features = torch.ones(7, 64).double()
    tasks = torch.arange(7)
    groups = Groups.of(tasks.numpy(), 7)
    for kind in ("hypernetwork", "one-hot", "heads"):
        net = network(kind)
        logits, values = net.evaluate(features, tasks, groups, net.generate().decision)
        assert len({tuple(row) for row in logits.round(decimals=9).tolist()}) == 7
        assert len(set(values.round(decimals=9).tolist())) == 7


def test_a_single_identical_slot_is_the_target() -> None:
    query = torch.tensor([[0.3, -1.0]])
    read = attend(query, query, torch.tensor([0.7]), ATTENTION)
    assert (float(read.value), float(read.confidence)) == pytest.approx((0.7, 1.0))
    value, old, target = (torch.tensor([x]) for x in (2.0, 1.9, 0.0))
    loss = corrected_value_loss(value, old, target, read, clip=0.2, floor=0.1)
    assert float(loss) == pytest.approx(max((2.0 - 0.7) ** 2, 2.0**2))
    loss = corrected_value_loss(value, old, old, read, clip=0.2, floor=0.1)
    assert float(loss) == pytest.approx((2.0 - 0.7) ** 2)  # (1 - 1) 0.1^2 + 1 1.3^2


def test_attention_by_hand() -> None:
    queries, keys = torch.tensor([[1.0, 0, 0, 0]]), torch.eye(4)[:2] * 2.0
    values = torch.tensor([1.0, -1.0])
    for scale, logit in (("sqrt", 1.0), ("none", 2.0)):
        read = attend(queries, keys, values, AttentionRetriever(scale=scale))
        first = np.exp(logit) / (np.exp(logit) + 1)
        assert float(read.confidence) == pytest.approx(first)
        assert float(read.value) == pytest.approx(2 * first - 1)


def test_a_uniform_attention_has_the_least_weight() -> None:
    read = attend(torch.zeros(3, 4), torch.ones(50, 4), torch.arange(50.0), ATTENTION)
    torch.testing.assert_close(read.confidence, torch.full((3,), 0.02))
    torch.testing.assert_close(memory_weight(read, 0.1), torch.full((3,), 0.1))
    torch.testing.assert_close(read.value, torch.full((3,), 24.5))


def test_a_weight_below_the_floor_has_no_gradient() -> None:
    confidence = torch.tensor([0.05, 0.5], requires_grad=True)
    read = Read(torch.zeros(2), confidence, torch.ones(2, dtype=torch.bool))
    one = torch.ones(2)
    loss = corrected_value_loss(one, one, one, read, clip=0.2, floor=0.1)
    assert float(loss.detach()) == pytest.approx((0.1 + 0.5) / 2)
    loss.backward()  # type: ignore[no-untyped-call]
    assert confidence.grad is not None and confidence.grad.tolist() == [0.0, 0.5]


def test_at_its_floor_the_memory_keeps_a_tenth_of_the_weight_and_loses_its_gradient() -> None:
    # V = 0.1 lies nearer to R = 0 than to V_mem = 1, so that l1 counts
    value, confidence = torch.tensor([0.1] * 4).requires_grad_(), torch.tensor([0.02] * 4)
    confidence.requires_grad_()
    found = torch.tensor([True, True, False, False])
    zero = torch.zeros(4)
    slopes = []
    for floor in (0.1, 0.0):
        read = Read(zero + 1.0, confidence, found)
        loss = corrected_value_loss(value, value.detach(), zero, read, clip=0.2, floor=floor)
        slope, of_confidence = torch.autograd.grad(4 * loss, [value, confidence])
        slopes.append(slope.tolist())
        # d l1 / d lambda = (V - V_mem)^2 - (V - R)^2, and none below the floor or without a slot
        wanted = 0.0 if floor else 0.9**2 - 0.1**2
        assert of_confidence.tolist() == pytest.approx([wanted, wanted, 0.0, 0.0])
    plain = 2 * 0.1
    at_floor, vanishing = 0.9 * plain + 0.1 * 2 * (0.1 - 1.0), 0.98 * plain + 0.02 * 2 * (0.1 - 1.0)
    assert slopes[0] == pytest.approx([at_floor, at_floor, plain, plain])
    assert slopes[1] == pytest.approx([vanishing, vanishing, plain, plain])


@pytest.mark.parametrize("confidence", [0.0, 0.02, 0.3, 0.5, 0.8, 1.0])
def test_the_critic_goes_towards_the_memory_and_never_beyond_the_middle(confidence: float) -> None:
    # The larger of (1 - l) (V - R)^2 + l (V - M)^2 and (V - R)^2 is least at R + l (M - R); beyond
    # the middle the second one is the larger, and rises.
    returns, remembered = 0.2, 1.0
    grid = torch.linspace(-0.5, 1.5, 2001)
    read = Read(torch.tensor([remembered]), torch.tensor([confidence]), torch.tensor([True]))
    target = torch.tensor([returns])
    losses = [
        float(corrected_value_loss(v[None], v[None], target, read, clip=0.2, floor=0.1))
        for v in grid
    ]
    wanted = returns + min(max(confidence, 0.1), 0.5) * (remembered - returns)
    assert float(grid[int(np.argmin(losses))]) == pytest.approx(wanted, abs=2e-3)


def test_without_confidence_the_loss_is_ppos_clipped_value_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    value, old, target, remembered = torch.randn(4, 40, generator=generator)
    wanted = value_loss(value, old, target, clip=0.2, huber_delta=None)
    read = Read(remembered, torch.zeros(40), torch.ones(40, dtype=torch.bool))
    loss = corrected_value_loss(value, old, target, read, clip=0.2, floor=0.0)
    torch.testing.assert_close(loss, wanted)
    nothing = Read(remembered, torch.zeros(40), torch.zeros(40, dtype=torch.bool))
    loss = corrected_value_loss(value, old, target, nothing, clip=0.2, floor=0.1)
    torch.testing.assert_close(loss, wanted)  # no floor where nothing was read
    assert corrected_value_loss(value, old, target, None, clip=0.2, floor=0.1) == wanted


def test_the_order_of_slots_does_not_matter() -> None:
    net, given = network(), samples()
    order = torch.tensor([4, 0, 8, 2, 6, 1, 7, 3, 5])
    moved = given._replace(
        slot_images=given.slot_images[order],
        slot_values=given.slot_values[order],
        slot_tasks=given.slot_tasks[order],
    )
    objective = Objective(PRESETS["retrieval-hypernetwork"], net)
    (loss, parts), (other, found) = (
        objective(batch, torch.arange(20), contents, EVERYWHERE)
        for batch, contents in (batched(net, given), batched(net, moved))
    )
    torch.testing.assert_close(loss, other)
    torch.testing.assert_close(parts["memory_error"], found["memory_error"])


def test_random_keys_are_read_whatever_the_stored_states_are() -> None:
    net, given = network(), samples()
    batch, contents = batched(net, given)
    keys = torch.from_numpy(np.random.default_rng(2).standard_normal((9, 64)))
    other = contents._replace(keys=keys, patches=contents.patches.flip(0))
    for kind, is_same in (("states", False), ("random", True)):
        read = replace(ATTENTION, keys=kind)
        objective = Objective(replace(PRESETS["retrieval-hypernetwork"], retrieval=read), net)
        errors = [
            float(objective(batch, torch.arange(20), of, EVERYWHERE)[1]["memory_error"])
            for of in (contents._replace(keys=keys), other, contents)
        ]
        assert (errors[0] == errors[1]) == is_same and (errors[0] == errors[2]) != is_same


def test_slots_of_the_same_episode_are_left_out_and_nothing_is_read_where_all_are() -> None:
    keys, values = torch.eye(3) * 5.0, torch.tensor([1.0, 2.0, 3.0])
    queries = torch.eye(3)[:2].requires_grad_()
    allowed = torch.tensor([[False, True, True], [False, False, False]])
    read = attend(queries, keys, values, AttentionRetriever(gradient="all"), allowed)
    assert read.value.tolist() == pytest.approx([2.5, 0.0])
    assert read.confidence.tolist() == pytest.approx([0.5, 0.0])
    assert read.found.tolist() == [True, False]
    (read.value.sum() + read.confidence.sum()).backward()  # type: ignore[no-untyped-call]
    assert queries.grad is not None and torch.isfinite(queries.grad).all()


def test_the_learner_excludes_the_episode_of_each_sample() -> None:
    net, given = network(), samples(batch=2, slots=3)
    read = replace(ATTENTION, exclude_episode=True)
    objective = Objective(replace(PRESETS["retrieval-hypernetwork"], retrieval=read), net)
    batch, contents = batched(net, given)
    batch = batch._replace(episodes=torch.tensor([4, 5]))
    all_of_4 = contents._replace(episodes=torch.tensor([4, 4, 4]))
    parts = objective(batch, torch.tensor([0]), all_of_4, EVERYWHERE)[1]
    assert float(parts["memory_weight"]) == 0
    one_of_5 = contents._replace(episodes=torch.tensor([4, 5, 4]))
    parts = objective(batch, torch.tensor([0]), one_of_5, EVERYWHERE)[1]
    error = (given.slot_values[1] - given.returns[0]).detach() ** 2
    assert float(parts["memory_error"].detach()) == pytest.approx(float(error))
    assert float(parts["memory_weight"]) == pytest.approx(1.0)


def test_the_kernel_averages_the_nearest_allowed_slots() -> None:
    settings = KernelRetriever(neighbours=2, delta=0.5)
    queries, keys = torch.zeros(1, 1), torch.tensor([[0.0], [1.0], [2.0], [0.1]])
    values = torch.tensor([1.0, 4.0, 9.0, 100.0])
    allowed = torch.tensor([[True, True, True, False]])
    read = nearest(queries, keys, values, settings, allowed)
    weights = np.array([1 / 0.5, 1 / 1.5])
    assert float(read.value) == pytest.approx((weights @ [1.0, 4.0]) / weights.sum())
    assert float(read.confidence) == pytest.approx(weights[0] / weights.sum())
    none = nearest(queries, keys, values, settings, torch.zeros(1, 4, dtype=torch.bool))
    assert (float(none.value), float(none.confidence), bool(none.found)) == (0, 0, False)


def test_missions_are_bags_of_words_of_length_2() -> None:
    same, other, empty = (
        embedded(["open the red door", "red door the open", ""]),
        embedded(["x"]),
        2,
    )
    torch.testing.assert_close(torch.from_numpy(same[0]), torch.from_numpy(same[1]))
    assert np.linalg.norm(same[:2], axis=1) == pytest.approx(2.0)
    assert np.linalg.norm(other) == pytest.approx(2.0) and not same[empty].any()
    assert abs(same[0] @ other[0]) < 1.0 and same.shape == (3, 512)
    partly = embedded(["open the blue door"])
    assert same[0] @ partly[0] / 4 == pytest.approx(0.75, abs=0.15)  # three of four words
