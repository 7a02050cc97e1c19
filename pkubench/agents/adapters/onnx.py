"""ONNX policies as agents: no code of the author is executed, and one thread gives the same bits.

A policy file maps one agent's observations (batch, d) to actions. Its one input is float32 or
float64 with a free batch axis. Its output (of several, the one called ``action`` or ``actions``) is
either the action itself or, for ``Discrete`` spaces, logits (batch, n), from which the largest is
taken (among legal actions, where the environment has a mask). The metadata entry
``pkubench.output`` tells which (``action`` or ``logits``); without it the output's type and rank
do. Policies have no memory and draw no random numbers.

A team is a folder: ``team.json`` (``{"format": 1, "members": {AGENT_ID: FILE}}``) and the files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from pkubench.agents.contract import Agent, Array, BoolArray, IntArray, MaskedObservation, Team
from pkubench.agents.resolve.sources import AgentRun, AgentSource, file_hash
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.envs.core.registry import make_batch
from pkubench.errors import AgentError, MissingExtra, StorageError, WeightsError, counted

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

MAX_BYTES = 256 * 2**20
"""Larger files are refused."""
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
"""Operator sets a policy may use: the standard ones."""
RANDOM_OPERATORS = frozenset(
    {
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        *("Bernoulli", "Multinomial"),
    }
)
"""Operators that a policy may not use: ONNX Runtime does not draw from the episode's seed."""
OUTPUT_KEY = "pkubench.output"
TEAM_FILE = "team.json"
TEAM_FORMAT = 1
ACTION_OUTPUTS = ("action", "actions")
"""Names of the output with the action in a graph that has other outputs too."""

_HOW_TO_EXPORT = (
    "export it with torch.onnx.export(net, (x,), FILE, external_data=False, dynamic_shapes=({0: "
    '"batch"},)); with the older exporter (dynamo=False), dynamic_axes={"input": {0: "batch"}} and '
    'input_names=["input"]'
)
"""For ``torch``: one file, with a free batch size."""
_FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64}
_INTEGERS = {"tensor(int64)", "tensor(int32)"}


