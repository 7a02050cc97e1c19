"""Do the presets hold their limit where the optimum is known? Exact values of sampled policies.

``python -m benchmarks.results.constrained_diagnostics`` trains what has no record of the present
settings, and writes ``docs/results/constrained-diagnostics.md``; it can be stopped and started
again. ``--seeds`` from 1000 on are for tuning: they are printed and leave no record.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.results.records import RECORDS
from benchmarks.results.rows import ROOT, settings_of
from pkubench.agents.components import matches
from pkubench.agents.families.on_policy.loading import load
from pkubench.agents.learner import Context
from pkubench.agents.registry import preset
from pkubench.agents.rl.on_policy import make_learner
from pkubench.agents.saved.files import SavedAgent
from pkubench.envs.diagnostics.constrained_mdp import evaluate
from pkubench.envs.diagnostics.risky_corridor import GOAL, RiskyCorridor
from pkubench.envs.diagnostics.speed_limit import gaussian_value
from pkubench.files import write_json
from pkubench.tasks.registry import make_task
from pkubench.tasks.task import Task

PRESETS = ("ppo-lag", "trpo-lag", "focops", "cppo-pid", "cpo", "pcpo", "p3o", "cup")
SEEDS = 5
POINTS, LATE = 20, 10
"""Evaluations over a training, evenly spread, and how many of the last are averaged."""
TABLE = "constrained-diagnostics"
PAGE = ROOT / "docs/results" / f"{TABLE}.md"


class Bar(NamedTuple):
    """What a preset has to reach, as the mean over seeds of the means of the last evaluations."""

    task: str
    least_return: float
    least_cost: float
    most_cost: float
    why: str

    def verdict(self, value: float, cost: float) -> str:
        """Return ``holds``, or what it misses."""
        missed = [
            *(["return"] if value < self.least_return else []),
            *(["cost too high"] if cost > self.most_cost else []),
            *(["cost too low"] if cost < self.least_cost else []),
        ]
        return "holds" if not missed else f"misses: {', '.join(missed)}"


BARS = (
    Bar(
        "RiskyCorridor-v0",
        0.323,
        0.0,
        6.0,
        "a cost of at most 6 and a return of at least 0.323, 85 % of the optimal 0.38, which draws "
        "lots: no deterministic policy within the limit earns more than 0.30",
    ),
    Bar(
        "SpeedLimit-v0",
        15.0 + 0.85 * 3.75,
        4.0,
        6.0,
        "a cost within 20 % of the limit and a return of at least 18.19: 85 % of the gap between "
        "15, which is free, and the optimal 18.75",
    ),
)


def exact(saved: SavedAgent, task: Task) -> tuple[float, float]:
    """Return expected return and cost of a saved on-policy agent that samples its actions."""
    policy: Any = load(saved, task, {"mode": "sampled"})
    if task.id.endswith("SpeedLimit-v0"):

        def throttle(speeds: Any) -> tuple[Any, Any]:
            mean = policy.layers(policy.inputs_of(speeds[:, None]))[:, 0]
            return mean, np.broadcast_to(np.asarray(policy.settings.std).reshape(-1), mean.shape)

        return gaussian_value(throttle)
    cells = np.eye(GOAL + 1, dtype=np.float32)
    chances = policy.action_probabilities(cells, np.ones((GOAL + 1, 3), np.int8))
    found = evaluate(RiskyCorridor().model, chances)
    return found.value, found.cost


def train(agent: str, task_name: str, seed: int) -> dict[str, Any]:
    """Train a preset for the protocol's budget; return its record."""
    task, begun = make_task(task_name), time.process_time()
    config = preset(agent).config(task)
    steps = task.protocol.training_steps
    assert steps is not None
    learner: Any = make_learner(
        Context(agent=agent, task=task, settings=config, seed=seed, total=steps)
    )
    points: list[dict[str, float]] = []
    multipliers: list[float] = []
    while learner.counters.environment_steps < steps:
        multipliers.append(learner.iterate().get("multiplier", float("nan")))
        done = learner.counters.environment_steps
        if done * POINTS // steps > (points[-1]["steps"] if points else 0) * POINTS // steps:
            found = learner.export()
            saved = SavedAgent({**found.config, "task": task.id}, dict(found.tensors))
            value, cost = exact(saved, task)
            points.append({"steps": done, "return": value, "cost": cost})
    late = points[-LATE:]
    return {
        "agent": agent,
        "task": task_name,
        "seed": seed,
        "steps": steps,
        "processor_seconds": round(time.process_time() - begun, 1),
        "settings": settings_of(agent, task_name),
        "multiplier": None if np.isnan(multipliers[-1]) else multipliers[-1],
        "return": float(np.mean([point["return"] for point in late])),
        "cost": float(np.mean([point["cost"] for point in late])),
        "points": points,
    }


