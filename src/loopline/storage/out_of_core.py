"""Parquet files sorted, and the newest of their rows found, in bounded memory: what does not fit goes to a scratch folder."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

MEMORY = "256MB"

_ROW_GROUP = 50_000


def sort_files(paths: Sequence[Path], to: Path, *, by: Sequence[str], scratch: Path) -> None:
    """Write the rows of Parquet files into the one file `to`, in the order of the columns `by`; nulls come first."""
    order = ", ".join(f"{_quoted(name)} NULLS FIRST" for name in by)
    with _connected(scratch) as connection:
        rows = f"SELECT * FROM read_parquet({_list(paths)}) ORDER BY {order}"  # noqa: S608 - quoted here
        _copy(connection, rows, to)


def newest_rows(paths: Sequence[Path], to: Path, columns: Mapping[str, str], *, scratch: Path) -> None:
    """Write the newest row of each `_key`, unless it is a tombstone, of a table's data files, given in append order.

    `columns` are those wanted, with the type (DuckDB's) of one that no file has. Of rows with one `_known_at` the one appended
    last counts. The rows come in append order.
    """
    with _connected(scratch) as connection:
        connection.execute("CREATE TABLE files (filename VARCHAR, place BIGINT)")
        connection.executemany("INSERT INTO files VALUES (?, ?)", [(str(path), n) for n, path in enumerate(paths)])
        source = f"read_parquet({_list(paths)}, union_by_name=true, filename=true, file_row_number=true)"
        held = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}  # noqa: S608
        chosen = ", ".join(
            _quoted(name) if name in held else f"CAST(NULL AS {kind}) AS {_quoted(name)}"
            for name, kind in columns.items()
        )
        rows = f"""
            SELECT {chosen} FROM (
                SELECT * FROM {source} JOIN files USING (filename)
                QUALIFY row_number() OVER (PARTITION BY _key ORDER BY _known_at DESC, place DESC, file_row_number DESC) = 1
            ) WHERE NOT _tombstone ORDER BY place, file_row_number
        """  # noqa: S608 - names are quoted, types are ours
        _copy(connection, rows, to)


def _copy(connection: Any, rows: str, to: Path) -> None:
    connection.execute(f"COPY ({rows}) TO '{_escaped(to)}' (FORMAT parquet, ROW_GROUP_SIZE {_ROW_GROUP})")


@contextmanager
def _connected(scratch: Path) -> Iterator[Any]:
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": MEMORY,
        "threads": 1,
        "temp_directory": str(scratch),
    }
    connection = duckdb.connect(":memory:", config=settings)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def _list(paths: Sequence[Path]) -> str:
    return "[" + ", ".join(f"'{_escaped(path)}'" for path in paths) + "]"


def _escaped(path: Path) -> str:
    return str(path).replace("'", "''")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
