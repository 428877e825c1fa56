"""The one database layer: SQLite or PostgreSQL behind the same transactions.

A service that changes state takes its caller's `Transaction`; only the outermost caller opens one. So what belongs together
commits together.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from loopline.errors import Corrupt, InvalidInput
from loopline.storage import postgres as postgres_driver
from loopline.storage import sqlite as sqlite_driver

Transaction = sa.Connection


class Database:
    """Opens transactions on one database. Safe to share between threads; make a new one after a fork."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.remote = engine.dialect.name == "postgresql"
        self._reading = (postgres_driver if self.remote else sqlite_driver).READING
        self.writers: AbstractContextManager[None] = (
            nullcontext() if self.remote else sqlite_driver.write_queue(engine.url)
        )

    @classmethod
    def open(cls, url: str, *, durable: bool = True) -> "Database":
        """Connect to `sqlite:///path` or `postgresql://...`; makes the folder of a SQLite file.

        `durable=False` trades survival of a power cut for speed (a killed process still loses nothing). Raises
        `InvalidInput` for another kind of URL and `Unavailable` where the driver or server is missing or unsafe.
        """
        kind = sa.make_url(url).get_backend_name()
        if kind == "sqlite":
            return cls(sqlite_driver.engine(url, durable=durable))
        if kind == "postgresql":
            return cls(postgres_driver.engine(url, durable=durable))
        raise InvalidInput(
            "database.unknown_kind", f"no driver for {kind!r}", remedy="Use sqlite:///path or postgresql://..."
        )

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction that may write: committed at the end of the block, rolled back on any error.

        On SQLite it takes the write lock at once, so that reading and then writing cannot fail half-way. Raises `Unavailable`
        "database.full" and "database.io_failed" where its files cannot be written, "database.unreachable" where PostgreSQL is away: whether a
        commit on its way arrived is not known then.
        """
        with self._told(), self.writers, self.engine.connect() as connection:
            writing = connection.execution_options(loopline_write=True)
            with writing.begin():
                yield writing

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that sees one state from beginning to end, and cannot write. Raises `Unavailable` as `transaction`."""
        with self._told(), self.engine.connect().execution_options(**self._reading) as connection, connection.begin():
            yield connection

    @contextmanager
    def still(self) -> Iterator[Callable[[Path], None]]:
        """Nobody commits until the end of the block; gives what writes all that is in here to a file: `copy(path)`.

        On SQLite the file is a database, on PostgreSQL what `pg_dump` writes; `fill` takes either. Raises `Unavailable`
        "database.dump_failed" and "database.client_missing".
        """
        if self.engine.dialect.name == "postgresql":
            with postgres_driver.still(self.engine):
                yield lambda path: postgres_driver.dump(self.engine.url, path)
        else:
            with self.transaction():
                yield lambda path: sqlite_driver.dump(self.engine, path)

    def empty(self) -> bool:
        """Whether there is no table in it."""
        return not sa.inspect(self.engine).get_table_names()

    def fill(self, path: Path) -> None:
        """Put what `still` wrote into this empty database, all of it or nothing. On SQLite the file is there already: it is
        looked through. Raises `Unavailable` "database.restore_failed", `Corrupt` "database.damaged".
        """
        if self.engine.dialect.name == "postgresql":
            postgres_driver.fill(self.engine.url, path)
        self.check()

    def check(self) -> None:
        """Look for damage. Raises `Corrupt` "database.damaged"; PostgreSQL looks after its own pages."""
        if self.engine.dialect.name != "postgresql" and (found := sqlite_driver.faults(self.engine)):
            raise Corrupt(
                "database.damaged",
                f"the database file is damaged: {found[0]}",
                remedy="Restore a backup: `loopline restore`. Keep the damaged file until that is done.",
                found=found,
            )

    def forget(self) -> str:
        """Take what was deleted and replaced out of the files too, as far as this can be done from here; says how far."""
        with self.writers:
            return postgres_driver.forget(self.engine) if self.remote else sqlite_driver.forget(self.engine)

    def connect(self) -> sa.PoolProxiedConnection:
        """A connection for `storage.statements`, which may write and begins its transactions itself, under `writers`. Raises `Unavailable`
        "database.unreachable".
        """
        try:
            pooled = self.engine.raw_connection()
        except Exception as error:  # the driver's own, whichever it is
            self._tell(error)
            raise
        if not self.remote:
            sqlite_driver.query_only(pooled, on=False)
            pooled.driver_connection.execute("pragma wal_autocheckpoint=4000")  # type: ignore[union-attr]
        return pooled

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Where the database is away or cannot be written, our error instead of the driver's."""
        try:
            yield
        except sa.exc.OperationalError as error:
            self._tell(error.orig)
            raise

    def _tell(self, error: BaseException | None) -> None:
        told = (postgres_driver if self.remote else sqlite_driver).failed(error)
        if told is not None:
            raise told from error

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def lock(tx: Transaction, *path: object) -> None:
    """Wait until no other transaction holds the lock that `path` names, and hold it until this one ends.

    On SQLite a writing transaction is alone already, so there is nothing to wait for.
    """
    if tx.dialect.name != "postgresql":
        return
    name = "\x1f".join(str(part) for part in path)
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    tx.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


def now_ms(tx: Transaction) -> int:
    """The database's time, in milliseconds since 1970 UTC: what leases are measured by, whatever the machines' clocks say."""
    remote = "cast(extract(epoch from clock_timestamp()) * 1000 as bigint)"
    asked = remote if tx.dialect.name == "postgresql" else "cast(unixepoch('subsec') * 1000 as integer)"
    return int(tx.exec_driver_sql(f"select {asked}").scalar_one())


def upsert(tx: Transaction, table: sa.Table, values: dict[str, Any], *, key: list[str]) -> None:
    """Insert the row, or set its other columns where `key` (a unique key of the table) exists already."""
    statement = _insert(tx, table).values(values)
    changed = {name: statement.excluded[name] for name in values if name not in key}
    if changed:
        tx.execute(statement.on_conflict_do_update(index_elements=key, set_=changed))
    else:
        tx.execute(statement.on_conflict_do_nothing(index_elements=key))


def upsert_many(
    tx: Transaction, table: sa.Table, rows: list[dict[str, Any]], *, key: list[str], unless_newer: str
) -> None:
    """As `upsert` for many rows of the same columns, no two of one key. A row that is there already with a later
    `unless_newer` stays as it is.
    """
    if not rows:
        return
    statement = _insert(tx, table)
    changed = {name: statement.excluded[name] for name in rows[0] if name not in key}
    older = sa.or_(table.c[unless_newer].is_(None), table.c[unless_newer] <= statement.excluded[unless_newer])
    tx.execute(statement.on_conflict_do_update(index_elements=key, set_=changed, where=older), rows)


def insert_once(tx: Transaction, table: sa.Table, values: dict[str, Any]) -> bool:
    """Insert the row unless a unique key of it exists already; says whether it was inserted."""
    statement = _insert(tx, table).values(values).on_conflict_do_nothing().returning(sa.literal(1))
    return tx.execute(statement).first() is not None


def _insert(tx: Transaction, table: sa.Table) -> Any:
    return (postgresql if tx.dialect.name == "postgresql" else sqlite).insert(table)
