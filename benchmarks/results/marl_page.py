"""Writes ``docs/results/marl.md``: every figure in it is computed from records here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache

from benchmarks.results.anchors import is_trained, old_floor
from benchmarks.results.page import (
    markdown,
    normalised,
    not_learned,
    score_figure,
    table_of,
    unfinished,
)
from benchmarks.results.records import by_old_rules, read, sha256_of
from benchmarks.results.rows import Row, page_path
from pkubench.agents.saved.files import WEIGHTS

_SPREAD, _TALK, _REFERENCE = (
    f"Simple{name}Continuous-v0" for name in ("Spread", "SpeakerListener", "Reference")
)
_CONTROLLERS = {
    _SPREAD: "scripted:assignment",
    _TALK: "scripted:messenger",
    _REFERENCE: "scripted:messenger",
    "SimpleSpread-v0": "scripted:assignment",
    "SimpleReference-v0": "scripted:messenger",
}
_CARRIERS = "HeterogeneousCarriers-v0"
_ANCHORS = {
    **_CONTROLLERS,
    _CARRIERS: "scripted:optimum",
    "HeterogeneousCarriersId-v0": "scripted:optimum",
}
_CURVES = {
    _SPREAD: {
        "happo": "-65",
        "mappo": "-69",
        "hatrpo": "-71",
        "hatd3": "-63",
        "haddpg": "-66",
        "haa2c": "below -95",
    },
    _TALK: {
        "happo": "-9 to -7",
        "mappo": "-9 to -7",
        "hatd3": "about -10",
        "haddpg": "about -10",
        "haa2c": "-12",
    },
    _REFERENCE: {
        "happo": "-10",
        "mappo": "-10",
        "hatrpo": "-13",
        "hatd3": "-11",
        "haddpg": "-14",
        "maddpg": "-14",
        "haa2c": "-36",
    },
    "SimpleSpread-v0": {
        "happo-10m": "-62",
        "mappo-10m": "-58",
        "happo-paper-10m": "-62",
        "mappo-paper-10m": "-58",
    },
    "SimpleReference-v0": {"happo-10m": "-13 to -12", "mappo-10m": "-13 to -12"},
    "MultiHalfCheetah2x3-v1": {
        "happo": "7000",
        "mappo": "6850",
        "happo-5m": "7000",
        "mappo-5m": "6850",
        "hatd3": "8800",
    },
    "MultiHopper3x1-v0": {
        "happo": "3450 to 3600",
        "mappo": "3600",
        "hatd3": "3550",
        "hatd3-paper": "3550",
    },
    "MultiWalker2d2x3-v0": {"happo": "5400", "mappo": "5000", "hatd3": "7550"},
    "MultiAnt4x2-v1": {"happo": "5900", "mappo": "5900", "hatd3": "5900"},
}
"""HARL (JMLR 2024), ends of the curves, read off the figures with 2-3 % error: 10 M steps, 5 M for
off-policy methods on particle environments; SimpleSpread by the v2 rules, MuJoCo by Gym's v2
robots. The HASAC paper has only curves, without numbers."""
_TITLE = "# Heterogeneous multi-agent learning\n\n"
_HEAD = """\
Written by `make results-marl`; no score here is entered by hand. Every run is scored by `pkubench
evaluate` on seeds that no learner has trained on. Intervals are 95 % Student t intervals over
training seeds (n); a row with one run shows the interval over its episodes and says so. The column
*training* has the budget of environment steps, for off-policy learners the steps between two
gradient updates, and the time of a run: of its process, which several off-policy seeds may share,
on a machine of two cores that did other work too. Equal budgets are of environment steps; an
off-policy learner computes more in each. The records, with command and settings of every run, are
in `benchmarks/results/records/marl`. The package ships seed 0 of each row (of rows named `10m`
nothing): `make evaluate` and `pkubench evaluate NAME TASK` score that run alone.

