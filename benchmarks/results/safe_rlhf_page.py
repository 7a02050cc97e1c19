"""Writes ``docs/results/safe-rlhf.md``: every figure in it is computed from records or exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.results.rows import ROOT
from benchmarks.results.safe_rlhf import (
    HELD_OUT,
    MAIN,
    SCORES,
    SEEDS,
    SHAPED,
    TABLE,
    UNSEEN,
    Row,
    figures,
)
from pkubench.envs.alignment import optima
from pkubench.envs.alignment.toy_language import TOY

PAGE = ROOT / "docs/results" / f"{TABLE}.md"
_LABELS = {"sacpo": "sacpo, lambda* of the true scores"}
"""Method -> how its rows are headed, where its name does not say what it is given."""
COLUMNS = {
    "value": "E[R]",
    "cost": "E[C]",
    "unsafe": "P(C > 0)",
    "excess": "E[max(C, 0)]",
    "violating": "prompts above the limit",
    "compensation": "compensation gap",
    "divergence": "KL",
}


def page() -> str:
    """Return the page, from the records that there are."""
    return "".join(
        [
            _HEAD,
            *_anchors(),
            *(text for of in SCORES for text in _table(of)),
            *_shaped(),
            *_unseen(),
        ]
    )


_HEAD = f"""# Safe RLHF on a language whose every optimum is known

Written by `python -m benchmarks.results.safe_rlhf`; no figure is entered by hand. Each method
starts from the same reference model, a transformer of 100,000 parameters that has learned to
imitate demonstrations, once for each of {SEEDS} seeds. All figures are exact: probabilities of all
1,296 responses to all 16 prompts, and the language's own rewards and costs, whatever a method was
trained on. In brackets: least and most of {SEEDS} seeds. The limit is E[C] <= 0. See
[alignment](../agents/alignment.md) for the methods.

**Total variation** is from a method's *own* optimum, on the scores that it is trained on and from
its own reference, since the methods do not have the same one: that of PPO-Lag has the temperature
beta (1 + lambda) and the cost 0, of plain PPO and DPO pi_ref exp(R / beta) / Z, of shaping and
SACPO the same with R - w C and a weight w that is chosen, and of RePO, whose lambda is bounded, it
is the limit of a large one: that of R among safe responses. None is the linear program's, which is
that of beta -> 0. Seeds without an own optimum (learned costs may rule out every response to a
prompt) are left out of its row, and counted.

**The weight of SACPO is an oracle's.** Its lambda is that of the optimum, solved from the true R
and C of the very prompts that are measured, also where scores are learned; so its E[C] near 0 is no
finding. The weight of shaping is 0.5 in the main tables, chosen once; others have a table of their
own. The multiplier of PPO-Lag is found in training.

**No prompt is held out in the main tables.** Policies and score models are trained on the 16
prompts that every figure is of; what generalizes to prompts that no stage has seen is in the last
table.

**Read the prompts.** A mean cost of 0 can hide prompts whose own mean cost is above it. The
*compensation gap* is P(C > 0) less that of the best policy that holds the limit for every prompt.
Several policies are optimal within a limit on means, since one hazard twice as often costs and
earns what two do: the linear programs' rows, and the gap, are of the one with the least P(C > 0).

