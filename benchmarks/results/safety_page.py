"""Writes ``docs/results/safety.md``: from records, and from a new evaluation of ``random``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from benchmarks.results.anchors import is_trained
from benchmarks.results.page import (
    Pair,
    Table,
    markdown,
    not_learned,
    return_cost_figure,
    table_of,
    unfinished,
    verdicts,
)
from benchmarks.results.records import Scored
from benchmarks.results.rows import Row, page_path

_ON_POLICY = {
    "PointGoal1-v0": {
        "ppo": "25.4, 55.7",
        "ppo-lag": "13.0, 25.8",
        "trpo-lag": "18.5, 23.0",
        "cpo": "20.5, 28.8",
        "pcpo": "18.6, 23.0",
        "focops": "15.0, 33.7",
        "cup": "14.4, 19.0",
        "p3o": "1.6, 31.1",
        "cppo-pid": "8.4, 25.7",
        "trpo-pid": "19.2, 21.4",
    },
    "CarGoal1-v0": {
        "ppo": "33.4, 58.1",
        "ppo-lag": "13.3, 21.7",
        "trpo-lag": "27.0, 26.8",
        "cpo": "25.5, 43.3",
    },
    "HalfCheetahVelocity-v0": {
        "ppo": "6922, 919",
        "ppo-lag": "2946, 3.4",
        "trpo-lag": "2885, 9.0",
        "cpo": "2787, 4.7",
        "pcpo": "1678, 19.1",
        "focops": "2965, 2.4",
        "cup": "2851, 4.3",
        "p3o": "2118, 27.6",
        "cppo-pid": "2838, 8.1",
        "trpo-pid": "2797, 11.2",
    },
    "HopperVelocity-v0": {
        "ppo": "2337, 550",
        "ppo-lag": "962, 14.0",
        "trpo-lag": "1392, 11.2",
        "cpo": "1714, 13.4",
        "pcpo": "1551, 15.5",
        "focops": "1438, 10.1",
        "cup": "1716, 7.5",
        "p3o": "1232, 16.3",
        "cppo-pid": "1713, 9.0",
        "trpo-pid": "1179, 18.8",
    },
}
"""OmniSafe's benchmark page, on policy, 10 M steps: return, cost."""
_OFF_POLICY = {
    "HopperVelocity-v0": {
        "td3": "3404, 974",
        "td3-lag": "929, 40.7",
        "sac-lag": "964, 20.2",
        "sac-pid": "813, 92.2",
    },
    "PointCircle1-v0": {
        "ddpg": "113.7, 421.5",
        "td3": "115.2, 391.1",
        "sac": "115.1, 403.4",
        "ddpg-lag": "70.7, 22.0",
        "td3-lag": "83.1, 7.8",
        "sac-lag": "83.7, 12.8",
        "ddpg-pid": "71.6, 0",
        "td3-pid": "71.0, 0",
        "sac-pid": "75.2, 4.5",
    },
}
"""The same page, off policy: 1 M steps, 3 M on PointCircle1."""
_TWO_EPISODES = {"PointCircle1-v0"}
"""Published scores that sum two episodes of 500 steps: ``autoreset`` inside ``TimeLimit(1000)`` in
OmniSafe's adapter and evaluator (its commit 18776f17)."""
_HOLDING = ("trpo-lag", "cpo", "pcpo", "focops", "cup", "p3o", "cppo-pid", "trpo-pid")
"""On-policy agents with a cost limit, to compare with PPO-Lag."""


class Ceiling(NamedTuple):
    """An upper bound of the return of a run."""

    value: float
    why: str
    without_cost: bool = True
    """Whether it only bounds runs without cost."""


