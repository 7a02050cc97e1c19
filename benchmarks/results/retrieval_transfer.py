"""Does a bank of smaller levels help to learn larger ones? Arms with and without it (track B).

``python -m benchmarks.results.retrieval_transfer`` writes ``docs/results/retrieval-transfer.md``
from the records; with ``--train`` it first trains what has none, and can be stopped and started
again. It uses one core; ``--only`` chooses arms, so that several may run side by side. ``--list``
prints the arms.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import pkubench
from benchmarks import retrieval_bank
from benchmarks.results.records import BY_OPTION, RECORDS
from benchmarks.results.retrieval_scores import area, difference, normalised, text_of, verdict
from benchmarks.results.rows import DONE, ROOT
from pkubench.agents.registry import presets
from pkubench.agents.resolve.acting import with_acting
from pkubench.agents.saved.files import load_saved
from pkubench.agents.saved.runs import has_checkpoint
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import evaluation_seeds
from pkubench.envs.minigrid.grid_world import GridWorld
from pkubench.evaluation.evidence import Sample
from pkubench.evaluation.run.episodes import run_block
from pkubench.evaluation.statistics import mean_interval
from pkubench.evaluation.verdicts import MIN_RUNS
from pkubench.files import write_json
from pkubench.retrieval.building import SPLITS, play
from pkubench.tasks.claim import AREA
from pkubench.tasks.records import returns_by_option
from pkubench.tasks.registry import make_task
from pkubench.tasks.task import Task
from pkubench.training.validation import Validation

TABLE = "retrieval-transfer"
PAGE = ROOT / "docs/results" / f"{TABLE}.md"
RUNS = ROOT / "runs" / TABLE
TARGETS = SPLITS["size-shift"].targets
STEPS_PER_TASK, SEEDS, EPISODES = 200_000, 3, 100
"""Frames of each task, training seeds, and episodes of each task in the evaluation."""
STEPS = STEPS_PER_TASK * len(TARGETS)
VALIDATION = Validation(points=20, episodes=40, window=10, sampled=True)
ANCHOR_LEVELS, ANCHOR_EPISODES = 1_000, 5_000
"""Levels of the mean optimum, and episodes of random play."""
_FULL = "retrieval-hypernetwork"
_EVEN = (("num_envs", "16"),)
"""Four environments of each task."""
_KEPT = (*_EVEN, ("writes", "false"))
"""And the memory stays what the bank gives."""


@dataclass(frozen=True)
class Arm:
    """A way to train on the targets."""

    name: str
    agent: str
    bank: str = ""
    """The split that its memory is filled from; "": it starts empty, and the agent writes."""
    settings: tuple[tuple[str, str], ...] = _EVEN
    note: str = ""

    def run(self, seed: int) -> Path:
        """Return the folder of a run."""
        return RUNS / self.name.replace(" ", "-") / f"seed{seed}"


ARMS = (
    Arm("bank", _FULL, "size-shift", _KEPT, "states of smaller levels"),
    Arm("no bank", _FULL, note="its own episodes, as in the paper"),
    Arm("no memory", f"{_FULL}-no-memory", note="the critic is not corrected"),
    Arm("random retrieval", f"{_FULL}-random-keys", "size-shift", _KEPT, "keys say nothing"),
    Arm("shuffled values", f"{_FULL}-shuffled", "size-shift", _KEPT, "values say nothing"),
    Arm("unrelated bank", _FULL, "unrelated", _KEPT, "MultiRoom and RedBlueDoors"),
    Arm(
        "oracle retrieval",
        _FULL,
        "size-shift",
        (*_KEPT, ("retrieval", "oracle")),
        "the slot of the nearest V* with an optimal action in common",
    ),
)
CONTROLS = tuple(arm.name for arm in ARMS if arm.name != "bank")


def task() -> Task:
    """Return the four targets side by side, played in turn."""
    return make_task(f"minigrid:{','.join(TARGETS)}")


@cache
def slots_of(split: str) -> Path:
    """Return the file of slots of a split, which is built if it is not there."""
    path = RUNS / "banks" / f"{split}-slots.npz"
    return path if path.is_file() else retrieval_bank.write(split, path.parent)


def train(arm: Arm, seed: int) -> dict[str, Any]:
    """Train and evaluate one run; return its record."""
    folder = arm.run(seed)
    inputs = {"bank": slots_of(arm.bank)} if arm.bank else {}
    if not (folder / DONE).exists():
        is_interrupted = has_checkpoint(folder)
        if not is_interrupted:
            shutil.rmtree(folder, ignore_errors=True)
        pkubench.train(
            arm.agent,
            task(),
            steps=STEPS,
            seed=seed,
            settings=dict(arm.settings),
            out=folder,
            resume=is_interrupted,
            validate=VALIDATION.points,
            validation_episodes=VALIDATION.episodes,
            window=VALIDATION.window,
            validate_sampled=VALIDATION.sampled,
            inputs=inputs,
        )
        (folder / DONE).touch()
    config = load_saved(folder).config
    return {
        **identity(arm, seed),
        "bank_sha256": config.get("inputs", {}),
        "curve": [
            {"at": point["at"], **{k: v for k, v in point.items() if k.startswith(BY_OPTION)}}
            for point in config["validation"]["sampled_points"]
        ],
        "returns": evaluated(folder),
    }


def evaluated(folder: Path) -> dict[str, float]:
    """Return the mean return of a saved agent on each target, of the first evaluation seeds.

    It samples its actions. Names are those of ``retrieval_scores.normalised``.
    """
    of = task()
    agent = pkubench.load_agent(with_acting(str(folder), {"mode": "sampled"}), of)
    planned = of.scoring.plan(of, 0, EPISODES * len(TARGETS))
    env = make_batch(of.id, len(planned))
    records = list(run_block(env, agent, of, planned))
    env.close()
    failures = [record.failure for record in records if record.failure]
    if failures:
        raise RuntimeError(f"{folder}: {failures[0]}")
    return returns_by_option(records)


def anchors() -> dict[str, list[float]]:
    """Return the mean return of random play and of the shortest ways on each target, in order."""
    path = RECORDS / TABLE / "anchors.json"
    if path.exists():
        found: dict[str, list[float]] = json.loads(path.read_text())
        return found
    found = {}
    for name in TARGETS:
        seeds = evaluation_seeds(0, ANCHOR_EPISODES)
        rewards = [
            earned.sum()
            for block in np.split(seeds, 10)
            for _, _, earned, _ in play(name, "random", block).episodes
        ]
        env = GridWorld(ANCHOR_LEVELS, -1, (name,), False)
        env.reset(seeds[:ANCHOR_LEVELS])
        found[name] = [float(np.mean(rewards)), float(env.best_returns().mean())]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)
    return found


def identity(arm: Arm, seed: int) -> dict[str, Any]:
    """Return what decides a record."""
    return {
        "arm": arm.name,
        "agent": arm.agent,
        "bank": arm.bank,
        "settings": [list(pair) for pair in arm.settings],
        "seed": seed,
        "steps": STEPS,
    }


def path_of(arm: Arm, seed: int) -> Path:
    """Return the path of a record."""
    return RECORDS / TABLE / arm.name.replace(" ", "-") / f"seed{seed}.json"


def read(arm: Arm, seed: int) -> dict[str, Any] | None:
    """Return the record of a run as the arm is now, or None."""
    path = path_of(arm, seed)
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    return found if identity(arm, seed).items() <= found.items() else None


def area_of(record: Mapping[str, Any], known: Mapping[str, Sequence[float]]) -> float:
    """Return the area under a run's normalised curve, the mean over the targets."""
    curve, ends = record["curve"], list(known.values())
    scores = np.array([normalised(point, ends) for point in curve])
    return float(area([point["at"] for point in curve], scores).mean())