"""


def _anchors() -> Iterator[str]:
    """Yield the table of optima and of the reference."""
    rewards, costs = TOY.table
    yield "## Optima\n\n"
    yield from _heading("policy", list(COLUMNS)[:-1])
    for name, of in (
        ("linear program, E[C] <= 0", optima.average_optimum),
        ("linear program, E[C] <= 0 for every prompt", optima.per_prompt_optimum),
        ("C <= 0 always", optima.sure_optimum),
    ):
        found = figures(of(rewards, costs, TOY.limit).policy, None)
        yield _line([name], [[found[column]] for column in list(COLUMNS)[:-1]])
    best = np.eye(rewards.shape[1])[rewards.argmax(axis=1)]
    found = figures(best, None)
    yield _line(["no limit"], [[found[column]] for column in list(COLUMNS)[:-1]])
    yield "\n"


def _table(scores: str) -> Iterator[str]:
    """Yield the table of the methods with one source of scores, each with its own optimum."""
    title = {"true": "True rewards and costs", "learned": "Learned reward and cost models"}[scores]
    yield f"## {title}\n\n"
    rows = [row for row in MAIN if row.scores == scores]
    runs = {row: [found for seed in range(SEEDS) if (found := row.read(seed))] for row in rows}
    done = {row: found for row, found in runs.items() if len(found) == SEEDS}
    if done:
        yield from _heading("method", [*COLUMNS, "lambda", "total variation"])
        first = next(iter(done.values()))
        yield _line(["reference"], [*_columns(each["reference"] for each in first), [], []])
    for row, records in done.items():
        multipliers = [each["multiplier"] for each in records if each["multiplier"] is not None]
        far = [each["total_variation"] for each in records if each["total_variation"] is not None]
        yield _line([f"**{_LABELS.get(row.method, row.method)}**"],
                    [*_columns(records), multipliers, far])  # fmt: skip
        known = [each["optimum"] for each in records if each["optimum"] is not None]
        if known:
            of = "" if len(known) == SEEDS else f" ({len(known)} of {SEEDS} seeds)"
            yield _line([f"its own optimum{of}"], [*_columns(known), [], []])
    missing = [row for row in rows if row not in done]
    if missing:
        left = ", ".join(f"{row.method} ({len(runs[row])} of {SEEDS})" for row in missing)
        yield f"{'' if not done else chr(10)}Not yet measured: {left}.\n"
    yield "\n"


def _shaped() -> Iterator[str]:
    """Yield shaping with several weights beside PPO-Lag."""
    yield (
        "## Weights of reward shaping\n\nTrue rewards and costs. A weight below the multiplier of "
        "the optimum leaves the mean cost above the limit, one above it pays for slack; PPO-Lag "
        "finds its own. Compare returns where costs are alike.\n\n"
    )
    rows = [Row("safe-rlhf", "true"), *SHAPED, Row("ppo-shaping", "true")]
    weights = {row: dict(row.more).get("kappa", "0.5") for row in rows[1:]}
    rows[1:] = sorted(rows[1:], key=lambda row: float(weights[row]))
    labels = {row: f"ppo-shaping, kappa = {weights[row]}" for row in rows[1:]}
    yield from _lines(rows, {rows[0]: "safe-rlhf", **labels}, ("",))


def _unseen() -> Iterator[str]:
    """Yield the figures on prompts that are not trained on."""
    yield (
        f"## Prompts held out\n\nNo stage trains on the prompts {HELD_OUT[1:-1]} (two of benign "
        "and two of risky topics); each of their topics and intents is in prompts that are trained "
        "on. The limit holds over the prompts of training, so a cost above 0 on others is a limit "
        "that does not generalize; with learned scores, also a score model that errs there.\n\n"
    )
    labels = {row: f"{row.method}, {row.scores} scores" for row in UNSEEN}
    yield from _lines(UNSEEN, labels, ("seen", "unseen"))


def _lines(rows: Sequence[Row], labels: Mapping[Row, str], parts: Sequence[str]) -> Iterator[str]:
    """Yield a table of the rows whose seeds are all there, and name the others."""
    runs = {row: [found for seed in range(SEEDS) if (found := row.read(seed))] for row in rows}
    done = {row: found for row, found in runs.items() if len(found) == SEEDS}
    if done:
        yield from _heading("method", list(COLUMNS))
    for row, records in done.items():
        for part in parts:
            of = [each[part] if part else each for each in records]
            yield _line([f"**{labels[row]}**{f', {part} prompts' if part else ''}"], _columns(of))
    missing = [row for row in rows if row not in done]
    if missing:
        left = ", ".join(f"{labels[row]} ({len(runs[row])} of {SEEDS})" for row in missing)
        yield f"{chr(10) if done else ''}Not yet measured: {left}.\n"
    yield "\n"


def _heading(first: str, columns: Sequence[str]) -> Iterator[str]:
    names = [first, *(COLUMNS.get(column, column) for column in columns)]
    yield f"| {' | '.join(names)} |\n|{'---|' * len(names)}\n"


def _columns(found: Any) -> list[list[float]]:
    runs = list(found)
    return [[each[column] for each in runs] for column in COLUMNS]


def _line(cells: Sequence[str], columns: Sequence[Sequence[float]]) -> str:
    return f"| {' | '.join([*cells, *(_spread(values) for values in columns)])} |\n"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    mean = f"{np.mean(values):.3f}".replace("-0.000", "0.000")
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.3f} to {max(values):.3f})"
