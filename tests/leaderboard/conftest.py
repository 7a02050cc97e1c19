"""What the tests of the leaderboard share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.leaderboard.writing import Writer, write_results


@pytest.fixture
def results(tmp_path: Path) -> Writer:
    """Return a function that writes results below this test's folder."""

    def write(agent: str, task: str, scores: Sequence[Sequence[float]], **settings: Any) -> Path:
        return write_results(tmp_path, agent, task, scores, **settings)

    return write