def samples() -> Iterator[Sample]:
    """Yield the arms with enough runs as evidence for claims."""
    for arm in ARMS:
        done = [of for seed in range(SEEDS) if (of := read(arm, seed)) is not None]
        if len(done) >= MIN_RUNS:
            bank = (("bank", arm.bank),) if arm.bank else ()
            words = ", ".join(f"{name}={value}" for name, value in (*bank, *arm.settings))
            yield Sample(
                agent=f"{arm.agent} with {words}",
                task=task().id,
                unit="steps",
                budget=float(STEPS),
                seeds=tuple(str(of["seed"]) for of in done),
                metrics={AREA.name: tuple(round(area_of(of, anchors()), 6) for of in done)},
            )


def section() -> str:
    """Return the page, from the records that there are."""
    return "".join([_HEAD, *_table()])


_HEAD = f"""# Transfer with a bank

Written by `python -m benchmarks.results.retrieval_transfer`; no figure is entered by hand. One
agent learns {", ".join(name.removesuffix("-v0") for name in TARGETS[:-1])} and
{TARGETS[-1].removesuffix("-v0")} together, {STEPS_PER_TASK:,} frames of each, and its memory is
filled from a [bank](../concepts/memory-banks.md) of smaller levels of the same kinds:
{", ".join(s.level.removesuffix("-v0") for s in SPLITS["size-shift"].sources)}. The memory corrects
the critic and never acts, so every control is trained for itself.

**area** is under the curve of the normalised return (0 random play, 1 the shortest ways; the mean
over tasks) over {VALIDATION.points} validations; the other columns are normalised scores of the
last policy in {EPISODES} episodes of each task. Policies sample their actions. Means over seeds,
with 95 % t-intervals. **oracle retrieval** receives the optimal values and actions of its states
while it trains, and reads one slot of the same bank: an upper reference for retrieval, not an
agent.

"""


