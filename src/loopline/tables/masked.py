"""Rows as those see them who may not see personal values: pseudonyms in their place."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import polars as pl

from loopline.access.pseudonyms import Pseudonyms
from loopline.tables.quarantine import SUFFIX
from loopline.tables.schema import TableSchema
from loopline.tables.tables import Tables

_ROW = "row"


def masked(frame: pl.DataFrame, columns: Collection[str], pseudonyms: Pseudonyms) -> pl.DataFrame:
    """`frame` with the values of `columns` as pseudonyms (String); null stays null, columns it lacks are passed over."""
    return frame.with_columns(_called(frame[name], pseudonyms) for name in frame.columns if name in columns)


def masked_rows(tables: Tables, name: str, frame: pl.DataFrame, pseudonyms: Pseudonyms) -> pl.DataFrame:
    """Rows of the table `name` with pseudonyms where its tags say so. Of a quarantined row's JSON only what is personal in its
    source is changed, or all of it where the source has no table yet.
    """
    schema = tables.open(name).schema
    source = name.removesuffix(SUFFIX)
    if source == name or _ROW not in schema.guarded or not tables.exists(source):
        return masked(frame, schema.guarded, pseudonyms)
    columns = set(schema.guarded) - {_ROW}
    rest = masked(frame, columns, pseudonyms)
    return (
        rest.with_columns(_masked_json(frame, tables.open(source).schema, pseudonyms)) if _ROW in rest.columns else rest
    )


def _called(column: pl.Series, pseudonyms: Pseudonyms) -> pl.Series:
    text = column.cast(pl.String) if not column.dtype.is_nested() else _as_json(column)
    names = {value: pseudonyms.of(value) for value in text.drop_nulls().unique()}
    return text.replace_strict(list(names), list(names.values()), default=None, return_dtype=pl.String).alias(
        column.name
    )


def _as_json(column: pl.Series) -> pl.Series:
    texts = [None if value is None else str(value) for value in column.to_list()]
    return pl.Series(column.name, texts, dtype=pl.String)


def _masked_json(frame: pl.DataFrame, source: TableSchema, pseudonyms: Pseudonyms) -> pl.Series:
    hidden = set(source.guarded)
    keys = frame["_key"].to_list() if "_key" in frame.columns else [""] * frame.height
    texts = [_without(text, key, hidden, pseudonyms) for text, key in zip(frame[_ROW].to_list(), keys, strict=True)]
    return pl.Series(_ROW, texts, dtype=pl.String)


def _without(text: str | None, key: str, hidden: Collection[str], pseudonyms: Pseudonyms) -> str | None:
    """A value that makes the key is hidden as the key is."""
    if text is None:
        return None
    said: Mapping[str, Any] = msgspec.json.decode(text)
    parts = set(key.split("|"))
    shown = {
        name: pseudonyms.of(value) if value is not None and (name in hidden or str(value) in parts) else value
        for name, value in said.items()
    }
    return msgspec.json.encode(shown).decode()
