"""A real PostgreSQL for tests: started in a temporary folder, gone with the process that started it."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from loopline.errors import Unavailable
from loopline.storage.database import Database

# The shell stops the server when its standard input ends: however the tests die, the server goes with them.
_SUPERVISE = '"$@" & server=$!; read -r _; kill -QUIT $server; wait $server'
_READY_WITHIN = 60.0
_SETTINGS = ("shared_buffers=64MB", "max_connections=200", "jit=off")
_HASTY = ("fsync=off", "full_page_writes=off")


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[str]:
    """The URL of a server on a free local port, whose user may create databases; stopped at the end of the block.

    Only with `durable` are its commits on disk before they are told.

    As root it runs as an unprivileged user, as PostgreSQL demands. Raises `Unavailable` where it is not installed.
    """
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="loopline-postgres-"))
    user = _unprivileged(folder)
    port = _free_port()
    _initialise(programs, folder, user)
    settings = _SETTINGS if durable else (*_SETTINGS, *_HASTY)
    server = _start(programs, folder, user, port, settings)
    try:
        _wait_until_ready(programs, server, folder, port)
        yield f"postgresql://loopline@127.0.0.1:{port}/postgres"
    finally:
        server.communicate()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def scratch_database(server_url: str, name: str) -> Iterator[str]:
    """The URL of a new and empty database on the server at `server_url`; dropped at the end of the block."""
    server = Database.open(server_url)
    try:
        _execute_alone(server, f'CREATE DATABASE "{name}" TEMPLATE template0')
        yield sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute_alone(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        server.close()


def _execute_alone(database: Database, statement: str) -> None:
    """Databases are made and dropped outside of any transaction."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(statement)


def _programs() -> Path:
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not installed:
        raise Unavailable(
            "testing.postgres_missing",
            "the tests need a real PostgreSQL and found no initdb",
            remedy="Install it (Debian: apt-get install postgresql), or point LOOPLINE_TEST_POSTGRES_URL at a server "
            "whose user may create databases.",
        )
    return installed[-1].parent


def _unprivileged(folder: Path) -> str | None:
    if os.getuid() != 0:
        return None
    shutil.chown(folder, "nobody")
    return "nobody"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _initialise(programs: Path, folder: Path, user: str | None) -> None:
    command = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", "loopline", "-A", "trust"]
    made = subprocess.run(  # noqa: S603 - the programs of the installed PostgreSQL
        [*command, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
        user=user, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        raise Unavailable("testing.postgres_failed", f"initdb failed: {made.stderr.strip()}")


def _start(
    programs: Path, folder: Path, user: str | None, port: int, settings: tuple[str, ...]
) -> subprocess.Popen[bytes]:
    command = [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder)]
    options = [part for setting in ("listen_addresses=127.0.0.1", *settings) for part in ("-c", setting)]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - the programs of the installed PostgreSQL
            ["/bin/sh", "-c", _SUPERVISE, "supervise", *command, *options],
            stdin=subprocess.PIPE, stdout=log, stderr=log, user=user, cwd=folder,
            start_new_session=True,  # Ctrl-C in the terminal ends the tests first, then the server
        )  # fmt: skip


def _wait_until_ready(programs: Path, server: subprocess.Popen[bytes], folder: Path, port: int) -> None:
    ask = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    deadline = time.monotonic() + _READY_WITHIN
    while subprocess.run(ask, check=False).returncode != 0:  # noqa: S603 - as above
        if server.poll() is not None or time.monotonic() > deadline:
            raise Unavailable("testing.postgres_failed", f"PostgreSQL did not start: {(folder / 'log').read_text()}")
        time.sleep(0.05)
