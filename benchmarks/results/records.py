"""Records of trained runs: the harness's report of each, kept in the repository.

A table takes hours to train and its weights would be too large for the package, so each finished
run leaves one small file, ``records/TABLE/ROW/TASK/seedN.json``: the training command, the hash of
the weights and the harness's own report. Pages are computed from these files. A run can be trained
again with the command in it, and compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pkubench
from benchmarks.results.rows import Row
from pkubench.agents.registry import family_of, preset
from pkubench.agents.resolve.acting import with_acting
from pkubench.evaluation.metrics import Constraint, constraint
from pkubench.evaluation.statistics import mean_interval
from pkubench.files import write_json
from pkubench.tasks.records import EPISODES, read_records, returns_by_option
from pkubench.tasks.registry import make_task
from pkubench.tasks.scoring import Aggregate

MANY = 256
"""Episodes by which a run's own cost is compared with its limit: of a protocol's 64 layouts the
interval of the mean cost covers the limit in half of the runs."""
INFERENCE = "float64"
"""Precision in which saved agents act; what they return is rounded to float32."""
BY_OPTION = "return:"
"""Begins the names of mean returns by option."""
UNITS = {"iterations": "iterations", "gradient_steps": "gradient steps"}
"""What a family counts -> how tables name it; all else are steps of the environment."""
LAST_POINTS = 10
"""Validation points averaged in a record."""
RECORDS = Path(__file__).parent / "records"
"""Where the records are; weights and curves are in ``runs`` while they are needed."""


def path_of(row: Row, seed: int, budget: int) -> Path:
    """Return the path of a run's record; for another budget it is in the folder of the run."""
    if budget != row.steps:
        return row.run(seed, budget) / "record.json"
    return RECORDS / row.table / row.name / row.task / f"seed{seed}.json"


def read(row: Row, seed: int, budget: int) -> dict[str, Any] | None:
    """Return the record of a run, None if there is none of this budget, settings and protocol."""
    path = path_of(row, seed, budget)
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    is_by_protocol = found["report"]["episodes"] == row.num_episodes
    is_of_row = found["budget"] == budget and row.is_made_by(found, budget)
    return found if is_by_protocol and is_of_row else None


def write(row: Row, seed: int, budget: int, run: Path) -> dict[str, Any]:
    """Evaluate a finished run by its task's protocol and write the record."""
    config = json.loads((run / "config.json").read_text())
    record = {
        "row": row.name,
        "agent": row.agent,
        "task": row.task,
        "seed": seed,
        "budget": budget,
        "steps": config.get("steps", budget),
        "seconds": config.get("seconds"),
        "command": config["command"],
        "settings": config.get("settings", {}),
        "weights": sha256_of(run / "weights.safetensors"),
        **_evaluated(row, run),
    }
    if row.data:
        record["data"] = {"id": row.data, "sha256": config["inputs"]["data"]}
    if row.asked:
        record["asked"] = asked(row, run, config["policy"]["returns"])
    if "training_cost" in config:
        record["training_cost"] = config["training_cost"]
        last = json.loads((run / "training.jsonl").read_text().splitlines()[-1])
        if "cost" in last:
            record["training_cost_at_the_end"] = last["cost"]
    if "validation" in config:
        record["validation"] = validated(config["validation"])
    path_of(row, seed, budget).parent.mkdir(parents=True, exist_ok=True)
    write_json(path_of(row, seed, budget), record)
    return record


