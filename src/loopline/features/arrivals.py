"""Rows of a table as one view needs them: by key and known time, with values as JSON has them."""

from math import isfinite
from typing import NamedTuple

import polars as pl

from loopline.features.definitions import View, WindowView, payload_columns
from loopline.features.entities import entity_names
from loopline.features.history import EVENT, KEY, KNOWN, TOMBSTONE, is_text, moments, numbers, present


class Arrival(NamedTuple):
    """A row version: event time in microseconds; `entity` is None for tombstones and for rows of nobody."""

    event: int
    entity: str | None
    values: list[float | str | None]


def arrivals(view: View, rows: pl.DataFrame) -> dict[str, dict[int, Arrival]]:
    """The versions by key and known time; of those with both alike the last row.

    Raises `InvalidInput` for columns of a wrong type.
    """
    dead = rows[TOMBSTONE].fill_null(value=False)
    entities = entity_names(rows[view.by]).set(dead, None)
    columns = [_values(view, rows[column]) for column in payload_columns(view)]
    values = [list(row) for row in zip(*columns, strict=True)]
    versions: dict[str, dict[int, Arrival]] = {}
    whole = zip(
        rows[KEY].to_list(), moments(rows, KNOWN).tolist(), moments(rows, EVENT).tolist(), entities, values, strict=True
    )
    for key, known, event, entity, payload in whole:
        versions.setdefault(key, {})[known] = Arrival(event, entity, payload)
    return versions


def _values(view: View, series: pl.Series) -> list[float | str | None]:
    """Text for latest views, else floats; None for what does not count."""
    if not isinstance(view, WindowView) and is_text(series):
        return series.cast(pl.String).to_list()
    if isinstance(view, WindowView) and _only_counted(view, series.name):
        return [1.0 if counted else None for counted in present(series).tolist()]
    return [value if isfinite(value) else None for value in numbers(series).tolist()]


def _only_counted(view: WindowView, column: str) -> bool:
    return all(use.op == "count" for use in view.features.values() if use.column == column)
