"""A query as a step: DuckDB over named frames and tables, the result a frame."""

import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from loopline.errors import InvalidInput
from loopline.tables import Table

_CLASSES: tuple[tuple[tuple[type[duckdb.Error], ...], str], ...] = (
    ((duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException), "code"),
    ((duckdb.OutOfMemoryException,), "capacity"),
)

Rows = pl.DataFrame | pl.LazyFrame | Table

_NAME = re.compile(r"[A-Za-z_]\w*")
_LINE = re.compile(r"^LINE (\d+):", re.MULTILINE)
_QUOTED = re.compile(r"\"([^\"]+)\"|Table with name (\w+)|Function with name (\w+)|at or near \"([^\"]+)\"")


def run_sql(
    query: str,
    inputs: Mapping[str, Rows],
    params: Mapping[str, Any] | None = None,
    *,
    memory: str = "1GB",
    scratch: Path | None = None,
) -> pl.DataFrame:
    """The rows of one select over the `inputs`, which it calls by name; `$name` in it is a param. Of a table it sees the current rows.

    It reads nothing else: no files, no network, no variables of the process. Times are UTC. What does not fit into `memory` goes to
    the folder `scratch`, if there is one. Raises `InvalidInput` for what is not one select, and for an error in it, with its line.
    """
    _check_names(inputs)
    settings: dict[str, Any] = {
        "memory_limit": memory,
        "python_scan_all_frames": False,
        "python_enable_replacements": False,
        "temp_directory": str(scratch) if scratch is not None else "",
    }
    with closing(duckdb.connect(":memory:", config=settings)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, rows in inputs.items():
            connection.register(name, _Stream(_frame(rows)))
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        try:
            _check_select(query)
            return pl.DataFrame(connection.sql(query, params=dict(params) if params else None))
        except duckdb.Error as problem:
            raise _failed(query, problem, inputs) from problem


class _Stream:
    """A frame as Arrow's C stream, and nothing else: DuckDB asks a whole frame for pyarrow."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """What the Arrow PyCapsule interface asks for."""
        return self._frame.__arrow_c_stream__(requested_schema)


def _frame(rows: Rows) -> pl.DataFrame:
    if isinstance(rows, Table):
        return rows.current()
    return rows.collect() if isinstance(rows, pl.LazyFrame) else rows


def _check_names(inputs: Mapping[str, Rows]) -> None:
    for name in inputs:
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                "sql.bad_name", f"{name!r} cannot be the name of an input", remedy="Letters, digits and underscores."
            )


def _check_select(query: str) -> None:
    statements = duckdb.extract_statements(query)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise InvalidInput(
            "sql.not_a_select",
            f"this is not one select: {' '.join(query.split())[:80]}",
            remedy="Give one select; WITH before it and set operations are fine.",
        )


def _failed(query: str, problem: duckdb.Error, inputs: Mapping[str, Rows]) -> InvalidInput:
    told = str(problem)
    kind = next((class_ for types, class_ in _CLASSES if isinstance(problem, types)), "data")
    first = told.splitlines()[0]
    line = _line(query, told)
    lines = query.split("\n")
    where = f"line {line}: `{lines[line - 1].strip()}`: " if line else ""
    known = ", ".join(sorted(inputs)) or "none"
    return InvalidInput(
        "sql.failed", f"{where}{first}", remedy=f"Mend the query. Its inputs are: {known}.", line=line, failure=kind
    )


def _line(query: str, told: str) -> int:
    """The line the error is about, from 1: as DuckDB says, or where the name that it quotes stands first; 0 if neither tells."""
    if match := _LINE.search(told):
        return min(int(match[1]), query.count("\n") + 1)
    for match in _QUOTED.finditer(told.splitlines()[0]):
        name = next(part for part in match.groups() if part)
        for number, line in enumerate(query.split("\n"), 1):
            if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", line, re.IGNORECASE):
                return number
    return 0
