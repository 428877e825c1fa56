"""SQLite through `pysqlite3`, whose library is newer than most CPython builds'."""

import os
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from loopline.errors import Unavailable
from loopline.storage.write_queue import WriteQueue

try:
    from pysqlite3 import dbapi2 as driver
except ImportError:  # platforms without a wheel fall back to CPython's own, if it is new enough
    import sqlite3 as driver

# Before these, WAL mode with two or more connections can lose commits (the WAL-reset bug).
_FIXED = (3, 51, 3)
_BACKPORTS = ((3, 44, 6), (3, 50, 7))

READING = {"loopline_write": False}
_PATIENCE = 30.0
_BUSY_SECONDS = 0.05

# The driver keeps what was prepared first, and where it has no room prepares everything else anew each time. Its own hundred are gone once the
# tables were made.
_STATEMENTS = 1000
_QUERY_ONLY = "loopline_query_only"


def check_version(version: tuple[int, ...]) -> None:
    """Raise `Unavailable` where this SQLite can lose commits."""
    backported = any(version[:2] == fixed[:2] and version >= fixed for fixed in _BACKPORTS)
    if version < _FIXED and not backported:
        found = ".".join(map(str, version))
        raise Unavailable(
            "database.sqlite_loses_commits",
            f"SQLite {found} can lose commits in WAL mode",
            remedy="Install pysqlite3 0.6.1 or later (pip install -U pysqlite3), or use PostgreSQL.",
        )


def write_queue(url: sa.URL) -> WriteQueue:
    """The queue of those who write to the file of this URL."""
    path = url.database
    return WriteQueue(Path(f"{path}-turn") if path and not path.startswith((":memory:", "file:")) else None)


def engine(url: str, *, durable: bool) -> sa.Engine:
    """An engine in WAL mode whose writers queue for the lock instead of failing."""
    check_version(driver.sqlite_version_info)
    path = sa.make_url(url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    made = sa.create_engine(
        url, module=driver, pool_size=8, max_overflow=24, connect_args={"cached_statements": _STATEMENTS}
    )

    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # we begin transactions ourselves
        connection.execute(f"pragma busy_timeout={int(_PATIENCE * 1000)}")
        connection.execute("pragma journal_mode=wal")
        connection.execute(f"pragma synchronous={'full' if durable else 'normal'}")
        connection.execute("pragma foreign_keys=on")

    def begun(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("loopline_joined"):
            return
        writes = connection.get_execution_options().get("loopline_write")
        query_only(connection.connection, on=writes is False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(made, "connect", connected)
    event.listen(made, "begin", begun)
    return made


def query_only(pooled: sa.PoolProxiedConnection, *, on: bool) -> None:
    """Let the connection only read, or write as well. Saying so anew would have SQLite prepare all its statements again."""
    if pooled.info.get(_QUERY_ONLY) is not on:
        pooled.driver_connection.execute(f"pragma query_only={'on' if on else 'off'}")  # type: ignore[union-attr]  # it is open
        pooled.info[_QUERY_ONLY] = on


def failed(error: BaseException | None) -> Unavailable | None:
    """What is told where SQLite could not write or read its files; None for any other error."""
    name = str(getattr(error, "sqlite_errorname", "")) if isinstance(error, driver.OperationalError) else ""
    if name == "SQLITE_FULL":
        return Unavailable(
            "database.full",
            "there is no space left for the database",
            remedy="Free some, or give it a larger disk; nothing of this transaction was kept, and what was committed can be read.",
        )
    if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")):
        return Unavailable(
            "database.io_failed",
            f"the database's files cannot be read or written: {error} ({name})",
            remedy="Look at the disk and the system's log. It is opened again when next used.",
        )
    return None


def reading_engine(path: Path) -> sa.Engine:
    """An engine that opens the file at `path` for reading only, whoever made it."""
    address = f"{path.absolute().as_uri()}?mode=ro"

    def connect() -> Any:
        return driver.connect(address, uri=True, check_same_thread=False)

    return sa.create_engine("sqlite://", module=driver, creator=connect, poolclass=sa.pool.NullPool)


def forget(engine: sa.Engine) -> str:
    """Write the file anew without free pages, and empty the write-ahead log. Raises `Unavailable` "database.log_held"."""
    connection = engine.raw_connection()
    try:
        query_only(connection, on=False)
        execute = connection.driver_connection.execute  # type: ignore[union-attr]  # it is open
        execute("pragma temp_store=memory")  # no copy in a folder for temporary files
        execute("vacuum")
        deadline = time.monotonic() + _PATIENCE
        while execute("pragma wal_checkpoint(truncate)").fetchone()[0]:
            if time.monotonic() > deadline:
                raise Unavailable(
                    "database.log_held",
                    "a transaction that goes on keeps old pages in SQLite's log",
                    remedy="Try again when it is over, or stop the process that holds it.",
                )
            time.sleep(_BUSY_SECONDS)
    finally:
        connection.close()
    return "the database file was written anew and its log emptied"


def dump(engine: sa.Engine, path: Path) -> None:
    """Write a database of one file to `path`, which is not there yet: what is committed at this moment, durable."""
    connection = engine.raw_connection()
    try:
        query_only(connection, on=False)
        execute = connection.driver_connection.execute  # type: ignore[union-attr]  # it is open
        execute("vacuum into ?", (str(path),))
    finally:
        connection.close()
    with path.open("rb") as file:
        os.fsync(file.fileno())


def faults(engine: sa.Engine) -> list[str]:
    """What SQLite finds damaged, at most ten lines."""
    try:
        with engine.connect() as connection:
            found = [str(row[0]) for row in connection.exec_driver_sql("pragma integrity_check(10)")]
    except sa.exc.DatabaseError as error:
        return [str(error.orig)]
    return [line for line in found if line != "ok"]
