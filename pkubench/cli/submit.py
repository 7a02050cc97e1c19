"""``pkubench submit``: check a bundle, run its weights again, and put it on a board."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from pkubench.cli.interrupt import sigterm_as_interrupt
from pkubench.cli.names import command, short
from pkubench.cli.options import (
    Json,
    Quiet,
    Workers,
    verb_app,
)
from pkubench.cli.output import Column, Output
from pkubench.errors import BundleError

if TYPE_CHECKING:
    from pkubench.leaderboard.board.tiers import Verdict

app = verb_app()

BOARD = "board.sqlite"
VARIABLE = "PKUBENCH_BOARD"

BoardPlace = Annotated[
    str | None,
    typer.Option(
        "--board",
        metavar="FILE|DIR|URL",
        help=f"SQLite file, folder with a {BOARD}, or a database URL; ${VARIABLE} or "
        f"./{BOARD} by default.",
    ),
]


def board_place(given: str | None) -> str:
    """Return the file or URL of the board that was meant."""
    place = given or os.environ.get(VARIABLE) or BOARD
    if "://" in place or place == ":memory:":
        return place
    path = Path(place)
    is_folder = path.is_dir() or (not path.exists() and not path.suffix)
    return str(path / BOARD if is_folder else path)


def _known(place: str, digest: str) -> dict[str, Verdict]:
    """Return a board's verdicts on a bundle; nothing if there is no such board yet."""
    from pkubench.leaderboard import Board

    if "://" not in place and not Path(place).is_file():
        return {}
    with Board.open(place) as opened:
        return opened.verdicts(digest)


@app.command()
def submit(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="What `pkubench bundle` made.")],
    board: BoardPlace = None,
    no_rerun: Annotated[
        bool,
        typer.Option(
            "--no-rerun", help="Do not run the weights again: displayed, but never ranked."
        ),
    ] = False,
    workers: Workers = 1,
    time_limit: Annotated[
        float,
        typer.Option(
            "--time-limit",
            metavar="SECONDS",
            min=1.0,
            help="Limit for playing all episodes again; entries that take longer are not ranked.",
        ),
    ] = 4 * 3600.0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a bundle, play all its episodes again, and put it on a board.

    Nothing that is submitted is executed: weights are data for architectures that pkubench
    registers, or ONNX graphs. Records that the weights do not reproduce are refused, exit code 1.
    A bundle whose weights the board has run already is not run again.
    """
    from pkubench.evaluation.run.execution import Limits
    from pkubench.leaderboard import Board, read_bundle, verify_bundle
    from pkubench.leaderboard.board.tiers import Verification

    place = board_place(board)
    with Output(json=json, quiet=quiet) as output, sigterm_as_interrupt():
        bundle = read_bundle(file)
        known = _known(place, bundle.digest)
        is_verified = bool(known) and all(verdict.tier.is_ranked for verdict in known.values())
        verification = Verification({})
        if not (no_rerun or is_verified):
            limits = Limits(total=time_limit)
            verification = verify_bundle(
                bundle, workers=workers, limits=limits, progress=output.note
            )
        if verification.is_contradicted:
            reasons = [v.reason for v in verification.verdicts.values() if v.is_contradicted]
            refused = BundleError(f"{file} is refused: {reasons[0]}")
            refused.exit_code = 1
            raise refused
        with Board.open(place) as opened:
            submission = opened.submit(
                bundle,
                None if no_rerun or is_verified else verification,
                submitted_at=datetime.datetime.now(datetime.UTC),
            )
            verdicts = opened.verdicts(bundle.digest)
        if json:
            output.document(
                {
                    "board": place,
                    "submission": submission.digest,
                    "is_new": submission.is_new,
                    "tasks": {
                        task: {"tier": verdict.tier.value, "reason": verdict.reason}
                        for task, verdict in verdicts.items()
                    },
                }
            )
            return
        if known:
            again = "nothing was run again" if no_rerun or is_verified else "it was run again"
            output.note(f"the same bytes were on {place} already: {again}")
        what = "is on" if submission.is_new else "was already on"
        _show(output, f"{bundle.manifest.name} {what} {place}", verdicts)
        given = ["--board", board] if board else []
        output.next(
            command("leaderboard", "show", *given),
            command("leaderboard", "export", "site", *given),
        )


def _show(output: Output, title: str, verdicts: Mapping[str, Verdict]) -> None:
    """Show the tier of each task and why."""
    columns = (
        Column("task", style="bold"),
        Column("tier"),
        Column("why", rank=1, wraps=True),
    )
    rows = []
    for task, verdict in verdicts.items():
        style = "green" if verdict.tier.is_ranked else "yellow"
        rows.append((short(task), Text(verdict.tier.value, style=style), verdict.reason))
    output.show(output.table(title, columns, rows))