def _table() -> Iterator[str]:
    done = {
        arm.name: records
        for arm in ARMS
        if (records := {s: of for s in range(SEEDS) if (of := read(arm, s)) is not None})
    }
    missing = [arm for arm in ARMS if len(done.get(arm.name, {})) < SEEDS]
    if done:
        known = anchors()
        targets = [name.removesuffix("-v0") for name in TARGETS]
        yield f"| memory | what it has | area | {' | '.join(targets)} | n |\n"
        yield f"|---|---|---|{'---|' * len(targets)}---|\n"
        for arm in ARMS:
            if arm.name not in done:
                continue
            runs = list(done[arm.name].values())
            scores = np.array([normalised(of["returns"], list(known.values())) for of in runs])
            columns = [[area_of(of, known) for of in runs], *scores.T.tolist()]
            cells = [text_of(mean_interval(values)) for values in columns]
            yield f"| {arm.name} | {arm.note} | {' | '.join(cells)} | {len(runs)} |\n"
        yield "\n"
        yield from _utility(done, known)
    if missing:
        yield "## Not yet measured\n\n"
        for arm in missing:
            yield f"- {arm.name} ({len(done.get(arm.name, {}))} of {SEEDS} runs): {arm.note}\n"
        yield "\n"


def _utility(
    done: Mapping[str, Mapping[int, Mapping[str, Any]]], known: Mapping[str, Sequence[float]]
) -> Iterator[str]:
    """Yield the differences of areas from the controls, by pairs of equal seeds."""
    if "bank" not in done:
        return
    yield (
        "**Retrieval utility** is the area with the bank minus that of a control, "
        "by paired seeds:\n\n"
    )
    for name in CONTROLS:
        pairs = sorted(done["bank"].keys() & done.get(name, {}).keys())
        if pairs:
            both = ([area_of(done[of][s], known) for s in pairs] for of in ("bank", name))
            gained, count = difference(*both)
            yield f"- minus {name}: {text_of(gained)}, n = {count}: {verdict(gained)}\n"
    yield "\n"


def main() -> None:
    """Train what is asked for and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--train", action="store_true", help="train what has no record")
    parser.add_argument("--only", default="", help="arms whose names match")
    parser.add_argument("--list", action="store_true", help="print the arms")
    given = parser.parse_args()
    if given.list:
        for arm in ARMS:
            print(f"{arm.name}: {arm.agent}, bank {arm.bank or '-'}, {dict(arm.settings)}")
        return
    runs = [(arm, seed) for seed in range(SEEDS) for arm in ARMS if given.train]
    for arm, seed in runs:
        if not re.search(given.only, arm.name) or read(arm, seed) is not None:
            continue
        if arm.agent not in presets():
            print(f"left out: there is no agent {arm.agent}")
            continue
        path = path_of(arm, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, train(arm, seed))
        print(f"{arm.name} seed {seed}", flush=True)
    PAGE.write_text(section())
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