class OnnxPolicy:
    """An Agent on an ONNX graph, run by ONNX Runtime on one thread. Deterministic, no memory."""

    def __init__(
        self, model: bytes, space: spaces.Space[Any], observations: int, origin: str = "policy"
    ) -> None:
        """Check a model and make its session.

        Args:
            model: The file's bytes, kept as ``model``.
            space: The action space.
            observations: Numbers in one (flattened) observation.
            origin: Name of the file, for messages.

        Raises:
            WeightsError: not an ONNX model, too large, or it uses operators that are not allowed.
            AgentError: its input or output does not fit the task.
            MissingExtra: onnx or onnxruntime is not installed.
        """
        self.model, self.space, self.origin = model, space, origin
        kind = _checked(model, origin)
        self._session = _session(model, origin)
        self._input, self._dtype = self._fitting_input(observations)
        self._output, self._is_logits = self._fitting_output(kind)

    def begin(self, seeds: IntArray) -> None:
        """Start episodes; there is no state."""

    def act(self, observation: Any, state: None, active: BoolArray) -> tuple[Array, None]:
        """Return actions (B,) int64 or (B, ...) of the space's dtype."""
        mask = None
        if isinstance(observation, MaskedObservation):
            observation, mask = observation
        flat = np.ascontiguousarray(observation, dtype=self._dtype).reshape(len(observation), -1)
        out = np.asarray(self._session.run([self._output], {self._input: flat})[0])
        if isinstance(self.space, spaces.Discrete):
            if not self._is_logits:
                return out.reshape(len(flat)).astype(np.int64), None
            if mask is not None:
                out = np.where(mask, out, -np.inf)
            return out.argmax(axis=-1) + int(self.space.start), None
        return out.reshape(len(flat), *(self.space.shape or ())), None

    def _fitting_input(self, observations: int) -> tuple[str, Any]:
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise AgentError(f"{self.origin} has {len(inputs)} inputs; a policy has one")
        (found,) = inputs
        if found.type not in _FLOATS:
            raise AgentError(f"{self.origin} takes {found.type}; a policy takes float32 or float64")
        shape = found.shape
        if len(shape) != 2 or isinstance(shape[0], int):
            raise AgentError(
                f"{self.origin} takes observations of shape {shape}; wanted (batch, "
                f"{observations}) with a free batch axis: {_HOW_TO_EXPORT}"
            )
        if isinstance(shape[1], int) and shape[1] != observations:
            raise AgentError(
                f"{self.origin} takes observations of {shape[1]} numbers, the task's have "
                f"{observations}"
            )
        return found.name, _FLOATS[found.type]

    def _fitting_output(self, kind: str | None) -> tuple[str, bool]:
        found = self._action_output()
        width = found.shape[1] if len(found.shape) > 1 else None
        if isinstance(self.space, spaces.Discrete):
            is_logits = found.type in _FLOATS if kind is None else kind == "logits"
            if is_logits and (found.type not in _FLOATS or width != int(self.space.n)):
                raise AgentError(
                    f"{self.origin} returns {found.type} of shape {found.shape}; {self.space} "
                    f"needs float logits (batch, {int(self.space.n)})"
                )
            if not is_logits and found.type not in _INTEGERS:
                raise AgentError(f"{self.origin} returns {found.type}; {self.space} needs integers")
            return found.name, is_logits
        if kind == "logits":
            raise AgentError(
                f"{self.origin} returns logits, but the task's actions are {self.space}"
            )
        size = int(np.prod(self.space.shape or (1,)))
        if isinstance(width, int) and width != size:
            raise AgentError(
                f"{self.origin} returns actions of {width} numbers, the task's are {self.space}"
            )
        return found.name, False

    def _action_output(self) -> Any:
        """Return the only output, or the only one named as an action."""
        outputs = self._session.get_outputs()
        if len(outputs) > 1:
            named = [output for output in outputs if output.name in ACTION_OUTPUTS]
            if len(named) != 1:
                names = ", ".join(output.name for output in outputs)
                raise AgentError(
                    f"{self.origin} has the outputs {names}; name the one with the action 'action' "
                    "(output_names of torch.onnx.export), or export it alone"
                )
            return named[0]
        return outputs[0]


def resolve(path: str, task: Task | None, trust: bool) -> AgentSource:
    """Return the source of ``onnx:PATH``.

    Raises:
        AgentError: there is no policy, or no task is given.
    """
    where = Path(path)
    files = [where]
    if where.is_dir():
        files = sorted([*where.glob("*.onnx"), *where.glob(TEAM_FILE)])
        names = [file.name for file in files]
        if TEAM_FILE not in names:
            raise AgentError(
                f"the folder {path} has no {TEAM_FILE}, which assigns its "
                f"{counted(len(names), 'ONNX file')} to agents; name one file, or make the folder "
                "with `pkubench export`"
            )
    if not all(file.is_file() for file in files):
        raise AgentError(f"there is no ONNX policy at {path}")
    if task is None:
        raise AgentError(f"agent 'onnx:{path}' depends on the task; name one")
    hashes = {file.name: file_hash(file) for file in files}
    run = AgentRun("run", load_policy, (where.absolute(), task), hashes)
    return AgentSource(f"onnx:{where.stem}", "onnx", (run,))


def load_policy(path: Path, task: Task) -> Agent | Team:
    """Return the agent of an ONNX file, or the team of a folder of them.

    Raises:
        WeightsError: a file is damaged or not allowed.
        AgentError: a policy does not fit the task.
        MissingExtra: onnx or onnxruntime is not installed.
    """
    env = make_batch(task.id, 1, **task.env_kwargs)
    try:
        observed = {
            agent: int(np.prod(env.observation_spaces[agent].shape or (1,))) for agent in env.agents
        }
        actions = {agent: env.action_spaces[agent] for agent in env.agents}
    finally:
        env.close()
    files = _members(path) if path.is_dir() else {SOLE_AGENT: path}
    if set(files) != set(actions):
        raise AgentError(f"{path} has policies for {sorted(files)}, the task has {sorted(actions)}")
    members: dict[str, Agent] = {
        agent: OnnxPolicy(_read(file), actions[agent], observed[agent], file.name)
        for agent, file in files.items()
    }
    return members[SOLE_AGENT] if set(members) == {SOLE_AGENT} else Team(members)


