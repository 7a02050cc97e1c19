"""``pkubench leaderboard serve``, ``worker``, ``retry`` and ``token``: a board for others."""

from __future__ import annotations

import datetime
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from pkubench.cli.names import command
from pkubench.cli.options import Json, Quiet, count
from pkubench.cli.output import Column, Output
from pkubench.cli.submit import BoardPlace, board_place
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    from pkubench.leaderboard.service.logs import LogFormat
    from pkubench.leaderboard.service.tokens import TokenRow

tokens_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Who may submit: make, list and revoke tokens.",
)


Log = Annotated[
    str,
    typer.Option("--log", metavar="text|json", help="Lines to read, or one JSON object a line."),
]


def serve(
    board: BoardPlace = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0 is every one.")
    ] = "127.0.0.1",
    port: Annotated[int, count("--port", 0, "Port to listen on; 0 takes a free one.")] = 8000,
    max_upload: Annotated[
        int, count("--max-upload", 1, "Largest bundle that is taken, in MB.")
    ] = 256,
    no_code: Annotated[
        bool,
        typer.Option("--no-code", help="Refuse bundles with code (weights and ONNX are data)."),
    ] = False,
    url: Annotated[
        str,
        typer.Option("--url", metavar="URL", help="Address that readers use, shown in commands."),
    ] = "",
    log: Log = "text",
    quiet: Quiet = False,
) -> None:
    """Serve a board: pages, submissions and the JSON API. Workers run apart from it.

    Put a web server with TLS in front of it; tokens are sent as they are. Several servers may serve
    one database.
    """
    import uvicorn

    from pkubench.leaderboard import Board
    from pkubench.leaderboard.board.database import without_password
    from pkubench.leaderboard.service.app import create_app
    from pkubench.leaderboard.service.logs import start_logging
    from pkubench.leaderboard.service.uploads import Service

    start_logging(_known(log), quiet=quiet)
    with Output(quiet=quiet) as output, Board.open(board_place(board)) as opened:
        app = create_app(
            opened, Service(max_upload=max_upload << 20, takes_code=not no_code, address=url)
        )
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,  # whoever watches a submission would hold it for hours
        )
        output.note(f"serving {opened.database.where}")
        given = ["--board", without_password(board)] if board else []
        output.next(command("leaderboard", "worker", *given))
        uvicorn.Server(config).run()


def worker(
    board: BoardPlace = None,
    workers: Annotated[
        int, count("--workers", 0, "Processes that play episodes; 0: in this one.")
    ] = 1,
    time_limit: Annotated[
        float,
        typer.Option(
            "--time-limit",
            metavar="SECONDS",
            min=1.0,
            help="Limit for playing all episodes of a submission.",
        ),
    ] = 4 * 3600.0,
    once: Annotated[
        bool, typer.Option("--once", help="End when nothing is waiting, instead of looking again.")
    ] = False,
    films: Annotated[
        bool,
        typer.Option(
            "--films/--no-films", help="When nothing waits, film an episode of each verified agent."
        ),
    ] = True,
    log: Log = "text",
    quiet: Quiet = False,
) -> None:
    """Run submissions again, on the public and the secret episodes, and write their verdicts.

    Any number of workers may run, on any machines that reach the database. Ctrl-C or SIGTERM ends
    one after the submission under way, a second one at once; one that is killed loses nothing.
    """
    from pkubench.evaluation.run.execution import Limits
    from pkubench.leaderboard import Board
    from pkubench.leaderboard.sandbox.bubblewrap import check_bubblewrap, check_unreadable
    from pkubench.leaderboard.service.logs import start_logging
    from pkubench.leaderboard.service.worker import Worker

    check_bubblewrap()
    start_logging(_known(log), quiet=quiet)
    place = board_place(board)
    if "://" not in place and place != ":memory:":
        check_unreadable(Path(place), "the board")
    with Board.open(place) as opened:
        own = Worker(opened, processes=workers, limits=Limits(total=time_limit), films=films)
        if once:
            while own.work() or own.film():
                pass
            return
        stop = threading.Event()

        def end(number: int, frame: FrameType | None) -> None:
            if stop.is_set():
                raise KeyboardInterrupt
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        own.run(stop)


def retry(
    digest: Annotated[
        str, typer.Argument(metavar="SHA256", help="The submission, as in the queue.")
    ],
    board: BoardPlace = None,
) -> None:
    """Queue a submission again: `dead` in the queue, or accepted and to be verified anew."""
    from pkubench.leaderboard import Board
    from pkubench.leaderboard.service.jobs import Queue

    with Output() as output, Board.open(board_place(board)) as opened:
        Queue(opened.database).retry(digest)
        output.note(f"{digest[:12]} is in the queue again")


@tokens_app.command("add")
def add_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose token it is.")],
    board: BoardPlace = None,
    role: Annotated[
        str, typer.Option("--role", metavar="submit|maintain", help="What it allows.")
    ] = "submit",
    days: Annotated[
        float | None, typer.Option("--days", help="Days until it expires; never by default.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a token and print it. It is stored as a hash, so it cannot be shown again."""
    from pkubench.leaderboard import Board
    from pkubench.leaderboard.service.tokens import Tokens

    with Output(json=json) as output, Board.open(board_place(board)) as opened:
        token = Tokens(opened.database).add(name, role, days)  # type: ignore[arg-type]
        if json:
            output.document({"name": name, "role": role, "token": token})
        else:
            output.show(token)


@tokens_app.command("list")
def list_tokens(board: BoardPlace = None, json: Json = False) -> None:
    """List the tokens, without their secrets."""
    from pkubench.leaderboard import Board
    from pkubench.leaderboard.service.tokens import Tokens

    with Output(json=json) as output, Board.open(board_place(board)) as opened:
        rows = Tokens(opened.database).list()
        if json:
            output.document({"tokens": [row._asdict() for row in rows]})
            return
        columns = (Column("id", right=True), Column("name", style="bold"), *map(Column, _DATES))
        output.show(output.table("", columns, [_cells(row) for row in rows]))


@tokens_app.command("revoke")
def revoke_token(
    id: Annotated[int, typer.Argument(metavar="ID", help="Its number in the list.")],
    board: BoardPlace = None,
) -> None:
    """Make a token useless from now on, as when it was stolen."""
    from pkubench.leaderboard import Board
    from pkubench.leaderboard.service.tokens import Tokens

    with Output() as output, Board.open(board_place(board)) as opened:
        Tokens(opened.database).revoke(id)
        output.note(f"token {id} gives no access any more")


_DATES = ("role", "made", "expires", "revoked")


def _cells(row: TokenRow) -> tuple[str, ...]:
    dates = [row.created_at, row.expires_at, row.revoked_at]
    texts = ["" if time is None else _date(time) for time in dates]
    return (str(row.id), row.name, row.role, *texts)


def _date(time: float) -> str:
    return datetime.datetime.fromtimestamp(time, datetime.UTC).strftime("%Y-%m-%d")


def _known(log: str) -> LogFormat:
    """Return a format of logs.

    Raises:
        ConfigError: there is none of this name.
    """
    formats: dict[str, LogFormat] = {"text": "text", "json": "json"}
    if log not in formats:
        raise ConfigError(f"--log must be text or json, got {log!r}")
    return formats[log]
