"""The Trajectory Transformer: bins, tokens, its network, its update, and what plans begin with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from pkubench.agents.contract import Outcome
from pkubench.agents.families.sequence.loading import load
from pkubench.agents.nn.transformer import TransformerSpec
from pkubench.agents.rl.offline import acting_by_plans, make_learner
from pkubench.agents.rl.offline.acting_by_plans import TrajectoryPolicy
from pkubench.agents.rl.offline.data import prepare
from pkubench.agents.rl.offline.learners.trajectory import (
    TrajectoryLearner,
    groups_of,
    schedule,
    transitions_of,
)
from pkubench.agents.rl.offline.models.discretiser import Discretiser
from pkubench.agents.rl.offline.models.trajectory import TrajectorySpec, TrajectoryTransformer
from pkubench.agents.rl.offline.planning import CachedModel, PlanSettings
from pkubench.agents.saved.files import SavedAgent
from pkubench.errors import ConfigError
from pkubench.evaluation.run.episodes import run_block
from pkubench.tasks.scoring import Episode
from tests.agents.offline_toys import CHAIN, DIAL, ChainEnv, chain_data, context_of, dial_data

SMALL: dict[str, Any] = {"width": 16, "layers": 1, "heads": 2, "bins": 5, "window": 3, "context": 1}


def test_numbers_survive_bins_to_half_a_bin_and_bins_survive_numbers() -> None:
    rng = np.random.default_rng(0)
    data = np.stack([rng.normal(size=1000), rng.exponential(size=1000)], 1).astype(np.float32)
    bins = Discretiser.of(data, 50)
    found = bins.encode(data)
    for d in range(2):
        counts = np.bincount(found[:, d], minlength=50)
        assert counts.min() >= 19 and counts.max() <= 21  # quantiles: 1000 / 50
        edges = np.concatenate([[data[:, d].min()], bins.edges[d], [data[:, d].max()]])
        width = np.diff(edges)[found[:, d]]
        assert (abs(bins.decode(found)[:, d] - data[:, d]) <= width / 2 + 1e-6).all()
    every = np.stack([np.arange(50)] * 2, 1)
    np.testing.assert_array_equal(bins.encode(bins.decode(every)), every)
    assert bins.encode(np.array([[-99.0, 99.0]])).tolist() == [[0, 49]]


def test_thresholds_are_every_so_manyth_value_and_the_maximum() -> None:
    data = np.arange(10, dtype=np.float32)[:, None]
    bins = Discretiser.of(data, 4)  # every third: 0, 3, 6, 9, and 9
    assert bins.edges[0].tolist() == [3.0, 6.0, 9.0]
    assert bins.values[0].tolist() == [1.5, 4.5, 7.5, 9.0]
    # a number that equals a threshold is in the bin that begins there
    assert bins.encode(np.array([[3.0], [5.9], [6.0], [9.0]])).ravel().tolist() == [1, 1, 2, 3]


def test_few_different_values_are_kept_exactly() -> None:
    data = np.array([[0, 1], [1, 5], [0, 7], [0, 7]], np.float32)
    bins = Discretiser.of(data, 4)
    np.testing.assert_array_equal(bins.decode(bins.encode(data)), data)
    assert bins.encode(np.array([[0.4, 5.9], [0.6, 6.1]])).tolist() == [[0, 1], [1, 2]]


def test_a_transition_ends_with_its_reward_and_the_return_that_follows() -> None:
    data, env = chain_data(20), ChainEnv(1)
    ready = prepare(data, env.observation_spaces["agent"], env.action_spaces["agent"])
    rows = transitions_of(ready, 0.9, -100.0)
    last = data.starts[1:] - 1
    earned = np.where(data.terminated, -100.0, data.rewards[last])
    np.testing.assert_array_equal(rows[last, -2], earned)
    np.testing.assert_array_equal(rows[last, -1], 0.0)
    for k in range(5):
        length = int(data.lengths[k])
        rewards = np.append(data.rewards[data.starts[k] : data.starts[k + 1] - 1], earned[k])
        for t in range(length):
            wanted = sum(0.9**j * r for j, r in enumerate(rewards[t + 1 :]))
            assert rows[data.starts[k] + t, -1] == pytest.approx(wanted, rel=1e-5)
    np.testing.assert_array_equal(rows[:, :5], data.observations)
    np.testing.assert_array_equal(rows[:, 5], data.actions)


def learner_of(total: int = 100, task: Any = CHAIN, data: Any = None, **settings: Any) -> Any:
    data = chain_data(60) if data is None else data
    made: Any = make_learner(context_of("tt", task, data, total, **{**SMALL, **settings}))
    return made


def test_only_after_a_terminal_state_comes_the_class_of_the_end() -> None:
    learner = learner_of().learner
    assert isinstance(learner, TrajectoryLearner)
    data = learner.data.episodes
    learner.setup = learner.setup._replace(batch_size=400)
    tokens, counts = learner.draw(np.random.default_rng(0))
    tokens, counts = (part.view(400, 3, 8).numpy() for part in (tokens, counts))
    assert counts[:, 0].all() and (tokens[:, 0] < 5).all()
    assert (tokens[:, 1] == 5).all(-1).any()  # windows begin at the last step of ended episodes
    is_end = (tokens[:, 2] == 5).all(-1)
    assert is_end.any() and (is_end | (tokens[:, 2] < 5).all(-1)).all()
    assert counts[:, 2].all()  # all episodes that are this short have ended
    dial: Any = learner_of(task=DIAL, data=dial_data(5), window=6).learner
    _, counts = dial.draw(np.random.default_rng(0))
    inside = counts.view(-1, 6, dial.net.spec.width).all(-1).sum(1)
    assert set(inside.tolist()) == {2, 3, 4}  # of truncated episodes of four steps
    assert len(data) == 60


def test_the_loss_by_hand() -> None:
    learner = learner_of(bins=2, window=2, action_weight=5.0).learner
    spec = learner.net.spec
    slots = 2 * spec.width - 1
    logits = torch.zeros(1, slots, 3)
    targets = torch.zeros(1, slots, dtype=torch.int64)
    counts = torch.ones(1, slots, dtype=torch.bool)
    counts[0, -spec.width :] = False
    # the first transition's targets: 4 more state dimensions, the action, reward and return
    wanted = np.log(3.0) * (4 + 5.0 + 2) / slots
    assert float(learner.loss(logits, targets, counts)) == pytest.approx(wanted)


def test_weights_of_linear_layers_and_heads_decay_and_nothing_else() -> None:
    net = net_of()
    decayed, others = groups_of(net, 0.3)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    names = {id(p): name for name, p in net.named_parameters()}
    found = {names[id(p)] for p in decayed["params"]}
    block = ["attention.attend", "attention.mix", "widen", "narrow"]
    wanted = {f"transformer.blocks.{k}.{name}.weight" for k in range(2) for name in block}
    assert found == wanted | {"heads"}
    assert len(decayed["params"]) + len(others["params"]) == len(names)


def test_the_rate_rises_falls_to_a_tenth_and_rises_again() -> None:
    factor = schedule(100, 0.02, 0.4)
    assert [factor(k) for k in (0, 1, 2)] == [0.5, 1.0, 1.0]
    assert factor(21) == pytest.approx(0.5)
    assert factor(40) == factor(45) == 0.1
    assert factor(78) == pytest.approx(1.0)


def net_of(window: int = 4) -> TrajectoryTransformer:
    inner = TransformerSpec(width=16, layers=2, heads=2, activation="gelu", dropout=0.0)
    spec = TrajectorySpec(transformer=inner, states=2, actions=1, bins=4, window=window)
    made = TrajectoryTransformer(spec, torch.Generator().manual_seed(0)).double().eval()
    with torch.no_grad():
        for k, parameter in enumerate(made.parameters()):
            parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(k))
    return made


def test_tokens_one_by_one_have_the_logits_of_the_whole_and_none_sees_a_return() -> None:
    net = net_of()
    tokens = torch.randint(5, (3, 20), generator=torch.Generator().manual_seed(1))
    whole, cache = net(tokens), net.transformer.cache()
    for k in range(20):
        found = net.extend(tokens[:, k : k + 1], cache, k)
        torch.testing.assert_close(found, whole[:, k], atol=1e-12, rtol=0)
    torch.testing.assert_close(net(tokens[:, :13], is_last_only=True)[:, 0], whole[:, 12])
    other = tokens.clone()
    other[:, 4] = (other[:, 4] + 1) % 5
    after = net(other)
    assert torch.equal(whole[:, 5:], after[:, 5:]) and torch.equal(whole[:, :4], after[:, :4])


def test_a_model_beyond_its_window_drops_whole_transitions() -> None:
    net = net_of(window=2)
    tokens = torch.randint(4, (2, 14), generator=torch.Generator().manual_seed(1))
    model = CachedModel(net)
    model.start(tokens[:, :7])
    for k in range(7, 14):
        found = model.extend(tokens[:, k])
        begin = 0 if k < 10 else 5
        wanted = net(tokens[:, begin : k + 1])[:, -1]
        torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)


def test_every_dimension_has_embeddings_of_its_own_and_the_end_one() -> None:
    net = net_of()
    tokens = torch.tensor([[2, 2, 2, 2, 2, 2, 4]])
    rows = net.embed.weight[[2, 6, 10, 14, 18, 2, 20]]
    torch.testing.assert_close(net._embedded(tokens, 0)[0], rows + net.positions[:7])
    torch.testing.assert_close(net._embedded(tokens[:, 3:], 3)[0], (rows + net.positions[:7])[3:])


def test_the_tokens_of_an_action_weigh_five_times_as_much() -> None:
    learner = learner_of(window=2).learner
    # five states, the action, reward and return; nothing predicts the first token
    assert learner.weights.tolist() == [1, 1, 1, 1, 5, 1, 1, 1, 1, 1, 1, 1, 5, 1, 1]
    assert learner.optimisers["net"].max_grad_norm == 1.0


def test_a_plan_begins_with_the_last_transitions_and_the_present_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner = TransformerSpec(width=4, layers=1, heads=1, activation="gelu", dropout=0.0)
    spec = TrajectorySpec(transformer=inner, states=2, actions=1, bins=4, window=4)
    net = TrajectoryTransformer(spec, torch.Generator().manual_seed(0))
    edges = np.tile(np.float32([0.5, 1.5, 2.5]), (5, 1))
    edges[3] += 1.0  # rewards are coarser, so that their bins are told from those of returns
    values = np.tile(np.arange(4, dtype=np.float32), (5, 1))
    values[2] = [-1.0, -0.5, 0.5, 1.0]
    settings = PlanSettings(beam=2, horizon=1, expand=1, cdf=0.0, gamma=1.0)
    space = spaces.Box(-2.0, 2.0, (1,), np.float32)
    policy = TrajectoryPolicy(net, Discretiser(edges, values), space, settings, context=2)
    prefixes: list[list[list[int]]] = []

    def planned(model: Any, prefix: torch.Tensor, *rest: Any) -> torch.Tensor:
        prefixes.append(prefix.tolist())
        return torch.full((len(prefix), 1), min(len(prefixes), 3))

    monkeypatch.setattr(acting_by_plans, "plan", planned)
    state, taken = policy.begin(np.arange(2)), []
    for t in range(4):
        seen, active = np.float32([[t, 0], [t, 3]]), np.array([True, t < 3])
        actions, state = policy.act(seen, state, active)
        taken.append(actions[0, 0])
        state = policy.observe(Outcome(np.array([3.0, 0.0]), None), state)
    assert taken == pytest.approx([-1.0, 1.0, 2.0, 2.0])  # of bins 1, 2, 3, 3: half of the range
    # a transition: two numbers of the state, the action, the reward's bin, a return that none sees
    assert prefixes[0] == [[0, 0], [0, 3]]
    assert prefixes[1] == [[0, 0, 1, 2, 0, 1, 0], [0, 3, 1, 0, 0, 1, 3]]
    assert prefixes[2][0] == [0, 0, 1, 2, 0, 1, 0, 2, 2, 0, 2, 0]
    assert prefixes[3] == [
        [1, 0, 2, 2, 0, 2, 0, 3, 2, 0, 3, 0]
    ]  # two past transitions, one episode


@pytest.mark.slow
def test_a_trained_model_plans_to_the_end_that_pays_more() -> None:
    torch.manual_seed(0)
    made = learner_of(150, data=chain_data(200), lr=0.01, dropout=0.0, updates=150)
    made.iterate()
    export = made.export()
    saved = SavedAgent({"task": CHAIN.id, **export.config}, dict(export.tensors))
    agent = load(saved, CHAIN, {"beam": 8, "horizon": 2})
    assert isinstance(agent, TrajectoryPolicy) and agent.settings.beam == 8
    plans = [Episode(number=k, seed=k, agent_seed=k) for k in range(3)]
    assert [r.return_ for r in run_block(ChainEnv(3), agent, CHAIN, plans)] == [1.0] * 3
    with pytest.raises(ConfigError, match="target_return has no effect"):
        load(saved, CHAIN, {"target_return": 1.0})
    with pytest.raises(ConfigError, match="beam must be at least 1"):
        load(saved, CHAIN, {"beam": 0})
