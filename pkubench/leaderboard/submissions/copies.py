"""One training counted as several: equal and nearly equal weights, and equal curves.

The interval of an entry is over its training runs, so a run that is submitted twice makes a number
look more certain than it is. Equal weights are refused when a bundle is read. Runs that are only
likely to be copies are flagged, shown and not ranked: a board cannot know, and independent runs may
agree in their *records* (on a small deterministic task five trainings play the same episodes), so
equal records are no evidence.

Tensors are compared regardless of their names, their order and that of their numbers, and of a
saved agent only those that acting reads, so that neither more tensors nor permuted hidden units
hide a copy. One with rescaled hidden units, or with permuted ones and noise, is not detected.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pkubench.agents.resolve.saved import tensors_read
from pkubench.leaderboard.board.reading import CONFIG, Bundle, BundleRun, BundleTask, is_weights
from pkubench.leaderboard.submissions.archive import Archive
from pkubench.leaderboard.submissions.manifest import MANIFEST
from pkubench.tasks.task import Task

CLOSE = 0.01
"""Relative distance below which two tensors count as equal; independent trainings are far above."""
SHARE = 0.1
"""Share of a network's numbers in such tensors from which on two runs count as one training.
Between the five seeds of every agent that pkubench ships it is below 0.001."""
ROUNDING = 1e-6
"""Relative distance of sorted numbers below which one tensor is a permutation of another."""
DISTINCT = 16
"""Different numbers that it must have: a few may agree, as exact equilibria of a small game do."""
_TIMES = ("seconds", "per_second")
"""Endings of the keys of a curve that differ between two trainings of the same weights."""

Arrays = Sequence[npt.NDArray[Any]]


def suspicions(task: BundleTask, folder: Path) -> list[str]:
    """Return why runs of a task look like copies of one training, in sentences.

    Args:
        task: the runs.
        folder: holds a folder of each run's name with its weights.
    """
    found = []
    networks = {run.name: arrays_of(folder / run.name, task.task) for run in task.runs}
    for first, second in combinations(task.runs, 2):
        pair = f"{first.name} and {second.name}"
        if first.curve and _points(first) == _points(second):
            found.append(f"{pair} have the same training curve")
        share = share_of_close(networks[first.name], networks[second.name])
        if share >= SHARE:
            found.append(
                f"{share:.0%} of the weights of {pair} lie within {CLOSE:.0%} of each other"
            )
    return found


def known_weights(bundle: Bundle, task: BundleTask, others: Iterable[tuple[str, bytes]]) -> str:
    """Return which weights of a task belong to another submission, in a sentence; empty if none do.

    Args:
        bundle: the bundle of the task.
        task: its runs.
        others: name and file of the submissions to compare with.
    """
    with tempfile.TemporaryDirectory(prefix="pkubench-copies-") as temporary:
        folder = Path(temporary)
        own = {}
        for run in task.runs:
            if run.weights:
                own[run.name] = arrays_of(bundle.extract_weights(run, folder / run.name), task.task)
        for number, (name, data) in enumerate(others if own else ()):
            for theirs, network in _stored(data, task.task, folder / f"other{number}"):
                for mine, arrays in own.items():
                    if share_of_close(arrays, network) >= SHARE:
                        known = f"{theirs} of {name}"
                        return f"the weights of {mine} are on this board already, as {known}"
    return ""


def _stored(data: bytes, task: Task, folder: Path) -> Iterator[tuple[str, Arrays]]:
    """Yield name and tensors of each run of a bundle that a board has checked and keeps."""
    folder.mkdir()
    path = folder / "bundle.zip"
    path.write_bytes(data)
    archive = Archive(path)
    for entry in json.loads(archive.read(MANIFEST))["tasks"]:
        for run in entry["runs"] if entry["task"] == task.id else ():
            place = folder / run["name"]
            place.mkdir()
            for member in run["weights"]:
                (place / member.rpartition("/")[2]).write_bytes(archive.read(member))
            if run["weights"]:
                yield run["name"], arrays_of(place, task)


def share_of_close(first: Arrays, second: Arrays) -> float:
    """Return the share of the smaller network's numbers that are nearly equal to the other's.

    Each tensor is compared with the nearest unmatched one of the same shape, by
    ``|a - b| / max(|a|, |b|)``, or by the same distance of their sorted numbers, which must be
    equal but for rounding: those of independent trainings are alike, as draws of a distribution.
    """
    left = [tensor.astype(np.float64) for tensor in second]
    close = 0
    for tensor in first:
        a = tensor.astype(np.float64)
        others = [k for k, b in enumerate(left) if b.shape == a.shape]
        if not others:
            continue
        distances = [_distance(a, left[k]) for k in others]
        match = others[int(np.argmin(distances))] if min(distances) < CLOSE else None
        if match is None:
            match = next((k for k in others if _is_permuted(a, left[k])), None)
        if match is not None:
            close += a.size
            del left[match]
    smaller = min(sum(t.size for t in first), sum(t.size for t in second))
    return close / smaller if smaller else 0.0


def arrays_of(folder: Path, task: Task) -> Arrays:
    """Return the tensors of a run: of a saved agent, ONNX graphs or a population in ``.npz``.

    Raises:
        WeightsError: a saved agent is damaged, or does not fit its own description.
        AgentError: it does not fit the task.
    """
    if (folder / CONFIG).is_file():
        found = list(tensors_read(folder, task).values())
    else:
        files = sorted(path for path in folder.iterdir() if is_weights(path.name))
        found = [tensor for path in files for tensor in _read(path)]
    return [tensor for tensor in found if tensor.dtype.kind == "f"]


def _distance(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    size = max(float(np.linalg.norm(a)), float(np.linalg.norm(b)))
    return float(np.linalg.norm(a - b)) / size if size else 1.0  # two zeros are no evidence


def _is_permuted(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> bool:
    """Return whether two tensors have the same numbers; norms come first, for they cost less."""
    sizes = np.linalg.norm(a), np.linalg.norm(b)
    if abs(sizes[0] - sizes[1]) > ROUNDING * max(sizes):
        return False
    ordered = np.sort(a, axis=None)
    is_evidence = np.unique(ordered).size >= DISTINCT
    return is_evidence and _distance(ordered, np.sort(b, axis=None)) < ROUNDING


def _read(path: Path) -> Arrays:
    if path.suffix == ".onnx":
        import onnx
        from onnx import numpy_helper

        graph = onnx.load(path, load_external_data=False).graph
        attributes = (attribute for node in graph.node for attribute in node.attribute)
        constants = [attribute.t for attribute in attributes if attribute.HasField("t")]
        return [numpy_helper.to_array(tensor) for tensor in (*graph.initializer, *constants)]
    if path.suffix == ".npz":
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            return list(archive.values())
    return []  # a population in JSON: equal ones have equal hashes


def _points(run: BundleRun) -> list[dict[str, Any]]:
    """Return a curve as values, without those that differ between trainings of the same weights."""
    lines = [json.loads(line) for line in run.curve.splitlines()]
    return [{k: v for k, v in line.items() if not k.endswith(_TIMES)} for line in lines]
