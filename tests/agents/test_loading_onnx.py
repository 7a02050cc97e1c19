"""ONNX policies: written without torch, checked before they run, same scores as their origin."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from pkubench.agents.adapters.onnx import OnnxPolicy
from pkubench.agents.adapters.onnx_export import (
    Activation,
    Affine,
    Clip,
    LayerNorm,
    Linear,
    Round,
    Standardise,
    Widen,
    export_onnx,
    mlp_bytes,
    model_bytes,
)
from pkubench.agents.contract import MaskedObservation, Team
from pkubench.agents.families.off_policy.loading import SquashedPolicy
from pkubench.agents.families.scripted.random import RandomAgent
from pkubench.agents.nn.fast.policy import Layers, NetworkPolicy, NetworkSettings, map_action
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.errors import AgentError, PkubenchError, WeightsError
from pkubench.evaluation.run.harness import evaluate
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
        (RNG.normal(size=(a, b)).astype("f") / a, 0.1 * RNG.normal(size=b).astype("f"))
        for a, b in itertools.pairwise(sizes)
    )
    norms = tuple(
        (RNG.normal(size=a).astype("f"), RNG.normal(size=a).astype("f")) for a in (4, 8, 8)
    )
    mean, std = (RNG.normal(size=4), RNG.uniform(0.1, 2, size=4)) if normed else (None, None)
    layers = Layers(linears, norms if how == "affine" else (), "tanh")
    return NetworkPolicy(layers, NetworkSettings(space, np.ones(outputs), how, mean, std))


def double_precision(policy: NetworkPolicy, x: Any) -> Any:
    """What a policy's network gives, in float64 by its formulae, rounded to float32."""
    settings, networks = policy.settings, policy.layers

    def normed(x: Any, k: int) -> Any:
        if not networks.norms:
            return x
        scale, shift = (np.float64(a) for a in networks.norms[k])
        centred = x - x.mean(1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5) * scale + shift

    x = np.float64(x)
    if settings.observation_mean is not None:
        x = ((x - settings.observation_mean) / settings.observation_std).clip(-5, 5)
    x = normed(x, 0)
    for k, (weight, bias) in enumerate(networks.linears):
        x = x @ np.float64(weight) + np.float64(bias)
        if k < len(networks.linears) - 1:
            x = normed(np.tanh(x), k + 1)
    return np.tanh(x).astype("f") if isinstance(policy, SquashedPolicy) else x.astype("f")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("how", ["affine", "clip", "high"])
@pytest.mark.parametrize("squashed", [True, False])
def test_an_exported_policy_computes_in_double_precision_and_rounds(
    how: str, squashed: bool, dtype: Any
) -> None:
    box = spaces.Box(np.array([-9, -7.9], dtype), np.array([5, 7.7], dtype), dtype=dtype)
    policy = network(box, how, normed=not squashed)
    if squashed:
        policy = SquashedPolicy(policy.layers, policy.settings, "deterministic")
    observation = RNG.normal(size=(500, 4)) * 3
    raw = double_precision(policy, observation)
    expected = map_action(raw, box, how)
    again = OnnxPolicy(model_bytes(policy), box, 4)
    found, _ = again.act(observation, None, np.ones(500, np.bool_))
    np.testing.assert_array_equal(found, expected)
    ours, _ = policy.act(observation, None, np.ones(500, np.bool_))
    np.testing.assert_array_equal(found, ours)
    assert again.model == model_bytes(again) and len(np.unique(found)) > 100


def test_an_exported_policy_is_as_small_as_its_weights_in_single_precision() -> None:
    box = spaces.Box(-1, 1, (2,))
    linears = tuple(
        (RNG.normal(size=shape).astype("f"), np.zeros(shape[1], "f"))
        for shape in [(4, 500), (500, 2)]
    )
    layers = Layers(linears, (), "tanh")
    policy = NetworkPolicy(layers, NetworkSettings(box, np.ones(2), "clip", None, None))
    numbers = sum(weight.size + bias.size for weight, bias in linears)
    assert len(model_bytes(policy)) < 4 * numbers + 2000


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


