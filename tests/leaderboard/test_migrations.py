"""Migrations: the tables of any release become those of this one, and back, with their data."""

from __future__ import annotations

import datetime
import threading
from pathlib import Path

import pytest
import sqlalchemy as sql
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from pkubench.errors import StorageError
from pkubench.leaderboard import Board, create_bundle
from pkubench.leaderboard.board.database import Database
from pkubench.leaderboard.board.migrations import EMPTY, FIRST, HEAD, migrate, revision_of
from pkubench.leaderboard.board.tables import METADATA
from pkubench.leaderboard.service.tokens import Tokens
from tests.leaderboard.writing import Writer, spread_scores

TASK = "SimpleSpread-v0"
NOW = datetime.datetime(2031, 5, 4, 12, 0, tzinfo=datetime.UTC)


def test_the_migrations_make_the_tables_that_the_code_uses(where: str) -> None:
    database = Database.open(where)
    with database.transaction("read") as connection:
        assert revision_of(connection) == HEAD
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, METADATA) == []
    database.close()


def test_down_and_up_again_keeps_every_submission(
    where: str, tmp_path: Path, results: Writer
) -> None:
    folder = results("alpha", TASK, spread_scores(-38.0, runs=2, episodes=4))
    bundle = create_bundle(folder, tmp_path / "a.zip", weights=tmp_path / "weights")
    with Board.open(where) as board:
        board.submit(bundle, submitted_at=NOW)
        Tokens(board.database).add("alice")
        before = board.export_json()
        with board.database.transaction("exclusive") as connection:
            migrate(connection, FIRST)
        with board.database.transaction("read") as connection:
            assert revision_of(connection) == FIRST
            tables = set(sql.inspect(connection).get_table_names())
            assert "tokens" not in tables and "board" in tables
    with Board.open(where) as board:  # up again, as any opening does
        assert board.export_json() == before
        assert board.bundle(bundle.digest) == bundle.path.read_bytes()
        assert Tokens(board.database).list() == ()


def test_a_board_from_before_the_migrations_is_taken_over(
    where: str, tmp_path: Path, results: Writer
) -> None:
    folder = results("alpha", TASK, spread_scores(-38.0, runs=2, episodes=4))
    bundle = create_bundle(folder, tmp_path / "a.zip", weights=tmp_path / "weights")
    with Board.open(where) as board:
        board.submit(bundle)
        with board.database.transaction("exclusive") as connection:
            migrate(connection, FIRST)
            connection.execute(sql.text("DROP TABLE alembic_version"))
    with Board.open(where) as board:
        assert [entry.submitter.name for entry in board.entries()] == ["alpha"]


def test_several_that_open_an_empty_database_at_once_make_one_board(where: str) -> None:
    found: list[str] = []

    def open_it() -> None:
        with Board.open(where) as board, board.database.transaction("read") as connection:
            found.append(revision_of(connection))

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [HEAD] * 4


def test_down_to_nothing_leaves_no_table(where: str) -> None:
    database = Database.open(where)
    with database.transaction("exclusive") as connection:
        migrate(connection, EMPTY)
        assert sql.inspect(connection).get_table_names() == ["alembic_version"]
    database.close()
    Board.open(where).close()


def test_a_migration_that_fails_leaves_the_old_tables(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database.open(where)
    with database.transaction("exclusive") as connection:
        migrate(connection, FIRST)
        connection.execute(sql.text("CREATE TABLE uploads (job INTEGER)"))  # in the way
    database.close()
    with pytest.raises(StorageError, match="uploads"):
        Database.open(where)
    # Nothing of the failed step stays: without what was in its way it works.
    monkeypatch.setattr("pkubench.leaderboard.board.database.migrate", lambda *_: None)
    database = Database.open(where)
    with database.transaction() as connection:
        assert revision_of(connection) == FIRST
        assert "tokens" not in sql.inspect(connection).get_table_names()
        connection.execute(sql.text("DROP TABLE uploads"))
    database.close()
    monkeypatch.undo()
    Board.open(where).close()
