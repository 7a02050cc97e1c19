"""Settings of MAT, MAT-Dec and Sable on the particle tasks: which of some candidates learn most.

``python -m benchmarks.tuning.teams`` trains what has no record yet and writes
``docs/results/sequence-tuning.md``; ``--stage plan`` prints what is left to do with the expected
core seconds. It can be stopped and started again at any time. Training seeds are 1000 and up, which
no table has; every figure is of the training session's validation, whose episodes no table has
either. What is chosen is then written into the presets by hand, with ``CHOSEN`` here.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from benchmarks.tuning.robots_page import Trial as Recorded
from benchmarks.tuning.robots_page import trials_of
from benchmarks.tuning.trials import (
    EPISODES,
    FIRST_SEED,
    LAST,
    POINTS,
    ROOT,
    Candidates,
    Trial,
    is_recorded,
    records_of,
    run,
)

_STUDY = "teams"
RECORDS = records_of(_STUDY)
PAGE = ROOT / "docs/results/sequence-tuning.md"
AGENTS = ("mat", "mat-dec", "sable")
TASKS = ("SimpleSpreadContinuous-v0", "SimpleReferenceContinuous-v0")
STEPS = 300_000
FIRST = {"lr": 1e-3, "epochs": 5, "minibatches": 1, "clip": 0.2, "entropy": 0.01, "gamma": 0.95}
"""HAPPO's CPU numbers, with which the presets began; each candidate changes one of them."""
CANDIDATES: Candidates = {
    "first": FIRST,
    "slower": {**FIRST, "lr": 5e-4},
    "faster": {**FIRST, "lr": 2e-3},
    "minibatches": {**FIRST, "minibatches": 4},
    "passes": {**FIRST, "epochs": 10},
    "less-entropy": {**FIRST, "entropy": 0.001},
    "longer-sighted": {**FIRST, "gamma": 0.99},
}
"""Name -> settings."""
CHOSEN: Mapping[str, str] = dict.fromkeys(AGENTS, "first")
"""Agent -> the candidate whose numbers its preset has."""
_STEPS_PER_SECOND = {"mat": 3_250.0, "mat-dec": 7_150.0, "sable": 1_620.0}
"""Of a core, with five passes."""
_HEAD = f"""# Settings of MAT, MAT-Dec and Sable

Written by `python -m benchmarks.tuning.teams`. Candidates are compared on training seeds from
{FIRST_SEED} on, which no table has, by the validation of the training session: {POINTS} points of
{EPISODES} episodes each, on seeds of their own, so no score of a table chose them. *Mode* and
*sampled* are the mean return over the last {LAST} points with the policy's mode and with sampled
actions. Each candidate changes one number of *first*, HAPPO's CPU preset.

"""


def trials(agents: Iterable[str], seeds: int, steps: int) -> Iterator[Trial]:
    """Yield all trials, one seed of everything before the next."""
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        for task in TASKS:
            for agent in agents:
                for name in CANDIDATES:
                    yield Trial(_STUDY, name, agent, task, seed, steps)


def seconds(trial: Trial) -> float:
    """Return the expected core seconds of a trial.

    >>> round(seconds(Trial("teams", "passes", "mat", TASKS[0], FIRST_SEED, 325_000)))
    200
    """
    passes = float(CANDIDATES[trial.candidate]["epochs"]) / float(FIRST["epochs"])
    return trial.steps / _STEPS_PER_SECOND[trial.agent] * passes


def plan_of(left: Iterable[Trial]) -> Iterator[str]:
    """Yield a table of trials that have no record, with their core seconds."""
    total = 0.0
    yield "| candidate | agent | task | seed | core seconds | sum |\n|---|---|---|---|---|---|\n"
    for trial in left:
        total += seconds(trial)
        cells = [trial.candidate, trial.agent, trial.task, f"{trial.seed}"]
        yield f"| {' | '.join([*cells, f'{seconds(trial):,.0f}', f'{total:,.0f}'])} |\n"
    yield f"\n{total:,.0f} core seconds, {total / 3600:.1f} hours of a core\n"


def page_of(records: Path) -> str:
    """Return the page: the candidates, then a table for each agent and budget."""
    found = list(trials_of(records))
    names = list(FIRST)
    parts = [_HEAD, f"| candidate | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}\n"]
    for candidate, settings in CANDIDATES.items():
        parts.append(f"| {candidate} | {' | '.join(f'{settings[n]:g}' for n in names)} |\n")
    chosen = ", ".join(f"`{agent}` *{name}*" for agent, name in CHOSEN.items())
    parts.append(f"\nThe presets have {chosen}.\n\n")
    for agent in AGENTS:
        own = [trial for trial in found if trial.name.rpartition("-seed")[0] == agent]
        for steps in sorted({trial.steps for trial in own}):
            parts.append(f"## {agent}, {steps:,} steps\n\n")
            parts += _table([trial for trial in own if trial.steps == steps])
    return "".join(parts)


def _table(found: list[Recorded]) -> Iterator[str]:
    order = list(CANDIDATES)
    yield "| task | candidate | mode | sampled | seeds | seconds a run |\n" + "|---" * 6 + "|\n"
    for task in TASKS:
        for candidate in order:
            runs = [t.record for t in found if (t.task, t.candidate) == (task, candidate)]
            if runs:
                cells = [task, candidate]
                for kind in ("mode", "sampled"):
                    means = [sum(run[kind][-LAST:]) / len(run[kind][-LAST:]) for run in runs]
                    cells.append(f"{sum(means) / len(means):.4g}")
                spent = sum(run["seconds"] for run in runs) / len(runs)
                yield f"| {' | '.join([*cells, str(len(runs)), f'{spent:.0f}'])} |\n"
    yield "\n"


def main() -> None:
    """Parse the command line; print the plan, or train what is missing and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--stage", choices=("all", "plan", "table"), default="all")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--agents", default=",".join(AGENTS), help="separated by commas")
    parser.add_argument("--only", default="", help="trials whose 'CANDIDATE TASK' matches this")
    args = parser.parse_args()
    agents = args.agents.split(",")
    if unknown := sorted(set(agents) - set(AGENTS)):
        parser.error(f"not among {', '.join(AGENTS)}: {', '.join(unknown)}")
    left = [
        trial
        for trial in trials(agents, args.seeds, args.steps)
        if re.search(args.only, f"{trial.candidate} {trial.task}")
        and not is_recorded(trial, CANDIDATES)
    ]
    if args.stage == "plan":
        print("".join(plan_of(left)), end="")
        return
    for trial in left if args.stage == "all" else ():
        run(trial, CANDIDATES)
    PAGE.write_text(page_of(RECORDS))
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