def _members(folder: Path) -> dict[str, Path]:
    path = folder / TEAM_FILE
    try:
        listed = json.loads(path.read_bytes())
        members = {str(agent): str(file) for agent, file in listed["members"].items()}
    except FileNotFoundError as error:
        raise WeightsError(f"{folder} has no {TEAM_FILE}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path} does not list the members of a team: {error}") from error
    if listed.get("format") != TEAM_FORMAT:
        raise WeightsError(f"{path} has format {listed.get('format')!r}, wanted {TEAM_FORMAT}")
    for file in members.values():
        if Path(file).name != file:
            raise WeightsError(f"{path} names {file!r}, which is not a file of the folder")
    return {agent: folder / file for agent, file in members.items()}


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise WeightsError(f"{path} is larger than {MAX_BYTES >> 20} MiB")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise AgentError(f"there is no ONNX policy at {path}") from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error


def _checked(model: bytes, origin: str) -> str | None:
    """Check what a model is made of; return its ``pkubench.output``."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise MissingExtra("onnx", "an ONNX policy") from error
    if len(model) > MAX_BYTES:
        raise WeightsError(f"{origin} is larger than {MAX_BYTES >> 20} MiB")
    try:
        parsed = onnx.load_model_from_string(model)
        parts = list(_messages(parsed))
        # First: the checker, too, would follow the paths of other files.
        tensors = (part for part in parts if isinstance(part, onnx.TensorProto))
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
            raise WeightsError(
                f"{origin} keeps weights in other files, and only the file itself is read: "
                f"{_HOW_TO_EXPORT}"
            )
        onnx.checker.check_model(parsed)
    except WeightsError:
        raise
    except Exception as error:  # protobuf and the checker raise several types
        text = (str(error).strip().splitlines() or ["damaged"])[0]
        raise WeightsError(f"{origin} is not a valid ONNX model: {text:.200}") from error
    named = (onnx.NodeProto, onnx.OperatorSetIdProto, onnx.FunctionProto)
    foreign = sorted({part.domain for part in parts if isinstance(part, named)} - DOMAINS)
    if foreign:
        raise WeightsError(f"{origin} uses operators of {foreign}; only standard ones are allowed")
    nodes = (part for part in parts if isinstance(part, onnx.NodeProto))
    drawing = sorted({node.op_type for node in nodes if _is_random(node)})
    if drawing:
        raise WeightsError(
            f"{origin} draws random numbers ({', '.join(drawing)}), so its episodes could not be "
            "repeated; export the most likely action"
        )
    kinds = [entry.value for entry in parsed.metadata_props if entry.key == OUTPUT_KEY]
    if kinds and kinds[0] not in ("action", "logits"):
        raise WeightsError(f"{origin}: metadata {OUTPUT_KEY} is {kinds[0]!r}, not action or logits")
    return str(kinds[0]) if kinds else None


def _messages(message: Any) -> Iterator[Any]:
    """Yield a protobuf message and all inside it: nested graphs, functions, sparse tensors..."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(inner)


def _is_random(node: Any) -> bool:
    is_training = node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] != ""
    return is_training or node.op_type in RANDOM_OPERATORS


def _session(model: bytes, origin: str) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtra("onnx", "an ONNX policy") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises several private types
        text = (str(error).strip().splitlines() or ["refused"])[0]
        raise WeightsError(f"{origin} cannot be run by ONNX Runtime: {text:.200}") from error
