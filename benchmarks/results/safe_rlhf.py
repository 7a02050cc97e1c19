"""Safe RLHF on the toy language: six methods, true and learned scores, exact figures.

``python -m benchmarks.results.safe_rlhf`` trains what has no record of the present settings and
writes ``docs/results/safe-rlhf.md``; it can be stopped and started again. ``--only`` chooses rows,
``--plan`` lists what is left, ``--page`` trains nothing. ``--seeds`` from 1000 on are for tuning:
they are printed and leave no record. A run takes about a minute of one processor, all of
them some seventy minutes; see ``SECONDS``.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.results.records import RECORDS
from benchmarks.results.rows import ROOT
from pkubench.agents.components import as_plain, with_settings
from pkubench.agents.registry import preset
from pkubench.agents.rl.language.tables import policy_table, score_table
from pkubench.agents.rl.language.training import read_model
from pkubench.agents.saved.files import load_saved
from pkubench.agents.saved.runs import is_nonempty
from pkubench.envs.alignment import optima
from pkubench.envs.alignment.toy_language import TOY
from pkubench.envs.core.batch import FloatArray
from pkubench.errors import ConfigError
from pkubench.evaluation.evidence import Sample
from pkubench.files import write_json
from pkubench.tasks.registry import make_task
from pkubench.training.session import train

TABLE, TASK = "safe-rlhf", "ToyLanguage-v0"
PAGE = ROOT / "docs/results" / f"{TABLE}.md"
RUNS = ROOT / "runs" / TABLE
SEEDS = 5
SHARED = {"reference": "sft", "reward": "reward-model", "cost": "cost-model"}
"""Input of the methods -> agent that makes it, once for each seed."""
METHODS = ("rlhf", "ppo-shaping", "safe-rlhf", "dpo", "sacpo", "repo")
SCORES = ("true", "learned")
SECONDS = {
    **{"rlhf": 60, "ppo-shaping": 60, "safe-rlhf": 80, "repo": 80, "dpo": 35, "sacpo": 70},
    **{"sft": 11, "reward-model": 20, "cost-model": 20},
}
"""Expected processor seconds of a run, of one thread of a processor that does about 40 GFLOP/s."""


class Row(NamedTuple):
    """One method with one source of scores."""

    method: str
    scores: str

    @property
    def name(self) -> str:
        """As claims and records spell it."""
        return self.method if self.scores == "true" else f"{self.method} with scores=learned"

    @property
    def changes(self) -> dict[str, str]:
        """Settings that are not the preset's."""
        return {} if self.scores == "true" else {"scores": "learned"}

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the shared models that it starts from."""
        return tuple(SHARED) if self.scores == "learned" else ("reference",)

    @property
    def config(self) -> Any:
        """The present settings."""
        return with_settings(preset(self.method).config(make_task(TASK)), self.changes)

    def path(self, seed: int) -> Path:
        """Return the path of a run's record."""
        return RECORDS / TABLE / self.scores / self.method / f"seed{seed}.json"

    def read(self, seed: int) -> dict[str, Any] | None:
        """Return the record of a run of the present settings, or None."""
        path = self.path(seed)
        if not path.exists():
            return None
        found: dict[str, Any] = json.loads(path.read_text())
        return found if found["settings"] == settings_of(self) else None


ROWS = tuple(Row(method, scores) for scores in SCORES for method in METHODS)


def settings_of(row: Row) -> dict[str, Any]:
    """Return the settings of a row and of the shared models that it starts from."""
    task = make_task(TASK)
    shared = {name: as_plain(preset(SHARED[name]).config(task)) for name in row.inputs}
    found: dict[str, Any] = json.loads(json.dumps({**as_plain(row.config), "inputs": shared}))
    return found


def run(agent: str, folder: Path, seed: int, changes: Mapping[str, str], **inputs: Path) -> float:
    """Train an agent into a folder, unless it is there; return the processor seconds."""
    begun = time.process_time()
    for _ in train(
        agent,
        make_task(TASK),
        seed=seed,
        out=folder,
        settings=changes,
        inputs=inputs,
        resume=is_nonempty(folder),
    ):
        pass
    return time.process_time() - begun


def shared(seed: int, names: Sequence[str]) -> dict[str, Path]:
    """Train the models that methods start from; return their folders by name of the input."""
    found: dict[str, Path] = {}
    for name in names:
        folder = RUNS / f"seed{seed}" / SHARED[name]
        inputs = {} if name == "reference" else {"reference": found["reference"]}
        run(SHARED[name], folder, seed, {}, **inputs)
        found[name] = folder
    return found


