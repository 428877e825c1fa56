"""Plain SQL on a connection of its own, for what commits thousands of times: no statement is built or compiled anew.

The text is written once, with `?` for values; what the databases say differently is a word in braces.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import sqlalchemy as sa

from loopline.errors import Unavailable
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

    __slots__ = ("_execute", "_many", "_opened", "_tx", "remote")

    def __init__(self, connection: Any, *, remote: bool, opened: tuple[Any, Any] | None = None) -> None:
        self.remote, self._opened = remote, opened
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
            self._tx = sa.Connection(engine, connection=pooled).execution_options(loopline_joined=True)
        return self._tx

    def begun(self) -> None:
        """Another transaction has begun on the connection."""
        self._tx = None

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
        count: int = self._execute(sql.postgres if self.remote else sql.sqlite, values).rowcount
        return count

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
        """A transaction that may write, as `Database.transaction`. Raises `Unavailable` "database.lost" where the connection broke;
        whether a commit on its way arrived is not known then.
        """
        remote = self._database.remote
        with self._database.writers:
            statements = self._open()
            connection = self._pooled.driver_connection
            try:
                if not remote:
                    connection.execute("BEGIN IMMEDIATE")
                statements.begun()
                yield statements
                connection.commit()
            except BaseException as error:
                self._undo(connection, error)
                raise

    def _undo(self, connection: Any, error: BaseException) -> None:
        if self._database.remote and connection.closed:
            self.close()
            raise Unavailable(
                "database.lost",
                f"the connection to the database broke: {error}",
                remedy="It is opened again when next used.",
            ) from error
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

    def close(self) -> None:
        """Give the connection back."""
        pooled, self._pooled, self._statements = self._pooled, None, None
        if pooled is not None:
            if self._database.remote and pooled.driver_connection.closed:
                pooled.invalidate()
            else:
                pooled.close()
