"""Banks as data sets in Minari's format: one for each level family and behaviour."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from gymnasium import spaces

from pkubench.data import minari_files
from pkubench.data.cards import card_of
from pkubench.data.episodes import Episodes
from pkubench.envs.minigrid import cells
from pkubench.retrieval.bank import BEHAVIOURS, IMAGE, MemoryBank

_WORDS = {
    "random": "uniform random actions",
    "search-epsilon": "the shortest way, with half of the actions random",
    "search": "the shortest way, by search",
}


def part_of(bank: MemoryBank, level: str, behaviour: str) -> Episodes:
    """Return the episodes of one level family by one behaviour, of the task ``minigrid:LEVEL``.

    Raises:
        DataError: there are none.
    """
    own = (bank.level == bank.levels.index(level)) & (bank.behaviour == BEHAVIOURS.index(behaviour))
    part = bank.episodes.select(np.flatnonzero(own))
    name = f"pkubench/{level.rpartition('-v')[0]}/{behaviour}-v0"
    return replace(part, task=f"minigrid:{level}", name=name)


def export(bank: MemoryBank, below: Path | None = None) -> list[Path]:
    """Write a bank as data sets, ``pkubench/DoorKey-5x5/search-v0``; return their folders.

    What offline agents of ``pkubench`` and others read then: images, actions, rewards and ends.
    Levels' seeds are in the metadata, in the order of the episodes.

    Args:
        bank: what is written.
        below: the folder of all data sets; None is Minari's.

    Raises:
        StorageError: the folder cannot be written.
        MissingExtra: Minari is not installed.
    """
    seen = spaces.Box(0, 255, IMAGE, np.uint8)
    folders = []
    for number, level in enumerate(bank.levels):
        for kind in np.unique(bank.behaviour[bank.level == number]).tolist():
            part = part_of(bank, level, BEHAVIOURS[kind])
            own = (bank.level == number) & (bank.behaviour == kind)
            card = {
                **card_of(
                    part,
                    policy=_WORDS[BEHAVIOURS[kind]],
                    command="python -m benchmarks.retrieval_bank --minari",
                ),
                "bank_sha256": bank.sha256,
                "seeds": bank.seeds[own].tolist(),
            }
            action = spaces.Discrete(cells.ACTIONS)
            folders.append(minari_files.write(part, seen, action, card=card, below=below))
    return folders