_CHEETAH = Ceiling(1000 * 3.2096, "1,000 steps at the limit of 3.2096")
POINT_SPEED = 0.015 / 0.01 + 2 * (1 / 0.3) * 0.0193
"""Point's maximal speed, 1.63 m/s: its force over its damping, and twice the turning speed times
the distance of the centre of mass from the axis, which is all that turning can add."""
_CEILINGS = {
    "HalfCheetahVelocity-v0": _CHEETAH,
    "MultiHalfCheetah2x3Velocity-v1": _CHEETAH,
    "HopperVelocity-v0": Ceiling(
        1000 * (0.7402 + 1.0), "1,000 steps at the limit of 0.7402, upright"
    ),
    "PointGoal1-v0": Ceiling(
        20.0 * POINT_SPEED * (1 + 1 / 0.405),
        f"20 s at Point's maximal speed of {POINT_SPEED:.2f} m/s, and a goal every 0.405 m, the "
        "minimal distance between two",
        without_cost=False,
    ),
    "PointCircle1-v0": Ceiling(
        500 * 0.1 * POINT_SPEED,
        f"500 steps on the rim at Point's maximal speed of {POINT_SPEED:.2f} m/s",
        without_cost=False,
    ),
}
_TITLE = "# Constrained control\n\n"
_HEAD = """\
Written by `make results-safety`; no score here is entered by hand. Every run is scored by `pkubench
evaluate`, with its deterministic policy, on seeds that no learner has trained on. The cost limit is
25 per episode. Intervals are 95 % Student t intervals over training seeds (n); a row with one run
shows the interval over its episodes and says so. *Violation* is max(0, mean cost - 25), *feasible
runs* how many seeds keep the limit by themselves, and *excess in training* the mean excess of the
cost over the limit per training episode ([definitions](../concepts/constraints.md)). *Training* is
the budget of environment steps, for off-policy learners the steps between two gradient updates, and
the time of a run on one core of a machine that did other work too. Equal budgets are of environment
steps; an off-policy learner computes more in each. The records, with command and settings of every
run, are in `benchmarks/results/records/safety`. Seed 0 of a row ships with the package, but not of
rows named `10m`, nor of PPO and PPO-Lag on HalfCheetahVelocity, which [foundation](foundation.md)
ships, nor where its weights score below half of the run's best validation.

Where a table has these columns, *sampled* is the same policy with sampled actions, which is what a
constraint holds in training, and *cost at the end of training* the mean of the last training
episodes; *feasible runs* is then decided by 256 episodes of each run. On PointGoal1, CarGoal1 and
MultiHalfCheetah2x3Velocity, rows of agents whose preset has changed since are shown as they were
trained, with the [published forms](../agents/constrained.md): a multiplier in deviations of the
advantage, P3O's penalty in minibatches, in-sample acceptance of CPO's and PCPO's steps. Which of
the present presets hold a limit where the optimum is known is in
[constrained diagnostics](constrained-diagnostics.md).

Which weights are scored: those after the last update; where *training* says *best kept*, those at
the end of the ten consecutive validations with the best mean among those that keep the limit, of 20
on seeds that no table has.

The CPU presets were chosen with training seed 1000, which no row uses, by returns and costs of
training episodes: on policy on PointGoal1 and HalfCheetahVelocity, off policy on HopperVelocity and
PointCircle1. No evaluation seed was used.

*Published* are return and cost of OmniSafe's benchmark page: 10 M steps on policy, 1 M off policy
(3 M on PointCircle1), so budgets differ; rows named `10m` have the official settings and budget,
`omnisafe` with its code's departures from the papers too (`variant=omnisafe`).

"""


_TRIED = """\
On Hopper standing still earns nearly 1,000 without cost, and OmniSafe's PPO-Lag stands at 962 after
10 M steps. Tried there: multipliers on the scale of the rewards, acceptance of CPO's and PCPO's
steps on data that the step was not computed from, and keeping the best validation instead of the
last weights, which loses fewer policies.
"""


def page_of(rows: tuple[Row, ...], scale: float) -> str:
    """Return the page, from the records of all finished rows."""
    table = table_of(rows, scale, {})
    sections, page = [_TITLE, *not_learned(table, _TRIED), _HEAD], page_path("safety", scale)
    for title, suffix in (
        ("Navigation", ""),
        ("Robots under a speed limit", "Velocity-v0"),
    ):
        chosen = [t for t in table if t.endswith("Velocity-v0") is bool(suffix)]
        if chosen:
            sections.append(f"## {title}\n\n")
        for task in chosen:
            sections += markdown(task, table[task], _published(task), "-")
            sections.append(return_cost_figure(task, table[task], page))
            sections += ceiling_text(task, table[task])
            sections += same_weights(table[task])
            sections += cut_text(table[task])
    return "".join([*sections, *claims(table), *unfinished(rows, scale)])


