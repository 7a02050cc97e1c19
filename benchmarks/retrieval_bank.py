"""Build memory banks: ``python -m benchmarks.retrieval_bank [SPLIT ...] --out DIR``.

Each split (``mt7``, ``size-shift``, ``unrelated``) becomes ``DIR/SPLIT.npz``, the same bytes on
every machine, and ``DIR/SPLIT-slots.npz``, states of it with their returns as agents read them
(``--input bank=...``), and with optimal values and actions, which only the oracle reads.
``--minari`` also writes a bank as data sets in Minari's format.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pkubench.errors import PkubenchError
from pkubench.retrieval.bank import MemoryBank
from pkubench.retrieval.building import EPISODES, SPLITS, build
from pkubench.retrieval.optima import optimum_of

SLOTS = 20_000
"""States of a file of slots, an equal number of each task."""


def bank_of(split: str, episodes: int = EPISODES) -> MemoryBank:
    """Return the bank of a split."""
    return build(SPLITS[split].sources, episodes, name=split)


def write(split: str, folder: Path, episodes: int = EPISODES, slots: int = SLOTS) -> Path:
    """Write a bank and its slots; return the path of the slots."""
    bank = bank_of(split, episodes)
    bank.save(folder / f"{split}.npz")
    path = folder / f"{split}-slots.npz"
    rows = bank.slot_rows(slots, seed=0)
    drawn = bank.slots_at(rows, optimum_of(bank, rows))
    digest = drawn._replace(targets=np.array(SPLITS[split].targets)).save(path)
    print(f"{folder / split}.npz: {len(bank):,} states, content {bank.sha256}")
    print(f"{path}: {slots:,} states, file {digest}", flush=True)
    return path


def main(words: Sequence[str] | None = None) -> None:
    """Build what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("splits", nargs="*", help=f"of {', '.join(SPLITS)}; default: all")
    parser.add_argument("--out", type=Path, default=Path("runs/banks"))
    parser.add_argument("--episodes", type=int, default=EPISODES, help="of each behaviour")
    parser.add_argument("--slots", type=int, default=SLOTS, help="states for agents")
    parser.add_argument("--minari", action="store_true", help="data sets too, below Minari's root")
    given = parser.parse_args(words)
    unknown = sorted(set(given.splits) - SPLITS.keys())
    if unknown:
        parser.error(f"no split {', '.join(unknown)}; there are {', '.join(SPLITS)}")
    try:
        for split in given.splits or SPLITS:
            write(split, given.out, given.episodes, given.slots)
            if given.minari:
                from pkubench.retrieval.export import export

                for folder in export(bank_of(split, given.episodes)):
                    print(folder, flush=True)
    except PkubenchError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
