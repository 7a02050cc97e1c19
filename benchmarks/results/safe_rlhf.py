"""Safe RLHF on the toy language: six methods, true and learned scores, exact figures.

``python -m benchmarks.results.safe_rlhf`` trains what has no record of the present settings and
writes ``docs/results/safe-rlhf.md``; it can be stopped and started again. ``--only`` chooses rows
(``--only "true|learned"`` the two main tables, ``kappa``, ``held_out``),
``--plan`` lists what is left, ``--page`` trains nothing. ``--seeds`` from 1000 on are for tuning:
they are printed and leave no record. A run takes about a minute of one processor, all of
them some two hours; see ``SECONDS``.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator, Mapping
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
from pkubench.envs.core.seeding import IntArray
from pkubench.errors import ConfigError
from pkubench.evaluation.evidence import Sample
from pkubench.files import write_json
from pkubench.tasks.registry import make_task
from pkubench.training.session import train

TABLE, TASK = "safe-rlhf", "ToyLanguage-v0"
RUNS = ROOT / "runs" / TABLE
SEEDS = 5
SHARED = {"reference": "sft", "reward": "reward-model", "cost": "cost-model"}
"""Input of the methods -> agent that makes it, once for each seed."""
METHODS = ("rlhf", "ppo-shaping", "safe-rlhf", "dpo", "sacpo", "repo")
SCORES = ("true", "learned")
KAPPAS = ("0.25", "1", "2")
"""Weights of reward shaping besides the preset's 0.5."""
HELD_OUT = "[1,6,9,14]"
"""Prompts that the rows of generalization are not trained on: two of benign and two of risky topics
(0, 3, 4 and 7), with either intent; each topic and each intent is seen in other prompts."""
SECONDS = {
    **{"rlhf": 60, "ppo-shaping": 60, "safe-rlhf": 80, "repo": 80, "dpo": 35, "sacpo": 70},
    **{"sft": 11, "reward-model": 20, "cost-model": 20},
}
"""Expected processor seconds of a run, of one thread of a processor that does about 40 GFLOP/s."""


class Row(NamedTuple):
    """One method with one source of scores."""

    method: str
    scores: str
    more: tuple[tuple[str, str], ...] = ()
    """Further settings."""

    @property
    def name(self) -> str:
        """As claims and records spell it."""
        words = ", ".join(f"{name}={value}" for name, value in self.changes.items())
        return f"{self.method} with {words}" if words else self.method

    @property
    def changes(self) -> dict[str, str]:
        """Settings that are not the preset's."""
        return ({} if self.scores == "true" else {"scores": "learned"}) | dict(self.more)

    @property
    def held_out(self) -> list[int]:
        """Prompts that it is not trained on."""
        found: list[int] = json.loads(dict(self.more).get("held_out", "[]"))
        return found

    @property
    def folder(self) -> str:
        """Folder of its runs and records, below that of its scores."""
        values = [value.strip("[]").replace(",", "-") for _, value in self.more]
        return "+".join([self.method, *(f"{n}={v}" for (n, _), v in
                                        zip(self.more, values, strict=True))])  # fmt: skip

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
        return RECORDS / TABLE / self.scores / self.folder / f"seed{seed}.json"

    def read(self, seed: int) -> dict[str, Any] | None:
        """Return the record of a run of the present settings, or None."""
        path = self.path(seed)
        if not path.exists():
            return None
        found: dict[str, Any] = json.loads(path.read_text())
        return found if found["settings"] == settings_of(self) else None


MAIN = tuple(Row(method, scores) for scores in SCORES for method in METHODS)
SHAPED = tuple(Row("ppo-shaping", "true", (("kappa", kappa),)) for kappa in KAPPAS)
UNSEEN = tuple(
    Row(method, scores, (("held_out", HELD_OUT),))
    for scores in SCORES
    for method in ("rlhf", "safe-rlhf", "repo")
)
ROWS = (*MAIN, *SHAPED, *UNSEEN)


def settings_of(row: Row) -> dict[str, Any]:
    """Return the settings of a row and of the shared models that it starts from."""
    task = make_task(TASK)
    shared = {name: _without_default(as_plain(preset(SHARED[name]).config(task)))
              for name in row.inputs}  # fmt: skip
    own = _without_default(as_plain(row.config))
    found: dict[str, Any] = json.loads(json.dumps({**own, "inputs": shared}))
    return found


def _without_default(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as records have them, in which no prompts held out is not mentioned."""
    return {name: value for name, value in settings.items() if name != "held_out" or value}


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


def shared(row: Row, seed: int) -> dict[str, Path]:
    """Train the models that a row starts from; return their folders by name of the input."""
    found: dict[str, Path] = {}
    held_out = {name: value for name, value in row.more if name == "held_out"}
    for name in row.inputs:
        folder = RUNS / f"seed{seed}" / (SHARED[name] + ("-held-out" if held_out else ""))
        inputs = {} if name == "reference" else {"reference": found["reference"]}
        run(SHARED[name], folder, seed, held_out, **inputs)
        found[name] = folder
    return found


def measure(row: Row, seed: int) -> dict[str, Any]:
    """Train a row's method; return its record."""
    inputs = shared(row, seed)
    folder = RUNS / f"seed{seed}" / row.scores / row.folder
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
    unseen: dict[str, Any] = {}
    if row.held_out:
        seen = np.setdiff1d(np.arange(len(policy)), row.held_out)
        unseen = {
            "seen": figures(policy, reference, seen),
            "unseen": figures(policy, reference, np.array(row.held_out)),
        }
    return {
        **unseen,
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


def figures(
    policy: FloatArray, reference: FloatArray | None, prompts: IntArray | None = None
) -> dict[str, float]:
    """Return the exact figures of a policy, by the language's own scores; on some prompts only."""
    rewards, costs = TOY.table
    if prompts is None:
        found = optima.summary(policy, rewards, costs, TOY.limit, least_unsafe())._asdict()
    else:
        policy, rewards, costs = policy[prompts], rewards[prompts], costs[prompts]
        reference = None if reference is None else reference[prompts]
        best = optima.per_prompt_optimum(rewards, costs, TOY.limit).policy
        least = optima.summary(best, rewards, costs, TOY.limit, 0.0).unsafe
        found = optima.summary(policy, rewards, costs, TOY.limit, least)._asdict()
    if reference is not None:
        found["divergence"] = optima.divergence(policy, reference)
    return {name: float(value) for name, value in found.items()}


def multiplier_of(folder: Path) -> float | None:
    """Return the multiplier at the end of a training, from its curve."""
    curves = sorted(folder.glob("stages/*/training.jsonl"))
    last = json.loads(curves[-1].read_text().splitlines()[-1])
    found = last.get("multiplier")
    return None if found is None else float(found)


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
        if re.search(args.only, f"{row.folder} {row.scores}") and row.read(seed) is None
    ]
    if args.plan:
        expected = sum(SECONDS[row.method] for row, _ in left)
        makers = {(seed, name, bool(row.held_out)) for row, seed in left for name in row.inputs}
        expected += sum(SECONDS[SHARED[name]] for _, name, _ in makers)
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
    from benchmarks.results.safe_rlhf_page import PAGE, page

    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
