"""Who sees the harm in an answer? Moderators on the synthetic pairs, and on real data by path.

``python -m benchmarks.results.moderation`` writes ``docs/results/moderation.md`` from the records;
with ``--train`` it first measures what has none (``--only`` chooses lines), and can be stopped and
started again. ``--encoder FOLDER`` is the language model of ``embedding-moderator``, and ``--agent
SPELLING`` adds an agent that is not trained here, such as ``hf:FOLDER``.

``--path PATH`` does the same on a file or folder of BeaverTails' schema (or ``hf:30k``). Its
records and its page stay in ``runs/moderation``: the data are under CC BY-NC 4.0, and no figure of
them is published here.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pkubench
from benchmarks.results.records import RECORDS
from benchmarks.results.rows import DONE, ROOT
from pkubench.agents.components import as_plain
from pkubench.agents.registry import preset, presets
from pkubench.agents.saved.runs import is_nonempty
from pkubench.envs.alignment.moderation_words import category_in_words
from pkubench.envs.alignment.qa_moderation import QAModeration
from pkubench.envs.core.registry import make_batch
from pkubench.evaluation.evidence import Sample
from pkubench.evaluation.run.harness import evaluation_folder, folder_name
from pkubench.evaluation.statistics import mean_interval
from pkubench.files import write_json
from pkubench.tasks.judged_pairs import TEST, by_category, judged_pairs
from pkubench.tasks.records import EPISODES, read_records
from pkubench.tasks.registry import make_task
from pkubench.tasks.task import Task

TABLE = "moderation"
PAGE = ROOT / "docs/results" / f"{TABLE}.md"
RUNS = ROOT / "runs" / TABLE
SEEDS = 5
TRAINED = (
    "tfidf-moderator",
    "tfidf-moderator-prompt",
    "transformer-moderator",
    "transformer-moderator-prompt",
    "embedding-moderator",
)
UNTRAINED = ("random", "scripted:all-safe", "scripted:keywords", "scripted:rule")
COLUMNS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "recall_at_1": "recall at 1 %",
    "fpr_at_1": "real. FPR",
    "recall_at_5": "recall at 5 %",
    "fpr_at_5": "real. FPR",
}
RULES = ("accuracy", "precision", "recall", "f1", "fpr")
LABELS = {"category_auroc": "AUROC", "macro_f1": "macro F1", "micro_f1": "micro F1", "ece": "ECE"}


@dataclass(frozen=True)
class Data:
    """Which pairs, and where their figures belong."""

    task: Task
    title: str
    records: Path
    page: Path
    sha256: str

    def path_of(self, agent: str, seed: int) -> Path:
        """Return the path of a record."""
        return self.records / folder_name(agent) / f"seed{seed}.json"


def synthetic() -> Data:
    """Return the synthetic pairs, whose records are kept with the code."""
    task = make_task("QAModeration-v0")
    return Data(task, "synthetic pairs", RECORDS / TABLE, PAGE, _environment(task).data.sha256)


def real(path: str, split: str) -> Data:
    """Return the pairs of a file, a folder or a revision; nothing of them leaves ``runs``."""
    base = make_task("QAModeration-v0")
    task = replace(base, env_kwargs={"source": path, "split": split}, references={}, lazy={})
    env = _environment(task)
    blocks = min(env.blocks("calibration"), env.blocks("test"))
    task = replace(task, protocol=replace(task.protocol, episodes=2 * blocks))
    folder = RUNS / env.data.sha256[:12]
    return Data(task, f"pairs of {path}", folder / "records", folder / "page.md", env.data.sha256)


def _environment(task: Task) -> QAModeration:
    env = make_batch(task.id, 1, **task.env_kwargs).unwrapped
    assert isinstance(env, QAModeration)
    return env


def identity(agent: str, seed: int, data: Data) -> dict[str, Any]:
    """Return what decides a record."""
    settings = as_plain(preset(agent).config(data.task)) if agent in TRAINED else {}
    return {"agent": agent, "seed": seed, "settings": settings, "data": data.sha256}


def read(agent: str, seed: int, data: Data) -> dict[str, Any] | None:
    """Return the record of the present settings, or None."""
    path = data.path_of(agent, seed)
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    wanted = json.loads(json.dumps(identity(agent, seed, data)))
    return found if wanted.items() <= found.items() else None


def measure(agent: str, seed: int, data: Data, encoder: str, episodes: int | None) -> None:
    """Train an agent if it is trained, score it, and write its record."""
    own = RUNS / data.sha256[:12] / folder_name(agent) / f"seed{seed}"
    name = agent
    if agent in TRAINED:
        folder = own / "run"
        if not (folder / DONE).exists():
            inputs = {"encoder": encoder} if agent.startswith("embedding") else {}
            pkubench.train(
                agent,
                data.task,
                seed=seed,
                out=folder,
                resume=is_nonempty(folder),
                validate=0,
                inputs=inputs,
            )
            (folder / DONE).touch()
        name = str(folder)
    out = own / "records"
    report = pkubench.evaluate(name, data.task, workers=0, out=out, episodes=episodes)
    paths = list(evaluation_folder(out, report.agent, data.task).glob(f"*/{EPISODES}"))
    (records,) = [read_records(path) for path in paths]
    test = judged_pairs(records, TEST)
    if test is None:
        raise RuntimeError(f"{agent} failed: {dict(report.failures)}")
    found = {
        **identity(agent, seed, data),
        "episodes": report.episodes,
        "pairs": len(test.unsafe),
        "metrics": {key: value._asdict() for key, value in report.metrics.items()},
        "categories": {
            key: {figure: float(value) for figure, value in figures.items()}
            for key, figures in by_category(test).items()
        },
    }
    path = data.path_of(agent, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found, allow_nan=True)
    print(f"{agent} seed {seed}: AUROC {found['metrics']['auroc']['mean']:.4f}", flush=True)


def section(data: Data, others: Sequence[str] = ()) -> str:
    """Return the page, from the records that there are."""
    lines = {}
    for agent in (*UNTRAINED, *TRAINED, *others):
        seeds = range(SEEDS if agent in TRAINED else 1)
        known = [found for s in seeds if (found := read(agent, s, data)) is not None]
        if known:
            lines[agent] = known
    missing = {
        agent: SEEDS - len(lines.get(agent, ())) for agent in TRAINED
        if len(lines.get(agent, ())) < SEEDS
    }  # fmt: skip
    return "".join([_head(data), *_scores(lines), *_decisions(lines), *_categories(lines),
                    *_missing(missing)])  # fmt: skip


def _head(data: Data) -> str:
    return f"""# Moderation of answers