def path_of(agent: str, task: str, seed: int) -> Path:
    """Return the path of a run's record."""
    return RECORDS / TABLE / agent / task / f"seed{seed}.json"


def read(agent: str, task: str, seed: int) -> dict[str, Any] | None:
    """Return the record of a run by the present preset, or None."""
    path = path_of(agent, task, seed)
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    is_present = matches(preset(agent).config(make_task(task)), found["settings"])
    return found if is_present else None


def page() -> str:
    """Return the page: both tables, from the records that there are."""
    return "".join([_HEAD, *(text for bar in BARS for text in _table(bar))])


_HEAD = f"""# Constrained presets where the optimum is known

Written by `python -m benchmarks.results.constrained_diagnostics`; no figure is entered by hand.
Each preset is trained for the protocol's budget with the settings it has on these two tasks. At
{POINTS} points the return and the cost of its policy, which samples its actions, are computed
exactly; a run is the mean of the last {LATE}. In brackets: least and most of {SEEDS} runs. The
settings were chosen on training seeds from 1000 on, which no row uses.

Settings for these tasks alone (`saferl.py`): updates of 2,048 steps and a learning rate of actors
of 1e-3, since a budget of 200,000 steps is 49 updates otherwise; CUP has rates of 5e-4 for its
actor and 0.4 for its multiplier; P3O updates of 1,024 steps and a kappa of 4.

Departures from the papers, which every CPU preset shares and `-paper` presets do not: multipliers
in the reward's unit with optimistic ascent (PPO-Lag, TRPO-Lag, FOCOPS) or with a controller of the
relative excess (CPPO-PID); CUP's multiplier in the unit of costs; P3O's penalty on or off for a
whole pass; CPO and PCPO test a step on data that it was not computed from, and weigh an excess ten
times. See [constrained agents](../agents/constrained.md).

"""


def _table(bar: Bar) -> Iterator[str]:
    limit = make_task(bar.task).cost_limit
    yield f"## {bar.task}\n\nThe limit is {limit:g}. The bar: {bar.why}.\n\n"
    yield "| agent | return | cost | runs that hold | multiplier | verdict |\n"
    yield "|---|---|---|---|---|---|\n"
    for agent in PRESETS:
        runs = [read(agent, bar.task, seed) for seed in range(SEEDS)]
        done = [run for run in runs if run is not None]
        if len(done) < SEEDS:
            yield f"| {agent} | - | - | - | - | {len(done)} of {SEEDS} runs are done |\n"
            continue
        values, costs = ([run[name] for run in done] for name in ("return", "cost"))
        held = sum(bar.verdict(v, c) == "holds" for v, c in zip(values, costs, strict=True))
        multipliers = [run["multiplier"] for run in done if run["multiplier"] is not None]
        yield (
            f"| {agent} | {_spread(values)} | {_spread(costs)} | {held} of {SEEDS} "
            f"| {_spread(multipliers) if multipliers else '-'} "
            f"| {bar.verdict(float(np.mean(values)), float(np.mean(costs)))} |\n"
        )
    yield "\n"


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def main() -> None:
    """Train what is missing and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="rows whose 'AGENT TASK' matches this")
    parser.add_argument("--seeds", default="", help="comma-separated; from 1000 on without record")
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",") if seed] or range(SEEDS)
    for seed in seeds:
        for bar in BARS:
            for agent in PRESETS:
                is_chosen = re.search(args.only, f"{agent} {bar.task}")
                if not is_chosen or read(agent, bar.task, seed) is not None:
                    continue
                found = train(agent, bar.task, seed)
                if seed < 1000:
                    path_of(agent, bar.task, seed).parent.mkdir(parents=True, exist_ok=True)
                    write_json(path_of(agent, bar.task, seed), found)
                print(
                    f"{agent} {bar.task} seed {seed}: return {found['return']:.3f}, cost "
                    f"{found['cost']:.2f}, multiplier {found['multiplier']}, "
                    f"{bar.verdict(found['return'], found['cost'])}",
                    flush=True,
                )
    PAGE.write_text(page())
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
