"""Measure the reference scores of the tasks and write them to pkubench/tasks/references.json.

    python tools/measure_references.py [TASK ...] [--only random|lazy|reference] [--episodes N]

Every normalised score is based on these numbers: 0 is the best of the random agent and the lazy
policies, 1 the reference agent. All are scored by the harness like any entry, untrained ones on
more episodes (``--episodes`` sets their number). A lazy policy over the cost limit is no floor and
is left out. In games the reference is the equilibrium, whose exploitability is 0; where a linear
program gives the optimum within the cost limit, it is that optimum. An environment that knows
expected returns exactly (its ``exact_returns``) gives the reference, random play, its lazy policies
and the best shared policy. Entries that are not measured again stay as they are; a reference agent
without shipped weights for a task is skipped with a note.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pkubench
from pkubench.envs.core.registry import make_batch
from pkubench.envs.diagnostics.constrained_mdp import ConstrainedMDP, solve
from pkubench.errors import AgentError
from pkubench.tasks.registry import REFERENCES, suites
from pkubench.tasks.suite import Suite
from pkubench.tasks.task import Task

FILE = Path(pkubench.__file__).parent / "tasks" / REFERENCES
LONG_HORIZON, LONG_FACTOR = 1000, 10
"""Longer episodes have more steps, and take longer."""
SCRIPTED_EPISODES, SCRIPTED_LONG_EPISODES = 2000, 64
"""Of scripted agents, whose scores vary less than those of random play."""


def measured(task: Task, agent: str, episodes: int, anchor: str) -> dict[str, Any]:
    """Score an agent and return its entry of the file."""
    report = pkubench.evaluate(agent, task, episodes=episodes)
    found = report.metrics[task.ranking.name]
    if found.mean is None or (anchor != "random" and report.score is None):
        why = "it is over the cost limit" if report.failed == 0 else next(iter(report.failures))
        raise AgentError(f"{agent} gives no {anchor} score on {task.id}: {why}")
    short = task.id.rpartition("/")[2]
    command = f"pkubench evaluate {agent} {short} --episodes {episodes}"
    return {"agent": agent, "score": found.mean, "n": found.n, "command": command}


def lazy(task: Task, episodes: int, known: set[str]) -> dict[str, dict[str, Any]]:
    """Return the entries of a task's lazy policies but the known ones; none over the cost limit."""
    found: dict[str, dict[str, Any]] = {}
    for name, score in task.lazy.items():
        if name in known:
            continue
        if score is not None:
            why = f"{score / (task.protocol.horizon or 1):g} a step for surviving"
            found[name] = {"agent": name, "score": score, "n": 1, "command": why}
            continue
        try:
            found[name] = measured(task, f"scripted:{name}", episodes, name)
        except AgentError as error:
            print(f"{task.id}: {error}", file=sys.stderr)
    return found


def known(task: Task, suite: Suite) -> dict[str, Any]:
    """Return the entry of a reference whose score needs no measuring, such as an equilibrium's."""
    command = f"pkubench evaluate {suite.reference} {task.id.rpartition('/')[2]}"
    return {"agent": suite.reference, "score": suite.reference_score, "n": 1, "command": command}


def optimum_of(task: Task) -> dict[str, Any] | None:
    """Return the exact optimum within the cost limit of a tabular environment, else None."""
    env = make_batch(task.id)
    model = getattr(env, "model", None)
    if not isinstance(model, ConstrainedMDP) or task.cost_limit is None:
        return None
    score = round(solve(model, task.cost_limit).value, 12)
    command = f"constrained_mdp.solve({type(env).__name__}().model, {task.cost_limit:g})"
    return {"agent": "scripted:optimum", "score": score, "n": 1, "command": command}


EXACT_ROWS = {
    "random": ("random", "random"),
    "no-op": ("scripted:no-op", "no-op"),
    "best-shared": ("scripted:best-shared", "best-shared"),
    "reference": ("scripted:optimum", "optimum"),
}
"""Row -> agent, and its name in an environment's ``exact_returns``."""


def exact_rows(task: Task) -> dict[str, dict[str, Any]]:
    """Return the rows whose expected returns an environment computes, if it does, else nothing."""
    env = make_batch(task.id).unwrapped
    exact: dict[str, float] = getattr(env, "exact_returns", {})
    made = f"pkubench.make_batch({task.id.rpartition('/')[2]!r}).unwrapped"
    is_played = not getattr(env, "optimum_by_search", False)
    return {
        row: {
            "agent": agent if row != "reference" or is_played else "search",
            "score": round(exact[name], 12),
            "n": 1,
            "command": f"{made}.exact_returns[{name!r}]",
        }
        for row, (agent, name) in {
            **EXACT_ROWS,
            **{name: (f"scripted:{name}", name) for name in task.lazy},
        }.items()
        if name in exact and (row == "reference" or exact[name] < exact["optimum"])
    }


def entries(task: Task, only: str | None, count: int | None) -> dict[str, dict[str, Any]]:
    """Measure what was asked for of one task, untrained agents on ``count`` episodes."""
    found: dict[str, dict[str, Any]] = {}
    exact = exact_rows(task)
    episodes, suite = task.protocol.episodes, suites()[task.suite]
    long = (task.protocol.horizon or 0) >= LONG_HORIZON
    scripted = count or (SCRIPTED_LONG_EPISODES if long else SCRIPTED_EPISODES)
    if only in (None, "random"):
        many = count or (LONG_FACTOR if long else suite.random_factor) * episodes
        found["random"] = exact.get("random") or measured(task, "random", many, "random")
    if only in (None, "lazy"):
        known_rows = {name: row for name, row in exact.items() if name in task.lazy}
        found |= known_rows | lazy(task, scripted, set(known_rows))
    if only in (None, "reference"):
        if suite.reference_score is not None:
            found["reference"] = known(task, suite)
        elif (optimum := optimum_of(task)) is not None:
            found["reference"] = optimum
        elif exact:
            found |= exact
        elif agent := task.reference or suite.reference:
            played = scripted if task.reference else episodes
            try:
                found["reference"] = measured(task, agent, played, "reference")
            except AgentError as error:
                print(f"{task.id}: {error}", file=sys.stderr)
    return found


def main() -> int:
    """Measure, and rewrite the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="default: all")
    parser.add_argument("--only", choices=("random", "lazy", "reference"))
    parser.add_argument("--episodes", type=int, help="of untrained agents")
    options = parser.parse_args()
    chosen = [pkubench.make_task(name) for name in options.tasks] or list(pkubench.tasks())
    stored: dict[str, dict[str, Any]] = json.loads(FILE.read_text())
    for task in chosen:
        new = entries(task, options.only, options.episodes)
        both = {**stored.get(task.id, {}), **new}
        order = ("random", *task.lazy, "best-shared", "reference")
        stored[task.id] = {anchor: both[anchor] for anchor in order if anchor in both}
        for anchor, entry in new.items():
            print(f"{task.id} {anchor}: {entry['agent']} {entry['score']:.4f} (n = {entry['n']})")
        ordered = {t.id: stored[t.id] for t in pkubench.tasks() if stored.get(t.id)}
        FILE.write_text(json.dumps(ordered, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
