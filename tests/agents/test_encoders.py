"""Encoders and recurrent policies: they learn what a plain network cannot, and act when saved."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.components import changed
from pkubench.agents.families.on_policy.loading import load
from pkubench.agents.nn import torch_policy
from pkubench.agents.nn.encoders.base import Encoder
from pkubench.agents.nn.encoders.cnn import CNNEncoder
from pkubench.agents.nn.encoders.mlp import MLPEncoder
from pkubench.agents.nn.encoders.point_set import PointSetEncoder
from pkubench.agents.nn.encoders.scene_cloud import SceneCloudEncoder
from pkubench.agents.nn.encoders.sequence import SequenceEncoder
from pkubench.agents.nn.memory.gru import GRUMemory
from pkubench.agents.nn.memory.gtrxl import GTrXLMemory
from pkubench.agents.nn.memory.none import NoMemory
from pkubench.agents.nn.modules import EncodedNet, EncodedSpec
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.on_policy.state import load_state_of, state_of
from pkubench.agents.rl.rollout import Collector
from pkubench.agents.saved.files import SavedAgent
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.errors import ConfigError, UnknownName, WeightsError
from pkubench.training.state import join, split
from tests.agents.configs import config_of
from tests.agents.encoded_envs import (
    ImageEnv,
    PointEnv,
    RecallEnv,
    SequenceEnv,
)
from tests.agents.toy_envs import SpeedEnv, task_of

SMALL: dict[str, Any] = {
    "num_envs": 32,
    "rollout_steps": 8,
    "minibatches": 4,
    "actor_lr": 3e-3,
    "critic_lr": 3e-3,
    "gamma": 0.5,
    "window": 200,
}


TINY = {**SMALL, "num_envs": 6, "minibatches": 2, "epochs": 1, "critic_epochs": 1}
QUICK = {**SMALL, "actor_lr": 1e-2, "minibatches": 2, "critic_epochs": 2, "window": 64}


def _trained(
    env_type: Any, config: OnPolicyConfig, updates: int, seed: int = 0
) -> tuple[Any, float]:
    """Return a learner after some updates, and the mean return of its last 200 episodes."""
    env = env_type(config.num_envs)
    learner = OnPolicyLearner(env, config, seed)
    collector = Collector(env, seed, config.window, learner.inputs, units=learner.units)
    for _ in range(updates):
        data = collector.collect(config.rollout_steps, learner.behave, False)
        learner.update(data, math.nan, 0.0)
    return learner, collector.window.mean(collector.window.returns)


def saved(learner: OnPolicyLearner, env_type: Any) -> SavedAgent:
    """Return the agent as a run folder holds it."""
    tensors: dict[str, Any] = {}
    members: dict[str, Any] = {}
    for name, actor in learner.actors.items():
        for key, tensor in actor.state_dict().items():
            tensors[f"{name}.{key.removeprefix('net.')}"] = tensor.numpy()
    for agent, name in learner.actor_names.items():
        members[agent] = {
            "network": name,
            "spec": learner.actors[name].net.spec.as_config(),
            "std": learner.config.std,
            "action_map": learner.config.action_map,
            "observation_norm": False,
        }
    return SavedAgent({"task": task_of(env_type).id, "members": members}, tensors)


def test_a_convolutional_policy_learns_which_way_a_bar_lies() -> None:
    config = config_of(**QUICK, encoder=CNNEncoder(channels=(4, 8), hidden=(16,)))
    learner, score = _trained(ImageEnv, config, 25)
    assert learner.seen[SOLE_AGENT].is_bytes
    assert score > 7.0  # of 8; 4 by chance


@pytest.mark.parametrize(
    ("env_type", "encoder", "least"),
    [
        (PointEnv, PointSetEncoder(point_hidden=(16,), hidden=(16,), padded=True), 7.0),
        (SequenceEnv, SequenceEncoder(width=16, heads=2), 6.0),
    ],
)
def test_point_set_and_sequence_policies_learn(
    env_type: Any, encoder: Encoder, least: float
) -> None:
    _, score = _trained(env_type, config_of(**QUICK, encoder=encoder), 25)
    assert score > least


@pytest.mark.parametrize(
    "memory",
    [GRUMemory(units=16), GTrXLMemory(width=16, layers=1, length=4, gate_bias=0.0)],
)
def test_a_policy_with_memory_recalls_a_cue_and_one_without_cannot(memory: Any) -> None:
    config = config_of(
        **{**SMALL, "gamma": 0.95, "actor_lr": 2e-2, "critic_lr": 1e-2}
        | {"num_envs": 64, "rollout_steps": 4, "minibatches": 2, "critic_epochs": 2},
        encoder=MLPEncoder(hidden=(16,), layer_norm=False),
        memory=memory,
    )
    _, score = _trained(RecallEnv, config, 25)
    assert score > 0.95
    _, score = _trained(RecallEnv, changed(config, {"memory": "none"}), 10)
    assert score < 0.65  # 1/2 by chance


def _net(encoder: Encoder, shape: tuple[int, ...], memory: Any = None) -> EncodedNet:
    spec = EncodedSpec(encoder, memory or NoMemory(), shape, False, 3, 1.0)
    return EncodedNet(spec, torch.Generator().manual_seed(0)).double()


def test_a_scene_cloud_by_hand_and_in_any_order_of_its_points() -> None:
    settings = {"point_hidden": (8,), "cloud_hidden": (6,), "hidden": (7,)}
    net = _net(SceneCloudEncoder(points=4, channels=5, **settings), (3 + 20,))
    rows = torch.randn(2, 23, dtype=torch.float64)
    encoder: Any = net.encoder
    found = encoder(rows).detach().numpy()

    def layer(module: Any, x: Any) -> Any:
        (linear,) = module.linears
        weight, bias = (of.detach().numpy() for of in (linear.weight, linear.bias))
        return np.maximum(x @ weight.T + bias, 0.0)

    for row, expected in zip(rows.numpy(), found, strict=True):
        points = row[3:].reshape(4, 5)
        places = points[:, :3]
        middle = (places.min(0) + places.max(0)) / 2
        each = [np.concatenate((places.mean(0), middle, point)) for point in points]
        shared = layer(encoder.points, np.stack(each))
        pooled = np.concatenate((shared[:, :4].max(0), shared[:, 4:].mean(0)))
        whole = np.concatenate((row[:3], layer(encoder.pooled, pooled)))
        np.testing.assert_allclose(layer(encoder.dense, whole), expected, atol=1e-12)
    cloud = rows[:, 3:].reshape(2, 4, 5)[:, [2, 0, 3, 1]].flatten(1)
    shuffled = torch.cat((rows[:, :3], cloud), 1)
    np.testing.assert_allclose(encoder(shuffled).detach().numpy(), found, atol=1e-12)
    assert "rows that end with points=4" in net.spec.encoder.mismatch((20,))


def test_padded_points_and_the_order_of_points_do_not_count() -> None:
    net = _net(PointSetEncoder(padded=True), (5, 3))
    points = torch.randn(4, 5, 3, dtype=torch.float64)
    points[..., 2] = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0])
    out = net(points.flatten(1))
    torch.testing.assert_close(net(points[:, [2, 3, 0, 4, 1]].flatten(1)), out)
    points[:, 3:, :2] = 99.0
    torch.testing.assert_close(net(points.flatten(1)), out)
    points[..., 2] = 0.0
    assert net(points.flatten(1)).isfinite().all()


def test_a_sequence_is_encoded_in_its_order_with_causal_attention() -> None:
    net = _net(SequenceEncoder(width=8, heads=2, layers=2), (4, 2))
    x = torch.randn(3, 4, 2, dtype=torch.float64)
    out = net(x.flatten(1))
    assert float((net(x.flip(1).flatten(1)) - out).abs().max()) > 1e-3
    seen: list[torch.Tensor] = []
    block: Any = net.encoder.blocks[0]  # type: ignore[index]
    block.register_forward_hook(lambda module, taken, given: seen.append(given))
    other = x.clone()
    other[:, 2:] += 1.0
    net(x.flatten(1)), net(other.flatten(1))
    torch.testing.assert_close(seen[0][:, :2], seen[1][:, :2])
    assert float((seen[0][:, 2:] - seen[1][:, 2:]).abs().max()) > 1e-3


def test_a_sequence_of_steps_is_steps_one_after_another_with_resets() -> None:
    net = _net(MLPEncoder(hidden=(6,)), (2,), GRUMemory(units=5))
    x, hidden = torch.randn(7, 3, 2, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    first = torch.zeros(7, 3, dtype=torch.bool)
    first[4, 1] = first[0, 2] = True
    out, states = net.sequence(x, first, hidden)
    for t in range(7):
        hidden = hidden * ~first[t, :, None]
        step, hidden = (part[0] for part in net.sequence(x[t : t + 1], first[t : t + 1], hidden))
        torch.testing.assert_close(step, out[t])
        torch.testing.assert_close(hidden, states[t])
    alone, _ = net.sequence(x[4:, 1:2], first[4:, 1:2], torch.zeros(1, 5, dtype=torch.float64))
    torch.testing.assert_close(alone[:, 0], out[4:, 1])


@pytest.mark.parametrize(
    ("env_type", "more"),
    [
        (ImageEnv, {"encoder": "cnn"}),
        (PointEnv, {"encoder": PointSetEncoder(padded=True)}),
        (SequenceEnv, {"encoder": "sequence"}),
        (RecallEnv, {"memory": "gru"}),
        (SpeedEnv, {"memory": "gru"}),
        (RecallEnv, {"memory": GTrXLMemory(width=8, layers=2, length=3)}),
    ],
)
def test_a_saved_policy_acts_as_the_trained_one(env_type: Any, more: Any) -> None:
    learner, _ = _trained(env_type, config_of(**{**TINY, "hidden": (8,)}, **more), 1)
    policy: Any = load(saved(learner, env_type))
    again: Any = load(saved(learner, env_type))
    env, actor = env_type(12), learner.actors[SOLE_AGENT].double()
    observations, _ = env.reset(np.arange(12))
    state, others = policy.begin(np.arange(12)), again.begin(np.arange(6))
    hidden = torch.zeros(12, actor.units, dtype=torch.float64)
    active = np.ones(12, bool)
    for t in range(6):
        seen = observations[SOLE_AGENT]
        x = torch.from_numpy(seen.reshape(12, -1))
        x = x if x.dtype == torch.uint8 else x.double()
        if actor.units:
            begins = torch.full((1, 12), t == 0)
            pi, states = actor.sequence(x[None], begins, hidden)
            hidden = states[0]
        else:
            pi = actor(x)
        actions, state = policy.act(seen, state, active)
        half, others = again.act(seen[:6], others, active[:6])
        np.testing.assert_array_equal(half, actions[:6])  # whatever the batch
        wanted = pi.mode().detach().numpy()
        np.testing.assert_allclose(actions, np.clip(wanted, -1, 1), rtol=1e-6, atol=1e-7)
        observations = env.step({SOLE_AGENT: actions}).observations


def test_a_recurrent_policy_samples_in_sampled_mode() -> None:
    learner, _ = _trained(RecallEnv, config_of(**TINY, memory="gru", hidden=(8,)), 1)
    agent = saved(learner, RecallEnv)
    seen, active = np.zeros((400, 2), np.float32), np.ones(400, bool)
    counts = []
    for mode in ("mode", "sampled"):
        policy: Any = load(agent, acting={"mode": mode})
        actions, _ = policy.act(seen, policy.begin(np.arange(400)), active)
        counts.append(len(set(actions.tolist())))
    assert counts == [1, 2]
    with pytest.raises(ConfigError, match="mode must be 'mode' or 'sampled'"):
        load(agent, acting={"mode": "greedy"})
    with pytest.raises(UnknownName, match="beam"):
        load(agent, acting={"beam": 4})


def test_a_saved_network_that_does_not_fit_its_description_is_refused() -> None:
    learner, _ = _trained(RecallEnv, config_of(**SMALL, memory="gru", hidden=(8,)), 0)
    agent = saved(learner, RecallEnv)
    spec = agent.config["members"][SOLE_AGENT]["spec"]
    spec["memory"]["units"] = 7
    with pytest.raises(WeightsError, match="has shape"):
        load(agent)
    spec["memory"] = {"name": "elman"}
    with pytest.raises(WeightsError, match="elman"):
        load(agent)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder": {"hidden": [60000, 60000]}}, "has shape"),  # 14 GB
        ({"memory": {"units": 100_000}}, "has shape"),  # 120 GB
        ({"encoder": {"name": "sequence", "layers": 10**9}}, "layers must be at most"),
        ({"encoder": {"name": "sequence", "width": 8, "heads": 2}}, "takes sequences"),
        ({"encoder": {"name": "cnn", "channels": [4], "kernel": 9}, "shape": [1, 1, 2]}, "lack"),
        ({"encoder": {"hidden": [-1]}}, "cannot be rebuilt"),
        (
            {"encoder": {"name": "sequence", "width": 8, "heads": 2}, "shape": [3, 7]},
            "inputs are not those",
        ),
        ({"shape": [2, 10**12]}, "are not those"),
        ({"head_gain": "x"}, "cannot be rebuilt"),
        ({"memory": {"name": "none"}}, "has shape"),
    ],
)
def test_a_description_is_compared_with_the_tensors_before_memory_is_allocated(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: str
) -> None:
    learner, _ = _trained(RecallEnv, config_of(**TINY, memory="gru", hidden=(8,)), 0)
    agent = saved(learner, RecallEnv)
    spec = agent.config["members"][SOLE_AGENT]["spec"]
    for name, value in changes.items():
        if isinstance(value, dict) and "name" not in value:
            spec[name].update(value)
        else:
            spec[name] = value
    devices = []

    def build(*given: Any) -> EncodedNet:
        devices.append(torch.empty(0).device.type)
        return EncodedNet(*given)

    monkeypatch.setattr(torch_policy, "EncodedNet", build)
    with pytest.raises(WeightsError, match=words):
        load(agent)
    assert "cpu" not in devices


def test_an_encoder_that_does_not_fit_is_refused() -> None:
    for encoder, what in (("cnn", "images"), ("point-set", "points"), ("sequence", "sequences")):
        with pytest.raises(ConfigError, match=f"encoder={encoder} does not fit 'agent': it takes"):
            OnPolicyLearner(SpeedEnv(20), config_of(encoder=encoder), 0)
        assert what
    with pytest.raises(ConfigError, match="observation_norm is for vectors"):
        config_of(encoder="cnn", observation_norm=True)
    with pytest.raises(ConfigError, match="minibatches must be at most num_envs"):
        config_of(memory="gru", minibatches=21)


def test_a_learner_with_dropout_and_memory_resumes_exactly_at_every_update() -> None:
    config = config_of(
        **{**TINY, "rollout_steps": 7},
        encoder=SequenceEncoder(width=8, heads=2, dropout=0.3),
        memory=GRUMemory(units=5),
    )

    def made() -> tuple[OnPolicyLearner, Collector]:
        env = SequenceEnv(6)
        learner = OnPolicyLearner(env, config, 1)
        return learner, Collector(env, 1, 10, learner.inputs, units=learner.units)

    def update(learner: OnPolicyLearner, collector: Collector) -> None:
        learner.update(collector.collect(7, learner.behave, False), math.nan, 0.0)

    def weights(learner: OnPolicyLearner) -> list[torch.Tensor]:
        nets = [*learner.actors.values(), *(c.net for s in learner.stacks for c in s.members)]
        return [p.detach().clone() for net in nets for p in net.parameters()]

    torch.manual_seed(0)
    learner, collector = made()
    wanted = []
    for _ in range(3):
        update(learner, collector)
        wanted.append(weights(learner))
    torch.manual_seed(0)
    learner, collector = made()
    for k in range(3):
        arrays, plain = split(state_of(learner, collector))
        drawn = torch.get_rng_state()
        learner, collector = made()
        load_state_of(join(arrays, plain), learner, collector)
        torch.set_rng_state(drawn)  # dropout's; the session keeps it
        assert k == 0 or collector.hidden[SOLE_AGENT].any()
        update(learner, collector)
        for one, other in zip(weights(learner), wanted[k], strict=True):
            assert torch.equal(one, other)
