"""What each stage of the pipelines of grasping adds: every stage's agent, by the task's protocol.

``python -m benchmarks.results.grasp_stages`` evaluates the stages of finished rows that have no
record yet, and ``python -m benchmarks.results.grasp --stage table`` writes them into the page. A
stage takes about half a minute of one core.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pkubench
from benchmarks.results.records import RECORDS, sha256_of
from benchmarks.results.rows import DONE, Row, config_of
from pkubench.agents.families.grasp.presets import PipelineConfig
from pkubench.files import write_json

FILE = RECORDS / "grasp-stages" / "stages.json"


class Measured(NamedTuple):
    """The score of a stage of one run."""

    row: str
    task: str
    seed: int
    stage: str
    steps: int
    """Of the environment, in this stage."""
    weights: str
    """SHA-256."""
    metrics: dict[str, float]
    """Means by name."""


def read() -> list[Measured]:
    """Return what was measured."""
    if not FILE.exists():
        return []
    return [Measured(**of) for of in json.loads(FILE.read_text())]


def measured(rows: Iterable[Row], known: Iterable[Measured]) -> Iterator[Measured]:
    """Yield the score of every stage that acts, of finished runs; what is known is not repeated."""
    before = {(of.row, of.task, of.seed, of.stage, of.weights): of for of in known}
    for row in rows:
        if not isinstance(config_of(row.agent, row.task), PipelineConfig):
            continue
        for seed in range(row.seeds):
            run = row.run(seed, row.steps)
            if not (run / DONE).exists():
                continue
            for folder in sorted((run / "stages").iterdir()):
                config = json.loads((folder / "config.json").read_text())
                if not config.get("kind"):  # geometry does not act
                    continue
                weights = sha256_of(folder / "weights.safetensors")
                key = (row.name, row.task, seed, folder.name.partition("-")[2], weights)
                yield before.get(key) or _measure(key, folder, config)


def _measure(key: tuple[str, str, int, str, str], folder: Path, config: Any) -> Measured:
    row, task, seed, stage, weights = key
    report = pkubench.evaluate(str(folder), task).to_json()
    means = {name: found["mean"] for name, found in report["metrics"].items()}
    return Measured(row, task, seed, stage, int(config.get("steps", 0)), weights, means)


def section(found: Iterable[Measured]) -> Iterator[str]:
    """Yield the table: a line for each stage of each run, with its gain over the one before."""
    lines = list(found)
    if not lines:
        return
    yield "## Stages of the pipelines\n\nBy `python -m benchmarks.results.grasp_stages`. The gain "
    yield "is in points of success at any step over the stage before.\n\n"
    yield "| row | task | seed | stage | steps | success | gain | last 30 steps | train |\n"
    yield f"|{'---|' * 9}\n"
    before: Measured | None = None
    for line in lines:
        share, gain = line.metrics["success"], ""
        if before is not None and before[:3] == line[:3]:
            gain = f"{100.0 * (share - before.metrics['success']):+.1f}"
        train = line.metrics.get("success@train")
        cells = [line.row, line.task, str(line.seed), line.stage, f"{line.steps:,}"]
        cells += [f"{share:.3f}", gain, f"{line.metrics['success_hold']:.3f}"]
        yield f"| {' | '.join([*cells, '' if train is None else f'{train:.3f}'])} |\n"
        before = line
    yield "\n"


def main() -> None:
    """Measure what is missing, and save after every stage."""
    from benchmarks.results.grasp import ROWS

    known, found = read(), []
    for line in measured(ROWS, known):
        found.append(line)
        print(f"{line.row} {line.task} seed {line.seed} {line.stage}: {line.metrics}", flush=True)
        FILE.parent.mkdir(parents=True, exist_ok=True)
        write_json(FILE, [dict(of._asdict()) for of in found])


if __name__ == "__main__":
    main()
