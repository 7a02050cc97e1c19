"""``pkubench leaderboard backup``, ``restore``, ``bundles`` and ``import``: a board as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pkubench.cli.names import command
from pkubench.cli.options import Quiet
from pkubench.cli.output import Output
from pkubench.cli.submit import BoardPlace, board_place
from pkubench.errors import BundleError, StorageError, counted

BackupFile = Annotated[Path, typer.Argument(metavar="FILE", help="The file, such as board.backup.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder of bundles.")]


def backup(file: BackupFile, board: BoardPlace = None, quiet: Quiet = False) -> None:
    """Write a whole board to one file, while it runs. Keep it as secret as the database."""
    from pkubench.leaderboard import Board
    from pkubench.leaderboard.board.backup import back_up

    with Output(quiet=quiet) as output, Board.open(board_place(board)) as opened:
        rows = back_up(opened.database, file)
        output.note(f"wrote {counted(rows, 'row')} to {file}")
        output.next(command("leaderboard", "restore", file, "--board", "NEW.sqlite"))


def restore(file: BackupFile, board: BoardPlace = None, quiet: Quiet = False) -> None:
    """Fill a new board from a backup, on either engine."""
    from pkubench.leaderboard import Board
    from pkubench.leaderboard.board.backup import restore as read_back

    with Output(quiet=quiet) as output, Board.open(board_place(board)) as opened:
        rows = read_back(opened.database, file)
        output.note(f"restored {counted(rows, 'row')} to {opened.database.where}")


def bundles(folder: Folder, board: BoardPlace = None, quiet: Quiet = False) -> None:
    """Write every submission's bundle to a folder, as DIGEST.zip: all records, nothing secret."""
    from pkubench.leaderboard import Board

    with Output(quiet=quiet) as output, Board.open(board_place(board)) as opened:
        found = opened.submissions()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for submitter in found:
                (folder / f"{submitter.digest}.zip").write_bytes(opened.bundle(submitter.digest))
        except OSError as error:
            raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error
        output.note(f"wrote {counted(len(found), 'bundle')} to {folder}")
        output.next(command("leaderboard", "import", folder, "--board", "OTHER.sqlite"))


def import_bundles(folder: Folder, board: BoardPlace = None, quiet: Quiet = False) -> None:
    """Queue every bundle of a folder, to be verified by this board's own workers."""
    from pkubench.leaderboard import Board
    from pkubench.leaderboard.service.jobs import Queue
    from pkubench.leaderboard.submissions.bundle import read_bundle

    files = sorted(folder.glob("*.zip"))
    if not files:
        raise StorageError(f"there are no bundles (*.zip) in {folder}")
    with Output(quiet=quiet) as output, Board.open(board_place(board)) as opened:
        queue, added, refused = Queue(opened.database), 0, 0
        for file in files:
            try:
                bundle = read_bundle(file)
            except BundleError as error:
                refused += 1
                output.note(f"left out {file.name}: {error}")
                continue
            added += queue.add(bundle.digest, bundle.manifest.name, file.read_bytes())
        known = len(files) - added - refused
        output.note(f"queued {counted(added, 'bundle')}; {known} there already, {refused} left out")
        output.next(command("leaderboard", "worker", *(["--board", board] if board else [])))
