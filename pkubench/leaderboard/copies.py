"""One training counted as several: equal and nearly equal weights, and equal curves.

The interval of an entry is over its training runs, so a run that is handed in twice makes a number
look surer than it is. Equal weights are refused when a bundle is read. What is only likely to be a
copy is flagged, shown and not ranked: a board cannot know, and honest runs may agree in their
*records* (on a small deterministic task five trainings play the same episodes), which therefore
condemn nobody. Weights that another submission handed in before are flagged by the board's store.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from pkubench.leaderboard.archive import Archive
from pkubench.leaderboard.reading import Bundle, BundleRun, BundleTask

CLOSE = 0.01
"""Relative distance below which two tensors are taken for one; five trainings do not come near."""
SHARE = 0.5
"""Share of a network's numbers in such tensors from which two runs are taken for one training."""

Arrays = Mapping[str, npt.NDArray[Any]]


def suspicions(bundle: Bundle, task: BundleTask) -> list[str]:
    """Return why runs of a task look like copies of one training, in sentences."""
    found = []
    archive = Archive(bundle.path)
    networks = {run.name: _arrays(archive, run) for run in task.runs}
    for first, second in combinations(task.runs, 2):
        pair = f"{first.name} and {second.name}"
        if first.curve and first.curve == second.curve:
            found.append(f"{pair} have the same training curve")
        share = share_of_close(networks[first.name], networks[second.name])
        if share >= SHARE:
            found.append(
                f"{share:.0%} of the weights of {pair} lie within {CLOSE:.0%} of each other"
            )
    return found


def share_of_close(first: Arrays, second: Arrays) -> float:
    """Return the share of a network's numbers in tensors that are nearly those of another.

    Tensors of one name and shape are compared by ``|a - b| / max(|a|, |b|)``.
    """
    close = total = 0
    for name, a in first.items():
        b = second.get(name)
        if b is None or a.shape != b.shape:
            return 0.0
        x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
        size = max(float(np.linalg.norm(x)), float(np.linalg.norm(y)))
        total += x.size
        close += x.size * (float(np.linalg.norm(x - y)) < CLOSE * size)
    return close / total if total else 0.0


def _arrays(archive: Archive, run: BundleRun) -> Arrays:
    """Return the tensors of a run by file and name: of safetensors, ONNX graphs and ``.npz``."""
    found: dict[str, npt.NDArray[Any]] = {}
    for member in run.weights:
        base = member.rpartition("/")[2]
        tensors = _read(base, archive.read(member))
        found |= {f"{base}:{name}": tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in found.items() if tensor.dtype.kind == "f"}


def _read(name: str, data: bytes) -> Arrays:
    if name.endswith(".safetensors"):
        from safetensors.numpy import load

        tensors: Arrays = load(data)
        return tensors
    if name.endswith(".onnx"):
        import onnx
        from onnx import numpy_helper

        constants: Sequence[Any] = onnx.load_from_string(data).graph.initializer
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in constants}
    if name.endswith(".npz"):
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return dict(archive)
    return {}  # a population in JSON: equal ones have equal hashes
