"""Writing policies as ONNX: a network is a list of plain layers, so no torch is needed.

The graph computes in float64 and rounds to float32 where the NumPy policies do (``Round``). Matrix
products differ between processors in their last bits, which rounding removes: the file gives the
same actions on every machine. Weights are stored as float32 and widened when it is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.agents.adapters.onnx import OUTPUT_KEY, TEAM_FILE, TEAM_FORMAT, OnnxPolicy
from pkubench.agents.adapters.predicting import PredictingPolicy
from pkubench.agents.contract import Agent, Entrant, Team
from pkubench.agents.nn.fast.policy import Layers, NetworkPolicy
from pkubench.agents.nn.fast.squashed_policy import SquashedPolicy
from pkubench.agents.rl.budget import BudgetPolicy
from pkubench.errors import AgentError, MissingExtra
from pkubench.files import write_bytes, write_json

Array = npt.NDArray[Any]
OPSET = 17
"""Every ONNX Runtime since 1.12 runs it."""
IR_VERSION = 8

ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "elu": ""}
"""Names of activations, and the operators that compute them (``elu`` is composed of several)."""


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
    """``clip((x - mean) / std, -bound, bound)``."""

    mean: Array
    std: Array
    bound: float


class Clip(NamedTuple):
    """``min(max(x, low), high)``, elementwise."""

    low: Array
    high: Array


class Round(NamedTuple):
    """Round to float32; what follows is computed in float32."""


class Widen(NamedTuple):
    """Back to float64, after a ``Round``."""


Layer = Linear | LayerNorm | Activation | Affine | Standardise | Clip | Round | Widen


def mlp_bytes(
    layers: Sequence[Layer],
    inputs: int,
    outputs: int,
    output: Literal["action", "logits"],
    *,
    wide_input: bool = False,
) -> bytes:
    """Return the ONNX model of a network.

    Args:
        layers: The operations on an observation, in order, in float64 until a ``Round``. Without
            one the output is rounded.
        inputs: Numbers in one observation.
        outputs: Numbers in one output.
        output: Kind of the output.
        wide_input: Take observations as float64; False takes them rounded to float32.

    Raises:
        AgentError: an activation has no ONNX operator here.
        MissingExtra: onnx is not installed.
    """
    try:
        import onnx
        from onnx import TensorProto, helper
    except ModuleNotFoundError as error:
        raise MissingExtra("onnx", "writing an ONNX policy") from error
    graph = _Graph("observation")
    if not wide_input:
        graph.apply("Cast", to=TensorProto.DOUBLE)
    is_rounded = any(isinstance(layer, Round) for layer in layers)
    for layer in layers if is_rounded else [*layers, Round()]:
        graph.add(layer)
    graph.nodes.append(helper.make_node("Identity", [graph.current], [output]))
    taken, given = (
        TensorProto.DOUBLE if wide else TensorProto.FLOAT for wide in (wide_input, graph.is_wide)
    )
    made = helper.make_graph(
        graph.nodes,
        "policy",
        [helper.make_tensor_value_info("observation", taken, ["batch", inputs])],
        [helper.make_tensor_value_info(output, given, ["batch", outputs])],
        graph.constants,
    )
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="pkubench",
    )
    helper.set_model_props(model, {OUTPUT_KEY: output})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class _Graph:
    """Nodes and constants of a graph that grows at one end."""

    def __init__(self, current: str) -> None:
        """Begin with the value ``current``, in float64."""
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.current, self.is_wide = current, True

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        from onnx import helper

        name = f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def constant(self, value: Any) -> str:
        """Store an array in single precision if exact, cast to the graph's current dtype."""
        from onnx import TensorProto, numpy_helper

        array = np.asarray(value)
        with np.errstate(over="ignore"):
            narrow = np.ascontiguousarray(array, dtype=np.float32)
        is_narrow = not self.is_wide or bool((narrow == array).all())
        stored = narrow if is_narrow else np.ascontiguousarray(array, dtype=np.float64)
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(stored, name))
        return (
            self.node("Cast", name, to=TensorProto.DOUBLE) if self.is_wide and is_narrow else name
        )

    def apply(self, operator: str, *others: str, **attributes: Any) -> None:
        """Append a node with the current value as first input; its output is the next one."""
        self.current = self.node(operator, self.current, *others, **attributes)

    def add(self, layer: Layer) -> None:
        """Append a layer.

        Raises:
            AgentError: an activation has no ONNX operator here.
        """
        from onnx import TensorProto

        constant, apply = self.constant, self.apply
        match layer:
            case Linear(weight, bias):
                apply("Gemm", constant(weight), constant(bias))
            case LayerNorm(scale, shift, epsilon):
                self._layer_norm(scale, shift, epsilon)
            case Activation("elu"):
                self._elu()
            case Activation(name):
                if name not in ACTIVATIONS:
                    raise AgentError(f"activation {name!r} cannot be exported")
                apply(ACTIVATIONS[name])
            case Affine(scale, shift):
                if np.any(scale != 1.0):
                    apply("Mul", constant(scale))
                if np.any(shift != 0.0):
                    apply("Add", constant(shift))
            case Standardise(mean, std, bound):
                apply("Sub", constant(mean))
                apply("Div", constant(std))
                apply("Clip", constant(-bound), constant(bound))
            case Clip(low, high):
                apply("Max", constant(low))
                apply("Min", constant(high))
            case Round():
                apply("Cast", to=TensorProto.FLOAT)
                self.is_wide = False
            case Widen():
                apply("Cast", to=TensorProto.DOUBLE)
                self.is_wide = True

    def _elu(self) -> None:
        """ONNX Runtime has no Elu in double precision."""
        zero, one = self.constant(0.0), self.constant(1.0)
        falling = self.node("Sub", self.node("Exp", self.node("Min", self.current, zero)), one)
        self.current = self.node("Add", self.node("Max", self.current, zero), falling)

    def _layer_norm(self, scale: Array, shift: Array, epsilon: float) -> None:
        """ONNX Runtime's own takes the mean square less the squared mean, which cancels digits."""
        self.apply("Sub", self.node("ReduceMean", self.current, axes=[-1]))
        size = self.constant(float(len(scale)))
        variance = self.node("Div", self.node("ReduceSumSquare", self.current, axes=[-1]), size)
        self.apply("Div", self.node("Sqrt", self.node("Add", variance, self.constant(epsilon))))
        self.apply("Mul", self.constant(scale))
        self.apply("Add", self.constant(shift))


