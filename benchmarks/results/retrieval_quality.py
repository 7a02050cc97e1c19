"""How good is a retriever itself? What it finds in a bank, against exact values and actions.

``python -m benchmarks.results.retrieval_quality`` measures what has no record, and writes
``docs/results/retrieval-quality.md``. No agent is trained (track C). Keys of a trained agent are
measured beside the others by ``--keys NAME=MODULE:FUNCTION``, a function from images (n, 7, 7, 3)
and tasks (n,) to keys (n, d); ``--metric dot`` compares them by products.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.results.records import RECORDS
from benchmarks.results.rows import ROOT
from pkubench.agents.registry import import_function
from pkubench.errors import MissingExtra, PkubenchError
from pkubench.files import write_json
from pkubench.retrieval.bank import BEHAVIOURS, MemoryBank, States
from pkubench.retrieval.building import EPISODES, QUERY_SEEDS, SPLITS, Source, build
from pkubench.retrieval.keys import RandomProjection, raw_pixels
from pkubench.retrieval.optima import Optimum, optimum_of
from pkubench.retrieval.quality import quality
from pkubench.retrieval.retrievers import (
    KeyRetriever,
    Neighbors,
    OracleRetriever,
    RandomRetriever,
    Retriever,
)
from pkubench.retrieval.search import ApproximateIndex, ExactIndex, Index

TABLE = "retrieval-quality"
PAGE = ROOT / "docs/results" / f"{TABLE}.md"
K = 10
"""Rows that a query gets (Goyal et al., 2022)."""
QUERY_EPISODES, PER_BEHAVIOUR = 66, 20
"""Episodes that queries come from, and queries, of each behaviour on each task."""
SIZES = (10_000, 100_000, 1_000_000)
TIMED = {ExactIndex: (SIZES, 30), ApproximateIndex: (SIZES[:2], 200)}
"""Index -> numbers of keys, and of queries whose time is taken one by one."""
WIDTH = 64
METHODS: dict[str, Callable[[], Retriever]] = {
    "random": RandomRetriever,
    "raw pixels": lambda: KeyRetriever(raw_pixels),
    "random projection": lambda: KeyRetriever(RandomProjection(WIDTH)),
}
ORACLE = "oracle"
BANKS = ("mt7", "size-shift")


class Asked(NamedTuple):
    """A bank, the states that are looked up in it, and the exact answers for both."""

    bank: MemoryBank
    answers: Optimum
    queries: States
    query_answers: Optimum


@cache
def asked(split: str, episodes: int = EPISODES, per_behaviour: int = PER_BEHAVIOUR) -> Asked:
    """Return the bank of a split, and states of its targets by all behaviours alike."""
    known = SPLITS[split]
    bank = build(known.sources, episodes, name=split)
    targets = [Source(level, task) for task, level in enumerate(known.targets)]
    played = build(targets, min(QUERY_EPISODES, episodes), among=QUERY_SEEDS, name="queries")
    rng = np.random.default_rng(0)
    kind = played.row_tasks * len(BEHAVIOURS) + played.behaviour[played.row_episodes]
    rows = np.concatenate(
        [rng.choice(np.flatnonzero(kind == of), per_behaviour, False) for of in np.unique(kind)]
    )
    queries = played.states(rows)._replace(episodes=np.full(len(rows), -1))
    return Asked(bank, optimum_of(bank), queries, optimum_of(played, rows))


def measure(retriever: Retriever | None, of: Asked, same_task: bool) -> dict[str, Any]:
    """Return the scores of a retriever, or of the oracle."""
    oracle = OracleRetriever(of.answers)
    oracle.fit(of.bank.states())
    best = oracle.asked(of.query_answers).query(of.queries, K, same_task=same_task)
    found: Neighbors = best
    if retriever is not None:
        retriever.fit(of.bank.states())
        found = retriever.query(of.queries, K, same_task=same_task)
    tasks = of.queries.tasks, of.bank.row_tasks
    answers = of.query_answers, of.answers
    return quality(found, best, tasks, answers, of.bank.returns_to_go).to_json()


def latency(make: Callable[[], Index], size: int, queries: int) -> dict[str, float]:
    """Return the 50th and 95th percentile of a query's time in ms, and the seconds to build.

    Keys are normal numbers: the time of an exact search does not depend on them.
    """
    rng = np.random.default_rng(0)
    keys = rng.standard_normal((size, WIDTH), dtype=np.float32)
    wanted = rng.standard_normal((queries, WIDTH), dtype=np.float32)
    index, none = make(), np.full(size, -1, dtype=np.int64)
    begun = time.process_time()
    index.fit(keys, none, none)
    built = time.process_time() - begun
    index.query(wanted[:1], K)
    times = []
    for number in range(queries):
        begun = time.process_time()
        index.query(wanted[number : number + 1], K)
        times.append(1e3 * (time.process_time() - begun))
    p50, p95 = np.percentile(times, [50, 95])
    return {"p50_ms": round(float(p50), 3), "p95_ms": round(float(p95), 3), "s": round(built, 2)}


def settings_of(split: str) -> dict[str, Any]:
    """Return what decides a record."""
    sizes = {"episodes": EPISODES, "query_episodes": QUERY_EPISODES, "queries": PER_BEHAVIOUR}
    return {**sizes, "k": K, "width": WIDTH, "sources": [list(s) for s in SPLITS[split].sources]}


def path_of(method: str, where: str) -> Path:
    """Return the path of a record; ``where`` is a bank or ``latency``."""
    return RECORDS / TABLE / method.replace(" ", "-") / f"{where}.json"


def read(method: str, where: str) -> dict[str, Any] | None:
    """Return the record of the present settings, or None."""
    path = path_of(method, where)
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    is_present = where not in SPLITS or found["settings"] == settings_of(where)
    return found if is_present else None


def write(method: str, where: str, found: Mapping[str, Any]) -> None:
    """Write a record."""
    path = path_of(method, where)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, dict(found))
    print(f"{method} {where}", flush=True)


_HEAD = f"""# Quality of retrieval

