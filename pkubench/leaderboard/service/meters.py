"""Figures of a server for Prometheus, in its text format. Each server process counts its own."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

from pkubench import __version__
from pkubench.leaderboard.service.jobs import Queue

BUCKETS_S = (0.01, 0.05, 0.2, 1.0, 5.0)
"""Upper bounds of the histogram of answering times."""


class Meters:
    """Counts requests. Safe to use from several threads."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._lock = threading.Lock()
        self._statuses: Counter[str] = Counter()
        self._buckets: Counter[float] = Counter()
        self._seconds = 0.0

    def count(self, status: int, seconds: float) -> None:
        """Count an answered request."""
        with self._lock:
            self._statuses[f"{status // 100}xx"] += 1
            self._seconds += seconds
            for bound in BUCKETS_S:
                self._buckets[bound] += seconds <= bound

    def text(self, queue: Queue, version: int) -> str:
        """Return all figures; ``version`` is the board's."""
        return "\n".join(self._lines(queue, version)) + "\n"

    def _lines(self, queue: Queue, version: int) -> Iterator[str]:
        yield from _described("pkubench_info", "gauge", "The release.")
        yield f'pkubench_info{{version="{__version__}"}} 1'
        yield from _described("pkubench_jobs", "gauge", "Submissions by state.")
        for state, count in queue.counts().items():
            yield f'pkubench_jobs{{state="{state}"}} {count}'
        yield from _described(
            "pkubench_oldest_job_seconds", "gauge", "Age of the oldest job without a verdict."
        )
        yield f"pkubench_oldest_job_seconds {queue.oldest_s():.1f}"
        yield from _described("pkubench_board_version", "counter", "Changes of the board.")
        yield f"pkubench_board_version {version}"
        with self._lock:
            statuses, buckets = dict(self._statuses), dict(self._buckets)
            seconds, total = self._seconds, sum(self._statuses.values())
        yield from _described("pkubench_requests_total", "counter", "Requests by kind of status.")
        for status, count in sorted(statuses.items()):
            yield f'pkubench_requests_total{{status="{status}"}} {count}'
        yield from _described(
            "pkubench_request_seconds", "histogram", "How long answers took to begin."
        )
        for bound in BUCKETS_S:
            yield f'pkubench_request_seconds_bucket{{le="{bound:g}"}} {buckets.get(bound, 0)}'
        yield f'pkubench_request_seconds_bucket{{le="+Inf"}} {total}'
        yield f"pkubench_request_seconds_sum {seconds:.6f}"
        yield f"pkubench_request_seconds_count {total}"


def _described(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"
