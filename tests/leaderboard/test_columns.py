"""A column of the board is one entry of one list, wherever it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkubench.cli.leaderboard import _table
from pkubench.cli.output import Output, number
from pkubench.leaderboard import Board, create_bundle, rank_task
from pkubench.leaderboard.board import columns
from pkubench.leaderboard.board.columns import COLUMNS, EVERYWHERE, Column, task_columns
from pkubench.leaderboard.board.local import own_records
from pkubench.leaderboard.site import export
from pkubench.tasks.registry import make_task
from tests.leaderboard.writing import write_results

SPREAD, CHEETAH = "SimpleSpread-v0", "HalfCheetahVelocity-v0"


@pytest.fixture
def board(tmp_path: Path) -> Board:
    made = Board.open()
    for task, score, costs in ((SPREAD, -31.5, None), (CHEETAH, 2000.0, [[30.0] * 16] * 5)):
        episodes = make_task(task).protocol.episodes
        folder = write_results(tmp_path, "happo", task, [[score] * episodes] * 5, costs=costs)
        bundle = create_bundle(folder, tmp_path / f"{task}.zip", weights=tmp_path / "weights")
        made.submit(bundle, own_records(bundle))
    return made


def printed(board: Board, name: str, capsys: pytest.CaptureFixture[str]) -> str:
    task = make_task(name)
    with Output() as output:
        output.show(_table(output, task, rank_task(task, board.entries(task.id))))
    return capsys.readouterr().out


def test_a_new_entry_is_a_column_of_every_page_and_of_the_terminal(
    board: Board,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    column = Column(
        name="episodes",
        header="episodes played",
        value=lambda s: s.entry.report.episodes * len(s.entry.runs),
        title="Episodes of all runs together.",
        on=EVERYWHERE,
    )
    monkeypatch.setattr(columns, "COLUMNS", (*COLUMNS, column))
    export(board, tmp_path / "site")
    pages = [tmp_path / "site" / "tasks" / f"{SPREAD}.html"]
    pages += (tmp_path / "site" / "agents").glob("*.html")
    assert len(pages) == 3
    for page in pages:
        text = page.read_text()
        assert 'title="Episodes of all runs together.">Episodes played</th>' in text
        assert 'data-label="Episodes played"' in text
    assert 'data-value="1000">1000</td>' in pages[0].read_text()
    shown = printed(board, SPREAD, capsys)
    assert "episodes played" in shown and "1000" in shown


def test_each_task_shows_the_columns_that_say_something(
    board: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    def names(task_name: str) -> list[str]:
        task = make_task(task_name)
        standings = rank_task(task, board.entries(task.id))
        return [column.name for column in task_columns(task, standings, "terminal")]

    assert "cost" not in names(SPREAD) and "normalised" in names(SPREAD)
    assert "cost" in names(CHEETAH)
    assert "unranked" not in names(SPREAD)
    cheetah = printed(board, CHEETAH, capsys)
    assert "(cost limit 25)" in cheetah and "return ↑" in cheetah and " 30 " in cheetah


def test_cells_are_written_from_the_value_unless_a_column_says_otherwise() -> None:
    cells = {column.name: column for column in COLUMNS}
    plain = Column(name="x", header="x", value=lambda s: s, digits=2, title="", on=EVERYWHERE)
    assert [plain.write(plain, value, number) for value in (1.2345, 7, "a", None)] == [
        number(1.2345, 2),
        "7",
        "a",
        "–",
    ]
    assert cells["score"].heading(None) == "score"
    assert cells["score"].heading(make_task("KuhnPoker-v0")) == "exploitability ↓"
