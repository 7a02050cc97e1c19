"""ONNX policies: written without torch, checked before they run, same scores as their origin."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import pkubench
from pkubench.agents.adapters.onnx import OnnxPolicy
from pkubench.agents.adapters.onnx_export import (
    Activation,
    Affine,
    Clip,
    LayerNorm,
    Linear,
    Standardise,
    export_onnx,
    mlp_bytes,
    model_bytes,
)
from pkubench.agents.agent import MaskedObservation, Team
from pkubench.agents.loading import resolve_agent
from pkubench.agents.policy import Layers, NetworkPolicy, NetworkSettings
from pkubench.agents.random import RandomAgent
from pkubench.errors import AgentError, PkubenchError, WeightsError
from pkubench.evaluation.harness import evaluate
from pkubench.tasks.catalogue import make_task
from tests.evaluation.counting import counting_task

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(0)
ACTIVE = np.ones(6, np.bool_)
IDENTITY = [Linear(np.eye(2), np.zeros(2))]


def network(space: spaces.Space[Any], how: str = "affine", normed: bool = True) -> NetworkPolicy:
    """A policy of random layers for 4 numbers."""
    outputs = int(space.n) if isinstance(space, spaces.Discrete) else space.shape[0]  # type: ignore[index]
    sizes = (4, 8, 8, outputs)
    linears = tuple(
        (RNG.normal(size=(a, b)).astype("f"), RNG.normal(size=b).astype("f"))
        for a, b in itertools.pairwise(sizes)
    )
    norms = tuple(
        (RNG.normal(size=a).astype("f"), RNG.normal(size=a).astype("f")) for a in (4, 8, 8)
    )
    mean, std = (RNG.normal(size=4), RNG.uniform(0.1, 2, size=4)) if normed else (None, None)
    layers = Layers(linears, norms if how == "affine" else (), "tanh")
    return NetworkPolicy(layers, NetworkSettings(space, np.ones(outputs), how, mean, std))


@pytest.mark.parametrize("how", ["affine", "clip"])
@pytest.mark.parametrize("normed", [True, False])
def test_a_network_policy_acts_the_same_as_onnx(how: str, normed: bool) -> None:
    box = spaces.Box(np.array([-1, 0], "f"), np.array([1, 3], "f"))
    policy = network(box, how, normed)
    model = model_bytes(policy)
    again = OnnxPolicy(model, box, 4)
    observation = RNG.normal(size=(6, 4)) * 3
    ours, _ = policy.act(observation, None, ACTIVE)
    theirs, _ = again.act(observation, None, ACTIVE)
    np.testing.assert_allclose(theirs, ours, atol=2e-5)
    assert again.model == model and len(np.unique(ours.round(3))) > 3


def test_a_categorical_policy_chooses_the_same_legal_actions(tmp_path: Path) -> None:
    space = spaces.Discrete(5, start=1)
    policy = network(space)
    export_onnx(policy, tmp_path / "policy.onnx")
    again = OnnxPolicy((tmp_path / "policy.onnx").read_bytes(), space, 4)
    observation, mask = RNG.normal(size=(6, 4)), RNG.integers(0, 2, size=(6, 5)).astype(np.int8)
    mask[:, 2] = 1
    for shown in (observation, MaskedObservation(observation, mask)):
        ours, _ = policy.act(shown, None, ACTIVE)
        np.testing.assert_array_equal(again.act(shown, None, ACTIVE)[0], ours)


def test_each_layer_computes_its_formula() -> None:
    x = RNG.normal(size=(6, 2)).astype(np.float32)
    box = spaces.Box(-9, 9, (2,))

    def run(*layers: Any) -> np.ndarray[Any, Any]:
        model = mlp_bytes(layers, 2, 2, "action")
        return np.asarray(OnnxPolicy(model, box, 2).act(x, None, ACTIVE)[0])

    w, b = RNG.normal(size=(2, 2)).astype("f"), RNG.normal(size=2).astype("f")
    np.testing.assert_allclose(run(Linear(w, b)), x @ w + b, rtol=1e-5)
    normed = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(run(LayerNorm(w[0], b)), normed * w[0] + b, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(run(Affine(w[0], b)), x * w[0] + b, rtol=1e-5)
    np.testing.assert_allclose(run(Clip(np.full(2, -0.5), np.full(2, 0.1))), x.clip(-0.5, 0.1))
    np.testing.assert_allclose(run(Activation("relu")), np.maximum(x, 0))
    scaled = ((x.astype(np.float64) - b) / 0.1).clip(-5, 5)
    np.testing.assert_allclose(run(Standardise(b, np.full(2, 0.1), 5.0)), scaled, rtol=1e-5)
    with pytest.raises(AgentError, match="'swish' cannot be exported"):
        run(Activation("swish"))


def test_a_team_is_a_folder_and_scores_as_its_members(tmp_path: Path) -> None:
    task = counting_task(players=2)
    model = mlp_bytes([Linear(RNG.normal(size=(2, 3)), np.zeros(3))], 2, 3, "logits")
    member = OnnxPolicy(model, spaces.Discrete(3), 2)
    team = Team({"p0": member, "p1": member})
    export_onnx(team, tmp_path / "team")
    assert {p.name for p in (tmp_path / "team").iterdir()} == {"p0.onnx", "p1.onnx", "team.json"}
    report = evaluate(resolve_agent(f"onnx:{tmp_path / 'team'}", task), task, workers=1)
    assert report.score == evaluate(team, task, workers=0).score
    assert set(report.runs[0].hashes) == {"p0.onnx", "p1.onnx", "team.json", "episodes.jsonl"}
    with pytest.raises(AgentError, match=r"policies for \['p0', 'p1'\]"):
        resolve_agent(f"onnx:{tmp_path / 'team'}", counting_task()).runs[0].load()


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ({"format": 1, "members": {"p0": "../p0.onnx"}}, "not a file of the folder"),
        ({"format": 2, "members": {}}, "has format 2"),
        ([], "does not list the members"),
    ],
)
def test_a_damaged_team_list_is_named(tmp_path: Path, listing: Any, message: str) -> None:
    (tmp_path / "p0.onnx").write_bytes(b"")
    (tmp_path / "team.json").write_text(json.dumps(listing))
    with pytest.raises(WeightsError, match=message):
        resolve_agent(f"onnx:{tmp_path}", counting_task(players=2)).runs[0].load()


def test_what_is_not_a_network_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="RandomAgent cannot be written"):
        export_onnx(RandomAgent(spaces.Discrete(2)), tmp_path / "x.onnx")


def altered(change: Any) -> bytes:
    model = onnx.load_model_from_string(mlp_bytes(IDENTITY, 2, 2, "action"))
    change(model)
    return bytes(model.SerializeToString())


def _foreign(model: Any) -> None:
    model.opset_import.append(onnx.helper.make_opsetid("com.evil", 1))
    model.graph.node[0].domain = "com.evil"


def _external(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")


def _external_in_a_function(model: Any) -> None:
    """A function that ends in a sparse constant, whose values are in another file."""
    values = onnx.TensorProto(dims=[1], data_type=onnx.TensorProto.FLOAT, name="secret")
    values.data_location = onnx.TensorProto.EXTERNAL
    values.external_data.add(key="location", value="weights.bin")
    indices = onnx.helper.make_tensor("at", onnx.TensorProto.INT64, [1], [0])
    sparse = onnx.helper.make_sparse_tensor(values, indices, [1])
    constant = onnx.helper.make_node("Constant", [], ["y"])
    constant.attribute.add(
        name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR, sparse_tensor=sparse
    )
    opset = list(model.opset_import)[:1]
    model.functions.append(
        onnx.helper.make_function("ai.onnx.ml", "Read", [], ["y"], [constant], opset)
    )


def _drawing(model: Any) -> None:
    last = model.graph.node[-1]
    out = last.output[0]
    last.output[0] = "plain"
    model.graph.node.append(onnx.helper.make_node("RandomNormalLike", ["plain"], [out]))


def _fixed_batch(model: Any) -> None:
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 4


def _integers(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT32


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (b"not a model", "not a valid ONNX model|cannot be run"),
        (mlp_bytes(IDENTITY, 2, 2, "action")[:-40], "not a valid ONNX model|cannot be run"),
        (altered(_foreign), "com.evil"),
        (altered(_external), "other files"),
        (altered(_external_in_a_function), "other files"),
        (altered(_drawing), r"draws random numbers \(RandomNormalLike\)"),
        (altered(_fixed_batch), "free batch axis"),
        (altered(_integers), "not a valid ONNX model|cannot be run|float32 or float64"),
        (mlp_bytes([Linear(np.ones((3, 2)), np.ones(2))], 3, 2, "action"), "of 3 numbers"),
        (mlp_bytes([Linear(np.ones((2, 3)), np.ones(3))], 2, 3, "action"), "of 3 numbers"),
        (mlp_bytes(IDENTITY, 2, 2, "logits"), "gives logits"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(model: bytes, message: str) -> None:
    with pytest.raises(PkubenchError, match=message) as caught:
        OnnxPolicy(model, spaces.Box(-1, 1, (2,)), 2)
    assert "\n" not in str(caught.value)


def test_logits_of_another_count_are_refused() -> None:
    with pytest.raises(AgentError, match="needs float logits"):
        OnnxPolicy(mlp_bytes(IDENTITY, 2, 2, "logits"), spaces.Discrete(3), 2)


# Stable-Baselines3


@pytest.fixture(scope="module")
def ppo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sb3 = pytest.importorskip("stable_baselines3")
    env = gymnasium.make("pkubench/HalfCheetahVelocity-v0")
    model = sb3.PPO("MlpPolicy", env, n_steps=128, batch_size=64, n_epochs=2, seed=0)
    model.learn(128)
    path = tmp_path_factory.mktemp("sb3") / "model.zip"
    model.save(path)
    env.close()
    return path


def test_an_sb3_zip_is_scored_when_trusted_and_its_onnx_gives_the_same_bytes(
    ppo: Path, tmp_path: Path
) -> None:
    task = make_task("HalfCheetahVelocity-v0")
    trusted = pkubench.evaluate(f"sb3:{ppo}", task, episodes=2, trust=True)
    assert trusted.failed == 0 and trusted.label == "sb3"
    path = tmp_path / "policy.onnx"
    export_onnx(pkubench.load_agent(f"sb3:{ppo}", task, trust=True), path)
    free = pkubench.evaluate(f"onnx:{path}", task, episodes=2)
    assert free.score == trusted.score
    assert free.runs[0].hashes["episodes.jsonl"] == trusted.runs[0].hashes["episodes.jsonl"]


def test_an_sb3_policy_does_what_predict_does(ppo: Path) -> None:
    from pkubench.agents.adapters.sb3 import load_model

    agent = pkubench.load_agent(f"sb3:{ppo}", "HalfCheetahVelocity-v0", trust=True)
    observation = RNG.normal(size=(6, 17)) * 3
    expected, _ = load_model(ppo).predict(observation, deterministic=True)
    actions, _ = agent.act(observation, None, ACTIVE)  # type: ignore[union-attr]
    np.testing.assert_allclose(actions, expected, atol=1e-6)


def test_an_sb3_policy_for_other_spaces_is_refused(ppo: Path) -> None:
    with pytest.raises(AgentError, match=r"\(17,\).*the task has Box.*\(11,\)"):
        pkubench.load_agent(f"sb3:{ppo}", "HopperVelocity-v0", trust=True)
    with pytest.raises(AgentError, match="policy of one agent"):
        pkubench.load_agent(f"sb3:{ppo}", "SimpleSpread-v0", trust=True)


def test_a_truncated_zip_is_named(ppo: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.zip"
    cut.write_bytes(ppo.read_bytes()[:-2000])
    with pytest.raises(WeightsError, match="no Stable-Baselines3 model"):
        pkubench.load_agent(f"sb3:{cut}", "HalfCheetahVelocity-v0", trust=True)


@pytest.mark.parametrize("name", ["A2C", "DQN", "SAC", "TD3", "DDPG"])
def test_the_other_algorithms_become_the_same_graph(name: str) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    from pkubench.agents.adapters.sb3 import dense_graph

    box = spaces.Box(np.array([-2, 0], "f"), np.array([1, 5], "f"))
    space: spaces.Space[Any] = spaces.Discrete(3) if name == "DQN" else box

    class Fake(gymnasium.Env[Any, Any]):
        observation_space = spaces.Box(-1, 1, (4,), np.float32)
        action_space = space

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return np.zeros(4, "f"), {}

    settings = {} if name == "A2C" else {"buffer_size": 10}
    model = getattr(sb3, name)("MlpPolicy", Fake(), seed=1, **settings)
    graph = dense_graph(model)
    assert graph is not None
    observation = RNG.normal(size=(6, 4)).astype("f") * 3
    expected, _ = model.predict(observation, deterministic=True)
    actions, _ = OnnxPolicy(graph, space, 4).act(observation, None, ACTIVE)
    np.testing.assert_allclose(actions, expected, atol=1e-5)
    assert name != "A2C" or (actions[:, 1] == 0).any(), "the mean lies below the bound and is cut"


def test_a_zip_tells_its_algorithm_by_its_settings(tmp_path: Path) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    from pkubench.agents.adapters.sb3 import PredictingPolicy, load_model

    for name in ("PPO", "A2C", "DQN", "SAC", "TD3"):
        env = "CartPole-v1" if name in ("PPO", "A2C", "DQN") else "Pendulum-v1"
        settings = {"buffer_size": 10} if name in ("DQN", "SAC", "TD3") else {}
        model = getattr(sb3, name)("MlpPolicy", env, seed=1, **settings)
        model.save(tmp_path / name)
        loaded = load_model(tmp_path / f"{name}.zip")
        assert type(loaded).__name__ == name
        agent = PredictingPolicy(loaded)
        size = loaded.observation_space.shape[0]
        actions, _ = agent.act(np.zeros((6, size), "f"), agent.begin(np.arange(6)), ACTIVE)
        assert len(actions) == 6
