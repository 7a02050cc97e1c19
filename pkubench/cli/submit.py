"""``pkubench submit``: check a bundle, and put it on a board or send it to a served one."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from pkubench.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from pkubench.leaderboard.board.reading import Bundle
    from pkubench.leaderboard.board.tiers import Verdict, Verification

app = verb_app()

BOARD = "board.sqlite"
VARIABLE = "PKUBENCH_BOARD"

BoardPlace = Annotated[
    str | None,
    typer.Option(
        "--board",
        "--database",
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


TOKEN = "PKUBENCH_TOKEN"


@app.command()
def submit(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="What `pkubench bundle` made.")],
    board: BoardPlace = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="URL", help="Send it to the served board at this address."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option("--token", help=f"With --to: your token; ${TOKEN} by default."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Give the board's verdict here, and neither store nor send anything."
        ),
    ] = False,
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

    Submitted code runs in a sandbox only. Weights are data for architectures that pkubench
    registers, or ONNX graphs for ONNX Runtime. Records that the weights do not reproduce are
    refused, exit code 1.
    A bundle whose weights the board has run already is not run again.

    With `--to` a served board does all this, on secret episodes too; the queue and the verdict are
    shown as they come. Ctrl-C leaves the submission in the queue.
    """
    from pkubench.leaderboard import read_bundle

    if to is not None and (board or no_rerun or check):
        raise ConfigError("--to sends the bundle: leave out --board, --no-rerun and --check")
    if token is not None and to is None:
        raise ConfigError("--token belongs to --to")
    with Output(json=json, quiet=quiet) as output, sigterm_as_interrupt():
        bundle = read_bundle(file)
        if to is not None:
            _send(output, bundle, to, token or os.environ.get(TOKEN))
        elif check:
            _check(output, bundle, workers, time_limit)
        else:
            _store(output, bundle, board, None if no_rerun else workers, time_limit)


def _send(output: Output, bundle: Bundle, url: str, token: str | None) -> None:
    """Send a bundle to a served board and show its states up to the verdict."""
    from pkubench.leaderboard.board.tiers import Tier, Verdict
    from pkubench.leaderboard.service.client import Client

    client, shown = Client(url, token), ""
    status = client.submit(bundle.path)
    output.note(f"{url.rstrip('/')}/submissions/{bundle.digest}.html")
    for status in client.watch(bundle.digest):
        line = _progress(status)
        if line != shown:
            output.note(line)
        shown = line
    if output.json:
        output.document({"board": url, "submission": bundle.digest, **status})
    if status["state"] != "accepted":
        failed = BundleError(f"{bundle.path} is {status['state']}: {status['reason']}")
        failed.exit_code = 1
        raise failed
    verdicts = {
        task: Verdict(Tier(of["tier"]), of["reason"]) for task, of in status["verdicts"].items()
    }
    _show(output, f"{bundle.manifest.name} is on {url}", verdicts)


def _progress(status: Mapping[str, Any]) -> str:
    if status["state"] == "queued":
        why = f" (after a failed attempt: {status['reason']})" if status["reason"] else ""
        return f"number {status['position']} in the queue{why}"
    if status["state"] == "running":
        return str(status["progress"] or "being checked")
    return f"verdict: {status['state']}"


def _check(output: Output, bundle: Bundle, workers: int, time_limit: float) -> None:
    """Show the verdicts that a board would give, but for its secret episodes and its copies."""
    verification = _verified(output, bundle, workers, time_limit)
    verdicts = {task.task.id: verification.verdict(task.task.id) for task in bundle.tasks}
    if output.json:
        output.document({"board": None, "submission": bundle.digest, "tasks": _tasks(verdicts)})
        return
    _show(output, f"{bundle.manifest.name}, not submitted", verdicts)
    output.next(command("submit", bundle.path, "--to", "URL"))


def _verified(output: Output, bundle: Bundle, workers: int, time_limit: float) -> Verification:
    """Run a bundle again.

    Raises:
        BundleError: it produced different episodes.
    """
    from pkubench.evaluation.run.execution import Limits
    from pkubench.leaderboard import verify_bundle

    limits = Limits(total=time_limit)
    found = verify_bundle(bundle, workers=workers, limits=limits, progress=output.note)
    if found.is_contradicted:
        reasons = [v.reason for v in found.verdicts.values() if v.is_contradicted]
        refused = BundleError(f"{bundle.path} is refused: {reasons[0]}")
        refused.exit_code = 1
        raise refused
    return found


def _store(
    output: Output, bundle: Bundle, board: str | None, workers: int | None, time_limit: float
) -> None:
    """Put a bundle on a board that this process can write to; ``workers`` None runs nothing."""
    from pkubench.leaderboard import Board

    place = board_place(board)
    known = _known(place, bundle.digest)
    is_verified = bool(known) and all(verdict.tier.is_ranked for verdict in known.values())
    verification = None
    if workers is not None and not is_verified:
        verification = _verified(output, bundle, workers, time_limit)
    with Board.open(place) as opened:
        submission = opened.submit(
            bundle, verification, submitted_at=datetime.datetime.now(datetime.UTC)
        )
        verdicts = opened.verdicts(bundle.digest)
    if output.json:
        output.document(
            {
                "board": place,
                "submission": submission.digest,
                "is_new": submission.is_new,
                "tasks": _tasks(verdicts),
            }
        )
        return
    if known:
        again = "nothing was run again" if verification is None else "it was run again"
        output.note(f"the same bytes were on {place} already: {again}")
    what = "is on" if submission.is_new else "was already on"
    _show(output, f"{bundle.manifest.name} {what} {place}", verdicts)
    given = ["--board", board] if board else []
    output.next(
        command("leaderboard", "show", *given),
        command("leaderboard", "export", "site", *given),
    )


def _known(place: str, digest: str) -> dict[str, Verdict]:
    """Return a board's verdicts on a bundle; nothing if there is no such board yet."""
    from pkubench.leaderboard import Board

    if "://" not in place and not Path(place).is_file():
        return {}
    with Board.open(place) as opened:
        return opened.verdicts(digest)


def _tasks(verdicts: Mapping[str, Verdict]) -> dict[str, dict[str, str]]:
    return {t: {"tier": v.tier.value, "reason": v.reason} for t, v in verdicts.items()}


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