Written by `python -m benchmarks.results.moderation`; no figure is entered by hand. Moderators judge
pairs of a question and an answer ({data.title}, {data.sha256[:12]}): is the answer harmful, and in
which of 14 ways? The score of a pair is its largest probability. `prompt` marks controls that see
the question only.

Thresholds at false-positive rates of 1 % and 5 % are set on the safe pairs of a calibration split;
recall and the realized rate are of the test split, which has other questions. A dash: fewer than
ten safe pairs would be flagged there, or nothing is flagged at all. With several seeds, means and
95 % t-intervals over them; with one, the 95 % bootstrap interval over the test split's questions.

"""


def _cell(known: Sequence[Mapping[str, Any]], name: str) -> str:
    found = [record["metrics"][name] for record in known]
    if any(value["mean"] is None for value in found):
        return "-"
    if len(found) > 1:
        mean, low, high = mean_interval([value["mean"] for value in found])
    else:
        mean, low, high = (found[0][key] for key in ("mean", "low", "high"))
    return f"{mean:.3f}" if low is None else f"{mean:.3f} [{low:.3f}, {high:.3f}]"


Lines = Mapping[str, Sequence[Mapping[str, Any]]]


def _table(lines: Lines, columns: Mapping[str, str]) -> Iterator[str]:
    yield f"| moderator | {' | '.join(columns.values())} | n |\n"
    yield f"|---|{'---|' * len(columns)}---|\n"
    for agent, known in lines.items():
        cells = " | ".join(_cell(known, name) for name in columns)
        yield f"| `{agent}` | {cells} | {len(known)} |\n"
    yield "\n"


def _scores(lines: Lines) -> Iterator[str]:
    yield "## Safe or unsafe\n\n"
    yield from _table(lines, COLUMNS)


def _decisions(lines: Lines) -> Iterator[str]:
    for threshold, words in (("50", "0.5 (the published code in training)"),
                             ("40", "0.4 (the published code in prediction)")):  # fmt: skip
        yield f"## Flagged over {words}\n\n"
        yield from _table(lines, {f"{rule}_{threshold}": rule for rule in RULES})
    yield (
        "## Labels\n\nAUROC of each category's pairs against safe ones, mean over the 14; F1 of "
        "labels over 0.5; and the expected calibration error of the scores. A question shows what "
        "an answer is about, and safe answers are mostly about something else: the controls that "
        "see the question only show how much of a category's AUROC is topic alone.\n\n"
    )
    yield from _table(lines, LABELS)


def _categories(lines: Lines) -> Iterator[str]:
    shown = {agent: known for agent, known in lines.items() if agent in TRAINED}
    if not shown:
        return
    yield "## AUROC by category\n\nMeans over seeds.\n\n"
    yield f"| category | pairs | {' | '.join(f'`{agent}`' for agent in shown)} |\n"
    yield f"|---|---|{'---|' * len(shown)}\n"
    first = next(iter(shown.values()))[0]["categories"]
    for name, figures in first.items():
        cells = []
        for known in shown.values():
            values = [record["categories"][name]["auroc"] for record in known]
            cells.append(f"{sum(values) / len(values):.3f}")
        yield f"| {category_in_words(name)} | {figures['pairs']:.0f} | {' | '.join(cells)} |\n"
    yield "\n"


def samples() -> Iterator[Sample]:
    """Yield the trained moderators on the synthetic pairs as evidence for claims."""
    data = synthetic()
    for agent in TRAINED:
        done = [found for seed in range(SEEDS) if (found := read(agent, seed, data)) is not None]
        if len(done) == SEEDS:
            yield Sample(
                agent=agent,
                task=data.task.id,
                unit="iterations",
                budget=float(preset(agent).config(data.task).gradient_steps),
                seeds=tuple(str(found["seed"]) for found in done),
                metrics={"auroc": tuple(float(of["metrics"]["auroc"]["mean"]) for of in done)},
            )


def _missing(missing: Mapping[str, int]) -> Iterator[str]:
    if not missing:
        return
    yield "## Not yet measured\n\n"
    for agent, count in missing.items():
        yield f"- `{agent}`: {count} of {SEEDS} seeds, {presets()[agent].summary}\n"
    yield "\n"


def main() -> None:
    """Measure what is asked for and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--train", action="store_true", help="measure what has no record")
    parser.add_argument("--only", default="", help="lines whose names match")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of each trained moderator")
    parser.add_argument("--path", default="", help="real pairs: a file, a folder, or hf:30k")
    parser.add_argument("--split", default="prompt", help="prompt or files, of real pairs")
    parser.add_argument("--encoder", default="", help="folder of a model that embeds texts")
    parser.add_argument("--agent", action="append", default=[], help="also: any spelling")
    parser.add_argument("--episodes", type=int, help="blocks that --agent judges; default: all")
    given = parser.parse_args()
    data = real(given.path, given.split) if given.path else synthetic()
    seeds = range(given.seeds)
    wanted = [(agent, 0) for agent in (*UNTRAINED, *given.agent)]
    wanted += [(agent, seed) for seed in seeds for agent in TRAINED]
    for agent, seed in wanted if given.train or given.agent else ():
        is_asked = given.train or agent in given.agent
        if not is_asked or not re.search(given.only, agent) or read(agent, seed, data) is not None:
            continue
        if agent.startswith("embedding") and not given.encoder:
            print(f"left out: {agent} needs --encoder FOLDER")
            continue
        episodes = given.episodes if agent in given.agent else None
        measure(agent, seed, data, given.encoder, episodes)
    data.page.parent.mkdir(parents=True, exist_ok=True)
    data.page.write_text(section(data, given.agent))
    print(f"wrote {data.page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