def measure(row: Row, seed: int) -> dict[str, Any]:
    """Train a row's method; return its record."""
    inputs = shared(seed, row.inputs)
    folder = RUNS / f"seed{seed}" / row.scores / row.method
    seconds = run(row.method, folder, seed, row.changes, **inputs)
    models = {name: load_saved(path) for name, path in {**inputs, "policy": folder}.items()}
    reference, policy = (
        policy_table(read_model(models[name], TOY, "policy"), TOY)
        for name in ("reference", "policy")
    )
    rewards, costs = TOY.table
    used = [
        score_table(read_model(models[name], TOY, "score"), TOY) if name in models else true
        for name, true in (("reward", rewards), ("cost", costs))
    ]
    own = own_optimum(row, reference, *used)
    return {
        "method": row.method,
        "scores": row.scores,
        "seed": seed,
        "settings": settings_of(row),
        "processor_seconds": round(seconds, 1),
        "reference": figures(reference, reference),
        **figures(policy, reference),
        "optimum": None if own is None else figures(own, reference),
        "total_variation": None if own is None else optima.total_variation(policy, own),
        "multiplier": multiplier_of(folder),
    }


def own_optimum(
    row: Row, reference: FloatArray, rewards: FloatArray, costs: FloatArray
) -> FloatArray | None:
    """Return the policy that a method's updates lead to, on the scores that it is trained on.

    None where there is none: learned costs may rule out every response to a prompt.
    """
    config = row.config
    if row.method == "safe-rlhf":
        try:
            return optima.lagrangian_optimum(
                reference, rewards, costs, config.beta, TOY.limit, divides=True
            ).policy
        except ConfigError:
            return None
    weight = {"ppo-shaping": "kappa", "sacpo": "multiplier"}.get(row.method)
    scores = rewards if weight is None else rewards - getattr(config, weight) * costs
    if row.method == "repo":
        scores = np.where(costs <= TOY.limit, rewards, -np.inf)
        if not np.isfinite(scores.max(axis=1)).all():
            return None
    return optima.tilted(reference, scores, config.beta)


@cache
def least_unsafe() -> float:
    """Return P(C > 0) of the best policy that holds the limit for every prompt."""
    rewards, costs = TOY.table
    best = optima.per_prompt_optimum(rewards, costs, TOY.limit)
    return optima.summary(best.policy, rewards, costs, TOY.limit, 0.0).unsafe


def figures(policy: FloatArray, reference: FloatArray | None) -> dict[str, float]:
    """Return the exact figures of a policy, by the language's own scores."""
    found = optima.summary(policy, *TOY.table, TOY.limit, least_unsafe())._asdict()
    if reference is not None:
        found["divergence"] = optima.divergence(policy, reference)
    return {name: float(value) for name, value in found.items()}


def multiplier_of(folder: Path) -> float | None:
    """Return the multiplier at the end of a training, from its curve."""
    curves = sorted(folder.glob("stages/*/training.jsonl"))
    last = json.loads(curves[-1].read_text().splitlines()[-1])
    found = last.get("multiplier")
    return None if found is None else float(found)


# The page

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
    return "".join([_HEAD, *_anchors(), *(text for of in SCORES for text in _table(of))])


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
finding. The weight of shaping is 0.5, chosen once. The multiplier of PPO-Lag is found in training.

**No prompt is held out.** Policies and score models are trained on the 16 prompts that every figure
is of, so nothing here measures generalisation or the exploitation of learned scores on new prompts.

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
    rows = [row for row in ROWS if row.scores == scores]
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


def samples() -> Iterator[Sample]:
    """Yield the finished rows as evidence for claims."""
    names = {"return": "value", "cost": "cost", "unsafe": "unsafe", "excess": "excess"}
    names["violating_prompts"] = "violating"
    for row in ROWS:
        runs = [row.read(seed) for seed in range(SEEDS)]
        done = [found for found in runs if found is not None]
        if len(done) == SEEDS:
            yield Sample(
                agent=row.name,
                task=make_task(TASK).id,
                unit="iterations",
                budget=float(row.config.iterations),
                seeds=tuple(str(found["seed"]) for found in done),
                metrics={name: tuple(of[key] for of in done) for name, key in names.items()},
            )


def main() -> None:
    """Train what is missing and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="rows whose 'METHOD SCORES' matches this")
    parser.add_argument("--seeds", default="", help="comma-separated; from 1000 on without record")
    parser.add_argument("--plan", action="store_true", help="list what is left, train nothing")
    parser.add_argument("--page", action="store_true", help="write the page, train nothing")
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",") if seed] or range(SEEDS)
    left = [
        (row, seed)
        for seed in seeds
        for row in ROWS
        if re.search(args.only, f"{row.method} {row.scores}") and row.read(seed) is None
    ]
    if args.plan:
        expected = sum(SECONDS[row.method] for row, _ in left)
        makers = {(seed, name) for row, seed in left for name in row.inputs}
        expected += sum(SECONDS[SHARED[name]] for _, name in makers)
        print(f"{len(left)} runs, about {expected / 60:.0f} processor-minutes")
        return
    for row, seed in [] if args.page else left:
        found = measure(row, seed)
        if seed < 1000:
            row.path(seed).parent.mkdir(parents=True, exist_ok=True)
            write_json(row.path(seed), found)
        shown = {key: round(found[key], 3) for key in ("value", "cost", "unsafe", "violating")}
        print(
            f"{row.name} seed {seed}: {shown}, total variation {found['total_variation']}, "
            f"{found['processor_seconds']} s",
            flush=True,
        )
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
