"""Which episode each environment of a batch plays, and which one comes next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pkubench.envs.core.seeding import IntArray, next_seeds
from pkubench.errors import ConfigError


class EpisodeSeeds:
    """Which episode each environment plays, and which one comes next."""

    def __init__(self, num_envs: int) -> None:
        """No environment has played yet."""
        self.last: IntArray = np.full(num_envs, -1, dtype=np.int64)

    def take(self, ids: IntArray, seed: int | Sequence[int | None] | None = None) -> IntArray:
        """Return the seeds of the episodes that begin now in the environments ``ids``.

        Args:
            ids: environments that are reset.
            seed: None to continue; an integer ``s`` to start episode ``s + i`` in environment
                ``i``; or one integer or None for each environment of the batch.

        Raises:
            ConfigError: a negative or overlong seed, or another number of seeds than environments.
        """
        last = self.last[ids]
        seeds = next_seeds(last)
        fresh = last < 0
        if fresh.any():
            entropy = np.random.SeedSequence().generate_state(int(fresh.sum()), np.uint32)
            seeds[fresh] = entropy & np.uint32(2**31 - 1)
        if isinstance(seed, Sequence | np.ndarray):
            if len(seed) != len(self.last):
                raise ConfigError(
                    f"{len(seed)} seeds for {len(self.last)} environments; give one each"
                )
            for place, index in enumerate(ids):
                given = seed[index]
                if given is not None:
                    seeds[place] = checked_seed(given)
        elif seed is not None:
            checked_seed(checked_seed(seed) + len(self.last))
            seeds = int(seed) + ids
        self.last[ids] = seeds
        return seeds


def checked_seed(seed: int) -> int:
    """Return ``seed`` as an int if it is one that an episode can have."""
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise ConfigError(f"a seed is an integer from 0 to 2**63 - 1, got {seed!r}")
    return int(seed)
