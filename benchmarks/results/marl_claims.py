"""Verdicts on the claims of the HARL and HASAC papers, computed from the runs measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.results.page import Pair, Table, normalised, verdicts
from pkubench.evaluation.statistics import (
    iqm,
    probability_of_improvement,
    stratified_bootstrap,
)

_LEVEL = 0.05


class Claim(NamedTuple):
    """Something a paper says: of each pair of agents the first is the better one."""

    title: str
    note: str
    pairs: Sequence[tuple[str, str]]
    tasks: Sequence[str]


class Pooled(NamedTuple):
    """Two agents over several worlds at once."""

    text: str
    low: float
    high: float
    """Bounds of the chance that a run of the first beats one of the second."""


def claims(table: Table, controllers: Mapping[str, str]) -> Iterator[str]:
    """Yield the papers' claims, each with its verdict and its comparisons.

    Args:
        table: all finished rows.
        controllers: world -> the agent that normalised scores put at 100.
    """
    spread, talk, reference = (
        f"Simple{name}Continuous-v0" for name in ("Spread", "SpeakerListener", "Reference")
    )
    particle = [task for task in (spread, talk, reference) if task in table]
    alike = [task for task in (spread, reference) if task in table]
    robots = [task for task in table if task.startswith("Multi")]
    yield (
        "## The papers' claims\n\n"
        "Differences have Welch's 95 % intervals over training seeds; p-values are corrected for "
        "the number of comparisons of a claim (Holm), and *better* is said below 0.05. The "
        "intervals are not corrected, so one can leave out 0 where no difference is shown. Over "
        "several worlds two agents are told apart where the interval of the chance that a run of "
        "the first beats one of the second leaves out one half; those intervals cover 95 % "
        "together (Bonferroni). A claim is *supported* where something is decided for it and "
        "nothing against, *contradicted* the other way round, *mixed* where both happen, *not "
        "shown* where nothing is decided.\n\n"
    )
    for claim in (
        Claim(
            "HAPPO is better than MAPPO (HARL)",
            "HAPPO has an actor an agent and sequential updates, MAPPO one shared actor and "
            "simultaneous ones. Where the agents' spaces differ (SpeakerListener) MAPPO shares "
            "nothing, and only the sequence is compared.",
            [("happo", "mappo")],
            [*particle, *robots],
        ),
        Claim(
            "Sequential updates are better than simultaneous ones, all else equal (HARL)",
            "The two of a pair differ in nothing but the order of the updates.",
            [(name, f"{name}-simultaneous") for name in ("happo", "hatd3", "hasac")],
            alike,
        ),
        Claim(
            "Separate actors are better than a shared one, all else equal (HARL)",
            "Both update simultaneously; MAPPO and MASAC share one actor. In these worlds the "
            "agents are alike and may share. Where they must differ, sharing loses for certain: "
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
            "HASAC is better than the rest (HASAC)",
            "The paper finds it best on most tasks.",
            [("hasac", "hatd3"), ("hasac", "happo"), ("hasac", "mappo")],
            [*particle, *robots],
        ),
    ):
        yield from _judged(table, claim, controllers)


def _judged(table: Table, claim: Claim, controllers: Mapping[str, str]) -> Iterator[str]:
    pairs = [Pair(task, a, b) for a, b in claim.pairs for task in claim.tasks]
    lines = list(verdicts(table, pairs))
    if not lines:
        return
    worlds = {task: controllers[task] for task in claim.tasks if task in controllers}
    measured = [
        pair for pair in claim.pairs if all(set(pair) <= set(table[task]) for task in worlds)
    ]
    confidence = 1.0 - _LEVEL / max(len(measured), 1)
    pooled = [_over_worlds(table, worlds, *pair, confidence) for pair in measured]
    yield f"### {claim.title}\n\n{claim.note}\n\n{verdict(lines, pooled)}\n\n"
    yield from lines
    yield from (found.text for found in pooled)
    yield "\n"


def verdict(lines: Sequence[str], pooled: Sequence[Pooled]) -> str:
    """Say how the comparisons of a claim came out; pairs of single runs are none."""
    compared = [line for line in lines if "corrected p" in line]
    first = sum(f"**{line[2:].split()[0]} is better**" in line for line in compared)
    second = sum("is better**" in line for line in compared) - first
    above, below = sum(p.low > 0.5 for p in pooled), sum(p.high < 0.5 for p in pooled)
    word = {
        (True, False): "Supported",
        (False, True): "Contradicted",
        (True, True): "Mixed",
        (False, False): "Not shown",
    }[first + above > 0, second + below > 0]
    text = (
        f"**{word}.** Of {len(compared)} comparisons of two agents on one task {first} are for the "
        f"first named, {second} for the second, {len(compared) - first - second} undecided"
    )
    if pooled:
        text += (
            f"; of {len(pooled)} over several worlds {above}, {below} and "
            f"{len(pooled) - above - below}"
        )
    return f"{text}."


def _over_worlds(
    table: Table, worlds: Mapping[str, str], ours: str, theirs: str, confidence: float
) -> Pooled:
    """Compare two rows over the particle worlds, on the scale random 0, controller 100."""
    x, y = (_scores(table, worlds, name) for name in (ours, theirs))
    better = stratified_bootstrap(x, probability_of_improvement, confidence=confidence, other=y)
    left, right = stratified_bootstrap(x, iqm), stratified_bootstrap(y, iqm)
    names = ", ".join(task.removeprefix("Simple").removesuffix("Continuous-v0") for task in worlds)
    text = (
        f"- Over {names}, random 0 and controller 100: "
        f"IQM of {ours} {left.estimate:.1f} [{left.low:.1f}, {left.high:.1f}], of {theirs} "
        f"{right.estimate:.1f} [{right.low:.1f}, {right.high:.1f}]; a run of {ours} beats "
        f"one of {theirs} with probability {better.estimate:.2f} "
        f"[{better.low:.2f}, {better.high:.2f}] (bootstrap, {100 * confidence:.3g} %).\n"
    )
    return Pooled(text, better.low, better.high)


def _scores(table: Table, worlds: Mapping[str, str], name: str) -> npt.NDArray[np.float64]:
    """Return (runs, worlds) scores, random 0 and controller 100."""
    columns = []
    for task, controller in worlds.items():
        lines = table[task]
        low, high = lines["random"].mean("return"), lines[controller].mean("return")
        columns.append([normalised(run["return"], low, high) for run in lines[name].runs])
    return np.stack(columns, axis=1)
