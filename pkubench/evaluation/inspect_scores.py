"""Our records as scores for inspect-ai: the file that its ``precomputed_scores`` reads.

``inspect score LOG --scorer inspect_ai/precomputed_scores -S scores=FILE`` attaches them to the
samples of ``inspect eval pkubench/...`` by number, without asking a model. Needs no inspect-ai.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pkubench.files import write_bytes
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.task import Task


def score_of(record: EpisodeRecord, task: Task) -> dict[str, Any]:
    """Return a record as a score: ``id``, ``value``, ``explanation`` and ``metadata``.

    The value is the episode's own of the metric that ranks, or its return where that metric is of
    many episodes together; it is not a number where the episode failed. The whole record is in the
    metadata, from which every metric can be computed again.
    """
    value = record.value(task.ranking.name)
    if value is None and record.failure is None:
        value = record.return_
    return {
        "id": record.episode,
        "value": math.nan if value is None else value,
        "explanation": record.failure,
        "metadata": {"task": task.id, "record": record.line(task)},
    }


def write_scores(records: Iterable[EpisodeRecord], task: Task, path: Path) -> int:
    """Write the scores of an evaluation, one JSON object a line; return their number.

    Failed episodes are left out: ``precomputed_scores`` leaves samples without a score unscored.

    Raises:
        StorageError: the file cannot be written.
    """
    scores = [score_of(record, task) for record in records if record.failure is None]
    text = "".join(json.dumps(score, allow_nan=False) + "\n" for score in scores)
    write_bytes(path, text.encode())
    return len(scores)