*Normalised* is 100 (s - floor) / (controller - floor), where the floor is the best of random and
the lazy policies: `scripted:no-op` does nothing, `scripted:silent` moves to the centroid of the
landmarks without a message, and *standing* is what a robot earns that only stays upright, its
healthy reward. The controllers are heuristics, not optima, so a learner can pass 100.

Which weights are scored: those after the last update; where *training* says *best kept*, those at
the end of the ten consecutive validations with the best mean, of 20 on seeds that no table has.
*Last ten validations* is the mean return of the last ten, 8 episodes each, with the policy's mode
and with sampled actions, averaged over runs: a score far above it is of a policy that was lost.

The numbers of the CPU presets were chosen on training seeds of environments that are compared here:
those of HAPPO and MAPPO on SimpleSpread (discrete); those of the off-policy learners on the three
continuous particle environments, and their returns of one step, where the papers have 5 to 20, on
HalfCheetah 2x3 with training seed 1000. For robots HAPPO and MAPPO have numbers that were compared
[on training seeds of their own](marl-tuning.md). Which seeds the other choices were made on was not
recorded: they may be among those reported.
No evaluation seed was used. The CPU presets update off policy every 6.67 or 10 steps; the papers
every 20, or 10 for DDPG and TD3 on robots.

*Published* are the ends of HARL's curves, read off its figures: 10 M steps, for off-policy learners
on particle environments 5 M. On particle environments they were measured by the v2 rules, where a
step updates velocities before positions and, on SimpleSpread, an agent collides with itself (-37.5
per episode). So they are not on the scale of our returns; the bracket normalises them by what
the floor and the controller score under those rules, which is given below each table.

"""
_TEN_MILLION = """Rows named `10m` are the agent of that name, trained for the paper's 10 M steps.
Five seeds of smaller budgets are in [foundation](foundation.md).

"""
_CARRIERS_NOTE = """\
Three unlike agents with equal spaces. The optimum and the best shared policy are
[exact](../environments/HeterogeneousCarriers-v0.md): MAPPO and MASAC share one actor and observe no
identity there, so that no training takes them beyond the second (means over 200 episodes differ
by up to 0.6 from these). Where agents observe their index (`Id`), a shared actor can reach the
optimum.

"""
_MUJOCO_NOTE = """\
The robots are Gymnasium's v5. HARL's published returns are of Gym's v2 robots, which differ in
control cost, contact forces, healthy reward and observations, so the two columns are not on the
same scale: 'published' only shows what order of return the paper reached, in 10 M steps. Where
three runs differ much their intervals span the range and decide nothing; where they agree, the last
table here shows whether more steps could help.

"""


_CLAIMS = """## The papers' claims

HARL's and HASAC's claims are judged by these runs on [the page of claims](../claims.md), with what
would decide each (`pkubench claims --suite marl`).

