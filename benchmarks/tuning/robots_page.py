"""Writes ``docs/results/marl-tuning.md`` from the records of ``benchmarks.tuning.robots``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.tuning.trials import LAST

_HEAD = """# Settings of HAPPO and MAPPO on robots

Written by `python -m benchmarks.tuning.robots`. Candidates are compared on training seeds from 1000
on, which no table has, by the validation of the training session: 20 points of 4 episodes each, on
seeds of their own, so no score of a table chose them. *Mode* and *sampled* are the mean return over
the last ten points with the policy's mode and with sampled actions. *Last / best* is the last
point's return over that of the best point: far below 1, the policy collapsed. *KL* is
KL(old || new) of an agent's update, the mean over agents, median and maximum over updates: of the
whole batch where it stops the passes, else estimated on the last minibatch.

"""


class Trial(NamedTuple):
    """The figures of one training."""

    steps: int
    candidate: str
    task: str
    name: str
    """Agent and seed, ``happo-seed1000``."""
    record: Mapping[str, Any]


def page_of(
    records: Path, candidates: Mapping[str, Mapping[str, Any]], chosen: str, why: str
) -> str:
    """Return the page: the candidates' settings, then a table for each budget.

    Args:
        records: their folder.
        candidates: name -> settings.
        chosen: the name of the candidate that the presets have.
        why: a sentence on the choice.
    """
    trials = sorted(trials_of(records), key=lambda t: (t.steps, t.task, t.name))
    order = {name: k for k, name in enumerate(candidates)}
    trials.sort(key=lambda t: (t.steps, t.task, t.name, order.get(t.candidate, len(order))))
    sections = [_HEAD, *_candidates(candidates, chosen, why)]
    for steps in sorted({trial.steps for trial in trials}):
        sections += _budget(steps, [trial for trial in trials if trial.steps == steps])
    return "".join(sections)


def trials_of(records: Path) -> Iterator[Trial]:
    """Yield the trials that have a record below a folder."""
    for path in records.rglob("*.json"):
        steps, candidate, task, _ = path.relative_to(records).parts
        yield Trial(int(steps), candidate, task, path.stem, json.loads(path.read_text()))


def _candidates(
    candidates: Mapping[str, Mapping[str, Any]], chosen: str, why: str
) -> Iterator[str]:
    names = list(next(iter(candidates.values())))
    yield "| candidate | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1) + "\n"
    for candidate, settings in candidates.items():
        mark = " (chosen)" if candidate == chosen else ""
        values = [_text(settings[name]) for name in names]
        yield f"| {candidate}{mark} | " + " | ".join(values) + " |\n"
    yield f"\nThe presets have *{chosen}*. {why}\n\n"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else f"{value:g}"


def _budget(steps: int, trials: list[Trial]) -> Iterator[str]:
    yield f"## {steps:,} steps\n\n"
    yield "| task | run | candidate | mode | sampled | last / best | KL | seconds |\n"
    yield "|---|---|---|---|---|---|---|---|\n"
    for trial in trials:
        record = trial.record
        mode, sampled = (record[key][-LAST:] for key in ("mode", "sampled"))
        best = max(record["mode"])
        share = f"{record['mode'][-1] / best:.2f}" if best > 0 else "-"
        cells = [trial.task, trial.name, trial.candidate, f"{sum(mode) / len(mode):.4g}"]
        cells += [f"{sum(sampled) / len(sampled):.4g}", share]
        cells += [f"{record['kl_median']:.2g}, {record['kl_max']:.2g}"]
        yield "| " + " | ".join([*cells, f"{record['seconds']:.0f}"]) + " |\n"
    yield "\n"