def _published(task: str) -> dict[tuple[str, str], str]:
    both = {**_ON_POLICY.get(task, {}), **_OFF_POLICY.get(task, {})}
    long = {
        f"{name}-{kind}-10m": text
        for name, text in _ON_POLICY.get(task, {}).items()
        for kind in ("paper", "omnisafe")
    }
    return {(name, task): text for name, text in {**both, **long}.items()}


def ceiling_text(task: str, lines: Mapping[str, Scored]) -> Iterator[str]:
    """State the maximal return of a run, and check that none exceeds it.

    Raises:
        ValueError: one does, so an environment or a score is wrong.
    """
    if task not in _CEILINGS:
        return
    ceiling = _CEILINGS[task]
    for name, line in lines.items():
        for run in line.runs:
            is_bound = run["cost"] == 0.0 or not ceiling.without_cost
            if is_bound and run["return"] > ceiling.value:
                raise ValueError(f"{name} on {task} has the return {run['return']}: {ceiling.why}")
    condition = "Without cost no" if ceiling.without_cost else "No"
    yield f"{condition} run can have a return above {ceiling.value:,.0f}: {ceiling.why}.\n\n"
    if task in _TWO_EPISODES:
        yield (
            "The published figures of this environment are most likely sums over two episodes "
            "(some lie above that ceiling): OmniSafe restarts episodes automatically inside a time "
            "limit of 1,000 steps, which replaces the environment's own of 500, and sums rewards "
            "and costs up to the outer limit. Halve them all, and their limit of 25, to compare."
            "\n\n"
        )


def cut_text(lines: Mapping[str, Scored]) -> Iterator[str]:
    """Explain the row of the agent with truncated training episodes, if there is one."""
    if "ppo-early-terminated" in lines:
        yield (
            "ppo-early-terminated trains on episodes that end at the limit, so its excess in "
            "training is at most one step's; evaluation episodes continue, in states it has never "
            "met.\n\n"
        )


def same_weights(lines: Mapping[str, Scored]) -> Iterator[str]:
    """List the rows of a task that have the same weights, bit for bit."""
    by_weights: dict[tuple[str, ...], list[str]] = {}
    for name, line in lines.items():
        if line.weights:
            by_weights.setdefault(tuple(line.weights), []).append(name)
    for names in by_weights.values():
        if len(names) > 1:
            yield (
                f"{' and '.join(names)} have the same weights, bit for bit: what "
                "distinguishes them never had an effect in these runs "
                "([why](../agents/constrained.md#where-two-agents-are-one)).\n\n"
            )


def claims(table: Table) -> Iterator[str]:
    """Yield comparisons of returns with PPO-Lag or SAC-Lag within the limit, and who keeps it."""
    pairs = [Pair(task, ours, "ppo-lag") for task in table for ours in _HOLDING]
    pairs += [Pair(task, ours, "sac-lag") for task in table for ours in ("td3-lag", "sac-pid")]
    lines = list(verdicts(table, pairs))
    yield "## What the runs show\n\n"
    if lines:
        yield (
            "Returns are compared among constrained agents. Differences have Welch's "
            "95 % intervals over training seeds; p-values are corrected for the number of "
            "comparisons (Holm), and *better* means below 0.05, for agents with a mean cost within "
            "the limit: a higher return above it does not count.\n\n"
        )
        yield from lines
        yield "\n"
    yield "Runs within the limit, over all tasks here:\n\n"
    within: dict[str, list[int]] = {}
    for lines_of_task in table.values():
        for name, line in lines_of_task.items():
            if is_trained(name) and line.constraint is not None:
                share, _, _, n = line.constraint.feasible_runs
                within.setdefault(name, []).append(round((share or 0.0) * n))
    for name, counts in within.items():
        n = sum(len(lines[name].runs) for lines in table.values() if name in lines)
        yield f"- {name}: {sum(counts)} of {n} runs.\n"