def validated(validation: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record keeps of a run's validation.

    ``mode`` and ``sampled`` are means of the last ten points' returns, ``best`` is the best point's
    at the mode; ``sampled_success`` is the sampled policy's where the task has successes. Where
    only the last point was sampled there is no ``sampled``. ``curve`` has the sampled policy's
    returns by option at every point, where episodes have options.

    >>> points = [{"at": k, "return": float(k)} for k in range(1, 12)]
    >>> validated({"points": points})
    {'mode': 6.5, 'best': 11.0}
    """
    found: dict[str, Any] = {}
    for name, key, figure in (
        ("mode", "points", "return"),
        ("sampled", "sampled_points", "return"),
        ("sampled_success", "sampled_points", "success"),
    ):
        last = [point.get(figure) for point in validation.get(key, ())][-LAST_POINTS:]
        if last and None not in last:
            found[name] = round(sum(last) / len(last), 6)
    curve = [
        {"at": point["at"], **{k: round(v, 6) for k, v in point.items() if k.startswith(BY_OPTION)}}
        for point in validation.get("sampled_points", ())
    ]
    if any(len(point) > 1 for point in curve):
        found["curve"] = curve
    returns = [point["return"] for point in validation["points"] if "return" in point]
    return {**found, "best": max(returns)} if returns else found


def write_again(row: Row, seed: int, weights: Path) -> None:
    """Evaluate the weights of a run again and replace its report."""
    path = path_of(row, seed, row.steps)
    record = json.loads(path.read_text())
    write_json(path, {**record, "task": row.task, **_evaluated(row, weights)})


def _evaluated(row: Row, run: Path) -> dict[str, Any]:
    report = pkubench.evaluate(str(run), row.task, episodes=row.episodes or None).to_json()
    # The run's folder is a path of this machine.
    found: dict[str, Any] = {"inference": INFERENCE, "report": {**report, "agent": row.agent}}
    has_limit = make_task(row.task).cost_limit is not None
    if has_limit:
        many = pkubench.evaluate(str(run), row.task, episodes=MANY)
        found["many"] = {"episodes": MANY, "metrics": many.to_json()["metrics"]}
    acting = family_of(preset(row.agent)).acting
    if (has_limit or row.sampled) and "sampled" in acting.get("mode", ()):
        with TemporaryDirectory() as folder:
            acting_sampled = with_acting(str(run), {"mode": "sampled"})
            sampled = pkubench.evaluate(acting_sampled, row.task, out=folder)
            (episodes,) = Path(folder).rglob(EPISODES)
            by_option = returns_by_option(read_records(episodes))
        found["sampled"] = {"metrics": sampled.to_json()["metrics"]}
        if by_option:
            found["sampled"]["by_option"] = by_option
    return found


def asked(row: Row, run: Path, returns: Sequence[float]) -> list[dict[str, Any]]:
    """Evaluate a run with each target return of its row.

    Args:
        row: whose ``asked`` says for what.
        run: the agent's folder.
        returns: the worst and the best return of its data.
    """
    found = []
    for text in row.asked:
        target = target_of(text, *returns)
        agent = with_acting(str(run), {"target_return": f"{target:.6g}"})
        report = pkubench.evaluate(agent, row.task, episodes=row.episodes or None)
        found.append({"asked": text, "target": target, "metrics": report.to_json()["metrics"]})
    return found


def target_of(text: str, worst: float, best: float) -> float:
    """Return the target return that a row asks for.

    >>> target_of("50%", -10.0, 0.0), target_of("10", 0.0, 1.0)
    (-5.0, 10.0)
    """
    if text.endswith("%"):
        return worst + float(text[:-1]) / 100.0 * (best - worst)
    return float(text)


def acted_in(record: Mapping[str, Any]) -> str:
    """Return the precision in which a record's agent acted when it was evaluated.

    Releases that did not keep it acted in float32, whose last bits depend on the processor.
    """
    return str(record.get("inference", "float32"))


def sha256_of(path: Path) -> str:
    """Return the hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Scored:
    """One line of a table."""

    name: str
    training: str
    """Budget and time of training, or a dash."""
    sample: str
    """The sample of the intervals: ``runs``, or the ``episodes`` of the only run."""
    metrics: Mapping[str, tuple[float, float | None, float | None, int]]
    """Name -> mean, low, high, n."""
    runs: Sequence[Mapping[str, float]]
    """Each run's means."""
    constraint: Constraint | None = None
    """How well the cost limit is kept; None in a task without one."""
    training_costs: Sequence[Mapping[str, float]] = ()
    """Each run's cost of training, if all runs recorded it."""
    sampled: Sequence[Mapping[str, float]] = ()
    """Each run's means when its policy samples its actions, if all runs recorded them."""
    at_the_end: Sequence[float] = ()
    """Mean cost of each run's last training episodes, if all runs recorded it."""
    weights: Sequence[str] = ()
    """Each run's hash of its weights."""
    validated: Sequence[Mapping[str, float]] = ()
    """Each run's means over its last ten validations, if all runs were validated."""
    seconds: float | None = None
    """Mean time of training of the runs that recorded it."""
    asked: Sequence[Sequence[Mapping[str, Any]]] = ()
    """Each run's evaluations by target return, if all runs recorded them (``asked``)."""
    in_float32: int = 0
    """Runs evaluated when agents acted in float32, without weights to evaluate them again."""

    def text(self, metric: str) -> str:
        """Return ``mean [low, high]``."""
        mean, low, high, _ = self.metrics[metric]
        if low is None or high is None:
            return f"{mean:.4g}"
        return f"{mean:.4g} [{low:.4g}, {high:.4g}]"

    def violation(self) -> str:
        """Return the violation of the cost limit, ``mean [low, high]``."""
        if self.constraint is None:
            return "-"
        mean, low, high, _ = self.constraint.violation
        return f"{mean:.3g}" if low is None else f"{mean:.3g} [{low:.3g}, {high:.3g}]"

    def feasible_runs(self) -> str:
        """Return how many runs are within the limit, with Wilson's interval of the share."""
        if self.constraint is None or self.sample != "runs":
            return "-"
        _, low, high, _ = self.constraint.feasible_runs
        return f"{self.constraint.runs_within} [{low:.2f}, {high:.2f}]"

    def training_excess(self) -> str:
        """Return the mean excess cost of a training episode, over runs ``mean [low, high]``."""
        return _over_runs([cost["mean_excess"] for cost in self.training_costs])

    def sampled_text(self, metric: str) -> str:
        """Return a metric of the sampled policy, over runs ``mean [low, high]``."""
        return _over_runs([run[metric] for run in self.sampled])

    def cost_at_the_end(self) -> str:
        """Return the mean cost of the last training episodes, over runs ``mean [low, high]``."""
        return _over_runs(self.at_the_end)

    def validation(self) -> str:
        """Return the means over the last ten validations of the runs: ``mode, sampled``."""
        cells = []
        for name in ("mode", "sampled"):
            found = [run[name] for run in self.validated if name in run]
            cells.append(f"{sum(found) / len(found):.4g}" if found else "-")
        return ", ".join(cells) if self.validated else "-"

    def mean(self, metric: str) -> float:
        """Return the mean over runs."""
        return self.metrics[metric][0]


def _over_runs(values: Sequence[float]) -> str:
    if not values:
        return "-"
    found = mean_interval(values)
    if len(values) == 1:
        return f"{found.estimate:.4g}"
    return f"{found.estimate:.4g} [{found.low:.4g}, {found.high:.4g}]"


def scored_row(row: Row, budget: int) -> Scored | None:
    """Return a row's line from its records, None if a run is missing."""
    found = [read(row, seed, budget) for seed in range(row.seeds)]
    records = [record for record in found if record is not None]
    if len(records) < row.seeds:
        return None
    unit = UNITS.get(family_of(preset(row.agent)).unit, "steps")
    training = f"{records[0]['steps']:,} {unit}"
    settings = records[0]["settings"]
    if "updates_per_step" in settings:
        ratio = settings["num_envs"] / settings["updates_per_step"]
        training += f", an update every {ratio:.3g}"
    training += ", best kept" if row.keep == "best" else ""
    seconds = [r["seconds"] for r in records if r["seconds"] is not None]
    training += f", {sum(seconds) / len(seconds):.0f} s per run" if seconds else ""
    costs = [r["training_cost"] for r in records if "training_cost" in r]
    costs = costs if len(costs) == len(records) else []
    line = _scored(row.name, training, [r["report"] for r in records], costs)
    if all("many" in r for r in records) and line.constraint is not None:
        many = [r["many"]["metrics"]["cost"]["mean"] for r in records]
        of_runs = constraint(line.constraint.cost_limit, Aggregate(*line.metrics["cost"]), many)
        line = replace(line, constraint=of_runs)
    points = [r["validation"] for r in records if "validation" in r]
    sampled = [r["sampled"]["metrics"] for r in records if "sampled" in r]
    ends = [r["training_cost_at_the_end"] for r in records if "training_cost_at_the_end" in r]
    return replace(
        line,
        sampled=[{m: of["mean"] for m, of in run.items()} for run in sampled]
        if len(sampled) == len(records)
        else (),
        at_the_end=ends if len(ends) == len(records) else (),
        weights=[r["weights"] for r in records],
        seconds=sum(seconds) / len(seconds) if seconds else None,
        asked=[r["asked"] for r in records] if all("asked" in r for r in records) else (),
        in_float32=sum(acted_in(record) != INFERENCE for record in records),
        validated=points if len(points) == len(records) else [],
    )


def scored_agent(agent: str, task: str) -> Scored:
    """Evaluate an agent that needs no training."""
    return _scored(agent, "-", [pkubench.evaluate(agent, task, workers=2).to_json()])


def by_old_rules(agent: str, task: str) -> float:
    """Return what an agent scores on a particle environment by the v2 rules, HARL's.

    Published scores by those rules are on a different scale from ours: positions are updated with
    the new velocity, and on SimpleSpread an agent collides with itself, -37.5 per episode.
    """
    found = make_task(task)
    old = replace(found, env_kwargs={**found.env_kwargs, "rules": "v2"})
    score = pkubench.evaluate(agent, old, workers=2).metrics[found.ranking.name].mean
    if score is None:
        raise ValueError(f"{agent} failed episodes of {task} by the v2 rules")
    return score


def _scored(
    name: str,
    training: str,
    reports: Sequence[Mapping[str, Any]],
    training_costs: Sequence[Mapping[str, float]] = (),
) -> Scored:
    task = make_task(reports[0]["task"])
    # a metric that was introduced after a record is left out of the line
    names = [m.name for m in task.metrics if all(m.name in r["metrics"] for r in reports)]
    runs = [{m: _value(name, r, m) for m in names} for r in reports]
    metrics: dict[str, tuple[float, float | None, float | None, int]] = {}
    for m in names:
        if len(runs) == 1:
            only = reports[0]["metrics"][m]
            metrics[m] = (only["mean"], only["low"], only["high"], only["n"])
        else:
            metrics[m] = (*mean_interval([run[m] for run in runs]), len(runs))
    sample = "episodes" if len(runs) == 1 else "runs"
    kept = None
    if task.cost_limit is not None:
        costs = [run["cost"] for run in runs]
        kept = constraint(task.cost_limit, Aggregate(*metrics["cost"]), costs)
    return Scored(name, training, sample, metrics, runs, kept, training_costs)


def _value(name: str, report: Mapping[str, Any], metric: str) -> float:
    value = report["metrics"][metric]["mean"]
    if value is None:
        raise ValueError(f"{name} failed episodes of {report['task']}: {report['failures']}")
    return float(value)
