"""Untrusted weights: checked as bytes before any library loads them."""

from __future__ import annotations

import math
from typing import Any

from pkubench.agents.saved.population_content import POPULATION_SUFFIXES, check_population_bytes
from pkubench.errors import BundleError, MissingExtra, WeightsError
from pkubench.leaderboard.submissions.manifest import decode

_LONGEST_HEADER = 8 << 20
_ITEM_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}


def check_weights(name: str, data: bytes) -> None:
    """Check that a member holds what its name says: tensors, or an ONNX graph; never a pickle.

    Raises:
        BundleError: it is something else, damaged, or refers to files outside itself.
    """
    if name.endswith(".safetensors"):
        _check_safetensors(name, data)
    elif name.endswith(".onnx"):
        _check_onnx(name, data)
    elif name.endswith(POPULATION_SUFFIXES):
        try:
            check_population_bytes(name, data)
        except WeightsError as error:
            raise BundleError(str(error)) from error
    else:
        raise BundleError(
            f"{name} is not a weights file; they are *.safetensors or *.onnx, populations *.npz or "
            "*.json"
        )


def _check_safetensors(name: str, data: bytes) -> None:
    """Check the format of the file: header length, JSON header, gapless tensors."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or data[8:9] != b"{" or length > min(_LONGEST_HEADER, len(data) - 8):
        raise BundleError(
            f"{name} is not a safetensors file (pickles and torch archives are refused, because "
            "reading them can run code), or it is cut short"
        )
    header = decode(data[8 : 8 + length], f"the header of {name}")
    end = 0
    tensors = [value for key, value in header.items() if key != "__metadata__"]
    try:
        for tensor in sorted(tensors, key=lambda tensor: tensor["data_offsets"]):
            size = math.prod(tensor["shape"]) * _ITEM_BYTES[tensor["dtype"]]
            start, stop = tensor["data_offsets"]
            if start != end or stop - start != size or min(tensor["shape"], default=0) < 0:
                raise BundleError(f"{name} is damaged: its tensors do not fill it")
            end = stop
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{name} has a header that is not a safetensors one") from error
    if end != len(data) - 8 - length:
        raise BundleError(f"{name} is cut short or has bytes that belong to no tensor")


def _check_onnx(name: str, data: bytes) -> None:
    """Parse the graph; refuse tensors kept in other files and operators outside the standard."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise MissingExtra("onnx", "reading a bundle with ONNX weights") from error
    try:
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and the checker raise several private types
        raise BundleError(f"{name} is not a valid ONNX model: {error!s:.200}") from error
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in _tensors(model)):
        raise BundleError(f"{name} keeps tensors in other files; save the model as one file")
    domains = {node.domain for graph in _graphs(model) for node in graph.node}
    foreign = sorted(domains - {"", "ai.onnx", "ai.onnx.ml"} - {f.domain for f in model.functions})
    if foreign:
        raise BundleError(f"{name} needs operators of {foreign[0]!r}, which boards do not load")


def _graphs(model: Any) -> list[Any]:
    """Return the main graph, functions, and the graphs nested in nodes (If, Loop, Scan)."""
    found, waiting = [], [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        found.append(graph)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                waiting.extend(attribute.graphs)
    return found


def _tensors(model: Any) -> list[Any]:
    """Return the tensors of all graphs, those inside attributes of nodes too."""
    found: list[Any] = []
    for graph in _graphs(model):
        found.extend(getattr(graph, "initializer", ()))
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    found.append(attribute.t)
                found.extend(attribute.tensors)
    return found