Written by `python -m benchmarks.results.retrieval_quality`; no figure is entered by hand. No agent
is trained here: retrievers look states up in a frozen [memory bank](../concepts/memory-banks.md),
and what they find is compared with the optimal values V* and the optimal actions, which are exact.

A bank has {EPISODES} episodes of each source by each behaviour: random actions, the shortest way
with half of the actions random, and the shortest way. Queries are {PER_BEHAVIOUR} states of each
target by each behaviour, from other levels. Each query gets k = {K} states, of all tasks or of its
own.

* **task**: share of the states that are of the query's task. **action**: share that have an optimal
  action in common with it.
* **nDCG**: discounted cumulative gain, as a share of the oracle's; a state is worth
  exp(-|difference of V*| / 0.05), and 0 without an optimal action in common.
* **RMSE**: root mean squared difference of V_mem, the weighted mean of the returns in the bank,
  from V* of the query. **RMSE of V***: the same with the optimal values of the states in place of
  their returns, which leaves the error of looking at the wrong states.
* **calibration**: Spearman's correlation of the confidence with -|V_mem - V*|: 1 is best. A dash:
  the confidence is constant.

V* depends on the time that is left, on what is out of sight and, in Memory, on the cue, and images
show none of it. So keys of single images do not reach the oracle, which knows the answers. Most
states of a bank are of random play, whose long episodes mostly earn 0: returns fall short of V*
even where the oracle looks, which is why slots are drawn by episodes and not by steps.

