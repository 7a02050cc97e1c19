"""What the tests of the leaderboard share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.leaderboard.postgres import running_server, with_schema
from tests.leaderboard.writing import Writer, write_results


@pytest.fixture
def results(tmp_path: Path) -> Writer:
    """Return a function that writes results below this test's folder."""

    def write(agent: str, task: str, scores: Sequence[Sequence[float]], **settings: Any) -> Path:
        return write_results(tmp_path, agent, task, scores, **settings)

    return write


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Start a PostgreSQL server for the session; skip where there is none to start."""
    with running_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return an empty database, once of each engine."""
    if request.param == "sqlite":
        return str(tmp_path / "board.sqlite")
    return with_schema(request.getfixturevalue("postgresql"), f"t{uuid.uuid4().hex}")
