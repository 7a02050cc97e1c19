"""Films of entries: made after the verdict, kept by the board, shown on the agent's page."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from pkubench.agents.resolve.loading import resolve_agent
from pkubench.evaluation.run.harness import evaluate
from pkubench.leaderboard import Board, create_bundle, verify_bundle
from pkubench.leaderboard.board.films import Films
from pkubench.leaderboard.board.reading import Bundle
from pkubench.leaderboard.board.tiers import Tier
from pkubench.leaderboard.service import filming
from pkubench.leaderboard.service.app import create_app
from pkubench.leaderboard.service.worker import Worker
from pkubench.leaderboard.site import export
from pkubench.tasks.registry import make_task
from tests.leaderboard.writing import Writer, spread_scores

SPREAD, DILEMMA = "pkubench/SimpleSpread-v0", "pkubench/PrisonersDilemma-v0"
MP4 = b"\0\0\0\x18ftypmp42" + bytes(range(200))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle of the random agent on a task with pictures, and on a conversation."""
    folder = tmp_path_factory.mktemp("played")
    for name in (SPREAD, DILEMMA):
        task = make_task(name)
        evaluate(resolve_agent("random", task), task, episodes=4, workers=0, out=folder)
    return create_bundle(folder / "random", folder / "random.zip", name="chance")


@pytest.fixture
def board(where: str, played: Bundle) -> Iterator[Board]:
    """Return a board with the entries of that bundle, played again."""
    with Board.open(where) as opened:
        opened.submit(played, verify_bundle(played, workers=0))
        yield opened


def test_films_are_kept_beside_entries_until_these_are_judged_anew(
    board: Board, played: Bundle
) -> None:
    films, version = Films(board.database), board.version()
    first = films.missing()
    assert first is not None and first.digest == played.digest
    films.add(first.entry, MP4)
    films.add(first.entry, b"a slower worker")
    assert board.version() == version + 1
    assert films.film(played.digest, first.task) == MP4
    second = films.missing()
    assert second is not None and {first.task, second.task} == {SPREAD, DILEMMA}
    films.add(second.entry, b"")
    assert films.missing() is None
    assert films.known() == {(played.digest, first.task)}
    assert films.film("0" * 64, SPREAD) == b""
    board.submit(played, verify_bundle(played, workers=0))
    assert films.missing() == first and films.known() == frozenset()


def test_only_what_was_played_again_without_its_code_is_filmed(
    where: str, tmp_path: Path, results: Writer
) -> None:
    folder = results("alpha", SPREAD, spread_scores(-38.0, runs=2, episodes=4))
    bundle = create_bundle(folder, tmp_path / "a.zip", weights=tmp_path / "weights")
    with Board.open(where) as board:
        board.submit(bundle)
        assert board.verdicts(bundle.digest)[SPREAD].tier is Tier.SELF_REPORTED
        assert Films(board.database).missing() is None


def test_a_worker_films_once_and_the_page_shows_it(
    tmp_path: Path,
    played: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Board.open(tmp_path / "board.sqlite") as board:
        board.submit(played, verify_bundle(played, workers=0))
        worker = Worker(board, processes=0)
        assert not Worker(board, processes=0, films=False).film()
        for task in (DILEMMA, SPREAD):  # as in the bundle
            wanted = Films(board.database).missing()
            assert wanted is not None and wanted.task == task
            with monkeypatch.context() as patch:
                if task == DILEMMA:
                    patch.setattr(filming, "MAX_FILM", 10)
                assert worker.film()
        assert not worker.film()
        assert f"no film of {played.digest[:12]} on {DILEMMA}: it has " in caplog.text
        film = Films(board.database).film(played.digest, SPREAD)
        assert film[4:8] == b"ftyp" and len(film) > 2000

        with TestClient(create_app(board)) as web:
            (name,) = [n for n in web.app.state.desk.pages._edition.site.files if "films/" in n]  # type: ignore[attr-defined]
            assert web.get(f"/{name}").content == film
            (page,) = (
                n
                for n in web.app.state.desk.pages._edition.site.files  # type: ignore[attr-defined]
                if n.startswith("agents/")
            )
            text = web.get(f"/{page}").text
            assert text.count("<video") == 1 and f'src="../{name}"' in text
            assert "media-src 'self'" in web.get(f"/{page}").headers["content-security-policy"]
        export(board, tmp_path / "site")
        assert (tmp_path / "site" / name).read_bytes() == film


@pytest.mark.parametrize(
    ("asked", "code", "start", "end"),
    [
        ("", 200, 0, 212),
        ("bytes=0-", 206, 0, 212),
        ("bytes=0-1", 206, 0, 2),
        ("bytes=10-10", 206, 10, 11),
        ("bytes=200-999", 206, 200, 212),
        ("bytes=-5", 206, 207, 212),
        ("bytes=-999", 206, 0, 212),
        ("bytes=-", 200, 0, 212),
        ("bytes=0-1,5-6", 200, 0, 212),
        ("pages=1-2", 200, 0, 212),
        ("bytes=212-", 416, 0, 0),
        ("bytes=9-3", 416, 0, 0),
    ],
)
def test_a_player_may_ask_for_parts_of_a_film(
    asked: str,
    code: int,
    start: int,
    end: int,
    tmp_path: Path,
    played: Bundle,
) -> None:
    assert len(MP4) == 212
    with Board.open(tmp_path / "board.sqlite") as board:
        board.submit(played, verify_bundle(played, workers=0))
        films = Films(board.database)
        wanted = films.missing()
        assert wanted is not None
        films.add(wanted.entry, MP4)
        with TestClient(create_app(board)) as web:
            (name,) = [n for n in web.app.state.desk.pages._edition.site.files if "films/" in n]  # type: ignore[attr-defined]
            answer = web.get(f"/{name}", headers={"range": asked} if asked else {})
    assert (answer.status_code, answer.content) == (code, MP4[start:end])
    if code == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/212"
    if code == 416:
        assert answer.headers["content-range"] == "bytes */212"


def test_a_film_that_takes_too_long_is_given_up(
    tmp_path: Path, played: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with Board.open(tmp_path / "board.sqlite") as board:
        board.submit(played, verify_bundle(played, workers=0))
        wanted = Films(board.database).missing()
        assert wanted is not None
        assert filming.filmed(board, wanted, seconds=0.01) == b""
    assert "it took more than 0.01 s" in caplog.text


def test_a_worker_without_the_encoder_leaves_films_to_others(
    board: Board, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "imageio_ffmpeg" else found(name)
    )
    assert not Worker(board, processes=0).film()
    assert "pkubench[plots]" in caplog.text
    assert Films(board.database).missing() is not None