"""


_TRIED = """\
Tried: for HAPPO and MAPPO on robots four combinations of clip, passes, stop by KL and decay, on
training seeds that no table has ([what they gave](marl-tuning.md)); off policy the papers' networks
and ratio of updates on Hopper (rows `-paper`) and returns of one step on HalfCheetah. The numbers
of HATRPO, HAA2C and HADDPG on particle environments were not tuned.
"""


def page_of(rows: tuple[Row, ...], scale: float) -> str:
    """Return the page, from the records of all finished rows."""
    table = table_of(rows, scale, _ANCHORS, {_CARRIERS: ["scripted:best-shared"]})
    page = page_path("marl", scale)
    sections = [_TITLE, *not_learned(table, _TRIED), _HEAD]
    for title, note, prefix in (
        ("Particle worlds", "", "Simple"),
        ("Heterogeneous carriers", _CARRIERS_NOTE, "Heterogeneous"),
        ("Multi-Agent MuJoCo", _MUJOCO_NOTE, "Multi"),
    ):
        chosen = [task for task in table if task.startswith(prefix)]
        if chosen:
            sections.append(f"## {title}\n\n{note}")
            several = {t: table[t] for t in chosen if sum(map(is_trained, table[t])) > 1}
            sections.append(score_figure(prefix.lower(), title, several, page))
        for task in chosen:
            sections += markdown(task, table[task], _published(task), _ANCHORS.get(task, "-"))
            sections += _old_rules_note(task)
            sections += [_TEN_MILLION] if task in ("SimpleSpread-v0", "SimpleReference-v0") else []
    sections += [*_progress(rows), _CLAIMS, *unfinished(rows, scale)]
    return "".join(sections)


@cache
def _old_scale(task: str) -> tuple[float, float]:
    """Return what the floor and the controller score on a particle environment by the v2 rules."""
    return old_floor(task), by_old_rules(_CONTROLLERS[task], task)


def _old_rules_note(task: str) -> Iterator[str]:
    if task in _CONTROLLERS:
        low, high = _old_scale(task)
        yield f"By the v2 rules the floor is {low:.4g} and the controller scores {high:.4g}.\n\n"


def _published(task: str) -> dict[tuple[str, str], str]:
    found = {(name, task): text for name, text in _CURVES.get(task, {}).items()}
    if task not in _CONTROLLERS:
        return found
    return {key: with_normalised(text, *_old_scale(task)) for key, text in found.items()}


def with_normalised(text: str, low: float, high: float) -> str:
    """Return a published figure with its numbers also on the scale ``low`` 0, ``high`` 100.

    >>> with_normalised("-9 to -7", -76.0, -10.0)
    '-9 to -7 (102 to 105)'

    Raises:
        ValueError: the text has other numbers than scores.
    """
    if not re.fullmatch(r"(about |below )?-?\d+(\.\d+)?( to -?\d+(\.\d+)?)?", text):
        raise ValueError(f"not a score: {text!r}")
    scaled = re.sub(r"-?\d+(\.\d+)?", lambda n: f"{normalised(float(n[0]), low, high):.0f}", text)
    return f"{text} ({scaled})"


def _progress(rows: tuple[Row, ...]) -> Iterator[str]:
    """Yield a table of returns during training on the robots, of the rows' shipped runs.

    What ships may still be the run of an earlier preset, or of another row of the agent.
    """
    lines = []
    for row in rows:
        curve, record = row.shipped(0) / "training.jsonl", read(row, 0, row.steps)
        if not row.task.startswith("Multi") or record is None or not curve.exists():
            continue
        if sha256_of(row.shipped(0) / WEIGHTS) != record["weights"]:
            continue
        log = [line for line in map(json.loads, curve.read_text().splitlines()) if "return" in line]
        cells = [f"{_mean_near(log, 'return', share):.4g}" for share in (0.3, 0.6, 1.0)]
        length = f"{_mean_near(log, 'length', 1.0):.0f}"
        lines.append(" | ".join([f"| {row.task}", row.name, *cells, length]) + " |\n")
    if lines:
        yield (
            "### During training\n\n"
            "Returns of exploratory episodes, the mean over a tenth of the budget, of seed 0. "
            "They are not scores: a policy that explores can have a far lower return than its "
            "mode. But if the curve is flat from 30 % on, a low score is due to these settings "
            "(networks, ratio of updates, one-step returns), and a longer run need not raise it. "
            "An episode shorter than 1,000 steps ended in a fall.\n\n"
            "| task | agent | at 30 % | at 60 % | at the end | steps per episode |\n"
            "|---|---|---|---|---|---|\n"
        )
        yield from lines
        yield "\n"


def _mean_near(log: list[dict[str, float]], key: str, share: float) -> float:
    """Return the mean of a key over the tenth of a curve that ends at a share of its steps."""
    end = log[-1]["steps"] * share
    near = [line[key] for line in log if end - 0.1 * log[-1]["steps"] < line["steps"] <= end]
    return sum(near) / len(near)
