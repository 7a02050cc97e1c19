"""Results folders as the harness leaves them, written by its own record writer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pkubench.agents.saved.files import save_agent
from pkubench.envs.core.seeding import evaluation_seeds
from pkubench.evaluation.report import SCHEMA, Report
from pkubench.evaluation.run.harness import evaluation_folder, versions_for
from pkubench.evaluation.run.storage import RunFolder
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.registry import make_task

Writer = Callable[..., Path]


def write_results(
    root: Path,
    agent: str,
    task_name: str,
    scores: Sequence[Sequence[float]],
    *,
    costs: Sequence[Sequence[float]] | None = None,
    label: str = "saved",
    seed: int = 0,
    failure: str | None = None,
    curves: bool = True,
    steps: int | None = 1000,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Write one run for each row of ``scores`` (one score an episode) and return AGENT's folder.

    Weights, with a config and a training curve, go to ``root / "weights" / AGENT / TASK / seedN``.
    """
    task = make_task(task_name)
    folder = evaluation_folder(root / "results", agent, task)
    for k, given in enumerate(scores):
        row = [float(score) for score in given]
        hashes = {}
        if label == "saved":
            weights = root / "weights" / agent / task_name / f"seed{k}"
            config = {
                "kind": "on-policy",
                "agent": agent,
                "task": task.id,
                "seed": k,
                "steps": steps,
                "command": f"pkubench train {agent} {task_name} --seed {k}",
            }
            drawn = np.random.default_rng([k, *agent.encode()]).normal(size=(2, 3))
            save_agent(weights, config, {"w": drawn.astype(np.float32)})
            for file in ("config.json", "weights.safetensors"):
                hashes[file] = hashlib.sha256((weights / file).read_bytes()).hexdigest()
            if curves:
                lines = [
                    {"steps": s, task.ranking.name: row[0] * (1 + 1 / s), "cost": 30.0 / s}
                    for s in (100, 300, 1000)
                ]
                (weights / "training.jsonl").write_text(
                    "".join(json.dumps(x) + "\n" for x in lines)
                )
        fingerprint = {
            "schema": SCHEMA,
            "task": task.id,
            "agent": agent,
            "label": label,
            "run": f"seed{k}",
            "hashes": hashes,
            "seed": seed,
            "episodes": len(row),
            "horizon": task.protocol.horizon,
            "env_kwargs": dict(task.env_kwargs),
            "block": 16,
            "threads": 1,
            "versions": versions_for(task),
            **(settings or {}),
        }
        names = {metric.name for metric in task.metrics}
        records = []
        for i, (s, value) in enumerate(
            zip(evaluation_seeds(seed, len(row)).tolist(), row, strict=True)
        ):
            failed = failure is not None and i == 0
            extra = {} if "return" in names else {"exploitability": value, "nash_conv": 2 * value}
            records.append(
                EpisodeRecord(
                    episode=i,
                    seed=s,
                    return_=None if failed else value,
                    returns={} if failed else {"agent_0": value},
                    cost=costs[k][i] if costs is not None and not failed else None,
                    length=25,
                    metrics={} if failed else extra,
                    failure=failure if failed else None,
                )
            )
        run = RunFolder(folder / f"seed{k}", task, fingerprint, [len(row)])
        run.append(records)
        run.close()
    Report.from_records(folder, task).save(folder)
    return folder.parent


def spread_scores(
    mean: float, runs: int = 5, episodes: int = 200, seed: int = 0
) -> list[list[float]]:
    """Return scores of a plausible agent: runs differ, episodes differ more."""
    rng = np.random.default_rng(seed)
    offsets = rng.normal(0.0, 1.0, (runs, 1))
    return (mean + offsets + rng.normal(0.0, 4.0, (runs, episodes))).round(6).tolist()


def bind(manifest: dict[str, Any]) -> None:
    """Put right the binding of a manifest that was changed, as an attacker would."""
    runs = []
    for task in manifest["tasks"]:
        for run in task["runs"]:
            members = [run["episodes"], *run["weights"]]
            hashes = [manifest["members"][member]["sha256"] for member in members]
            runs.append([task["task"], run["name"], *hashes])
    text = json.dumps([manifest["name"], manifest["agent"], runs], indent=1) + "\n"
    manifest["binding"] = hashlib.sha256(text.encode()).hexdigest()
