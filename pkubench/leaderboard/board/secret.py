"""Secret episodes: what a board plays whose seeds only it knows.

An agent that knows the answers to the public episodes scores there, and not here. The seeds follow
from a key of 32 random bytes in the board's database by a keyed hash (BLAKE2b), the same for every
submission, so that entries are compared on the same episodes. Those of environments and of agents
have 63 bits: the 31 bits of public evaluations could be found from what an agent observes by trying
them all.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import sqlalchemy as sql
from scipy import stats

from pkubench.errors import counted
from pkubench.leaderboard.board.database import Database, insert_if_new
from pkubench.leaderboard.board.tables import SETTINGS
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.scoring import Episode
from pkubench.tasks.task import Task

FloatArray = npt.NDArray[np.float64]

GAP_LEVEL = 0.001
"""Probability that the test finds a gap in an honest entry, over all its runs."""
_ROUNDING = 1e-9
"""Relative difference of means of episodes that do not vary."""


@dataclass(frozen=True, slots=True)
class SecretSeeds:
    """The episodes that only a board knows."""

    key: bytes = field(repr=False)

    @classmethod
    def of(cls, database: Database) -> SecretSeeds:
        """Return those of a board, which draws its key when it is first asked.

        Raises:
            StorageError: the database cannot be used.
        """
        with database.transaction() as connection:
            insert_if_new(connection, SETTINGS, key="secret", value=secrets.token_hex(32))
            query = sql.select(SETTINGS.c.value).where(SETTINGS.c.key == "secret")
            return cls(bytes.fromhex(str(connection.scalar(query))))

    def plan(self, task: Task) -> tuple[Episode, ...]:
        """Return a task's secret episodes, as many as its protocol has.

        None, where the score is computed exactly: no seed changes it.
        """
        if task.ranking.interval == "exact":
            return ()
        planned = task.scoring.plan(task, self._number(f"set:{task.id}"), task.protocol.episodes)
        return tuple(
            # By seed, not by number: episodes that share one go on sharing it.
            replace(
                episode,
                seed=self._number(f"env:{task.id}:{episode.seed}"),
                agent_seed=self._number(f"agent:{task.id}:{episode.agent_seed}"),
            )
            for episode in planned
        )

    def _number(self, what: str) -> int:
        """Return a number of 63 bits, which seeds of runs and agents are."""
        digest = hashlib.blake2b(what.encode(), key=self.key, digest_size=8, person=b"pkubench")
        return int.from_bytes(digest.digest(), "little") >> 1


def gap(
    task: Task,
    public: Sequence[Sequence[EpisodeRecord]],
    secret: Sequence[Sequence[EpisodeRecord]],
) -> str:
    """Return in words whether an entry is better on public episodes than on secret ones; "" if not.

    In each run the ranking metric of the two sets is compared by Welch's test, one-sided, at
    ``GAP_LEVEL`` divided by the number of runs (Bonferroni).

    Args:
        task: gives the metric.
        public: records of each run.
        secret: records of the same runs.
    """
    metric, found = task.ranking, []
    for then, now in zip(public, secret, strict=True):
        a, b = (
            np.array([v for r in side if (v := r.value(metric.name)) is not None], np.float64)
            for side in (then, now)
        )
        if min(len(a), len(b)) < 2:
            continue
        sign = 1.0 if metric.higher_is_better else -1.0
        found.append((_p_value(sign * a, sign * b), float(a.mean()), float(b.mean())))
    if not found:
        return ""
    p_value, known, unknown = min(found)
    if p_value >= GAP_LEVEL / len(found):
        return ""
    return (
        f"better on public episodes than on secret ones: {known:.4g} and {unknown:.4g} "
        f"(one-sided Welch's test, p = {p_value:.1g}; level {GAP_LEVEL:g} over "
        f"{counted(len(found), 'run')})"
    )


def _p_value(better: FloatArray, worse: FloatArray) -> float:
    scale = max(float(np.abs(better).max()), float(np.abs(worse).max()), 1.0)
    if max(float(better.std()), float(worse.std())) <= _ROUNDING * scale:
        return 0.0 if better.mean() - worse.mean() > _ROUNDING * scale else 1.0
    return float(stats.ttest_ind(better, worse, equal_var=False, alternative="greater").pvalue)