"""
_COLUMNS = {
    "task_precision": "task",
    "action_agreement": "action",
    "ndcg": "nDCG",
    "value_rmse": "RMSE",
    "optimal_rmse": "RMSE of V*",
    "calibration": "calibration",
}
_TITLES = {"mt7": "MT7: bank and queries of the same tasks", "size-shift": "Size shift"}
_WORDS = {
    "mt7": "The seven tasks of MiniGridMT7-v0.",
    "size-shift": "Sources are smaller levels than the targets: DoorKey 5x5 and 6x6 for 8x8, "
    "LavaGap S5 for S7, Memory S7 for S11, SimpleCrossing S9N1 and S9N2 for S11N5.",
}


def _rows(where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    names = [path.name for path in sorted((RECORDS / TABLE).glob("*")) if path.is_dir()]
    known = [name.replace(" ", "-") for name in (ORACLE, *METHODS)]
    for name in [*known, *(name for name in names if name not in known)]:
        if (found := read(name, where)) is not None:
            yield name.replace("-", " ") if name in known else name, found


def section() -> str:
    """Return the page, from the records that there are."""
    return "".join([_HEAD, *(text for split in BANKS for text in _table(split)), *_latencies()])


def _table(split: str) -> Iterator[str]:
    rows = list(_rows(split))
    if not rows:
        return
    first = rows[0][1]
    yield (
        f"## {_TITLES[split]}\n\n{_WORDS[split]} {first['rows']:,} states in the bank, "
        f"{first['all']['queries']} queries.\n\n"
    )
    yield f"| keys | among | {' | '.join(_COLUMNS.values())} |\n|---|---|{'---|' * len(_COLUMNS)}\n"
    for among, words in (("all", "all tasks"), ("own", "own task")):
        for name, found in rows:
            cells = [_text(found[among][column]) for column in _COLUMNS]
            yield f"| {name} | {words} | {' | '.join(cells)} |\n"
    yield "\n"


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _latencies() -> Iterator[str]:
    rows = list(_rows("latency"))
    if not rows:
        return
    yield (
        f"## Time of a query\n\nMilliseconds of processor time for one query of k = {K} among keys "
        f"of {WIDTH} numbers, on one thread; and seconds to take the keys in. The "
        "approximate search needs `pip install 'pkubench[search]'`.\n\n"
        "| search | keys | p50 | p95 | built in |\n|---|---|---|---|---|\n"
    )
    for name, found in rows:
        for size, of in found["sizes"].items():
            cells = (f"{of['p50_ms']:.2f}", f"{of['p95_ms']:.2f}", f"{of['s']:.1f} s")
            yield f"| {name} | {int(size):,} | {' | '.join(cells)} |\n"
    yield "\n"


def _measure_all(methods: Mapping[str, Callable[[], Retriever] | None]) -> None:
    for split in BANKS:
        for name, make in methods.items():
            if read(name, split) is None:
                of = asked(split)
                scores = {
                    among: measure(None if make is None else make(), of, among == "own")
                    for among in ("all", "own")
                }
                facts = {"settings": settings_of(split), "bank": of.bank.sha256}
                write(name, split, {**facts, "rows": len(of.bank), **scores})


def _time_all() -> None:
    import torch

    torch.set_num_threads(1)
    for kind, (sizes, queries) in TIMED.items():
        if read(kind.kind, "latency") is None:
            try:
                found = {str(size): latency(kind, size, queries) for size in sizes}
            except MissingExtra as error:
                print(f"left out: {error}")
                continue
            write(kind.kind, "latency", {"sizes": found})


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--keys", metavar="NAME=MODULE:FUNCTION", help="keys to measure as well")
    parser.add_argument("--metric", choices=("l2", "dot"), default="l2", help="of these keys")
    args = parser.parse_args()
    methods: dict[str, Callable[[], Retriever] | None] = {ORACLE: None, **METHODS}
    if args.keys:
        name, _, function = args.keys.partition("=")
        if not name or ":" not in function:
            parser.error(f"--keys is NAME=MODULE:FUNCTION, got {args.keys}")
        try:
            embed = import_function(function)
        except PkubenchError as error:
            parser.error(f"--keys {args.keys}: {error}")
        methods[name] = lambda: KeyRetriever(embed, ExactIndex(args.metric))
    _measure_all(methods)
    _time_all()
    PAGE.write_text(section())
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
