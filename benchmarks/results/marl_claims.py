"""Verdicts on the claims of the HARL and HASAC papers, computed from the runs measured."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.results.anchors import floor_of
from benchmarks.results.page import LEVEL, Pair, Table, compared, holm, line_of, normalised
from pkubench.evaluation.statistics import (
    iqm,
    probability_of_improvement,
    stratified_bootstrap,
)
from pkubench.evaluation.statistics.aggregates import probability_of_improvement_rows


class Claim(NamedTuple):
    """A claim of a paper: in each pair of agents the first is better."""

    title: str
    note: str
    pairs: Sequence[tuple[str, str]]
    tasks: Sequence[str]


class Pooled(NamedTuple):
    """Two agents compared over several environments together."""

    pair: tuple[str, str]
    estimate: float
    """The probability that a run of the first beats one of the second, mean over environments."""
    p_value: float
    text: str


def claims(table: Table, controllers: Mapping[str, str]) -> Iterator[str]:
    """Yield the papers' claims, each with its verdict and its comparisons.

    Args:
        table: all finished rows.
        controllers: environment -> the agent that has the normalised score 100.
    """
    spread, talk, reference = (
        f"Simple{name}Continuous-v0" for name in ("Spread", "SpeakerListener", "Reference")
    )
    particle = [task for task in (spread, talk, reference) if task in table]
    alike = [task for task in (spread, reference) if task in table]
    robots = [task for task in table if task.startswith("Multi")]
    yield (
        "## The papers' claims\n\n"
        "Differences have Welch's 95 % intervals over training seeds. Over several environments "
        "two agents are compared by the probability that a run of the first beats one of the "
        "second, tested by permuting the agents of the runs within each environment; the "
        "bootstrap intervals there are approximate, and too narrow for three runs. The p-values "
        "of a claim, of both kinds, are corrected together (Holm), and below 0.05 one agent is "
        "called *better*. The intervals are not corrected, so one can leave out 0 where no "
        "difference is shown. A claim is *supported* if some comparisons are decided for it and "
        "none against, *contradicted* in the opposite case, *mixed* if both occur, *not shown* if "
        "none is decided.\n\n"
    )
    for claim in (
        Claim(
            "HAPPO is better than MAPPO (HARL)",
            "HAPPO has one actor per agent and sequential updates, MAPPO one shared actor and "
            "simultaneous ones. Where the agents' spaces differ (SpeakerListener) MAPPO shares "
            "nothing, and only the sequence is compared.",
            [("happo", "mappo")],
            [*particle, *robots],
        ),
        Claim(
            "Sequential updates are better than simultaneous ones, all else equal (HARL)",
            "The two agents of a pair differ only in the order of the updates.",
            [(name, f"{name}-simultaneous") for name in ("happo", "hatd3", "hasac")],
            alike,
        ),
        Claim(
            "Separate actors are better than a shared one, all else equal (HARL)",
            "Both update simultaneously; MAPPO and MASAC share one actor. In these "
            "environments the agents are alike and may share. Where they must differ, sharing is "
            "provably worse: "
            "the best shared policy of [SharingGap](../environments/SharingGap-v0.md) earns "
            "2^(1-n) of what n separate ones do.",
            [("happo-simultaneous", "mappo"), ("hasac-simultaneous", "masac")],
            alike,
        ),
        Claim(
            "Current and sequential actions of the others are better than replayed ones (HARL)",
            "As in the official code, MATD3 and MADDPG show the critic the replayed actions of the "
            "other agents and keep no sequence: two differences at once.",
            [("hatd3", "matd3"), ("haddpg", "maddpg")],
            particle,
        ),
        Claim(
            "HASAC is better than HATD3, HAPPO and MAPPO (HASAC)",
            "The paper finds it best on most tasks.",
            [("hasac", "hatd3"), ("hasac", "happo"), ("hasac", "mappo")],
            [*particle, *robots],
        ),
    ):
        yield from _judged(table, claim, controllers)


def _judged(table: Table, claim: Claim, controllers: Mapping[str, str]) -> Iterator[str]:
    found = compared(table, [Pair(task, a, b) for a, b in claim.pairs for task in claim.tasks])
    if not found:
        return
    environments = {task: controllers[task] for task in claim.tasks if task in controllers}
    pooled = [
        p
        for pair in claim.pairs
        if (p := _over_environments(table, environments, pair)) is not None
    ]
    single = [difference for _, difference in found if difference is not None]
    corrected = holm([*(d.p_value for d in single), *(p.p_value for p in pooled)])
    ps, pooled_ps = iter(corrected[: len(single)]), corrected[len(single) :]
    lines = [line_of(table, pair, d, next(ps) if d is not None else 1.0) for pair, d in found]
    lines += [
        _line_over_environments(p, corrected)
        for p, corrected in zip(pooled, pooled_ps, strict=True)
    ]
    measured = {pair[1:] for pair, _ in found}
    missing = [" and ".join(pair) for pair in claim.pairs if pair not in measured]
    yield f"### {claim.title}\n\n{claim.note}\n\n{verdict(lines)}"
    yield f" Not measured yet: {'; '.join(missing)}.\n\n" if missing else "\n\n"
    yield from lines
    yield "\n"


def verdict(lines: Sequence[str]) -> str:
    """Summarise the comparisons of a claim; pairs of single runs do not count."""
    tested = [line for line in lines if "corrected p" in line]
    first = second = 0
    for line in tested:
        if better := re.search(r"\*\*(\S+) is better\*\*", line):
            is_first = better[1] == line.removeprefix("- ").split()[0]
            first, second = first + is_first, second + (not is_first)
    word = {
        (True, False): "Supported",
        (False, True): "Contradicted",
        (True, True): "Mixed",
        (False, False): "Not shown",
    }[first > 0, second > 0]
    return (
        f"**{word}.** Comparisons: {len(tested)}. For the first named: {first}; for the second: "
        f"{second}; undecided: {len(tested) - first - second}."
    )


def _over_environments(
    table: Table, environments: Mapping[str, str], pair: tuple[str, str]
) -> Pooled | None:
    """Compare two rows over the particle environments, on the scale floor 0, controller 100.

    None if there is only one environment, a single run, or a missing row.
    """
    if len(environments) < 2 or not all(set(pair) <= set(table[task]) for task in environments):
        return None
    x, y = (_scores(table, environments, name) for name in pair)
    if x is None or y is None or min(len(x), len(y)) < 2:
        return None
    better = stratified_bootstrap(x, probability_of_improvement, other=y)
    left, right = stratified_bootstrap(x, iqm), stratified_bootstrap(y, iqm)
    names = ", ".join(
        task.removeprefix("Simple").removesuffix("Continuous-v0") for task in environments
    )
    text = (
        f"over {names}, floor 0 and controller 100: "
        f"IQM {left.estimate:.1f} [{left.low:.1f}, {left.high:.1f}] and "
        f"{right.estimate:.1f} [{right.low:.1f}, {right.high:.1f}]; probability to beat "
        f"{better.estimate:.2f} [{better.low:.2f}, {better.high:.2f}]"
    )
    return Pooled(pair, better.estimate, permutation_test(x, y), text)


def _line_over_environments(found: Pooled, p: float) -> str:
    verdict = "no difference shown"
    if p < LEVEL:
        verdict = f"**{found.pair[0] if found.estimate > 0.5 else found.pair[1]} is better**"
    ours, theirs = found.pair
    return f"- {ours} against {theirs} {found.text}, corrected p = {p:.2g}: {verdict}.\n"


def permutation_test(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], draws: int = 9_999
) -> float:
    """Return the two-sided p-value of two samples (runs, environments) being of one distribution.

    The statistic is the distance from one half of the probability that a run of x beats one of y,
    averaged over environments. Under the null hypothesis the runs of an environment are
    exchangeable.

    >>> sure = permutation_test(np.array([[5.0, 6.0]] * 4), np.array([[1.0, 2.0]] * 4))
    >>> 0.0001 <= sure < 0.002  # 2 of 70 x 70 permutations are as far apart
    True
    """
    rng = np.random.default_rng(0)
    both = np.concatenate([x, y])
    order = rng.random((draws, *both.shape)).argsort(axis=1)
    shuffled = np.take_along_axis(both[None], order, axis=1)
    drawn = probability_of_improvement_rows(shuffled[:, : len(x)], shuffled[:, len(x) :])
    seen = abs(probability_of_improvement(x, y) - 0.5)
    # as far, up to rounding
    as_far = int((np.abs(drawn - 0.5) >= seen - 1e-12).sum())
    return (as_far + 1) / (draws + 1)


def _scores(
    table: Table, environments: Mapping[str, str], name: str
) -> npt.NDArray[np.float64] | None:
    """Return (runs, environments) scores, floor 0, controller 100; None where runs are missing."""
    columns = []
    for task, controller in environments.items():
        lines = table[task]
        floor = lines[floor_of(task, lines)]
        low, high = floor.mean("return"), lines[controller].mean("return")
        columns.append([normalised(run["return"], low, high) for run in lines[name].runs])
    return np.stack(columns, axis=1) if len({*map(len, columns)}) == 1 else None