def test_each_layer_computes_its_formula_in_double_precision() -> None:
    x = RNG.normal(size=(6, 2)).astype(np.float32).astype(np.float64)
    box = spaces.Box(-9, 9, (2,))

    def run(*layers: Any) -> np.ndarray[Any, Any]:
        model = mlp_bytes(layers, 2, 2, "action")
        return np.asarray(OnnxPolicy(model, box, 2).act(x, None, ACTIVE)[0])

    def check(layer: Any, formula: Any) -> None:
        np.testing.assert_array_equal(run(layer), formula.astype(np.float32))

    w, b = RNG.normal(size=(2, 2)), RNG.normal(size=2)
    check(Linear(w, b), x @ w + b)
    normed = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    check(LayerNorm(w[0], b), normed * w[0] + b)
    far = np.float64(np.float32(1e4 + 1e-3 * x))  # of which the mean square keeps few digits
    normed = (far - far.mean(1, keepdims=True)) / np.sqrt(far.var(1, keepdims=True) + 1e-5)
    found, _ = OnnxPolicy(mlp_bytes([LayerNorm(w[0], b)], 2, 2, "action"), box, 2).act(
        far, None, ACTIVE
    )
    np.testing.assert_array_equal(found, (normed * w[0] + b).astype(np.float32))
    check(Affine(w[0], b), x * w[0] + b)
    check(Clip(np.full(2, -0.5), np.full(2, 0.1)), x.clip(-0.5, 0.1))
    check(Activation("relu"), np.maximum(x, 0))
    check(Activation("elu"), np.where(x > 0, x, np.expm1(x)))
    check(Activation("sigmoid"), 1 / (1 + np.exp(-x)))
    check(Standardise(b, np.full(2, 0.1), 5.0), ((x - b) / 0.1).clip(-5, 5))
    third = np.full(2, 1 / 3)
    single = np.float32(x) * np.float32(third)
    np.testing.assert_array_equal(run(Round(), Affine(third, np.zeros(2))), single)
    np.testing.assert_array_equal(
        run(Round(), Widen(), Affine(third, np.zeros(2))), np.float32(x) * third
    )
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
        (altered(_external), r"other files.*external_data=False, dynamic_shapes=.*dynamic_axes"),
        (altered(_external_in_a_function), "other files"),
        (altered(_drawing), r"draws random numbers \(RandomNormalLike\)"),
        (altered(_fixed_batch), r"free batch axis.*dynamic_shapes=.*dynamic_axes"),
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


def several_outputs(names: list[str]) -> bytes:
    """A graph of three outputs: twice the observation, its sum, and it."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Add", ["x", "x"], [names[0]]),
        helper.make_node("ReduceSum", ["x"], [names[1]], keepdims=1),
        helper.make_node("Identity", ["x"], [names[2]]),
    ]
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("x", kind, ["batch", 2])],
        [helper.make_tensor_value_info(name, kind, ["batch", None]) for name in names],
    )
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


@pytest.mark.parametrize("name", ["action", "actions"])
def test_of_several_outputs_the_action_is_taken(name: str) -> None:
    box, x = spaces.Box(-9, 9, (2,)), RNG.normal(size=(6, 2)).astype("f")
    for names in ([name, "value", "log_prob"], ["other", "value", name]):
        found, _ = OnnxPolicy(several_outputs(names), box, 2).act(x, None, ACTIVE)
        np.testing.assert_array_equal(found, 2 * x if names[0] == name else x)


@pytest.mark.parametrize("names", [["5", "6", "7"], ["action", "value", "actions"]])
def test_several_outputs_without_an_action_are_listed(names: list[str]) -> None:
    message = f"has the outputs {', '.join(names)}; name the one with the action 'action'"
    with pytest.raises(AgentError, match=message):
        OnnxPolicy(several_outputs(names), spaces.Box(-9, 9, (2,)), 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_network_exported_in_double_precision_is_taken(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")

    class Rounded(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Sequential(torch.nn.Linear(11, 64), torch.nn.Tanh()).double()
            self.head = torch.nn.Linear(64, 3).double()

        def forward(self, x: Any) -> Any:
            return self.head(self.net(x)).float()

    net, x = Rounded(), torch.randn(6, 11, dtype=torch.float64)
    path = tmp_path / "policy.onnx"
    shapes = ({0: "batch"},)
    torch.onnx.export(net, (x,), path, external_data=False, dynamic_shapes=shapes)
    agent: Any = OnnxPolicy(path.read_bytes(), spaces.Box(-9, 9, (3,)), 11)
    found, _ = agent.act(x.numpy(), None, ACTIVE)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, net(x).detach().numpy())
