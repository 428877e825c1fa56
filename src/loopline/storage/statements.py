"""Plain SQL on a connection of its own, for what commits thousands of times: no statement is built or compiled anew.

The text is written once, with `?` for values; what the databases say differently is a word in braces.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec
import sqlalchemy as sa

from loopline.errors import Unavailable
from loopline.storage import sqlite as sqlite_driver
from loopline.storage.database import Database, Transaction

Row = tuple[Any, ...]

_SQLITE = {
    "by": "indexed by",
    "now": "cast(unixepoch('subsec') * 1000 as integer)",
    "skip_locked": "",
    "for_update": "",
    "any": "in (select value from json_each(?))",
}
_POSTGRES = {
    "by": "--",
    "now": "cast(extract(epoch from clock_timestamp()) * 1000 as bigint)",
    "skip_locked": "for update skip locked",
    "for_update": "for update",
    "any": "= any(?)",
}


class Sql:
    """One statement in the words of both databases.

    `{now}` is the database's time in milliseconds since 1970 UTC, `{any}` stands for `in (...)` with one value from
    `Statements.array`, `{by}` names the index that SQLite is to use and ends the line, `{for_update}` and `{skip_locked}` end a select whose rows are to be changed.
    """

    __slots__ = ("postgres", "sqlite")

    def __init__(self, text: str) -> None:
        self.sqlite = text.format(**_SQLITE)
        self.postgres = text.format(**_POSTGRES).replace("%", "%%").replace("?", "%s")


class Statements:
    """Runs statements in one transaction that someone else has begun and will end."""

    __slots__ = ("_execute", "_leave", "_many", "_opened", "_tx", "pipeline", "remote")

    def __init__(self, connection: Any, *, remote: bool, opened: tuple[Any, Any] | None = None) -> None:
        self.remote, self._opened = remote, opened
        self.pipeline: Any = None  # of PostgreSQL: statements whose answer nobody asks for are not waited for
        self._leave: Callable[[], None] | None = None
        self._tx: Transaction | None = None
        self._execute = connection.execute
        self._many = connection.cursor().executemany if remote else connection.executemany

    @classmethod
    def of(cls, tx: Transaction) -> "Statements":
        """In the transaction `tx`, so that it commits with everything else there."""
        made = cls(tx.connection.driver_connection, remote=tx.dialect.name == "postgresql")
        made._tx = tx
        return made

    @property
    def tx(self) -> Transaction:
        """The same transaction, for what builds its statements: it commits with everything else here."""
        if self._tx is None:
            if self._opened is None:
                raise AssertionError("statements belong to a transaction")
            engine, pooled = self._opened
            if self._leave is not None:  # who builds statements looks at each answer at once
                self._leave()
                self.pipeline = self._leave = None
            self._tx = sa.Connection(engine, connection=pooled).execution_options(loopline_joined=True)
        return self._tx

    def begun(self, pipeline: Any = None, leave: Callable[[], None] | None = None) -> None:
        """Another transaction has begun on the connection; `leave` ends the pipeline it is in."""
        self._tx, self.pipeline, self._leave = None, pipeline, leave

    def rows(self, sql: Sql, *values: Any) -> list[Row]:
        """The rows that it selects or returns."""
        found: list[Row] = self._execute(sql.postgres if self.remote else sql.sqlite, values).fetchall()
        return found

    def first(self, sql: Sql, *values: Any) -> Row | None:
        """The first row, or None."""
        found = self.rows(sql, *values)
        return found[0] if found else None

    def change(self, sql: Sql, *values: Any) -> int:
        """Run it; how many rows it changed."""
        cursor = self._execute(sql.postgres if self.remote else sql.sqlite, values)
        if self.pipeline is not None:
            self.pipeline.sync()
        count: int = cursor.rowcount
        return count

    def later(self, sql: Sql, *values: Any) -> None:
        """Run it before whatever comes next, and do not wait for its answer: should it fail, the next statement or the commit says so."""
        self._execute(sql.postgres if self.remote else sql.sqlite, values)

    def many(self, sql: Sql, rows: Iterable[Sequence[Any]]) -> None:
        """Run it for each row of values."""
        self._many(sql.postgres if self.remote else sql.sqlite, rows)

    def array(self, values: Sequence[int | str]) -> Any:
        """The value that `{any}` takes."""
        return list(values) if self.remote else msgspec.json.encode(values).decode()


class Session:
    """One connection, kept between transactions. For one thread at a time; close it at the end."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pooled: Any = None
        self._statements: Statements | None = None

    @contextmanager
    def transaction(self) -> Iterator[Statements]:
        """A transaction that may write, as `Database.transaction`. Raises `Unavailable` "database.lost" where the connection broke,
        "database.full" and "database.io_failed" where SQLite's files cannot be written. Whether a commit on its way arrived is not
        known then, and the next transaction has a connection of its own: a sync that failed is not to be tried again on the old one.
        """
        remote = self._database.remote
        with self._database.writers:
            statements = self._open()
            connection = self._pooled.driver_connection
            try:
                if remote:
                    with ExitStack() as entered:
                        statements.begun(entered.enter_context(connection.pipeline()), entered.close)
                        yield statements
                        connection.commit()
                else:
                    connection.execute("BEGIN IMMEDIATE")
                    statements.begun()
                    yield statements
                    connection.commit()
            except BaseException as error:
                self._undo(connection, error)
                raise
            finally:
                statements.pipeline = None

    def _undo(self, connection: Any, error: BaseException) -> None:
        if self._database.remote and connection.closed:
            self.close()
            raise Unavailable(
                "database.lost",
                f"the connection to the database broke: {error}",
                remedy="It is opened again when next used.",
            ) from error
        told = sqlite_driver.failed(error)
        if told is not None:
            self._drop()
            raise told from error
        connection.rollback()

    def _open(self) -> Statements:
        if self._statements is None:
            self._pooled = self._database.connect()
            self._statements = Statements(
                self._pooled.driver_connection,
                remote=self._database.remote,
                opened=(self._database.engine, self._pooled),
            )
        return self._statements

    def _drop(self) -> None:
        pooled, self._pooled, self._statements = self._pooled, None, None
        if pooled is not None:
            pooled.invalidate()

    def close(self) -> None:
        """Give the connection back."""
        pooled, self._pooled, self._statements = self._pooled, None, None
        if pooled is not None:
            if self._database.remote and pooled.driver_connection.closed:
                pooled.invalidate()
            else:
                pooled.close()
