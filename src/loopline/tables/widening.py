"""A table's columns given more room: a new schema, and every file rewritten by it, in one commit."""

from collections.abc import Mapping
from urllib.parse import quote

import polars as pl

from loopline.errors import Conflict
from loopline.tables import datafile
from loopline.tables.actions import Action, Add, MetaData, Remove, commit_info
from loopline.tables.casting import cast_each
from loopline.tables.datafile import DataFile
from loopline.tables.folder import Folder
from loopline.tables.log import Log
from loopline.tables.schema import TableSchema


def widen(log: Log, folder: Folder, columns: Mapping[str, pl.DataType], timestamp: int) -> None:
    """Give `columns` their wider dtypes. Rows keep their order, older versions stay readable by their schema. `timestamp` is in
    milliseconds since 1970 UTC.

    Raises `Conflict` "table.widening_loses" where a value that is there would change; nothing is committed then.
    """
    rewritten: dict[str, Add] = {}

    def build() -> list[Action] | None:
        before = log.schema()
        after = before.widened(columns)
        if after == before or log.meta_data is None:
            return None
        files = log.files()
        for file in files:
            if file.path not in rewritten:
                rewritten[file.path] = _rewrite(folder, file, before, columns, timestamp)
        removed = [
            Action(remove=Remove(quote(file.path), data_change=False, deletion_timestamp=timestamp)) for file in files
        ]
        info = Action(commit_info("widen", "CHANGE COLUMN", timestamp))
        return [info, _meta_data(log.meta_data, after), *removed, *(Action(add=rewritten[file.path]) for file in files)]

    log.commit(build)


def _meta_data(before: MetaData, schema: TableSchema) -> Action:
    changed = MetaData(
        before.id,
        schema.to_json(),
        before.created_time,
        before.partition_columns,
        before.configuration,
        before.format,
    )
    return Action(meta_data=changed)


def _rewrite(
    folder: Folder, file: DataFile, schema: TableSchema, columns: Mapping[str, pl.DataType], timestamp: int
) -> Add:
    present = schema.all_columns
    rows = datafile.read(folder, [file], present, list(present))
    wide = rows.with_columns(_wide(rows[name], dtype) for name, dtype in columns.items())
    name = f"widen\x00{file.path}"
    return datafile.write_one(folder, wide, name, timestamp, order=file.order, data_change=False)


def _wide(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    cast = cast_each(column, dtype)
    if (cast.is_null() & column.is_not_null()).any():
        raise Conflict(
            "table.widening_loses",
            f"column {column.name!r} holds values that {dtype} does not hold exactly",
            remedy="Declare the column as it is, or write to a table of another name.",
            column=column.name,
        )
    return cast
