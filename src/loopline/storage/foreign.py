"""Other people's databases: read, never written, through whatever driver is installed. And DuckDB over files."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import sqlalchemy as sa

from loopline.errors import InvalidInput, NotFound, Unavailable
from loopline.storage import sqlite

_ENVIRONMENT = "env:"
_DUCKDB = "duckdb:"
# A name after a colon that is not part of a cast (`::date`), a time (`12:30`) or a quoted text.
_QUOTED_OR_NAMED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(?<![:\w\\]):(?P<name>[A-Za-z_]\w*)(?!:)")
_PACKAGES = {
    "postgresql": "psycopg[binary]",
    "mysql": "pymysql",
    "mariadb": "pymysql",
    "mssql": "pyodbc",
    "oracle": "oracledb",
    "snowflake": "snowflake-sqlalchemy",
    "bigquery": "sqlalchemy-bigquery",
    "redshift": "sqlalchemy-redshift",
    "clickhouse": "clickhouse-sqlalchemy",
    "databricks": "databricks-sqlalchemy",
    "trino": "trino[sqlalchemy]",
}


@dataclass(frozen=True)
class Rows:
    """What a query gave: the names of its columns, and its rows as Python values, or as the frame a columnar engine made."""

    names: Sequence[str]
    rows: Sequence[Sequence[Any]] = ()
    frame: pl.DataFrame | None = None


def named_parameters(query: str) -> set[str]:
    """The parameters `:name` that a query asks for; those inside of quotes are none."""
    return {match["name"] for match in _QUOTED_OR_NAMED.finditer(query) if match["name"]}


def masked(url: str) -> str:
    """The URL with its password, and whatever its query says, masked; `env:NAME` as it is.

    Raises `InvalidInput` "source.bad_url".
    """
    if url.startswith((_ENVIRONMENT, _DUCKDB)):
        return url
    parsed = _parsed(url)
    shown = parsed.set(query={}).render_as_string(hide_password=True)
    return f"{shown}?***" if parsed.query else shown


def kind_of(url: str) -> str:
    """The kind of database that a URL leads to, e.g. "sqlite", "postgresql" or "duckdb". Raises as `read`."""
    resolved = _resolved(url)
    return "duckdb" if resolved.startswith(_DUCKDB) else _parsed(resolved).get_backend_name()


def knows_zones(url: str) -> bool:
    """Whether the database compares a moment with its own local times by the session's zone. Raises as `read`."""
    return kind_of(url) in {"postgresql", "duckdb"}


def read(url: str, query: str, parameters: Mapping[str, Any], *, zone: str = "UTC") -> Rows:
    """Run one query, in a session of that zone, and give its rows; whatever it does is rolled back. `url` may be `env:NAME`, or `duckdb:` for DuckDB in
    memory, which reads files that the query names, or `duckdb:///path` for a DuckDB file.

    Raises `InvalidInput` ("source.bad_url", "source.no_secret", "source.not_a_query"), `NotFound` "source.no_database" and
    `Unavailable` ("source.driver_missing", "source.query_failed"). No message holds the URL's secrets.
    """
    resolved = _resolved(url)
    if resolved.startswith(_DUCKDB):
        return _read_duckdb(resolved, query, parameters, zone)
    with _failing(resolved), _connected(resolved, zone) as connection:
        result = connection.execute(sa.text(_QUOTED_OR_NAMED.sub(_escaped, query)), dict(parameters))
        if not result.returns_rows:
            raise _not_a_query(query)
        return Rows(tuple(result.keys()), [tuple(row) for row in result])


def batches(url: str, query: str, rows: int, *, scratch: Path) -> Iterator[Rows]:
    """As `read` without parameters, in portions of at most `rows` rows, never all at once. What DuckDB gives is first put into a
    file in `scratch`. Raises as `read`.
    """
    resolved = _resolved(url)
    if resolved.startswith(_DUCKDB):
        yield from _duckdb_batches(resolved, query, rows, scratch)
        return
    with _failing(resolved), _connected(resolved, "UTC") as connection:
        streamed = connection.execution_options(stream_results=True, max_row_buffer=rows)
        result = streamed.execute(sa.text(_QUOTED_OR_NAMED.sub(_escaped, query)))
        if not result.returns_rows:
            raise _not_a_query(query)
        names = tuple(result.keys())
        for portion in result.partitions(rows):
            yield Rows(names, [tuple(row) for row in portion])


def _duckdb_batches(url: str, query: str, rows: int, scratch: Path) -> Iterator[Rows]:
    path = scratch / "query.parquet"
    with _duckdb_failing(), _duckdb_connected(url, "UTC") as connection:
        connection.execute("SET temp_directory = ?", [str(scratch)])
        _selected(connection, query, query, {}).write_parquet(str(path))
    try:
        for frame in pl.scan_parquet(path, glob=False).collect_batches(chunk_size=rows, maintain_order=True):
            yield Rows(frame.columns, frame=frame)
    finally:
        path.unlink(missing_ok=True)


