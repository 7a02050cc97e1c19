"""The papers' claims, judged by the records of all tables: evidence for the package, and a page.

``make results-claims`` trains nothing. It gathers the finished rows of the other tables into
``pkubench/tasks/claims/evidence.json``, by which ``pkubench claims`` judges, and writes
``docs/claims.md``. Run it after each of the others.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import (
    alignment,
    cooperative_games,
    credit,
    foundation,
    game_records,
    grasp,
    marl,
    micro_battle,
    moderation,
    records,
    retrieval,
    retrieval_page,
    retrieval_transfer,
    safe_rlhf,
    safety,
    sequence,
)
from benchmarks.results.claims_page import page_of
from benchmarks.results.game_records import GameRow, Line
from benchmarks.results.games_claim import equal_budgets
from benchmarks.results.rows import ROOT, Row
from pkubench.agents.registry import family_of, preset, presets
from pkubench.data.cards import cards
from pkubench.envs.games.normal_form import MatrixGame
from pkubench.envs.games.trees import registered_game
from pkubench.evaluation.evidence import EVIDENCE, Sample, save
from pkubench.tasks.claim import RECORDED
from pkubench.tasks.registry import claims, make_task

TABLES = (
    foundation.ROWS,
    marl.ROWS,
    safety.ROWS,
    cooperative_games.ROWS,
    micro_battle.ROWS,
    credit.ROWS,
    sequence.ROWS,
    grasp.ROWS,
)
PAGE = ROOT / "docs/claims.md"
FILE = ROOT / "pkubench/tasks/claims" / EVIDENCE
UNITS = {"environment_steps": "steps"}
"""What a family counts -> the unit of its budgets, where it is called otherwise."""


def gathered() -> list[Sample]:
    """Return the samples of all finished rows whose agents and tasks some claim is about.

    Raises:
        ValueError: two rows of one agent, task and budget hold other runs.
    """
    wanted = {
        (agent, task)
        for _, claim in claims().values()
        for pair in claim.pairs
        for task in pair.tasks
        for agent in (pair.better, pair.other)
    }
    found: dict[tuple[str, str, str, float | None], Sample] = {}
    of_alignment = (*alignment.samples(), *moderation.samples(), *safe_rlhf.samples())
    of_retrieval = (*retrieval_page.samples(retrieval.ROWS), *retrieval_transfer.samples())
    for sample in (*_trained(), *_populations(), *of_alignment, *of_retrieval):
        if (sample.agent, sample.task) not in wanted:
            continue
        key = sample.agent, sample.task, sample.unit, sample.budget
        if found.setdefault(key, sample) != sample:
            raise ValueError(f"two rows are {key} and have other runs")
    return list(found.values())


def spelling(agent: str, changes: Iterable[tuple[str, str]]) -> str:
    """Return how claims spell an agent with other settings than its preset's.

    >>> spelling("ppo", [("clip", "0.1"), ("gamma", "0.9")])
    'ppo with clip=0.1, gamma=0.9'
    """
    words = ", ".join(f"{name}={value}" for name, value in changes)
    return f"{agent} with {words}" if words else agent


def _trained() -> Iterator[Sample]:
    """Yield the rows of trained networks."""
    for row in {row: None for rows in TABLES for row in rows}:
        runs = [records.read(row, seed, row.steps) for seed in range(row.seeds)]
        done = [run for run in runs if run is not None]
        if len(done) == row.seeds:
            yield _of_row(row, done)


def _of_row(row: Row, done: list[dict[str, Any]]) -> Sample:
    task = make_task(row.task)
    counted = family_of(preset(row.agent)).unit
    unit, budget = UNITS.get(counted, counted), float(row.steps)
    learned_from: tuple[tuple[str, str], ...] = ()
    if row.data:
        unit, budget = RECORDED, float(cards()[row.data]["steps"])
        learned_from = (("data", row.data.rpartition("/")[2].removesuffix("-v0")),)
    reports = [run["report"]["metrics"] for run in done]
    metrics = {
        metric.name: tuple(report[metric.name]["mean"] for report in reports)
        for metric in task.metrics
        if all(metric.name in report for report in reports)
    }
    if row.sampled:  # the figures of its table
        late = [run["validation"] for run in done]
        keys = {"return": "sampled", "success": "sampled_success"}
        metrics = {m: tuple(run[k] for run in late) for m, k in keys.items() if k in late[0]}
    return Sample(
        agent=spelling(row.agent, (*row.changes, *learned_from)),
        task=task.id,
        unit=unit,
        budget=budget,
        keep=getattr(row, "keep", "last"),
        seeds=tuple(str(run["seed"]) for run in done),
        metrics=metrics,
    )


def _populations() -> Iterator[Sample]:
    """Yield the populations of each game at the budgets that are equal for its methods."""
    headings: dict[str, list[tuple[str, Line]]] = {}
    for path in sorted(game_records.RECORDS.rglob("*.json")):
        record = json.loads(path.read_text())
        if record["game"] != game_records.MIXTURE and record.get("clock") == game_records.CLOCK:
            name, line = _line(path, record)
            headings.setdefault(line.row.heading, []).append((name, line))
    for found in headings.values():
        # a record of the ends alone has no values in between
        curves = [line for _, line in found if line.row.every < line.row.iterations]
        last = float(min(line.row.iterations for line in curves))
        budgets = {"iterations": last, **equal_budgets(curves)}
        has = {"iterations": [line for _, line in found], "episodes": curves}
        has["seconds"] = game_records.timed_alike(curves)
        for name, line in found:
            for unit, most in budgets.items():
                if line in has[unit]:
                    yield _of_line(name, line, unit, float(f"{most:.6g}"))


def _line(path: Path, record: Mapping[str, Any]) -> tuple[str, Line]:
    """Return a record's spelling and its runs: its file is ``AGENT+SETTING=VALUE.json``."""
    stem = path.name.removesuffix(".json")
    agent, *changes = [stem] if stem in presets() else stem.split("+")
    name = spelling(agent, ((key, value) for key, _, value in (c.partition("=") for c in changes)))
    row = GameRow(agent, record["game"], record["iterations"], len(record["runs"]), record["every"])
    return name, Line(row, record["runs"])


def _of_line(name: str, line: Line, unit: str, most: float) -> Sample:
    """Return a row at a budget, in the units of its game's payoffs."""
    scale = _scale(line.row.game)
    # a record's PE is of one side: the task's metric is summed over both
    columns = {"exploitability": ("exploitability", 1.0), "population_exploitability": ("pe", 2.0)}
    return Sample(
        agent=name,
        task=make_task(line.row.game).id,
        unit=unit,
        budget=most,
        seeds=tuple(str(run["seed"]) for run in line.runs),
        metrics={
            metric: tuple(
                float(f"{scale * factor * value:.6g}") for value in line.at(column, unit, most)
            )
            for metric, (column, factor) in columns.items()
        },
    )


@functools.cache
def _scale(name: str) -> float:
    """Return the largest payoff of a matrix game, the unit of its records; of a tree 1."""
    game = registered_game(name)
    return float(np.abs(game.payoff).max()) if isinstance(game, MatrixGame) else 1.0


def main() -> None:
    """Write the evidence of the package and the page."""
    argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0]).parse_args()
    samples = gathered()
    save(samples, FILE)
    PAGE.write_text(page_of(samples), encoding="utf-8")
    print(f"wrote {FILE} and {PAGE}")


if __name__ == "__main__":
    main()
