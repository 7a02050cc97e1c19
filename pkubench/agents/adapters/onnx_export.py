"""Writing policies as ONNX: a network is a list of plain layers, so no torch is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.agents.adapters.onnx import OUTPUT_KEY, TEAM_FILE, TEAM_FORMAT, OnnxPolicy
from pkubench.agents.agent import Agent, Entrant, Team
from pkubench.agents.off_policy.loading import SquashedPolicy
from pkubench.agents.parts.budget import BudgetPolicy
from pkubench.agents.policy import NetworkPolicy
from pkubench.errors import AgentError, MissingExtra
from pkubench.files import write_bytes, write_json

Array = npt.NDArray[Any]
OPSET = 17
"""The first with LayerNormalization; every ONNX Runtime since 1.12 runs it."""
IR_VERSION = 8

ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "elu": "Elu", "sigmoid": "Sigmoid"}


class Linear(NamedTuple):
    """``x @ weight + bias``; weight (inputs, outputs)."""

    weight: Array
    bias: Array


class LayerNorm(NamedTuple):
    """Normalise the last axis, then scale and shift."""

    scale: Array
    shift: Array
    epsilon: float = 1e-5


class Activation(NamedTuple):
    """An elementwise function of ``ACTIVATIONS``."""

    name: str


class Affine(NamedTuple):
    """``x * scale + shift``, elementwise."""

    scale: Array
    shift: Array


class Standardise(NamedTuple):
    """``clip((x - mean) / std, -bound, bound)`` in float64; first layer only."""

    mean: Array
    std: Array
    bound: float


class Clip(NamedTuple):
    """``min(max(x, low), high)``, elementwise."""

    low: Array
    high: Array


Layer = Linear | LayerNorm | Activation | Affine | Standardise | Clip


def mlp_bytes(
    layers: Sequence[Layer], inputs: int, outputs: int, output: Literal["action", "logits"]
) -> bytes:
    """Return the ONNX model of a network.

    Args:
        layers: What happens to an observation, in order, in float32 (float64 up to and including
            a leading ``Standardise``).
        inputs: Numbers in one observation.
        outputs: Numbers in one output.
        output: What the output is.

    Raises:
        AgentError: an activation has no ONNX operator here.
        MissingExtra: onnx is not installed.
    """
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ModuleNotFoundError as error:
        raise MissingExtra("onnx", "writing an ONNX policy") from error
    nodes: list[Any] = []
    constants: list[Any] = []
    current = "observation"

    def constant(value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(constants)}"
        array = np.ascontiguousarray(value, dtype=dtype)
        constants.append(numpy_helper.from_array(array, name))
        return name

    def apply(operator: str, *others: str, **attributes: Any) -> None:
        nonlocal current
        name = f"x{len(nodes)}"
        nodes.append(helper.make_node(operator, [current, *others], [name], **attributes))
        current = name

    is_double = bool(layers) and isinstance(layers[0], Standardise)
    for layer in layers:
        match layer:
            case Linear(weight, bias):
                apply("Gemm", constant(weight), constant(bias))
            case LayerNorm(scale, shift, epsilon):
                apply("LayerNormalization", constant(scale), constant(shift), epsilon=epsilon)
            case Activation(name):
                if name not in ACTIVATIONS:
                    raise AgentError(f"activation {name!r} cannot be exported")
                apply(ACTIVATIONS[name])
            case Affine(scale, shift):
                apply("Mul", constant(scale))
                apply("Add", constant(shift))
            case Standardise(mean, std, bound):
                apply("Sub", constant(mean, np.float64))
                apply("Div", constant(std, np.float64))
                limits = constant(-bound, np.float64), constant(bound, np.float64)
                apply("Clip", *limits)
                apply("Cast", to=TensorProto.FLOAT)
            case Clip(low, high):
                apply("Max", constant(low))
                apply("Min", constant(high))
    nodes.append(helper.make_node("Identity", [current], [output]))
    kind = TensorProto.DOUBLE if is_double else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("observation", kind, ["batch", inputs])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", outputs])],
        constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="pkubench",
    )
    helper.set_model_props(model, {OUTPUT_KEY: output})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def export_onnx(entrant: Entrant, path: Path) -> None:
    """Write an entrant as ONNX: one file, or for a team a folder with one file an agent id.

    The mode of a stochastic policy is what is written: ONNX policies are deterministic.

    Raises:
        AgentError: it has no network that can be written.
        StorageError: ``path`` cannot be written.
        MissingExtra: onnx is not installed.
    """
    if not isinstance(entrant, Team):
        write_bytes(path, model_bytes(entrant))
        return
    models = {agent: model_bytes(member) for agent, member in entrant.members.items()}
    files = {agent: f"{agent}.onnx" for agent in models}
    for agent, model in models.items():
        write_bytes(path / files[agent], model)
    write_json(path / TEAM_FILE, {"format": TEAM_FORMAT, "members": files})


def model_bytes(agent: Agent | Any) -> bytes:
    """Return the ONNX model of one agent.

    Raises:
        AgentError: it has no network that can be written.
    """
    if isinstance(agent, OnnxPolicy):
        return agent.model
    if isinstance(agent, NetworkPolicy):
        return _network_bytes(agent)
    if isinstance(agent, BudgetPolicy):
        raise AgentError(
            "an agent trained under Saute keeps count of what its steps cost, and an ONNX policy "
            "is told none: share the run folder"
        )
    raise AgentError(
        f"{type(agent).__name__} cannot be written as ONNX; saved on- and off-policy agents, "
        "Stable-Baselines3 policies of dense layers and teams of them can"
    )


def _network_bytes(policy: NetworkPolicy) -> bytes:
    networks, settings = policy.layers, policy.settings
    layers: list[Layer] = []
    if settings.observation_mean is not None and settings.observation_std is not None:
        layers.append(Standardise(settings.observation_mean, settings.observation_std, 5.0))
    if networks.norms:
        layers.append(LayerNorm(*networks.norms[0]))
    last = len(networks.linears) - 1
    for k, (weight, bias) in enumerate(networks.linears):
        if k == last and isinstance(policy, SquashedPolicy):  # the log-deviations are left out
            weight, bias = weight[:, : policy.size], bias[: policy.size]
        layers.append(Linear(weight, bias))
        if k < last:
            layers.append(Activation(networks.activation_after(k)))
            if networks.norms:
                layers.append(LayerNorm(*networks.norms[k + 1]))
    inputs, outputs = networks.linears[0][0].shape[0], len(bias)
    space = settings.space
    if isinstance(space, spaces.Discrete):
        return mlp_bytes(layers, inputs, outputs, "logits")
    assert isinstance(space, spaces.Box)
    if isinstance(policy, SquashedPolicy):
        layers.append(Activation("tanh"))
    if settings.action_map == "high":
        layers.append(Affine(np.full(outputs, space.high[0]), np.zeros(outputs)))
    if settings.action_map == "affine":
        half = (space.high - space.low) / 2
        layers.append(Affine(half, space.low + half))
    layers.append(Clip(space.low, space.high))
    return mlp_bytes(layers, inputs, outputs, "action")