def _escaped(match: re.Match[str]) -> str:
    """SQLAlchemy takes a colon inside of quotes for a parameter, too, unless it is escaped."""
    return match[0] if match["name"] else match[0].replace(":", r"\:")


def _resolved(url: str) -> str:
    if not url.startswith(_ENVIRONMENT):
        return url
    name = url.removeprefix(_ENVIRONMENT)
    found = os.environ.get(name)
    if not found:
        raise InvalidInput(
            "source.no_secret",
            f"the environment variable {name} is not set, which holds a source's URL",
            remedy=f"Set it where this runs: export {name}=postgresql://user:password@host/database",
        )
    return found


def _parsed(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        # What cannot be read may hold a password anywhere: it is not repeated, nor kept as a cause.
        raise InvalidInput(
            "source.bad_url",
            "a source's URL cannot be read",
            remedy="Write postgresql://user:password@host/database, sqlite:///path, duckdb: or env:NAME.",
        ) from None


@contextmanager
def _connected(url: str, zone: str) -> Iterator[sa.Connection]:
    with _engine(url).connect() as connection:
        reading = connection
        if connection.dialect.name == "postgresql":
            reading = connection.execution_options(postgresql_readonly=True)
            reading.execute(sa.select(sa.func.set_config("timezone", zone, True)))  # noqa: FBT003 - SQL's own
        try:
            yield reading
        finally:
            with suppress(sa.exc.SQLAlchemyError):
                reading.rollback()


def _engine(url: str) -> sa.Engine:
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    try:
        return sa.create_engine(parsed, poolclass=sa.pool.NullPool, hide_parameters=True)
    except (ImportError, sa.exc.NoSuchModuleError) as error:
        raise _driver_missing(parsed, error) from None


def _driver_missing(url: sa.URL, error: Exception) -> Unavailable:
    package = _PACKAGES.get(url.get_backend_name())
    install = f"pip install '{package}'" if package else f"install the SQLAlchemy dialect of {url.drivername!r}"
    return Unavailable(
        "source.driver_missing",
        f"there is no driver for {url.drivername} here ({getattr(error, 'name', None) or 'unknown dialect'})",
        remedy=f"Give this environment the driver: {install}. Another one is named as in postgresql+psycopg://...",
    )


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    path = url.database
    if not path or path == ":memory:" or not Path(path).is_file():
        raise NotFound(
            "source.no_database", f"there is no SQLite file {path}", remedy="Give the path of a file that exists."
        )

    return sqlite.reading_engine(Path(path))


@contextmanager
def _failing(url: str) -> Iterator[None]:
    """Driver errors without the statement's parameters and without the password."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        told = str(getattr(error, "orig", None) or error).strip().splitlines()
        raise _query_failed(_without_secrets(url, told[0] if told else type(error).__name__)) from None


def _without_secrets(url: str, text: str) -> str:
    parsed = _parsed(url)
    secrets = [parsed.password, *(str(value) for value in parsed.query.values())]
    for secret in secrets:
        text = text.replace(secret, "***") if secret else text
    return text


def _query_failed(told: str) -> Unavailable:
    return Unavailable(
        "source.query_failed",
        f"the database refused the query or did not answer: {told}",
        remedy="Try the query and the URL with the database's own client, as the user of the URL.",
    )


def _not_a_query(query: str) -> InvalidInput:
    return InvalidInput(
        "source.not_a_query",
        f"this gives no rows, or is more than one statement: {' '.join(query.split())[:80]}",
        remedy="Give one select.",
    )


def _read_duckdb(url: str, query: str, parameters: Mapping[str, Any], zone: str) -> Rows:
    with _duckdb_failing(), _duckdb_connected(url, zone) as connection:
        asked = _QUOTED_OR_NAMED.sub(lambda match: f"${match['name']}" if match["name"] else match[0], query)
        frame = pl.DataFrame(_selected(connection, query, asked, parameters))
    return Rows(frame.columns, frame=frame)


def _selected(connection: Any, query: str, asked: str, parameters: Mapping[str, Any]) -> Any:
    """The relation of the one select that `query` is, its parameters written as DuckDB does in `asked`."""
    statements = duckdb.extract_statements(asked)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise _not_a_query(query)
    relation = connection.sql(asked, params=dict(parameters) or None)
    if relation is None:
        raise _not_a_query(query)
    return relation


@contextmanager
def _duckdb_connected(url: str, zone: str) -> Iterator[Any]:
    path = url.removeprefix(_DUCKDB).removeprefix("///")
    if path and not Path(path).is_file():
        raise NotFound(
            "source.no_database", f"there is no DuckDB file {path}", remedy="Give the path of a file that exists."
        )
    connection = duckdb.connect(path or ":memory:", read_only=bool(path))
    try:
        connection.execute(f"SET TimeZone = '{zone}'")
        yield connection
    finally:
        connection.close()


@contextmanager
def _duckdb_failing() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise _query_failed(str(error).splitlines()[0]) from error
