"""A PostgreSQL server of Debian's package, in a folder of its own, as a user without privileges."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

NOBODY = 65534


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return None if on_path is None else Path(on_path).resolve().parent


@contextmanager
def running_server() -> Iterator[str]:
    """Start a server that listens on a socket file only; yield the URL of its database."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed (tools/install-system-packages installs it)")
    pytest.importorskip("psycopg")
    place = Path(tempfile.mkdtemp(prefix="pkubench-pg-"))
    user: dict[str, object] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        os.chown(place, NOBODY, NOBODY)
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    data = place / "data"
    options = f"-c listen_addresses= -c unix_socket_directories={place} -c fsync=off"

    def run(*command: str | Path) -> None:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, **user)  # type: ignore[call-overload]
        assert done.returncode == 0, done.stdout + done.stderr

    run(folder / "initdb", "-D", data, "-A", "trust", "-U", "board", "-E", "UTF8", "-N")
    log = place / "log"
    control = folder / "pg_ctl"
    run(control, "-D", data, "-w", "-l", log, "-o", options, "start")
    try:
        yield f"postgresql://board@/postgres?host={quote(str(place), safe='')}"
    finally:
        run(control, "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(place, ignore_errors=True)


def with_schema(server: str, name: str) -> str:
    """Make an empty schema and return the URL of connections that use it."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{name}"')
    return f"{server}&options={quote(f'-csearch_path={name}')}"