def export_onnx(entrant: Entrant, path: Path) -> None:
    """Write an entrant as ONNX: one file, or for a team a folder with one file an agent id.

    Of a stochastic policy the mode is written: ONNX policies are deterministic.

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
            "an agent trained under Saute observes the cost of its steps, and an ONNX policy "
            "receives no costs: share the run folder"
        )
    if isinstance(agent, PredictingPolicy):
        raise AgentError(f"this policy cannot be written as ONNX: {agent.why_no_graph}")
    raise AgentError(
        f"{type(agent).__name__} cannot be written as ONNX; saved on- and off-policy agents, "
        "Stable-Baselines3 policies of dense layers and teams of them can"
    )


def _network_bytes(policy: NetworkPolicy) -> bytes:
    networks, settings = policy.layers, policy.settings
    if not isinstance(networks, Layers):
        raise AgentError(
            "only networks of dense layers can be written as ONNX: share the run folder"
        )
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
        return mlp_bytes(layers, inputs, outputs, "logits", wide_input=True)
    if not isinstance(space, spaces.Box):
        raise AgentError(f"a policy of several choices at once ({space}) cannot be written as ONNX")
    if isinstance(policy, SquashedPolicy):
        layers.append(Activation("tanh"))
    # From here on what ``map_action`` does, operation by operation: in float32 until it meets the
    # bounds of a space in float64.
    layers.append(Round())
    ones, zeros = np.ones(outputs), np.zeros(outputs)
    if settings.action_map == "affine":
        layers.append(Affine(ones, ones))
    if space.dtype == np.float64:
        layers.append(Widen())
    if settings.action_map == "high":
        layers.append(Affine(np.full(outputs, space.high[0]), zeros))
    if settings.action_map == "affine":
        layers.append(Affine((space.high - space.low) / 2, space.low))
    layers.append(Clip(space.low, space.high))
    return mlp_bytes(layers, inputs, outputs, "action", wide_input=True)
